"""Waiting orders to plain values and back; the indexes are made anew."""

from typing import Any

from perpkit.engine.core import Core
from perpkit.engine.waiting import Desk, Family, Waiting, member_id
from perpkit.model.command import PlaceOrder
from perpkit.model.records import pack, unpack


def save(core: Core) -> dict[str, Any]:
    """Return all of it in sorted order, but what is ready in the order of its turn."""
    desk = core.desk
    return {
        "waiting": [
            [each, _hex(waiting.order), waiting.trigger_ticks, waiting.best_ticks]
            for each, waiting in sorted(desk.waiting.items())
        ],
        "live": [[each, _hex(order)] for each, order in sorted(desk.live.items())],
        "families": [
            [each, _hex(family.order), list(family.alive), list(family.due), family.filled_lots, family.told_lots]
            for each, family in sorted(desk.families.items())
        ],
        "ready": [[each, _hex(order)] for each, order in desk.ready.items()],
        "switches": sorted(desk.switches.at_ns.items()),
        "last_ticks": sorted(desk.last_ticks.items()),
        "look": sorted(desk.look),
        "repeg": sorted(desk.repeg),
    }


def restore(core: Core, saved: dict[str, Any]) -> None:
    """Become what `save` returned."""
    core.desk = desk = Desk()
    for each, order, trigger_ticks, best_ticks in saved["waiting"]:
        desk.add(Waiting(each, _order(order), trigger_ticks, best_ticks))
    for each, order in saved["live"]:
        desk.follow(_order(order), each)
    for each, order, alive, due, filled_lots, told_lots in saved["families"]:
        desk.families[each] = Family(_order(order), list(alive), list(due), filled_lots, told_lots)
        for member in due:
            desk.hold(desk.families[each].order, member_id(each, member))
    for each, order in saved["ready"]:
        desk.ready[each] = _order(order)
        desk.hold(desk.ready[each], each)
    for account, at_ns in saved["switches"]:
        desk.switches.set(account, at_ns)
    desk.last_ticks = dict(saved["last_ticks"])
    desk.look, desk.repeg = set(saved["look"]), set(saved["repeg"])


def _hex(order: PlaceOrder) -> str:
    return pack(order).hex()


def _order(saved: str) -> PlaceOrder:
    order: PlaceOrder = next(unpack(bytes.fromhex(saved)))
    return order
