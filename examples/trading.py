"""A trader's day: preview, an order with its stop and its profit, two positions side by side, one click to turn."""

from perpkit import Exchange, Outcome, Side
from perpkit.model.event import Filled, OrderCancelled, OrderTriggered, OrderWaits
from perpkit.model.trigger import Attached, Trigger, TriggerKind

exchange = Exchange.of(
    {
        "assets": {"USDT": {"id": 1, "unit": "0.01", "deposits_max": "1000000000"}},
        "markets": {
            "BTC-PERP": {
                "id": 1,
                "kind": "linear",
                "settlement": "USDT",
                "tick": "1",
                "lot": "0.01",
                "price_min": "1000",
                "price_max": "200000",
                "order_max": "100",
                "open_interest_max": "1000",
                "brackets": [{"up_to": "10000000", "initial": "5%", "maintenance": "2.5%"}],
            }
        },
    }
)
market = exchange.market("BTC-PERP")
alice, maker = 1, 2


def make_market(price: int) -> None:
    """Let the mark be somewhere, and somebody offer and ask for one coin at each of the next prices."""
    exchange.cancel_all(maker)
    exchange.quote("BTC-PERP", str(price), time_ns=exchange.clock_ns + 1_000_000_000)
    for step in range(10, 60, 10):
        exchange.place(maker, "BTC-PERP", Side.SELL, "1", price + step)
        exchange.place(maker, "BTC-PERP", Side.BUY, "1", price - step)


def tell(title: str, outcome: Outcome) -> None:
    """Print what a command did to the orders of one trader."""
    print(f"\n{title}")
    for event in outcome.events:
        if getattr(event, "account", None) != alice:
            continue
        match event:
            case Filled():
                print("  traded ", market.lot.format(event.size_lots), "at", market.tick.format(event.price_ticks))
            case OrderWaits():
                print("  waits  ", event.side.name, "at", market.tick.format(event.trigger_ticks))
            case OrderTriggered():
                print("  fires  ", "at", market.tick.format(event.price_ticks))
            case OrderCancelled():
                print("  gone   ", market.lot.format(event.size_lots), event.reason.name)


def positions() -> None:
    """Print the positions of the trader, and where they would be liquidated."""
    held = [each for each in exchange.clearing.pool(alice, 1).exposures if each.size_lots]
    for each in held:
        liquidation = exchange.clearing.thresholds(alice, market.id, each.position_id).liquidation_ticks
        size, price = market.lot.format(each.size_lots), market.tick.format(liquidation) if liquidation else "no price"
        print(f"  position {each.position_id}: {size}, liquidated beyond {price}")
    if not held:
        print("  no position")


exchange.deposit(alice, "USDT", "5000")
exchange.deposit(maker, "USDT", "1000000")
make_market(50_000)

print("What would it do?")
exchange.set_terms(alice, "BTC-PERP", isolated=True, leverage=20, position_id=1)
print(exchange.preview(alice, "BTC-PERP", Side.BUY, "0.5", position_id=1).explain())

bracket = (
    Attached(side=Side.SELL, is_market=True, trigger=Trigger(price_ticks=49_000)),
    Attached(side=Side.SELL, is_market=True, trigger=Trigger(kind=TriggerKind.TAKE_PROFIT, price_ticks=51_500)),
)
entry = exchange.place(alice, "BTC-PERP", Side.BUY, "0.5", position_id=1, attached=bracket)
tell("Long at twenty times, with a stop and a profit", entry)

exchange.set_terms(alice, "BTC-PERP", isolated=True, leverage=5, position_id=2)
tell("And beside it a short at five times", exchange.place(alice, "BTC-PERP", Side.SELL, "0.2", position_id=2))
positions()

make_market(51_000)
take_profit = exchange.quote("BTC-PERP", "51500", time_ns=exchange.clock_ns + 1_000_000_000)
tell("The price rises", take_profit)
positions()

make_market(51_500)
tell("The short turns, with one order", exchange.reverse(alice, "BTC-PERP", position_id=2))
positions()

tell("Home", exchange.close_all(alice))
positions()

clients, custody = exchange.clearing.conservation(1)
unit = exchange.asset("USDT").unit
print("\nbooks:", unit.format(clients), "=", unit.format(custody))
