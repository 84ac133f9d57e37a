"""Laws that every chain and every wallet of custody has to keep: derive a class `Test...` and write its hooks.

They ask for no test runner: a law is a method `test_...` that raises `AssertionError` when it is broken.
"""

from perpkit.testing.custody.chain_laws import ChainLaws
from perpkit.testing.custody.wallet_laws import WalletLaws

__all__ = ["ChainLaws", "WalletLaws"]
