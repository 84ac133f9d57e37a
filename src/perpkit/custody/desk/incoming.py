"""What the chain says: deposits credited and reversed, withdrawals mined, and both counts against the log."""

from perpkit.custody.desk import entries
from perpkit.custody.desk.core import Core
from perpkit.custody.desk.scan import Received, View
from perpkit.errors import ChainError
from perpkit.ports.custody.chain import BlockRef
from perpkit.ports.custody.wallet import Purpose
from perpkit.units import Units


def follow(core: Core) -> None:
    """Bring the state in step with the chain.

    Raises:
        ChainError: the chain does not answer. What was noted is noted; the rest is done the next time.
    """
    tip = core.follower.follow()
    view = core.view()
    if view.block != core.followed:
        last = core.followed or core.state.counted_block
        if last and not _is_active(core, last, tip):
            core.halt(f"the chain took back block {last.height}, deeper than {core.terms.confirmations} confirmations")
        _take_mined(core, view)
        _take_money(core, view)
        core.followed = view.block
    state = core.state
    if state.counted_block is None or core.clock() - state.counted_ns >= core.terms.reconcile_ns:
        reconcile(core, view)


def reconcile(core: Core, view: View) -> None:
    """Count twice, and compare with what the log says must be there; any difference halts the desk.

    Raises:
        ChainError: the chain does not answer; nothing is noted.
    """
    counted, recounted, expected = holdings(view), recount(core, view), core.state.expected_units
    core.note(
        entries.Counted(block=view.block, counted_units=counted, recounted_units=recounted, expected_units=expected)
    )
    if not counted == recounted == expected:
        core.halt(
            f"the blocks lead to {counted} units, the node counts {recounted}, and by the log there must be {expected}"
        )


def holdings(view: View) -> Units:
    """Return what the blocks lead to, without what is the house's own."""
    return sum(
        coin.output.amount_units
        for point, coin in view.coins.items()
        if view.received[point].owner.purpose is not Purpose.HOUSE
    )


def recount(core: Core, view: View) -> Units:
    """Return what the node itself counts after the same block.

    Raises:
        ChainError: the chain does not answer.
    """
    scripts = [
        script
        for wallet in core.wallets.values()
        for script in wallet.scripts()
        if (place := wallet.owner_of(script)) and place[0].purpose is not Purpose.HOUSE
    ]
    return sum(coin.output.amount_units for coin in core.chain.coins(scripts, view.block))


def _take_money(core: Core, view: View) -> None:
    for point, deposit in list(core.state.deposits.items()):
        if point not in view.received:
            core.note(entries.Reversed(deposit_id=deposit.number))
            core.halt(f"the chain took back deposit {deposit.number}")
        elif 0 < deposit.restores_units <= -_missing_units(core, view):
            # It is credited anew, since nothing is missing.
            core.note(entries.Reversed(deposit_id=deposit.number))
            core.halt(f"the chain gave back what deposit {deposit.number} had made good")
    for received in _new_deposits(core, view):
        # The house makes good what is missing before it pays in anything.
        is_capital = received.owner.purpose is Purpose.FUND
        restores_units = max(0, min(received.amount_units, _missing_units(core, view))) if is_capital else 0
        core.note(
            entries.Credited(
                owner=received.owner,
                index=received.index,
                outpoint=received.outpoint,
                amount_units=received.amount_units,
                block=received.block,
                restores_units=restores_units,
            )
        )


def _new_deposits(core: Core, view: View) -> list[Received]:
    return [each for point, each in view.received.items() if point not in core.state.deposits and _is_deposit(each)]


def _missing_units(core: Core, view: View) -> Units:
    """Return what will be missing once all that came in is credited; below zero: what is too much."""
    credited_next = sum(each.amount_units for each in _new_deposits(core, view))
    return core.state.expected_units + credited_next - holdings(view)


def _take_mined(core: Core, view: View) -> None:
    for withdrawal in list(core.state.open.values()):
        for draft in withdrawal.finished:
            txid = draft.unsigned.txid
            if txid in view.mined:
                core.note(
                    entries.Confirmed(withdrawal_id=withdrawal.request.withdrawal_id, txid=txid, block=view.mined[txid])
                )
                break


def _is_deposit(received: Received) -> bool:
    """Whoever sends to a client's or a fund's branch; on the branch of change, what we have not sent ourselves."""
    purpose = received.owner.purpose
    return purpose in {Purpose.CLIENT, Purpose.FUND} or (purpose is Purpose.CHANGE and not received.own)


def _is_active(core: Core, block: BlockRef, tip: BlockRef) -> bool:
    try:
        return block.height <= tip.height and core.chain.block(block.height).ref == block
    except ChainError:
        if core.chain.tip() == tip:
            return False
        raise
