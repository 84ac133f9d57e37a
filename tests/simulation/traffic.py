"""What traders, price feeds, custody and operators send. Nobody here means harm; `faults.py` does that."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable

from perpkit.model.command import (
    ApproveWithdrawal,
    CancelWithdrawal,
    CapitalObserved,
    Command,
    DepositObserved,
    DepositReversed,
    HoldingsReported,
    IndexQuotes,
    RequestWithdrawal,
    RunAudit,
    SetMarketState,
    WithdrawalSent,
)
from perpkit.model.ids import AssetId, MarketId, SourceId
from perpkit.model.market import MarketSpec, MarketState
from perpkit.model.price import Quote
from perpkit.units import HOUR_NS, MINUTE_NS, SECOND_NS, Nanos, Ticks

from .mirror import Mirror
from .trading import Clock, Trading, skewed
from .world import SOURCES, START_PRICE, World

_PAUSES_NS = (SECOND_NS, 10 * SECOND_NS, MINUTE_NS, 10 * MINUTE_NS, 20 * MINUTE_NS, HOUR_NS, 30 * HOUR_NS)
_PAUSE_WEIGHTS = (30, 30, 20, 8, 4, 6, 1)


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


class Traffic:
    """Draws the next command. It knows what the mirror knows, so a replay would draw the same."""

    def __init__(self, draw: random.Random, world: World, mirror: Mirror) -> None:
        self._draw = draw
        self._world = world
        self._mirror = mirror
        self._assets = list(world.config.assets)
        self.feed = Feed(draw, world)
        self._clock = Clock()
        self._trading = Trading(draw, world, mirror, self.feed.prices, self._clock)
        self._reopen: dict[MarketId, int] = {}
        kinds: dict[Callable[[], Command], int] = {
            **self._trading.kinds(),
            self.quotes: 45,
            self._deposit: 20,
            self._reversal: 2,
            self._withdraw: 25,
            self._custody: 40,
            self._capital: 1,
            self._holdings: 3,
            self._market_state: 4,
            self._audit: 2,
        }
        self._kinds = list(kinds)
        self._weights = [sum(list(kinds.values())[: n + 1]) for n in range(len(kinds))]

    @property
    def now_ns(self) -> Nanos:
        """The stamp of the next command."""
        return self._clock.now_ns

    def next(self) -> Command:
        """Return the next command."""
        for market, commands_left in list(self._reopen.items()):
            self._reopen[market] = commands_left - 1
            if commands_left <= 0:
                del self._reopen[market]
                return SetMarketState(market=market, state=MarketState.OPEN, time_ns=self.now_ns)
        if self._draw.random() < 0.3:
            self._clock.now_ns += self._draw.randrange(SECOND_NS)
        kind = self._draw.choices(self._kinds, cum_weights=self._weights)[0]
        return kind()

    def reopen(self, market: MarketId, commands: int) -> None:
        """Have an operator open a market again after so many commands."""
        self._reopen[market] = commands

    def quotes(self) -> Command:
        """Let time pass and prices move."""
        self._clock.now_ns += self._draw.choices(_PAUSES_NS, _PAUSE_WEIGHTS)[0]
        if self._draw.random() < 0.02:
            return IndexQuotes(time_ns=self.now_ns)
        return IndexQuotes(quotes=self.feed.quotes(self.now_ns), time_ns=self.now_ns)

    def _asset(self) -> AssetId:
        return self._draw.choice(self._assets)

    def _deposit(self) -> Command:
        return DepositObserved(
            deposit_id=self._trading.fresh_id(),
            account=self._trading.person().account,
            asset=self._asset(),
            amount_units=skewed(self._draw, 10 * self._world.coin_units),
            time_ns=self.now_ns,
        )

    def _reversal(self) -> Command:
        """Let a chain take back a deposit, mostly one of the last."""
        known = list(self._mirror.deposits)[-20:]
        return DepositReversed(deposit_id=self._draw.choice(known or [0]), time_ns=self.now_ns)

    def _capital(self) -> Command:
        return CapitalObserved(
            deposit_id=self._trading.fresh_id(),
            fund=self._draw.choice((1, 1, 1, 7)),
            asset=self._asset(),
            amount_units=self._world.coin_units,
            time_ns=self.now_ns,
        )

    def _withdraw(self) -> Command:
        return RequestWithdrawal(
            withdrawal_id=self._trading.fresh_id(),
            account=self._trading.person().account,
            asset=self._asset(),
            amount_units=skewed(self._draw, 10 * self._world.coin_units),
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
        market = self._trading.market()
        state = self._draw.choice(list(MarketState))
        self.reopen(market.id, self._draw.randint(1, 60))
        return SetMarketState(market=market.id, state=state, time_ns=self.now_ns)

    def _audit(self) -> Command:
        return RunAudit(time_ns=self.now_ns)
