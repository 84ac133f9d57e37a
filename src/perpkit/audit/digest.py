"""The canonical digest of an exchange's state, the same for any two implementations that behave alike."""

import hashlib
import json

from perpkit.engine.exchange import Exchange


def state_digest(exchange: Exchange) -> str:
    """Return the SHA-256 of the observable state, in hex.

    The sequence, the clock and the count of price faults are left out: a refused command may move them and changes
    nothing else.

    Example:
        >>> from perpkit.engine.config import ExchangeConfig
        >>> from perpkit.simulate.world import configuration
        >>> config = ExchangeConfig.from_text(configuration("stepped"))
        >>> state_digest(Exchange.of(config)) == state_digest(Exchange.of(config))
        True
    """
    state = json.loads(exchange.dump())
    del state["sequence"], state["clock_ns"], state["price_faults"]
    canonical = json.dumps(state, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()
