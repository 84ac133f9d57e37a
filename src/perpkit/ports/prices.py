"""Index, mark and funding: three folds over numbered inputs. They own their state and never hold money."""

from abc import abstractmethod
from collections.abc import Sequence
from typing import Protocol

from perpkit.model.price import IndexPrice, Mark, PricingInputs, Quote
from perpkit.units import Nanos, Ppb


class IndexPriceSource(Protocol):
    """Quotes of many venues -> one price with provenance. Provisional."""

    @abstractmethod
    def update(self, quotes: Sequence[Quote], at_ns: Nanos, /) -> IndexPrice:
        """Take the quotes of one stamp and return the index.

        Called once for each market and stamp with that market's quotes, also when there are none: sources grow
        stale with time. Prices lie within the listed range.
        Staleness is judged before deviation. With too few sources the price stays the last good one, FROZEN.
        """
        ...

    @abstractmethod
    def dump(self) -> bytes:
        """Return the whole state, the same bytes for the same observable content."""
        ...

    @abstractmethod
    def load(self, state: bytes, /) -> None:
        """Become what `dump` wrote."""
        ...


class MarkPrice(Protocol):
    """Index, and possibly depth and funding -> the price that liquidates. Provisional."""

    @property
    @abstractmethod
    def own_book_free(self) -> bool:
        """Whether this mark cannot be moved by trading here. If so it is given no depth and no funding."""
        ...

    @abstractmethod
    def update(self, inputs: PricingInputs, /) -> Mark:
        """Return the mark at one stamp. Called once for each market and stamp, after the index."""
        ...

    @abstractmethod
    def dump(self) -> bytes:
        """Return the whole state, the same bytes for the same observable content."""
        ...

    @abstractmethod
    def load(self, state: bytes, /) -> None:
        """Become what `dump` wrote."""
        ...


class FundingModel(Protocol):
    """Premium samples -> a rate at each stamp of a schedule. Provisional."""

    @abstractmethod
    def sample(self, inputs: PricingInputs, mark: Mark, /) -> None:
        """Note one premium. Called after the mark of a stamp, never while the mark is FROZEN."""
        ...

    @abstractmethod
    def rate_ppb(self) -> Ppb:
        """Return the rate of the running interval as it stands; positive: longs pay shorts."""
        ...

    @abstractmethod
    def next_ns(self, after_ns: Nanos, /) -> Nanos | None:
        """Return the first stamp strictly later, None when this market pays no funding."""
        ...

    @abstractmethod
    def close(self, at_ns: Nanos, /) -> Ppb:
        """End the interval at a stamp: return the rate to pay now, and start the next interval."""
        ...

    @abstractmethod
    def dump(self) -> bytes:
        """Return the whole state, the same bytes for the same observable content."""
        ...

    @abstractmethod
    def load(self, state: bytes, /) -> None:
        """Become what `dump` wrote."""
        ...
