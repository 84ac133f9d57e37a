"""Adapters for `funding`, `premium_impact` and `mark_index`: the parts are asked, and whole exchanges what is paid.

Ticks and units are fine where the case states none, so that a difference is perpkit's and not the grid's.
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any

from perpkit.engine.exchange import Outcome
from perpkit.model.event import FundingAccrued, FundingSettled, PositionChanged
from perpkit.model.order import Level, Side
from perpkit.model.position import held_units
from perpkit.model.price import IndexPrice, LeftOut, Mark, PriceState, PricingInputs, Quote
from perpkit.plugin import NoOptions
from perpkit.ports.context import Limits, MarketContext
from perpkit.reference.funding import HourlyFunding, HourlyFundingOptions, PremiumFunding, PremiumFundingOptions
from perpkit.reference.index_weighted import WeightedIndex, WeightedIndexOptions, WeightedMedianIndex
from perpkit.reference.marks import FairBasisMark
from perpkit.units import HOUR_NS, SCALE, SECOND_NS, Nanos, ppb

OPEN = {"long": Side.BUY, "short": Side.SELL}
UNDRAWN = {"interest_ppb": 0, "clamp_ppb": 0, "cap_ppb": SCALE}
"""With these the rate is the premium."""
INTERVAL_NS = 8 * HOUR_NS
MILLION = 1_000_000


def context(make: Any, **market: str) -> MarketContext:
    """Return what a part of one market is built from."""
    spec = make.spec({"price_max": "100000", "open_interest_max": "1000", **market}, unit="1e-6")
    return MarketContext(market=spec, limits=Limits())


def shown(index_ticks: int, **more: Any) -> PricingInputs:
    """Return what a mark or a funding model is shown at an index."""
    return PricingInputs(
        index=IndexPrice(market=1, price_ticks=index_ticks, state=PriceState.OK, at_ns=0), at_ns=0, **more
    )


# Funding.


def funding(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs = case["inputs"]
    if "quote_resolution" in inputs or "n_samples" in inputs:
        return funding_tick(inputs, make)
    if "events" in inputs:
        return held_from_to(inputs, make)
    if "side" in inputs:
        return held_over_one_stamp(inputs, make)
    if "impact_bid" in inputs:
        return funding_of_hyperliquid(inputs, make)
    if "avg_premium" in inputs:
        assert inputs["interval_hours"] == "1"
        options = HourlyFundingOptions(interest_ppb=ppb(inputs["interest"]))
        return {"rate": rate_of(HourlyFunding(context(make), options), inputs["avg_premium"])}
    drawn = PremiumFundingOptions(interest_ppb=ppb(inputs["interest"]), clamp_ppb=ppb(inputs["clamp"]))
    return {"rate": rate_of(PremiumFunding(context(make), drawn), inputs["premium"])}


def rate_of(model: PremiumFunding, premium: str) -> Fraction:
    """Return the rate after one sample: an index of SCALE ticks, and an order so far from it."""
    at = (Level(price_ticks=SCALE + ppb(premium), size_lots=1, orders=1),)
    return sampled(model, SCALE, **{"bids" if at[0].price_ticks > SCALE else "asks": at})


def sampled(model: PremiumFunding, index_ticks: int, **book: Any) -> Fraction:
    model.sample(shown(index_ticks, **book), Mark(market=1, price_ticks=index_ticks, state=PriceState.OK, at_ns=0))
    return Fraction(model.rate_ppb(), SCALE)


def funding_of_hyperliquid(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    """The case states the rate for eight hours; eight payments are that much."""
    drawn = HourlyFundingOptions(interest_ppb=ppb(inputs["interest"]), clamp_ppb=ppb(inputs["clamp"]))
    bid, index = int(inputs["impact_bid"]), int(inputs["oracle"])
    assert inputs["impact_ask_above"]
    book = {"bids": depth([bid, 1]), "asks": depth([bid + 1, 1])}
    return {
        "premium": sampled(PremiumFunding(context(make), PremiumFundingOptions(**UNDRAWN)), index, **book),
        "funding_8h": 8 * sampled(HourlyFunding(context(make), drawn), index, **book),
    }


def depth(*rows: list[int]) -> tuple[Level, ...]:
    return tuple(Level(price_ticks=price, size_lots=lots, orders=1) for price, lots in rows)


def funding_tick(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    """One hour of an exchange, with a lot of one base quantum and units of one quote quantum.

    Rates are for eight hours, and all is stated in millionths.
    """
    assert inputs.get("tick_seconds", inputs.get("seconds")) == "3600"
    if "rate_8h_ppm" in inputs:
        # A rate without a premium is the interest.
        interest_ppb = 1_000 * int(inputs["rate_8h_ppm"])
        options = {"interest_ppb": interest_ppb, "clamp_ppb": abs(interest_ppb), "cap_ppb": SCALE}
    else:
        # Where the case states no margin, its source's market has 100 % initial and three quarters of that maintenance.
        width = Decimal(inputs["imf"] or "1") - Decimal(inputs["mmf"] or "0.75")
        options = {**UNDRAWN, "cap_ppb": ppb(Decimal(inputs["clamp_factor"]) * width / 8)}
    lot = f"1e{inputs.get('atomic_resolution', '-10')}"
    price = Decimal(inputs.get("oracle") or inputs["price"]).scaleb(int(inputs.get("price_exponent", "0")))
    market = {
        "tick": str(price / MILLION),
        "lot": lot,
        "price_min": str(price / 2),
        "price_max": str(price * 4_000),
        "order_max": lot,
        "open_interest_max": lot,
        "orders_max": 1,
        "funding": {"provider": "hourly", "options": options},
    }
    exchange = make.exchange(market, unit="1e-6", deposits={1: "100000"}, price=None)
    samples, premium = int(inputs.get("n_samples", 1)), Decimal(inputs.get("premium_ppm", 0)) / MILLION
    for before_ns in (HOUR_NS - SECOND_NS, HOUR_NS):
        exchange.quote("PERP-1", price, time_ns=before_ns)
    if premium:
        side = Side.BUY if premium > 0 else Side.SELL
        assert exchange.place(1, "PERP-1", side, lot, price * (1 + premium)).rejected is None
    for number in range(1, samples + 1):
        done = exchange.quote("PERP-1", price, time_ns=HOUR_NS + number * HOUR_NS // samples)
    (accrued,) = (each for each in done.events if isinstance(each, FundingAccrued))
    return {
        "rate_8h_ppm": Fraction(8 * accrued.rate_ppb, 1_000),
        "index_delta": Fraction(accrued.per_lot_scaled, 1_000),
        "index_delta_ppm": Fraction(accrued.per_lot_scaled, 1_000),
    }


class Holding:
    """Account 1 trades with account 2; an order of account 3 is off the mark by the rate when funding is sampled."""

    def __init__(self, make: Any, inputs: dict[str, Any], price: str, start_ns: Nanos = INTERVAL_NS) -> None:
        self.size = inputs.get("contracts") or inputs["size"]
        options = {**UNDRAWN, "rule": "FREQ=DAILY;BYHOUR=0,8,16;BYMINUTE=0;BYSECOND=0"}
        market = {
            "kind": inputs.get("contract", "linear"),
            "tick": "1e-9",
            "price_min": str(Decimal(price) / 2),
            "price_max": str(Decimal(price) * 2),
            "order_max": self.size,
            "open_interest_max": str(2 * int(self.size)),
            "orders_max": 1,
            "brackets": [{"up_to": "1000000", "initial": "100%", "maintenance": "0"}],
            "funding": {"provider": "premium", "options": options},
        }
        deposits = dict.fromkeys((1, 2, 3), "100000")
        self.exchange = make.exchange(market, unit="1e-12", deposits=deposits, price=None)
        self.money = self.exchange.asset("COIN").unit.step
        # The interval before the first of the case begins with a price and ends without an order off the mark.
        for time_ns in (start_ns - HOUR_NS, start_ns):
            self.exchange.quote("PERP-1", price, time_ns=time_ns)

    def trade(self, side: Side, price: str, time_ns: Nanos = 0) -> Outcome:
        made = self.exchange.place(2, "PERP-1", side.opposite, self.size, price, time_ns=time_ns)
        taken: Outcome = self.exchange.place(1, "PERP-1", side, self.size, price, time_ns=time_ns)
        assert made.rejected is None
        assert len(taken.fills) == 2
        return taken

    def stamp(self, rate: str, price: str, time_ns: Nanos) -> None:
        side = Side.BUY if Decimal(rate) > 0 else Side.SELL
        placed = self.exchange.place(3, "PERP-1", side, 1, Decimal(price) * (1 + Decimal(rate)))
        assert placed.rejected is None
        done = self.exchange.quote("PERP-1", price, time_ns=time_ns)
        assert [each.rate_ppb for each in done.events if isinstance(each, FundingAccrued)] == [ppb(rate)]
        self.exchange.cancel(3, "PERP-1", placed.sequence)

    def paid(self, outcome: Outcome) -> Fraction:
        settled = [each for each in outcome.events if isinstance(each, FundingSettled) and each.account == 1]
        return Fraction(sum(each.amount_units for each in settled) * self.money)

    def wallet(self) -> Fraction:
        return Fraction(self.exchange.clearing.pool(1, 1).wallet_units * self.money)


def held_over_one_stamp(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    """Open, pay or receive, close. A case that states no rate goes on from the one that has 0.25 %."""
    entry = inputs.get("entry") or inputs["mark"]
    held, side = Holding(make, inputs, entry), OPEN[inputs["side"]]
    before = held.wallet()
    held.trade(side, entry)
    held.stamp(inputs.get("rate", "0.0025"), entry, 2 * INTERVAL_NS)
    spec, exposure = held.exchange.market("PERP-1"), held.exchange.clearing.pool(1, 1).exposures[0]
    value = abs(held_units(spec, exposure, spec.tick.parse(entry))) * held.money
    closed = held.trade(side.opposite, inputs.get("exit", entry))
    changes = [each for each in closed.events if isinstance(each, PositionChanged) and each.account == 1]
    paid = held.paid(closed)
    assert paid == Fraction(inputs.get("funding_paid", paid))
    return {
        "position_value_xbt": value,
        "funding_paid": paid,
        "received": -paid,
        "payer": "long" if (paid > 0) == (side is Side.BUY) else "short",
        "pnl": sum(each.realized_units for each in changes) * held.money,
        "net": held.wallet() - before,
    }


def held_from_to(inputs: dict[str, Any], make: Any) -> dict[str, Any]:
    """Who opens at a stamp opens before its price comes, and who closes at one closes after it."""
    stamps = [(nanos(at), rate, mark) for at, rate, mark in inputs["events"]]
    opens_ns, closes_ns, price = nanos(inputs["open"]), nanos(inputs["close"]), inputs["events"][0][-1]
    held, side = Holding(make, inputs, price, stamps[0][0] - INTERVAL_NS), OPEN[inputs["side"]]
    held.trade(side, price, opens_ns)
    for time_ns, rate, mark in stamps:
        if time_ns <= closes_ns:
            held.stamp(rate, mark, time_ns)
    return {"net_paid": held.paid(held.trade(side.opposite, price, closes_ns))}


def nanos(stamp: str) -> Nanos:
    return int(datetime.fromisoformat(stamp).timestamp()) * SECOND_NS


# Premiums.


def premium_impact(case: dict[str, Any], make: Any) -> dict[str, Any]:
    """The cap is on the rate, which is the premium after one sample; the case cuts it to millionths."""
    inputs, market = case["inputs"], context(make, tick="0.1", lot="0.1")
    unit, spec = Fraction("1e-6"), market.market
    options = {
        **UNDRAWN,
        "impact_notional_units": int(Fraction(inputs["impact_notional"]) / unit),
        "cap_ppb": ppb(inputs["max_abs_premium"]),
    }
    book = {
        side: depth(*([spec.tick.parse(price), spec.lot.parse(size)] for price, size in inputs[side]))
        for side in ("bids", "asks")
    }
    model = PremiumFunding(market, PremiumFundingOptions(**options))
    return {"premium_ppm": int(sampled(model, spec.tick.parse(inputs["index"]), **book) * MILLION)}


# Marks and indexes.


def mark_index(case: dict[str, Any], make: Any) -> dict[str, Any]:
    inputs, market = case["inputs"], context(make, tick="1e-6")
    if "funding_rate" in inputs:
        return fair(inputs, market)
    if "quotes" in inputs:
        # A median is the whole rule there: nobody is left out.
        median = WeightedMedianIndex(market, WeightedIndexOptions(deviation_ppb=SCALE))
        prices, weights = zip(*inputs["quotes"], strict=True)
        return {"oracle": priced(median, market, prices, weights)["index"]}
    if "after" in inputs:
        options = WeightedIndexOptions(deviation_ppb=ppb(inputs["tolerance"]), sources_min=2)
        model = WeightedIndex(market, options)
        priced(model, market, inputs["before"], inputs["weights"])
        return priced(model, market, inputs["after"], inputs["weights"])
    # Of two sources that are far off, the case takes the median of all and perpkit leaves out both.
    stale, deviation = int(inputs["stale_seconds"]), ppb(inputs["deviation"])
    model = WeightedIndex(market, WeightedIndexOptions(stale_after_seconds=stale, deviation_ppb=deviation))
    return priced(model, market, inputs["prices"], inputs["weights"], inputs["seconds_since_trade"])


def fair(inputs: dict[str, Any], market: MarketContext) -> dict[str, Any]:
    tick = market.market.tick
    mark = FairBasisMark(market, NoOptions()).update(
        shown(
            tick.parse(inputs["index"]),
            funding_ppb=ppb(inputs["funding_rate"]),
            to_funding_ns=int(inputs["hours_left"]) * HOUR_NS,
            interval_ns=int(inputs["interval"]) * HOUR_NS,
        )
    )
    return {"fair_price": mark.price_ticks * tick.step}


def priced(
    model: WeightedIndex, market: MarketContext, prices: list[str], weights: list[str], ages: list[str] | None = None
) -> dict[str, Any]:
    """Return the index of sources A, B, C and so on, and which it leaves out; new weights are of those it uses."""
    tick, now_ns = market.market.tick, HOUR_NS
    quotes = [
        Quote(
            market=1,
            source=source,
            price_ticks=tick.parse(price),
            weight=int(weight),
            at_ns=now_ns - int(age) * SECOND_NS,
        )
        for source, (price, weight, age) in enumerate(
            zip(prices, weights, ages or ["0"] * len(prices), strict=True), start=1
        )
    ]
    index = model.update(quotes, now_ns)
    assert index.state is not PriceState.FROZEN
    used = [reading.weight * (reading.left_out is LeftOut.USED) for reading in index.sources]
    return {
        "index": index.price_ticks * tick.step,
        "excluded": ["ABCDEFG"[reading.source - 1] for reading in index.sources if reading.left_out],
        "new_weights": [Fraction(weight, sum(used)) for weight in used],
    }


ADAPTERS = {"funding": funding, "premium_impact": premium_impact, "mark_index": mark_index}
