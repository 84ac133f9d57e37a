"""Phase 3: index -> mark -> funding sample -> funding stamp, each market through all four before the next."""

from collections.abc import Sequence

import attrs

from perpkit.engine.core import Core
from perpkit.model.event import FundingAccrued, IndexUpdated, MarkUpdated
from perpkit.model.ids import MarketId
from perpkit.model.market import MarketSpec
from perpkit.model.order import Side
from perpkit.model.price import IndexPrice, Mark, PriceState, PricingInputs, Quote
from perpkit.units import Nanos, div_half_even

DEPTH_LEVELS = 50


def reprice(core: Core, quotes: Sequence[Quote], at_ns: Nanos) -> list[MarketId]:
    """Bring every market to a stamp; return those whose mark or funding changed."""
    changed = []
    for market, spec in sorted(core.config.markets.items()):
        # One source's print beyond the listed prices must not stop the others: it is taken at the last listed price.
        mine = [_within(spec, quote) for quote in quotes if quote.market == market]
        if _reprice_market(core, market, mine, at_ns):
            changed.append(market)
    return changed


def _within(spec: MarketSpec, quote: Quote) -> Quote:
    price = spec.within(quote.price_ticks)
    return quote if price == quote.price_ticks else attrs.evolve(quote, price_ticks=price)


def _reprice_market(core: Core, market: MarketId, quotes: Sequence[Quote], at_ns: Nanos) -> bool:
    parts = core.parts
    index = parts.index_price[market].update(quotes, at_ns)
    _note_index(core, index)
    if index.price_ticks == 0:
        return False
    inputs = _inputs(core, market, index, at_ns, own_book=not parts.mark_price[market].own_book_free)
    mark = parts.mark_price[market].update(inputs)
    before = parts.clearing.marks()[market]
    moved = (before.price_ticks, before.state) != (mark.price_ticks, mark.state)
    parts.clearing.set_mark(mark)
    if moved:
        core.events.append(MarkUpdated(market=market, price_ticks=mark.price_ticks, state=mark.state))
    if mark.state is not PriceState.FROZEN and core.market_states[market].runs:
        parts.funding[market].sample(_inputs(core, market, index, at_ns, own_book=True), mark)
    return _accrue_funding(core, market, mark, at_ns) or moved


def _note_index(core: Core, index: IndexPrice) -> None:
    before = core.indexes.get(index.market)
    core.indexes[index.market] = index
    said = (index.price_ticks, index.state, [source.left_out for source in index.sources])
    if before and said == (before.price_ticks, before.state, [source.left_out for source in before.sources]):
        return
    core.events.append(
        IndexUpdated(market=index.market, price_ticks=index.price_ticks, state=index.state, sources=index.sources)
    )


def _inputs(core: Core, market: MarketId, index: IndexPrice, at_ns: Nanos, *, own_book: bool) -> PricingInputs:
    if not own_book:
        return PricingInputs(index=index, at_ns=at_ns)
    clearing, funding = core.parts.clearing, core.parts.funding[market]
    next_ns = core.funding_next_ns.get(market) or at_ns
    following_ns = funding.next_ns(next_ns) or next_ns
    return PricingInputs(
        index=index,
        at_ns=at_ns,
        funding_ppb=funding.rate_ppb(),
        to_funding_ns=max(0, next_ns - at_ns),
        interval_ns=following_ns - next_ns,
        bids=tuple(clearing.levels(market, Side.BUY, DEPTH_LEVELS)),
        asks=tuple(clearing.levels(market, Side.SELL, DEPTH_LEVELS)),
    )


def _accrue_funding(core: Core, market: MarketId, mark: Mark, at_ns: Nanos) -> bool:
    """Pay at every stamp that has passed; a frozen or halted market pays nothing."""
    funding = core.parts.funding[market]
    if market not in core.funding_next_ns:
        core.funding_next_ns[market] = funding.next_ns(at_ns)
    paid = False
    while (stamp_ns := core.funding_next_ns[market]) is not None and stamp_ns <= at_ns:
        rate = funding.close(stamp_ns)
        core.funding_next_ns[market] = funding.next_ns(stamp_ns)
        if mark.state is PriceState.FROZEN or not core.market_states[market].runs:
            rate = 0
        numerator, denominator = core.config.markets[market].ratio(mark.price_ticks)
        per_lot = div_half_even(rate * abs(numerator), denominator)
        cancelled = core.parts.clearing.accrue_funding(market, per_lot)
        core.events.append(
            FundingAccrued(
                market=market, rate_ppb=rate, per_lot_scaled=per_lot, next_ns=core.funding_next_ns[market] or 0
            )
        )
        core.events += cancelled
        paid = paid or per_lot != 0
    return paid
