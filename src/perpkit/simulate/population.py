"""Seeded traders and market makers: what everybody sends, decided before the market opens.

Nobody here looks at the exchange. So two policies meet the same people on the same day, and what differs between
the runs is the policies' doing alone.
"""

import random
from collections.abc import Iterator, Sequence

import attrs

from perpkit.model.command import CancelOrder, Command, PlaceOrder, RequestWithdrawal, SetPositionTerms
from perpkit.model.market import MarketSpec
from perpkit.model.order import Side, TimeInForce
from perpkit.simulate.world import FIRST_TRADER, MAKERS
from perpkit.units import Lots, Ticks, Units

MAKER_UNITS: Units = 6_000 * 10**8
MAKER_LEVELS = 8
MAKER_EVERY_MINUTES = 5
APPROVAL_MINUTES = 60

_LEVERAGES = (3, 5, 10, 20, 25, 50, 100)
_LEVERAGE_WEIGHTS = (10, 16, 24, 18, 14, 10, 8)


@attrs.frozen(kw_only=True)
class Trader:
    """One account: how much it has, how it trades, and the minutes at which it does."""

    account: int
    deposit_units: Units
    leverage: int
    isolated: bool
    side: Side
    entries: tuple[int, ...]
    exit_minute: int | None
    withdraw_minute: int | None


def traders(seed: int, count: int, minutes: int) -> list[Trader]:
    """Draw a population: mostly long, mostly small, a few large; leverage from 3 to 100."""
    draw = random.Random(seed)
    population = []
    for index in range(count):
        whale = index % 12 == 0
        deposit = draw.randint(20, 60) * 10**8 if whale else draw.randint(5, 400) * 10**6
        leverage = draw.choices(_LEVERAGES, _LEVERAGE_WEIGHTS)[0]
        entries = sorted(draw.randrange(max(1, minutes * 9 // 10)) for _ in range(draw.randint(1, 3)))
        entries[0] = draw.randrange(max(1, minutes // 4))
        population.append(
            Trader(
                account=FIRST_TRADER + index,
                deposit_units=deposit,
                leverage=min(leverage, 20) if whale else leverage,
                isolated=draw.random() < 0.4,
                side=Side.BUY if draw.random() < 0.68 else Side.SELL,
                entries=tuple(sorted(entries)),
                exit_minute=draw.randrange(minutes // 2, minutes) if draw.random() < 0.3 else None,
                withdraw_minute=draw.randrange(minutes // 6, minutes) if draw.random() < 0.25 else None,
            )
        )
    return population


class Population:
    """Everybody's commands, minute by minute."""

    def __init__(self, market: MarketSpec, people: Sequence[Trader], seed: int) -> None:
        self._market = market
        self._people = people
        self._draw = random.Random(seed + 1)
        self._client_order_id = 0
        self._quoted: dict[int, list[int]] = {maker: [] for maker in MAKERS}
        self._prices: list[Ticks] = []

    def opening(self) -> Iterator[Command]:
        """Yield what everybody sets before the first minute."""
        for trader in self._people:
            yield SetPositionTerms(
                account=trader.account, market=self._market.id, isolated=trader.isolated, leverage=trader.leverage
            )

    def minute(self, minute: int, around_ticks: Ticks) -> Iterator[Command]:
        """Yield what happens in one minute, `around_ticks` being what everybody sees as the outside price."""
        self._prices.append(around_ticks)
        for index, maker in enumerate(MAKERS):
            if (minute + index) % MAKER_EVERY_MINUTES == 0:
                yield from self._requote(maker, around_ticks)
        for trader in self._people:
            if minute in trader.entries:
                yield self._entry(trader, around_ticks)
            if minute == trader.exit_minute:
                yield self._exit(trader, around_ticks)
            if minute == trader.withdraw_minute:
                yield RequestWithdrawal(
                    withdrawal_id=trader.account,
                    account=trader.account,
                    asset=self._market.settlement,
                    amount_units=trader.deposit_units // 10,
                )

    def approvals(self, minute: int) -> Iterator[int]:
        """Yield the withdrawals that custody's people get to in a minute."""
        for trader in self._people:
            if trader.withdraw_minute is not None and minute == trader.withdraw_minute + APPROVAL_MINUTES:
                yield trader.account

    def _requote(self, maker: int, around_ticks: Ticks) -> Iterator[Command]:
        for client_order_id in self._quoted[maker]:
            yield CancelOrder(account=maker, market=self._market.id, client_order_id=client_order_id)
        self._quoted[maker] = []
        swing_ppm = self._swing_ppm()
        for level in range(1, MAKER_LEVELS + 1):
            for side in (Side.BUY, Side.SELL):
                away_ppm = level * (300 + swing_ppm // 8) + self._draw.randrange(200)
                price = self._market.within(around_ticks - side * (around_ticks * away_ppm // 1_000_000))
                order = self._order(maker, side, self._depth_lots(level, swing_ppm), price)
                self._quoted[maker].append(order.client_order_id)
                yield order

    def _swing_ppm(self) -> int:
        """How far the price went in the last half hour: makers step back from it."""
        window = self._prices[-30:]
        return (max(window) - min(window)) * 1_000_000 // max(window)

    def _depth_lots(self, level: int, swing_ppm: int) -> Lots:
        full = 60_000 + 40_000 * level
        return max(500, full * 4_000 // (4_000 + swing_ppm))

    def _entry(self, trader: Trader, around_ticks: Ticks) -> PlaceOrder:
        stake = trader.deposit_units * trader.leverage // (len(trader.entries) + 1)
        numerator, denominator = self._market.ratio(around_ticks)
        lots = max(1, stake * denominator // abs(numerator))
        bound = self._market.within(around_ticks + trader.side * around_ticks // 100)
        return self._order(trader.account, trader.side, min(lots, self._market.order_max_lots), bound, market=True)

    def _exit(self, trader: Trader, around_ticks: Ticks) -> PlaceOrder:
        bound = self._market.within(around_ticks - trader.side * around_ticks // 50)
        order = self._order(trader.account, trader.side.opposite, self._market.order_max_lots, bound, market=True)
        return attrs.evolve(order, reduce_only=True)

    def _order(self, account: int, side: Side, lots: Lots, price: Ticks, *, market: bool = False) -> PlaceOrder:
        self._client_order_id += 1
        return PlaceOrder(
            account=account,
            market=self._market.id,
            side=side,
            size_lots=lots,
            price_ticks=price,
            is_market=market,
            time_in_force=TimeInForce.IOC if market else TimeInForce.GTC,
            client_order_id=self._client_order_id,
        )
