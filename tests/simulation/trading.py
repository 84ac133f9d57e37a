"""What traders send: orders of every kind with every flag, what changes and ends them, one click, terms."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from typing import Any

import attrs

from perpkit.model.command import (
    AdjustMargin,
    AmendOrder,
    CancelAllAfter,
    CancelOrder,
    CancelOrders,
    ClosePosition,
    ClosePositions,
    Command,
    PlaceOrder,
    ReversePosition,
    SetPositionMode,
    SetPositionTerms,
)
from perpkit.model.ids import MarketId
from perpkit.model.market import FINAL_STATES, MarketSpec
from perpkit.model.order import SelfTrade, Side, TimeInForce
from perpkit.model.position import HEDGE_LONG, HEDGE_SHORT, PositionMode
from perpkit.model.trigger import Attached, PriceSource, Relation, Trigger, TriggerKind
from perpkit.units import HOUR_NS, MINUTE_NS, SECOND_NS, Nanos, Ticks

from .mirror import Mirror
from .orders import Live, Slot
from .world import OPENING_NS, Person, World

_LIVES_NS = (5 * SECOND_NS, MINUTE_NS, 20 * MINUTE_NS, 2 * HOUR_NS)
_KINDS = (
    *("plain",) * 5,
    *("iceberg", "hidden", "pegged", "slide", "to-limit", "until", "day", "capped"),
    *("trigger",) * 4,
    *("bracket", "bracket", "either"),
)


def skewed(draw: random.Random, most: int) -> int:
    """Return a number from 1 to `most`, small ones more often."""
    return draw.randint(1, draw.randint(1, most))


@attrs.define
class Clock:
    """The sequencer's."""

    now_ns: Nanos = OPENING_NS


class Trading:
    """Draws what traders send. `prices` are the outside ones, near which they trade."""

    def __init__(
        self, draw: random.Random, world: World, mirror: Mirror, prices: dict[MarketId, Ticks], clock: Clock
    ) -> None:
        self._draw = draw
        self._world = world
        self._mirror = mirror
        self._prices = prices
        self._clock = clock
        self._markets = list(world.config.markets.values())
        self._next_id = 1_000

    def kinds(self) -> dict[Callable[[], Command], int]:
        """Return what may be drawn, and how often."""
        return {
            self.order: 500,
            self._reduce: 80,
            self._protect: 40,
            self._cancel: 170,
            self._cancel_many: 8,
            self._amend: 90,
            self._close: 25,
            self._reverse: 12,
            self._close_all: 5,
            self._terms: 30,
            self._mode: 6,
            self._margin: 25,
            self._switch: 8,
        }

    def fresh_id(self) -> int:
        """Return an id that nobody used."""
        self._next_id += 1
        return self._next_id

    def person(self) -> Person:
        """Draw somebody."""
        return self._draw.choice(self._world.people)

    def market(self) -> MarketSpec:
        """Draw a market; one that is over only now and then."""
        market = self._draw.choice(self._markets)
        if self._mirror.states[market.id] in FINAL_STATES and self._draw.random() < 0.9:
            alive = [each for each in self._markets if self._mirror.states[each.id] not in FINAL_STATES]
            market = self._draw.choice(alive or self._markets)
        return market

    def order(self) -> Command:
        """Trade in one's own manner."""
        draw, person, market = self._draw, self.person(), self.market()
        side = person.bias if draw.random() < 0.7 else draw.choice((Side.BUY, Side.SELL))
        price, is_market, post_only, time_in_force = self._prices[market.id], False, False, TimeInForce.GTC
        position_id, step = 0, max(1, price // 200)
        if person.style == "maker":
            side = draw.choice((Side.BUY, Side.SELL))
            price -= side * step * draw.randint(0, 6)
            post_only = draw.random() < 0.7
        elif person.style == "taker":
            is_market = draw.random() < 0.4
            price = 0 if is_market else price + side * step * draw.randint(0, 8)
            time_in_force = draw.choice((TimeInForce.GTC, TimeInForce.IOC, TimeInForce.FOK))
        else:
            price += side * step * draw.randint(-4, 6)
            is_market = draw.random() < 0.05
            post_only = draw.random() < 0.05
            position_id = draw.randint(0, 2) if person.style == "hedger" else 0
            position_id = draw.choice((0, 0, 1)) if person.style == "gambler" else position_id
        lots = skewed(draw, person.coins * draw.choice((1, 3, 8)))
        if draw.random() < 0.02:  # a slip of the finger
            lots, price = draw.choice(((0, price), (-lots, price), (lots, price * 100), (lots, -price)))
        order = PlaceOrder(
            account=person.account,
            market=market.id,
            side=side,
            size_lots=lots,
            price_ticks=price,
            is_market=is_market,
            time_in_force=time_in_force,
            post_only=post_only,
            reduce_only=draw.random() < 0.03,
            position_id=self._position_id(person, market, side, position_id),
            client_order_id=self.fresh_id() if draw.random() < 0.7 else 0,
            self_trade=draw.choice((SelfTrade.OFF, *SelfTrade)),
            self_trade_by_owner=draw.random() < 0.3,
            time_ns=self._clock.now_ns,
        )
        return attrs.evolve(order, **self._extras(order, market))

    def _position_id(self, person: Person, market: MarketSpec, side: Side, drawn: int) -> int:
        """Draw a position that there can be, and sometimes one that there cannot."""
        mode = self._mirror.orders.modes.get((person.account, market.id), PositionMode.MULTI)
        if mode is PositionMode.MULTI or self._draw.random() < 0.03:
            return drawn
        if mode is PositionMode.ONE_WAY:
            return 0
        opens = HEDGE_LONG if side is Side.BUY else HEDGE_SHORT
        return opens if self._draw.random() < 0.7 else HEDGE_LONG + HEDGE_SHORT - opens

    def _extras(self, order: PlaceOrder, market: MarketSpec) -> dict[str, Any]:
        """Draw what makes an order a special one; what does not go together is rare."""
        draw, price, now_ns = self._draw, self._prices[market.id], self._clock.now_ns
        rests = {"is_market": False, "time_in_force": TimeInForce.GTC, "price_ticks": order.price_ticks or price}
        if draw.random() < 0.03:
            rests = {}
        match draw.choice(_KINDS):
            case "iceberg":
                return {**rests, "display_lots": draw.randint(1, 5)}
            case "hidden":
                return {**rests, "hidden": True}
            case "pegged":
                limit = draw.choice((0, order.price_ticks))
                return {**rests, "pegged": True, "peg_offset_ticks": draw.choice((0, 0, 1, 4)), "price_ticks": limit}
            case "slide":
                return {**rests, "post_only": True, "slide": True}
            case "to-limit":
                return {**rests, "market_to_limit": True, "post_only": False, "price_ticks": draw.choice((0, price))}
            case "until":
                ends_ns = now_ns + draw.choice((-SECOND_NS, *_LIVES_NS * 3))
                return {**rests, "time_in_force": TimeInForce.GTD, "expires_ns": ends_ns}
            case "day":
                return {**rests, "time_in_force": TimeInForce.DAY}
            case "capped":
                kind = draw.choice((TimeInForce.IOC, TimeInForce.FOK))
                worth = abs(market.value(order.size_lots, price)) * draw.choice((30, 90, 110)) // 100
                return {"time_in_force": kind, "post_only": False, "value_limit_units": worth + 1}
            case "trigger":
                return {"trigger": self._trigger(order.side, price)}
            case "bracket":
                exit_side = order.side.opposite
                falls = self._trigger(exit_side, price, TriggerKind.STOP)
                rises = self._trigger(exit_side, price, TriggerKind.TAKE_PROFIT)
                stop = self._attached(Relation.AFTER, exit_side, falls, price)
                profit = self._attached(Relation.AFTER, exit_side, draw.choice((None, rises)), price)
                return {"attached": draw.choice(((stop,), (profit,), (stop, profit)))}
            case "either":
                side = draw.choice((order.side, order.side.opposite))
                other = self._attached(Relation.EITHER, side, draw.choice((None, self._trigger(side, price))), price)
                return {"attached": (attrs.evolve(other, size_lots=draw.randint(1, 5), reduce_only=False),)}
        return {}

    def _trigger(self, side: Side, price: Ticks, kind: TriggerKind | None = None) -> Trigger:
        """Draw a trigger near a price, mostly on the side of it on which it can wait."""
        draw, step = self._draw, max(1, price // 200)
        kind, source = kind or draw.choice(list(TriggerKind)), draw.choice(list(PriceSource))
        if kind is TriggerKind.STOP and draw.random() < 0.3:
            trail = draw.choice(
                ({"trail_ticks": step * draw.randint(1, 6)}, {"trail_ppb": draw.randint(1, 60_000_000)})
            )
            return Trigger(kind=kind, price_source=source, **trail)
        away = step * draw.randint(1, 8) * draw.choice((1,) * 15 + (-1,))
        rises = Trigger(kind=kind).rising(side)
        return Trigger(kind=kind, price_source=source, price_ticks=max(1, price + (away if rises else -away)))

    def _attached(self, relation: Relation, side: Side, trigger: Trigger | None, price: Ticks) -> Attached:
        draw = self._draw
        is_market = trigger is not None and draw.random() < 0.5
        return Attached(
            relation=relation,
            side=side,
            size_lots=draw.choice((0, 0, 1, 5)),
            price_ticks=0 if is_market else price + side * draw.randint(-10, 10),
            is_market=is_market,
            reduce_only=draw.random() < 0.8,
            client_order_id=self.fresh_id() if draw.random() < 0.5 else 0,
            trigger=trigger,
        )

    def _held(self) -> tuple[Slot, int] | None:
        """Draw a position that somebody has."""
        held = [slot for slot in self._mirror.sizes if slot[0]]
        if not held:
            return None
        slot = self._draw.choice(held)
        return slot, self._mirror.sizes[slot]

    def _reduce(self) -> Command:
        """Close part of a position, or a little more than there is."""
        draw, found = self._draw, self._held()
        if found is None:
            return self.order()
        (account, market, position_id), size = found
        side = Side.SELL if size > 0 else Side.BUY
        price, is_market = self._prices[market], draw.random() < 0.4
        return PlaceOrder(
            account=account,
            market=market,
            side=side,
            size_lots=draw.randint(1, abs(size) + 2),
            price_ticks=0 if is_market else price + side * (price // 200) * draw.randint(-4, 6),
            is_market=is_market,
            time_in_force=draw.choice((TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC)),
            reduce_only=draw.random() < 0.8,
            close=draw.random() < 0.2,
            position_id=position_id,
            client_order_id=self.fresh_id(),
            time_ns=self._clock.now_ns,
        )

    def _protect(self) -> Command:
        """Put a stop or a take-profit behind a position: for a part of it, or for all that it will be."""
        draw, found = self._draw, self._held()
        if found is None:
            return self.order()
        (account, market, position_id), size = found
        side, price, is_market = Side.SELL if size > 0 else Side.BUY, self._prices[market], draw.random() < 0.6
        whole = draw.random() < 0.6
        return PlaceOrder(
            account=account,
            market=market,
            side=side,
            size_lots=0 if whole else draw.randint(1, abs(size)),
            price_ticks=0 if is_market else price + side * draw.randint(-20, 20),
            is_market=is_market,
            time_in_force=draw.choice((TimeInForce.GTC, TimeInForce.DAY)),
            reduce_only=not whole and draw.random() < 0.5,
            close=whole or draw.random() < 0.3,
            position_id=position_id,
            client_order_id=self.fresh_id(),
            trigger=self._trigger(side, price),
            time_ns=self._clock.now_ns,
        )

    def _known(self) -> Iterator[tuple[int, Live]]:
        """Yield one of all orders that live, where there are any."""
        orders = self._mirror.orders
        chosen = self._draw.choice((orders.resting, orders.resting, orders.waiting))
        if chosen:
            order_id = self._draw.choice(list(chosen))
            yield order_id, chosen[order_id]

    def _named(self, order_id: int, live: Live) -> dict[str, Any]:
        """Name an order by its own id, or by its client's."""
        order = live.order
        by_client = bool(order.client_order_id) and self._draw.random() < 0.5
        return {
            "account": order.account,
            "market": order.market,
            "order_id": 0 if by_client else order_id,
            "client_order_id": order.client_order_id if by_client else 0,
            "time_ns": self._clock.now_ns,
        }

    def _cancel(self) -> Command:
        for order_id, live in self._known():
            return CancelOrder(**self._named(order_id, live))
        account, market = self.person().account, self.market().id
        return CancelOrder(account=account, market=market, order_id=1, time_ns=self._clock.now_ns)

    def _cancel_many(self) -> Command:
        draw = self._draw
        return CancelOrders(
            account=self.person().account,
            market=draw.choice((0, self.market().id)),
            buys=draw.random() < 0.7,
            sells=draw.random() < 0.7,
            by_position=draw.random() < 0.3,
            position_id=draw.randint(0, 2),
            time_ns=self._clock.now_ns,
        )

    def _amend(self) -> Command:
        """Change size, price or trigger, or all of them."""
        draw = self._draw
        for order_id, live in self._known():
            order, near = live.order, live.price_ticks
            price = draw.choice((0, 0, order.price_ticks, max(1, near + draw.randint(-10, 10))))
            trigger = near + draw.randint(-10, 10) if order.trigger and draw.random() < 0.5 else 0
            size = draw.choice((0, max(1, order.size_lots + draw.randint(-5, 3)), live.left_lots))
            return AmendOrder(
                size_lots=size, price_ticks=price, trigger_ticks=max(0, trigger), **self._named(order_id, live)
            )
        return AmendOrder(account=self.person().account, market=self.market().id, time_ns=self._clock.now_ns)

    def _close(self) -> Command:
        draw, found = self._draw, self._held()
        (account, market, position_id), size = found or ((self.person().account, self.market().id, 0), 1)
        limit = self._prices[market] + draw.randint(-10, 10)
        return ClosePosition(
            account=account,
            market=market,
            position_id=position_id,
            size_lots=draw.choice((0, 0, draw.randint(1, abs(size) + 2))),
            price_ticks=draw.choice((0, limit)),
            client_order_id=self.fresh_id(),
            time_ns=self._clock.now_ns,
        )

    def _reverse(self) -> Command:
        found = self._held()
        account, market, position_id = found[0] if found else (self.person().account, self.market().id, 0)
        return ReversePosition(
            account=account,
            market=market,
            position_id=position_id,
            price_ticks=self._draw.choice((0, 0, self._prices[market])),
            client_order_id=self.fresh_id(),
            time_ns=self._clock.now_ns,
        )

    def _close_all(self) -> Command:
        market = self._draw.choice((0, self.market().id))
        return ClosePositions(account=self.person().account, market=market, time_ns=self._clock.now_ns)

    def _terms(self) -> Command:
        """Choose terms of any position; half of the time another leverage for one that somebody has."""
        draw, found = self._draw, self._held()
        slot = (self.person().account, self.market().id, draw.randint(0, 2))
        isolated = draw.random() < 0.5
        if found and draw.random() < 0.5:
            slot = found[0]
            isolated = slot in self._mirror.isolated
        account, market, position_id = slot
        return SetPositionTerms(
            account=account,
            market=market,
            position_id=position_id,
            isolated=isolated,
            leverage=draw.choice((0, 1, 3, 10, 25, 100)),
            time_ns=self._clock.now_ns,
        )

    def _mode(self) -> Command:
        mode = self._draw.choice(list(PositionMode))
        account, market = self.person().account, self.market().id
        return SetPositionMode(account=account, market=market, mode=mode, time_ns=self._clock.now_ns)

    def _margin(self) -> Command:
        """Move margin to or from a position, mostly an isolated one."""
        draw = self._draw
        isolated = [slot for slot in self._mirror.sizes if slot in self._mirror.isolated]
        found = (draw.choice(isolated), 0) if isolated and draw.random() < 0.9 else self._held()
        if found is None:
            return self.order()
        (account, market, position_id), _ = found
        amount = draw.choice((-1, 1)) * skewed(draw, self._world.coin_units)
        slot = {"account": account, "market": market, "position_id": position_id}
        return AdjustMargin(amount_units=amount, time_ns=self._clock.now_ns, **slot)

    def _switch(self) -> Command:
        after_ns = self._draw.choice((0, 0, -1, *_LIVES_NS * 2))
        return CancelAllAfter(account=self.person().account, after_ns=after_ns, time_ns=self._clock.now_ns)
