"""A package from outside replaces the book and the mark price, by configuration alone."""

from pathlib import Path

import pytest

from perpkit.engine.config import ExchangeConfig
from perpkit.plugin import Registry
from perpkit.simulate.run import run
from perpkit.simulate.scenarios import scenario
from perpkit.simulate.world import configuration

ACME = Path(__file__).with_name("acme_parts.py").read_text(encoding="utf-8")
MARKET = "[markets.XBTUSD]\n"


@pytest.fixture
def acme(install):
    """The registry of a machine where the stranger's package is installed."""
    install("acme-parts", {"acme_parts": ACME})
    return Registry.discover()


def crash(extra="", registry=None):
    """Run 27 hours of the stylised crash with a small population; every command ends with the laws checked."""
    config = ExchangeConfig.from_text(configuration("stepped").replace(MARKET, f"{MARKET}{extra}\n"))
    return run(config, scenario("march-2020").cut(27), seed=5, trader_count=40, registry=registry)


@pytest.fixture(scope="module")
def reference():
    return crash()


def test_another_book_leads_to_the_same_state(acme, reference):
    assert reference.recording.counts["TAKE_OVER"] > 5
    other = crash('book = "flat"', acme)
    assert other.log == reference.log
    assert other.state_digest == reference.state_digest


def test_another_mark_keeps_the_laws_and_shows_its_difference(acme, reference, capsys):
    other = crash('mark_price = { provider = "slow", options = { percent = 5 } }', acme)
    assert other.client_side_units == other.custody_side_units == other.holdings_units
    pairs = zip(reference.recording.points, other.recording.points, strict=True)
    widest = max(abs(mine.mark_ticks - theirs.mark_ticks) for mine, theirs in pairs)
    liquidated = [each.recording.counts["liquidated pools"] for each in (reference, other)]
    print(f"slow mark: up to {widest} ticks from the index mark; liquidated {liquidated[0]} and {liquidated[1]}")
    assert widest > 100
    assert "slow mark: up to" in capsys.readouterr().out
