"""How entries of a log are written, as kind and body, and read again."""

import re
from collections.abc import Mapping
from typing import Any, get_args

import cattrs

from perpkit.custody.desk.entries import Step
from perpkit.custody.digest import canonical
from perpkit.errors import CustodyError
from perpkit.ports.custody.policy import Verdict
from perpkit.ports.custody.wallet import Purpose


def _kind(cls: type) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "-", cls.__name__).lower()


KINDS: Mapping[str, type] = {_kind(cls): cls for cls in get_args(Step)}
"""Every class of entry, by what its kind is called."""

_converter = cattrs.Converter(forbid_extra_keys=True)
_converter.register_structure_hook(bytes, lambda text, _: bytes.fromhex(text))
_converter.register_structure_hook(Verdict, lambda name, _: Verdict[name])
_converter.register_structure_hook(Purpose, lambda name, _: Purpose[name])


def encode(asset: str, step: Step) -> tuple[str, dict[str, Any]]:
    """Return the kind and the body of a step of an asset's desk."""
    return _kind(type(step)), {"asset": asset, **canonical(step)}


def decode(kind: str, body: Mapping[str, Any]) -> Step:
    """Return the step that an entry holds.

    Raises:
        CustodyError: no version of the desk that this one knows wrote it.
    """
    fields = {name: value for name, value in body.items() if name != "asset"}
    try:
        step: Step = _converter.structure(fields, KINDS[kind])
    except (KeyError, ValueError, cattrs.BaseValidationError) as error:
        raise CustodyError(
            f"expected an entry of a desk, was {kind!r} that this version cannot read: {error}"
        ) from error
    return step
