"""A crash in three markets, small enough to be replayed many times, and what an interpreter needs to replay it."""

import importlib.machinery
import itertools
import random
import shutil
import tomllib
from collections.abc import Iterator, Mapping
from importlib import metadata
from pathlib import Path
from typing import Any

import attrs
import pytest
from packaging.requirements import Requirement

from perpkit import ExchangeConfig, Side, TimeInForce, account_id
from perpkit.audit import replay
from perpkit.model.command import (
    AdjustMargin,
    AmendOrder,
    ApproveWithdrawal,
    CancelAllAfter,
    CancelOrder,
    CancelOrders,
    CancelWithdrawal,
    CapitalObserved,
    ClosePosition,
    ClosePositions,
    Command,
    DepositObserved,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
    ReversePosition,
    SetPositionMode,
    SetPositionTerms,
    WithdrawalSent,
)
from perpkit.model.order import SelfTrade
from perpkit.model.position import PositionMode
from perpkit.model.price import Quote
from perpkit.model.records import pack_all
from perpkit.model.trigger import Attached, PriceSource, Relation, Trigger, TriggerKind
from perpkit.units import HOUR_NS

ROOT = Path(__file__).parents[2]
START_NS = 1_583_971_200 * 10**9  # 12 March 2020
STEP_NS = HOUR_NS
STEPS_BETWEEN = 4
PATH_PERCENT = (100, 101, 97, 78, 74, 76, 52, 68, 70)
FIRST_TICKS = {1: 15_860, 2: 3_900, 3: 79_300}
STAKE_UNITS = {1: 10**8, 2: 8_000 * 10**6}

MAKERS = [account_id(1), account_id(2)]
# Ids beyond 32 bits, drawn at random: there platforms differ in how they hash an integer.
TRADERS = [account_id(owner, number=owner >> 20) for owner in random.Random(1).sample(range(1 << 40), 14)]
# In the linear market these hold one position a side.
HEDGERS = TRADERS[:3]


@attrs.frozen(kw_only=True)
class Crash:
    """A folder with the log and its configuration, and what this interpreter makes of them."""

    folder: Path
    replayed: dict[str, object]
    kinds: frozenset[str]


@pytest.fixture(scope="session")
def crash(tmp_path_factory):
    folder = tmp_path_factory.mktemp("crash")
    shutil.copy(Path(__file__).with_name("exchange.toml"), folder)
    config = ExchangeConfig.from_toml(folder / "exchange.toml")
    log, kinds = pack_all(Crowd(config).commands()), set()
    (folder / "crash.log").write_bytes(log)
    replayed = replay(log, config, watch=lambda outcome: kinds.update(type(event).__name__ for event in outcome.events))
    return Crash(folder=folder, replayed=attrs.asdict(replayed), kinds=frozenset(kinds))


@pytest.fixture(scope="session")
def packages(tmp_path_factory):
    """A folder with what perpkit depends on and nothing else, for interpreters that have no packages of their own."""
    folder = tmp_path_factory.mktemp("packages")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    wanted, found = [Requirement(each) for each in project["dependencies"]], set()
    while wanted:
        requirement = wanted.pop()
        if requirement.name in found or (requirement.marker and not requirement.marker.evaluate({"extra": ""})):
            continue
        found.add(requirement.name)
        distribution = metadata.distribution(requirement.name)
        wanted += [Requirement(each) for each in distribution.requires or ()]
        for file in distribution.files or ():
            if file.name.endswith(tuple(importlib.machinery.EXTENSION_SUFFIXES)):
                pytest.skip(f"{requirement.name} is compiled here, which no other interpreter can use: {file}")
            if ".." not in file.parts and file.suffix != ".pyc":
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(file.locate(), folder / file)
    return folder


class Crowd:
    """Makers and traders in all three markets on the day of the crash. Nobody looks at the exchange."""

    def __init__(self, config: ExchangeConfig) -> None:
        self._markets = config.markets
        self._draw = random.Random(2020)
        self._ids = itertools.count(2**33)
        self._quoted: list[CancelOrder] = []
        self._latest: dict[int, PlaceOrder] = {}
        self._isolated: dict[int, int] = {}

    def commands(self) -> Iterator[Command]:
        """Yield everything that anybody sends."""
        yield from self._opening()
        between = itertools.product(itertools.pairwise(PATH_PERCENT), range(STEPS_BETWEEN))
        for step, ((start, end), part) in enumerate(between):
            percent = start * (STEPS_BETWEEN - part) + end * part
            prices = {market: first * percent // (100 * STEPS_BETWEEN) for market, first in FIRST_TICKS.items()}
            at_ns = START_NS + step * STEP_NS
            yield self._outside(step, at_ns, prices)
            for command in (
                *self._makers(prices),
                *self._traders(prices),
                *self._others(at_ns, prices),
                *self._withdrawals(step),
            ):
                yield attrs.evolve(command, time_ns=at_ns)

    def _opening(self) -> Iterator[Command]:
        for asset, stake_units in STAKE_UNITS.items():
            yield CapitalObserved(deposit_id=next(self._ids), fund=1, asset=asset, amount_units=stake_units // 1_000)
            for account in MAKERS + TRADERS:
                units = stake_units * (300 if account in MAKERS else 1)
                yield DepositObserved(deposit_id=next(self._ids), account=account, asset=asset, amount_units=units)
        for account, market in itertools.product(TRADERS, self._markets):
            isolated, leverage = self._draw.random() < 0.4, self._draw.choice((5, 10, 20, 50))
            if isolated:
                self._isolated[account] = market
            yield SetPositionTerms(account=account, market=market, isolated=isolated, leverage=leverage)
        yield from (SetPositionMode(account=account, market=3, mode=PositionMode.HEDGE) for account in HEDGERS)

    def _outside(self, step: int, at_ns: int, prices: Mapping[int, int]) -> IndexQuotes:
        """Five sources that disagree a little; one pauses now and then, so that its last price grows stale."""
        quotes = [
            Quote(
                market=market, source=source, price_ticks=price + self._draw.randint(-2, 2), weight=source, at_ns=at_ns
            )
            for (market, price), source in itertools.product(prices.items(), range(1, 6))
            if source != 4 or step % 5
        ]
        return IndexQuotes(quotes=tuple(quotes), time_ns=at_ns)

    def _makers(self, prices: Mapping[int, int]) -> Iterator[Command]:
        yield from self._quoted
        self._quoted = []
        for account, market, side, level in itertools.product(MAKERS, prices, Side, (1, 2)):
            price = prices[market] - side * prices[market] * level // 250
            order = self._order(account, market, side, price, stakes=1)
            self._quoted.append(CancelOrder(account=account, market=market, client_order_id=order.client_order_id))
            yield order

    def _traders(self, prices: Mapping[int, int]) -> Iterator[Command]:
        for account in TRADERS:
            if self._draw.random() < 0.25:
                market = self._draw.choice(list(prices))
                side = Side.BUY if self._draw.random() < 0.7 else Side.SELL
                order = self._order(account, market, side, prices[market] + side * prices[market] // 100, stakes=2)
                yield attrs.evolve(order, is_market=True, time_in_force=TimeInForce.IOC)

    def _others(self, at_ns: int, prices: Mapping[int, int]) -> Iterator[Command]:
        """Every trader does one more thing, of all that there are; nobody looks whether it can be done."""
        for account in TRADERS:
            market, side = self._draw.choice(list(prices)), self._draw.choice(list(Side))
            order = self._order(account, market, side, prices[market] - side * prices[market] // 200, stakes=1)
            kinds = [*self._special(order, prices[market], at_ns), *self._clicks(order)]
            command = self._draw.choice(kinds)
            if isinstance(command, PlaceOrder):
                self._latest[account] = command
            yield command

    def _special(self, order: PlaceOrder, price: int, at_ns: int) -> list[PlaceOrder]:
        side, away = order.side, price // 40
        source, self_trade = self._draw.choice(list(PriceSource)), self._draw.choice(list(SelfTrade))
        stop = Trigger(price_source=source, price_ticks=price + side * away)
        profit = Trigger(kind=TriggerKind.TAKE_PROFIT, price_source=source, price_ticks=price - side * away)
        exits = [
            Attached(side=side.opposite, is_market=True, trigger=attrs.evolve(each, price_ticks=price + sign * away))
            for each, sign in ((stop, -side), (profit, side))
        ]
        either = Attached(
            relation=Relation.EITHER, side=side, size_lots=1, is_market=True, trigger=stop, reduce_only=False
        )
        capped = TimeInForce.IOC if side is Side.BUY else TimeInForce.FOK
        crosses = attrs.evolve(order, price_ticks=price + side * away)
        terms: list[tuple[PlaceOrder, dict[str, Any]]] = [
            (order, {"display_lots": order.size_lots // 5 + 1, "self_trade": self_trade, "self_trade_by_owner": True}),
            (order, {"hidden": True, "time_in_force": TimeInForce.GTD, "expires_ns": at_ns + 3 * HOUR_NS // 2}),
            (order, {"pegged": True, "peg_offset_ticks": 2, "time_in_force": TimeInForce.DAY}),
            (order, {"attached": (either,)}),
            (crosses, {"post_only": True, "slide": True}),
            (crosses, {"market_to_limit": True}),
            (crosses, {"time_in_force": capped, "value_limit_units": STAKE_UNITS[1] // 3}),
            (crosses, {"attached": tuple(exits), "self_trade": self_trade}),
            (crosses, {"trigger": stop}),
            (crosses, {"trigger": profit, "is_market": True}),
            (crosses, {"trigger": attrs.evolve(stop, price_ticks=0, trail_ppb=30_000_000), "is_market": True}),
            (crosses, {"trigger": attrs.evolve(stop, price_ticks=0, trail_ticks=away), "reduce_only": True}),
            (crosses, {"trigger": stop, "close": True, "size_lots": 0, "is_market": True}),
        ]
        return [attrs.evolve(each, **changes) for each, changes in terms]

    def _clicks(self, order: PlaceOrder) -> list[Command]:
        account, slot = order.account, {"account": order.account, "market": order.market}
        last, isolated = self._latest.get(account, order), self._isolated.get(account, order.market)
        named = {"account": account, "market": last.market, "client_order_id": last.client_order_id}
        return [
            AmendOrder(size_lots=last.size_lots // 2 + 1, **named),
            AmendOrder(price_ticks=last.price_ticks + last.side, **named),
            ClosePosition(size_lots=order.size_lots // 3 + 1, client_order_id=next(self._ids), **slot),
            ReversePosition(client_order_id=next(self._ids), **slot),
            ClosePositions(account=account),
            CancelOrders(account=account, buys=order.side is Side.BUY),
            CancelAllAfter(account=account, after_ns=HOUR_NS // 2),
            AdjustMargin(account=account, market=isolated, amount_units=STAKE_UNITS[1] // 50 * order.side),
        ]

    def _withdrawals(self, step: int) -> Iterator[Command]:
        """Every step somebody asks; later custody approves and sends, or the owner thinks better of it."""
        ids = 2**33 + step
        asset, account = 1 + step % 2, (MAKERS + TRADERS)[step % 16]
        yield RequestWithdrawal(
            withdrawal_id=ids, account=account, asset=asset, amount_units=STAKE_UNITS[asset] // 20, destination=step
        )
        yield CancelWithdrawal(withdrawal_id=ids - 3) if step % 4 == 0 else ApproveWithdrawal(withdrawal_id=ids - 3)
        yield WithdrawalSent(withdrawal_id=ids - 5, network_fee_units=step)

    def _order(self, account: int, market: int, side: Side, price_ticks: int, *, stakes: int) -> PlaceOrder:
        spec = self._markets[market]
        return PlaceOrder(
            account=account,
            market=market,
            side=side,
            size_lots=spec.lots_within(STAKE_UNITS[spec.settlement] * stakes, price_ticks),
            price_ticks=price_ticks,
            position_id=_position_id(account, market, side),
            client_order_id=next(self._ids),
        )


def _position_id(account: int, market: int, side: Side) -> int:
    """Return the position that an order opens: a hedger's long or short one, everybody else's only one."""
    hedges = account in HEDGERS and market == 3
    return 0 if not hedges else 1 if side is Side.BUY else 2
