"""What all deciders have to keep: margin, fees, order checks, liquidation, deleveraging."""

from perpkit.testing.conformance.base import Conformance, ContextT, PortT, rule


class DeciderConformance(Conformance[PortT, ContextT]):
    """Rules for parts that only answer: they remember nothing."""

    @rule(960, "says the same when it is asked again")
    def test_remembers_nothing(self) -> None:
        """Whatever it was asked in between: nothing but the arguments counts, and a replay may ask more than once."""
        part = self.made()
        first = self.exercise(part)
        assert self.exercise(part) == first
