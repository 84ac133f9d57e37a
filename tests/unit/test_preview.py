"""What a preview says: numbers worked out by hand, and sentences that name what was found and what to do."""

from fractions import Fraction
from typing import Any

import attrs
import pytest

from perpkit.engine.exchange import Exchange
from perpkit.errors import UnitsError
from perpkit.model.cause import CancelReason
from perpkit.model.command import PlaceOrder
from perpkit.model.explain import REFUSALS
from perpkit.model.order import SelfTrade, Side, TimeInForce
from perpkit.model.position import PositionMode
from perpkit.model.reject import RejectReason
from perpkit.model.trigger import Attached, PriceSource, Relation, Trigger, TriggerKind

NOT_FOR_PLACING = {
    RejectReason.UNKNOWN_MARKET,
    RejectReason.UNKNOWN_ACCOUNT,
    RejectReason.OVERLOADED,
    RejectReason.PLUGIN_FAULT,
    RejectReason.UNKNOWN_ASSET,
    RejectReason.UNKNOWN_ORDER,
    RejectReason.UNKNOWN_WITHDRAWAL,
    RejectReason.UNKNOWN_DEPOSIT,
    RejectReason.BREACH_STANDS,
    RejectReason.NO_SUCH_BREACH,
    RejectReason.OPERATORS_NOT_DISTINCT,
    RejectReason.ID_REUSED,
    RejectReason.AMOUNT_NOT_POSITIVE,
    RejectReason.AMOUNT_ABOVE_MAXIMUM,
    RejectReason.TERMS_IN_USE,
    RejectReason.NOT_ISOLATED,
    RejectReason.LEVERAGE_TOO_HIGH,
    RejectReason.INSUFFICIENT_BALANCE,
    RejectReason.MARGIN_UNDER_STRESS,
}
"""What a preview cannot be refused for: an order of nobody is no preview, the rest belongs to other commands."""

MARKET = {"tick": "0.5", "lot": "0.01", "price_min": "5"}


@pytest.fixture
def exchange(make_exchange: Any) -> Exchange:
    """One lot of 0.01 at 100 is worth 1.00; account 2 offers 3 at 100.5 and 1 at 101.5, and bids 2 at 99."""
    made: Exchange = make_exchange(MARKET, unit="0.01", deposits={1: "100", 2: "5000", 3: "5000"})
    made.place(2, "PERP-1", Side.SELL, "3", "100.5")
    made.place(2, "PERP-1", Side.SELL, "1", "101.5")
    made.place(2, "PERP-1", Side.BUY, "2", "99")
    return made


def lines(exchange: Exchange, side: Side, size: str, price: str | None = None, **terms: Any) -> list[str]:
    return exchange.preview(1, "PERP-1", side, size, price, **terms).explain().splitlines()


def test_a_limit_order_is_explained_in_the_numbers_of_its_market(exchange: Exchange) -> None:
    assert lines(exchange, Side.BUY, "5", "101.5") == [
        "You would buy 4 PERP-1 at once at an average of 100.75, 0.75 % above the mark of 100.",
        "1 would wait in the book to buy at 101.5.",
        "There is no fee to pay.",
        "It ties up 51.65 COIN of margin; then you have 45.35 COIN free.",
        "Your position would then be long 4 PERP-1, bought at 100.75.",
        "It would be liquidated once the mark falls below 80, 20 % from the mark of 100, if nothing else changes.",
        "If the rest fills too, your position is long 5 PERP-1, bought at 100.9, and you have 45.5 COIN free.",
        "It would be liquidated once the mark falls below 85.5, 14.5 % from the mark of 100, if nothing else changes.",
    ]


def test_the_numbers_stand_in_the_preview(exchange: Exchange) -> None:
    preview = exchange.preview(1, "PERP-1", Side.BUY, "5", "101.5")
    assert (preview.fills, preview.rest_lots, preview.filled_lots) == (((201, 300), (203, 100)), 100, 400)
    assert (preview.average_ticks, preview.slippage) == (Fraction(403, 2), Fraction(3, 400))
    # To come in: 10 % of 5 at 101.5, and 7.5 that they would lose against the mark. Then 10 % of 4 at the mark of 100
    # and of 1 at 101.5, and 1.5 that this one would lose.
    assert (preview.needed_units, preview.margin_units) == (5825, 5165)
    assert preview.before.available_units == 10_000
    assert preview.after.available_units == 4535
    assert preview.if_filled is not None
    assert preview.if_filled.size_lots == 500


def test_a_sale_is_better_than_the_mark_with_the_other_sign(exchange: Exchange) -> None:
    assert exchange.preview(1, "PERP-1", Side.SELL, "1").slippage == Fraction(1, 100)
    assert lines(exchange, Side.SELL, "1")[0] == "You would sell 1 PERP-1 at once at 99, 1 % below the mark of 100."
    exchange.quote("PERP-1", "98")
    assert exchange.preview(1, "PERP-1", Side.SELL, "1").slippage == Fraction(-1, 98)


def test_an_inverse_average_is_by_value(make_exchange: Any) -> None:
    made = make_exchange({"kind": "inverse", "lot": "100"}, unit="0.0001", deposits={1: "100", 2: "1000"})
    made.place(2, "PERP-1", Side.SELL, "100", "100")
    made.place(2, "PERP-1", Side.SELL, "100", "101")
    preview = made.preview(1, "PERP-1", Side.BUY, "200", "101")
    assert preview.average_ticks == 2 / (Fraction(1, 100) + Fraction(1, 101))
    assert "at an average of about 100.5, about 0.5 % above the mark of 100." in preview.explain()
    assert "long 200 PERP-1, bought at about 100.5." in preview.explain()


def test_what_goes_away_says_why(exchange: Exchange) -> None:
    preview = exchange.preview(1, "PERP-1", Side.BUY, "5")
    assert preview.cancelled == ((CancelReason.IMMEDIATE, 100),)
    assert "1 would be cancelled: the book holds no more at 105 or better." in preview.explain()
    exchange.place(1, "PERP-1", Side.SELL, "1", "100")
    text = "1 would be cancelled: it would trade with an order of your own."
    assert text in lines(exchange, Side.BUY, "1", self_trade=SelfTrade.CANCEL_TAKER)


def test_what_is_hidden_and_what_gives_way_is_said(exchange: Exchange) -> None:
    assert "2 would wait in the book to buy at 99, unseen by others." in lines(
        exchange, Side.BUY, "2", "99", hidden=True
    )
    assert "2 would wait in the book to buy at 99, of which others see 0.5." in lines(
        exchange, Side.BUY, "2", "99", display="0.5"
    )
    exchange.place(1, "PERP-1", Side.BUY, "2")
    other = exchange.place(1, "PERP-1", Side.SELL, "2", "103").sequence
    closing = exchange.preview(1, "PERP-1", Side.SELL, "2", close=True)
    assert closing.gone == (other,)
    assert closing.explain().splitlines() == [
        "You would sell 2 PERP-1 at once at 99, 1 % below the mark of 100.",
        f"Your other orders would make way, wholly or in part: {other}.",
        "What it closes brings a loss of 3 COIN.",
        "There is no fee to pay.",
        "It frees 20 COIN of margin; then you have 97 COIN free.",
        "Your position would then be closed.",
    ]


def test_what_reduce_only_orders_give_up_for_a_new_one_does_not_count_as_resting(exchange: Exchange) -> None:
    exchange.place(1, "PERP-1", Side.BUY, "2")
    first = exchange.place(1, "PERP-1", Side.SELL, "2", "102", reduce_only=True).sequence
    aside = exchange.preview(1, "PERP-1", Side.SELL, "2", "103", reduce_only=True)
    assert (aside.rest_lots, aside.cancelled, aside.gone) == (0, ((CancelReason.REDUCE_ONLY, 200),), ())
    assert "2 would be cancelled: there would be nothing left for it to close." in aside.explain()
    ahead = exchange.preview(1, "PERP-1", Side.SELL, "2", "101.5", reduce_only=True)
    assert (ahead.rest_lots, ahead.gone) == (200, (first,))


def test_the_margin_of_an_isolated_position_counts_as_tied_up(exchange: Exchange) -> None:
    exchange.set_terms(1, "PERP-1", isolated=True, leverage=4)
    preview = exchange.preview(1, "PERP-1", Side.BUY, "2", "100.5")
    assert (preview.margin_units, preview.after.isolated_units, preview.after.available_units) == (5025, 5025, 4975)


def test_no_price_may_be_far_enough_to_be_liquidated(make_exchange: Any) -> None:
    made = make_exchange(MARKET, unit="0.01", deposits={1: "5000", 2: "5000"})
    made.place(2, "PERP-1", Side.SELL, "1", "100")
    text = "No price would have it liquidated, if nothing else changes."
    assert lines(made, Side.BUY, "1")[-1] == text


def test_a_short_is_liquidated_above(exchange: Exchange) -> None:
    found = lines(exchange, Side.SELL, "2")[-1]
    assert found.startswith("It would be liquidated once the mark rises above 14")


def test_an_order_with_a_trigger_is_spoken_of_as_if_it_fired_now(exchange: Exchange) -> None:
    live = lines(exchange, Side.BUY, "2", "101.5")
    waits = lines(exchange, Side.BUY, "2", "101.5", trigger=Trigger(price_ticks=210))
    assert waits[0] == (
        "The order waits until the mark rises to 105; this is what it would do if that happened now, at today's book."
    )
    assert waits[1:] == live
    for trigger, start in (
        (Trigger(kind=TriggerKind.TAKE_PROFIT, price_ticks=190), "the mark falls to 95;"),
        (Trigger(price_source=PriceSource.INDEX, trail_ticks=3), "the index rises by 1.5 from its lowest;"),
        (Trigger(trail_ppb=10**7), "the mark rises by 1 % from its lowest;"),
    ):
        assert lines(exchange, Side.BUY, "2", "101.5", trigger=trigger)[0].startswith(f"The order waits until {start}")


def test_a_trigger_that_was_reached_refuses_today(exchange: Exchange) -> None:
    preview = exchange.preview(1, "PERP-1", Side.BUY, "2", trigger=Trigger(price_ticks=190))
    assert preview.refused is RejectReason.TRIGGER_CROSSED
    assert exchange.place(1, "PERP-1", Side.BUY, "2", trigger=Trigger(price_ticks=190)).rejected is preview.refused


def test_a_stop_for_the_whole_position_shows_what_it_would_close_now(exchange: Exchange) -> None:
    exchange.place(1, "PERP-1", Side.BUY, "2")
    command = exchange.order(1, "PERP-1", Side.SELL, "0", close=True, trigger=Trigger(price_ticks=180))
    preview = exchange.preview_order(command)
    assert (preview.refused, preview.filled_lots, preview.after.size_lots) == (None, 200, 0)


def test_orders_that_come_with_it_are_mentioned(exchange: Exchange) -> None:
    stop = Attached(side=Side.SELL, is_market=True, trigger=Trigger(price_ticks=180))
    profit = Attached(side=Side.SELL, price_ticks=220)
    either = Attached(relation=Relation.EITHER, side=Side.SELL, size_lots=100, price_ticks=230, reduce_only=False)
    text = lines(exchange, Side.BUY, "2", "99", attached=(stop, profit, either))
    assert "Orders that come with it and go live once it fills: 2." in text
    assert "Orders that come with it and are alive beside it: 1." in text


def test_too_little_money_says_how_much_is_needed_and_free(exchange: Exchange) -> None:
    assert lines(exchange, Side.BUY, "25.12", "99.5") == [
        "The exchange would refuse this order: insufficient-margin.",
        "You need 249.95 COIN and have 100 COIN free: make it smaller or deposit.",
    ]
    exchange.place(1, "PERP-1", Side.BUY, "4", "101.5")
    exchange.quote("PERP-1", "80")
    said = lines(exchange, Side.BUY, "1", "80")[1]
    assert said == "You need 8 COIN and are 15 COIN short: make it smaller or deposit."


def test_the_check_that_refuses_is_named(make_exchange: Any) -> None:
    band = {"provider": "price-band", "options": {"band": "1%"}}
    wide = {"provider": "price-band", "options": {"band": "50%"}}
    made = make_exchange({**MARKET, "order_checks": [wide, band]}, unit="0.01", deposits={1: "100"})
    preview = made.preview(1, "PERP-1", Side.BUY, "1", "102")
    assert (preview.refused, preview.check, preview.check_name) == (RejectReason.ORDER_CHECK, 1, "price-band")
    assert preview.explain().splitlines()[1] == (
        'The rule "price-band" of PERP-1 does not let you buy 1 at 102 while the mark is 100: '
        "choose a price nearer to the mark, or a smaller size."
    )


@pytest.mark.parametrize(
    ("side", "size", "price", "terms", "said"),
    [
        (Side.BUY, "0", "99", {}, "Its size is 0: choose a size above zero."),
        (Side.BUY, "1", "1", {}, "go from 5 to 10000, and this order has 1: choose a price in between."),
        (Side.BUY, "1", "101", {"post_only": True}, "somebody offers to sell at 100.5: choose a lower price, or let"),
        (Side.SELL, "1", "98", {"post_only": True}, "somebody offers to buy at 99: choose a higher price, or let"),
        (Side.SELL, "1", "99", {"reduce_only": True}, "and you have none, with nothing left that an order to sell"),
        (Side.BUY, "9", "101", {"time_in_force": TimeInForce.FOK}, "the book does not hold 9 for it at its price"),
        (Side.BUY, "1", "99", {"slide": True, "hidden": True}, "(good till cancelled, sliding, hidden)"),
        (Side.BUY, "2", None, {"value_limit": "0.01"}, "your value limit of 0.01 COIN"),
    ],
)
def test_a_refusal_says_what_was_found_and_what_to_do(
    exchange: Exchange, side: Side, size: str, price: str | None, terms: dict[str, Any], said: str
) -> None:
    assert said in lines(exchange, side, size, price, **terms)[1]


def test_every_reason_to_refuse_an_order_has_its_sentence(exchange: Exchange) -> None:
    assert set(REFUSALS) == set(RejectReason) - NOT_FOR_PLACING
    taken = exchange.preview(1, "PERP-1", Side.BUY, "1")
    for reason in REFUSALS:
        first, second = attrs.evolve(taken, refused=reason).explain().splitlines()
        assert first == f"The exchange would refuse this order: {reason.text}."
        assert second.endswith(".")
        assert not set("{}") & set(second)


def test_reasons_that_the_exchange_itself_gives_are_previewed(exchange: Exchange) -> None:
    assert exchange.preview_order(PlaceOrder(account=1, market=1, side=Side.BUY, size_lots=1)).refused is (
        RejectReason.EARLIER_STAMP
    )
    done = exchange.place(1, "PERP-1", Side.BUY, "1", "99", client_order_id=7).sequence
    again = exchange.preview(1, "PERP-1", Side.BUY, "1", "99", client_order_id=7)
    assert (again.duplicate_of, again.rest_lots, again.after) == (done, 0, again.before)
    assert again.explain() == f"Command {done} placed this order already: sending it again changes nothing."
    other = exchange.preview(1, "PERP-1", Side.BUY, "2", "99", client_order_id=7)
    assert (other.refused, other.rest_lots) == (RejectReason.CLIENT_ORDER_ID_REUSED, 0)


def test_without_a_mark_there_is_nothing_to_compare_with(make_exchange: Any) -> None:
    made = make_exchange(MARKET, deposits={1: "100"}, price=None)
    assert lines(made, Side.BUY, "1", "99")[1] == "PERP-1 has no mark price yet: wait until it has one."


def test_a_position_that_the_mode_does_not_know_is_explained(exchange: Exchange) -> None:
    exchange.set_mode(1, "PERP-1", PositionMode.HEDGE)
    assert lines(exchange, Side.BUY, "1", "99")[1].startswith("Position 0 does not exist in your position mode:")


def test_an_order_of_nobody_is_no_preview(exchange: Exchange) -> None:
    with pytest.raises(UnitsError, match="unknown-account"):
        exchange.preview(9, "PERP-1", Side.BUY, "1")
