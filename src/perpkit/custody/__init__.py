"""Where the money really is: the embedded vault, offered through the same hook as anyone's custody."""

from collections.abc import Iterable

from perpkit.custody.vault import Vault
from perpkit.plugin import CUSTODY, NoOptions, Provider, hookimpl
from perpkit.ports import Custody

__all__ = ["Vault"]


@hookimpl
def perpkit_custodies() -> Iterable[Provider[Custody]]:
    """Offer the vault."""
    return [
        CUSTODY.provider(
            name="vault",
            build=Vault,
            options=NoOptions,
            summary="in memory, for simulation",
            capabilities=frozenset({"receive"}),
        )
    ]
