"""`composite`: the median of other marks, so that one of them alone moves nothing."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import attrs

from perpkit.model.price import Mark, PricingInputs
from perpkit.plugin import MARK_PRICE
from perpkit.ports import MarketContext, MarkPrice
from perpkit.units import Ticks, div_floor, div_half_even


@attrs.frozen(kw_only=True)
class Inner:
    """A mark that the composite stands on: a provider by name, with its options."""

    provider: str
    options: dict[str, Any] = attrs.field(factory=dict)


def _inner(named: Sequence[str | Mapping[str, Any] | Inner]) -> tuple[Inner, ...]:
    """Read names and tables alike."""
    return tuple(
        each if isinstance(each, Inner) else Inner(provider=each) if isinstance(each, str) else Inner(**each)
        for each in named
    )


@attrs.frozen(kw_only=True)
class CompositeMarkOptions:
    """`of`: the marks that the median is taken of, at least one."""

    of: Sequence[Any] = attrs.field(
        default=("index", "fair-basis"), converter=_inner, validator=attrs.validators.min_len(1)
    )


class CompositeMark:
    """The median of several marks of one market.

    Rounds:
        With an even number of marks half to even, to the tick.
    """

    def __init__(self, context: MarketContext, options: CompositeMarkOptions) -> None:
        self._marks: list[MarkPrice] = [MARK_PRICE.other(context, each.provider, each.options) for each in options.of]

    @property
    def own_book_free(self) -> bool:
        """Whether all of them are: what one of them reads moves the median."""
        return all(mark.own_book_free for mark in self._marks)

    def update(self, inputs: PricingInputs, /) -> Mark:
        """Return the median, in the worst state of all.

        Cost:
            That of all its marks, and sorting them.
        """
        # A mark that may not see the book must not, although another of the composite may.
        blind = PricingInputs(index=inputs.index, at_ns=inputs.at_ns)
        found = [mark.update(blind if mark.own_book_free else inputs) for mark in self._marks]
        price = _median([mark.price_ticks for mark in found])
        state = max(mark.state for mark in found)
        return attrs.evolve(found[0], price_ticks=price, state=state)

    def dump(self) -> bytes:
        """Return the states of all, in their order."""
        return json.dumps([mark.dump().decode("latin-1") for mark in self._marks]).encode()

    def load(self, state: bytes, /) -> None:
        """Give each its own back."""
        for mark, own in zip(self._marks, json.loads(state), strict=True):
            mark.load(own.encode("latin-1"))


def _median(prices: Sequence[Ticks]) -> Ticks:
    ordered = sorted(prices)
    middle = div_floor(len(ordered), 2)
    return div_half_even(ordered[middle] + ordered[-1 - middle], 2)
