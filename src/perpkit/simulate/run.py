"""One run: a price path and a population through a whole venue."""

from collections.abc import Callable

import attrs

from perpkit.audit import state_digest
from perpkit.custody import Vault
from perpkit.engine.compose import build_custody, build_journal
from perpkit.engine.config import ExchangeConfig
from perpkit.engine.exchange import Exchange
from perpkit.errors import ConfigError
from perpkit.model.command import ApproveWithdrawal, IndexQuotes, RunAudit
from perpkit.plugin import Registry
from perpkit.runtime import Pace, Recording, Venue
from perpkit.simulate.bars import PricePath, minute_quotes
from perpkit.simulate.population import MAKER_UNITS, Population, traders
from perpkit.simulate.world import ASSET, FUND, MAKERS, MARKET
from perpkit.units import MINUTE_NS, Units

PACE = Pace(audit_every_ns=10 * MINUTE_NS)
"""A minute of the simulated day lasts milliseconds: audited as often as a real day, it would be nothing but audits."""

FUND_START_UNITS: Units = 20 * 10**8


@attrs.frozen(kw_only=True)
class Run:
    """What a run left behind."""

    recording: Recording
    log: bytes
    commands: int
    state_digest: str
    client_side_units: Units
    custody_side_units: Units
    holdings_units: Units


def run(
    config: ExchangeConfig,
    path: PricePath,
    *,
    seed: int,
    trader_count: int,
    registry: Registry | None = None,
    directory: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> Run:
    """Let the population trade the path, minute by minute, and return what happened.

    `directory` is for the journal that the configuration picks. `progress` is called with minutes done and in all.

    Raises:
        ConfigError: the configuration picks a custody that cannot be fed, or a path without quotes.
    """
    registry = registry or Registry.builtin()
    exchange = Exchange.of(config, registry)
    market, asset = exchange.market(MARKET), exchange.asset(ASSET)
    vault = build_custody(config, registry)
    if not isinstance(vault, Vault):
        raise ConfigError("exchange.custody: expected vault, the only one that a simulation can pay into")
    clock = [path.bars[0][0].at_ns]
    journal = build_journal(config, registry, exchange.manifest, directory)
    venue = Venue(exchange, vault, journal, clock=lambda: clock[0], pace=PACE, evidence_directory=directory or None)
    recording = Recording(market=market.id)
    venue.subscribe(recording.note)
    minutes = len(path.bars) * (path.length_ns // MINUTE_NS)
    people = traders(seed, trader_count, minutes)
    population = Population(market, people, seed)

    for maker in MAKERS:
        vault.receive(maker, asset.id, MAKER_UNITS)
    for trader in people:
        vault.receive(trader.account, asset.id, trader.deposit_units)
    vault.receive_capital(FUND, asset.id, FUND_START_UNITS)
    venue.poll()
    venue.submit_all(population.opening())
    for minute, (at_ns, quotes) in enumerate(minute_quotes(path, market)):
        clock[0] = at_ns
        venue.submit(IndexQuotes(quotes=quotes))
        around = exchange.clearing.marks()[market.id].price_ticks
        if around:
            venue.submit_all(population.minute(minute, around))
        venue.submit_all(ApproveWithdrawal(withdrawal_id=each) for each in population.approvals(minute))
        venue.poll()
        venue.tick()
        recording.point(at_ns)
        if progress:
            progress(minute + 1, minutes)
    venue.submit(RunAudit())
    venue.reconcile()
    client_side, custody_side = exchange.clearing.conservation(asset.id)
    log = venue.log()
    venue.close()
    return Run(
        recording=recording,
        log=log,
        commands=exchange.sequence,
        state_digest=state_digest(exchange),
        client_side_units=client_side,
        custody_side_units=custody_side,
        holdings_units=vault.holdings(asset.id),
    )
