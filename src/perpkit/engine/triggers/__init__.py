"""Orders that are not in the book, or not for good: they wait for a price, for another order, or for their time to end.

`Core.desk` is their state. `fire` is phase 5, `links` what orders that came together do to each other, `pegs` and
`ends` what moves and ends live orders, `rules` what all of these ask. Clearing sees live orders only.
"""

import attrs

from perpkit.engine.core import Core
from perpkit.engine.triggers import links, rules
from perpkit.engine.triggers.ends import cancel_all, end, set_switch, settle
from perpkit.engine.triggers.fire import prices_came, work
from perpkit.engine.triggers.links import watch
from perpkit.engine.triggers.rules import cancel, go_live, refuse
from perpkit.engine.triggers.state import restore, save
from perpkit.engine.waiting import Waiting
from perpkit.model.command import AmendOrder, CancelOrder, PlaceOrder
from perpkit.model.event import Rejected
from perpkit.model.ids import AccountId, MarketId, OrderId
from perpkit.model.reject import RejectReason

__all__ = [
    "amend",
    "cancel",
    "cancel_all",
    "end",
    "find",
    "follow",
    "go_live",
    "is_pegged",
    "prices_came",
    "refuse",
    "restore",
    "save",
    "set_switch",
    "settle",
    "wait",
    "waits_for",
    "watch",
    "work",
]


def wait(core: Core, order: PlaceOrder) -> Rejected | None:
    """Let an order wait for its trigger, and those attached to it for theirs or for its fills.

    A live order that is attached as `EITHER` goes in after it; where clearing refuses that one then, it is told as
    `OrderRefused` and the order itself stays.

    Rejects:
        As `refuse`.
    """
    if refused := rules.refuse(core, order):
        return refused
    rules.start(core, order, core.sequence)
    if order.attached:
        links.join(core, order, core.sequence)
    return None


def follow(core: Core, order: PlaceOrder, order_id: OrderId) -> None:
    """Note what is to be done about an order that went live: its end, its peg, the orders attached to it.

    Attached orders are treated as by `wait`.
    """
    rules.keep(core, order, order_id)
    if order.attached:
        links.join(core, order, order_id)


def find(core: Core, command: CancelOrder | AmendOrder) -> Waiting | None:
    """Return the waiting order that a command names."""
    desk, wanted, called = core.desk, command.order_id, command.client_order_id
    for order_id in sorted(desk.held.get((command.account, command.market), ())):
        waiting = desk.waiting.get(order_id)
        if waiting and (wanted == order_id or (not wanted and called and waiting.order.client_order_id == called)):
            return waiting
    return None


def amend(core: Core, command: AmendOrder) -> Rejected | None:
    """Change a waiting order; it keeps its rank among those of the same trigger price.

    Rejects:
        unknown-order; then as a new order, but for the count. A trailing stop's trigger is its own: flags-conflict.
    """
    waiting = find(core, command)
    if waiting is None:
        return Rejected(reason=RejectReason.UNKNOWN_ORDER)
    order, trigger_ticks = waiting.order, command.trigger_ticks or waiting.trigger_ticks
    order = attrs.evolve(
        order, size_lots=command.size_lots or order.size_lots, price_ticks=command.price_ticks or order.price_ticks
    )
    if command.trigger_ticks:
        order = attrs.evolve(order, trigger=attrs.evolve(waiting.trigger, price_ticks=trigger_ticks))
    if refused := rules.refuse(core, attrs.evolve(order, attached=()), new=False, moved=command.trigger_ticks != 0):
        return refused
    waiting.order = order
    core.desk.move(waiting, trigger_ticks)
    core.events.append(rules.amended(waiting))
    return None


def is_pegged(core: Core, command: AmendOrder) -> bool:
    """Whether the live order that a command names follows a price."""
    pegs = core.desk.pegs.get(command.market)
    if not pegs:
        return False
    order = core.parts.clearing.order(command.market, command.account, command.order_id, command.client_order_id)
    return order is not None and order.id in pegs


def waits_for(core: Core, account: AccountId, market: MarketId) -> bool:
    """Whether an account has orders in a market that are not in the book."""
    return (account, market) in core.desk.held
