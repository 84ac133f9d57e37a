"""The venue in its smallest form: synchronous, in memory. It stamps commands and talks to custody."""

from collections.abc import Callable, Sequence

import attrs

from perpkit.engine.exchange import Exchange, Outcome
from perpkit.model.command import Command
from perpkit.model.event import WithdrawalReleased
from perpkit.model.records import pack
from perpkit.ports import Custody
from perpkit.units import Nanos

Subscriber = Callable[[Nanos, Outcome], None]


class Venue:
    """Stamps commands, applies them, keeps the log, sends released withdrawals, and brings back what custody saw.

    A replay of the log needs no venue: it calls no custody and no clock.

    Example:
        >>> from perpkit.engine.compose import build_custody
        >>> from perpkit.engine.config import ExchangeConfig
        >>> from perpkit.plugin import Registry
        >>> from perpkit.simulate.world import configuration
        >>> config = ExchangeConfig.from_text(configuration("stepped"))
        >>> venue = Venue(Exchange.of(config), build_custody(config, Registry.builtin()), clock=lambda: 1)
        >>> venue.poll()
        []
    """

    def __init__(self, exchange: Exchange, custody: Custody, *, clock: Callable[[], Nanos]) -> None:
        self.exchange = exchange
        self.custody = custody
        self._clock = clock
        self._cursor = 0
        self._log: list[bytes] = []
        self._subscribers: list[Subscriber] = []

    def subscribe(self, subscriber: Subscriber) -> None:
        """Call `subscriber` with the stamp and the outcome of every command, in order."""
        self._subscribers.append(subscriber)

    def submit(self, command: Command) -> Outcome:
        """Stamp a command, apply it and do what it released; the stamp it came with does not count."""
        stamp_ns = max(self._clock(), self.exchange.clock_ns)
        stamped = attrs.evolve(command, time_ns=stamp_ns)
        outcome = self.exchange.apply(stamped)
        self._log.append(pack(stamped))
        for event in outcome.events:
            if isinstance(event, WithdrawalReleased):
                self.custody.release(event)
        for subscriber in self._subscribers:
            subscriber(stamp_ns, outcome)
        return outcome

    def poll(self) -> Sequence[Outcome]:
        """Turn what custody saw since the last time into commands, and apply them."""
        seen, self._cursor = self.custody.observe(self._cursor)
        return [self.submit(command) for command in seen]

    def log(self) -> bytes:
        """Return every command so far as records: what `perpkit.audit.replay` reads."""
        return b"".join(self._log)
