"""From tables of TOML to typed values: nothing is coerced, and no unknown key is let through."""

import re
from collections.abc import Callable, Mapping
from types import GenericAlias
from typing import Any, TypeAlias, TypeVar, cast, get_args, get_origin

import attrs
import cattrs
from cattrs.cols import is_mapping, list_structure_factory, mapping_structure_factory
from cattrs.gen import make_dict_structure_fn

from perpkit.errors import ConfigError
from perpkit.plugin.hint import did_you_mean

T = TypeVar("T")
Hook: TypeAlias = Callable[[Any, Any], Any]


def new_converter() -> cattrs.Converter:
    """Return a converter that takes tables, lists, text, whole numbers and booleans for exactly what they are."""
    converter = cattrs.Converter(forbid_extra_keys=True)
    for kind in (int, str, bool):
        converter.register_structure_hook(kind, _exactly)
    converter.register_structure_hook_factory(_is_list, _list)
    converter.register_structure_hook_factory(is_mapping, _mapping)
    converter.register_structure_hook_factory(attrs.has, _table)
    return converter


def structure(converter: cattrs.Converter, table: object, into: type[T], where: str) -> T:
    """Make an attrs class from a table; `where` is the table's place in its file.

    Raises:
        ConfigError: with every complaint in one line, each behind the path of its key.
    """
    try:
        return converter.structure(table, into)
    except Exception as error:
        complaints = cattrs.transform_error(error, path=where, format_exception=_complaint)
        raise ConfigError("; ".join(_path_first(complaint) for complaint in complaints)) from error


def _path_first(complaint: str) -> str:
    text, _, path = complaint.rpartition(" @ ")
    path = re.sub(r"\['(.*?)'\]", r".\1", path).removeprefix(".")
    return f"{path or 'the file'}: {text}"


def _complaint(error: BaseException, _type: object) -> str:
    if isinstance(error, KeyError):
        return "expected a value, was missing"
    if isinstance(error, cattrs.ForbiddenExtraKeysError):
        known = [field.name for field in attrs.fields(error.cl)]
        unknown = sorted(error.extra_fields)
        return ", ".join(f"expected no key {key!r} here{did_you_mean(key, known)}" for key in unknown)
    return str(error)


def _exactly(value: object, into: type) -> object:
    # cattrs would turn 5 into "5", "5" into 5 and any text into true.
    if type(value) is not into:
        raise TypeError(f"expected {into.__name__}, was {type(value).__name__} {value!r}")
    return value


def _guarded(expected: str, kind: type, hook: Hook) -> Hook:
    # Text is iterable, so cattrs would take it for a list of characters.
    def structured(value: object, into: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"expected {expected}, was {type(value).__name__} {value!r}")
        return hook(value, into)

    return structured


def _is_list(into: Any) -> bool:
    return get_origin(into) in (tuple, frozenset) and (get_origin(into) is not tuple or get_args(into)[-1:] == (...,))


def _list(into: Any, converter: cattrs.Converter) -> Hook:
    items = list_structure_factory(cast("type", GenericAlias(list, get_args(into)[:1])), converter)
    return _guarded("a list", list, lambda value, _: cast("Any", get_origin(into))(items(value, into)))


def _mapping(into: Any, converter: cattrs.Converter) -> Hook:
    return _guarded("a table", Mapping, mapping_structure_factory(into, converter))


def _table(into: Any, converter: cattrs.Converter) -> Hook:
    return _guarded("a table", Mapping, make_dict_structure_fn(into, converter))
