"""Config sections as TOML, each option with its default and a one-line comment taken from the class itself."""

from __future__ import annotations

import inspect
import json
import re
import textwrap
import typing
from typing import Any

import attrs
from attrs import frozen

from slt.config.structuring import describe, limits

__all__ = ["Option", "options_of", "render_section", "render_value"]


_WIDTH = 100


@frozen
class Option:
    """One option of a config class.

    Attributes:
        name: Key in the file.
        type: Its type and limits in words.
        default: The default as TOML; None = it has to be given.
        text: What it means: the class's own documentation of the field.
    """

    name: str
    type: str
    default: str | None
    text: str


def options_of(cls: type) -> list[Option]:
    """Every option of a config class, in order, documented from the ``Attributes:`` part of its docstring."""
    texts = _attribute_texts(cls)
    hints = typing.get_type_hints(cls)
    made = []
    for spec in attrs.fields(cls):
        words = ", ".join(filter(None, [describe(hints[spec.name]), limits(spec.validator)]))
        made.append(Option(spec.name, words, _default_of(spec), texts.get(spec.name, "")))
    return made


def _default_of(spec: attrs.Attribute[Any]) -> str | None:
    default: Any = spec.default
    if default is attrs.NOTHING:
        return None
    return render_value(default.factory() if isinstance(default, attrs.Factory) else default)  # type: ignore[arg-type] # a class, whatever its stub says


def render_value(value: Any) -> str:
    """A value as TOML; None, which TOML lacks, as an empty text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        # TOML writes texts as JSON does, but for this one control character, which has to be escaped.
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, tuple | list):
        return "[" + ", ".join(render_value(v) for v in value) + "]"
    return repr(value)


def render_section(header: str, made: Any, *, comments: bool = True) -> str:
    """One table of config.toml with every option of the object `made`; options that are None are commented out."""
    lines = [f"[{header}]"]
    texts = _attribute_texts(type(made))
    for spec in attrs.fields(type(made)):
        value = getattr(made, spec.name)
        if comments:
            lines.append(f"# {texts.get(spec.name, '')}")
        lines.append(f"# {spec.name} =" if value is None else f"{spec.name} = {_wrapped(spec.name, value)}")
    return "\n".join(lines) + "\n"


def _wrapped(name: str, value: Any) -> str:
    """A value as TOML, a long list with one entry a line."""
    text = render_value(value)
    if isinstance(value, tuple | list) and len(name) + len(text) > _WIDTH:
        return "[\n" + "".join(f"    {render_value(v)},\n" for v in value) + "]"
    return text


def _attribute_texts(cls: type) -> dict[str, str]:
    doc = inspect.getdoc(cls) or ""
    _, _, part = doc.partition("Attributes:\n")
    part = re.split(r"\n(?=\S)", part, maxsplit=1)[0]
    texts = {}
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(part).strip()):
        name, _, text = entry.partition(":")
        texts[name.strip()] = " ".join(text.split())
    return texts
