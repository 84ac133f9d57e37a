"""Configuration: TOML or plain tables become typed values, and every number exact integers."""

import re
import tomllib
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any, Self, TypeAlias

import attrs
from cattrs.gen import make_dict_structure_fn, override

from perpkit.engine.structure import converter, digest, plain
from perpkit.errors import ConfigError, UnitsError
from perpkit.model.ids import AssetId, MarketId
from perpkit.model.market import SUM_BOUND, Bracket, ContractKind, MarketSpec, ValueRounding
from perpkit.plugin import PORTS
from perpkit.plugin.hint import did_you_mean
from perpkit.plugin.structure import structure
from perpkit.ports import AssetSpec, Limits, MarketContext
from perpkit.units import SCALE, Lots, Ppb, Scale, Ticks, Units, ppb

Number: TypeAlias = Any  # text, or a whole number: `perpkit.units` judges it


@attrs.frozen
class Selection:
    """A provider by name, with its options. `where` says where in the configuration it stands."""

    provider: str
    options: Mapping[str, Any] = attrs.field(factory=dict[str, Any])
    where: str = attrs.field(default="", eq=False, repr=False)


@attrs.frozen(kw_only=True)
class _ExchangeTable:
    """The keys of [exchange], one a port; what a configuration leaves out."""

    clearing: Selection = Selection("reference")
    margin: Selection = Selection("tiered")
    mark_price: Selection = Selection("index")
    index_price: Selection = Selection("weighted")
    funding: Selection = Selection("premium")
    fees: Selection = Selection("maker-taker")
    book: Selection = Selection("price-time")
    order_checks: tuple[Selection, ...] = ()
    liquidation: Selection = Selection("stepped")
    deleveraging: Selection = Selection("ranked")
    insurance: Selection = Selection("pool")
    custody: Selection = Selection("vault")
    journal: Selection = Selection("memory")


@attrs.frozen(kw_only=True)
class _AssetTable:
    id: int
    unit: Number
    deposits_max: Number


@attrs.frozen(kw_only=True)
class _BracketTable:
    up_to: Number
    initial: Number
    maintenance: Number


@attrs.frozen(kw_only=True)
class _MarketTable:
    id: int
    kind: ContractKind
    settlement: str
    tick: Number
    lot: Number
    multiplier: Number = "1"
    value_rounding: ValueRounding = ValueRounding.FILL
    price_min: Number
    price_max: Number
    order_max: Number
    open_interest_max: Number
    orders_max: int = 200
    market_slippage: Number = "5%"
    liquidation_fee: Number = "0"
    withdrawal_stress: Number = "1%"
    trigger_band: Number = "5%"
    brackets: tuple[_BracketTable, ...]
    book: Selection | None = None
    mark_price: Selection | None = None
    index_price: Selection | None = None
    funding: Selection | None = None
    fees: Selection | None = None
    order_checks: tuple[Selection, ...] | None = None


@attrs.frozen(kw_only=True)
class _Tables:
    exchange: _ExchangeTable = attrs.field(factory=_ExchangeTable)
    limits: Limits = attrs.field(factory=Limits)
    assets: dict[str, _AssetTable]
    markets: dict[str, _MarketTable]


_selection_table = make_dict_structure_fn(Selection, converter, where=override(omit=True))


@converter.register_structure_hook
def _selection(value: object, into: type[Selection]) -> Selection:
    if isinstance(value, str):
        return Selection(value)
    if not isinstance(value, Mapping):
        raise TypeError(f"expected a name or {{ provider = NAME, options = {{ … }} }}, was {value!r}")
    return _selection_table(value, into)


@attrs.frozen(kw_only=True, eq=False)
class ExchangeConfig:
    """What to build an exchange from. `source` is what it was made from, to be written down beside a run.

    Markets and assets stand in the order of their ids.

    Example:
        >>> text = '''
        ... [assets.USD]
        ... id = 1
        ... unit = "0.01"
        ... deposits_max = "1000000"
        ... [markets.BTCUSD]
        ... id = 1
        ... kind = "linear"
        ... settlement = "USD"
        ... tick = "0.5"
        ... lot = "0.001"
        ... price_min = "500"
        ... price_max = "100000"
        ... order_max = "100"
        ... open_interest_max = "10000"
        ... brackets = [{ up_to = "1000000", initial = "1%", maintenance = "0.5%" }]
        ... '''
        >>> config = ExchangeConfig.from_text(text)
        >>> config.markets[1].value(size_lots=1, price_ticks=100_000), config.selection("book").provider
        (5000, 'price-time')
    """

    source: Mapping[str, object] = attrs.field(repr=False)
    markets: Mapping[MarketId, MarketSpec]
    assets: Mapping[AssetId, AssetSpec]
    limits: Limits
    _selected: Mapping[tuple[MarketId | None, str], Selection] = attrs.field(alias="selected", repr=False)
    _checks: Mapping[MarketId, tuple[Selection, ...]] = attrs.field(alias="checks", repr=False)

    @classmethod
    def from_toml(cls, path: str | Path) -> Self:
        """Read a TOML file.

        Raises:
            ConfigError: it cannot be read or used; the message starts with the path.
        """
        try:
            text = Path(path).read_text("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigError(f"{path}: expected a readable TOML file in UTF-8: {error}") from error
        try:
            return cls.from_text(text)
        except ConfigError as error:
            raise ConfigError(f"{path}: {error}") from error

    @classmethod
    def from_text(cls, text: str) -> Self:
        """Read TOML text.

        Raises:
            ConfigError: it is not TOML, or not a configuration; the message starts with the place.
        """
        try:
            tables = tomllib.loads(text)
        except (ValueError, RecursionError) as error:
            raise ConfigError(_syntax(error, text)) from error
        return cls.from_dict(tables)

    @classmethod
    def from_dict(cls, tables: Mapping[str, object]) -> Self:
        """Read the tables that TOML would give.

        Raises:
            ConfigError: a key is missing, unknown or out of bounds; the message starts with the key's path.
        """
        source = plain(tables, "")
        typed = structure(converter, source, _Tables, whole="configuration")
        try:
            assets = {name: _asset(name, table) for name, table in _by_id("assets", typed.assets)}
            markets = {name: _market(name, table, assets) for name, table in _by_id("markets", typed.markets)}
        except UnitsError as error:
            raise ConfigError(str(error)) from error
        return cls(
            source=source,
            markets={market.id: market for market in markets.values()},
            assets={asset.id: asset for asset in assets.values()},
            limits=_checked_limits(typed.limits),
            selected=_selected(typed),
            checks=_order_checks(typed),
        )

    def selection(self, port_key: str, market_id: MarketId | None = None) -> Selection:
        """Return which provider fills a port: a market's own choice, else the exchange's.

        Raises:
            KeyError: there is no such port, or it takes a list (see `order_checks`).
        """
        own = self._selected.get((market_id, port_key))
        return own or self._selected[None, port_key]

    def order_checks(self, market_id: MarketId) -> tuple[Selection, ...]:
        """Return the pre-trade rules of a market, in the order in which they are asked."""
        return self._checks[market_id]

    def config_digest(self) -> str:
        """Return the SHA-256 of the source: equal for tables that differ only in layout and order of keys."""
        return digest(self.source)


def _syntax(error: Exception, text: str) -> str:
    # Python 3.11 gives the place in words only, and none for what ends too early.
    told = re.fullmatch(r"(.*) \(at (.*)\)", str(error), re.DOTALL)
    what, place = told.groups() if told else (str(error), "end of document")
    if place == "end of document":
        place = f"line {text.count(chr(10)) + 1}, column {len(text) - text.rfind(chr(10))}"
    return f"{place}: expected TOML: {what}"


def _by_id(kind: str, tables: Mapping[str, Any]) -> Iterable[tuple[str, Any]]:
    owners: dict[int, str] = {}
    for name, table in tables.items():
        if not 0 < table.id < 1 << 32:
            raise ConfigError(f"{kind}.{name}.id: expected a positive int below 2^32, was {table.id}")
        if table.id in owners:
            taken = f"{table.id}, which {kind}.{owners[table.id]} has"
            raise ConfigError(f"{kind}.{name}.id: expected an id of its own, was {taken}")
        owners[table.id] = name
    if not owners:
        raise ConfigError(f"{kind}: expected at least one table [{kind}.NAME], was empty")
    return sorted(tables.items(), key=lambda item: item[1].id)


def _asset(name: str, table: _AssetTable) -> AssetSpec:
    at = f"assets.{name}"
    unit = Scale.of(table.unit, f"{at}.unit")
    deposits_max_units: Units = _positive(unit, table.deposits_max, f"{at}.deposits_max")
    if deposits_max_units >= SUM_BOUND:
        raise ConfigError(
            f"{at}.deposits_max: expected less than {unit.format(SUM_BOUND)} (2^61 units), "
            f"was {table.deposits_max!r}; lower it or choose a coarser unit"
        )
    return AssetSpec(id=table.id, name=name, unit=unit, deposits_max_units=deposits_max_units)


def _market(name: str, table: _MarketTable, assets: Mapping[str, AssetSpec]) -> MarketSpec:
    at = f"markets.{name}"
    if table.settlement not in assets:
        raise ConfigError(
            f"{at}.settlement: expected an asset, one of {', '.join(assets)}; "
            f"was {table.settlement!r}{did_you_mean(table.settlement, assets)}"
        )
    asset = assets[table.settlement]
    tick, lot = Scale.of(table.tick, f"{at}.tick"), Scale.of(table.lot, f"{at}.lot")
    multiplier = Scale.of(table.multiplier, f"{at}.multiplier")
    worth = _worth_of_lot(table.kind, lot.step * multiplier.step, tick.step, asset.unit.step)
    price_min_ticks: Ticks = _positive(tick, table.price_min, f"{at}.price_min")
    price_max_ticks: Ticks = _positive(tick, table.price_max, f"{at}.price_max")
    if price_max_ticks < price_min_ticks:
        raise ConfigError(f"{at}.price_max: expected at least price_min, was {table.price_max!r}")
    if table.orders_max < 1:
        raise ConfigError(f"{at}.orders_max: expected more than 0, was {table.orders_max}")
    order_max_lots: Lots = _positive(lot, table.order_max, f"{at}.order_max")
    open_interest_max_lots: Lots = _positive(lot, table.open_interest_max, f"{at}.open_interest_max")
    brackets = tuple(_bracket(bracket, asset.unit, f"{at}.brackets[{i}]") for i, bracket in enumerate(table.brackets))
    try:
        return MarketSpec(
            id=table.id,
            name=name,
            kind=table.kind,
            settlement=asset.id,
            tick=tick,
            lot=lot,
            numerator=worth.numerator,
            denominator=worth.denominator,
            value_rounding=table.value_rounding,
            brackets=brackets,
            price_min_ticks=price_min_ticks,
            price_max_ticks=price_max_ticks,
            order_max_lots=order_max_lots,
            open_interest_max_lots=open_interest_max_lots,
            orders_max=table.orders_max,
            market_slippage_ppb=_share(table.market_slippage, f"{at}.market_slippage"),
            liquidation_fee_ppb=_share(table.liquidation_fee, f"{at}.liquidation_fee"),
            withdrawal_stress_ppb=_share(table.withdrawal_stress, f"{at}.withdrawal_stress"),
            trigger_band_ppb=_share(table.trigger_band, f"{at}.trigger_band"),
        )
    except ConfigError as error:
        raise ConfigError(f"{at}: {str(error).removeprefix(f'market {name}: ')}") from error


def _worth_of_lot(kind: ContractKind, size: Fraction, tick: Fraction, unit: Fraction) -> Fraction:
    # In accounting units: times the price in ticks, or for inverse contracts over it.
    return Fraction(size, tick * unit) if kind is ContractKind.INVERSE else Fraction(size * tick, unit)


def _bracket(table: _BracketTable, unit: Scale, at: str) -> Bracket:
    return Bracket(
        up_to_units=_positive(unit, table.up_to, f"{at}.up_to"),
        initial_ppb=_share(table.initial, f"{at}.initial"),
        maintenance_ppb=_share(table.maintenance, f"{at}.maintenance"),
    )


def _positive(scale: Scale, value: Number, where: str) -> int:
    steps = scale.parse(value, where)
    if steps < 1:
        raise ConfigError(f"{where}: expected more than 0, was {value!r}")
    return steps


def _share(value: Number, where: str) -> Ppb:
    share = ppb(value, where)
    if not 0 <= share <= SCALE:
        raise ConfigError(f'{where}: expected between "0%" and "100%", was {value!r}')
    return share


def _checked_limits(limits: Limits) -> Limits:
    for name, value in attrs.asdict(limits).items():
        if value < (name != "orders_per_second") or (name == "work_share_percent" and value > 100):
            most = " and at most 100" if name == "work_share_percent" else ""
            least = "0 or more" if name == "orders_per_second" else "more than 0"
            raise ConfigError(f"limits.{name}: expected {least}{most}, was {value}")
    return limits


def _placed(selection: Selection, where: str) -> Selection:
    return attrs.evolve(selection, where=where)


def _selected(typed: _Tables) -> dict[tuple[MarketId | None, str], Selection]:
    selected: dict[tuple[MarketId | None, str], Selection] = {}
    for port in PORTS:
        if port.key == "order_checks":
            continue
        selected[None, port.key] = _placed(getattr(typed.exchange, port.key), f"exchange.{port.key}")
        for name, table in typed.markets.items() if port.context is MarketContext else ():
            own: Selection | None = getattr(table, port.key)
            if own is not None:
                selected[table.id, port.key] = _placed(own, f"markets.{name}.{port.key}")
    return selected


def _order_checks(typed: _Tables) -> dict[MarketId, tuple[Selection, ...]]:
    checks = {}
    for name, table in typed.markets.items():
        at, chosen = f"markets.{name}", table.order_checks
        if chosen is None:
            at, chosen = "exchange", typed.exchange.order_checks
        checks[table.id] = tuple(_placed(c, f"{at}.order_checks[{i}]") for i, c in enumerate(chosen))
    return checks
