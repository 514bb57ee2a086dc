"""From a TOML table to a frozen attrs class, with every problem named by its dotted path."""

from __future__ import annotations

import difflib
import functools
import math
import re
import types
import typing
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    import cattrs

__all__ = ["describe", "nearest", "structure"]

T = TypeVar("T")
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    tuple[str, ...]: "a list of texts",
}


def nearest(name: str, allowed: Iterable[str]) -> str:
    """``; did you mean `x`?`` for the closest allowed name, or an empty string when none is close."""
    found = difflib.get_close_matches(name, list(allowed), n=1)
    return f"; did you mean `{found[0]}`?" if found else ""


def describe(hint: Any) -> str:
    """An option's type in words."""
    if typing.get_origin(hint) in {types.UnionType, typing.Union}:
        inner = next(a for a in typing.get_args(hint) if a is not type(None))
        return f"{describe(inner)} (or leave it out)"
    return _WORDS[hint]


def structure(table: dict[str, Any], cls: type[T], path: str, problems: list[str]) -> T | None:
    """Build `cls` from a table of options.

    Args:
        table: Option names and values, as TOML gives them.
        cls: A frozen attrs class whose fields are bool, int, float, str, a tuple of str, or one of these or None.
        path: Dotted path of the table in the file, for messages.
        problems: Every problem is added here, one line each.

    Returns:
        The object, or None when there was a problem with this table.
    """
    found_before = len(problems)
    fields = {f.name: f for f in attrs.fields(cls)}  # type: ignore[arg-type] # every caller gives an attrs class
    hints = typing.get_type_hints(cls)
    for key in sorted(table.keys() - fields.keys()):
        options = ", ".join(fields) or "there are none"
        problems.append(f"{path}.{key}: unknown option{nearest(key, fields)} (options: {options})")
    values, bad = {}, set()
    for name, spec in fields.items():
        where = f"{path}.{name}"
        if name in table:
            try:
                values[name] = _converter().structure(table[name], hints[name])
            except TypeError as error:
                bad.add(name)
                problems.append(f"{where}: {error}")
        elif spec.default is attrs.NOTHING:
            bad.add(name)
            problems.append(f"{where}: missing; it has no default, give {describe(hints[name])}")
    if any(fields[name].default is attrs.NOTHING for name in bad):
        return None
    with attrs.validators.disabled():
        made = cls(**values)
    for name, spec in fields.items():
        if name not in bad:
            problems.extend(_validate(made, spec, f"{path}.{name}"))
    return made if len(problems) == found_before else None


@functools.cache
def _converter() -> cattrs.Converter:
    """A converter that never coerces: `"5"` is no number, `1` is not true."""
    import cattrs  # noqa: PLC0415 # slow to import, and `slt --help` needs no config

    converter = cattrs.Converter(detailed_validation=False)
    for kind in (bool, int, str):
        converter.register_structure_hook(kind, functools.partial(_take, kind=kind))
    converter.register_structure_hook(float, _take_number)
    converter.register_structure_hook_func(lambda hint: hint == tuple[str, ...], _take_texts)
    return converter


def _take(value: Any, _: Any, *, kind: type) -> Any:
    if type(value) is not kind:
        raise TypeError(f"found `{value!r}`, allowed is {_WORDS[kind]}")
    return value


def _take_number(value: Any, _: Any) -> float:
    if type(value) not in {int, float}:
        raise TypeError(f"found `{value!r}`, allowed is a number")
    return float(value)


def _take_texts(value: Any, _: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise TypeError(f"found `{value!r}`, allowed is a list of texts")
    return tuple(value)


def _validate(made: Any, spec: attrs.Attribute[Any], path: str) -> Iterable[str]:
    value = getattr(made, spec.name)
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path}: found `{value}`, allowed is a finite number"
    elif value is not None and spec.validator is not None:
        try:
            spec.validator(made, spec, value)
        except (ValueError, TypeError) as error:
            text = re.sub(rf"^(Length of )?'{spec.name}' ", r"\1it ", str(error.args[0]))
            text = re.sub(r"(: [^:]*| \(.* was given\)| \(got .*\)|, got .*)$", "", text)
            yield f"{path}: found `{value!r}`, {text}"
