"""Phase 7: what the house took over. Worked on the book, backed by the fund, deleveraged past that, settled at last."""

from collections import Counter
from collections.abc import Sequence

from perpkit.engine import triggers
from perpkit.engine.core import Core, work_in
from perpkit.model.cause import CancelReason, Cause
from perpkit.model.event import (
    Deleveraged,
    DeleveragingDone,
    FundReserved,
    LossSocialized,
    PositionChanged,
)
from perpkit.model.ids import HOUSE, AccountId, MarketId
from perpkit.model.ledger import Chart, Posting, insurance, of_market, wallet
from perpkit.model.market import MarketState
from perpkit.model.order import Side
from perpkit.model.position import Balances, Closing, Exposure
from perpkit.model.price import PriceState
from perpkit.ports.deleveraging import DeleveragingCase, Share
from perpkit.units import Lots, Ticks, Units, apportion, div_ceil


def work_inventory(core: Core) -> int:
    """Bring every inventory within what its fund may pay; return the work done. Nothing to do when there is none."""
    if not core.inventory_due:
        return 0
    inventory: dict[MarketId, list[Exposure]] = {market: [] for market in sorted(core.config.markets)}
    for asset in core.config.assets:
        for exposure in core.parts.clearing.pool(HOUSE, asset).exposures:
            inventory[exposure.market].append(exposure)
    # What is done for one market leaves the inventory of all others as it is.
    done = sum([_work_market(core, market, exposures) for market, exposures in inventory.items()])
    core.inventory_due = any(core.parts.clearing.pool(HOUSE, asset).exposures for asset in core.config.assets)
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


def held(core: Core, market: MarketId) -> Sequence[Exposure]:
    """Return the house's long and short inventory of a market."""
    pool = core.parts.clearing.pool(HOUSE, core.config.markets[market].settlement)
    return [exposure for exposure in pool.exposures if exposure.market == market]


def _work_market(core: Core, market: MarketId, exposures: Sequence[Exposure]) -> int:
    """Sell what the book takes, settle what that realised, and cover or place what is left."""
    runs = core.market_states[market].runs
    frozen = core.parts.clearing.marks()[market].state is PriceState.FROZEN
    done = sum([_close_on_book(core, exposure) for exposure in exposures]) if runs else 0
    _bank(core, market)
    unpaid = _pay(core, market) if exposures else 0
    loss = market_loss(core, market) if exposures else 0
    if runs and not frozen and (unpaid or _missing(core, market, loss) > 0):
        for exposure in held(core, market):
            done += _deleverage_excess(core, exposure)
        _bank(core, market)
        if _pay(core, market) or _missing(core, market, market_loss(core, market)) > 0:
            settle(core, market)
        loss = market_loss(core, market)
    _reserve(core, market, loss)
    return done


def _close_on_book(core: Core, exposure: Exposure) -> int:
    """Send what is held at its take-over price or better."""
    if not exposure.size_lots:
        return 0
    price = take_over_price(core, exposure)
    events = core.parts.clearing.close_on_book(
        HOUSE,
        exposure.market,
        exposure.position_id,
        abs(exposure.size_lots),
        price,
        0,
        Cause.INVENTORY,
    )
    # A house order that finds nobody is no news.
    if not any(isinstance(event, PositionChanged) for event in events):
        return 0
    core.events += events
    return work_in(list(events))


def _bank(core: Core, market: MarketId) -> None:
    """Give the fund what inventory gained."""
    purse = of_market(Chart.INVENTORY, core.config.markets[market].settlement, market)
    if amount := core.parts.clearing.balance(purse):
        core.to_fund(purse, core.loss(market, amount, Cause.INVENTORY))


def _pay(core: Core, market: MarketId) -> Units:
    """Let the fund pay what inventory owes; return what it may not pay."""
    asset = core.config.markets[market].settlement
    owed = sum(exposure.unpaid_units for exposure in held(core, market))
    if not owed:
        return 0
    drawn = _payable(core, market, owed)
    if drawn > 0:
        loss = core.loss(market, drawn, Cause.INVENTORY)
        for move in core.parts.insurance.draw(loss, core.fund_balances(asset)):
            core.post(
                Posting(
                    insurance(move.fund, asset),
                    of_market(Chart.CCP, asset, market),
                    move.amount_units,
                )
            )
            core.note_fund(move.fund, loss, -move.amount_units)
            owed -= move.amount_units
    return owed


def unrealized(core: Core, exposure: Exposure) -> Units:
    """Return what inventory would gain at the mark, funding included; negative: lose."""
    mark = core.parts.clearing.marks()[exposure.market].price_ticks
    worth = core.config.markets[exposure.market].value(exposure.size_lots, mark)
    return worth - exposure.cost_units - exposure.unpaid_units - exposure.funding_due_units


def market_loss(core: Core, market: MarketId) -> Units:
    """Return what the house's inventory in a market would lose at the mark, long and short taken together."""
    return max(0, -sum(unrealized(core, exposure) for exposure in held(core, market)))


def _payable(core: Core, market: MarketId, amount_units: Units) -> Units:
    """Return what the fund may pay of an amount after what stands behind the markets before this one."""
    asset = core.config.markets[market].settlement
    gains: Counter[MarketId] = Counter()
    for exposure in core.parts.clearing.pool(HOUSE, asset).exposures:
        if exposure.market < market:
            gains[exposure.market] += unrealized(core, exposure)
    before = sum(max(0, -gain) for gain in gains.values())
    # What stands behind the markets before this one is not for spending.
    left = {fund: max(0, units - before) for fund, units in core.fund_balances(asset).items()}
    return core.parts.insurance.payable(core.loss(market, amount_units, Cause.INVENTORY), left)


def _missing(core: Core, market: MarketId, loss: Units) -> Units:
    """Return what of a market's unrealised loss the fund may not pay."""
    return loss - _payable(core, market, loss) if loss else 0


def _deleverage_excess(core: Core, exposure: Exposure) -> int:
    """Deleverage as much of a losing inventory as the fund may not pay for."""
    own = -unrealized(core, exposure)
    if own <= 0 or not exposure.size_lots:
        return 0
    missing = _missing(core, exposure.market, market_loss(core, exposure.market))
    if missing <= 0:
        return 0
    lots = min(abs(exposure.size_lots), div_ceil(abs(exposure.size_lots) * missing, own))
    return _deleverage(core, exposure, lots, missing)


def _deleverage(core: Core, exposure: Exposure, lots: Lots, severity: Units) -> int:
    """Close winners against inventory at the take-over price."""
    market, price = exposure.market, take_over_price(core, exposure)
    against = Side.SELL if exposure.size_lots > 0 else Side.BUY
    winners = core.parts.clearing.winners(market, against, price)
    case = DeleveragingCase(
        market=market,
        size_lots=lots,
        price_ticks=price,
        severity_units=severity,
        winners=winners,
    )
    shares = core.parts.deleveraging.shares(case)
    placed = sum(share.size_lots for share in shares)
    haircut = 0
    for share in shares:
        haircut += _tell_share(core, market, price, against, share)
    if placed:
        closings = [
            Closing(
                account=s.account,
                position_id=s.position_id,
                change_lots=-against * s.size_lots,
            )
            for s in shares
        ]
        house = Closing(
            account=HOUSE,
            position_id=exposure.position_id,
            change_lots=against * placed,
        )
        core.events += core.parts.clearing.cross_off_book(market, price, [*closings, house], Cause.DELEVERAGING)
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
    spec, mark = (
        core.config.markets[market],
        core.parts.clearing.marks()[market].price_ticks,
    )
    lots = side * share.size_lots
    haircut = spec.value(lots, mark) - spec.value(lots, price)
    core.events.append(
        Deleveraged(
            market=market,
            account=share.account,
            position_id=share.position_id,
            size_lots=lots,
            price_ticks=price,
            haircut_units=haircut,
        )
    )
    return haircut


def _reserve(core: Core, market: MarketId, reserved: Units) -> None:
    """Tell how much of the fund stands behind a market's inventory now."""
    if reserved != core.reserved_units.get(market, 0):
        core.reserved_units[market] = reserved
        asset = core.config.markets[market].settlement
        core.events.append(FundReserved(asset=asset, market=market, reserved_units=reserved))


def settle(core: Core, market: MarketId) -> None:
    """The last resort: close every position of a market at the mark and share the loss that nobody can pay."""
    clearing = core.parts.clearing
    core.set_market_state(market, MarketState.SETTLING)
    triggers.settle(core, market)
    core.events += clearing.cancel_all(market, None, CancelReason.SETTLEMENT)
    mark = clearing.marks()[market].price_ticks
    events = list(clearing.cross_off_book(market, mark, clearing.holders(market), Cause.SETTLEMENT))
    core.events += events
    _bank(core, market)
    _pay(core, market)
    profits: dict[AccountId, Units] = {}
    for event in events:
        if isinstance(event, PositionChanged) and event.account != HOUSE:
            profits[event.account] = profits.get(event.account, 0) + event.realized_units
    _socialize(core, market, {account: max(0, profit) for account, profit in profits.items()})
    _socialize(core, market, None)
    core.set_market_state(market, MarketState.SETTLED)


def _socialize(core: Core, market: MarketId, profits: Balances | None) -> None:
    """Cut the unpaid loss pro rata from profits, or (None) from every positive equity of the asset.

    Rounds:
        Exactly the loss in all: parts down, then one more unit to the largest remainders.
    """
    clearing, asset = core.parts.clearing, core.config.markets[market].settlement
    unpaid = sum(exposure.unpaid_units for exposure in held(core, market))
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
