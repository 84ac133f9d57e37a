"""What a replaceable part must do: Protocols without bodies, and the values that cross them.

Deciders are pure, folds own a state that is never money, owners hold money, size or orders.
"""

from perpkit.ports.book import OrderBook
from perpkit.ports.clearing import Clearing, ClearingContext
from perpkit.ports.context import AssetSpec, ExchangeContext, Limits, MarketContext
from perpkit.ports.custody import Custody
from perpkit.ports.deleveraging import DeleveragingPolicy
from perpkit.ports.insurance import InsuranceFund
from perpkit.ports.journal import Journal, JournalContext
from perpkit.ports.liquidation import LiquidationPolicy
from perpkit.ports.margin import MarginModel
from perpkit.ports.prices import FundingModel, IndexPriceSource, MarkPrice
from perpkit.ports.trading import FeeSchedule, OrderCase, OrderCheck

__all__ = [
    "AssetSpec",
    "Clearing",
    "ClearingContext",
    "Custody",
    "DeleveragingPolicy",
    "ExchangeContext",
    "FeeSchedule",
    "FundingModel",
    "IndexPriceSource",
    "InsuranceFund",
    "Journal",
    "JournalContext",
    "Limits",
    "LiquidationPolicy",
    "MarginModel",
    "MarkPrice",
    "MarketContext",
    "OrderBook",
    "OrderCase",
    "OrderCheck",
]
