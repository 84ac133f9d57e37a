"""Protocol-first building blocks for a perpetual-futures exchange."""

import logging

from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange, Outcome
from perpkit.errors import (
    ConfigError,
    HaltedError,
    InvariantError,
    OptionsError,
    PartFaultError,
    PerpkitError,
    PluginError,
    ProviderConflictError,
    ProviderNotFoundError,
    UnitsError,
)
from perpkit.model.ids import account_id, owner_of
from perpkit.model.market import MarketSpec, MarketState
from perpkit.model.order import Side, TimeInForce
from perpkit.model.reject import RejectReason
from perpkit.plugin import NoOptions, Provider, Registry, hookimpl
from perpkit.runtime import Venue

__version__ = "0.1.0"

# What is logged is for the embedder to show or not.
logging.getLogger("perpkit").addHandler(logging.NullHandler())

__all__ = [
    "ConfigError",
    "Exchange",
    "ExchangeConfig",
    "HaltedError",
    "InvariantError",
    "MarketSpec",
    "MarketState",
    "NoOptions",
    "OptionsError",
    "Outcome",
    "PartFaultError",
    "PerpkitError",
    "PluginError",
    "Provider",
    "ProviderConflictError",
    "ProviderNotFoundError",
    "Registry",
    "RejectReason",
    "Side",
    "TimeInForce",
    "UnitsError",
    "Venue",
    "account_id",
    "hookimpl",
    "owner_of",
]
