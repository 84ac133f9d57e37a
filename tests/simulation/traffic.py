"""What traders, price feeds, custody and operators send. Nobody here means harm; `faults.py` does that."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from perpkit.model.command import (
    ApproveWithdrawal,
    CancelOrder,
    CancelWithdrawal,
    CapitalObserved,
    Command,
    DepositObserved,
    HoldingsReported,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
    RunAudit,
    SetMarketState,
    SetPositionTerms,
    WithdrawalSent,
)
from perpkit.model.ids import AssetId, MarketId, SourceId
from perpkit.model.market import MarketSpec, MarketState
from perpkit.model.order import Side, TimeInForce
from perpkit.model.price import Quote
from perpkit.units import HOUR_NS, MINUTE_NS, SECOND_NS, Nanos, Ticks

from .mirror import Mirror
from .world import OPENING_NS, SOURCES, START_PRICE, Person, World

_PAUSES_NS = (SECOND_NS, 10 * SECOND_NS, MINUTE_NS, 10 * MINUTE_NS, 20 * MINUTE_NS, HOUR_NS, 30 * HOUR_NS)
_PAUSE_WEIGHTS = (30, 30, 20, 8, 4, 6, 1)
FINAL_STATES = (MarketState.SETTLING, MarketState.SETTLED)


class Feed:
    """Outside prices: they wander, they jump now and then, and sources fall silent or say something absurd."""

    def __init__(self, draw: random.Random, world: World) -> None:
        self._draw = draw
        self._markets = world.config.markets
        self._storm_percent = world.storm_percent
        self.prices: dict[MarketId, Ticks] = {m: _start_ticks(spec) for m, spec in self._markets.items()}
        self._silent: dict[tuple[MarketId, SourceId], int] = {}
        self.faults: Counter[str] = Counter()

    def quotes(self, now_ns: Nanos) -> tuple[Quote, ...]:
        """Move every price and return what the sources say of it."""
        draw, quotes = self._draw, []
        # A storm hits several markets at once, so that pools lose on more than one position.
        storm = draw.choice((30, 50, 70, 140, 200, 300)) if draw.randrange(100) < self._storm_percent else 0
        for market, spec in self._markets.items():
            self._move(market, spec, storm if draw.random() < 0.7 else 0)
            if draw.random() < 0.01:
                self._outage(market)
            for source in SOURCES:
                if self._silent.get((market, source), 0) > 0:
                    self._silent[market, source] -= 1
                    continue
                price = self.prices[market]
                if draw.random() < 0.005:
                    price = price * draw.choice((1, 5, 20)) // 4 or 1
                    self.faults["index outlier"] += 1
                quotes.append(Quote(market=market, source=source, price_ticks=price, weight=source, at_ns=now_ns))
        return tuple(quotes)

    def _move(self, market: MarketId, spec: MarketSpec, storm_percent: int) -> None:
        # In whole numbers: then a seed draws the same prices on every machine.
        price, start = self.prices[market], _start_ticks(spec)
        if storm_percent:
            price = price * storm_percent * self._draw.randint(80, 120) // 10_000
            self.faults["price jump"] += 1
        else:
            # The farther from home, the stronger the way back, so that no market ends at the edge of its range.
            price += price * self._draw.randint(-15, 15) // 1_000 + (start - price) // 40
        self.prices[market] = min(max(price, start // 10), start * 10)

    def _outage(self, market: MarketId) -> None:
        quotes = self._draw.randint(1, 30)
        for source in self._draw.sample(SOURCES, self._draw.randint(1, len(SOURCES))):
            self._silent[market, source] = quotes
        self.faults["index outage"] += 1


def _start_ticks(spec: MarketSpec) -> Ticks:
    return spec.tick.parse(str(START_PRICE), "price")


def _skewed(draw: random.Random, most: int) -> int:
    """Return a number from 1 to `most`, small ones more often."""
    return draw.randint(1, draw.randint(1, most))


class Traffic:
    """Draws the next command. It knows what the mirror knows, so a replay would draw the same."""

    def __init__(self, draw: random.Random, world: World, mirror: Mirror) -> None:
        self._draw = draw
        self._world = world
        self._mirror = mirror
        self._markets = list(world.config.markets.values())
        self._assets = list(world.config.assets)
        self.feed = Feed(draw, world)
        self.now_ns = OPENING_NS
        self._next_id = 1_000
        self._reopen: dict[MarketId, int] = {}
        kinds: dict[Callable[[], Command], int] = {
            self._order: 500,
            self._reduce: 90,
            self._cancel: 200,
            self.quotes: 40,
            self._terms: 25,
            self._deposit: 20,
            self._withdraw: 25,
            self._custody: 40,
            self._capital: 1,
            self._holdings: 3,
            self._market_state: 4,
            self._audit: 2,
        }
        self._kinds = list(kinds)
        self._weights = [sum(list(kinds.values())[: n + 1]) for n in range(len(kinds))]

    def next(self) -> Command:
        """Return the next command."""
        for market, commands_left in list(self._reopen.items()):
            self._reopen[market] = commands_left - 1
            if commands_left <= 0:
                del self._reopen[market]
                return SetMarketState(market=market, state=MarketState.OPEN, time_ns=self.now_ns)
        if self._draw.random() < 0.3:
            self.now_ns += self._draw.randrange(SECOND_NS)
        kind = self._draw.choices(self._kinds, cum_weights=self._weights)[0]
        return kind()

    def reopen(self, market: MarketId, commands: int) -> None:
        """Have an operator open a market again after so many commands."""
        self._reopen[market] = commands

    def fresh_id(self) -> int:
        """Return an id that nobody used."""
        self._next_id += 1
        return self._next_id

    def quotes(self) -> Command:
        """Let time pass and prices move."""
        self.now_ns += self._draw.choices(_PAUSES_NS, _PAUSE_WEIGHTS)[0]
        if self._draw.random() < 0.02:
            return IndexQuotes(time_ns=self.now_ns)
        return IndexQuotes(quotes=self.feed.quotes(self.now_ns), time_ns=self.now_ns)

    def _market(self) -> MarketSpec:
        """Draw a market; one that is over only now and then."""
        market = self._draw.choice(self._markets)
        if self._mirror.states[market.id] in FINAL_STATES and self._draw.random() < 0.9:
            alive = [each for each in self._markets if self._mirror.states[each.id] not in FINAL_STATES]
            market = self._draw.choice(alive or self._markets)
        return market

    def _person(self) -> Person:
        return self._draw.choice(self._world.people)

    def _asset(self) -> AssetId:
        return self._draw.choice(self._assets)

    def _order(self) -> Command:
        """Trade in one's own manner."""
        draw, person, market = self._draw, self._person(), self._market()
        side = person.bias if draw.random() < 0.7 else draw.choice((Side.BUY, Side.SELL))
        price, is_market, post_only, time_in_force = self.feed.prices[market.id], False, False, TimeInForce.GTC
        position_id = 0
        step = max(1, price // 200)
        if person.style == "maker":
            side = draw.choice((Side.BUY, Side.SELL))
            price -= side * step * draw.randint(0, 6)
            post_only = draw.random() < 0.7
        elif person.style == "taker":
            is_market = draw.random() < 0.4
            price = 0 if is_market else price + side * step * draw.randint(0, 8)
            time_in_force = draw.choice(list(TimeInForce))
        else:
            price += side * step * draw.randint(-4, 6)
            is_market = draw.random() < 0.05
            post_only = draw.random() < 0.05
            position_id = draw.randint(0, 2) if person.style == "hedger" else 0
            position_id = draw.choice((0, 0, 1)) if person.style == "gambler" else position_id
        lots = _skewed(draw, person.coins * draw.choice((1, 3, 8)))
        if draw.random() < 0.02:  # a slip of the finger
            lots, price = draw.choice(((0, price), (-lots, price), (lots, price * 100), (lots, -price)))
        return PlaceOrder(
            account=person.account,
            market=market.id,
            side=side,
            size_lots=lots,
            price_ticks=price,
            is_market=is_market,
            time_in_force=time_in_force,
            post_only=post_only,
            reduce_only=draw.random() < 0.03,
            position_id=position_id,
            client_order_id=self.fresh_id() if draw.random() < 0.7 else 0,
            time_ns=self.now_ns,
        )

    def _reduce(self) -> Command:
        """Close part of a position, or a little more than there is."""
        draw = self._draw
        held = [slot for slot in self._mirror.sizes if slot[0]]
        if not held:
            return self._order()
        account, market, position_id = slot = draw.choice(held)
        size = self._mirror.sizes[slot]
        side = Side.SELL if size > 0 else Side.BUY
        price = self.feed.prices[market]
        is_market = draw.random() < 0.4
        return PlaceOrder(
            account=account,
            market=market,
            side=side,
            size_lots=draw.randint(1, abs(size) + 2),
            price_ticks=0 if is_market else price + side * (price // 200) * draw.randint(-4, 6),
            is_market=is_market,
            time_in_force=draw.choice((TimeInForce.GTC, TimeInForce.GTC, TimeInForce.IOC)),
            reduce_only=draw.random() < 0.8,
            position_id=position_id,
            client_order_id=self.fresh_id(),
            time_ns=self.now_ns,
        )

    def _cancel(self) -> Command:
        orders = self._mirror.orders
        if not orders or self._draw.random() < 0.05:
            person, market = self._person(), self._market()
            return CancelOrder(account=person.account, market=market.id, order_id=1, time_ns=self.now_ns)
        order_id = self._draw.choice(list(orders))
        command = orders[order_id].command
        by_client = bool(command.client_order_id) and self._draw.random() < 0.5
        return CancelOrder(
            account=command.account,
            market=command.market,
            order_id=0 if by_client else order_id,
            client_order_id=command.client_order_id if by_client else 0,
            time_ns=self.now_ns,
        )

    def _terms(self) -> Command:
        draw = self._draw
        return SetPositionTerms(
            account=self._person().account,
            market=self._market().id,
            position_id=draw.randint(0, 2),
            isolated=draw.random() < 0.5,
            leverage=draw.choice((0, 1, 3, 10, 25, 100)),
            time_ns=self.now_ns,
        )

    def _deposit(self) -> Command:
        return DepositObserved(
            deposit_id=self.fresh_id(),
            account=self._person().account,
            asset=self._asset(),
            amount_units=_skewed(self._draw, 10 * self._world.coin_units),
            time_ns=self.now_ns,
        )

    def _capital(self) -> Command:
        return CapitalObserved(
            deposit_id=self.fresh_id(),
            fund=self._draw.choice((1, 1, 1, 7)),
            asset=self._asset(),
            amount_units=self._world.coin_units,
            time_ns=self.now_ns,
        )

    def _withdraw(self) -> Command:
        return RequestWithdrawal(
            withdrawal_id=self.fresh_id(),
            account=self._person().account,
            asset=self._asset(),
            amount_units=_skewed(self._draw, 10 * self._world.coin_units),
            destination=self._draw.randrange(100),
            time_ns=self.now_ns,
        )

    def _custody(self) -> Command:
        """Approve, cancel or send a withdrawal that waits."""
        waiting = self._mirror.withdrawals
        if not waiting:
            return self._withdraw()
        withdrawal_id = self._draw.choice(list(waiting))
        held = waiting[withdrawal_id]
        if held.released:
            fee = self._draw.randint(0, held.amount_units)
            return WithdrawalSent(withdrawal_id=withdrawal_id, network_fee_units=fee, time_ns=self.now_ns)
        if self._draw.random() < 0.3:
            return CancelWithdrawal(withdrawal_id=withdrawal_id, time_ns=self.now_ns)
        return ApproveWithdrawal(withdrawal_id=withdrawal_id, time_ns=self.now_ns)

    def _holdings(self) -> Command:
        asset = self._asset()
        return HoldingsReported(asset=asset, holdings_units=self._mirror.custody_units[asset], time_ns=self.now_ns)

    def _market_state(self) -> Command:
        """Restrict or halt a market for a while."""
        market = self._market()
        state = self._draw.choice(list(MarketState))
        self.reopen(market.id, self._draw.randint(1, 60))
        return SetMarketState(market=market.id, state=state, time_ns=self.now_ns)

    def _audit(self) -> Command:
        return RunAudit(time_ns=self.now_ns)
