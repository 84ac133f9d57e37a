"""Proving what happened: the digest of a state, and replay of a log."""

from perpkit.audit.digest import state_digest
from perpkit.audit.replay import Replayed, replay

__all__ = ["Replayed", "replay", "state_digest"]
