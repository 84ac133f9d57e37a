"""A stranger's package: an order book of another make, and a mark that follows the index slowly."""

import attrs

from perpkit.model.order import Level, Match, MatchPlan, TimeInForce
from perpkit.model.price import Mark
from perpkit.plugin import BOOK, MARK_PRICE, NoOptions, hookimpl


class FlatBook:
    """Every order in one list per side, sorted by price and arrival each time it is looked at."""

    def __init__(self, context, options):
        self._fills_max = context.limits.order_fills_max
        self._resting = []
        self._version = 0

    def _side(self, side):
        return sorted((o for o in self._resting if o.side is side), key=lambda o: -side * o.price_ticks)

    def plan(self, taker, /):
        left, matches, limited = taker.size_lots, [], False
        for maker in self._side(taker.side.opposite):
            if not left or taker.side * (taker.price_ticks - maker.price_ticks) < 0:
                break
            if len(matches) == self._fills_max:
                limited = True
                break
            size = min(left, maker.size_lots)
            left -= size
            matches.append(
                Match(
                    maker=maker.id,
                    maker_account=maker.account,
                    maker_position_id=maker.position_id,
                    price_ticks=maker.price_ticks,
                    size_lots=size,
                    maker_left_lots=maker.size_lots - size,
                )
            )
        if left and taker.time_in_force is TimeInForce.FOK:
            matches, left = [], taker.size_lots
        rests = left if taker.time_in_force is TimeInForce.GTC and not limited else 0
        return MatchPlan(
            taker=taker,
            version=self._version,
            matches=tuple(matches),
            rest_lots=rests,
            cancel_lots=left - rests,
            work_limited=limited,
        )

    def commit(self, plan, /):
        for match in plan.matches:
            self.reduce(match.maker, match.size_lots)
        if plan.rest_lots:
            self._resting.append(attrs.evolve(plan.taker, size_lots=plan.rest_lots))

    def reduce(self, order_id, by_lots, /):
        at = next(index for index, order in enumerate(self._resting) if order.id == order_id)
        left = self._resting[at].size_lots - by_lots
        self._resting[at] = attrs.evolve(self._resting[at], size_lots=left)
        if not left:
            del self._resting[at]
        return left

    def best(self, side, /):
        resting = self._side(side)
        return resting[0].price_ticks if resting else None

    def levels(self, side, count, /):
        prices = {}
        for order in self._side(side):
            prices.setdefault(order.price_ticks, []).append(order.size_lots)
        return [Level(price_ticks=p, size_lots=sum(s), orders=len(s)) for p, s in prices.items()][:count]

    def orders(self, side, /):
        return self._side(side)

    def load(self, orders, /):
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
