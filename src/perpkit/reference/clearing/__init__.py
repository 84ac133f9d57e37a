"""The reference clearing: admission, settlement, ledger and positions, in files of one job each."""

from perpkit.reference.clearing.clearing import ReferenceClearing

__all__ = ["ReferenceClearing"]
