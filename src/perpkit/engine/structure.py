"""What the engine makes of plain tables, and of each the digest."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import cattrs

from perpkit.errors import ConfigError
from perpkit.plugin.structure import new_converter

converter: cattrs.Converter = new_converter(prefer_attrib_converters=True)
"""The engine's own: it does not touch the converter that cattrs shares between libraries."""


def plain(value: object, where: str) -> Any:
    """Copy tables, lists, text, whole numbers and booleans; refuse everything that is not exact or not TOML.

    Raises:
        ConfigError: there is a float, a date or any other object, or a key that is not text.
    """
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str):
                raise ConfigError(f"{where or 'configuration'}: expected text as a key, was {key!r}")
        return {key: plain(item, f"{where}.{key}" if where else key) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item, f"{where}[{index}]") for index, item in enumerate(value)]
    if type(value) in (str, int, bool):
        return value
    raise ConfigError(
        f"{where or 'configuration'}: expected text, a whole number, true or false, "
        f'was {type(value).__name__} {value}; write it in quotes: "{value}"'
    )


def digest(value: object) -> str:
    """Return the SHA-256 of a plain value, written as JSON with sorted keys and no blanks."""
    return hashlib.sha256(json.dumps(value, sort_keys=True, separators=(",", ":")).encode()).hexdigest()
