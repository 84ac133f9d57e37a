"""Proving what happened: the digest of a state, and replay of a log."""

from perpkit.audit.digest import state_digest
from perpkit.audit.replay import Replayed, replay
from perpkit.audit.witness import Witness

__all__ = ["Replayed", "Witness", "replay", "state_digest"]
