"""The page on orders has every field of an order and every command of a trader, and an example of each that ran."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import get_args

import attrs
import pytest

from perpkit import Exchange
from perpkit.model.cause import CancelReason
from perpkit.model.command import Command, PlaceOrder
from perpkit.model.event import Event, OrderCancelled, OrderRefused, Rejected
from perpkit.model.event import orders as order_events
from perpkit.model.reject import RejectReason

PAGE = Path(__file__).parents[2] / "docs/reference/orders.md"
NAMES = re.compile(r"`([^`]+)`")
ROW = re.compile(r"^\| \[(?P<kind>[^]]+)\]\(#(?P<anchor>[\w-]+)\) \|(?P<cells>.*)\|$", re.MULTILINE)
HEADING = re.compile(r"^#{2,3} (?P<text>.+)$", re.MULTILINE)
TRADERS = {
    cls.__name__: cls
    for cls in get_args(Command)
    if {"account", "asset"} & {f.name for f in attrs.fields(cls)} == {"account"}
}
EVERY = {"OrderAccepted", "OrderRested", "OrderCancelled", "Rejected", "Duplicate"}
NOT_A_TRADERS = {CancelReason.LOCKED, CancelReason.LIQUIDATION, CancelReason.SETTLEMENT}


def slug(text):
    return re.sub(r"\s+", "-", re.sub(r"[^\w\s-]", "", text).strip().lower())


@pytest.fixture(scope="module")
def matrix():
    """Rows by anchor: the kind, and the names in each of the cells for fields, events and rejects."""
    rows = {}
    for row in ROW.finditer(PAGE.read_text("utf-8")):
        _, fields, _, _, events, rejects = (cell.strip() for cell in row["cells"].split("|"))
        rows[row["anchor"]] = {"kind": row["kind"], "fields": fields, "events": events, "rejects": rejects}
    for row in rows.values():
        for column in ("events", "rejects"):
            if row[column].startswith("as stop market"):
                row[column] += rows["stop-market"][column]
    return {
        anchor: {name: cell if name == "kind" else set(NAMES.findall(cell)) for name, cell in row.items()}
        for anchor, row in rows.items()
    }


@pytest.fixture(scope="module")
def ran(fences):
    """What was applied under each heading when the page ran: commands, each with its events."""
    applied = defaultdict(list)
    apply, heading = Exchange.apply, ""

    def noted(exchange, command):
        outcome = apply(exchange, command)
        applied[heading].append((command, outcome.events))
        return outcome

    text = PAGE.read_text("utf-8")
    headings = [(text.count("\n", 0, match.start()) + 1, slug(match["text"])) for match in HEADING.finditer(text)]
    namespace = {"__name__": "__main__"}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Exchange, "apply", noted)
        for fence in fences(PAGE):
            heading = [name for line, name in headings if line < fence.line][-1]
            if fence.language == "python":
                exec(compile(fence.text, str(PAGE), "exec"), namespace)
    return dict(applied)


def is_used(command, name):
    """Whether a command has a field that says something, or is of a class."""
    field = attrs.fields_dict(type(command)).get(name)
    return type(command).__name__ == name or (
        isinstance(command, PlaceOrder) and field is not None and getattr(command, name) != field.default
    )


def test_the_matrix_has_every_field_of_an_order_and_every_command_of_a_trader(matrix):
    named = set().union(*(row["fields"] for row in matrix.values()))
    assert named == {field.name for field in attrs.fields(PlaceOrder)} | set(TRADERS) - {"PlaceOrder"}


def test_every_kind_has_a_section_of_its_name_and_every_section_a_kind(matrix):
    text = PAGE.read_text("utf-8")
    sections = {slug(heading) for heading in re.findall(r"^### (.+)$", text, re.MULTILINE)} | {"every-order"}
    assert {slug(row["kind"]) for row in matrix.values()} == set(matrix) == sections


def test_the_example_of_every_kind_uses_what_its_row_names(matrix, ran):
    for anchor, row in matrix.items():
        for name in row["fields"]:
            assert any(is_used(command, name) for command, _ in ran[anchor]), f"{anchor}: no example uses {name}"


def test_what_the_examples_cause_is_in_the_matrix(matrix, ran):
    for anchor, row in matrix.items():
        events = [event for _, events in ran[anchor] for event in events]
        of_orders = {type(event).__name__ for event in events if type(event).__module__ == order_events.__name__}
        cancels = {event.reason.name for event in events if isinstance(event, OrderCancelled)}
        rejects = {event.reason.text for event in events if isinstance(event, Rejected | OrderRefused)}
        assert of_orders | cancels <= EVERY | row["events"], anchor
        assert rejects <= row["rejects"] | matrix["every-order"]["rejects"], anchor


def test_the_matrix_names_every_event_and_reason_of_an_order_and_none_that_does_not_exist(matrix):
    events = set().union(*(row["events"] for row in matrix.values()))
    reasons = {reason.name for reason in CancelReason} - {reason.name for reason in NOT_A_TRADERS}
    of_orders = {cls.__name__ for cls in get_args(Event) if cls.__module__ == order_events.__name__}
    assert of_orders | reasons <= events | EVERY
    assert events <= {cls.__name__ for cls in get_args(Event)} | reasons
    rejects = set().union(*(row["rejects"] for row in matrix.values()))
    assert rejects <= {reason.text for reason in RejectReason}
