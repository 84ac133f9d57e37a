"""What a margin model has to keep."""

from collections.abc import Callable, Sequence
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from perpkit.model.ids import MarketId
from perpkit.model.market import MarketSpec
from perpkit.model.position import Exposure, Need, Pool, Thresholds
from perpkit.plugin import MARGIN
from perpkit.ports import ExchangeContext, MarginModel
from perpkit.testing.builders import KINDS, exchange_context, exposure, market_table, marks, pool
from perpkit.testing.conformance.base import law, rule
from perpkit.testing.conformance.decider import DeciderConformance
from perpkit.units import SCALE, Lots, Ticks, Units

MARKETS = tuple(market_table(kind, id=number) for number, kind in enumerate(KINDS, start=1))
FREE = exchange_context(*MARKETS)
"""Without trading fees, so that a position closes for exactly what it is worth."""
CONTEXT = attrs.evolve(FREE, taker_ppb=dict.fromkeys(FREE.markets, 750_000))
AT_100 = marks(100, 100, 100)


@attrs.frozen(kw_only=True)
class Held:
    """A position as it is drawn: opened at a price with a margin, in the wallet or its own, in percent of its value.

    Positions are worth thousands of units and a tick of them tens, so that rounding does not matter.
    """

    market: MarketId
    size_lots: Lots
    entry_ticks: Ticks
    margin_percent: int
    due_units: Units
    isolated: bool


PRICES = st.integers(50, 400)
SIZES = st.integers(500, 4_000)
SIDES = st.sampled_from((1, -1))
HELD = st.builds(
    Held,
    market=st.sampled_from((1, 2, 3)),
    size_lots=SIZES | st.integers(-4_000, -500),
    entry_ticks=PRICES,
    margin_percent=st.integers(1, 60),
    due_units=st.integers(-900, 900),
    isolated=st.booleans(),
)
POOLS = st.lists(HELD, min_size=1, max_size=2, unique_by=lambda each: each.market)
MARKS = st.builds(marks, PRICES, PRICES, PRICES)


def pool_of(drawn: Sequence[Held]) -> Pool:
    """Return a pool of positions in different markets, whose wallet has the margin of its cross positions."""
    wallet, exposures = 0, []
    for each in sorted(drawn, key=lambda each: each.market):
        cost = CONTEXT.markets[each.market].value(each.size_lots, each.entry_ticks)
        margin = abs(cost) * each.margin_percent // 100
        wallet += 0 if each.isolated else margin
        exposures.append(
            exposure(
                each.size_lots,
                cost,
                market=each.market,
                funding_due_units=each.due_units,
                unpaid_units=7,
                isolated_units=margin if each.isolated else None,
            )
        )
    return pool(wallet, *exposures)


def lone(size_lots: Lots, entry_ticks: Ticks, market: MarketId = 1, **fields: Any) -> Pool:
    """Return a cross pool of one position, and nothing in the wallet."""
    cost = CONTEXT.markets[market].value(size_lots, entry_ticks)
    return pool(0, exposure(size_lots, cost, market=market, **fields))


def profit(each: Exposure, at_ticks: Ticks) -> Units:
    """Return what a position adds to equity."""
    worth = CONTEXT.markets[each.market].value(each.size_lots, at_ticks)
    return worth - each.cost_units - each.unpaid_units - each.funding_due_units


def healthy(need: Need, each: Exposure) -> bool:
    """Say whether a position is above maintenance: by itself when isolated, with its pool otherwise."""
    if each.isolated_units is None:
        return need.equity_units >= need.maintenance_units
    slot = next(slot for slot in need.slots if (slot.market, slot.position_id) == (each.market, each.position_id))
    return slot.equity_units is not None and slot.equity_units >= slot.maintenance_units


def is_last(spec: MarketSpec, side: int, found: Ticks | None, holds: Callable[[Ticks], bool]) -> bool:
    """Say whether `found` is the last listed price, toward the loss of a side, at which something holds.

    When it holds nowhere that is the price of the greatest profit; None: it holds as far as prices are listed.
    """
    best, worst = (spec.price_max_ticks, spec.price_min_ticks)[::side]
    if found is None:
        return holds(worst)
    beyond = found - side
    return (found == best or holds(found)) and (found == worst or not holds(beyond))


class MarginConformance(DeciderConformance[MarginModel, ExchangeContext]):
    """What a pool is worth, what it needs and where it ends; see `perpkit.ports.margin`."""

    port = MARGIN
    code = "MARGIN"

    def context(self) -> ExchangeContext:
        """Return a linear, an inverse and a quanto market of one asset, with a taker fee of 0.075 %."""
        return CONTEXT

    def exercise(self, part: MarginModel) -> list[object]:
        """Ask about a large pool of every kind of position, and about a small one, at two sets of marks."""
        large = pool(
            20_000,
            exposure(900, 95_000, gross_lots=1_300, open_buy_units=900, open_orders=2),
            exposure(-400, -41_000, position_id=1, gross_lots=1_300, unpaid_units=7),
            exposure(300, -29_000, market=2, isolated_units=3_000, funding_due_units=55, leverage=5),
            exposure(0, 0, market=3, open_sell_units=500, open_orders=1),
        )
        answers: list[object] = [part.initial_ppb(market) for market in CONTEXT.markets]
        for asked in (large, lone(10, 100)):
            for prices in (AT_100, marks(93, 110, 100)):
                answers.append(part.need(asked, prices))
                for each in asked.exposures:
                    answers.append(part.thresholds(asked, each.market, each.position_id, prices))
                    answers.append(part.opening_margin(each, 1_000, prices))
                    if each.size_lots:
                        key = (each.market, each.position_id, each.size_lots)
                        answers.append(part.closing_value(asked, *key, prices))
        return answers

    @rule(10, "a need says something of every position, in their order")
    def test_every_position(self) -> None:
        """Of flat ones too; equity of its own has an isolated position only."""
        asked = pool(
            5_000,
            exposure(10, 1_000, gross_lots=15),
            exposure(-5, -500, position_id=1, gross_lots=15, isolated_units=100),
            exposure(0, 0, market=2, open_buy_units=300, open_orders=1),
            exposure(0, 0, market=3, position_id=2, unpaid_units=4),
        )
        need = self.made().need(asked, AT_100)
        assert [(slot.market, slot.position_id) for slot in need.slots] == [(1, 0), (1, 1), (2, 0), (3, 2)]
        assert [slot.equity_units is None for slot in need.slots] == [True, False, True, True]

    @rule(20, "a pool without positions is worth its wallet, and needs what it has reserved")
    def test_empty(self) -> None:
        """It cannot be in breach."""
        need = self.made().need(attrs.evolve(pool(70), reserved_units=7), AT_100)
        assert need == Need(equity_units=70, initial_units=7, maintenance_units=0, slots=())

    @rule(30, "what is reserved adds to the initial need, unit for unit")
    def test_reserved(self) -> None:
        """And to nothing else."""
        part, plain = self.made(), lone(1_000, 100)
        need = part.need(plain, AT_100)
        reserved = part.need(attrs.evolve(plain, reserved_units=123), AT_100)
        assert reserved == attrs.evolve(need, initial_units=need.initial_units + 123)

    @rule(40, "the lowest initial rate is 0 to 1, and no position needs less than it says")
    @law
    @given(market=st.sampled_from((1, 2, 3)), size=SIZES, price=PRICES)
    def test_lowest_rate(self, market: MarketId, size: Lots, price: Ticks) -> None:
        """It bounds the leverage that a trader may choose."""
        part = self.made()
        rate = part.initial_ppb(market)
        assert type(rate) is int
        assert 0 <= rate <= SCALE
        initial = part.need(lone(size, price, market), marks(price, price, price)).initial_units
        assert initial * SCALE >= abs(CONTEXT.markets[market].value(size, price)) * rate

    @rule(50, "a chosen leverage may raise the initial need, never lower it")
    @law
    @given(size=SIZES, price=PRICES, leverage=st.integers(1, 100))
    def test_leverage(self, size: Lots, price: Ticks, leverage: int) -> None:
        """At a leverage of 5, at least a fifth of the value is needed."""
        part, at = self.made(), marks(price, price, price)
        plain = part.need(lone(size, price), at).initial_units
        chosen = part.need(lone(size, price, leverage=leverage), at).initial_units
        assert chosen >= plain
        assert chosen * leverage >= size * price

    @rule(60, "an opening order never lowers the initial need")
    @law
    @given(size=st.integers(-2_000, 2_000), orders=st.tuples(*[st.integers(0, 90_000)] * 4))
    def test_orders(self, size: Lots, orders: tuple[Units, Units, Units, Units]) -> None:
        """On either side; it counts for what it would make of the position."""
        part = self.made()
        buys, sells, more_buys, more_sells = orders
        few = lone(size, 100, open_buy_units=buys, open_sell_units=sells)
        more = lone(size, 100, open_buy_units=buys + more_buys, open_sell_units=sells + more_sells)
        none, some, all_of_them = (part.need(each, AT_100).initial_units for each in (lone(size, 100), few, more))
        assert none <= some <= all_of_them
        alone = part.need(lone(0, 100, open_buy_units=buys), AT_100).initial_units
        assert alone * SCALE >= buys * part.initial_ppb(1)

    @rule(70, "what has no size has no liquidation and no bankruptcy price")
    def test_flat(self) -> None:
        """No price can hurt it."""
        asked = pool(0, exposure(0, 0, open_buy_units=500, open_orders=1), exposure(0, 0, market=2, unpaid_units=5))
        for market in (1, 2):
            found = self.made().thresholds(asked, market, 0, AT_100)
            assert found == Thresholds(liquidation_ticks=None, bankruptcy_ticks=None)

    @rule(200, "equity is the wallet and the profit, less what is due and owed")
    @law
    @given(drawn=POOLS, prices=MARKS)
    def test_equity(self, drawn: list[Held], prices: dict[MarketId, Any]) -> None:
        """Of the cross positions together, and of every isolated one with its own margin in the place of the wallet."""
        asked = pool_of(drawn)
        need = self.made().need(asked, prices)
        profits = {each: profit(each, prices[each.market].price_ticks) for each in asked.exposures}
        cross = sum(units for each, units in profits.items() if each.isolated_units is None)
        assert need.equity_units == asked.wallet_units + cross
        own = [e.isolated_units + units if e.isolated_units is not None else None for e, units in profits.items()]
        assert [slot.equity_units for slot in need.slots] == own

    @rule(210, "an isolated position does not touch the pool beside it")
    @law
    @given(drawn=POOLS, prices=MARKS)
    def test_isolated(self, drawn: list[Held], prices: dict[MarketId, Any]) -> None:
        """Neither its profit nor its need."""
        part, asked = self.made(), pool_of(drawn)
        cross = tuple(each for each in asked.exposures if each.isolated_units is None)
        need, without = part.need(asked, prices), part.need(attrs.evolve(asked, exposures=cross), prices)
        assert need.maintenance_units == without.maintenance_units
        assert need.equity_units == without.equity_units

    @rule(220, "a position that grows never needs less")
    @law
    @given(market=st.sampled_from((1, 2, 3)), sizes=st.tuples(SIZES, SIZES), side=SIDES, entry=PRICES, price=PRICES)
    def test_grows(self, market: MarketId, sizes: tuple[Lots, Lots], side: int, entry: Ticks, price: Ticks) -> None:
        """Alone in its pool, neither to open nor to keep."""
        part, at = self.made(), marks(price, price, price)
        small, large = (part.need(lone(side * size, entry, market), at) for size in sorted(sizes))
        assert small.initial_units <= large.initial_units
        assert small.maintenance_units <= large.maintenance_units

    @rule(230, "splitting a position over ids never lowers what it needs")
    @law
    @given(sizes=st.lists(SIZES, min_size=2, max_size=3), side=SIDES, own=st.booleans(), entry=PRICES, price=PRICES)
    def test_split(self, sizes: list[Lots], side: int, own: bool, entry: Ticks, price: Ticks) -> None:
        """Not to keep it either when the last part is isolated."""
        part, at, gross = self.made(), marks(price, price, price), sum(sizes)
        parts = [
            exposure(side * size, side * size * entry, position_id=number, gross_lots=gross)
            for number, size in enumerate(sizes)
        ]
        whole = part.need(lone(side * gross, entry), at)
        assert part.need(pool(0, *parts), at).initial_units >= whole.initial_units
        if own:
            parts[-1] = attrs.evolve(parts[-1], isolated_units=0)
        split = part.need(pool(0, *parts), at)
        assert sum(slot.maintenance_units for slot in split.slots) >= whole.maintenance_units

    @rule(240, "what a position needs to stay is at most what it needed to open")
    @law
    @given(market=st.sampled_from((1, 2, 3)), size=SIZES, side=SIDES, price=PRICES)
    def test_maintenance(self, market: MarketId, size: Lots, side: int, price: Ticks) -> None:
        """At the price at which it opened."""
        need = self.made().need(lone(side * size, price, market), marks(price, price, price))
        assert 0 <= need.maintenance_units <= need.initial_units

    @rule(250, "the liquidation price is the last at which equity covers maintenance")
    @law
    @given(drawn=POOLS, prices=MARKS)
    def test_liquidation_price(self, drawn: list[Held], prices: dict[MarketId, Any]) -> None:
        """One tick further it does not; the other marks stand still. None: it does at every listed price."""
        part, asked = self.made(), pool_of(drawn)
        for each in asked.exposures:

            def holds(price: Ticks, each: Exposure = each) -> bool:
                moved = attrs.evolve(prices[each.market], price_ticks=price)
                return healthy(part.need(asked, {**prices, each.market: moved}), each)

            found = part.thresholds(asked, each.market, each.position_id, prices).liquidation_ticks
            assert is_last(CONTEXT.markets[each.market], 1 if each.size_lots > 0 else -1, found, holds)

    @rule(260, "the bankruptcy price is the last at which a position closes for its closing value")
    @law
    @given(drawn=POOLS, prices=MARKS)
    def test_bankruptcy_price(self, drawn: list[Held], prices: dict[MarketId, Any]) -> None:
        """Where trading is free. None: it does at every listed price."""
        part, asked = self.make(FREE), pool_of(drawn)
        for each in asked.exposures:
            spec, lots = CONTEXT.markets[each.market], each.size_lots
            least = part.closing_value(asked, each.market, each.position_id, lots, prices)

            def holds(price: Ticks, spec: MarketSpec = spec, lots: Lots = lots, least: Units = least) -> bool:
                return spec.value(lots, price) >= least

            found = part.thresholds(asked, each.market, each.position_id, prices).bankruptcy_ticks
            assert is_last(spec, 1 if lots > 0 else -1, found, holds)

    @rule(270, "a position is liquidated before it is bankrupt, or at the same price")
    @law
    @given(drawn=HELD, prices=MARKS)
    def test_liquidation_first(self, drawn: Held, prices: dict[MarketId, Any]) -> None:
        """Alone in its pool, on its way to loss."""
        found = self.made().thresholds(pool_of([drawn]), drawn.market, 0, prices)
        if found.bankruptcy_ticks is not None:
            assert found.liquidation_ticks is not None
            side = 1 if drawn.size_lots > 0 else -1
            assert side * found.bankruptcy_ticks <= side * found.liquidation_ticks

    @rule(280, "positions that close for their closing values need nobody else's money")
    @law
    @given(drawn=POOLS, prices=MARKS)
    def test_closing_values(self, drawn: list[Held], prices: dict[MarketId, Any]) -> None:
        """An isolated one has its margin for that, the cross ones of a pool have its wallet together."""
        part, asked = self.made(), pool_of(drawn)
        left = asked.wallet_units
        for each in asked.exposures:
            value = part.closing_value(asked, each.market, each.position_id, each.size_lots, prices)
            gained = value - each.cost_units - each.unpaid_units - each.funding_due_units
            if each.isolated_units is None:
                left += gained
            else:
                assert each.isolated_units + gained >= 0
        assert left >= 0

    @rule(290, "a closing value is the least: a position that closes for it leaves nothing")
    @law
    @given(drawn=HELD, prices=MARKS)
    def test_closing_value_is_least(self, drawn: Held, prices: dict[MarketId, Any]) -> None:
        """Alone in its pool, where trading is free."""
        asked = pool_of([drawn])
        (each,) = asked.exposures
        value = self.make(FREE).closing_value(asked, each.market, 0, each.size_lots, prices)
        gained = value - each.cost_units - each.unpaid_units - each.funding_due_units
        assert asked.wallet_units + (each.isolated_units or 0) + gained == 0

    @rule(300, "a position that closes in parts needs nobody else's money either")
    @law
    @given(drawn=HELD, first=st.integers(1, 499), prices=MARKS)
    def test_closing_in_parts(self, drawn: Held, first: Lots, prices: dict[MarketId, Any]) -> None:
        """The value of each part is rounded up; in a market where values are whole nothing else is."""
        asked = pool_of([attrs.evolve(drawn, market=1)])
        (each,) = asked.exposures
        part, side = self.made(), 1 if each.size_lots > 0 else -1
        sizes = (side * first, each.size_lots - side * first)
        value = sum(part.closing_value(asked, 1, 0, lots, prices) for lots in sizes)
        gained = value - each.cost_units - each.unpaid_units - each.funding_due_units
        assert asked.wallet_units + (each.isolated_units or 0) + gained >= 0

    @rule(310, "a position opened with the margin that is asked for it is not in breach")
    @law
    @given(market=st.sampled_from((1, 2, 3)), size=SIZES, side=SIDES, price=PRICES, leverage=st.integers(0, 50))
    def test_opening_margin(self, market: MarketId, size: Lots, side: int, price: Ticks, leverage: int) -> None:
        """At the price at which it opened; and half the order asks for no more."""
        part, at = self.made(), marks(price, price, price)
        flat = exposure(0, 0, market=market, isolated_units=0, leverage=leverage)
        value = CONTEXT.markets[market].value(side * size, price)
        margin = part.opening_margin(flat, abs(value), at)
        assert 0 <= part.opening_margin(flat, abs(value) // 2, at) <= margin
        opened = exposure(side * size, value, market=market, isolated_units=margin, leverage=leverage)
        assert healthy(part.need(pool(0, opened), at), opened)
