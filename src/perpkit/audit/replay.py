"""Replay: a log of command records through a fresh exchange."""

import hashlib
from collections.abc import Callable

import attrs

from perpkit.audit.digest import state_digest
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange, Outcome
from perpkit.model.records import Buffer, pack_all, unpack
from perpkit.plugin import Registry


@attrs.frozen(kw_only=True)
class Replayed:
    """What a log leads to: the digest of the state, and of every event on the way."""

    commands: int
    events: int
    state_digest: str
    events_digest: str


def replay(
    log: Buffer,
    config: ExchangeConfig,
    registry: Registry | None = None,
    *,
    watch: Callable[[Outcome], None] | None = None,
) -> Replayed:
    """Apply every command of a log to a new exchange.

    Raises:
        UnitsError: the log is not whole.
        PerpkitError: what `Exchange.of` and `Exchange.apply` raise.
    """
    exchange = Exchange.of(config, registry)
    events, digest = 0, hashlib.sha256()
    for command in unpack(log):
        outcome = exchange.apply(command)
        events += len(outcome.events)
        digest.update(pack_all(outcome.events))
        if watch:
            watch(outcome)
    return Replayed(
        commands=exchange.sequence,
        events=events,
        state_digest=state_digest(exchange),
        events_digest=digest.hexdigest(),
    )
