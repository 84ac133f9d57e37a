"""The books counted again from nothing, and the few sums that are compared after every command."""

from __future__ import annotations

import json
from collections import Counter
from itertools import pairwise
from typing import Any, NamedTuple

from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange, Outcome
from perpkit.model.ids import HOUSE, AccountId, AssetId, MarketId
from perpkit.model.ledger import CUSTODY_SIDE, MAY_BE_NEGATIVE, Chart, LedgerAccount, insurance, wallet
from perpkit.model.market import MarketSpec, MarketState, ValueRounding
from perpkit.model.order import Side
from perpkit.model.price import PriceState
from perpkit.reference.insurance_protection import ACCIDENT, PENETRATION
from perpkit.units import SCALE, Units

from .mirror import Mirror
from .orders import Live

FUNDS = (PENETRATION, ACCIDENT)  # only the first pays here; it is the whole fund of `pool`


class PositionRow(NamedTuple):
    """A position as a dump has it."""

    account: int
    market: int
    position_id: int
    size_lots: int
    cost_units: int
    unpaid_units: int
    funding_index_scaled: int
    isolated: int
    leverage: int


class OrderRow(NamedTuple):
    """A resting order as a dump has it, with what it sets aside."""

    id: int
    account: int
    market: int
    position_id: int
    side: int
    price_ticks: int
    flags: int
    self_trade: int
    display_lots: int
    hidden_lots: int
    client_order_id: int
    size_lots: int
    left_lots: int
    value_units: int
    reserve_units: int

    @property
    def reduce_only(self) -> bool:
        """Whether it only reduces."""
        return bool(self.flags & 1)


def check_sums(exchange: Exchange, mirror: Mirror, outcome: Outcome) -> None:
    """Compare what is O(1): laws 1 to 3 over running sums, for what a command touched, with what its events told."""
    clearing = exchange.clearing
    accounts = {getattr(event, "account", HOUSE) for event in outcome.events} - {HOUSE}
    markets = {getattr(event, "market", 0) for event in outcome.events} - {0}
    for asset, custody_units in mirror.custody_units.items():
        assert clearing.conservation(asset) == (custody_units, custody_units), f"law 1, asset {asset}"
        for fund in FUNDS:
            held = clearing.balance(insurance(fund, asset))
            assert held == mirror.fund_units[fund, asset] >= 0, f"law 3, fund {fund} of asset {asset}"
        for account in accounts:
            assert clearing.balance(wallet(account, asset)) >= 0, f"law 3, wallet of {account}"
    for market in markets:
        totals = clearing.totals(market)
        assert totals.size_lots == 0, f"law 2, sizes of market {market}"
        assert totals.costs_units + totals.ccp_units == 0, f"law 2, costs of market {market}"


def check_inventory(exchange: Exchange, config: ExchangeConfig, mirror: Mirror) -> None:
    """Law 3 at an accepted mark: what the inventory of an asset would lose, its fund may pay."""
    clearing = exchange.clearing
    for asset in config.assets:
        gains: Counter[MarketId] = Counter()
        for held in clearing.pool(HOUSE, asset).exposures:
            if mirror.states[held.market].runs and mirror.marks[held.market] is not PriceState.FROZEN:
                worth = config.markets[held.market].value(held.size_lots, clearing.marks()[held.market].price_ticks)
                gains[held.market] += worth - held.cost_units - held.unpaid_units - held.funding_due_units
        losses = sum(max(0, -gain) for gain in gains.values())
        assert losses <= mirror.fund_units[FUNDS[0], asset], f"law 3, inventory of asset {asset}"


def full_audit(exchange: Exchange, config: ExchangeConfig, mirror: Mirror) -> None:
    """Count everything again from the dump, and compare it with the public reads and with the mirror."""
    Audit(exchange, config, mirror).run()


class Audit:
    """One reading of the whole state."""

    def __init__(self, exchange: Exchange, config: ExchangeConfig, mirror: Mirror) -> None:
        self._clearing = exchange.clearing
        self._config = config
        self._mirror = mirror
        self._state: dict[str, Any] = json.loads(exchange.dump())
        clearing = self._state["clearing"]
        self._ledger: dict[LedgerAccount, Units] = {
            LedgerAccount(Chart(row[0]), *row[1:-1]): row[-1] for row in clearing["ledger"]
        }
        self._positions = [PositionRow(*row) for row in clearing["positions"]]
        self._orders = [OrderRow(*row) for row in clearing["orders"]]
        self._index_scaled = {row[0]: row[4] for row in clearing["sums"]}

    def run(self) -> None:
        """Check everything."""
        self._ledger_balances()
        self._withdrawals()
        for market in self._config.markets.values():
            self._market_balances(market)
            self._market_funding(market)
            self._book(market)
        for account in (*self._clearing.accounts(), HOUSE):
            for asset in self._config.assets:
                self._pool(account, asset)
        self._events_told_all()

    def _ledger_balances(self) -> None:
        for asset in self._config.assets:
            mine = {account: units for account, units in self._ledger.items() if account.asset == asset}
            custody = sum(units for account, units in mine.items() if account.chart in CUSTODY_SIDE)
            assert sum(mine.values()) - custody == custody == self._mirror.custody_units[asset], "law 1"
        for account, units in self._ledger.items():
            assert units >= 0 or account.chart in MAY_BE_NEGATIVE, f"law 3: {account}"
            assert self._clearing.balance(account) == units, f"the dump of {account}"

    def _withdrawals(self) -> None:
        told = {each: (held.asset, held.amount_units) for each, held in self._mirror.withdrawals.items()}
        booked = {a.holder: (a.asset, units) for a, units in self._ledger.items() if a.chart is Chart.WITHDRAWAL}
        assert told == booked, "every withdrawal waits in a ledger account of its own"
        for asset in self._config.assets:
            held = [each for each in self._mirror.withdrawals.values() if each.asset == asset and each.released]
            in_flight = self._ledger.get(LedgerAccount(Chart.CUSTODY_IN_FLIGHT, asset), 0)
            assert in_flight == sum(each.amount_units for each in held), "what was released is in flight"

    def _market_balances(self, market: MarketSpec) -> None:
        totals = self._clearing.totals(market.id)
        mine = [each for each in self._positions if each.market == market.id]
        sizes = [each.size_lots for each in mine]
        assert sum(sizes) == 0, f"law 2, sizes of market {market.id}"
        assert sum(each.cost_units + each.unpaid_units for each in mine) == totals.costs_units, "sum of costs"
        assert totals.costs_units + self._of_market(Chart.CCP, market) == 0, f"law 2, costs of market {market.id}"
        assert sum(size for size in sizes if size > 0) == totals.open_interest_lots, "open interest"
        # Only a taker's fills are held against the limit: deleveraging and take-over add nothing.
        assert totals.open_interest_lots <= market.open_interest_max_lots, "the open interest limit"
        price = self._clearing.marks()[market.id].price_ticks
        rounding = 0 if market.value_rounding is ValueRounding.UNIT else len(mine)
        if price:
            assert abs(sum(market.value(size, price) for size in sizes)) <= rounding, "law 2, values at one mark"
        if self._mirror.states[market.id] is MarketState.SETTLED:
            assert not any(sizes), "nothing is left of a settled market"

    def _market_funding(self, market: MarketSpec) -> None:
        totals = self._clearing.totals(market.id)
        mine = [each for each in self._positions if each.market == market.id]
        entered = sum(each.size_lots * each.funding_index_scaled for each in mine)
        assert entered == totals.funding_base_scaled, "sum of sizes times index at entry"
        # What was paid exactly and what is due exactly sum to zero, because the sizes do.
        residue = SCALE * self._of_market(Chart.FUNDING, market) - entered
        assert 0 <= residue <= SCALE * totals.funding_settlements, f"law 2, funding of market {market.id}"

    def _book(self, market: MarketSpec) -> None:
        known = self._mirror.orders.resting
        for side in Side:
            mine = [each for each in self._orders if (each.market, each.side) == (market.id, side)]
            prices = [-side * each.price_ticks for each in mine]
            assert prices == sorted(prices), "best price first"
            # An iceberg that showed itself anew stands behind those that came after it.
            ranks = [(-side * each.price_ticks, known[each.id].rank) for each in mine if not each.display_lots]
            assert all(before < after for before, after in pairwise(ranks)), "price, then time"
            self._levels(market, side, [known[each.id] for each in mine])
        mine = [each for each in self._orders if each.market == market.id]
        bids = [each.price_ticks for each in mine if each.side == Side.BUY]
        asks = [each.price_ticks for each in mine if each.side == Side.SELL]
        assert not bids or not asks or max(bids) < min(asks), "a crossed book"
        for account, count in Counter(each.account for each in mine).items():
            assert account != HOUSE, "the house has no resting orders"
            assert count <= market.orders_max, "more resting orders than allowed"

    def _levels(self, market: MarketSpec, side: Side, orders: list[Live]) -> None:
        """Compare what a side shows with what its orders may show: a plain one all, an iceberg a part, others none."""
        most: Counter[int] = Counter()
        least: Counter[int] = Counter()
        for live in orders:
            display = live.order.display_lots or live.left_lots
            if not live.order.hidden:
                most[live.price_ticks] += min(display, live.left_lots)
                least[live.price_ticks] += 1 if live.order.display_lots else live.left_lots
        shown = self._clearing.levels(market.id, side, len(most) + 1)
        assert [level.price_ticks for level in shown] == list(most), "the prices that are shown"
        for level in shown:
            assert least[level.price_ticks] <= level.size_lots <= most[level.price_ticks], f"what is shown: {level}"

    def _pool(self, account: AccountId, asset: AssetId) -> None:
        """Compare a pool with the rows that it is made of."""
        pool = self._clearing.pool(account, asset)
        markets = [market for market, spec in self._config.markets.items() if spec.settlement == asset]
        positions = {
            (p.market, p.position_id): p for p in self._positions if p.account == account and p.market in markets
        }
        orders = [each for each in self._orders if each.account == account and each.market in markets]
        assert pool.wallet_units == self._ledger.get(wallet(account, asset), 0), "wallet"
        assert pool.reserved_units == sum(each.reserve_units for each in orders), "reservations"
        shown = {(each.market, each.position_id): each for each in pool.exposures}
        used = {slot for slot, p in positions.items() if p.size_lots or p.unpaid_units}
        assert set(shown) == used | {(each.market, each.position_id) for each in orders}, "positions of the pool"
        for slot, each in shown.items():
            row = positions.get(slot) or PositionRow(account, *slot, 0, 0, 0, 0, 0, 0)
            mine = [order for order in orders if (order.market, order.position_id) == slot]
            assert (each.size_lots, each.cost_units, each.unpaid_units) == row[3:6], f"position {slot} of {account}"
            assert each.open_orders == len(mine), f"orders on {slot} of {account}"
            buys = sum(order.value_units for order in mine if order.side == Side.BUY)
            sells = sum(order.value_units for order in mine if order.side == Side.SELL)
            assert (each.open_buy_units, each.open_sell_units) == (buys, sells), f"order values on {slot} of {account}"
            gross = sum(abs(p.size_lots) for p in positions.values() if p.market == slot[0])
            assert each.gross_lots == gross, f"gross size of {account} in market {slot[0]}"
            margin = LedgerAccount(Chart.ISOLATED, asset, account, *slot)
            assert each.isolated_units == (self._ledger.get(margin, 0) if row.isolated else None), "isolated margin"
            due = -(-row.size_lots * (self._index_scaled[slot[0]] - row.funding_index_scaled) // SCALE)
            assert each.funding_due_units == due, "funding that is due"
            self._orders_fit(row, mine)
        for margin in self._ledger:
            if margin.chart is Chart.ISOLATED and (margin.holder, margin.asset) == (account, asset):
                assert (margin.market, margin.position_id) in used, f"margin without a position: {margin}"

    def _orders_fit(self, row: PositionRow, orders: list[OrderRow]) -> None:
        """Check that orders set aside at least what is left of them, and that reduce-only ones cannot open."""
        market = self._config.markets[row.market]
        for order in orders:
            if order.reduce_only:
                assert (order.value_units, order.reserve_units) == (0, 0), "a reduce-only order sets nothing aside"
                assert order.side * row.size_lots < 0, "a reduce-only order with nothing to reduce"
            else:
                # Each relief rounds up by less than one unit, and each takes a lot at least; so does one on arrival.
                slack = self._mirror.orders.resting[order.id].rested_lots - order.left_lots + 2
                value = abs(market.value(order.left_lots, order.price_ticks))
                assert order.value_units >= value - slack, f"order {order.id} sets too little aside"
        closing = sum(order.left_lots for order in orders if order.side * row.size_lots < 0)
        if any(order.reduce_only for order in orders):
            plain = sum(o.left_lots for o in orders if o.side * row.size_lots < 0 and not o.reduce_only)
            assert closing <= max(plain, abs(row.size_lots)), "reduce-only orders for more than there is"

    def _events_told_all(self) -> None:
        """Compare positions, orders and queue with what the events told."""
        sizes = {(p.account, p.market, p.position_id): p.size_lots for p in self._positions if p.size_lots}
        assert sizes == self._mirror.sizes, "positions as the events told them"
        orders = self._mirror.orders
        resting = {order.id: (order.left_lots, order.price_ticks, order.reduce_only) for order in self._orders}
        told = {each: (live.left_lots, live.price_ticks, live.reduces) for each, live in orders.resting.items()}
        assert resting == told, "resting orders as the events told them"
        desk = self._state["triggers"]
        assert {row[0]: row[2] for row in desk["waiting"]} == {
            each: live.price_ticks for each, live in orders.waiting.items()
        }, "waiting orders as the events told them"
        assert dict(desk["switches"]) == orders.switches, "switches"
        assert {(row[0], row[1]): row[2] for row in self._state["clearing"]["modes"]} == orders.modes, "position modes"
        orders.check_positions()
        assert {tuple(row[0]) for row in self._state["queue"]} == self._mirror.queue, "the liquidation queue"
        assert dict(self._state["market_states"]) == self._mirror.states, "market states"

    def _of_market(self, chart: Chart, market: MarketSpec) -> Units:
        return self._ledger.get(LedgerAccount(chart, market.settlement, 0, market.id), 0)
