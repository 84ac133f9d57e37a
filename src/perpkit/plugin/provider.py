"""Port and Provider: what can be replaced, and a named recipe for a replacement."""

import re
from collections.abc import Callable, Mapping
from typing import Any, Generic, TypeVar

import attrs

from perpkit.errors import PluginError

PortT = TypeVar("PortT")
PortT_co = TypeVar("PortT_co", covariant=True)
ContextT = TypeVar("ContextT")
OptionsT = TypeVar("OptionsT")

NAME = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)*")
"""What a provider may be called: lower-case words joined by hyphens."""


@attrs.frozen(kw_only=True)
class NoOptions:
    """The options class of a provider that has nothing to choose."""


@attrs.frozen(kw_only=True, eq=False)
class Provider(Generic[PortT_co]):
    """A named recipe for one part. `Port.provider` makes it, so that a type checker sees that all of it fits."""

    port: "Port[Any, Any]" = attrs.field(repr=lambda port: port.key)
    name: str
    build: Callable[[Any, Any], PortT_co]
    options: type[Any]
    summary: str
    capabilities: frozenset[str]
    waivers: Mapping[str, str]
    api: int


@attrs.frozen(kw_only=True, eq=False)
class Port(Generic[PortT, ContextT]):
    """A place in the exchange that a provider fills.

    `key` names it in a configuration, and `hook` is the function by which a plugin offers providers for it.
    `context` is what a part is built from: with a `MarketContext` one for each market, else one in all.
    An `api` of 0 is provisional; a provider states the number that it was written for.
    """

    key: str
    hook: str
    context: type[ContextT]
    members: frozenset[str] = attrs.field(repr=False)
    api: int = 0

    def provider(
        self,
        *,
        name: str,
        build: Callable[[ContextT, OptionsT], PortT],
        options: type[OptionsT],
        summary: str,
        capabilities: frozenset[str] = frozenset(),
        waivers: Mapping[str, str] | None = None,
        api: int = 0,
    ) -> Provider[PortT]:
        """Make a provider: `build(context, options)` has to return a part of this port.

        `options` is an attrs class; what the configuration says is checked against its fields before `build`
        is called. `capabilities` name abilities beyond the port that other parts may ask for. `waivers` maps rules of
        the conformance kit that the part does not keep to the reason why.

        Raises:
            PluginError: the name is not lower-case words joined by hyphens, or `options` is not an attrs class.

        Example:
            >>> from perpkit.plugin import FEES, NoOptions
            >>> class Free:
            ...     def __init__(self, context, options): ...
            ...     def rate_ppb(self, account, maker): return 0
            >>> FEES.provider(name="free", build=Free, options=NoOptions, summary="no fees").name
            'free'
        """
        if not NAME.fullmatch(name):
            raise PluginError(
                f"{self.key}: expected a provider name of lower-case words joined by hyphens, was {name!r}"
            )
        if not attrs.has(options):
            raise PluginError(f"{self.key} {name!r}: expected an attrs class as options, was {options!r}")
        return Provider(
            port=self,
            name=name,
            build=build,
            options=options,
            summary=summary,
            capabilities=capabilities,
            waivers=waivers or {},
            api=api,
        )

    def other(self, context: ContextT, name: str, options: Mapping[str, object] | None = None) -> PortT:
        """Return a part of this port made by another provider, for a part that stands on it.

        Composition builds it under the same rules as if the configuration had named it, and notes it in the manifest.

        Raises:
            PluginError: nobody offers it, its options do not fit, or it stands on itself.
        """
        part: PortT = context.build(self.key, name, options or {})  # type: ignore[attr-defined]
        return part

    def missing(self, part: object) -> tuple[str, ...]:
        """Return the members of the port that `part` lacks; signatures are for checkers and tests to judge."""
        return tuple(sorted(name for name in self.members if not hasattr(part, name)))


def members(protocol: object) -> frozenset[str]:
    """Return the public names that a Protocol class declares."""
    return frozenset(name for name in vars(protocol) if not name.startswith("_"))
