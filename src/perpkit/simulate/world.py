"""The exchange of the demo, as a configuration file that can be read, changed and replayed under."""

from importlib import resources

MARKET = "XBTUSD"
ASSET = "XBT"
FUND = 1
MAKERS = (1, 2, 3, 4)
FIRST_TRADER = 101


def configuration(liquidation: str, journal: str = "memory") -> str:
    """Return the demo's configuration as TOML text, under a liquidation policy and with a journal."""
    text = resources.files("perpkit.simulate").joinpath("xbtusd.toml").read_text(encoding="utf-8")
    text = text.replace('liquidation = "stepped"', f'liquidation = "{liquidation}"')
    return text.replace('journal = "memory"', f'journal = "{journal}"')
