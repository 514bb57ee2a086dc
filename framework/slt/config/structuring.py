"""From a TOML table to a frozen attrs class, with every problem named by its dotted path."""

from __future__ import annotations

import difflib
import functools
import json
import math
import re
import types
import typing
from typing import TYPE_CHECKING, Any, TypeVar

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterable

    import cattrs

__all__ = ["describe", "limits", "nearest", "structure", "unsupported_options"]

T = TypeVar("T")
_WORDS: dict[Any, str] = {
    bool: "true or false",
    int: "a whole number",
    float: "a number",
    str: "a text in quotes",
    tuple[str, ...]: "a list of texts",
}
_LONGEST_SHOWN = 120
_COMPARED = {">=": "at least", ">": "more than", "<=": "at most", "<": "less than"}


def nearest(name: str, allowed: Iterable[str]) -> str:
    """``; did you mean `x`?`` for the closest allowed name, or an empty string when none is close."""
    found = difflib.get_close_matches(name, list(allowed), n=1)
    return f"; did you mean `{found[0]}`?" if found else ""


def describe(hint: Any) -> str:
    """An option's type in words.

    Raises:
        KeyError: The type is none that an option may have.
    """
    inner = _inner(hint)
    return _WORDS[inner] if inner is hint else f"{_WORDS[inner]} (or leave it out)"


def limits(validator: Any) -> str:
    """What an attrs validator demands, in words: ``more than 0 and at most 1``; empty where it does not say."""
    parts = getattr(validator, "_validators", (validator,))
    return " and ".join(filter(None, map(_limit, parts)))


def unsupported_options(cls: type) -> list[str]:
    """The fields of a config class whose type no option may have, one line each, for the plugin's author."""
    try:
        hints = typing.get_type_hints(cls)
    except Exception as error:  # noqa: BLE001 # whatever evaluating a stranger's annotations raises
        return [f"the types of its options cannot be told: {type(error).__name__}: {error}"]
    allowed = "bool, int, float, str, tuple[str, ...], or one of these or None"
    words = {name: hint.__name__ if type(hint) is type else hint for name, hint in hints.items()}
    return [
        f"its option `{spec.name}` is of type `{words.get(spec.name)}`, allowed is {allowed}"
        for spec in attrs.fields(cls)
        if _inner(hints.get(spec.name)) not in _WORDS
    ]


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
    for key in sorted(table.keys() - fields.keys()):
        options = ", ".join(fields) or "there are none"
        problems.append(f"{path}.{key}: unknown option{nearest(key, fields)} (options: {options})")
    values, bad = _take_values(table, cls, path, problems)
    arguments = {fields[name].alias: value for name, value in values.items()}
    try:
        made = _unfinished(typing.cast("Any", cls))(**arguments)
        for name, spec in fields.items():
            if name not in bad:
                problems.extend(_validate(made, spec, f"{path}.{name}"))
        return cls(**arguments) if len(problems) == found_before else None
    except (ValueError, TypeError) as error:
        problems.append(f"{path}: {error}")
        return None


def _take_values(
    table: dict[str, Any], cls: type, path: str, problems: list[str]
) -> tuple[dict[str, Any], frozenset[str]]:
    """The values given, each of its option's type, and the names of options that are missing or of another type."""
    hints = typing.get_type_hints(cls)
    values: dict[str, Any] = {}
    bad = set()
    for spec in attrs.fields(cls):
        name = spec.name
        if name in table:
            try:
                values[name] = _converter().structure(table[name], hints[name])
                continue
            except TypeError as error:
                problems.append(f"{path}.{name}: {error}")
        elif spec.default is attrs.NOTHING:
            problems.append(f"{path}.{name}: missing; it has no default, give {describe(hints[name])}")
        else:
            continue
        bad.add(name)
        if spec.default is attrs.NOTHING:
            values[name] = None
    return values, frozenset(bad)


class _Unchecked:
    """Stands before a config class so that an object can be made of values that are yet to be checked."""

    __slots__ = ()

    def __attrs_post_init__(self) -> None:
        """Check nothing."""


@functools.cache
def _unfinished(cls: Any) -> Any:
    made = type(cls.__name__, (_Unchecked, cls), {"__slots__": ()})

    def make(**values: Any) -> Any:
        with attrs.validators.disabled():
            return made(**values)

    return make


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
        raise TypeError(f"found `{_shown(value)}`, allowed is {_WORDS[kind]}")
    return value


def _take_number(value: Any, _: Any) -> float:
    if type(value) not in {int, float}:
        raise TypeError(f"found `{_shown(value)}`, allowed is a number")
    try:
        return float(value)
    except OverflowError:
        raise TypeError("found a number with more than 308 digits, allowed is a number") from None


def _take_texts(value: Any, _: Any) -> tuple[str, ...]:
    if not isinstance(value, list | tuple) or not all(isinstance(v, str) for v in value):
        raise TypeError(f"found `{_shown(value)}`, allowed is a list of texts")
    return tuple(value)


def _inner(hint: Any) -> Any:
    """The type beside None, or the type itself."""
    if typing.get_origin(hint) in {types.UnionType, typing.Union}:
        inner = [a for a in typing.get_args(hint) if a is not type(None)]
        return inner[0] if len(inner) == 1 else hint
    return hint


def _validate(made: Any, spec: attrs.Attribute[Any], path: str) -> Iterable[str]:
    value = getattr(made, spec.name)
    if isinstance(value, float) and not math.isfinite(value):
        yield f"{path}: found `{_shown(value)}`, allowed is a finite number"
    elif value is not None and spec.validator is not None:
        try:
            spec.validator(made, spec, value)
        except (ValueError, TypeError) as error:
            yield f"{path}: {_refusal(error, spec, value)}"


def _refusal(error: Exception, spec: attrs.Attribute[Any], value: Any) -> str:
    """Found and allowed for attrs' own validators; for others what they say."""
    text = str(error.args[0]) if error.args else type(error).__name__
    if not re.match(rf"(Length of )?'{re.escape(spec.name)}' ", text):
        return text
    return f"found `{_shown(value)}`, allowed is {limits(spec.validator) or text}"


def _limit(validator: Any) -> str:
    inner = getattr(validator, "validator", None)
    if inner is not None:
        return limits(inner)
    if hasattr(validator, "compare_op"):
        return f"{_COMPARED[validator.compare_op]} {validator.bound}"
    if hasattr(validator, "min_length"):
        return "not empty" if validator.min_length == 1 else f"a length of at least {validator.min_length}"
    if hasattr(validator, "options"):
        return _listed([str(o) for o in validator.options])
    if hasattr(validator, "pattern"):
        return f"a text like `{validator.pattern.pattern}` (a regular expression)"
    return ""


def _listed(words: list[str]) -> str:
    return " or ".join(filter(None, [", ".join(words[:-1]), words[-1]]))


def _shown(value: Any) -> str:
    """A value as the file has it, on one line and not too long."""
    if isinstance(value, bool):
        text = str(value).lower()
    elif isinstance(value, str):
        text = json.dumps(value, ensure_ascii=False)
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(map(_shown, value))}]"
    else:
        text = str(value)
    return text if len(text) <= _LONGEST_SHOWN else f"{text[:_LONGEST_SHOWN]}…"
