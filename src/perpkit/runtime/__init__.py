"""The venue round an exchange: the only place with input and output."""

from perpkit.runtime.intake import Intake, LaneSizes
from perpkit.runtime.recording import Recording
from perpkit.runtime.venue import Pace, Venue

__all__ = ["Intake", "LaneSizes", "Pace", "Recording", "Venue"]
