"""Registry: the providers that an exchange may be composed from, and what is wrong with the others."""

from collections import Counter
from collections.abc import Iterable
from typing import Any, Self, TypeVar

import attrs

from perpkit.errors import ProviderConflictError, ProviderNotFoundError
from perpkit.plugin.discovery import Loader, Offer, Problem, normal
from perpkit.plugin.hint import did_you_mean
from perpkit.plugin.provider import Port, Provider

PortT = TypeVar("PortT")

BUILTIN = ("perpkit.reference", "perpkit.custody", "perpkit.runtime.journal")
"""perpkit's own parts, named by string: they come by the same road as a stranger's."""


@attrs.frozen(kw_only=True, eq=False)
class Registry:
    """A value to make once and pass on; importing perpkit discovers nothing.

    Example:
        >>> from perpkit.plugin import FEES, Registry
        >>> "maker-taker" in Registry.builtin().names(FEES)
        True
    """

    _offers: tuple[Offer, ...] = attrs.field(alias="offers", repr=False)
    problems: tuple[Problem, ...] = ()

    @classmethod
    def builtin(cls) -> Self:
        """Return perpkit's own parts only."""
        return cls.of()

    @classmethod
    def of(cls, *plugins: object, builtin: Iterable[str] = BUILTIN) -> Self:
        """Return the built-in parts and those of the given modules, whatever else is installed."""
        loader = Loader()
        loader.builtin(builtin)
        loader.given(plugins)
        return cls._from(loader)

    @classmethod
    def discover(cls, allow: Iterable[str] | None = None, *, builtin: Iterable[str] = BUILTIN) -> Self:
        """Return the built-in parts and those of installed plugins, or of the distributions in `allow` only."""
        loader = Loader()
        loader.builtin(builtin)
        loader.installed(allow)
        return cls._from(loader)

    @classmethod
    def _from(cls, loader: Loader) -> Self:
        offers = loader.offers()  # asking may find further problems
        return cls(offers=offers, problems=tuple(loader.problems))

    def providers(self) -> tuple[Offer, ...]:
        """Return everything on offer, with its origin."""
        return self._offers

    def names(self, port: Port[Any, Any]) -> tuple[str, ...]:
        """Return the names by which a configuration can pick: a name offered twice needs its distribution."""
        offers = [offer for offer in self._offers if offer.provider.port is port]
        count = Counter(offer.provider.name for offer in offers)
        return tuple(
            sorted(offer.provider.name if count[offer.provider.name] == 1 else full_name(offer) for offer in offers)
        )

    def get(self, port: Port[PortT, Any], name: str) -> Provider[PortT]:
        """Return the provider of a name, `"fast"` or, to say whose, `"acme-book:fast"`.

        Raises:
            ProviderNotFoundError: nobody offers it; the message quotes the plugins that could not be used.
            ProviderConflictError: more than one distribution offers it.
        """
        return self.find(port, name).provider

    def find(self, port: Port[Any, Any], name: str) -> Offer:
        """Return what `get` returns, with its origin. Raises the same."""
        distribution, _, short = name.rpartition(":")
        found = [
            offer
            for offer in self._offers
            if offer.provider.port is port
            and offer.provider.name == short
            and normal(distribution) in ("", normal(offer.origin.distribution))
        ]
        if not found:
            raise ProviderNotFoundError(self._not_found(port, name))
        if len(found) > 1:
            raise ProviderConflictError(_conflict(port, name, found))
        return found[0]

    def _not_found(self, port: Port[Any, Any], name: str) -> str:
        names = self.names(port)
        text = f"expected {port.key} to be one of {', '.join(names) or '(none is loaded)'}; was {name!r}"
        text += did_you_mean(name, names)
        if self.problems:
            text += f" (plugin problems: {'; '.join(str(problem) for problem in self.problems)})"
        return text


def full_name(offer: Offer) -> str:
    """Return the name of a provider that says which distribution it is from."""
    return f"{offer.origin.distribution}:{offer.provider.name}"


def _conflict(port: Port[Any, Any], name: str, found: list[Offer]) -> str:
    text = f"expected one {port.key} provider named {name!r}, was offered by "
    text += " and ".join(str(offer.origin) for offer in found)
    choices = [full_name(offer) for offer in found]
    if len(Counter(choices)) < len(choices):
        return f"{text}; ask the author of {found[0].origin.distribution} to rename one"
    return f"{text}; write {' or '.join(repr(choice) for choice in choices)}"
