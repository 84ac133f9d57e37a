"""A stranger's package: an order book of another make, and a mark that follows the index slowly."""

import attrs

from perpkit.errors import PluginError
from perpkit.model.cause import CancelReason
from perpkit.model.ids import owner_of
from perpkit.model.order import Level, Match, MatchPlan, SelfTrade, TimeInForce
from perpkit.model.price import Mark
from perpkit.plugin import BOOK, MARK_PRICE, NoOptions, hookimpl


class FlatBook:
    """Every order in one list, as they came; whatever is asked is worked out from all of it."""

    def __init__(self, context, options):
        self._fills_max = context.limits.order_fills_max
        self._resting = []
        self._version = 0

    def _parts(self, side):
        """Return (order, lots, first) in the order in which they are met: shown parts, then hidden ones, by price."""
        parts = []
        for age, order in enumerate(self._resting):
            shown = order.size_lots - order.hidden_lots
            for hides, lots in ((False, shown), (True, order.hidden_lots)):
                if lots and order.side is side:
                    parts.append((-side * order.price_ticks, hides, age, order, lots, not (hides and shown)))
        return [part[3:] for part in sorted(parts, key=lambda part: part[:3])]

    def _meetings(self, taker):
        """Return (maker, lots off it, lots off the taker, prevented), each as if nothing stopped the taker before."""
        wish, meetings = taker.self_trade, []
        for maker, lots, first in self._parts(taker.side.opposite):
            if taker.side * maker.price_ticks > taker.side * taker.price_ticks:
                continue
            who = (taker.account, maker.account)
            own = wish and len({owner_of(each) for each in who} if taker.self_trade_by_owner else set(who)) == 1
            if not own or wish is SelfTrade.DECREMENT:
                meetings.append((maker, lots, lots, bool(own)))
            elif wish is SelfTrade.CANCEL_TAKER:
                meetings.append((maker, 0, None, True))
            elif first:
                stops = None if wish is SelfTrade.CANCEL_BOTH else 0
                meetings.append((maker, maker.size_lots, stops, True))
        return meetings

    def plan(self, taker, /):
        left, matches, prevented, why = taker.size_lots, [], 0, CancelReason.IMMEDIATE
        for maker, off_maker, off_taker, own in self._meetings(taker):
            if not left or why is not CancelReason.IMMEDIATE:
                break
            if len(matches) == self._fills_max:
                why = CancelReason.WORK_LIMIT
                break
            if off_taker is None:
                why = CancelReason.SELF_TRADE
            size = min(left, off_taker) if off_taker else off_maker
            if off_taker:
                left -= size
                prevented += size if own else 0
            if size:
                matches.append(
                    Match(
                        maker=maker.id,
                        maker_account=maker.account,
                        maker_position_id=maker.position_id,
                        price_ticks=maker.price_ticks,
                        size_lots=size,
                        prevented=own,
                    )
                )
        if taker.time_in_force is TimeInForce.FOK and left + prevented:
            left, matches, prevented = taker.size_lots, [], 0
        rests = left if (taker.time_in_force, why) == (TimeInForce.GTC, CancelReason.IMMEDIATE) else 0
        return MatchPlan(
            taker=taker,
            version=self._version,
            matches=tuple(matches),
            rest_lots=rests,
            cancel_lots=left - rests,
            prevented_lots=prevented,
            cancel_reason=why,
        )

    def commit(self, plan, /):
        if plan.version != self._version:
            raise PluginError("flat: the book changed since this was planned")
        self._version += 1
        for match in plan.matches:
            order = self._order(match.maker)
            shown = order.size_lots - order.hidden_lots - match.size_lots
            self._become(order, max(shown, 0), order.hidden_lots + min(shown, 0))
        for maker in dict.fromkeys(match.maker for match in plan.matches):
            self._show_next(maker)
        if plan.rest_lots:
            shown = min(plan.taker.display_lots, plan.rest_lots) if plan.taker.hidden_lots else plan.rest_lots
            self._resting.append(attrs.evolve(plan.taker, size_lots=plan.rest_lots, hidden_lots=plan.rest_lots - shown))

    def _order(self, order_id):
        (order,) = [each for each in self._resting if each.id == order_id] or [None]
        if order is None:
            raise KeyError(order_id)
        return order

    def _become(self, order, shown, hidden):
        changed = attrs.evolve(order, size_lots=shown + hidden, hidden_lots=hidden)
        self._resting = [
            changed if each is order else each for each in self._resting if each is not order or shown + hidden
        ]

    def _show_next(self, order_id):
        for order in [each for each in self._resting if each.id == order_id]:
            if order.display_lots and order.hidden_lots == order.size_lots:
                self._resting.remove(order)
                hidden = max(order.size_lots - order.display_lots, 0)
                self._resting.append(attrs.evolve(order, hidden_lots=hidden))

    def reduce(self, order_id, by_lots, /):
        order = self._order(order_id)
        self._version += 1
        hidden = max(order.hidden_lots - by_lots, 0)
        self._become(order, order.size_lots - by_lots - hidden, hidden)
        return order.size_lots - by_lots

    def best(self, side, /):
        resting = self.orders(side)
        return resting[0].price_ticks if resting else None

    def levels(self, side, count, /):
        prices = {}
        for order in self.orders(side):
            if shown := order.size_lots - order.hidden_lots:
                prices.setdefault(order.price_ticks, []).append(shown)
        return [Level(price_ticks=p, size_lots=sum(s), orders=len(s)) for p, s in prices.items()][:count]

    def orders(self, side, /):
        return sorted((each for each in self._resting if each.side is side), key=lambda each: -side * each.price_ticks)

    def load(self, orders, /):
        self._version += 1
        self._resting = list(orders)


@attrs.frozen(kw_only=True)
class SlowMarkOptions:
    percent: int = 20


class SlowMark:
    """Moves a share of the way to the index at each stamp."""

    own_book_free = True

    def __init__(self, context, options):
        self._market, self._percent, self._price = context.market, options.percent, 0

    def update(self, inputs, /):
        index = inputs.index.price_ticks
        step = (index - self._price) * self._percent // 100
        self._price = self._market.within(self._price + step) if self._price else index
        return Mark(market=self._market.id, price_ticks=self._price, state=inputs.index.state, at_ns=inputs.at_ns)

    def dump(self):
        return str(self._price).encode()

    def load(self, state, /):
        self._price = int(state)


@hookimpl
def perpkit_order_books():
    return [BOOK.provider(name="flat", build=FlatBook, options=NoOptions, summary="one list a side")]


@hookimpl
def perpkit_mark_prices():
    return [MARK_PRICE.provider(name="slow", build=SlowMark, options=SlowMarkOptions, summary="follows the index")]
