"""Phase 7: what the house took over. Worked on the book, backed by the fund, deleveraged past that, settled at last."""

from collections.abc import Sequence

from perpkit.engine.core import Core, work_in
from perpkit.errors import PluginError
from perpkit.model.event import (
    CancelReason,
    Cause,
    Deleveraged,
    DeleveragingDone,
    FundReserved,
    LossSocialized,
    MarketStateChanged,
    PositionChanged,
)
from perpkit.model.ids import HOUSE, AccountId, AssetId, MarketId
from perpkit.model.ledger import Chart, Posting, insurance, of_market, wallet
from perpkit.model.market import MarketState
from perpkit.model.order import Side
from perpkit.model.position import Balances, Closing, Exposure, Winner
from perpkit.model.price import PriceState
from perpkit.ports.deleveraging import DeleveragingCase, Share
from perpkit.units import Lots, Ticks, Units, apportion, div_ceil


def work_inventory(core: Core) -> int:
    """Bring every inventory within what its fund may pay; return the work done. Nothing to do when there is none."""
    if not core.has_inventory:
        return 0
    done, left = 0, False
    for asset in sorted(core.config.assets):
        for exposure in core.parts.clearing.pool(HOUSE, asset).exposures:
            done += _work_one(core, asset, exposure)
        left = left or bool(core.parts.clearing.pool(HOUSE, asset).exposures)
    core.has_inventory = left
    return done


def take_over_price(core: Core, exposure: Exposure) -> Ticks:
    """Return the last price, toward loss, at which inventory closes without one.

    Rounds:
        Toward gain, to the tick.
    """
    market = core.config.markets[exposure.market]
    size, cost = exposure.size_lots, exposure.cost_units
    price = market.last_price(size, lambda ticks: market.value(size, ticks) >= cost)
    if price is None:
        return market.price_min_ticks if size > 0 else market.price_max_ticks
    return price


def _work_one(core: Core, asset: AssetId, exposure: Exposure) -> int:
    market, done = exposure.market, 0
    state = core.market_states[market]
    if state.runs and exposure.size_lots:
        events = core.parts.clearing.close_on_book(
            HOUSE, market, exposure.position_id, abs(exposure.size_lots), take_over_price(core, exposure), 0,
            Cause.INVENTORY,
        )  # fmt: skip
        # A house order that finds nobody is no news.
        if any(isinstance(event, PositionChanged) for event in events):
            core.events += events
            done += work_in(list(events))
    _sweep(core, asset, market)
    unpaid = _draw_unpaid(core, exposure)
    rest = _inventory(core, asset, exposure)
    frozen = core.parts.clearing.marks()[market].state is PriceState.FROZEN
    if rest is not None and rest.size_lots and state.runs and not frozen:
        done += _back_or_deleverage(core, asset, rest)
        unpaid = _draw_unpaid(core, exposure)
    if unpaid and state is not MarketState.SETTLED and not frozen:
        settle(core, market)
    _reserve(core, asset, market)
    return done


def _inventory(core: Core, asset: AssetId, like: Exposure) -> Exposure | None:
    """Read an inventory position again."""
    key = (like.market, like.position_id)
    pool = core.parts.clearing.pool(HOUSE, asset)
    return next((e for e in pool.exposures if (e.market, e.position_id) == key), None)


def _sweep(core: Core, asset: AssetId, market: MarketId) -> None:
    """Give what inventory realised, and fees and margins that came with it, to the fund."""
    purse = of_market(Chart.INVENTORY, asset, market)
    if amount := core.parts.clearing.balance(purse):
        core.to_fund(purse, core.loss(market, amount, Cause.INVENTORY))


def _draw_unpaid(core: Core, like: Exposure) -> Units:
    """Let the fund pay what inventory realised and could not pay; return what it could not pay either."""
    asset = core.config.markets[like.market].settlement
    inventory = _inventory(core, asset, like)
    if inventory is None or not inventory.unpaid_units:
        return 0
    loss = core.loss(like.market, inventory.unpaid_units, Cause.INVENTORY)
    ccp = of_market(Chart.CCP, asset, like.market)
    paid = 0
    for move in core.parts.insurance.draw(loss, core.fund_balances(asset)):
        core.post(Posting(insurance(move.fund, asset), ccp, move.amount_units))
        core.note_fund(move.fund, loss, -move.amount_units)
        paid += move.amount_units
    return loss.amount_units - paid


def unrealized(core: Core, exposure: Exposure) -> Units:
    """Return what inventory would gain at the mark, funding included; negative: lose."""
    mark = core.parts.clearing.marks()[exposure.market].price_ticks
    worth = core.config.markets[exposure.market].value(exposure.size_lots, mark)
    return worth - exposure.cost_units - exposure.unpaid_units - exposure.funding_due_units


def market_loss(core: Core, asset: AssetId, market: MarketId) -> Units:
    """Return what the house's inventory in a market would lose at the mark, long and short taken together."""
    held = core.parts.clearing.pool(HOUSE, asset).exposures
    return max(0, -sum(unrealized(core, each) for each in held if each.market == market))


def _back_or_deleverage(core: Core, asset: AssetId, exposure: Exposure) -> int:
    """Deleverage what of the inventory's loss the fund may not pay, then settle the market if that does not do."""
    market, own = exposure.market, -unrealized(core, exposure)
    missing = _missing(core, asset, market)
    if missing <= 0 or own <= 0:
        return 0
    lots = min(abs(exposure.size_lots), div_ceil(abs(exposure.size_lots) * missing, own))
    done = _deleverage(core, exposure, lots, missing)
    if _missing(core, asset, market) > 0 and _last_loser(core, asset, exposure):
        settle(core, market)
    return done


def _last_loser(core: Core, asset: AssetId, exposure: Exposure) -> bool:
    """Whether no later inventory of the market loses, so that nothing is left to deleverage."""
    later = [e for e in core.parts.clearing.pool(HOUSE, asset).exposures if e.position_id > exposure.position_id]
    return not any(e.market == exposure.market and unrealized(core, e) < 0 for e in later)


def _missing(core: Core, asset: AssetId, market: MarketId) -> Units:
    """Return what of a market's loss the fund may not pay, after what stands behind the markets before it."""
    before = sum(market_loss(core, asset, each) for each in sorted(core.config.markets) if each < market)
    loss = market_loss(core, asset, market)
    claim = core.loss(market, loss + before, Cause.INVENTORY)
    payable = core.parts.insurance.payable(claim, core.fund_balances(asset))
    return loss - max(0, payable - before)


def _deleverage(core: Core, exposure: Exposure, lots: Lots, severity: Units) -> int:
    """Close winners against inventory at the take-over price."""
    market, price = exposure.market, take_over_price(core, exposure)
    against = Side.SELL if exposure.size_lots > 0 else Side.BUY
    winners = core.parts.clearing.winners(market, against, price)
    case = DeleveragingCase(market=market, size_lots=lots, price_ticks=price, severity_units=severity, winners=winners)
    shares = core.parts.deleveraging.shares(case)
    _check_shares(case, shares)
    placed = sum(share.size_lots for share in shares)
    haircut = 0
    for share in shares:
        haircut += _tell_share(core, market, price, against, share)
    if placed:
        closings = [
            Closing(account=s.account, position_id=s.position_id, change_lots=-against * s.size_lots) for s in shares
        ]
        house = Closing(account=HOUSE, position_id=exposure.position_id, change_lots=against * placed)
        core.events += core.parts.clearing.cross_off_book(market, price, [*closings, house], Cause.DELEVERAGING)
        _sweep(core, core.config.markets[market].settlement, market)
    core.events.append(
        DeleveragingDone(
            market=market,
            size_lots=lots,
            unplaced_lots=lots - placed,
            severity_units=severity,
            haircut_units=haircut,
            overshoot_units=max(0, haircut - severity),
        )
    )
    return len(shares)


def _tell_share(core: Core, market: MarketId, price: Ticks, side: Side, share: Share) -> Units:
    """Tell what a winner gives up against the mark; return it."""
    spec, mark = core.config.markets[market], core.parts.clearing.marks()[market].price_ticks
    held = side * share.size_lots
    haircut = spec.value(held, mark) - spec.value(held, price)
    core.events.append(
        Deleveraged(
            market=market,
            account=share.account,
            position_id=share.position_id,
            size_lots=held,
            price_ticks=price,
            haircut_units=haircut,
        )
    )
    return haircut


def _check_shares(case: DeleveragingCase, shares: Sequence[Share]) -> None:
    bearable: dict[tuple[AccountId, int], Winner] = {(w.account, w.position_id): w for w in case.winners}
    for share in shares:
        winner = bearable.pop((share.account, share.position_id), None)
        if winner is None or not 0 < share.size_lots <= winner.bearable_lots:
            raise PluginError(f"deleveraging: expected each winner at most once and within what it bears, was {share}")
    if sum(share.size_lots for share in shares) > case.size_lots:
        raise PluginError(f"deleveraging: expected at most {case.size_lots} lots in all, was {shares}")


def _reserve(core: Core, asset: AssetId, market: MarketId) -> None:
    """Tell how much of the fund stands behind a market's inventory now."""
    reserved = market_loss(core, asset, market)
    if reserved != core.reserved_units.get(market, 0):
        core.reserved_units[market] = reserved
        core.events.append(FundReserved(asset=asset, market=market, reserved_units=reserved))


def settle(core: Core, market: MarketId) -> None:
    """The last resort: close every position of a market at the mark and share the loss that nobody can pay."""
    clearing, asset = core.parts.clearing, core.config.markets[market].settlement
    _set_state(core, market, MarketState.SETTLING)
    core.events += clearing.cancel_all(market, None, CancelReason.SETTLEMENT)
    mark = clearing.marks()[market].price_ticks
    events = list(clearing.cross_off_book(market, mark, clearing.holders(market), Cause.SETTLEMENT))
    core.events += events
    _sweep(core, asset, market)
    for exposure in clearing.pool(HOUSE, asset).exposures:
        if exposure.market == market:
            _draw_unpaid(core, exposure)
    profits: dict[AccountId, Units] = {}
    for event in events:
        if isinstance(event, PositionChanged) and event.account != HOUSE:
            profits[event.account] = profits.get(event.account, 0) + event.realized_units
    _socialize(core, market, {account: max(0, profit) for account, profit in profits.items()})
    _socialize(core, market, None)
    _set_state(core, market, MarketState.SETTLED)


def _socialize(core: Core, market: MarketId, profits: Balances | None) -> None:
    """Cut the unpaid loss pro rata from profits, or (None) from every positive equity of the asset.

    Rounds:
        Exactly the loss in all: parts down, then one more unit to the largest remainders.
    """
    clearing, asset = core.parts.clearing, core.config.markets[market].settlement
    unpaid = sum(e.unpaid_units for e in clearing.pool(HOUSE, asset).exposures if e.market == market)
    bases: dict[AccountId, Units] = {}
    for account in clearing.accounts() if profits is None else sorted(profits):
        equity = clearing.need(account, asset).equity_units
        bases[account] = max(0, equity if profits is None else min(profits[account], equity))
    total = sum(bases.values())
    if not unpaid or not total:
        return
    ccp = of_market(Chart.CCP, asset, market)
    for account, cut in zip(bases, apportion(min(unpaid, total), list(bases.values())), strict=True):
        if cut:
            # Equity counts funding that is due: booked, it is cash.
            core.events += clearing.settle_funding((account, asset, 0, 0))
            core.post(Posting(wallet(account, asset), ccp, cut))
            core.events.append(LossSocialized(market=market, account=account, asset=asset, amount_units=cut))


def _set_state(core: Core, market: MarketId, state: MarketState) -> None:
    core.market_states[market] = state
    core.events.append(MarketStateChanged(market=market, state=state))
