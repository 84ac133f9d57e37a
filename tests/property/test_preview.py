"""A preview is what the exchange then does, number by number, whatever the order and whoever stands around it."""

from fractions import Fraction
from typing import Any

import attrs
from hypothesis import event, given, settings
from hypothesis import strategies as st

from perpkit.engine.exchange import Exchange, Outcome
from perpkit.model.command import (
    AdjustMargin,
    CancelOrder,
    PlaceOrder,
    SetMarketState,
    SetPositionMode,
    SetPositionTerms,
)
from perpkit.model.event import Duplicate, Filled, OrderAccepted, OrderCancelled, OrderRested, PositionChanged, Rejected
from perpkit.model.ids import account_id
from perpkit.model.market import MarketState
from perpkit.model.order import SelfTrade, Side, TimeInForce
from perpkit.model.position import PositionMode
from perpkit.model.preview import Preview
from perpkit.units import SECOND_NS, Scale

ACCOUNTS = (1, 2, 3, account_id(1, number=1))
LINEAR, INVERSE = 1, 2
OFTEN = (1, 1, 2, 2, 3, ACCOUNTS[3])


def exchange(maker: str, limits: dict[str, int]) -> Exchange:
    """Two markets on one asset around 100 ticks; the accounts differ in what they can afford."""
    market = {
        "settlement": "COIN",
        "tick": "0.5",
        "price_min": "5",
        "price_max": "500",
        "order_max": "1000",
        "open_interest_max": "3000",
        "orders_max": 6,
        "order_checks": [{"provider": "price-band", "options": {"band": "12%"}}],
        "fees": {"provider": "maker-taker", "options": {"maker": maker, "taker": "0.05%"}},
        "brackets": [
            {"up_to": "1000", "initial": "5%", "maintenance": "2.5%"},
            {"up_to": "4000", "initial": "10%", "maintenance": "5%"},
            {"up_to": "20000", "initial": "25%", "maintenance": "15%"},
        ],
    }
    made = Exchange.of(
        {
            "exchange": {"funding": "none"},
            "limits": limits,
            "assets": {"COIN": {"id": 1, "unit": "0.001", "deposits_max": "1000000"}},
            "markets": {
                "LINEAR": {**market, "id": LINEAR, "kind": "linear", "lot": "1"},
                "INVERSE": {**market, "id": INVERSE, "kind": "inverse", "lot": "1", "multiplier": "5000"},
            },
        }
    )
    for account, amount in zip(ACCOUNTS, ("400", "3000", "100000", "100000"), strict=True):
        made.deposit(account, "COIN", amount)
    for name in ("LINEAR", "INVERSE"):
        made.quote(name, "50", time_ns=SECOND_NS)
    for name in ("LINEAR", "INVERSE"):
        made.set_terms(2, name, isolated=True, leverage=5, position_id=1)
        for account, position_id, side, size in (
            (2, 0, Side.BUY, "12"),
            (2, 1, Side.SELL, "9"),
            (1, 0, Side.SELL, "6"),
        ):
            made.place(ACCOUNTS[3], name, side.opposite, size, "50")
            made.place(account, name, side, size, "50", position_id=position_id)
        for side in Side:
            at = 50 - Fraction(side, 2)
            made.place(3, name, side, "11", text(at), display="2")
            made.place(1, name, side, "2", text(at - side))
            made.place(3, name, side, "20", text(at - side), hidden=True)
            made.place(2, name, side, "30", text(at - 2 * side))
    return made


def text(price: Fraction) -> str:
    return Scale(Fraction(1, 2)).format(int(price * 2))


KINDS: dict[str, dict[str, Any]] = {
    "iceberg": {},
    "hidden": {"hidden": True},
    "market": {"is_market": True, "price_ticks": 0},
    "post-only": {"post_only": True},
    "slide": {"post_only": True, "slide": True},
    "market-to-limit": {"market_to_limit": True, "price_ticks": 0},
    "pegged": {"pegged": True, "price_ticks": 0, "peg_offset_ticks": 1},
    "ioc": {"time_in_force": TimeInForce.IOC},
    "fok": {"time_in_force": TimeInForce.FOK},
    "capped": {"time_in_force": TimeInForce.FOK},
}


@st.composite
def plain_orders(draw: st.DrawFn) -> dict[str, Any]:
    """Draw what most orders are, with what makes a book and positions of every kind."""
    terms: dict[str, Any] = {"price_ticks": 100 + draw(st.integers(-6, 6))}
    kind = draw(st.sampled_from(("limit", "limit", *KINDS)))
    terms |= KINDS.get(kind, {})
    if kind == "iceberg":
        terms["display_lots"] = draw(st.integers(1, 5))
    elif kind == "capped":
        terms["value_limit_units"] = draw(st.sampled_from((1, 40_000, 200_000, 900_000)))
    return terms


@st.composite
def odd_orders(draw: st.DrawFn) -> dict[str, Any]:
    """Draw any terms at all, together or against each other."""
    flags = ("is_market", "post_only", "slide", "market_to_limit", "hidden", "pegged", "self_trade_by_owner")
    terms: dict[str, Any] = dict.fromkeys(draw(st.lists(st.sampled_from(flags), max_size=2)), True)
    terms["price_ticks"] = draw(st.sampled_from((0, 1, 60, 90, 95, 99, 100, 101, 105, 110, 130)))
    for name, values in (
        ("time_in_force", TimeInForce),
        ("display_lots", (-1, 1, 3, 50)),
        ("value_limit_units", (1, 200_000, 900_000)),
        ("peg_offset_ticks", (-1, 1, 2)),
        ("expires_ns", (1, 3600 * SECOND_NS)),
        ("client_order_id", (1, 2)),
    ):
        if draw(st.integers(0, 3)) == 0:
            terms[name] = draw(st.sampled_from(tuple(values)))
    return terms


@st.composite
def orders(draw: st.DrawFn) -> PlaceOrder:
    terms = draw(st.one_of(plain_orders(), plain_orders(), plain_orders(), odd_orders()))
    closing = draw(st.sampled_from(("", "", "", "reduce_only", "close")))
    if closing:
        terms[closing] = True
    return PlaceOrder(
        account=draw(st.sampled_from(OFTEN)),
        market=draw(st.sampled_from((LINEAR, LINEAR, INVERSE))),
        side=draw(st.sampled_from(Side)),
        size_lots=draw(st.one_of(st.integers(1, 30), st.integers(1, 30), st.sampled_from((0, 90, 400, 1001)))),
        position_id=draw(st.sampled_from((0, 0, 0, 1, 2))),
        self_trade=draw(st.sampled_from((SelfTrade.OFF, *SelfTrade))),
        **terms,
    )


@st.composite
def changes(draw: st.DrawFn) -> Any:
    """Draw something else that happens between two orders."""
    of = {"account": draw(st.sampled_from(OFTEN)), "market": draw(st.sampled_from((LINEAR, INVERSE)))}
    slot = {**of, "position_id": draw(st.sampled_from((0, 0, 1, 2)))}
    match draw(st.sampled_from(("terms", "terms", "mode", "margin", "price", "state", "time"))):
        case "terms":
            return SetPositionTerms(isolated=draw(st.booleans()), leverage=draw(st.sampled_from((0, 3, 20))), **slot)
        case "mode":
            return SetPositionMode(mode=draw(st.sampled_from(PositionMode)), **of)
        case "margin":
            return AdjustMargin(amount_units=draw(st.integers(-50_000, 50_000)), **slot)
        case "state":
            return draw(st.sampled_from((MarketState.OPEN, MarketState.OPEN, MarketState.POST_ONLY)))
        case "time":
            return draw(st.integers(1, 3))
    return str(50 + draw(st.integers(-3, 3)))


def happen(made: Exchange, change: Any) -> None:
    match change:
        case str():
            made.quote("LINEAR", change)
            made.quote("INVERSE", change)
        case MarketState():
            made.apply(SetMarketState(market=LINEAR, state=change, time_ns=made.clock_ns))
        case int():
            made.quote("LINEAR", {}, time_ns=made.clock_ns + change * SECOND_NS)
        case _:
            made.apply(attrs.evolve(change, time_ns=made.clock_ns))


def told(outcome: Outcome, order: PlaceOrder) -> dict[str, Any]:
    """Return what the events of a placed order say, in the fields of a preview."""
    events = outcome.events
    own = outcome.sequence
    accepted = next((e for e in events if isinstance(e, OrderAccepted)), None)
    rejected = next((e for e in events if isinstance(e, Rejected)), None)
    duplicate = next((e for e in events if isinstance(e, Duplicate)), None)
    fills = [e for e in events if isinstance(e, Filled) and not e.maker]
    cancels = [e for e in events if isinstance(e, OrderCancelled)]
    # What follows the best price rests again when an order of its own that it followed makes way.
    *_, rested = [0, *(e.size_lots for e in events if isinstance(e, OrderRested) and e.order_id == own)]
    at = next((i for i, e in enumerate(events) if isinstance(e, OrderRested)), len(events))
    trimmed = sum(e.size_lots for e in events[at:] if isinstance(e, OrderCancelled) and e.order_id == own)
    slot = (order.account, order.market, order.position_id)
    return {
        "refused": rejected and rejected.reason,
        "check": rejected.check if rejected else -1,
        "duplicate_of": duplicate.sequence if duplicate else 0,
        "size_lots": accepted.size_lots if accepted else 0,
        "limit_ticks": accepted.price_ticks if accepted else 0,
        "fills": tuple((e.price_ticks, abs(e.size_lots)) for e in fills),
        "rest_lots": rested - trimmed,
        "cancelled": tuple((e.reason, e.size_lots) for e in cancels if e.order_id == own),
        "gone": tuple(e.order_id for e in cancels if e.order_id != own and e.account == order.account),
        "fee_units": sum(e.fee_units for e in fills),
        "realized_units": sum(
            e.realized_units
            for e in events
            if isinstance(e, PositionChanged) and (e.account, e.market, e.position_id) == slot
        ),
    }


def stands(made: Exchange, order: PlaceOrder) -> dict[str, Any]:
    """Return what the exchange says of a position and its pool, in the fields of a standing."""
    pool, need = made.clearing.pool(order.account, 1), made.clearing.need(order.account, 1)
    slot = (order.market, order.position_id)
    held = next((e for e in pool.exposures if (e.market, e.position_id) == slot), None)
    found: dict[str, Any] = {
        "equity_units": need.equity_units,
        "initial_units": need.initial_units,
        "maintenance_units": need.maintenance_units,
        "size_lots": held.size_lots if held else 0,
        "cost_units": held.cost_units if held else 0,
    }
    if held and held.size_lots:
        found["isolated_units"] = held.isolated_units
        found["thresholds"] = made.clearing.thresholds(order.account, *slot)
    return found


def of(value: Any, like: dict[str, Any]) -> dict[str, Any]:
    return {name: getattr(value, name) for name in like}


def place_as_previewed(made: Exchange, order: PlaceOrder) -> Preview:
    state = made.dump()
    preview = made.preview_order(order)
    assert made.dump() == state
    before = stands(made, order)
    assert of(preview.before, before) == before
    outcome = made.apply(order)
    said = told(outcome, order)
    assert of(preview, said) == said
    after = stands(made, order)
    assert of(preview.after, after) == after
    assert preview.explain()
    event(f"gone: {len(preview.gone)}")
    event(f"cancelled: {[each.name for each, _ in preview.cancelled]}")
    event(preview.refused.text if preview.refused else f"in: {bool(preview.fills)=}, {bool(preview.rest_lots)=}")
    return preview


def fill_the_rest(made: Exchange, order: PlaceOrder, preview: Preview) -> None:
    """Let somebody take what rests, compare with what was foreseen, and take it all back.

    What goes in more than one fill may be rounded otherwise.
    """
    state = made.dump()
    taker = PlaceOrder(
        account=ACCOUNTS[3] if order.account == 3 else 3,
        market=order.market,
        side=order.side.opposite,
        size_lots=preview.rest_lots,
        price_ticks=preview.limit_ticks,
        time_in_force=TimeInForce.FOK,
        position_id=9,
        time_ns=made.clock_ns + 10 * SECOND_NS,
    )
    fills = made.apply(taker).fills
    if [(e.order_id, abs(e.size_lots)) for e in fills if e.maker] == [(made.sequence - 1, preview.rest_lots)]:
        after = stands(made, order)
        assert of(preview.if_filled, after) == after
        event("the rest filled")
    made.load(state)


@settings(max_examples=200)
@given(
    st.sampled_from(("0.01%", "0", "-0.02%")),
    st.sampled_from(({}, {}, {"order_fills_max": 2}, {"orders_per_second": 1, "orders_burst": 4})),
    st.lists(st.one_of(orders(), orders(), orders(), orders(), changes()), min_size=3, max_size=16),
)
def test_what_is_previewed_is_what_happens(maker: str, limits: dict[str, int], steps: list[Any]) -> None:
    made = exchange(maker, limits)
    for step in steps:
        if isinstance(step, PlaceOrder):
            order = attrs.evolve(step, time_ns=made.clock_ns)
            preview = place_as_previewed(made, order)
            # A taker's fee may be what pays a rebate.
            if preview.if_filled and maker != "-0.02%":
                fill_the_rest(made, order, preview)
            if order.pegged:
                # Or it would follow the next order, which is not what that order does itself.
                made.apply(
                    CancelOrder(
                        account=order.account, market=order.market, order_id=made.sequence, time_ns=order.time_ns
                    )
                )
        else:
            happen(made, step)
