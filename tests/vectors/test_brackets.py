"""The brackets of every symbol that Binance listed in October 2024."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

from perpkit.model.market import Bracket
from perpkit.reference.margin_tiered import Rates
from perpkit.units import SCALE, Scale, ppb


def test_the_deductions_of_every_binance_bracket_are_the_published_ones(data: Path) -> None:
    """At every edge the requirement is continuous; Binance prints what has to be deducted for that as `cum`."""
    cent, tiers_seen, symbols = Scale.of("0.0001"), 0, {}
    for path in sorted((data / "leverage").glob("*.json.gz")):
        symbols |= json.loads(gzip.decompress(path.read_bytes()))
    for symbol, tiers in symbols.items():
        brackets = [
            Bracket(
                up_to_units=cent.parse(tier["info"]["notionalCap"]),
                initial_ppb=SCALE,
                maintenance_ppb=ppb(tier["info"]["maintMarginRatio"]),
            )
            for tier in tiers
        ]
        rates = Rates.of(brackets, [bracket.maintenance_ppb for bracket in brackets])
        published = [cent.parse(tier["info"]["cum"]) * SCALE for tier in tiers]
        assert rates.deductions_scaled == published, symbol
        tiers_seen += len(tiers)
    assert (len(symbols), tiers_seen) == (349, 2_805)
