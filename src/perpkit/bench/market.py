"""What is measured: linear markets, with brackets, fees and the parts a configuration picks by default."""

from perpkit.engine.config import ExchangeConfig

PRICE_TICKS = 10_000
MARKET = ASSET = 1


def bench_config(markets: int = 1) -> ExchangeConfig:
    """Return the configuration of a plain exchange with so many markets alike."""
    return ExchangeConfig.from_dict(
        {
            "assets": {"USD": {"id": ASSET, "unit": "0.01", "deposits_max": "1000000000000"}},
            "markets": {
                f"PERP-{number}": {
                    "id": number,
                    "kind": "linear",
                    "settlement": "USD",
                    "tick": "0.5",
                    "lot": "0.001",
                    "price_min": "1000",
                    "price_max": "100000",
                    "order_max": "100",
                    "open_interest_max": "100000",
                    "brackets": [
                        {"up_to": "1000000", "initial": "1%", "maintenance": "0.5%"},
                        {"up_to": "100000000", "initial": "5%", "maintenance": "2.5%"},
                    ],
                }
                for number in range(MARKET, MARKET + markets)
            },
        }
    )
