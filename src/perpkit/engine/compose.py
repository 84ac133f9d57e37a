"""Composition: a configuration names providers, a registry has them, and here they become live parts."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, TypeVar

import attrs

from perpkit.engine.config import ExchangeConfig, Selection
from perpkit.engine.guard import (
    Guard,
    GuardedBook,
    GuardedCheck,
    GuardedDeleveraging,
    GuardedFees,
    GuardedFunding,
    GuardedIndex,
    GuardedInsurance,
    GuardedLiquidation,
    GuardedMargin,
    GuardedMark,
)
from perpkit.engine.structure import converter, digest
from perpkit.errors import (
    ConfigError,
    CustodyError,
    JournalError,
    OptionsError,
    PluginError,
    ProviderConflictError,
    ProviderNotFoundError,
    UnitsError,
)
from perpkit.model.ids import MarketId
from perpkit.model.market import MarketSpec
from perpkit.plugin import (
    BOOK,
    CLEARING,
    CUSTODY,
    DELEVERAGING,
    FEES,
    FUNDING,
    INDEX_PRICE,
    INSURANCE,
    JOURNAL,
    LIQUIDATION,
    MARGIN,
    MARK_PRICE,
    ORDER_CHECKS,
    PORTS,
    Offer,
    Port,
    Registry,
)
from perpkit.plugin.registry import full_name
from perpkit.plugin.structure import structure
from perpkit.ports import (
    Clearing,
    ClearingContext,
    Custody,
    DeleveragingPolicy,
    ExchangeContext,
    FeeSchedule,
    FundingModel,
    IndexPriceSource,
    InsuranceFund,
    Journal,
    JournalContext,
    MarketContext,
    MarkPrice,
)
from perpkit.units import Ppb

PortT = TypeVar("PortT")
ContextT = TypeVar("ContextT")
GuardedT = TypeVar("GuardedT")


@attrs.frozen(kw_only=True)
class ManifestEntry:
    """Whose code one part is. `market` is empty for a part of the whole exchange."""

    port: str
    market: str
    provider: str
    distribution: str
    version: str
    api: int
    options_digest: str


@attrs.frozen(kw_only=True)
class Manifest:
    """Every part of an exchange in the order of building: which code produced this result?"""

    entries: tuple[ManifestEntry, ...]


@attrs.frozen(kw_only=True, eq=False)
class Parts:
    """Live parts, ready to be called, those that only answer behind their guards.

    Clearing holds the book, margin, fee and order-check parts.
    """

    context: ExchangeContext
    clearing: Clearing
    index_price: Mapping[MarketId, IndexPriceSource]
    mark_price: Mapping[MarketId, MarkPrice]
    funding: Mapping[MarketId, FundingModel]
    liquidation: GuardedLiquidation
    deleveraging: DeleveragingPolicy
    insurance: InsuranceFund
    manifest: Manifest


def compose(config: ExchangeConfig, registry: Registry) -> Parts:
    """Build every part of an exchange. Custody belongs to the venue around it: see `build_custody`.

    Raises:
        ProviderNotFoundError: the configuration names a provider that nobody offers.
        ProviderConflictError: more than one distribution offers it.
        OptionsError: options do not fit the provider.
        PluginError: a provider fails to build, or what it built is not whole.
    """
    builder = _Builder(config, registry)
    fees = builder.each(FEES, lambda part, guard, _: GuardedFees(part, guard))
    books = builder.each(BOOK, lambda part, guard, _: GuardedBook(part, guard, config.limits.order_fills_max))
    context = _exchange_context(config, fees)
    margin = builder.one(MARGIN, context, lambda part, guard: GuardedMargin(part, guard, context))
    order_checks = {
        market.id: tuple(
            GuardedCheck(*builder.part(ORDER_CHECKS, chosen, builder.market_context(market), market.name))
            for chosen in config.order_checks(market.id)
        )
        for market in config.markets.values()
    }
    index_price = builder.each(INDEX_PRICE, GuardedIndex)
    mark_price = builder.each(MARK_PRICE, GuardedMark)
    funding = builder.each(FUNDING, lambda part, guard, _: GuardedFunding(part, guard))
    liquidation = builder.one(LIQUIDATION, context, lambda part, guard: GuardedLiquidation(part, guard, context))
    deleveraging = builder.one(DELEVERAGING, context, GuardedDeleveraging)
    insurance = builder.one(INSURANCE, context, GuardedInsurance)
    clearing_context = ClearingContext(
        exchange=context, margin=margin, books=books, fees=fees, order_checks=order_checks
    )
    clearing = builder.one(CLEARING, clearing_context, _unguarded)
    return Parts(
        context=context,
        clearing=clearing,
        index_price=index_price,
        mark_price=mark_price,
        funding=funding,
        liquidation=liquidation,
        deleveraging=deleveraging,
        insurance=insurance,
        manifest=Manifest(entries=tuple(builder.entries)),
    )


def build_custody(config: ExchangeConfig, registry: Registry) -> Custody:
    """Build the custody that the configuration picks.

    Raises:
        CustodyError: what it keeps on disk is damaged or was edited, or its HSM is not there.
        PluginError: as `compose`.
    """
    builder = _Builder(config, registry)
    fees = builder.each(FEES, lambda part, guard, _: GuardedFees(part, guard))
    return builder.one(CUSTODY, _exchange_context(config, fees), _unguarded)


def build_journal(
    config: ExchangeConfig,
    registry: Registry,
    manifest: Manifest,
    directory: str,
    *,
    accept_torn: bool = False,
    accept_manifest: bool = False,
    read_only: bool = False,
) -> Journal:
    """Build, and so open, the journal that the configuration picks.

    Raises:
        JournalError: what is in the directory is damaged, or belongs to another configuration.
        PluginError: as `compose`.
    """
    context = JournalContext(
        directory=directory,
        config_digest=config.config_digest(),
        manifest=[attrs.asdict(entry) for entry in manifest.entries],
        accept_torn=accept_torn,
        accept_manifest=accept_manifest,
        read_only=read_only,
    )
    return _Builder(config, registry).one(JOURNAL, context, _unguarded)


def market_context_of(config: ExchangeConfig, registry: Registry, market: MarketId) -> MarketContext:
    """Return what a part of one market is built from, for whoever builds a part by hand."""
    return _Builder(config, registry).market_context(config.markets[market])


def venue_entries(config: ExchangeConfig, registry: Registry) -> tuple[ManifestEntry, ...]:
    """Return whose code the custody and the journal are, and check their options, without building them.

    Building them may touch the outside, and a replay needs neither.

    Raises:
        PluginError: as `compose`.
    """
    entries = []
    for port in (CUSTODY, JOURNAL):
        chosen = config.selection(port.key)
        offer, _ = _resolve(registry, port, chosen)
        entries.append(_entry(offer, chosen, ""))
    return tuple(entries)


class _Builder:
    """Builds part after part and notes each in the manifest."""

    def __init__(self, config: ExchangeConfig, registry: Registry) -> None:
        self.entries: list[ManifestEntry] = []
        self._config = config
        self._registry = registry
        self._building: list[tuple[str, str]] = []

    def market_context(self, market: MarketSpec) -> MarketContext:
        def build(key: str, name: str, options: Mapping[str, object]) -> Any:
            port = next(port for port in PORTS if port.key == key)
            where = f"markets.{market.name}.{key} on {name!r}"
            return self.part(port, Selection(name, options, where), self.market_context(market), market.name)[0]

        return MarketContext(market=market, limits=self._config.limits, build=build)

    def one(self, port: Port[PortT, ContextT], context: ContextT, wrap: Callable[[PortT, Guard], GuardedT]) -> GuardedT:
        return wrap(*self.part(port, self._config.selection(port.key), context, ""))

    def each(
        self, port: Port[PortT, MarketContext], wrap: Callable[[PortT, Guard, MarketSpec], GuardedT]
    ) -> dict[MarketId, GuardedT]:
        guarded = {}
        for market in self._config.markets.values():
            chosen = self._config.selection(port.key, market.id)
            part, guard = self.part(port, chosen, self.market_context(market), market.name)
            guarded[market.id] = wrap(part, guard, market)
        return guarded

    def part(
        self, port: Port[PortT, ContextT], chosen: Selection, context: ContextT, market: str
    ) -> tuple[PortT, Guard]:
        offer, options = _resolve(self._registry, port, chosen)
        blamed = f"{chosen.where}: {chosen.provider!r} of {offer.origin}"
        if (key := (port.key, full_name(offer))) in self._building:
            raise PluginError(f"{blamed}: expected a part that does not stand on itself, was {self._building}")
        self._building.append(key)
        with _blaming(f"{blamed} could not be built"):
            part: PortT = offer.provider.build(context, options)
        self._building.pop()
        if missing := port.missing(part):
            raise PluginError(
                f"{blamed}: expected a part with every member of {port.key}, "
                f"was {type(part).__qualname__}, which lacks {', '.join(missing)}"
            )
        self.entries.append(_entry(offer, chosen, market))
        return part, Guard(len(self.entries) - 1, blamed)


def _unguarded(part: PortT, _guard: Guard) -> PortT:
    """An owner is not asked twice: when it fails, the exchange halts."""
    return part


def _resolve(registry: Registry, port: Port[Any, Any], chosen: Selection) -> tuple[Offer, Any]:
    try:
        offer = registry.find(port, chosen.provider)
    except (ProviderNotFoundError, ProviderConflictError) as error:
        raise type(error)(f"{chosen.where}: {error}") from error
    where = f"{chosen.where}.options"
    return offer, structure(converter, chosen.options, offer.provider.options, where, fault=OptionsError)


@contextmanager
def _blaming(what: str) -> Iterator[None]:
    try:
        yield
    except (ConfigError, UnitsError) as error:
        raise OptionsError(f"{what}: {error}") from error
    except PluginError as error:
        raise PluginError(f"{what}: {error}") from error
    except (JournalError, CustodyError):
        raise
    except Exception as error:
        raise PluginError(f"{what}: {type(error).__name__}: {error}") from error


def _entry(offer: Offer, chosen: Selection, market: str) -> ManifestEntry:
    return ManifestEntry(
        port=offer.provider.port.key,
        market=market,
        provider=offer.provider.name,
        distribution=offer.origin.distribution,
        version=offer.origin.version,
        api=offer.provider.api,
        options_digest=digest(chosen.options),
    )


def _exchange_context(config: ExchangeConfig, fees: Mapping[MarketId, FeeSchedule]) -> ExchangeContext:
    return ExchangeContext(
        markets=config.markets,
        assets=config.assets,
        limits=config.limits,
        taker_ppb={market: _taker_ppb(fee, config.selection(FEES.key, market)) for market, fee in fees.items()},
    )


def _taker_ppb(fees: FeeSchedule, chosen: Selection) -> Ppb:
    with _blaming(f"{chosen.where}: {chosen.provider!r} could not say its taker fee"):
        return fees.rate_ppb(0, False)
