"""A custody to watch: one withdrawal from the request to the block, and everything that thieves try."""

from perpkit.simulate.custody.show import Show
from perpkit.simulate.custody.thefts import Theft
from perpkit.simulate.custody.world import PlainWorld, World

__all__ = ["PlainWorld", "Show", "Theft", "World"]
