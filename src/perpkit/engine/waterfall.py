"""Phases 4 and 6: who is in breach, locking them, and the liquidation of the list, one step at a time."""

from collections.abc import Sequence

import attrs

from perpkit.engine.core import Core, Liquidation, work_in
from perpkit.engine.transfers import recall
from perpkit.model.cause import CancelReason, Cause
from perpkit.model.event import Event, Filled, LiquidationEnded, LiquidationStarted, TakenOver
from perpkit.model.ids import HOUSE, INVENTORY_LONG, INVENTORY_SHORT, MarketId
from perpkit.model.ledger import Chart, of_market
from perpkit.model.position import Closing, Exposure, Pool, PoolKey, Thresholds
from perpkit.ports.liquidation import CancelOrders, Case, CloseOnBook, Settled, Step, TakeOver


def lock_breaches(core: Core, moved: Sequence[MarketId], handled: set[PoolKey]) -> None:
    """Find the pools in breach before anything trades, and lock them.

    Their own orders in the affected markets are cancelled and the withdrawals they hold are recalled, which may
    cure them; they stay in the queue until the policy has been asked.
    """
    waiting = {each.pool for each in core.queue}
    for breach in core.parts.clearing.breached(core.stopped()):
        if breach.key in waiting or breach.key in handled:
            continue
        handled.add(breach.key)
        core.queue.append(Liquidation(breach.key))
        core.events.append(
            LiquidationStarted(
                market=breach.market,
                account=breach.account,
                asset=breach.asset,
                position_id=breach.position_id,
                equity_units=breach.equity_units,
                maintenance_units=breach.maintenance_units,
            )
        )
        for market in [breach.market] if breach.isolated else moved:
            if core.config.markets[market].settlement == breach.asset:
                core.events += core.parts.clearing.cancel_all(market, breach.account, CancelReason.LOCKED)
        if not breach.isolated:
            recall(core, breach.account, breach.asset)


def liquidate(core: Core, budget: int) -> int:
    """Work the queue from its head, asking the policy again after each step; return the work done.

    Raises:
        PartFaultError: the policy asks for steps that change nothing.
    """
    done = 0
    while core.queue and done < budget:
        entry = core.queue[0]
        case = _case(core, entry)
        step = core.parts.liquidation.next_step(case) if case else Settled()
        if case is None or isinstance(step, Settled):
            core.queue.popleft()
            account, asset, market, position_id = entry.pool
            core.events.append(
                LiquidationEnded(
                    market=market, account=account, asset=asset, position_id=position_id, steps=entry.steps
                )
            )
            continue
        events = _take(core, case, step)
        fruitless = isinstance(step, CloseOnBook) and not any(isinstance(e, Filled) for e in events)
        if not events or (fruitless and entry.stalled):
            raise core.parts.liquidation.guard.unexpected("a step that changes something", step)
        entry.steps += 1
        entry.stalled = fruitless
        core.events += events
        done += 1 + work_in(list(events))
    return done


def _case(core: Core, entry: Liquidation) -> Case | None:
    """Describe a pool to the policy; None when it is no longer in breach or nothing of it may be touched."""
    account, asset, _, _ = entry.pool
    clearing, stopped = core.parts.clearing, core.stopped()
    breach = clearing.breach(entry.pool, stopped)
    if breach is None:
        return None
    pool = clearing.pool(account, asset)
    touchable = tuple(e for e in pool.exposures if _touchable(e, entry.pool) and e.market not in stopped)
    if not touchable:
        return None
    return Case(
        breach=breach,
        pool=attrs.evolve(pool, exposures=touchable),
        need=clearing.need(account, asset),
        thresholds={(e.market, e.position_id): _thresholds(core, pool, e) for e in touchable},
        marks=clearing.marks(),
        steps_done=entry.steps,
        stalled=entry.stalled,
    )


def _touchable(exposure: Exposure, key: PoolKey) -> bool:
    _, _, market, position_id = key
    if not exposure.size_lots and not exposure.unpaid_units:
        return False
    if market:
        return (exposure.market, exposure.position_id) == (market, position_id)
    return exposure.isolated_units is None


def _thresholds(core: Core, pool: Pool, exposure: Exposure) -> Thresholds:
    return core.parts.clearing.thresholds(pool.account, exposure.market, exposure.position_id)


def _take(core: Core, case: Case, step: Step) -> Sequence[Event]:
    """Do one step; its guard has seen to it that the pool can bear it."""
    clearing, account = core.parts.clearing, case.pool.account
    if isinstance(step, CancelOrders):
        return clearing.cancel_all(step.market, account, CancelReason.LIQUIDATION)
    if isinstance(step, Settled):
        return ()
    exposure = next(e for e in case.pool.exposures if (e.market, e.position_id) == (step.market, step.position_id))
    if isinstance(step, CloseOnBook):
        core.inventory_due = True  # the fee of a forced close waits there for the fund
        return clearing.close_on_book(
            account, step.market, step.position_id, step.size_lots, step.limit_ticks, 0, Cause.LIQUIDATION
        )
    return _take_over(core, case, exposure, step)


def _take_over(core: Core, case: Case, exposure: Exposure, step: TakeOver) -> Sequence[Event]:
    clearing, market = core.parts.clearing, step.market
    held = INVENTORY_LONG if exposure.size_lots >= 0 else INVENTORY_SHORT
    inventory = of_market(Chart.INVENTORY, case.pool.asset, market)
    before = clearing.balance(inventory)
    closings = [
        Closing(account=case.pool.account, position_id=step.position_id, change_lots=-exposure.size_lots),
        Closing(account=HOUSE, position_id=held, change_lots=exposure.size_lots),
    ]
    events = list(clearing.cross_off_book(market, step.price_ticks, closings, Cause.TAKE_OVER))
    core.inventory_due = True
    taken = TakenOver(
        market=market,
        account=case.pool.account,
        position_id=step.position_id,
        size_lots=exposure.size_lots,
        price_ticks=step.price_ticks,
        margin_units=clearing.balance(inventory) - before,
    )
    return [taken, *events]
