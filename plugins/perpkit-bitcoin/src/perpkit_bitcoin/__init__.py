"""Bitcoin custody: wallets of several keys, people's keys, a node, and the provider `bitcoin` made of them."""

from collections.abc import Iterable

from perpkit.plugin import CUSTODY, Provider, hookimpl
from perpkit.ports import Custody, ExchangeContext
from perpkit_bitcoin.options import BitcoinOptions


def _build(context: ExchangeContext, options: BitcoinOptions) -> Custody:
    from perpkit_bitcoin.custody import build_custody

    return build_custody(context, options)


@hookimpl
def perpkit_custodies() -> Iterable[Provider[Custody]]:
    """Offer it under its name; a configuration decides."""
    return [
        CUSTODY.provider(name="bitcoin", build=_build, options=BitcoinOptions, summary="cold multisig behind an HSM")
    ]
