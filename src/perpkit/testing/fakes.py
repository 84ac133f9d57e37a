"""Parts and a clock that do as they are told: time turned by hand, an index from a script, a custody that fails."""

import json
from collections import deque
from collections.abc import Iterable, Sequence
from enum import Enum

import attrs

from perpkit.model.command import Command
from perpkit.model.event import WithdrawalReleased
from perpkit.model.ids import AssetId
from perpkit.model.price import IndexPrice, PriceState, Quote
from perpkit.plugin import INDEX_PRICE, Provider, hookimpl
from perpkit.ports import Custody, IndexPriceSource, MarketContext
from perpkit.units import Nanos, Ticks, Units


class HandClock:
    """A clock for a venue that stands still until it is turned. It can be turned back, as real ones sometimes are.

    Example:
        >>> clock = HandClock(1_000)
        >>> clock.turn(500)
        >>> clock()
        1500
    """

    def __init__(self, now_ns: Nanos = 1) -> None:
        self.now_ns: Nanos = now_ns

    def __call__(self) -> Nanos:
        return self.now_ns

    def turn(self, by_ns: Nanos) -> None:
        """Let time pass, or with a negative number go back."""
        self.now_ns += by_ns


@attrs.frozen(kw_only=True)
class Script:
    """What a `ScriptedIndex` plays: a price a stamp, and the state of each; OK where `states` has none left."""

    prices_ticks: tuple[Ticks, ...] = attrs.field(validator=attrs.validators.min_len(1))
    states: tuple[PriceState, ...] = ()


class ScriptedIndex:
    """An index that does not listen to quotes: it says what stands in its script, and from the end of it the last.

    Example:
        Give this module to a registry, and the provider is there by the name of `scripted`::

            registry = Registry.of(perpkit.testing.fakes)
            index_price = {"provider": "scripted", "options": {"prices_ticks": [100, 80], "states": ["ok", "frozen"]}}
            exchange = Exchange.of(tables(index_price=index_price), registry)
    """

    def __init__(self, context: MarketContext, script: Script) -> None:
        self._market, self._script, self._at = context.market.id, script, 0

    def update(self, _quotes: Sequence[Quote], at_ns: Nanos, /) -> IndexPrice:
        """Say the next line."""
        prices, states, at = self._script.prices_ticks, self._script.states, self._at
        self._at += at + 1 < len(prices)
        state = states[at] if at < len(states) else PriceState.OK
        return IndexPrice(market=self._market, price_ticks=prices[at], state=state, at_ns=at_ns)

    def dump(self) -> bytes:
        """Return how far the play has come."""
        return json.dumps(self._at).encode()

    def load(self, state: bytes, /) -> None:
        """Go on from there."""
        self._at = json.loads(state)


class Mishap(Enum):
    """What may become of a call to custody."""

    NONE = "it is done"
    FAIL = "it is not done, and the caller is told so by an OSError"
    FAIL_AFTER = "it is done, but the caller gets an OSError: the answer was lost on its way"
    LOSE = "it is not done, and nobody is told; of `observe`: what was seen is passed over for good"
    DELAY = "it is done before the next call to custody; of `observe`: nothing is told this time"
    REPEAT = "it is done twice; of `observe`: what is told comes again the next time"


class FailingCustody:
    """Stands before a custody, and lets its calls go wrong as told, one mishap a call; without any it passes on.

    Example:
        >>> from perpkit.custody import Vault
        >>> from perpkit.plugin import NoOptions
        >>> from perpkit.testing.builders import exchange_context
        >>> vault = Vault(exchange_context(), NoOptions())
        >>> custody = FailingCustody(vault, observe=[Mishap.DELAY])
        >>> vault.receive(1, 1, 500)
        1
        >>> [len(custody.observe(0)[0]), len(custody.observe(0)[0])]
        [0, 1]
    """

    def __init__(
        self,
        custody: Custody,
        *,
        release: Iterable[Mishap] = (),
        observe: Iterable[Mishap] = (),
        holdings: Iterable[Mishap] = (),
    ) -> None:
        self.custody = custody
        self._release, self._observe, self._holdings = deque(release), deque(observe), deque(holdings)
        self._late: deque[WithdrawalReleased] = deque()

    def release(self, released: WithdrawalReleased, /) -> None:
        """Send a withdrawal, not at all, later, twice, or without an answer."""
        mishap = self._next(self._release)
        if mishap is Mishap.DELAY:
            self._late.append(released)
        elif mishap is not Mishap.LOSE:
            for _ in range(2 if mishap is Mishap.REPEAT else 1):
                self.custody.release(released)
        _answer(mishap)

    def observe(self, after: int, /) -> tuple[Sequence[Command], int]:
        """Return what custody saw, not yet, not at all, or so that it comes again."""
        mishap = self._next(self._observe)
        _answer(mishap)
        seen, cursor = self.custody.observe(after)
        match mishap:
            case Mishap.DELAY:
                return (), after
            case Mishap.LOSE:
                return (), cursor
            case Mishap.REPEAT:
                return seen, after
        return seen, cursor

    def holdings(self, asset: AssetId, /) -> Units:
        """Return what custody holds; this can only fail."""
        _answer(self._next(self._holdings))
        return self.custody.holdings(asset)

    def _next(self, mishaps: deque[Mishap]) -> Mishap:
        """Do what is late, and return what becomes of this call. What cannot be reached has done nothing."""
        while self._late:
            self.custody.release(self._late.popleft())
        mishap = mishaps.popleft() if mishaps else Mishap.NONE
        if mishap is Mishap.FAIL:
            raise OSError("custody cannot be reached")
        return mishap


def _answer(mishap: Mishap) -> None:
    if mishap is Mishap.FAIL_AFTER:
        raise OSError("custody did not answer")


@hookimpl
def perpkit_index_prices() -> Iterable[Provider[IndexPriceSource]]:
    """Offer the scripted index."""
    return [
        INDEX_PRICE.provider(name="scripted", build=ScriptedIndex, options=Script, summary="plays a script, for tests")
    ]
