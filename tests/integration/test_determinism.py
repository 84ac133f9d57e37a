"""Inside the exchange there is no clock, no chance and no outside."""

import os
import random
import time

import pytest

from perpkit.audit import replay
from perpkit.engine.config import ExchangeConfig
from perpkit.simulate.run import run
from perpkit.simulate.scenarios import scenario
from perpkit.simulate.world import configuration


@pytest.fixture(scope="module")
def config():
    return ExchangeConfig.from_text(configuration("stepped"))


@pytest.fixture(scope="module")
def crash(config):
    """A small population through the stylised crash up to its low."""
    return run(config, scenario("march-2020").cut(27), seed=3, trader_count=30)


def test_a_replay_asks_no_clock_and_draws_no_numbers(crash, config, monkeypatch):
    def forbidden(*_, **__):
        raise AssertionError("the core asked the outside")

    for module, names in (
        (time, ("time", "time_ns", "monotonic", "perf_counter")),
        (random, ("random", "randint", "choice", "getrandbits")),
        (os, ("urandom",)),
    ):
        for name in names:
            monkeypatch.setattr(module, name, forbidden)
    assert replay(crash.log, config).state_digest == crash.state_digest


def test_the_same_log_gives_the_same_events(crash, config):
    assert replay(crash.log, config) == replay(crash.log, config)


def test_the_population_does_not_look_at_the_exchange(crash):
    other = run(
        ExchangeConfig.from_text(configuration("takeover")), scenario("march-2020").cut(27), seed=3, trader_count=30
    )
    assert other.state_digest != crash.state_digest
    assert other.commands == crash.commands


def test_an_own_book_free_mark_does_not_move_with_the_own_book(config):
    """Law 4: equal outside prices give equal marks, whoever trades here."""
    runs = [
        run(config, scenario("march-2020").cut(4), seed=seed, trader_count=count) for seed, count in ((1, 1), (2, 60))
    ]
    marks = [[(p.at_ns, p.mark_ticks, p.mark_state) for p in each.recording.points] for each in runs]
    assert marks[0] == marks[1]
    assert [p.last_ticks for p in runs[0].recording.points] != [p.last_ticks for p in runs[1].recording.points]
