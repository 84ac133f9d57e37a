"""Portfolio margin for perpkit: a pool needs what its worst price scenario takes. Offered as `portfolio`.

`perpkit_portfolio_margin.grid` explains the method, `perpkit_portfolio_margin.model` fits it into an exchange.
"""

from collections.abc import Iterable

from perpkit.plugin import MARGIN, Provider, hookimpl
from perpkit.ports import MarginModel
from perpkit_portfolio_margin.grid import Grid, Stake
from perpkit_portfolio_margin.model import PortfolioMargin, PortfolioOptions

__all__ = ["Grid", "PortfolioMargin", "PortfolioOptions", "Stake", "perpkit_margin_models"]


@hookimpl
def perpkit_margin_models() -> Iterable[Provider[MarginModel]]:
    """Offer portfolio margin. Its capability: a pool may need less than its positions, and says in which scenarios."""
    return [
        MARGIN.provider(
            name="portfolio",
            build=PortfolioMargin,
            options=PortfolioOptions,
            summary="the worst of a grid of price scenarios, netted over a pool",
            capabilities=frozenset({"portfolio"}),
        ),
    ]
