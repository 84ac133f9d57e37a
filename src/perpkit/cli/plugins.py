"""`perpkit plugins`: what can be chosen for each port, where it comes from, and what is wrong with the rest."""

import argparse
import json
from typing import Any

import attrs

from perpkit.cli.table import table
from perpkit.plugin import Offer, Problem, Registry
from perpkit.plugin.registry import full_name


def add_parser(subparsers: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the subcommand."""
    parser = subparsers.add_parser("plugins", help="list what can be chosen for each port")
    parser.add_argument("--json", action="store_true", help="write JSON instead of a table")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Print every provider and every problem. A problem alone is no failure: see `perpkit doctor`."""
    registry = Registry.discover()
    print(_json(registry) if arguments.json else _text(registry))
    return 0


def _json(registry: Registry) -> str:
    described: dict[str, Any] = {
        "providers": [_provider(offer) for offer in registry.providers()],
        "problems": [_problem(problem) for problem in registry.problems],
    }
    return json.dumps(described, indent=2)


def _provider(offer: Offer) -> dict[str, Any]:
    provider = offer.provider
    return {
        "port": provider.port.key,
        "name": provider.name,
        "origin": attrs.asdict(offer.origin),
        "api": provider.api,
        "provisional": provider.api == 0,
        "summary": provider.summary,
        "capabilities": sorted(provider.capabilities),
        "waivers": dict(provider.waivers),
        "options": [field.name for field in attrs.fields(provider.options)],
    }


def _choice(registry: Registry, offer: Offer) -> str:
    name = offer.provider.name
    return name if name in registry.names(offer.provider.port) else full_name(offer)


def _problem(problem: Problem) -> dict[str, Any]:
    return {"origin": attrs.asdict(problem.origin), "text": problem.text}


def _text(registry: Registry) -> str:
    rows = [
        [
            offer.provider.port.key,
            _choice(registry, offer),
            str(offer.provider.api or "provisional"),
            str(offer.origin),
            ", ".join(sorted(offer.provider.capabilities)) or "-",
            offer.provider.summary,
        ]
        for offer in registry.providers()
    ]
    lines = [
        table(["PORT", "NAME", "API", "FROM", "CAPABILITIES", "SUMMARY"], rows),
        "A provisional port may still change; it gets a number once a second implementation has proved it.",
    ]
    lines += [
        f"waiver: {offer.provider.port.key} {_choice(registry, offer)} does not keep {rule}: {reason}"
        for offer in registry.providers()
        for rule, reason in offer.provider.waivers.items()
    ]
    return "\n".join(lines + [f"problem: {problem}" for problem in registry.problems])
