"""From the release to the mined transaction: draft, grant, signatures, the network."""

from collections.abc import Iterator, Mapping, Sequence

from perpkit.custody.desk import entries
from perpkit.custody.desk.core import Core
from perpkit.custody.desk.known import facts_of
from perpkit.custody.desk.nominating import open_draw
from perpkit.custody.desk.withdrawal import Draft, State, Withdrawal
from perpkit.custody.move import CHANGE, HOUSE
from perpkit.errors import ChainError, CustodyError
from perpkit.ports.custody.chain import Coin, Outpoint, Output
from perpkit.ports.custody.policy import Stage, Verdict
from perpkit.ports.custody.signing import Refusal
from perpkit.ports.custody.wallet import Owner, Purpose
from perpkit.units import Units


def make_draft(core: Core, withdrawal: Withdrawal, fee_rate_units: Units | None = None) -> bool:
    """Draft the transaction, out of the account's own coins and change first, of a fund's last.

    The house's coins pay the network fee of a move between own wallets, and nothing else. Every draft of a withdrawal
    spends the first coin of the first one that is not the house's, so that only one of them can ever be mined.

    Units:
        `fee_rate_units` for 1,000 virtual bytes; what the chain says when None.

    Raises:
        ChainError: the chain does not answer.
        CustodyError: the coins do not suffice.
    """
    request, wallet = withdrawal.request, core.wallets[withdrawal.request.source]
    rate = core.chain.fee_rate(core.terms.fee_blocks) if fee_rate_units is None else fee_rate_units
    free = _free(core, withdrawal)
    house = {point: coin for point, (owner, coin) in free.items() if owner.purpose is Purpose.HOUSE}
    fee_coins = list(house.values()) if withdrawal.internal else []
    if withdrawal.internal and not fee_coins:
        raise CustodyError("the house has no coins that are deep enough and free, to pay the network fee of a move")
    spend = [point for point in withdrawal.drafts[0].spends if point not in house][:1] if withdrawal.drafts else ()
    change = core.state.change_next
    wallet.watch(CHANGE, change + 1)
    if withdrawal.internal:
        wallet.watch(HOUSE, change + 1)
    shortage: CustodyError | None = None
    for coins in _choices(withdrawal, free):
        try:
            unsigned = wallet.build(
                Output(request.script, request.amount_units),
                coins,
                change=change,
                fee_rate=rate,
                spend=spend,
                fee_coins=fee_coins,
            )
        except CustodyError as error:
            shortage = error
            continue
        effects = wallet.describe(unsigned)
        core.note(
            entries.Drafted(
                withdrawal_id=request.withdrawal_id,
                unsigned=unsigned,
                spends=tuple(point for point, _ in effects.spends),
                fee_units=effects.fee_units,
                change=change,
            )
        )
        return True
    raise shortage or CustodyError("the wallet has no coins that are deep enough and free")


def _free(core: Core, withdrawal: Withdrawal) -> Mapping[Outpoint, tuple[Owner, Coin]]:
    """Return the coins that a withdrawal may spend, with whose they are."""
    view = core.view()
    own = _own(withdrawal)
    reserved = set(core.state.reserved()) - own
    return {
        point: (view.received[point].owner, coin)
        for point, coin in view.coins.items()
        if view.received[point].wallet == withdrawal.request.source and point not in reserved
    }


def _own(withdrawal: Withdrawal) -> set[Outpoint]:
    return {point for draft in withdrawal.drafts for point in draft.spends}


def _choices(withdrawal: Withdrawal, free: Mapping[Outpoint, tuple[Owner, Coin]]) -> Iterator[Sequence[Coin]]:
    """Yield ever larger sets of coins that may be spent; none is the house's."""
    own = _own(withdrawal)
    near = {Owner(Purpose.CLIENT, withdrawal.request.account), CHANGE}
    tiers = (near, {Purpose.CLIENT, Purpose.CHANGE}, {Purpose.CLIENT, Purpose.CHANGE, Purpose.FUND})
    for tier in tiers:
        yield [
            coin
            for point, (owner, coin) in free.items()
            if owner.purpose is not Purpose.HOUSE and (point in own or owner in tier or owner.purpose in tier)
        ]


def sign(core: Core, withdrawal: Withdrawal) -> bool:
    """Take the last draft one step further: granted, co-signed, finished; or draw again, when a signer will not sign.

    Raises:
        ChainError: the beacon does not answer.
        CustodyError: the HSM does not answer, or what it or a signer gave cannot be put together.
    """
    draft = withdrawal.draft
    assert draft is not None
    name = withdrawal.request.withdrawal_id
    if draft.release is None:
        return _grant(core, withdrawal, draft)
    wallet = core.wallets[draft.unsigned.wallet]
    if len([key for key in draft.partials if key in wallet.keys]) < wallet.threshold:
        return _draw_again(core, withdrawal, draft)
    if wallet.hsm_key is not None and wallet.hsm_key not in draft.partials:
        partial = core.gate.cosign(draft.release, draft.unsigned, draft.partials)
        if isinstance(partial, Refusal):
            core.wait(withdrawal, partial)
            return False
        if partial.key != wallet.hsm_key or not wallet.is_partial(draft.unsigned, partial):
            raise CustodyError("the HSM's signature is not one of its key on this draft")
        core.note(entries.PartAdded(withdrawal_id=name, partial=partial))
        return True
    raw = wallet.finalize(draft.unsigned, draft.partials)
    if not wallet.verify(raw, draft.unsigned):
        core.note(
            entries.Stopped(withdrawal_id=name, reason="the finished transaction does not do what its draft said")
        )
        return False
    core.note(entries.Signed(withdrawal_id=name, raw=raw))
    return True


def send(core: Core, withdrawal: Withdrawal) -> bool:
    """Give the network a finished transaction, once for each block, until it is mined; then it is known.

    Raises:
        ChainError: the chain does not answer, or refuses it.
    """
    name, tip = withdrawal.request.withdrawal_id, core.follower.follow()
    draft = withdrawal.finished[-1]
    if core.sent_at.get(name) != (tip, draft.unsigned.txid):
        mined = core.follower.at_depth(1).mined
        if not any(each.unsigned.txid in mined for each in withdrawal.finished):
            assert draft.raw is not None
            core.chain.broadcast(draft.raw)
        core.sent_at[name] = tip, draft.unsigned.txid
    if withdrawal.state is State.SIGNED:
        core.note(entries.Broadcast(withdrawal_id=name))
    return False


def send_again(core: Core) -> None:
    """Give the network what a reorganisation took out of the chain after it was confirmed.

    Raises:
        ChainError: the chain does not answer, or refuses it.
    """
    mined = core.follower.at_depth(1).mined
    for withdrawal in core.state.withdrawals.values():
        if withdrawal.state is State.CONFIRMED and withdrawal.mined_txid not in mined:
            send(core, withdrawal)


def _grant(core: Core, withdrawal: Withdrawal, draft: Draft) -> bool:
    drawn = draft.nomination
    if core.beacon.value(drawn.opening.round) != drawn.beacon:
        return open_draw(core, withdrawal, ())
    decision = core.policy.evaluate(withdrawal.request, facts_of(core, withdrawal, Stage.RELEASE, draft))
    if decision.verdict is not Verdict.ALLOW:
        refusal = Refusal(by="policy", rule=", ".join(decision.rules), reason="; ".join(decision.reasons))
        core.wait(withdrawal, refusal)
        return False
    release = core.gate.release(withdrawal.case(draft))
    if isinstance(release, Refusal):
        core.wait(withdrawal, release)
        return False
    core.note(entries.Granted(withdrawal_id=withdrawal.request.withdrawal_id, release=release))
    return True


def _draw_again(core: Core, withdrawal: Withdrawal, draft: Draft) -> bool:
    """Draw other signers when one of those drawn said no, or took too long."""
    if withdrawal.declined:
        return open_draw(core, withdrawal, withdrawal.declined)
    if core.clock() < max(draft.granted_ns, core.state.resumed_ns) + core.terms.signing_ns:
        return False
    wallet = core.wallets[draft.unsigned.wallet]
    signed = {each.person for each in core.keys if each.wallet == wallet.name and each.key in draft.partials}
    return open_draw(core, withdrawal, set(draft.nomination.nominated) - signed)


def replaceable(withdrawal: Withdrawal) -> bool:
    """Say whether another draft may take the place of the last one: it waits to be mined, or the gate refuses it."""
    refused = withdrawal.state is State.SIGNING and withdrawal.draft is not None and withdrawal.draft.release is None
    return refused or withdrawal.state in {State.SIGNED, State.BROADCAST}


def fault(error: CustodyError) -> Refusal:
    """Return a fault as what stands in the way for now."""
    return Refusal(by="chain" if isinstance(error, ChainError) else "gate", rule="fault", reason=str(error))
