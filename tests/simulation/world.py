"""A world drawn from a seed: the rules of its exchange, the people who trade there, and what they start with."""

from __future__ import annotations

import random
from decimal import Decimal
from typing import Any

import attrs

from perpkit.engine.config import ExchangeConfig
from perpkit.model.command import CapitalObserved, Command, DepositObserved, SetPositionMode, SetPositionTerms
from perpkit.model.ids import account_id
from perpkit.model.order import Side
from perpkit.model.position import PositionMode
from perpkit.units import HOUR_NS

PEOPLE, OWNERS = 20, 16
STYLES = ("maker", "taker", "gambler", "hedger", "plain")
SOURCES = (1, 2, 3, 4, 5)
OPENING_NS = HOUR_NS * 500_000
START_PRICE = 100

# At the start price one lot of each is worth about one coin, so that one size suits them all.
_CONTRACTS: dict[str, dict[str, Any]] = {
    "LINEAR": {"kind": "linear", "lot": "0.01"},
    "INVERSE": {"kind": "inverse", "lot": "100"},
    "QUANTO": {"kind": "quanto", "lot": "1", "multiplier": "0.01"},
    "DOLLAR": {"kind": "linear", "lot": "0.01", "settlement": "USD"},
}
_FEES = ({"maker": "-0.02%", "taker": "0.1%"}, {"maker": "0.02%", "taker": "0.05%"}, {"maker": "0", "taker": "0"})


@attrs.frozen(kw_only=True)
class Person:
    """Who trades: how, for how much, and in which direction where they have an opinion."""

    account: int
    style: str
    coins: int
    bias: Side
    leverage: int
    mode: PositionMode


class World:
    """What one exchange is made from, how many commands it lives, in how many percent of its moments prices jump."""

    def __init__(self, draw: random.Random) -> None:
        self.coin_units = 10 ** draw.choice((3, 6, 8))
        self.config = ExchangeConfig.from_dict(_tables(draw, self.coin_units))
        self.people = [
            Person(
                # The last few are second accounts of the first owners.
                account=account_id(number) if number <= OWNERS else account_id(number - OWNERS, number=1),
                style=STYLES[number % len(STYLES)],
                leverage=draw.choice((0, 2, 5, 10, 20)),
                mode=draw.choice((*PositionMode, *[PositionMode.MULTI] * 4)),
                coins=draw.choice((3, 10, 10, 30, 100)),
                bias=draw.choice(list(Side)),
            )
            for number in range(1, PEOPLE + 1)
        ]
        self.capital_coins = draw.choice((0, 0, 1, 20, 5_000))
        self.storm_percent = draw.choice((1, 4, 15))
        self.lifetime = draw.choice((500, 2_000, 10_000))

    def opening(self) -> list[Command]:
        """Return what happens before anybody trades: money comes in, and people choose their terms and modes."""
        terms = [
            SetPositionTerms(
                account=person.account,
                market=market,
                position_id=position_id,
                isolated=True,
                leverage=person.leverage,
                time_ns=OPENING_NS,
            )
            for person in self.people
            if person.style == "gambler"
            for market in self.config.markets
            for position_id in (0, 1)
        ]
        modes = [
            SetPositionMode(account=person.account, market=market, mode=person.mode, time_ns=OPENING_NS)
            for person in self.people
            for market in self.config.markets
            if person.mode is not PositionMode.MULTI
        ]
        return [*self._deposits(), *self._capital(), *terms, *modes]

    def _deposits(self) -> list[Command]:
        return [
            DepositObserved(
                deposit_id=asset << 20 | number,
                account=person.account,
                asset=asset,
                amount_units=person.coins * self.coin_units,
                time_ns=OPENING_NS,
            )
            for asset in self.config.assets
            for number, person in enumerate(self.people, start=1)
        ]

    def _capital(self) -> list[Command]:
        return [
            CapitalObserved(
                deposit_id=asset << 20,
                fund=1,
                asset=asset,
                amount_units=self.capital_coins * self.coin_units,
                time_ns=OPENING_NS,
            )
            for asset in self.config.assets
            if self.capital_coins
        ]


def flaky(provider: str) -> str:
    """Return the name of the provider that does what another does until it is told to fail."""
    return f"flaky-{provider}"


def _tables(draw: random.Random, coin_units: int) -> dict[str, Any]:
    unit = str(Decimal(1) / coin_units)
    assets: dict[str, Any] = {"COIN": {"id": 1, "unit": unit, "deposits_max": draw.choice(("900", "1000000"))}}
    names = ["LINEAR", "INVERSE", "QUANTO"]
    if draw.random() < 0.4:
        assets["USD"] = {"id": 2, "unit": unit, "deposits_max": "1000000"}
        names.append("DOLLAR")
    return {
        "exchange": {
            "fees": {
                "provider": flaky("maker-taker"),
                "options": draw.choice(_FEES),
            },
            "margin": {
                "provider": flaky(draw.choice(("tiered", "tiered", "step"))),
                "options": {
                    "maintenance_basis": draw.choice(("mark", "mark", "entry")),
                    "closing_fee": draw.choice(("out", "in")),
                },
            },
            "index_price": flaky(draw.choice(("weighted", "weighted-median"))),
            "liquidation": flaky(draw.choice(("stepped", "takeover"))),
            "deleveraging": flaky(draw.choice(("ranked", "pro-rata"))),
            "insurance": draw.choice((flaky("pool"), _protection(draw, coin_units))),
        },
        "limits": {
            "order_fills_max": draw.choice((2, 1_000)),
            "work_max": draw.choice((1, 5, 10_000)),
            "work_share_percent": draw.choice((10, 50, 100)),
            "client_order_ids_kept": draw.choice((4, 16, 64)),
            "price_faults_max": draw.choice((1, 10)),
            "orders_per_second": draw.choice((0, 0, 1, 5)),
            "orders_burst": draw.choice((1, 4)),
        },
        "assets": assets,
        "markets": {name: _market(draw, number, name) for number, name in enumerate(names, start=1)},
    }


def _protection(draw: random.Random, coin_units: int) -> dict[str, Any]:
    caps = {"window_seconds": 3_600, "window_cap_units": draw.choice((0, coin_units // 10, 20 * coin_units))}
    return {"provider": flaky("protection"), "options": caps}


def _market(draw: random.Random, number: int, name: str) -> dict[str, Any]:
    contract = _CONTRACTS[name]
    lot = Decimal(contract["lot"])
    return {
        "id": number,
        "settlement": "COIN",
        "tick": draw.choice(("1", "0.05")),
        "price_min": "5",
        "price_max": "2000",
        "order_max": str(200 * lot),
        "open_interest_max": str(draw.choice((300, 20_000)) * lot),
        "orders_max": draw.choice((3, 40)),
        "value_rounding": draw.choice(("fill", "unit")),
        "liquidation_fee": draw.choice(("0", "0.5%")),
        "mark_price": flaky(draw.choice(("index", "fair-basis"))),
        "withdrawal_stress": draw.choice(("0", "1%", "20%")),
        "trigger_band": draw.choice(("0.5%", "5%", "100%")),
        "order_checks": _checks(draw, lot),
        "funding": _funding(draw),
        "brackets": [
            {"up_to": "30", "initial": "4%", "maintenance": "2%"},
            {"up_to": "120", "initial": "8%", "maintenance": "4%"},
            {"up_to": draw.choice(("400", "20000")), "initial": "20%", "maintenance": "10%"},
        ],
        **contract,
    }


def _checks(draw: random.Random, lot: Decimal) -> list[dict[str, Any]]:
    checks: list[tuple[str, dict[str, Any]]] = [
        ("price-band", {"band": draw.choice(("10%", "30%"))}),
        ("position-limit", {"most": str(draw.choice((50, 1_000)) * lot)}),
        ("open-interest-cap", {"most": str(draw.choice((200, 15_000)) * lot)}),
        ("max-open-orders", {"most": draw.choice((2, 20))}),
    ]
    return [{"provider": flaky(name), "options": options} for name, options in checks if draw.random() < 0.4]


def _funding(draw: random.Random) -> dict[str, Any]:
    hourly = {"rule": "FREQ=HOURLY;BYMINUTE=0;BYSECOND=0", "interest_ppb": draw.choice((100_000, -3_000_000))}
    provider = flaky(draw.choice(("premium", "premium", "hourly")))
    return {"provider": provider, "options": {**hourly, "clamp_ppb": 5_000_000, "cap_ppb": 10_000_000}}
