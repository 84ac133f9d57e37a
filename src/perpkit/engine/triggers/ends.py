"""What time alone does: orders that end, and the dead man's switch."""

from perpkit.engine.core import Core
from perpkit.engine.triggers import links, rules
from perpkit.model.cause import CancelReason
from perpkit.model.command import CancelAllAfter
from perpkit.model.event import Rejected, SwitchSet
from perpkit.model.ids import AccountId, MarketId, PositionId
from perpkit.model.order import Side
from perpkit.model.reject import RejectReason
from perpkit.units import Nanos


def end(core: Core, now_ns: Nanos) -> None:
    """End what should have ended by now, and let switches do what they are for, earliest first.

    Orders end before a switch of the same time. This is no work that could be put off: an order may not trade past
    its end.
    """
    desk = core.desk
    first_ns = desk.first_ns
    if first_ns is None or first_ns > now_ns:
        return
    core.clock_ns = now_ns
    ends = [(at_ns, False, order_id) for at_ns, order_id in desk.ends.passed(now_ns)]
    switches = [(at_ns, True, account) for at_ns, account in desk.switches.passed(now_ns)]
    for _, is_switch, each in sorted(ends + switches):
        if is_switch:
            _cancel_everything(core, each)
        elif each in desk.waiting:
            rules.cancel(core, desk.waiting[each], CancelReason.EXPIRED)
        elif order := desk.live.get(each):
            rules.cancel_anywhere(core, order.account, order.market, each, CancelReason.EXPIRED)
    links.watch(core)


def set_switch(core: Core, command: CancelAllAfter) -> Rejected | None:
    """Arm, renew or disarm the dead man's switch.

    Rejects:
        flags-conflict.
    """
    if command.after_ns < 0:
        return Rejected(reason=RejectReason.FLAGS_CONFLICT)
    at_ns = command.time_ns + command.after_ns if command.after_ns else 0
    if at_ns:
        core.desk.switches.set(command.account, at_ns)
    else:
        core.desk.switches.drop(command.account)
    core.events.append(SwitchSet(account=command.account, at_ns=at_ns))
    return None


def cancel_all(
    core: Core,
    account: AccountId,
    market: MarketId,
    reason: CancelReason,
    side: Side | None,
    position_id: PositionId | None,
) -> None:
    """Take out an account's waiting orders in a market, or those of one side, of one position, oldest first.

    What has not started of the orders attached to one goes with that one, not by its own side.
    """
    desk = core.desk
    for order_id in sorted(desk.held.get((account, market), ())):
        order = links.belongs_to(core, order_id)
        if side not in (None, order.side) or position_id not in (None, order.position_id):
            continue
        if order_id in desk.waiting:
            rules.cancel(core, desk.waiting[order_id], reason)
        else:
            links.withdraw(core, order_id)


def settle(core: Core, market: MarketId) -> None:
    """Take out everybody's waiting orders in a market that ends."""
    for account in sorted(account for account, its_market in core.desk.held if its_market == market):
        cancel_all(core, account, market, CancelReason.SETTLEMENT, None, None)


def _cancel_everything(core: Core, account: AccountId) -> None:
    core.desk.switches.drop(account)
    for market in sorted(core.config.markets):
        cancel_all(core, account, market, CancelReason.SWITCH, None, None)
        core.events += core.parts.clearing.cancel_all(market, account, CancelReason.SWITCH)
    core.events.append(SwitchSet(account=account, at_ns=0))
