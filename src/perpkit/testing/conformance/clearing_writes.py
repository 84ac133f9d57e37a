"""What a clearing is asked to do in laws: writes of every kind, mostly trades and orders near 100."""

from typing import Any

from hypothesis import strategies as st

from perpkit.model.order import SelfTrade, Side, TimeInForce
from perpkit.model.position import PositionMode
from perpkit.testing.conformance.clearing_desk import Write
from perpkit.units import SCALE

IOC, FOK = TimeInForce.IOC, TimeInForce.FOK
_ACCOUNTS, _MARKETS, _PRICES = st.integers(1, 3), st.integers(1, 2), st.integers(95, 105)
_SIZES = st.sampled_from((5, 40, 90))
_FLAGS: tuple[dict[str, Any], ...] = (
    {},
    {},
    {"time_in_force": IOC},
    {"time_in_force": FOK},
    {"post_only": True},
    {"reduce_only": True},
    {"is_market": True},
    {"position_id": 1},
    {"position_id": 2},
    {"locked": True},
    {"display_lots": 5},
    {"hidden": True},
    {"pegged": True},
    {"market_to_limit": True},
    {"post_only": True, "slide": True},
    {"close": True},
    {"close": True, "is_market": True},
    {"value_limit_units": 2_000, "time_in_force": IOC},
    {"self_trade": SelfTrade.CANCEL_MAKER},
    {"self_trade": SelfTrade.DECREMENT},
)
_KEYS: dict[str, dict[str, st.SearchStrategy[Any]]] = {
    "trade": {"buyer": _ACCOUNTS, "seller": _ACCOUNTS, "size": _SIZES, "price": _PRICES, "market": _MARKETS},
    "place": {
        "account": _ACCOUNTS,
        "side": st.sampled_from(Side),
        "size": _SIZES,
        "price": _PRICES,
        "market": _MARKETS,
    },
    "cancel": {"account": _ACCOUNTS, "market": _MARKETS, "order_id": st.integers(1, 8)},
    "amend": {
        "account": _ACCOUNTS,
        "market": _MARKETS,
        "order_id": st.integers(1, 8),
        "size": st.sampled_from((0, 5, 40, 90)),
        "price": st.one_of(st.just(0), _PRICES),
    },
    "cancel_all": {
        "market": _MARKETS,
        "account": st.sampled_from((1, 2, 3, None)),
        "side": st.sampled_from((None, *Side)),
        "position_id": st.sampled_from((None, 0, 1)),
    },
    "adjust": {"account": _ACCOUNTS, "market": _MARKETS, "amount": st.sampled_from((-30, 40))},
    "set_mode": {"account": _ACCOUNTS, "market": _MARKETS, "mode": st.sampled_from(PositionMode)},
    "mark": {"market": _MARKETS, "price": st.sampled_from((60, 90, 101, 115, 150))},
    "fund": {"market": _MARKETS, "per_lot_scaled": st.sampled_from((-SCALE, -1, SCALE // 3))},
    "settle": {"account": _ACCOUNTS},
    "isolate": {"account": _ACCOUNTS, "market": _MARKETS, "leverage": st.sampled_from((0, 10, 30))},
    "deposit": {"account": _ACCOUNTS, "amount": st.integers(1, 5_000)},
    "withdraw": {"account": _ACCOUNTS, "amount": st.integers(1, 5_000)},
    "close": {"account": _ACCOUNTS, "market": _MARKETS, "limit": st.integers(90, 110)},
    "take_over": {"account": _ACCOUNTS, "market": _MARKETS, "price": st.sampled_from((70, 95, 100, 140))},
    "unwind": {
        "account": _ACCOUNTS,
        "market": _MARKETS,
        "moved_to": st.sampled_from((70, 140)),
        "price": st.sampled_from((90, 110)),
    },
}
_KINDS = st.sampled_from((*_KEYS, *["trade"] * 4, *["place"] * 5, "amend", "unwind", "isolate"))
_DRAWN = {name: st.fixed_dictionaries(keys) for name, keys in _KEYS.items()}


@st.composite
def writes(draw: st.DrawFn, *, length_max: int = 10) -> list[Write]:
    """Draw writes for `Desk.do`: mostly trades and orders near 100, of three accounts in two markets."""
    drawn: list[Write] = []
    for _ in range(draw(st.integers(1, length_max))):
        kind = draw(_KINDS)
        drawn.append(draw(orders_to_place()) if kind == "place" else (kind, draw(_DRAWN[kind])))
    return drawn


@st.composite
def orders_to_place(draw: st.DrawFn) -> Write:
    """Draw one order of any kind."""
    return "place", draw(_DRAWN["place"]) | draw(st.sampled_from(_FLAGS))
