"""How parts are named, offered and found."""

from perpkit.plugin.discovery import GROUP, Offer, Origin, Problem
from perpkit.plugin.hookspecs import PerpkitSpecs, hookimpl, hookspec
from perpkit.plugin.port_list import (
    BOOK,
    CLEARING,
    CUSTODY,
    DELEVERAGING,
    FEES,
    FUNDING,
    INDEX_PRICE,
    INSURANCE,
    JOURNAL,
    LIQUIDATION,
    MARGIN,
    MARK_PRICE,
    ORDER_CHECKS,
    PORTS,
)
from perpkit.plugin.provider import NoOptions, Port, Provider
from perpkit.plugin.registry import Registry

__all__ = [
    "BOOK",
    "CLEARING",
    "CUSTODY",
    "DELEVERAGING",
    "FEES",
    "FUNDING",
    "GROUP",
    "INDEX_PRICE",
    "INSURANCE",
    "JOURNAL",
    "LIQUIDATION",
    "MARGIN",
    "MARK_PRICE",
    "ORDER_CHECKS",
    "PORTS",
    "NoOptions",
    "Offer",
    "Origin",
    "PerpkitSpecs",
    "Port",
    "Problem",
    "Provider",
    "Registry",
    "hookimpl",
    "hookspec",
]
