"""Adapters for what happens once margin is not enough: liquidation, the insurance fund, deleveraging, shared losses."""

from __future__ import annotations

from bisect import bisect_left
from decimal import Decimal
from fractions import Fraction
from typing import Any

import attrs

from perpkit.engine.exchange import Exchange
from perpkit.model.cause import Cause
from perpkit.model.event import Deleveraged, LossSocialized, OrderCancelled, PositionChanged, TakenOver
from perpkit.model.ledger import insurance, wallet
from perpkit.model.order import Side
from perpkit.model.position import Closing, Winner
from perpkit.model.price import Mark, PriceState
from perpkit.plugin import NoOptions
from perpkit.ports.deleveraging import DeleveragingCase
from perpkit.reference.deleveraging_pro_rata import ProRataDeleveraging
from perpkit.reference.deleveraging_ranked import RankedDeleveraging
from perpkit.reference.insurance_pool import PoolInsurance
from perpkit.reference.insurance_protection import ProtectionInsurance, ProtectionOptions
from perpkit.testing.builders import exchange_context, loss

OPEN = {"long": Side.BUY, "short": Side.SELL}
RANKED = RankedDeleveraging(exchange_context(), NoOptions())
PRO_RATA = ProRataDeleveraging(exchange_context(), NoOptions())


def trade(exchange: Exchange, account: int, side: Side, size: object, price: object, other: int) -> None:
    assert exchange.place(other, "PERP-1", side.opposite, size, price).rejected is None
    assert exchange.place(account, "PERP-1", side, size, price).fills


def fund_of(exchange: Exchange) -> Fraction:
    return exchange.clearing.balance(insurance(1, 1)) * exchange.asset("COIN").unit.step


def rates(initial: str, maintenance: str, *tops: str) -> list[dict[str, str]]:
    return [{"up_to": top, "initial": initial, "maintenance": maintenance} for top in (*tops, "1000000")]


# Deleveraging.


def adl(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs = case["inputs"]
    if "longs" in inputs:
        return queue(inputs, make)
    return rank(inputs, make) if "bankruptcy" in inputs else offset(inputs, make)


def queue(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    """All trade at 600, and at 660 each long has won a tenth and has the equity that makes its score."""
    longs = {int(each["account"]): each for each in inputs["longs"]}
    size, bankrupt, rest = int(inputs["liquidated_short_qty"]), 8, 9
    deposits = {
        account: str(int(each["qty"]) * (Fraction(660, int(each["score"])) - 60)) for account, each in longs.items()
    }
    deposits |= {bankrupt: str(size * (int(inputs["bankruptcy"]) - 600)), rest: "100000"}
    exchange = make.exchange({"brackets": rates("5%", "1%")}, deposits=deposits, price="600")
    others = sum(int(each["qty"]) for each in longs.values()) - size
    for account, lots in ((bankrupt, size), (rest, others)):
        assert exchange.place(account, "PERP-1", Side.SELL, lots, "600").rejected is None
    for account, each in longs.items():
        assert exchange.place(account, "PERP-1", Side.BUY, each["qty"], "600").fills
    told = [event for event in exchange.quote("PERP-1", "660").events if isinstance(event, Deleveraged)]
    left = {each.account: sum(e.size_lots for e in exchange.clearing.pool(each.account, 1).exposures) for each in told}
    return {
        "fills": [{"account": each.account, "qty": abs(each.size_lots), "price": each.price_ticks} for each in told],
        "remaining": {str(account): lots for account, lots in left.items() if lots},
    }


def rank(inputs: dict[str, str], make: Any) -> dict[str, Any]:
    """Account 1 has the money that makes it bankrupt where the case says."""
    unit, size = "1e-12", inputs["qty"]
    market = {
        "kind": inputs["contract"],
        "price_max": "20000",
        "order_max": size,
        "open_interest_max": size,
        "orders_max": 1,
        "brackets": rates("1%", "0"),
    }
    spec, side = make.spec(market, unit=unit), OPEN[inputs["side"]]
    entry, mark, bankruptcy = (spec.tick.parse(inputs[name]) for name in ("entry", "mark", "bankruptcy"))
    lots = side * spec.lot.parse(size)
    margin = Decimal(spec.value(lots, entry) - spec.value(lots, bankruptcy)) * Decimal(unit)
    exchange = make.exchange(market, unit=unit, deposits={1: str(margin), 2: "1000"}, price=inputs["entry"])
    trade(exchange, 1, side, size, inputs["entry"], 2)
    exchange.quote("PERP-1", inputs["mark"])
    (winner,) = exchange.clearing.winners(1, side, mark)
    return {
        "effective_leverage": Fraction(winner.value_units, winner.equity_units),
        "pnl_pct": Fraction(winner.profit_units, abs(winner.cost_units)),
        "rank": score(winner),
    }


def score(winner: Winner) -> Fraction:
    """Return the highest score, in parts of 10^12, that a rival may have and still give up its position later."""
    parts = 10**12

    def later(rival_score: int) -> bool:
        figures = {"profit_units": rival_score, "cost_units": parts, "value_units": 1, "equity_units": 1}
        rival = attrs.evolve(winner, account=winner.account + 1, **figures)
        shares = RANKED.shares(
            DeleveragingCase(market=1, size_lots=1, price_ticks=1, severity_units=1, winners=[rival, winner])
        )
        return shares[0].account == winner.account

    return Fraction(bisect_left(range(1, 10**15), True, key=lambda rival_score: not later(rival_score)), parts)


def offset(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    """All trade at 49,998, so that a balance below zero is what is left of a wallet that paid for the position.

    The short is closed against the longs by the calls with which the engine does it.
    """
    entry, short, given = 49_998, inputs["liquidated"], inputs["offsetting"]
    longs = dict(enumerate(given if isinstance(given, list) else [given], start=1))
    bankrupt = len(longs) + 1
    before = {account: Fraction(each["usdc"]) for account, each in longs.items()}
    paid = {account: before[account] + entry * Fraction(each["btc"]) for account, each in longs.items()}
    paid[bankrupt] = Fraction(short["usdc"]) + entry * Fraction(short["btc"])
    market = {"lot": "0.5", "price_max": "100000", "open_interest_max": "10", "brackets": rates("0", "0")}
    deposits = {account: str(amount) for account, amount in paid.items()}
    exchange = make.exchange(market, unit="0.1", deposits=deposits, price=str(entry))
    for account, each in longs.items():
        trade(exchange, account, Side.BUY, each["btc"], entry, bankrupt)
    clearing = exchange.clearing
    clearing.set_mark(Mark(market=1, price_ticks=int(inputs["oracle"]), state=PriceState.OK, at_ns=exchange.clock_ns))
    price, lots = clearing.thresholds(bankrupt, 1, 0).bankruptcy_ticks, exchange.market("PERP-1").lot.parse("1")
    winners = clearing.winners(1, Side.BUY, price)
    case = DeleveragingCase(market=1, size_lots=lots, price_ticks=price, severity_units=1, winners=winners)
    shares = PRO_RATA.shares(case)
    assert list(RANKED.shares(case)) == list(shares)  # who must all give everything up give it up in any order
    closings = [Closing(account=each.account, position_id=0, change_lots=-each.size_lots) for each in shares]
    placed = sum(each.size_lots for each in shares)
    closings.append(Closing(account=bankrupt, position_id=0, change_lots=placed))
    clearing.cross_off_book(1, price, closings, Cause.DELEVERAGING)
    after = {account: clearing.balance(wallet(account, 1)) * exchange.asset("COIN").unit.step for account in longs}
    received = {after[account] - before[account] for account in longs}
    return {
        "ok": placed == lots,
        "price": price,
        "offsetting_usdc_after": after[1],
        "each_receives": received.pop() if len(received) == 1 else None,
        "open_interest_after": clearing.totals(1).open_interest_lots,
    }


# The insurance fund.


def insurance_fund(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs = case["inputs"]
    if "balance" in inputs:
        return {"valid": covered(int(inputs["balance"]), -int(inputs["delta"]))}
    size = Fraction(inputs["size"])
    if "bankruptcy" in inputs:
        # Its bracket is the lowest, so the house takes it over and sells it.
        market = {"lot": inputs["size"], "brackets": rates("1%", "0.5%")}
        return fund_change(make, inputs, Fraction(inputs["bankruptcy"]), market, margin=1)
    # A first bracket below one lot lets the whole position be closed on the book, for a fee.
    market = {
        "lot": inputs["size"],
        "liquidation_fee": inputs["max_liq_fee"],
        "brackets": rates("14%", "12%", "0.01"),
    }
    return fund_change(make, inputs, abs(Fraction(inputs["bankruptcy_quote"])) / size, market, margin=9_000)


def covered(balance: int, owed: int) -> bool:
    """Say whether the funds may pay all that is owed; what comes in is no loss."""
    asked = loss(max(0, owed))
    pool = PoolInsurance(exchange_context(), NoOptions()).payable(asked, {1: balance})
    protection = ProtectionInsurance(exchange_context(), ProtectionOptions())
    assert protection.payable(asked, {1: balance, 2: 1_000}) == pool
    return pool == asked.amount_units


def fund_change(
    make: Any, inputs: dict[str, str], bankruptcy: Fraction, market: dict[str, Any], *, margin: int
) -> dict[str, Any]:
    """Account 1 opens `margin` away from bankruptcy, and is liquidated where account 3 waits with the fill."""
    side, fill, size = OPEN[inputs.get("side", "long")], inputs.get("fill_price") or inputs["fill"], inputs["size"]
    entry = str(bankruptcy + side * margin)
    deposits = {1: str(margin * Decimal(size)), 2: "100000", 3: "100000"}
    market = {"tick": "0.25", "price_max": "100000", "open_interest_max": "1000", "order_max": "100", **market}
    exchange = make.exchange(market, unit="0.01", deposits=deposits, price=entry)
    if inputs.get("fund") != "0":
        exchange.capital("COIN", "100")
    before = fund_of(exchange)
    trade(exchange, 1, side, size, entry, 2)
    exchange.place(3, "PERP-1", side, size, fill)
    if (Fraction(fill) - bankruptcy) * side < 0:
        # The engine lets nothing close beyond the bankruptcy price; clearing itself is asked here.
        ticks = exchange.market("PERP-1").tick.parse(fill)
        exchange.clearing.close_on_book(1, 1, 0, 1, ticks, 0, Cause.LIQUIDATION)
    exchange.quote("PERP-1", fill)
    after = fund_of(exchange)
    return {"insurance_delta": after - before, "fund_after": after}


# What nobody can pay.


def socialised_loss(case: dict[str, Any], make: Any) -> dict[str, Any]:
    """Account 9 buys from B and is closed with A so low that it owes the loss; at 3,000 both have won what they should.

    Beyond the bankruptcy price nothing is closed by the engine, so clearing is asked for that.
    """
    inputs, owing, mark = case["inputs"], 9, 3_000
    profits = {name: int(profit) for name, profit in inputs["session_profits"].items()}
    accounts = {name: number for number, name in enumerate(profits, start=1)}
    bought, sold = mark + profits["B"], mark - profits["A"]
    margin = str(Decimal(bought - sold - int(inputs["loss"])) / bought)
    deposits = dict.fromkeys((*accounts.values(), owing), "100000")
    exchange = make.exchange({"brackets": rates(margin, "0")}, deposits=deposits, price=str(bought))
    if inputs["fund"] != "0":
        exchange.capital("COIN", inputs["fund"])
    exchange.set_terms(owing, "PERP-1", isolated=True)
    trade(exchange, owing, Side.BUY, 1, bought, accounts["B"])
    exchange.place(accounts["A"], "PERP-1", Side.BUY, 1, sold)
    exchange.clearing.close_on_book(owing, 1, 0, 1, sold, 0, Cause.LIQUIDATION)
    told = exchange.quote("PERP-1", mark).events
    won = {e.account: e.realized_units for e in told if isinstance(e, PositionChanged) and e.cause is Cause.SETTLEMENT}
    assert all(won.get(accounts[name], 0) == profit for name, profit in profits.items())
    cut = {event.account: event.amount_units for event in told if isinstance(event, LossSocialized)}
    return {
        "ratio": Fraction(sum(cut.values()), sum(won.values())),
        "charges": {name: cut.get(account, 0) for name, account in accounts.items()},
        "fund_after": fund_of(exchange),
    }


# Liquidation by steps.


def partial_liquidation(case: dict[str, Any], make: Any) -> dict[str, Any]:
    """Account 1, in the lowest bracket, has an order in the market of its position, and one in another that stays."""
    exchange = make.exchange({}, {}, deposits={1: "300", 2: "10000"}, price="100")
    trade(exchange, 1, Side.BUY, 10, "100", 2)
    for market in ("PERP-1", "PERP-2"):
        assert exchange.place(1, market, Side.BUY, 1, "60").rejected is None
    steps = []
    for event in exchange.quote("PERP-1", "73").events:
        if isinstance(event, OrderCancelled) and event.market == 1:
            steps.append("cancel_orders_in_contract")
        if isinstance(event, TakenOver):
            assert event.price_ticks == 70
            steps.append("takeover_at_bankruptcy")
    assert [each.account for each in exchange.clearing.orders(2, Side.BUY)] == [1]
    return {"steps": steps}


ADAPTERS = {
    "adl": adl,
    "insurance_fund": insurance_fund,
    "socialised_loss": socialised_loss,
    "partial_liquidation": partial_liquidation,
}
