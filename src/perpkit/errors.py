"""Faults: what is wrong with the caller, the configuration, a plugin or the state. Business refusals are values."""


class PerpkitError(Exception):
    """Root of every exception that perpkit raises on purpose."""


class UnitsError(PerpkitError, ValueError):
    """A number has the wrong type, is off its grid, or cannot be held exactly."""


class ConfigError(PerpkitError, ValueError):
    """A configuration or an input file cannot be used; the message says where and why."""


class PluginError(PerpkitError):
    """A plugin or a part that it built does not keep its contract."""


class PartFaultError(PluginError):
    """A part that only answers raised, or answered garbage. `part` is its place in the manifest."""

    def __init__(self, message: str, part: int) -> None:
        super().__init__(message)
        self.part = part


class ProviderNotFoundError(PluginError):
    """The configuration names a provider that no loaded plugin offers."""


class ProviderConflictError(PluginError):
    """A short provider name is offered by more than one distribution."""


class OptionsError(PluginError, ConfigError):
    """Options do not fit the options class of the provider they are meant for."""


class InvariantError(PerpkitError):
    """A named law does not hold. The exchange that raised it accepts nothing more."""


class HaltedError(PerpkitError):
    """The exchange met a fault while it ran a command and accepts nothing more."""


class JournalError(PerpkitError):
    """A journal is damaged, or could not be written; the message names file, offset and sequence."""


class FencedError(JournalError):
    """Another writer holds the journal, or wrote what this one was about to write."""


class CustodyError(PerpkitError):
    """Custody was given what cannot be right, or cannot do what it was asked; no money moved."""


class ChainError(CustodyError):
    """A chain's node cannot be reached, refused a transaction, or answered garbage."""
