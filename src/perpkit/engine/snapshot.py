"""The exchange's state to plain values and back. State content only: no manifest, no provider names, no caches."""

import json
from collections import deque
from typing import Any

import attrs

from perpkit.engine import triggers
from perpkit.engine.core import Core, Deposit, Liquidation, Window, Withdrawal
from perpkit.model.market import MarketState
from perpkit.model.price import IndexPrice, LeftOut, PriceState, SourceReading

STATE_LAYOUT = 4
"""The arrangement of what `save` returns; one more whenever it changes, so that no older snapshot is misread."""

_FOLDS = ("index_price", "mark_price", "funding")


def save(core: Core) -> dict[str, Any]:
    """Return everything the exchange owns, clearing's and the folds' state included, in sorted order.

    The sequence, the clock and the count of price faults stand beside the content: a rejected command may move them,
    and nothing else.
    """
    parts = core.parts
    return {
        "clearing": json.loads(parts.clearing.dump()),
        "folds": {
            name: {str(market): fold.dump().decode("latin-1") for market, fold in sorted(getattr(parts, name).items())}
            for name in _FOLDS
        },
        "insurance": parts.insurance.dump().decode("latin-1"),
        "market_states": [[market, int(state)] for market, state in sorted(core.market_states.items())],
        "indexes": [_index(core.indexes[market]) for market in sorted(core.indexes)],
        "funding_next_ns": sorted(core.funding_next_ns.items()),
        "queue": [[list(each.pool), each.steps, int(each.stalled)] for each in core.queue],
        "withdrawals": [[each, *attrs.astuple(held)] for each, held in sorted(core.withdrawals.items())],
        "settled_withdrawals": sorted(core.settled_withdrawals),
        "deposits": [[each, *attrs.astuple(deposit)] for each, deposit in sorted(core.deposits.items())],
        "deposits_units": sorted(core.deposits_units.items()),
        "next_turn_ns": sorted(core.next_turn_ns.items()),
        "triggers": triggers.save(core),
        "windows": [
            [account, [[each, content.hex(), sequence] for each, (content, sequence) in window.seen.items()]]
            for account, window in sorted(core.windows.items())
        ],
        "reserved_units": sorted(core.reserved_units.items()),
        "inventory_due": core.inventory_due,
        "evidence": core.evidence,
        "price_faults": core.price_faults,
        "clock_ns": core.clock_ns,
        "sequence": core.sequence,
    }


def restore(core: Core, saved: dict[str, Any]) -> None:
    """Become what `save` returned."""
    parts = core.parts
    parts.clearing.load(json.dumps(saved["clearing"]).encode())
    for name in _FOLDS:
        for market, fold in getattr(parts, name).items():
            fold.load(saved["folds"][name][str(market)].encode("latin-1"))
    parts.insurance.load(saved["insurance"].encode("latin-1"))
    core.market_states = {market: MarketState(state) for market, state in saved["market_states"]}
    core.indexes = {fields[0]: _read_index(fields) for fields in saved["indexes"]}
    core.funding_next_ns = dict(saved["funding_next_ns"])
    core.queue = deque(
        Liquidation((pool[0], pool[1], pool[2], pool[3]), steps, bool(stalled))
        for pool, steps, stalled in saved["queue"]
    )
    core.withdrawals = {each: Withdrawal(*held) for each, *held in saved["withdrawals"]}
    core.settled_withdrawals = set(saved["settled_withdrawals"])
    core.deposits = {each: Deposit(*deposit) for each, *deposit in saved["deposits"]}
    core.deposits_units = dict(saved["deposits_units"])
    core.next_turn_ns = dict(saved["next_turn_ns"])
    triggers.restore(core, saved["triggers"])
    core.windows = {
        account: Window({each: (bytes.fromhex(content), sequence) for each, content, sequence in seen})
        for account, seen in saved["windows"]
    }
    core.reserved_units = dict(saved["reserved_units"])
    core.inventory_due = saved["inventory_due"]
    core.evidence, core.price_faults = saved["evidence"], saved["price_faults"]
    core.clock_ns, core.sequence = saved["clock_ns"], saved["sequence"]


def _index(index: IndexPrice) -> list[Any]:
    sources = [[int(field) for field in attrs.astuple(source)] for source in index.sources]
    return [index.market, index.price_ticks, int(index.state), index.at_ns, sources]


def _read_index(fields: list[Any]) -> IndexPrice:
    market, price, state, at_ns, sources = fields
    readings = tuple(
        SourceReading(source=source, price_ticks=ticks, age_ns=age, weight=weight, left_out=LeftOut(left_out))
        for source, ticks, age, weight, left_out in sources
    )
    return IndexPrice(market=market, price_ticks=price, state=PriceState(state), at_ns=at_ns, sources=readings)
