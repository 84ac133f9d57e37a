"""Recovery: the newest good snapshot, and what the journal says happened after it."""

from collections.abc import Callable, Iterable

import attrs

from perpkit.audit import state_digest
from perpkit.engine.exchange import Exchange, Outcome
from perpkit.errors import JournalError
from perpkit.model.records import unpack
from perpkit.ports.journal import Frame, FrameKind, Journal


@attrs.frozen(kw_only=True)
class Recovered:
    """How an exchange came back. `halted` is why it had stopped, empty when it had not."""

    snapshot_seq: int
    replayed: int
    digests_checked: int
    halted: str


def recover(exchange: Exchange, journal: Journal, *, until: int | None = None) -> Recovered:
    """Bring a fresh exchange to the state that its journal ends with, or to command `until`.

    Raises:
        JournalError: a sequence is missing, or the state is not the one that the journal notes.
    """
    for seq, state in journal.snapshots():
        if until is None or seq <= until:
            exchange.load(state)
            break
    return replay_frames(exchange, journal.read(exchange.sequence), until=until)


def replay_frames(
    exchange: Exchange,
    frames: Iterable[Frame],
    *,
    until: int | None = None,
    check_digests: bool = True,
    watch: Callable[[Outcome], None] | None = None,
) -> Recovered:
    """Apply the commands of frames, from the one that the exchange is at, and compare every digest on the way.

    Under another configuration the digests are another's: then do not check them.

    Raises:
        JournalError: a sequence is missing, or the state is not the one that the journal notes.
    """
    start, checked, halted = exchange.sequence, 0, ""
    for frame in frames:
        if until is not None and exchange.sequence >= until:
            break
        if frame.kind is FrameKind.HALT:
            halted = frame.payload.decode()
        elif frame.kind is FrameKind.COMMANDS:
            halted = ""
            _apply(exchange, frame, until, watch)
        elif check_digests and frame.kind is FrameKind.DIGEST and frame.first_seq == exchange.sequence:
            _compare(exchange, frame)
            checked += 1
    return Recovered(snapshot_seq=start, replayed=exchange.sequence - start, digests_checked=checked, halted=halted)


def _apply(exchange: Exchange, frame: Frame, until: int | None, watch: Callable[[Outcome], None] | None) -> None:
    for seq, command in enumerate(unpack(frame.payload), start=frame.first_seq):
        if seq <= exchange.sequence:
            continue
        if until is not None and seq > until:
            return
        if seq != exchange.sequence + 1:
            raise JournalError(f"journal: expected command {exchange.sequence + 1}, was {seq}")
        outcome = exchange.apply(command)
        if watch:
            watch(outcome)


def _compare(exchange: Exchange, frame: Frame) -> None:
    digest = state_digest(exchange)
    if digest != frame.payload.hex():
        raise JournalError(
            f"journal: expected state {frame.payload.hex()} after command {frame.first_seq}, was {digest}: "
            "the code or the configuration is not the one that wrote this journal"
        )
