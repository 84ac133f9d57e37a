"""Every port there is: the token that carries its type, its key in a configuration and its hook."""

from typing import Any

from perpkit.plugin.provider import Port, members
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
    LiquidationPolicy,
    MarginModel,
    MarketContext,
    MarkPrice,
    OrderBook,
    OrderCheck,
)

BOOK = Port[OrderBook, MarketContext](
    key="book", hook="perpkit_order_books", context=MarketContext, members=members(OrderBook)
)
MARGIN = Port[MarginModel, ExchangeContext](
    key="margin", hook="perpkit_margin_models", context=ExchangeContext, members=members(MarginModel)
)
MARK_PRICE = Port[MarkPrice, MarketContext](
    key="mark_price", hook="perpkit_mark_prices", context=MarketContext, members=members(MarkPrice)
)
INDEX_PRICE = Port[IndexPriceSource, MarketContext](
    key="index_price", hook="perpkit_index_prices", context=MarketContext, members=members(IndexPriceSource)
)
FUNDING = Port[FundingModel, MarketContext](
    key="funding", hook="perpkit_funding_models", context=MarketContext, members=members(FundingModel)
)
FEES = Port[FeeSchedule, MarketContext](
    key="fees", hook="perpkit_fee_schedules", context=MarketContext, members=members(FeeSchedule)
)
ORDER_CHECKS = Port[OrderCheck, MarketContext](
    key="order_checks", hook="perpkit_order_checks", context=MarketContext, members=members(OrderCheck)
)
LIQUIDATION = Port[LiquidationPolicy, ExchangeContext](
    key="liquidation",
    hook="perpkit_liquidations",
    context=ExchangeContext,
    members=members(LiquidationPolicy),
)
DELEVERAGING = Port[DeleveragingPolicy, ExchangeContext](
    key="deleveraging",
    hook="perpkit_deleveragings",
    context=ExchangeContext,
    members=members(DeleveragingPolicy),
)
INSURANCE = Port[InsuranceFund, ExchangeContext](
    key="insurance", hook="perpkit_insurance_funds", context=ExchangeContext, members=members(InsuranceFund)
)
CUSTODY = Port[Custody, ExchangeContext](
    key="custody", hook="perpkit_custodies", context=ExchangeContext, members=members(Custody)
)
JOURNAL = Port[Journal, JournalContext](
    key="journal", hook="perpkit_journals", context=JournalContext, members=members(Journal)
)
CLEARING = Port[Clearing, ClearingContext](
    key="clearing", hook="perpkit_clearings", context=ClearingContext, members=members(Clearing)
)

PORTS: tuple[Port[Any, Any], ...] = (
    BOOK,
    MARGIN,
    MARK_PRICE,
    INDEX_PRICE,
    FUNDING,
    FEES,
    ORDER_CHECKS,
    LIQUIDATION,
    DELEVERAGING,
    INSURANCE,
    CUSTODY,
    JOURNAL,
    CLEARING,
)
