"""What happens to orders."""

import attrs

from perpkit.model.cause import CancelReason
from perpkit.model.ids import AccountId, MarketId, OrderId, PositionId
from perpkit.model.order import Side
from perpkit.model.reject import RejectReason
from perpkit.model.trigger import PriceSource, TriggerKind
from perpkit.units import Lots, Nanos, Ticks


@attrs.frozen(kw_only=True)
class Rejected:
    """The command was refused and changed nothing.

    `check` is the index of the refusing order check, `part` the place in the manifest of the part at fault, else -1.
    """

    reason: RejectReason
    check: int = -1
    part: int = -1


@attrs.frozen(kw_only=True)
class Duplicate:
    """The same client order id with the same content: it was done before, by command `sequence`."""

    account: AccountId
    client_order_id: int
    sequence: int


@attrs.frozen(kw_only=True)
class OrderAccepted:
    """An order was admitted. What it filled and whether it rests follows."""

    market: MarketId
    account: AccountId
    position_id: PositionId
    order_id: OrderId
    client_order_id: int
    side: Side
    size_lots: Lots
    price_ticks: Ticks


@attrs.frozen(kw_only=True)
class OrderRested:
    """What is left of an order waits in the book."""

    market: MarketId
    account: AccountId
    order_id: OrderId
    side: Side
    size_lots: Lots
    price_ticks: Ticks


@attrs.frozen(kw_only=True)
class OrderCancelled:
    """`size_lots` of an order went away unfilled; `left_lots` of it still rest."""

    market: MarketId
    account: AccountId
    order_id: OrderId
    size_lots: Lots
    left_lots: Lots
    reason: CancelReason


@attrs.frozen(kw_only=True)
class OrderAmended:
    """An order was changed in place: what is left of it now. `kept_place`: it lost no priority.

    A trailing stop that followed the price is told the same way: `price_ticks` is then where it fires.
    """

    market: MarketId
    account: AccountId
    order_id: OrderId
    size_lots: Lots
    price_ticks: Ticks
    kept_place: bool


@attrs.frozen(kw_only=True)
class OrderWaits:
    """An order waits for a price, and reserves nothing.

    `size_lots` 0: the whole position, whatever it will be.
    """

    market: MarketId
    account: AccountId
    position_id: PositionId
    order_id: OrderId
    client_order_id: int
    side: Side
    size_lots: Lots
    trigger_ticks: Ticks
    trigger_kind: TriggerKind
    price_source: PriceSource


@attrs.frozen(kw_only=True)
class OrderTriggered:
    """The price was reached: the order goes live. `price_ticks` is the price that did it."""

    market: MarketId
    account: AccountId
    order_id: OrderId
    price_ticks: Ticks


@attrs.frozen(kw_only=True)
class OrderRefused:
    """An order that a command caused, and did not place itself, could not come in: a triggered one, or one of many."""

    market: MarketId
    account: AccountId
    order_id: OrderId
    reason: RejectReason
    check: int = -1


@attrs.frozen(kw_only=True)
class SwitchSet:
    """The dead man's switch of an account: when it cancels everything; 0: it is disarmed, or has just fired."""

    account: AccountId
    at_ns: Nanos
