"""Where the money really is: the embedded vault, offered through the same hook as anyone's custody."""

from collections.abc import Iterable

import attrs

from perpkit.custody.vault import Vault
from perpkit.plugin import CUSTODY, NoOptions, Provider, hookimpl
from perpkit.ports import Custody, ExchangeContext

__all__ = ["Vault", "VaultOptions", "open_vault"]


@attrs.frozen(kw_only=True)
class VaultOptions:
    """Options of the vault.

    `setup` is the path of a file that says who takes part, as `perpkit.custody.setup` reads it; without one, money that
    was released leaves at once, and nobody is asked. `directory` is where the audit log is kept; empty keeps it in
    memory.
    """

    setup: str = ""
    directory: str = ""


def open_vault(context: ExchangeContext, options: VaultOptions) -> Custody:
    """Return the vault: with a setup the embedded one, else the bare one.

    Raises:
        ConfigError: the setup cannot be used.
        CustodyError: what is in the directory is damaged or was edited.
    """
    if not options.setup:
        return Vault(context, NoOptions())
    from perpkit.custody.pretend.embedded import embedded_vault

    return embedded_vault(context, options.setup, options.directory)


@hookimpl
def perpkit_custodies() -> Iterable[Provider[Custody]]:
    """Offer the vault."""
    return [
        CUSTODY.provider(
            name="vault",
            build=open_vault,
            options=VaultOptions,
            summary="in memory, for simulation",
            capabilities=frozenset({"receive"}),
        )
    ]
