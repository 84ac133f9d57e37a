"""A linear market, two traders, one liquidation: the whole of perpkit in forty lines."""

from perpkit import Exchange, Side
from perpkit.audit import state_digest
from perpkit.model.event import TakenOver

exchange = Exchange.of(
    {
        "assets": {"USDT": {"id": 1, "unit": "0.000001", "deposits_max": "1000000000"}},
        "markets": {
            "BTC-PERP": {
                "id": 1,
                "kind": "linear",
                "settlement": "USDT",
                "tick": "0.5",
                "lot": "0.001",
                "price_min": "1000",
                "price_max": "200000",
                "order_max": "100",
                "open_interest_max": "1000",
                "brackets": [{"up_to": "10000000", "initial": "5%", "maintenance": "2.5%"}],
            }
        },
    }
)
alice, bob = 1, 2
exchange.deposit(alice, "USDT", "10000")
exchange.deposit(bob, "USDT", "1000")
exchange.capital("USDT", "5000")  # the insurance fund
exchange.quote("BTC-PERP", "50000")  # five outside venues agree

exchange.place(alice, "BTC-PERP", Side.SELL, "0.1", "50000")
bought = exchange.place(bob, "BTC-PERP", Side.BUY, "0.1", "50000")
for fill in bought.fills:
    print("maker" if fill.maker else "taker", fill.account, fill.size_lots, "lots at", fill.price_ticks, "ticks")

refused = exchange.place(bob, "BTC-PERP", Side.BUY, "1", "50000")
print("refused:", refused.rejected.text)

market, unit = exchange.market("BTC-PERP"), exchange.asset("USDT").unit
prices = exchange.clearing.thresholds(bob, market.id, 0)
print("liquidated below", market.tick.format(prices.liquidation_ticks))
print("bankrupt below  ", market.tick.format(prices.bankruptcy_ticks))

crash = exchange.quote("BTC-PERP", "41000", time_ns=60_000_000_000)
taken = next(event for event in crash.events if isinstance(event, TakenOver))
print("the house took", taken.size_lots, "lots over at", market.tick.format(taken.price_ticks))

clients, custody = exchange.clearing.conservation(1)
print("books:", unit.format(clients), "=", unit.format(custody))
print("digest:", state_digest(exchange)[:16])
