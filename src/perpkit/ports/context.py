"""What a factory is given at composition: the markets and assets, never another part's state."""

from collections.abc import Callable, Mapping
from typing import Any

import attrs

from perpkit.errors import PluginError
from perpkit.model.ids import AssetId, MarketId
from perpkit.model.market import MarketSpec
from perpkit.units import Ppb, Scale, Units


@attrs.frozen(kw_only=True)
class AssetSpec:
    """An asset the exchange holds money in.

    Units:
        `unit` is the accounting unit; `deposits_max_units` bounds all deposits together, below 2^61.
    """

    id: AssetId
    name: str
    unit: Scale
    deposits_max_units: Units


@attrs.frozen(kw_only=True)
class Limits:
    """How much one command may set in motion. Work is fills, cancels and liquidation steps.

    `price_faults_max`: so many commands with prices, or that met waiting liquidations, a part may fail in a row; the
    next one halts the exchange, since it no longer knows what anything is worth, or cannot liquidate.

    `orders_per_second`: how many orders and amendments an account may send in the time of the log, 0 for any number;
    `orders_burst` of them may come at once. Cancels are always taken.
    """

    order_fills_max: int = 1_000
    work_max: int = 10_000
    work_share_percent: int = 50
    client_order_ids_kept: int = 1_024
    price_faults_max: int = 10
    orders_per_second: int = 0
    orders_burst: int = 10


def _build_nothing(port: str, name: str, _options: Mapping[str, object]) -> Any:
    raise PluginError(f"{port}: expected a context from a composition, which can build {name!r}; was one made by hand")


@attrs.frozen(kw_only=True)
class MarketContext:
    """For parts that are built once a market.

    `build` makes a part by another provider, of the key of a port, its name and options; see `Port.other`.
    """

    market: MarketSpec
    limits: Limits
    build: Callable[[str, str, Mapping[str, object]], Any] = attrs.field(default=_build_nothing, eq=False, repr=False)


@attrs.frozen(kw_only=True)
class ExchangeContext:
    """For parts that are built once an exchange. `taker_ppb` is each market's standard taker fee."""

    markets: Mapping[MarketId, MarketSpec]
    assets: Mapping[AssetId, AssetSpec]
    limits: Limits
    taker_ppb: Mapping[MarketId, Ppb]
