"""From tables to typed values: nothing is coerced, and no unknown key is let through."""

import re
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
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

_LISTS: dict[Any, type] = {list: list, tuple: tuple, Sequence: tuple, set: set, frozenset: frozenset}


def new_converter(*, prefer_attrib_converters: bool = False) -> cattrs.Converter:
    """Return a converter that takes tables, lists, text, whole numbers and booleans for exactly what they are.

    A field with a converter of its own is given what its type says, or, with `prefer_attrib_converters`, what stands in
    the table.
    """
    converter = cattrs.Converter(forbid_extra_keys=True, prefer_attrib_converters=prefer_attrib_converters)
    # A bool reaches the hook of int, and so does an IntEnum; an enum without such a base reaches the predicate.
    for kind in (int, str):
        converter.register_structure_hook(kind, _exactly)
    converter.register_structure_hook_func(lambda into: isinstance(into, type) and issubclass(into, Enum), _member)
    converter.register_structure_hook_factory(_is_list, _list)
    converter.register_structure_hook_factory(is_mapping, _mapping)
    converter.register_structure_hook_factory(attrs.has, _table)
    return converter


def structure(
    converter: cattrs.Converter,
    table: object,
    into: type[T],
    where: str = "",
    *,
    whole: str = "the file",
    fault: type[ConfigError] = ConfigError,
) -> T:
    """Make an attrs class from a table; `where` is the table's place in the `whole`.

    Raises:
        ConfigError: with every complaint in one line, each behind the path of its key.
    """
    try:
        return converter.structure(table, into)
    except Exception as error:  # the class may be a plugin's, and its checks may raise anything
        complaints = cattrs.transform_error(error, path=where, format_exception=_complaint)
        raise fault("; ".join(_path_first(complaint, whole) for complaint in complaints)) from error


def _path_first(complaint: str, whole: str) -> str:
    text, _, path = complaint.rpartition(" @ ")
    path = re.sub(r"\['(.*?)'\]", r".\1", path).removeprefix(".")
    return f"{path or whole}: {text}"


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
    if issubclass(into, Enum):
        return _member(value, into)
    if type(value) is not into:
        raise TypeError(f"expected {into.__name__}, was {type(value).__name__} {value!r}")
    return value


def _member(value: object, into: type[Enum]) -> Enum:
    members = {member.name.lower().replace("_", "-"): member for member in into}
    if not isinstance(value, str) or value not in members:
        raise TypeError(f"expected one of {', '.join(members)}; was {value!r}")
    return members[value]


def _guarded(expected: str, kind: type, hook: Hook) -> Hook:
    # Text is iterable, so cattrs would take it for a list of characters.
    def structured(value: object, into: Any) -> Any:
        if not isinstance(value, kind):
            raise TypeError(f"expected {expected}, was {type(value).__name__} {value!r}")
        return hook(value, into)

    return structured


def _is_list(into: Any) -> bool:
    return get_origin(into) in _LISTS and (get_origin(into) is not tuple or get_args(into)[-1:] == (...,))


def _list(into: Any, converter: cattrs.Converter) -> Hook:
    items = list_structure_factory(cast("type", GenericAlias(list, get_args(into)[:1])), converter)
    return _guarded("a list", list, lambda value, _: _LISTS[get_origin(into)](items(value, into)))


def _mapping(into: Any, converter: cattrs.Converter) -> Hook:
    return _guarded("a table", Mapping, mapping_structure_factory(into, converter))


def _table(into: Any, converter: cattrs.Converter) -> Hook:
    return _guarded("a table", Mapping, make_dict_structure_fn(into, converter))
