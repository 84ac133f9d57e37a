"""A preview in plain English. Every number it gives is one of the preview's, written in the market's own scales."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

import attrs

from perpkit.model.cause import CancelReason
from perpkit.model.command import PlaceOrder
from perpkit.model.market import ContractKind, MarketSpec
from perpkit.model.order import Side, TimeInForce
from perpkit.model.reject import RejectReason
from perpkit.model.trigger import PriceSource, Relation, Trigger
from perpkit.units import SCALE, Lots, Scale, Ticks, Units, div_half_even

if TYPE_CHECKING:
    from perpkit.model.preview import Preview, Standing

PERCENT = Scale(Fraction(1, 100))

REFUSALS: dict[RejectReason, str] = {
    RejectReason.EARLIER_STAMP: "Its time is earlier than that of the last command: send it with the present time.",
    RejectReason.CLIENT_ORDER_ID_REUSED: "Your client order id {client_order_id} already stands for another order: "
    "choose one that you have not used.",
    RejectReason.RATE_LIMITED: "Your orders come faster than the exchange takes them from one account: wait a moment "
    "and send it again.",
    RejectReason.MARKET_STATE: "{market} is {state} at the moment and does not take this order: wait until it is open.",
    RejectReason.ACCOUNT_LOCKED: "Your account is being liquidated and may only close positions: make the order "
    "reduce-only, or wait until that is over.",
    RejectReason.SIZE_NOT_POSITIVE: "Its size is {size}: choose a size above zero.",
    RejectReason.SIZE_ABOVE_MAXIMUM: "An order in {market}, attached ones too, may have a size of at most {size_max}, "
    "and this one has {size}: split it.",
    RejectReason.PRICE_OUT_OF_BOUNDS: "Prices in {market}, those of triggers and attached orders too, go from "
    "{price_min} to {price_max}, and this order has {price}: choose a price in between.",
    RejectReason.FLAGS_CONFLICT: "Its terms do not go together ({terms}): leave one of them out, or give it an end "
    "that is still to come.",
    RejectReason.POSITION_MODE: "Position {position_id} does not exist in your position mode: one-way mode has only "
    "position 0, hedge mode 1 for long and 2 for short. Choose one of those.",
    RejectReason.NO_MARK: "{market} has no mark price yet: wait until it has one.",
    RejectReason.NO_REFERENCE_PRICE: "Nobody shows an order to {side} that its price could follow: give it a price "
    "of its own.",
    RejectReason.TRIGGER_CROSSED: "Its trigger has been reached already: choose a price that is still to come, or "
    "leave the trigger out.",
    RejectReason.TOO_MANY_ORDERS: "You have {orders_max} orders waiting in {market}, and more are not allowed: cancel "
    "one of them first.",
    RejectReason.ORDER_CHECK: 'The rule "{check}" of {market} does not let you {side} {size} at {price} while the mark '
    "is {mark}: choose a price nearer to the mark, or a smaller size.",
    RejectReason.NOTHING_TO_REDUCE: "It may only make a position smaller, and {position}, with nothing left that an "
    "order to {side} could close: leave reduce-only out if you want to open a position.",
    RejectReason.PAST_BANKRUPTCY: "At {price} it would close your position beyond {bankruptcy}, where your margin is "
    "used up, and nobody else pays for that: choose a better price, or deposit.",
    RejectReason.WOULD_CROSS: "It is post-only and would trade at once, since somebody offers to {opposite} at {best}: "
    "choose a {better} price, or let it slide.",
    RejectReason.CANNOT_FILL: "It has to fill at once, and the book does not hold {size} for it at its price: make it "
    "smaller, choose a {worse} price, or let it wait in the book.",
    RejectReason.COST_CAP: "It cannot fill within your value limit of {value_limit}: choose another limit, or "
    "another size.",
    RejectReason.POSITION_LIMIT: "With it your position could become worth more than {value_max}, the most "
    "that {market} allows: make it smaller.",
    RejectReason.OPEN_INTEREST_LIMIT: "All positions in {market} together may have a size of at most "
    "{open_interest_max}, and it would go beyond: make it smaller, or wait.",
    RejectReason.INSUFFICIENT_MARGIN: "You need {needed} and {free}: make it smaller or deposit.",
    RejectReason.OTHER_POSITION_AT_RISK: "Margin rises with all that you hold in {market}, and another position there, "
    "which has margin of its own, would be liquidated: make it smaller, or give that position more margin first.",
}
"""What to tell a trader about every reason for which placing an order can be refused: what was found, what to do."""

CANCELS: dict[CancelReason, str] = {
    CancelReason.IMMEDIATE: "the book holds no more at {limit} or better",
    CancelReason.WORK_LIMIT: "one order may not meet so many others at once",
    CancelReason.SELF_TRADE: "it would trade with an order of your own",
    CancelReason.COST_CAP: "your value limit is used up",
    CancelReason.REDUCE_ONLY: "there would be nothing left for it to close",
}
"""Why a part of an order that is let in goes away unfilled."""

TERMS: dict[str, str] = {
    "is_market": "at the market",
    "post_only": "post-only",
    "reduce_only": "reduce-only",
    "close": "close",
    "slide": "sliding",
    "market_to_limit": "market-to-limit",
    "hidden": "hidden",
    "display_lots": "iceberg",
    "pegged": "pegged",
    "peg_offset_ticks": "peg offset",
    "value_limit_units": "value limit",
    "expires_ns": "with an end",
    "trigger": "trigger",
    "attached": "attached orders",
}
"""How a field of an order is called when its terms are listed."""

TIMES: dict[TimeInForce, str] = {
    TimeInForce.GTC: "good till cancelled",
    TimeInForce.IOC: "immediate or cancel",
    TimeInForce.FOK: "fill or kill",
    TimeInForce.GTD: "good till a date",
    TimeInForce.DAY: "good for the day",
}
"""How the times in force are called."""


def explain(preview: "Preview") -> str:
    """Say a preview in sentences, one a line."""
    return "\n".join(_sentences(preview))


@attrs.frozen
class _Text:
    """Numbers of one market as text: exact, without zeros at the end."""

    market: MarketSpec
    unit: Scale
    asset: str

    def lots(self, lots: Lots) -> str:
        return _plain(self.market.lot.format(lots))

    def price(self, ticks: Ticks) -> str:
        return _plain(self.market.tick.format(ticks))

    def money(self, units: Units) -> str:
        return f"{_plain(self.unit.format(units))} {self.asset}".rstrip()

    def average(self, ticks: Fraction) -> str:
        """Return a price that need not be listed, with two digits more than the tick."""
        return _near(ticks * 100, Scale(self.market.tick.step * Fraction(1, 100)))

    def percent(self, part: Fraction) -> str:
        return f"{_near(abs(part) * 10_000, PERCENT)} %"

    def position(self, standing: "Standing") -> str:
        size = standing.size_lots
        if not size:
            return "closed"
        entry = _entry(self.market, standing)
        price = "" if entry is None else f", bought at {self.average(entry)}"
        if size < 0:
            price = price.replace("bought", "sold")
        return f"{'long' if size > 0 else 'short'} {self.lots(abs(size))} {self.market.name}{price}"


def _sentences(preview: "Preview") -> Iterator[str]:
    text = _Text(preview.market, preview.unit, preview.asset)
    if preview.order.trigger:
        yield _trigger(text, preview.order, preview.order.trigger)
    if preview.refused:
        yield f"The exchange would refuse this order: {preview.refused.text}."
        yield REFUSALS[preview.refused].format_map(_found(preview, text))
    elif preview.duplicate_of:
        yield f"Command {preview.duplicate_of} placed this order already: sending it again changes nothing."
    else:
        yield from _trades(preview, text)
        yield from _others(preview)
        yield from _money(preview, text)
        yield from _position(preview, text)


def _trigger(text: _Text, order: PlaceOrder, trigger: Trigger) -> str:
    price = "last price" if trigger.price_source is PriceSource.LAST else trigger.price_source.name.lower()
    way = "rises" if trigger.rising(order.side) else "falls"
    if trigger.trails:
        rate = text.percent(Fraction(trigger.trail_ppb, SCALE))
        trail = text.price(trigger.trail_ticks) if trigger.trail_ticks else rate
        when = f"{way} by {trail} from its {'lowest' if way == 'rises' else 'highest'}"
    else:
        when = f"{way} to {text.price(trigger.price_ticks)}"
    return f"The order waits until the {price} {when}; this is what it would do if that happened now, at today's book."


def _trades(preview: "Preview", text: _Text) -> Iterator[str]:
    order, average, limit = preview.order, preview.average_ticks, text.price(preview.limit_ticks)
    verb = "buy" if order.side is Side.BUY else "sell"
    if average is None or preview.slippage is None:
        yield "Nothing would trade at once."
    else:
        size = text.lots(preview.filled_lots)
        slip = preview.slippage * order.side
        away = f"{text.percent(slip)} {'above' if slip > 0 else 'below'}" if slip else "exactly"
        mark = text.price(preview.mark_ticks)
        each = "at" if len({price for price, _ in preview.fills}) == 1 else "at an average of"
        price = text.average(average)
        yield f"You would {verb} {size} {text.market.name} at once {each} {price}, {away} the mark of {mark}."
    if preview.rest_lots:
        shown = ""
        if order.hidden:
            shown = ", unseen by others"
        elif order.display_lots and order.display_lots < preview.rest_lots:
            shown = f", of which others see {text.lots(order.display_lots)}"
        yield f"{text.lots(preview.rest_lots)} would wait in the book to {verb} at {limit}{shown}."
    for reason, lots in preview.cancelled:
        yield f"{text.lots(lots)} would be cancelled: {CANCELS[reason].format(limit=limit)}."


def _others(preview: "Preview") -> Iterator[str]:
    if preview.gone:
        ids = ", ".join(str(each) for each in dict.fromkeys(preview.gone))
        yield f"Your other orders would make way, wholly or in part: {ids}."
    for relation, what in ((Relation.AFTER, "go live once it fills"), (Relation.EITHER, "are alive beside it")):
        if count := sum(each.relation is relation for each in preview.order.attached):
            yield f"Orders that come with it and {what}: {count}."


def _money(preview: "Preview", text: _Text) -> Iterator[str]:
    if preview.realized_units:
        won = "profit" if preview.realized_units > 0 else "loss"
        yield f"What it closes brings a {won} of {text.money(abs(preview.realized_units))}."
    if preview.fee_units:
        paid = "pay a fee" if preview.fee_units > 0 else "are paid a rebate"
        yield f"You {paid} of {text.money(abs(preview.fee_units))}."
    elif preview.fills:
        yield "There is no fee to pay."
    margin = preview.margin_units
    ties = "It ties up" if margin > 0 else "It frees"
    what = f"{ties} {text.money(abs(margin))} of margin" if margin else "It ties up no margin"
    yield f"{what}; then {_free(text, preview.after)}."


def _position(preview: "Preview", text: _Text) -> Iterator[str]:
    after = preview.after
    if preview.fills:
        yield f"Your position would then be {text.position(after)}."
    elif after.size_lots:
        yield f"Your position would stay {text.position(after)}."
    if after.size_lots:
        yield _liquidation(preview, text, after)
    if preview.if_filled and preview.if_filled.size_lots:
        full = preview.if_filled
        yield f"If the rest fills too, your position is {text.position(full)}, and {_free(text, full)}."
        yield _liquidation(preview, text, full)


def _liquidation(preview: "Preview", text: _Text, standing: "Standing") -> str:
    price, mark = standing.thresholds.liquidation_ticks, preview.mark_ticks
    if standing.isolated_units is None and standing.equity_units < standing.maintenance_units:
        return "It would be liquidated at once: your account would hold less than it must."
    if price is None:
        return "No price would have it liquidated, if nothing else changes."
    falls = standing.size_lots > 0
    if standing.isolated_units is None and price != mark:
        # A cross position may lose on the other side, where it is the smaller part of what the account holds.
        falls = price < mark
    if (price - mark) * (1 if falls else -1) > 0:
        return f"It would be liquidated at once: the mark of {text.price(mark)} is past {text.price(price)}."
    part = text.percent(Fraction(price - mark, mark))
    return (
        f"It would be liquidated once the mark {'falls below' if falls else 'rises above'} {text.price(price)}, "
        f"{part} from the mark of {text.price(mark)}, if nothing else changes."
    )


def _free(text: _Text, standing: "Standing") -> str:
    free = standing.available_units
    return f"you have {text.money(free)} free" if free >= 0 else f"you are {text.money(-free)} short"


def _found(preview: "Preview", text: _Text) -> dict[str, object]:
    """Return what the sentences about refusals may name."""
    order, market, before = preview.order, preview.market, preview.before
    buys = order.side is Side.BUY
    bankruptcy = before.thresholds.bankruptcy_ticks
    return {
        "bankruptcy": "its limits" if bankruptcy is None else text.price(bankruptcy),
        "best": "no price" if preview.best_ticks is None else text.price(preview.best_ticks),
        "better": "lower" if buys else "higher",
        "check": preview.check_name or preview.check,
        "client_order_id": order.client_order_id,
        "free": _free(text, before).removeprefix("you "),
        "mark": text.price(preview.mark_ticks),
        "market": market.name,
        "needed": text.money(preview.needed_units),
        "open_interest_max": text.lots(market.open_interest_max_lots),
        "opposite": "sell" if buys else "buy",
        "orders_max": market.orders_max,
        "position": f"yours is {text.position(before)}" if before.size_lots else "you have none",
        "position_id": order.position_id,
        "price": text.price(order.price_ticks) if order.price_ticks else "no price of its own",
        "price_max": text.price(market.price_max_ticks),
        "price_min": text.price(market.price_min_ticks),
        "side": "buy" if buys else "sell",
        "size": text.lots(order.size_lots),
        "size_max": text.lots(market.order_max_lots),
        "state": preview.market_state.name.lower().replace("_", "-"),
        "terms": ", ".join(_terms(order)),
        "value_limit": text.money(order.value_limit_units),
        "value_max": text.money(market.brackets[-1].up_to_units),
        "worse": "higher" if buys else "lower",
    }


def _terms(order: PlaceOrder) -> Iterator[str]:
    yield TIMES[order.time_in_force]
    yield from (name for field, name in TERMS.items() if getattr(order, field))


def _entry(market: MarketSpec, standing: "Standing") -> Fraction | None:
    """Return the price at which the whole position would have its cost."""
    size, cost = standing.size_lots, standing.cost_units
    if market.kind is ContractKind.INVERSE:
        return Fraction(-size * market.numerator, market.denominator * cost) if cost else None
    return Fraction(cost * market.denominator, size * market.numerator)


def _near(steps: Fraction, scale: Scale) -> str:
    """Return so many steps of a scale as text, with a word of warning where it is not exact."""
    nearest = _plain(scale.format(div_half_even(steps.numerator, steps.denominator)))
    return nearest if steps.denominator == 1 else f"about {nearest}"


def _plain(decimal: str) -> str:
    return decimal.rstrip("0").removesuffix(".") if "." in decimal else decimal
