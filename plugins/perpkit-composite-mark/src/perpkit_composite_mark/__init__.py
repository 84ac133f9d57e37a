"""Offers `composite`: the median of other marks."""

from collections.abc import Iterable

from perpkit.plugin import MARK_PRICE, Provider, hookimpl
from perpkit.ports import MarkPrice
from perpkit_composite_mark.part import CompositeMark, CompositeMarkOptions


@hookimpl
def perpkit_mark_prices() -> Iterable[Provider[MarkPrice]]:
    """Offer it under its name; a configuration decides."""
    return [
        MARK_PRICE.provider(
            name="composite", build=CompositeMark, options=CompositeMarkOptions, summary="the median of other marks"
        )
    ]
