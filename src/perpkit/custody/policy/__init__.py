"""What may leave custody: rules as typed data, read from TOML, and the engine that judges by them."""

from perpkit.custody.policy.engine import Policy, load_policy

__all__ = ["Policy", "load_policy"]
