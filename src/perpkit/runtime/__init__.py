"""The venue round an exchange: the only place with input and output."""

from perpkit.runtime.recording import Recording
from perpkit.runtime.venue import Pace, Venue

__all__ = ["Pace", "Recording", "Venue"]
