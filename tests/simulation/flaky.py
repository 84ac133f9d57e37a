"""Parts that answer like the reference ones until they are told to raise or to lie; some are foolish by nature."""

from __future__ import annotations

import types
import zlib
from collections.abc import Callable, Iterable
from functools import wraps
from typing import Any

import attrs

from perpkit.plugin import PORTS, Port, Provider, Registry, hookimpl
from perpkit.ports.deleveraging import Share
from perpkit.ports.insurance import FundMove
from perpkit.ports.liquidation import Settled, TakeOver
from perpkit.units import SCALE

from .world import flaky

RAISES, RAISES_LATE, LIES = "raises", "raises-late", "lies"
WHIM_EVERY = 20

MEMBERS: dict[str, tuple[str, ...]] = {
    "book": ("plan",),
    "margin": ("need", "thresholds", "closing_value", "opening_margin", "initial_ppb"),
    "mark_price": ("update",),
    "index_price": ("update",),
    "funding": ("sample", "rate_ppb", "next_ns", "close"),
    "fees": ("rate_ppb",),
    "order_checks": ("admits",),
    "liquidation": ("next_step",),
    "deleveraging": ("shares",),
    "insurance": ("funds", "payable", "draw", "receive"),
}
"""What may fail: all that a decider or a fold is asked, and the one question to a book that changes nothing."""

Answer = Callable[[Any], Any]


def _with(**changes: Any) -> Answer:
    return lambda answer: attrs.evolve(answer, **changes)


def _of(value: Any) -> Answer:
    return lambda _: value


_NONSENSE: list[Answer] = [_of("7"), _of(1.5), _of(1 << 70), _of(object)]
_ABSURD_RATES = [_of(2 * SCALE), _of(-2 * SCALE), _of(False), _of(None)]
_LIES: dict[tuple[str, str], list[Answer]] = {
    ("book", "plan"): [_of(None), lambda plan: attrs.evolve(plan, rest_lots=plan.rest_lots + 1)],
    ("margin", "need"): [_of(None), _with(maintenance_units=-1), _with(equity_units=1 << 70), _with(initial_units=0.5)],
    ("margin", "thresholds"): [_of(None), _with(bankruptcy_ticks=0), _with(bankruptcy_ticks=1.0)],
    ("margin", "closing_value"): [_of(None), _of(True)],
    ("margin", "opening_margin"): [_of(None), _of(-1)],
    ("margin", "initial_ppb"): [_of(None), _of(-1), _of(2 * SCALE)],
    ("mark_price", "update"): [_of(None), _with(price_ticks=-1), _with(market=99), _with(state=1), _with(at_ns=0)],
    ("index_price", "update"): [_of(None), _with(price_ticks=1 << 40), _with(market=99), _with(state=3)],
    ("funding", "rate_ppb"): _ABSURD_RATES,
    ("funding", "next_ns"): [_of(0), _of(True)],
    ("funding", "close"): _ABSURD_RATES,
    ("fees", "rate_ppb"): _ABSURD_RATES,
    ("order_checks", "admits"): [_of(None), _of(1)],
    ("liquidation", "next_step"): [_of(None), _of(TakeOver(market=99, position_id=0, price_ticks=1))],
    ("deleveraging", "shares"): [_of(None), _of([Share(account=99, position_id=0, size_lots=1)]), _of([None])],
    ("insurance", "funds"): [_of(None), _of([-1])],
    ("insurance", "payable"): [_of(None), _of(-1)],
    ("insurance", "draw"): [_of(None), _of([FundMove(fund=99, amount_units=1)])],
    ("insurance", "receive"): [_of(None), _of([]), _of([FundMove(fund=1, amount_units=1 << 60)])],
}
WHIMS: dict[tuple[str, str], list[Answer]] = {
    ("margin", "need"): [_with(maintenance_units=0, initial_units=0), _with(initial_units=1 << 50)],
    ("margin", "opening_margin"): [_of(0), _of(1 << 50)],
    ("margin", "initial_ppb"): [_of(0), _of(SCALE)],
    ("mark_price", "update"): [lambda mark: attrs.evolve(mark, price_ticks=mark.price_ticks + (mark.price_ticks > 0))],
    ("funding", "close"): [_of(SCALE // 50), _of(-SCALE // 50)],
    ("funding", "next_ns"): [lambda stamp_ns: stamp_ns and stamp_ns + 1],
    ("fees", "rate_ppb"): [_of(SCALE // 20), _of(-SCALE)],
    ("order_checks", "admits"): [_of(True), _of(False)],
    ("liquidation", "next_step"): [_of(Settled())],
    ("deleveraging", "shares"): [_of([]), lambda shares: shares[:1]],
    ("insurance", "payable"): [_of(0), lambda units: units // 2],
    ("insurance", "draw"): [_of([])],
}
"""Answers that keep the contract: foolish, and no reason to refuse anything. The books balance all the same.

Whether a foolish part answers so depends on the question alone: an answer that changed would be no decider's.
"""


@attrs.frozen(kw_only=True)
class PartFault:
    """What a part is told: which question to answer wrongly, how, and how many of them in a command to answer first."""

    port: str
    member: str
    how: str
    first: int
    pick: int


class Switch:
    """Makes one part fail once, at a moment that a replay meets again. `whim` is what is answered foolishly."""

    def __init__(self, whim: tuple[str, str] | None) -> None:
        self._whim = whim
        self._armed: PartFault | None = None
        self._left = 0
        self.fired = False

    def arm(self, fault: PartFault | None) -> None:
        """Let a fault wait for its question, from the start of a command."""
        self._armed, self._left, self.fired = fault, fault.first if fault else 0, False

    def watch(self, port: str, member: str, question: Callable[..., Any]) -> Callable[..., Any]:
        """Return a question that this switch can spoil."""
        if (port, member) == self._whim:
            question = _foolish(question, WHIMS[port, member])

        @wraps(question)
        def ask(*given: Any) -> Any:
            armed = self._armed
            if armed is None or (armed.port, armed.member) != (port, member):
                return question(*given)
            if self._left:
                self._left -= 1
                return question(*given)
            self._armed, self.fired = None, True
            if armed.how == RAISES:
                raise RuntimeError("told to raise")
            answer = question(*given)
            if armed.how == RAISES_LATE:
                raise RuntimeError("told to raise after the answer")
            wrong = _NONSENSE + _LIES[port, member]
            return wrong[armed.pick % len(wrong)](answer)

        return ask


def _foolish(question: Callable[..., Any], whims: list[Answer]) -> Callable[..., Any]:
    @wraps(question)
    def ask(*given: Any) -> Any:
        drawn = zlib.crc32(repr(given[0]).encode())
        answer = question(*given)
        return whims[drawn // WHIM_EVERY % len(whims)](answer) if drawn % WHIM_EVERY == 0 else answer

    return ask


def ways(port: str, member: str) -> list[str]:
    """Return how a member can fail; what answers nothing cannot lie."""
    return [RAISES, RAISES_LATE, LIES, LIES] if (port, member) in _LIES else [RAISES, RAISES_LATE]


class Flaky:
    """A part with some of its members watched."""

    def __init__(self, switch: Switch, port: Port[Any, Any], part: Any) -> None:
        for member in port.members:
            value = getattr(part, member)
            setattr(self, member, switch.watch(port.key, member, value) if member in MEMBERS[port.key] else value)


def registry(switch: Switch) -> Registry:
    """Return the built-in parts, and beside each its flaky twin."""
    plugin = types.ModuleType("flaky_parts")
    builtin = Registry.builtin().providers()
    for port in PORTS:
        if port.key in MEMBERS:
            twins = [_twin(switch, offer.provider) for offer in builtin if offer.provider.port is port]
            setattr(plugin, port.hook, _hook(twins))
    return Registry.of(plugin)


def _hook(providers: list[Provider[Any]]) -> Callable[[], Iterable[Provider[Any]]]:
    @hookimpl
    def offer() -> Iterable[Provider[Any]]:
        return providers

    return offer


def _twin(switch: Switch, provider: Provider[Any]) -> Provider[Any]:
    port = provider.port
    return port.provider(
        name=flaky(provider.name),
        build=lambda context, options: Flaky(switch, port, provider.build(context, options)),
        options=provider.options,
        summary=f"{provider.name}, until it is told to fail",
    )
