"""What a crash or a bad disk may leave of a journal, and to which state of the exchange that leads.

The journals hold what an exchange was really told; its state after each command was noted once, while it ran.

PERPKIT_CUTS, PERPKIT_FLIPS, PERPKIT_REPLAYS and PERPKIT_SNAPSHOTS set how often; PERPKIT_SEED repeats a run whose seed
was printed.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from perpkit.audit import state_digest
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange
from perpkit.engine.snapshot import STATE_LAYOUT
from perpkit.errors import JournalError
from perpkit.model.command import (
    ApproveWithdrawal,
    CancelOrder,
    CapitalObserved,
    Command,
    DepositObserved,
    IndexQuotes,
    PlaceOrder,
    RequestWithdrawal,
)
from perpkit.model.order import Side
from perpkit.model.price import Quote
from perpkit.model.records import pack
from perpkit.ports.journal import FrameKind, JournalContext
from perpkit.runtime.journal import FileJournal, FileOptions
from perpkit.runtime.journal.file import SEGMENT_BYTES_MIN, segment_names
from perpkit.runtime.journal.frame import Draft, Run, frame_of
from perpkit.runtime.journal.header import PAGE_BYTES, SLOTS_AT, Slot
from perpkit.runtime.journal.scan import Verified, verify
from perpkit.runtime.recovery import recover

CUTS = int(os.environ.get("PERPKIT_CUTS", "20000"))
FLIPS = int(os.environ.get("PERPKIT_FLIPS", "5000"))
REPLAYS = int(os.environ.get("PERPKIT_REPLAYS", "20"))
SNAPSHOTS = int(os.environ.get("PERPKIT_SNAPSHOTS", "10"))
SEED = int(os.environ.get("PERPKIT_SEED", "20200312"))
COMMANDS = 500


@pytest.fixture
def seed() -> int:
    print(f"PERPKIT_SEED={SEED}")
    return SEED


# ---------------------------------------------------------------------------------------------- what was journaled


@attrs.frozen
class Log:
    """What an exchange was told; `digests[n]` and `states[n]` are its state after n commands."""

    config: ExchangeConfig
    config_digest: str
    records: tuple[bytes, ...]
    digests: tuple[str, ...]
    states: tuple[bytes, ...]

    def records_of(self, first_seq: int, count: int) -> bytes:
        return b"".join(self.records[first_seq - 1 : first_seq - 1 + count])

    def opened(self, directory: Path, **changes: Any) -> FileJournal:
        plain = JournalContext(directory=str(directory), config_digest=self.config_digest, manifest=[])
        return FileJournal(attrs.evolve(plain, **changes), FileOptions(segment_bytes=SEGMENT_BYTES_MIN))


def trading(draw: random.Random) -> Iterator[Command]:
    """Yield what twelve accounts do while the price falls by half and comes back, some of them with too little."""
    yield CapitalObserved(deposit_id=1, fund=1, asset=1, amount_units=5_000)
    for account in range(1, 13):
        units = 1_000_000 if account < 5 else draw.randint(500, 5_000)
        yield DepositObserved(deposit_id=1 + account, account=account, asset=1, amount_units=units)
    for number in range(COMMANDS):
        price = 100 - abs(number // 8 % 100 - 50)
        if number % 8 == 0:
            quotes = (Quote(market=1, source=each, price_ticks=price, weight=1, at_ns=number) for each in (1, 2, 3))
            yield IndexQuotes(quotes=tuple(quotes))
        elif number % 31 == 0:
            yield RequestWithdrawal(withdrawal_id=number, account=draw.randint(1, 12), asset=1, amount_units=10)
        elif number % 31 == 5:
            yield ApproveWithdrawal(withdrawal_id=number - 5)
        elif number % 13 == 0:
            yield CancelOrder(account=draw.randint(1, 4), market=1, client_order_id=draw.randint(1, number))
        else:
            yield PlaceOrder(
                account=draw.randint(1, 12),
                market=1,
                side=draw.choice((Side.BUY, Side.SELL)),
                size_lots=draw.randint(1, 100),
                price_ticks=price + draw.randint(-3, 3),
                client_order_id=number,
            )


@pytest.fixture(scope="module")
def log(make_tables: Callable[..., dict[str, Any]]) -> Log:
    config = ExchangeConfig.from_dict(make_tables(deposits_max="100000000"))
    exchange = Exchange.of(config)
    records, digests, states, kinds = [], [state_digest(exchange)], [exchange.dump()], set()
    for command in trading(random.Random(2020)):
        stamped = attrs.evolve(command, time_ns=len(digests))
        kinds |= {type(event).__name__ for event in exchange.apply(stamped).events}
        records.append(pack(stamped))
        digests.append(state_digest(exchange))
        states.append(exchange.dump())
    assert kinds >= {"Filled", "LiquidationStarted", "TakenOver", "WithdrawalReleased", "FundMoved"}, kinds
    assert len(set(digests)) > COMMANDS // 2
    return Log(config, config.config_digest(), tuple(records), tuple(digests), tuple(states))


@pytest.fixture
def no_sync(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a crash leaves is made up here, byte for byte: no disk has to be waited for."""
    monkeypatch.setattr(os, "fdatasync", lambda fd: None)
    monkeypatch.setattr(os, "fsync", lambda fd: None)


# ---------------------------------------------------------------------------------------------- what a crash leaves


@attrs.frozen
class Crashed:
    """A journal as a crash leaves it: durable frames, and a group of several that nobody was told is durable.

    `data` is the last segment, which begins after command `start`; `ends` are where its frames end, after its page.
    """

    log: Log
    name: str
    data: bytes
    earlier: dict[str, bytes]
    start: int
    ends: tuple[int, ...]
    durable_end: int

    @property
    def live(self) -> int:
        return self.ends[-1]

    def verify(self, data: bytes, name: str = "", *, accept_torn: bool = False) -> Verified:
        """Check the journal with other data in one segment, the last one unless named."""
        files = {**self.earlier, self.name: self.data, name or self.name: data}
        digest = bytes.fromhex(self.log.config_digest)
        return verify(sorted(files), files.__getitem__, config_digest=digest, accept_torn=accept_torn)

    def outcome(self, data: bytes, name: str = "") -> Verified | str:
        """Return what opening makes of the data, or why it refuses."""
        try:
            return self.verify(data, name)
        except JournalError as error:
            return str(error)

    def check_prefix(self, data: bytes, found: Verified) -> None:
        """Hold what is left against what was told, and the states that it notes against those there were."""
        chain = found.segments[-1].chain()
        run, commands = Run(data[: found.segments[-1].end], chain, PAGE_BYTES), b""
        for frame in (frame_of(data, head) for head in run):
            if frame.kind is FrameKind.COMMANDS:
                commands += frame.payload
            elif frame.kind is FrameKind.DIGEST:
                assert frame.payload.hex() == self.log.digests[frame.first_seq]
        assert commands == self.log.records_of(self.start + 1, chain.last_seq - self.start)
        assert chain.last_seq == found.chain.last_seq

    def put(self, directory: Path, data: bytes) -> None:
        """Write the journal with other data in its last segment."""
        directory.mkdir()
        for name, earlier in self.earlier.items():
            (directory / name).write_bytes(earlier)
        (directory / self.name).write_bytes(data)


def crashed(directory: Path, log: Log, rng: random.Random, groups: int = 8) -> Crashed:
    """Journal a part of the log in random groups, and take the files before the mark of the last group is in them."""
    start = rng.randrange(len(log.records) - 5 * (groups + 1) * 4)
    journal = log.opened(directory)
    store = journal._store
    assert store is not None
    while store.durable_seq < start:
        store.write(drafts_of(log, store.durable_seq, rng, 1, min(400, start - store.durable_seq)))
    if start:
        store._make_room(1)
    path = directory / segment_names(directory)[-1]
    for number in range(groups + 1):
        page, durable_end = path.read_bytes()[:PAGE_BYTES], store.infos()[-1].end
        frames = rng.randint(2, 4) if number == groups else rng.randint(1, 2)
        store.write(drafts_of(log, store.durable_seq, rng, frames, 5))
    data = page + path.read_bytes()[PAGE_BYTES:]
    infos = store.infos()
    assert path.name == infos[-1].name, "what a sample is cut in must be one segment"
    journal.close()
    ends = tuple(head.end for head in Run(data, infos[-1].chain(), PAGE_BYTES))
    earlier = {info.name: (directory / info.name).read_bytes()[: info.end + 500] for info in infos[:-1]}
    shutil.rmtree(directory)
    # Enough zeros to fall into.
    return Crashed(log, path.name, data[: ends[-1] + 2_000], earlier, start, (PAGE_BYTES, *ends), durable_end)


def drafts_of(log: Log, after_seq: int, rng: random.Random, frames: int, count_max: int) -> list[Draft]:
    """Return what follows a command in so many frames, each of a few commands, some with the state noted after it."""
    drafts: list[Draft] = []
    for _ in range(frames):
        count = rng.randint(1, count_max)
        drafts.append(Draft(FrameKind.COMMANDS, after_seq + 1))
        drafts[-1].add(log.records_of(after_seq + 1, count), count)
        after_seq += count
        if rng.random() < 0.3:
            drafts.append(Draft.note(FrameKind.DIGEST, after_seq, bytes.fromhex(log.digests[after_seq])))
    return drafts


def test_every_byte_cut_is_a_clean_prefix_or_refused(tmp_path: Path, log: Log, seed: int, no_sync: None) -> None:
    rng, cuts, replays = random.Random(seed), 0, 0
    while cuts < CUTS:
        sample = crashed(tmp_path / "j", log, rng, groups=5)
        for at in range(sample.live):
            for data in (sample.data[:at], sample.data[:at] + bytes(200)):
                cuts += 1
                check_cut(sample, data, at)
        while replays * CUTS < min(cuts, CUTS) * REPLAYS:
            replays += 1
            check_recovery(tmp_path / f"cut-{replays}", sample, rng.randrange(sample.durable_end, sample.live))
    print(f"{cuts} cuts, {replays} of them replayed in full")


def check_cut(sample: Crashed, data: bytes, at: int) -> None:
    found = sample.outcome(data)
    assert isinstance(found, str) == (at < sample.durable_end), (at, found)
    if isinstance(found, str):
        assert sample.name in found
        return
    expected_end = max(end for end in sample.ends if end <= at)
    assert found.segments[-1].end == expected_end, at
    sample.check_prefix(data, found)
    # A cut between two frames leaves nothing behind that could be reported.
    assert bool(found.cuts) == (data[expected_end:].strip(b"\0") != b"")
    if found.cuts:
        assert found.cuts[0].bytes_cut == len(data.rstrip(b"\0")) - expected_end
        assert found.cuts[0].after_seq == found.chain.last_seq


def check_recovery(directory: Path, sample: Crashed, at: int) -> None:
    """Open what a cut leaves to write on, replay all of it, and compare the state with the one there was."""
    sample.put(directory, sample.data[:at])
    journal = sample.log.opened(directory)
    exchange = Exchange.of(sample.log.config)
    recovered = recover(exchange, journal)
    assert recovered.snapshot_seq == 0
    assert recovered.replayed == exchange.sequence == journal.last_seq
    assert exchange.dump() == sample.log.states[journal.last_seq], at
    assert state_digest(exchange) == sample.log.digests[journal.last_seq], at
    journal.close()
    shutil.rmtree(directory)


def test_flips_and_truncations_are_refused_or_leave_a_clean_prefix(
    tmp_path: Path, log: Log, seed: int, no_sync: None
) -> None:
    """One single-bit flip or one truncation at a time, wherever the journal is; nothing below the mark is lost."""
    rng, outcomes = random.Random(seed), {"refused": 0, "whole": 0, "reported": 0}
    for number in range(FLIPS):
        if number % 1_000 == 0:
            sample = crashed(tmp_path / "j", log, rng)
        check = check_truncation if number % 4 == 0 else check_earlier if number % 4 == 1 else check_flip
        outcomes[check(sample, rng)] += 1
    print(f"{FLIPS} flips and truncations: {outcomes}")
    assert outcomes["refused"] > FLIPS // 2


def check_truncation(sample: Crashed, rng: random.Random) -> str:
    at = rng.randrange(sample.live)
    data = sample.data[:at] + bytes(rng.choice([0, 1, 2_000]))
    check_cut(sample, data, at)
    return "refused" if at < sample.durable_end else "reported"


def check_flip(sample: Crashed, rng: random.Random) -> str:
    # One in ten goes into the zeros at the end, the rest where something stands.
    at = rng.randrange(len(sample.data) if rng.random() < 0.1 else sample.live)
    data = flipped(sample.data, at, rng)
    found = sample.outcome(data)
    if isinstance(found, str):
        assert sample.name in found
        return "refused"
    # A whole frame with a wrong bit is refused above the mark, too: nobody can tell whether it was answered.
    assert in_slot(at) or at >= sample.live, at
    assert found.segments[-1].end == sample.live
    sample.check_prefix(data, found)
    # A bit right after the last frame looks like the first byte of an unfinished one.
    assert in_slot(at) != bool(found.cuts), at
    return "reported" if found.cuts else "whole"


def check_earlier(sample: Crashed, rng: random.Random) -> str:
    """Damage a segment that another follows: it must be whole, and so must the zeros after it."""
    if not sample.earlier:
        return check_flip(sample, rng)
    name = rng.choice(sorted(sample.earlier))
    data = sample.earlier[name]
    live = len(data.rstrip(b"\0"))
    if rng.random() < 0.3:
        at = rng.randrange(live)
        found = sample.outcome(data[:at], name)
    else:
        at = rng.randrange(len(data) if rng.random() < 0.1 else live)
        found = sample.outcome(flipped(data, at, rng), name)
        if in_slot(at):
            assert isinstance(found, Verified), found
            assert found.chain.last_seq == sample.verify(sample.data).chain.last_seq
            return "whole"
    assert isinstance(found, str), f"{name}, offset {at}"
    return "refused"


def flipped(data: bytes, at: int, rng: random.Random) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1 << rng.randrange(8)
    return bytes(changed)


def in_slot(at: int) -> bool:
    return any(slot <= at < slot + 24 for slot in SLOTS_AT)


def test_accept_torn_cuts_a_wrong_checksum_above_the_mark_only(
    tmp_path: Path, log: Log, seed: int, no_sync: None
) -> None:
    rng = random.Random(seed)
    sample = crashed(tmp_path / "j", log, rng)
    for at in range(PAGE_BYTES, sample.live):
        changed = flipped(sample.data, at, rng)
        if at < sample.durable_end:
            with pytest.raises(JournalError, match="was durable"):
                sample.verify(changed, accept_torn=True)
        else:
            found = sample.verify(changed, accept_torn=True)
            assert found.segments[-1].end == max(end for end in sample.ends if end <= at)
            assert len(found.cuts) == 1


def test_a_later_frame_vouches_for_what_is_damaged_before_it(
    tmp_path: Path, log: Log, seed: int, no_sync: None
) -> None:
    sample = crashed(tmp_path / "j", log, random.Random(seed))
    changed = bytearray(sample.data)
    for at in SLOTS_AT:  # both marks as they were when the file was new
        slot = Slot(at // 512 - 1, sample.start, sample.verify(sample.data[: sample.live]).segments[-1].prev_crc)
        changed[at : at + 24] = slot.pack()
    changed[sample.ends[1] + 50] ^= 1
    with pytest.raises(JournalError, match=rf"offset {sample.ends[1]}, sequence \d+: .*wrong checksum.*was durable"):
        sample.verify(bytes(changed), accept_torn=True)


def test_an_unfinished_write_is_reported_then_cut(tmp_path: Path, log: Log, seed: int) -> None:
    sample = crashed(tmp_path / "j", log, random.Random(seed))
    directory, torn = tmp_path / "torn", sample.data[: sample.live - 10] + bytes(2_010)
    sample.put(directory, torn)
    before_last = max(end for end in sample.ends if end <= sample.live - 10)
    reader = log.opened(directory, read_only=True)
    assert [cut.bytes_cut for cut in reader.cuts] == [len(torn.rstrip(b"\0")) - before_last]
    assert (directory / sample.name).read_bytes() == torn
    journal = log.opened(directory)
    assert journal.cuts == reader.cuts
    last = journal.last_seq
    assert last == reader.last_seq == journal.cuts[0].after_seq
    journal.append(log.records_of(last + 1, 1), 1, last + 1)
    journal.close()
    again = log.opened(directory)
    assert not again.cuts
    assert [frame.kind for frame in again.read(last + 1)] == [FrameKind.COMMANDS, FrameKind.CLOSE, FrameKind.EPOCH]
    again.close()


# ---------------------------------------------------------------------------------------------- snapshot and tail


def test_a_snapshot_anywhere_and_the_tail_lead_where_the_whole_journal_leads(
    tmp_path: Path, log: Log, seed: int, no_sync: None
) -> None:
    rng = random.Random(seed)
    journal = log.opened(tmp_path)
    while (last := journal.last_seq) < len(log.records):
        count = min(rng.randint(1, 30), len(log.records) - last)
        journal.append(log.records_of(last + 1, count), count, last + 1)
        journal.note(FrameKind.DIGEST, bytes.fromhex(log.digests[last + count]))
    journal.wait(journal.last_seq)
    whole = Exchange.of(log.config)
    assert recover(whole, journal).replayed == len(log.records)
    assert whole.dump() == log.states[-1]
    for _ in range(SNAPSHOTS):
        at = rng.randrange(1, len(log.records))
        journal.put_snapshot(at, log.states[at])
        short = Exchange.of(log.config)
        recovered = recover(short, journal)
        assert (recovered.snapshot_seq, recovered.replayed) == (at, len(log.records) - at)
        assert recovered.digests_checked
        assert short.dump() == whole.dump(), f"from the snapshot after command {at}"
        next(tmp_path.glob("*.pks")).unlink()
    print(f"{SNAPSHOTS} snapshots")
    journal.close()


def test_recovery_goes_round_a_snapshot_that_this_code_cannot_read(
    tmp_path: Path, log: Log, no_sync: None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    journal = log.opened(tmp_path)
    journal.append(log.records_of(1, 200), 200, 1)
    journal.wait(200)
    older = log.states[150].replace(b'"clearing"', b'"accounts"')
    for at, good in ((0, None), (100, log.states[100])):
        if good:
            journal.put_snapshot(at, good)
        with monkeypatch.context() as patched:
            patched.setattr("perpkit.runtime.journal.snapshot.STATE_LAYOUT", STATE_LAYOUT - 1)
            journal.put_snapshot(150, older)
        exchange = Exchange.of(log.config)
        assert recover(exchange, journal).snapshot_seq == at
        assert exchange.dump() == log.states[200]
    assert "passed over: the state has layout" in caplog.text
    journal.close()
