"""Readable implementations of every port, offered through the same hooks as anyone's."""

from collections.abc import Iterable

from perpkit.plugin import (
    BOOK,
    CLEARING,
    DELEVERAGING,
    FEES,
    FUNDING,
    INDEX_PRICE,
    INSURANCE,
    LIQUIDATION,
    MARGIN,
    MARK_PRICE,
    ORDER_CHECKS,
    NoOptions,
    Provider,
    hookimpl,
)
from perpkit.ports import (
    Clearing,
    DeleveragingPolicy,
    FeeSchedule,
    FundingModel,
    IndexPriceSource,
    InsuranceFund,
    LiquidationPolicy,
    MarginModel,
    MarkPrice,
    OrderBook,
    OrderCheck,
)
from perpkit.reference.book_price_time import PriceTimeBook
from perpkit.reference.clearing import ReferenceClearing
from perpkit.reference.deleveraging_pro_rata import ProRataDeleveraging
from perpkit.reference.deleveraging_ranked import RankedDeleveraging
from perpkit.reference.fees import MakerTakerFees, MakerTakerOptions
from perpkit.reference.funding import (
    HourlyFunding,
    HourlyFundingOptions,
    NoFunding,
    PremiumFunding,
    PremiumFundingOptions,
)
from perpkit.reference.index_weighted import WeightedIndex, WeightedIndexOptions, WeightedMedianIndex
from perpkit.reference.insurance_pool import PoolInsurance
from perpkit.reference.insurance_protection import ProtectionInsurance, ProtectionOptions
from perpkit.reference.liquidation_stepped import SteppedLiquidation
from perpkit.reference.liquidation_takeover import TakeOverLiquidation
from perpkit.reference.margin_step import StepMargin
from perpkit.reference.margin_tiered import TieredMargin, TieredOptions
from perpkit.reference.marks import FairBasisMark, IndexMark
from perpkit.reference.order_checks import (
    MaxOpenOrdersCheck,
    MaxOpenOrdersOptions,
    OpenInterestCapCheck,
    OpenInterestCapOptions,
    PositionLimitCheck,
    PositionLimitOptions,
    PriceBandCheck,
    PriceBandOptions,
)


@hookimpl
def perpkit_order_books() -> Iterable[Provider[OrderBook]]:
    """Offer the reference book."""
    return [
        BOOK.provider(
            name="price-time", build=PriceTimeBook, options=NoOptions, summary="price-time priority on sorted levels"
        ),
    ]


@hookimpl
def perpkit_margin_models() -> Iterable[Provider[MarginModel]]:
    """Offer the reference margin."""
    return [
        MARGIN.provider(
            name="tiered", build=TieredMargin, options=TieredOptions, summary="marginal brackets, isolated and cross"
        ),
        MARGIN.provider(
            name="step", build=StepMargin, options=TieredOptions, summary="the whole at the rate of its bracket"
        ),
    ]


@hookimpl
def perpkit_mark_prices() -> Iterable[Provider[MarkPrice]]:
    """Offer the reference mark price."""
    return [
        MARK_PRICE.provider(
            name="index", build=IndexMark, options=NoOptions, summary="the index itself: own-book-free"
        ),
        MARK_PRICE.provider(
            name="fair-basis", build=FairBasisMark, options=NoOptions, summary="index · (1 + funding basis)"
        ),
    ]


@hookimpl
def perpkit_index_prices() -> Iterable[Provider[IndexPriceSource]]:
    """Offer the reference index price."""
    return [
        INDEX_PRICE.provider(
            name="weighted",
            build=WeightedIndex,
            options=WeightedIndexOptions,
            summary="volume-weighted mean of fresh, near sources",
        ),
        INDEX_PRICE.provider(
            name="weighted-median",
            build=WeightedMedianIndex,
            options=WeightedIndexOptions,
            summary="volume-weighted median of fresh, near sources",
        ),
    ]


@hookimpl
def perpkit_funding_models() -> Iterable[Provider[FundingModel]]:
    """Offer the reference funding."""
    return [
        FUNDING.provider(
            name="premium",
            build=PremiumFunding,
            options=PremiumFundingOptions,
            summary="mean premium of the interval, clamped and capped",
        ),
        FUNDING.provider(
            name="hourly",
            build=HourlyFunding,
            options=HourlyFundingOptions,
            summary="the premium rate for eight hours, an eighth of it every hour",
        ),
        FUNDING.provider(name="none", build=NoFunding, options=NoOptions, summary="no funding"),
    ]


@hookimpl
def perpkit_fee_schedules() -> Iterable[Provider[FeeSchedule]]:
    """Offer the reference fees."""
    return [
        FEES.provider(
            name="maker-taker",
            build=MakerTakerFees,
            options=MakerTakerOptions,
            summary="one rate for makers, one for takers",
        ),
    ]


@hookimpl
def perpkit_order_checks() -> Iterable[Provider[OrderCheck]]:
    """Offer the reference order checks."""
    return [
        ORDER_CHECKS.provider(
            name="price-band", build=PriceBandCheck, options=PriceBandOptions, summary="no order far through the mark"
        ),
        ORDER_CHECKS.provider(
            name="position-limit",
            build=PositionLimitCheck,
            options=PositionLimitOptions,
            summary="no order for too large a position",
        ),
        ORDER_CHECKS.provider(
            name="open-interest-cap",
            build=OpenInterestCapCheck,
            options=OpenInterestCapOptions,
            summary="no order for too large a market",
        ),
        ORDER_CHECKS.provider(
            name="max-open-orders",
            build=MaxOpenOrdersCheck,
            options=MaxOpenOrdersOptions,
            summary="no more than so many resting orders of an account",
        ),
    ]


@hookimpl
def perpkit_liquidations() -> Iterable[Provider[LiquidationPolicy]]:
    """Offer the reference liquidation."""
    return [
        LIQUIDATION.provider(
            name="stepped",
            build=SteppedLiquidation,
            options=NoOptions,
            summary="down the brackets on the book, then take-over",
        ),
        LIQUIDATION.provider(
            name="takeover", build=TakeOverLiquidation, options=NoOptions, summary="take-over of the whole at once"
        ),
    ]


@hookimpl
def perpkit_deleveragings() -> Iterable[Provider[DeleveragingPolicy]]:
    """Offer the reference deleveraging."""
    return [
        DELEVERAGING.provider(
            name="ranked", build=RankedDeleveraging, options=NoOptions, summary="profit × leverage, highest first"
        ),
        DELEVERAGING.provider(
            name="pro-rata",
            build=ProRataDeleveraging,
            options=NoOptions,
            summary="every winner the same part of what it can bear",
        ),
    ]


@hookimpl
def perpkit_insurance_funds() -> Iterable[Provider[InsuranceFund]]:
    """Offer the reference insurance."""
    return [
        INSURANCE.provider(
            name="pool", build=PoolInsurance, options=NoOptions, summary="one fund for every market of an asset"
        ),
        INSURANCE.provider(
            name="protection",
            build=ProtectionInsurance,
            options=ProtectionOptions,
            summary="sub-funds for liquidations and for accidents, a cap for each market",
        ),
    ]


@hookimpl
def perpkit_clearings() -> Iterable[Provider[Clearing]]:
    """Offer the reference clearing."""
    return [
        CLEARING.provider(
            name="reference", build=ReferenceClearing, options=NoOptions, summary="the specification, in Python"
        ),
    ]
