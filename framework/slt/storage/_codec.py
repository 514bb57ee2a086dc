"""Records as one line of JSON and back, exactly: NaN and infinities, bytes, tuples and None included.

A line is ``["Trade", value, value, …]`` in the order of the record's fields. The names of the fields stand once at the
head of a journal segment (`field_names`), so that a segment written by another version of slt is read by name.
"""

from __future__ import annotations

import base64
import json
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, get_args, get_origin, get_type_hints

from attrs import frozen

from slt.storage._entries import Entry

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["decode_record", "encode_record", "field_names"]


def encode_record(record: Entry) -> str:
    """The record as one line of ASCII JSON (Python's dialect: ``NaN`` and ``Infinity`` are words).

    Dictionaries in a record hold JSON types; a numpy value in one becomes the Python value, a set a sorted list, and
    anything else its text, because a record that cannot be written would be a record lost.
    """
    plan = _plan(type(record))
    values = list(plan.values_of(record))
    for index in plan.to_text:
        values[index] = base64.b64encode(values[index]).decode()
    return _ENCODE([plan.name, *values])


def decode_record(line: str | bytes, names: Mapping[str, list[str]] | None = None) -> Entry:
    """The record that `encode_record` wrote.

    Args:
        line: The JSON.
        names: Field names per record type as `field_names` gave them when the line was written; None = as today. Fields
            unknown today are dropped, fields unknown then take their default.

    Raises:
        ValueError: The line is no record, or of a version whose records lack a field needed today.
    """
    try:
        name, *values = json.loads(line)
        kind = _kinds()[name]
        to_value = _plan(kind).to_value
        written = names[name] if names else list(to_value)
        by_name = dict(zip(written, values, strict=True))
        record: Entry = kind(**{key: to_value[key](value) for key, value in by_name.items() if key in to_value})
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"not a record of this version ({error})") from error
    return record


def field_names() -> dict[str, list[str]]:
    """Names of the fields of every record type, in the order `encode_record` writes them."""
    return {name: list(_plan(kind).to_value) for name, kind in _kinds().items()}


@cache
def _kinds() -> dict[str, Any]:
    return {kind.__name__: kind for kind in get_args(Entry)}


@frozen
class _Plan:
    """How one record type is written and read."""

    name: str
    values_of: Callable[[Any], tuple[Any, ...]]
    to_text: tuple[int, ...]
    to_value: dict[str, Callable[[Any], Any]]


def _plan(kind: type) -> _Plan:
    plan = _PLANS.get(kind)
    if plan is None:
        hints = get_type_hints(kind)
        to_text = tuple(index for index, name in enumerate(hints) if hints[name] is bytes)
        to_value = {name: _reader(hints[name]) for name in hints}
        plan = _PLANS[kind] = _Plan(kind.__name__, attrgetter(*hints), to_text, to_value)
    return plan


def _reader(hint: object) -> Callable[[Any], Any]:
    if hint is bytes:
        return base64.b64decode
    if get_origin(hint) is tuple:
        inner = get_args(hint)[0]
        return _pairs if get_origin(inner) is tuple else tuple
    return _as_is


def _as_is(value: object) -> object:
    return value


def _pairs(values: list[list[Any]]) -> tuple[tuple[Any, ...], ...]:
    return tuple(tuple(value) for value in values)


def _foreign(value: object) -> object:
    to_list = getattr(value, "tolist", None)  # numpy
    if to_list is not None:
        plain: object = to_list()
        return plain
    if isinstance(value, (set, frozenset)):
        return sorted(value, key=str)
    return str(value)


_ENCODE = json.JSONEncoder(separators=(",", ":"), default=_foreign).encode
_PLANS: dict[type, _Plan] = {}
