"""Every way a plugin can add to perpkit: one hook a port. Implementations carry the `hookimpl` mark."""

from collections.abc import Iterable

import pluggy

from perpkit.plugin.provider import Provider
from perpkit.ports import (
    Clearing,
    Custody,
    DeleveragingPolicy,
    FeeSchedule,
    FundingModel,
    IndexPriceSource,
    InsuranceFund,
    Journal,
    LiquidationPolicy,
    MarginModel,
    MarkPrice,
    OrderBook,
    OrderCheck,
)

PROJECT = "perpkit"

hookspec: pluggy.HookspecMarker = pluggy.HookspecMarker(PROJECT)
hookimpl: pluggy.HookimplMarker = pluggy.HookimplMarker(PROJECT)


class PerpkitSpecs:
    """The hooks. Each is asked once, while a registry is made, and answers with named providers.

    Answering decides nothing: a configuration picks providers by name, and load order never matters.

    Example:
        A plugin is a module with functions such as this one::

            @hookimpl
            def perpkit_order_books() -> Iterable[Provider[OrderBook]]:
                return [BOOK.provider(name="fast", build=FastBook, options=FastBookOptions, summary="arrays")]

        and its distribution names the module under the entry point group `perpkit.v1`.
    """

    @hookspec
    def perpkit_order_books(self) -> Iterable[Provider[OrderBook]]:
        """Offer order books, by `BOOK.provider`; one is built for each market."""
        raise NotImplementedError

    @hookspec
    def perpkit_margin_models(self) -> Iterable[Provider[MarginModel]]:
        """Offer margin models, by `MARGIN.provider`; one is built for the exchange."""
        raise NotImplementedError

    @hookspec
    def perpkit_mark_prices(self) -> Iterable[Provider[MarkPrice]]:
        """Offer mark prices, by `MARK_PRICE.provider`; one is built for each market."""
        raise NotImplementedError

    @hookspec
    def perpkit_index_prices(self) -> Iterable[Provider[IndexPriceSource]]:
        """Offer index prices, by `INDEX_PRICE.provider`; one is built for each market."""
        raise NotImplementedError

    @hookspec
    def perpkit_funding_models(self) -> Iterable[Provider[FundingModel]]:
        """Offer funding models, by `FUNDING.provider`; one is built for each market."""
        raise NotImplementedError

    @hookspec
    def perpkit_fee_schedules(self) -> Iterable[Provider[FeeSchedule]]:
        """Offer fee schedules, by `FEES.provider`; one is built for each market."""
        raise NotImplementedError

    @hookspec
    def perpkit_order_checks(self) -> Iterable[Provider[OrderCheck]]:
        """Offer pre-trade rules, by `ORDER_CHECKS.provider`; a market has a list of them, maybe empty."""
        raise NotImplementedError

    @hookspec
    def perpkit_liquidations(self) -> Iterable[Provider[LiquidationPolicy]]:
        """Offer liquidation policies, by `LIQUIDATION.provider`; one is built for the exchange."""
        raise NotImplementedError

    @hookspec
    def perpkit_deleveragings(self) -> Iterable[Provider[DeleveragingPolicy]]:
        """Offer deleveraging policies, by `DELEVERAGING.provider`; one is built for the exchange."""
        raise NotImplementedError

    @hookspec
    def perpkit_insurance_funds(self) -> Iterable[Provider[InsuranceFund]]:
        """Offer insurance funds, by `INSURANCE.provider`; one is built for the exchange."""
        raise NotImplementedError

    @hookspec
    def perpkit_custodies(self) -> Iterable[Provider[Custody]]:
        """Offer custodies, by `CUSTODY.provider`; one is built for the venue around an exchange."""
        raise NotImplementedError

    @hookspec
    def perpkit_journals(self) -> Iterable[Provider[Journal]]:
        """Offer journals, by `JOURNAL.provider`; one is built for the venue around an exchange."""
        raise NotImplementedError

    @hookspec
    def perpkit_clearings(self) -> Iterable[Provider[Clearing]]:
        """Offer clearings, by `CLEARING.provider`; one is built, last, from the other parts."""
        raise NotImplementedError
