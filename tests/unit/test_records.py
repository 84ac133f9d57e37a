"""Records: every command and every event comes back as it went in; anything damaged is refused."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, get_args

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from perpkit.errors import UnitsError
from perpkit.model import command as commands
from perpkit.model import event as events
from perpkit.model.command import ApproveWithdrawal, Command, IndexQuotes, PlaceOrder
from perpkit.model.event import Event, IndexUpdated
from perpkit.model.order import Side, TimeInForce
from perpkit.model.price import PriceState, Quote, SourceReading
from perpkit.model.records import FORMAT, RECORD, pack, pack_all, unpack
from perpkit.model.trigger import Attached, Trigger

CLASSES = [*get_args(Command), *get_args(Event)]
PARTS = {"quotes": Quote, "sources": SourceReading, "attached": Attached}
NUMBERS = st.integers(-(2**63), 2**63 - 1)


def values(record_class: type[Any]) -> st.SearchStrategy[Any]:
    """Return a strategy over everything a class can hold."""
    return st.builds(record_class, **{field.name: _field(field) for field in attrs.fields(record_class)})


def _field(field: attrs.Attribute[Any]) -> st.SearchStrategy[Any]:
    if field.name == "trigger":
        return st.none() | values(Trigger)
    if field.name in PARTS:
        return st.lists(values(PARTS[field.name]), max_size=6).map(tuple)
    if field.name == "market":
        return st.integers(0, 2**32 - 1)
    if field.type is bool:
        return st.booleans()
    if isinstance(field.type, type) and issubclass(field.type, IntEnum):
        return st.sampled_from(field.type)
    assert field.type is int, f"{field.name}: a kind of field that this test does not know"
    return NUMBERS


ANYTHING = st.one_of([values(each) for each in CLASSES])


def test_every_class_of_the_two_modules_is_a_command_or_an_event() -> None:
    defined = [
        each
        for module in (commands, events)
        for each in vars(module).values()
        if attrs.has(each) and each.__module__.startswith(module.__name__)
    ]
    assert sorted(CLASSES, key=str) == sorted(defined, key=str)


@pytest.mark.parametrize("record_class", CLASSES, ids=lambda each: each.__name__)
@settings(max_examples=50)
@given(data=st.data())
def test_a_record_comes_back_as_it_went_in(record_class: type[Any], data: st.DataObject) -> None:
    value = data.draw(values(record_class))
    packed = pack(value)
    assert len(packed) % RECORD.size == 0
    (found,) = unpack(packed)
    assert found == value
    assert [type(each) for each in attrs.astuple(found, recurse=False)] == [
        type(each) for each in attrs.astuple(value, recurse=False)
    ]


@given(st.lists(ANYTHING, max_size=8))
def test_a_run_of_records_is_read_one_by_one(run: list[Any]) -> None:
    assert list(unpack(pack_all(run))) == run
    assert list(unpack(memoryview(bytearray(pack_all(run))))) == run


def test_a_record_is_64_bytes_and_its_parts_64_more_each() -> None:
    assert RECORD.size == 64
    assert len(pack(ApproveWithdrawal(withdrawal_id=1))) == 64
    quote = Quote(market=1, source=2, price_ticks=3, weight=4, at_ns=5)
    assert len(pack(IndexQuotes(quotes=(quote,) * 5))) == 6 * 64


def test_only_the_rarer_terms_of_an_order_take_more_records() -> None:
    plain = PlaceOrder(account=1, market=2, side=Side.BUY, size_lots=3, price_ticks=4, hidden=True, client_order_id=5)
    assert len(pack(plain)) == 64
    stop = Trigger(price_ticks=90)
    attached = (Attached(side=Side.SELL, trigger=stop), Attached(side=Side.SELL, price_ticks=120))
    order = attrs.evolve(plain, hidden=False, display_lots=1, expires_ns=7, trigger=stop, attached=attached)
    assert len(pack(order)) == 64 + 64 + 64 + 2 * 64 + 64
    assert list(unpack(pack(order))) == [order]


def test_a_record_is_kind_flags_market_and_seven_integers() -> None:
    """Format 0: whoever changes this writes another number into `FORMAT`."""
    order = PlaceOrder(
        account=2,
        market=3,
        side=Side.SELL,
        size_lots=4,
        price_ticks=5,
        time_in_force=TimeInForce.FOK,
        post_only=True,
        position_id=6,
        client_order_id=7,
        time_ns=8,
    )
    head = (1).to_bytes(2, "little") + (0b100111).to_bytes(2, "little") + (3).to_bytes(4, "little")
    body = b"".join(number.to_bytes(8, "little", signed=True) for number in (8, 2, 4, 5, 6, 7, 0))
    assert (FORMAT, pack(order)) == (0, head + body)


def test_two_classes_never_share_a_kind() -> None:
    kinds = {RECORD.unpack_from(pack(smallest(each)))[0] for each in CLASSES}
    assert len(kinds) == len(CLASSES)
    assert 0 not in kinds  # so that zeroed storage is no record


def smallest(record_class: type[Any]) -> Any:
    def value(field: attrs.Attribute[Any]) -> Any:
        if field.name == "trigger":
            return None
        if field.name in PARTS:
            return ()
        return next(iter(field.type)) if field.type is not None and issubclass(field.type, IntEnum) else field.type()

    return record_class(**{field.name: value(field) for field in attrs.fields(record_class)})


@given(ANYTHING, st.data())
def test_data_that_ends_inside_a_frame_is_refused(value: Any, data: st.DataObject) -> None:
    packed = pack(value)
    cut = data.draw(st.integers(1, len(packed) - 1))
    with pytest.raises(UnitsError, match="record at byte"):
        list(unpack(packed[:cut]))


@pytest.mark.parametrize("kind", [0, 25, 99, 139, 255, 2**16 - 1])
def test_a_kind_that_is_not_known_is_refused_with_its_place(kind: int) -> None:
    good = pack(ApproveWithdrawal(withdrawal_id=1))
    with pytest.raises(UnitsError, match=f"at byte 64: expected a known kind, was {kind}"):
        list(unpack(good + RECORD.pack(kind, 0, 0, *[0] * 7)))


@given(st.binary(max_size=256))
def test_noise_is_refused_or_read_but_never_crashes(noise: bytes) -> None:
    try:
        found = list(unpack(noise))
    except UnitsError:
        return
    assert len(found) <= len(noise) // 64


@pytest.mark.parametrize("parts", [-1, 2, 2**62])
def test_a_count_of_parts_that_are_not_there_is_refused(parts: int) -> None:
    head = bytearray(pack(IndexUpdated(market=1, price_ticks=2, state=PriceState.OK, sources=())))
    head[24:32] = parts.to_bytes(8, "little", signed=True)
    with pytest.raises(UnitsError):
        list(unpack(bytes(head)))


def test_a_part_of_another_kind_is_refused() -> None:
    quote = Quote(market=1, source=2, price_ticks=3, weight=4, at_ns=5)
    packed = pack(IndexQuotes(quotes=(quote,)))
    with pytest.raises(UnitsError):
        list(unpack(packed[:64] + pack(ApproveWithdrawal(withdrawal_id=1))))


def test_a_part_without_its_head_is_refused() -> None:
    quote = Quote(market=1, source=2, price_ticks=3, weight=4, at_ns=5)
    with pytest.raises(UnitsError):
        list(unpack(pack(IndexQuotes(quotes=(quote,)))[64:]))


@pytest.mark.parametrize(
    "change", [{"account": 2**63}, {"size_lots": -(2**63) - 1}, {"market": 2**32}, {"market": -1}], ids=str
)
def test_a_number_that_does_not_fit_is_refused(change: dict[str, int]) -> None:
    fields: dict[str, Any] = {"account": 1, "market": 1, "side": Side.BUY, "size_lots": 1, **change}
    with pytest.raises(UnitsError, match="expected integers of at most 64 bits"):
        pack(PlaceOrder(**fields))


def test_a_time_in_force_that_does_not_exist_is_refused() -> None:
    order = PlaceOrder(account=1, market=1, side=Side.BUY, size_lots=1, time_in_force=TimeInForce.FOK)
    packed = bytearray(pack(order))
    packed[2] &= 0xFF ^ 0b110  # the bits of the time in force
    with pytest.raises(UnitsError, match="at byte 0"):
        list(unpack(bytes(packed)))


def test_heads_within_heads_are_refused_however_deep() -> None:
    head = bytearray(pack(IndexQuotes()))
    head[16:24] = (1).to_bytes(8, "little")
    with pytest.raises(UnitsError):
        list(unpack(bytes(head) * 5_000))
