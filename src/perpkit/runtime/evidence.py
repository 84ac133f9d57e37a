"""Evidence: what a venue writes down when it stops, for the people who have to find out why."""

import json
import logging
from collections import deque
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs

from perpkit.audit import state_digest
from perpkit.engine.exchange import Exchange, Outcome
from perpkit.model.command import Command
from perpkit.model.event import BreachFound
from perpkit.runtime.journal.disk import put_file

FLIGHT_COMMANDS = 1_000

logger: logging.Logger = logging.getLogger(__name__)


@attrs.define
class FlightRecorder:
    """The last commands and what they did, kept in memory and written into the evidence.

    `directory` None: evidence is logged and not written.
    """

    directory: Path | None
    _written: int = attrs.field(default=0, init=False)
    _last: deque[tuple[Command, Outcome]] = attrs.field(factory=lambda: deque(maxlen=FLIGHT_COMMANDS), init=False)

    def note(self, command: Command, outcome: Outcome) -> None:
        """Remember what a command did."""
        self._last.append((command, outcome))

    def breach(self, exchange: Exchange, outcome: Outcome, breaches: Sequence[BreachFound]) -> None:
        """Write down a breach of the books, once; the file is named after the command that found it."""
        if breaches[0].evidence == self._written:
            return
        self._written = breaches[0].evidence
        found = [_fields(each) for each in breaches]
        self._write(exchange, outcome.sequence, {"evidence": breaches[0].evidence, "breaches": found})

    def fault(self, exchange: Exchange, command: Command, reason: str) -> None:
        """Write down a fault that halted the exchange, with the command that met it."""
        self._write(exchange, exchange.sequence, {"fault": reason, "command": _fields(command)})

    def _write(self, exchange: Exchange, sequence: int, found: dict[str, Any]) -> None:
        evidence = {
            "sequence": sequence,
            **found,
            "clock_ns": exchange.clock_ns,
            "state_digest": _digest(exchange),
            "last_commands": [
                {
                    "sequence": outcome.sequence,
                    "command": _fields(command),
                    "events": list(map(_fields, outcome.events)),
                }
                for command, outcome in self._last
            ],
        }
        name = f"evidence-{sequence:020d}.json"
        if self.directory is None:
            logger.error("the exchange stopped; no directory for %s: %s", name, found)
            return
        try:
            put_file(self.directory / name, [json.dumps(evidence, indent=1).encode()])
        except OSError:
            # The exchange has stopped already; what is missing is the paper.
            logger.exception("the exchange stopped, and %s could not be written: %s", name, found)
        else:
            logger.error("the exchange stopped; see %s: %s", self.directory / name, found)


def _fields(value: Command | Any) -> dict[str, Any]:
    return {"is": type(value).__name__, **attrs.asdict(value)}


def _digest(exchange: Exchange) -> str:
    """Return the digest of a state that may be past describing."""
    try:
        return state_digest(exchange)
    except Exception:
        logger.exception("the state at the halt has no digest")
        return ""
