"""The rules of the port, under the default options and under a rough grid with a high floor."""

from perpkit.ports import ExchangeContext, MarginModel
from perpkit.testing.conformance.margin import MarginConformance
from perpkit.units import SCALE
from perpkit_portfolio_margin import PortfolioMargin, PortfolioOptions


class TestPortfolioMargin(MarginConformance):
    capabilities = frozenset({"portfolio"})

    def make(self, context: ExchangeContext) -> MarginModel:
        return PortfolioMargin(context, PortfolioOptions())


class TestHighFloor(MarginConformance):
    """Where the floor decides alone, but for an inverse long, from which a fall by half takes its whole value."""

    capabilities = frozenset({"portfolio"})

    def make(self, context: ExchangeContext) -> MarginModel:
        options = PortfolioOptions(
            shocks_ppb=(SCALE // 2,), floor_ppb=SCALE * 6 // 10, initial_factor_ppb=SCALE * 11 // 10
        )
        return PortfolioMargin(context, options)
