"""Hypothesis strategies: markets, price paths, orders for a book, and command streams for a whole exchange."""

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from perpkit.model.command import (
    ApproveWithdrawal,
    CancelOrder,
    Command,
    DepositObserved,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
)
from perpkit.model.ids import AccountId, MarketId, account_id
from perpkit.model.market import MarketSpec
from perpkit.model.order import Order, SelfTrade, Side, TimeInForce
from perpkit.model.price import Quote
from perpkit.testing.builders import KINDS, market, order
from perpkit.units import HOUR_NS, MINUTE_NS, Nanos, Ticks

FIRST_NS = 8 * HOUR_NS
PRICE_MIN_TICKS, PRICE_MAX_TICKS = 12, 900
HOW_IT_RESTS: st.SearchStrategy[dict[str, Any]] = st.one_of(
    st.just({}),
    st.builds(dict, hidden=st.just(True)),
    st.builds(dict, display_lots=st.integers(1, 4)),
    st.builds(dict, time_in_force=st.sampled_from((TimeInForce.IOC, TimeInForce.FOK))),
)


@st.composite
def markets(draw: st.DrawFn) -> MarketSpec:
    """Draw a market of any kind, with either rounding of values."""
    rounding = draw(st.sampled_from(("fill", "unit")))
    return market(draw(st.sampled_from(KINDS)), value_rounding=rounding)


@st.composite
def price_paths(draw: st.DrawFn, *, length_max: int = 40, start_ticks: Ticks = 100) -> list[Ticks]:
    """Draw prices that mostly drift and now and then jump."""
    prices = [start_ticks]
    for _ in range(draw(st.integers(1, length_max))):
        percent = draw(st.one_of(st.integers(-3, 3), st.integers(-3, 3), st.integers(-40, 60)))
        prices.append(min(PRICE_MAX_TICKS, max(PRICE_MIN_TICKS, prices[-1] + prices[-1] * percent // 100)))
    return prices


@st.composite
def orders(draw: st.DrawFn, *, length_max: int = 40, around_ticks: Ticks = 100, spread_ticks: Ticks = 4) -> list[Order]:
    """Draw what a book is given: orders of both sides near one price, with every flag, numbered as they arrive.

    Two owners have two accounts each.
    """
    return [
        order(
            number,
            draw(st.sampled_from(Side)),
            draw(st.integers(1, 12)),
            around_ticks + draw(st.integers(-spread_ticks, spread_ticks)),
            account=account_id(draw(st.integers(1, 2)), draw(st.integers(0, 1))),
            self_trade=draw(st.sampled_from((SelfTrade.OFF, *SelfTrade))),
            self_trade_by_owner=draw(st.booleans()),
            **draw(HOW_IT_RESTS),
        )
        for number in range(1, draw(st.integers(1, length_max)) + 1)
    ]


@st.composite
def order_streams(
    draw: st.DrawFn,
    *,
    accounts: Sequence[AccountId] = (1, 2, 3, 4),
    market_ids: Sequence[MarketId] = (1,),
    length_max: int = 60,
) -> list[Command]:
    """Draw commands for an exchange of `builders.tables`: prices move and jump, accounts trade, deposit and withdraw.

    Stamps start at eight hours and never go back. Client order ids, deposit and withdrawal ids are the steps.
    """
    stream: list[Command] = []
    now_ns, prices = FIRST_NS, dict.fromkeys(market_ids, 100)
    kinds = ("quote",) * 3 + ("pair",) * 4 + ("place",) * 4 + ("cancel", "withdraw", "deposit")
    for step in range(1, draw(st.integers(1, length_max)) + 1):
        account, chosen = draw(st.sampled_from(accounts)), draw(st.sampled_from(market_ids))
        match draw(st.sampled_from(kinds)):
            case "quote":
                now_ns += draw(st.sampled_from((MINUTE_NS, 10 * MINUTE_NS, HOUR_NS)))
                percent = draw(st.one_of(st.integers(-5, 5), st.integers(-40, 50)))
                moved = prices[chosen] + prices[chosen] * percent // 100
                prices[chosen] = min(PRICE_MAX_TICKS, max(PRICE_MIN_TICKS, moved))
                stream.append(IndexQuotes(quotes=quotes_of(prices, now_ns), time_ns=now_ns))
            case "pair":
                side, size = draw(st.sampled_from(Side)), draw(st.integers(1, 400))
                price = prices[chosen] + draw(st.integers(-3, 3))
                other = accounts[accounts.index(account) - 1]
                first: dict[str, Any] = {"market": chosen, "size_lots": size, "price_ticks": price, "time_ns": now_ns}
                stream.append(PlaceOrder(account=account, side=side, client_order_id=step, **first))
                stream.append(PlaceOrder(account=other, side=side.opposite, client_order_id=10_000 + step, **first))
            case "place":
                stream.append(draw(_placements(account, chosen, prices[chosen], step, now_ns)))
            case "cancel":
                known = draw(st.integers(1, step))
                stream.append(CancelOrder(account=account, market=chosen, client_order_id=known, time_ns=now_ns))
            case "withdraw":
                amount = draw(st.integers(1, 100_000))
                stream.append(
                    RequestWithdrawal(withdrawal_id=step, account=account, asset=1, amount_units=amount, time_ns=now_ns)
                )
                if draw(st.booleans()):
                    stream.append(ApproveWithdrawal(withdrawal_id=step, time_ns=now_ns))
            case _:
                amount = draw(st.integers(1, 50_000))
                stream.append(
                    DepositObserved(deposit_id=step, account=account, asset=1, amount_units=amount, time_ns=now_ns)
                )
    return stream


@st.composite
def adversaries(draw: st.DrawFn, *, owner: int = 7, market_id: MarketId = 1, length_max: int = 30) -> list[Command]:
    """Draw what one owner does with two accounts to move a mark that looks at the own book.

    It never quotes an index: it trades with itself far from the price, and leaves orders there and takes them back.
    """
    stream: list[Command] = []
    for step in range(1, draw(st.integers(1, length_max)) + 1):
        away = draw(st.sampled_from((-60, -30, -5, 5, 60, 300)))
        side, price = draw(st.sampled_from(Side)), max(PRICE_MIN_TICKS, 100 + away)
        one, two = account_id(owner), account_id(owner, number=1)
        for account, its_side in ((one, side), (two, side.opposite))[: draw(st.integers(1, 2))]:
            stream.append(
                PlaceOrder(
                    account=account,
                    market=market_id,
                    side=its_side,
                    size_lots=draw(st.integers(1, 50)),
                    price_ticks=price,
                    client_order_id=2 * step + (account == two),
                )
            )
        if draw(st.booleans()):
            stream.append(CancelOrder(account=one, market=market_id, client_order_id=2 * step))
    return stream


def quotes_of(prices: dict[MarketId, Ticks], at_ns: Nanos, sources: int = 3) -> tuple[Quote, ...]:
    """Return quotes of every market from sources that agree."""
    return tuple(
        Quote(market=each, source=source, price_ticks=price, weight=1, at_ns=at_ns)
        for each, price in prices.items()
        for source in range(1, sources + 1)
    )


@st.composite
def _placements(
    draw: st.DrawFn, account: AccountId, market_id: MarketId, around: Ticks, step: int, now_ns: Nanos
) -> PlaceOrder:
    flags: dict[str, Any] = draw(st.sampled_from(({}, {}, {"reduce_only": True}, {"is_market": True})))
    tif = draw(st.sampled_from([each for each in (TimeInForce.GTC, *TimeInForce) if each is not TimeInForce.GTD]))
    return PlaceOrder(
        account=account,
        market=market_id,
        side=draw(st.sampled_from(Side)),
        size_lots=draw(st.integers(1, 400)),
        price_ticks=around + draw(st.integers(-5, 5)),
        time_in_force=tif,
        post_only=tif is TimeInForce.GTC and not flags and draw(st.booleans()),
        position_id=draw(st.sampled_from((0, 0, 1))),
        client_order_id=20_000 + step,
        time_ns=now_ns,
        **flags,
    )
