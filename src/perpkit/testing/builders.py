"""Values for tests, with one line each: a configuration, a market, contexts, orders, pools, quotes, marks."""

from collections.abc import Mapping
from typing import Any

from perpkit.engine.compose import market_context_of
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange
from perpkit.model.cause import Cause
from perpkit.model.ids import AccountId, AssetId, MarketId, OrderId, PositionId
from perpkit.model.market import MarketSpec
from perpkit.model.order import Level, Order, Side, TimeInForce
from perpkit.model.position import Exposure, Pool, Winner
from perpkit.model.price import IndexPrice, Mark, PriceState, Quote
from perpkit.plugin import NoOptions, Registry
from perpkit.ports import ClearingContext, ExchangeContext, MarketContext
from perpkit.ports.insurance import Loss
from perpkit.reference.book_price_time import PriceTimeBook
from perpkit.reference.fees import MakerTakerFees, MakerTakerOptions
from perpkit.reference.margin_tiered import TieredMargin, TieredOptions
from perpkit.reference.order_checks import PriceBandCheck, PriceBandOptions
from perpkit.units import Lots, Nanos, Ppb, Ticks, Units, ppb

KINDS = ("linear", "inverse", "quanto")
BRACKETS = (
    {"up_to": "10000", "initial": "5%", "maintenance": "2%"},
    {"up_to": "100000", "initial": "10%", "maintenance": "5%"},
    {"up_to": "1000000000", "initial": "20%", "maintenance": "10%"},
)


def market_table(kind: str = "linear", id: MarketId = 1, **keys: Any) -> dict[str, Any]:  # noqa: A002
    """Return the table of a market as a configuration holds it: ticks of 1, prices of 10 to 1,000 ticks.

    One lot at 100 is worth 100 units when linear, and comparably much in the other kinds.
    """
    lot, multiplier = {"linear": ("1", "1"), "inverse": ("10000", "1"), "quanto": ("1", "1")}[kind]
    return {
        "id": id,
        "kind": kind,
        "settlement": "COIN",
        "tick": "1",
        "lot": lot,
        "multiplier": multiplier,
        "price_min": "10",
        "price_max": "1000",
        "order_max": str(int(lot) * 10_000),
        "open_interest_max": str(int(lot) * 1_000_000),
        "brackets": list(BRACKETS),
        **keys,
    }


def tables(*markets: Mapping[str, Any], **exchange: Any) -> dict[str, Any]:
    """Return the tables of a configuration: one asset of whole units, and markets by id; one linear when none is given.

    Keyword arguments are keys of `[exchange]`.
    """
    chosen = markets or (market_table(),)
    return {
        "exchange": exchange,
        "assets": {"COIN": {"id": 1, "unit": "1", "deposits_max": "1000000000000"}},
        "markets": {f"PERP-{table['id']}": dict(table) for table in chosen},
    }


def config(*markets: Mapping[str, Any], **exchange: Any) -> ExchangeConfig:
    """Return `tables` as a configuration."""
    return ExchangeConfig.from_dict(tables(*markets, **exchange))


def market(kind: str = "linear", **keys: Any) -> MarketSpec:
    """Return one market."""
    return next(iter(config(market_table(kind, **keys)).markets.values()))


def market_context(kind: str = "linear", *, limits: Mapping[str, int] | None = None, **keys: Any) -> MarketContext:
    """Return what a part of one market is built from; it may stand on perpkit's own parts."""
    source = {**tables(market_table(kind, **keys)), "limits": dict(limits or {})}
    made = ExchangeConfig.from_dict(source)
    return market_context_of(made, Registry.builtin(), next(iter(made.markets)))


def exchange_context(*markets: Mapping[str, Any], taker_ppb: Ppb = 0) -> ExchangeContext:
    """Return what a part of the whole exchange is built from."""
    made = config(*markets)
    return ExchangeContext(
        markets=made.markets, assets=made.assets, limits=made.limits, taker_ppb=dict.fromkeys(made.markets, taker_ppb)
    )


def exchange(
    *markets: Mapping[str, Any],
    deposits: Mapping[AccountId, str] | None = None,
    price: str | None = "100",
    registry: Registry | None = None,
    **keys: Any,
) -> Exchange:
    """Return an exchange whose accounts have money and whose markets have a price; keyword arguments pick its parts."""
    made = Exchange.of(tables(*markets, **keys), registry)
    for account, amount in (deposits or {1: "100000", 2: "100000"}).items():
        made.deposit(account, "COIN", amount)
    if price is not None:
        for name in tables(*markets)["markets"]:
            made.quote(name, price, time_ns=1)
    return made


def order(
    id: OrderId,  # noqa: A002
    side: Side,
    size_lots: Lots,
    price_ticks: Ticks,
    *,
    account: AccountId = 1,
    market: MarketId = 1,
    position_id: PositionId = 0,
    time_in_force: TimeInForce = TimeInForce.GTC,
    display_lots: Lots = 0,
    hidden: bool = False,
    **terms: Any,
) -> Order:
    """Return an order as a book is given it: hidden, or an iceberg where `display_lots` are shown at a time."""
    return Order(
        id=id,
        account=account,
        market=market,
        position_id=position_id,
        side=side,
        size_lots=size_lots,
        price_ticks=price_ticks,
        time_in_force=time_in_force,
        display_lots=display_lots,
        hidden_lots=size_lots - min(display_lots, size_lots) if hidden or display_lots else 0,
        **terms,
    )


def exposure(size_lots: Lots, cost_units: Units, **fields: Any) -> Exposure:
    """Return a position as a margin model is shown it, alone in its market."""
    given: dict[str, Any] = {"market": 1, "position_id": 0, "gross_lots": abs(size_lots)} | fields
    return Exposure(size_lots=size_lots, cost_units=cost_units, **given)


def pool(wallet_units: Units, *exposures: Exposure, account: AccountId = 1, asset: AssetId = 1) -> Pool:
    """Return a margin pool without reservations."""
    return Pool(account=account, asset=asset, wallet_units=wallet_units, reserved_units=0, exposures=exposures)


def quotes(*prices_ticks: Ticks, market: MarketId = 1, at_ns: Nanos = 0, weight: int = 1) -> tuple[Quote, ...]:
    """Return one quote a source, the sources numbered from 1."""
    return tuple(
        Quote(market=market, source=source, price_ticks=price, weight=weight, at_ns=at_ns)
        for source, price in enumerate(prices_ticks, start=1)
    )


def index(
    price_ticks: Ticks, *, market: MarketId = 1, at_ns: Nanos = 0, state: PriceState = PriceState.OK
) -> IndexPrice:
    """Return an index price without its sources."""
    return IndexPrice(market=market, price_ticks=price_ticks, state=state, at_ns=at_ns)


def mark(price_ticks: Ticks, *, market: MarketId = 1, at_ns: Nanos = 0, state: PriceState = PriceState.OK) -> Mark:
    """Return a mark."""
    return Mark(market=market, price_ticks=price_ticks, state=state, at_ns=at_ns)


def marks(*prices_ticks: Ticks) -> dict[MarketId, Mark]:
    """Return the marks of the markets 1, 2 and so on."""
    return {number: mark(price, market=number) for number, price in enumerate(prices_ticks, start=1)}


def depth(*levels: tuple[Ticks, Lots]) -> tuple[Level, ...]:
    """Return one side of a book from (price, size), one order a level."""
    return tuple(Level(price_ticks=price, size_lots=lots, orders=1) for price, lots in levels)


def winner(account: AccountId, bearable_lots: Lots, **fields: Any) -> Winner:
    """Return a candidate for deleveraging: long, in profit by a tenth, and held at twice its margin."""
    given: dict[str, Any] = {
        "position_id": 0,
        "size_lots": bearable_lots,
        "cost_units": 100 * bearable_lots,
        "profit_units": 10 * bearable_lots,
        "value_units": 110 * bearable_lots,
        "equity_units": 55 * bearable_lots,
    } | fields
    return Winner(account=account, bearable_lots=bearable_lots, **given)


def loss(
    amount_units: Units,
    *,
    market: MarketId = 1,
    asset: AssetId = 1,
    cause: Cause = Cause.INVENTORY,
    at_ns: Nanos = 0,
) -> Loss:
    """Return an amount as an insurance fund is asked to pay it, or is given it."""
    return Loss(market=market, asset=asset, amount_units=amount_units, cause=cause, at_ns=at_ns)


def clearing_context(
    *markets: Mapping[str, Any], maker: str = "0", taker: str = "0", band: str = "20%"
) -> ClearingContext:
    """Return what a clearing is built from: the reference's parts, no fees, and a price band round the mark."""
    exchange = exchange_context(*markets, taker_ppb=ppb(taker))
    per_market = {spec.id: MarketContext(market=spec, limits=exchange.limits) for spec in exchange.markets.values()}
    fees = MakerTakerOptions(maker=maker, taker=taker)
    return ClearingContext(
        exchange=exchange,
        margin=TieredMargin(exchange, TieredOptions()),
        books={market: PriceTimeBook(context, NoOptions()) for market, context in per_market.items()},
        fees={market: MakerTakerFees(context, fees) for market, context in per_market.items()},
        order_checks={
            market: (PriceBandCheck(context, PriceBandOptions(band=band)),) for market, context in per_market.items()
        },
    )
