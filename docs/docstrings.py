"""Docstrings as Markdown: Google-style sections become lists, tables and code are fenced."""

from __future__ import annotations

import inspect
import re
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

__all__ = ["doc_of", "fence", "first_paragraph", "inline", "prose", "section", "table"]


def doc_of(thing: Any) -> str:
    """The docstring of a thing that must have one."""
    text = inspect.getdoc(thing)
    if not text:
        raise SystemExit(f"{thing!r} has no docstring")
    return text


def first_paragraph(thing: Any) -> str:
    """The first paragraph of a thing's docstring, on one line."""
    return inline(" ".join(doc_of(thing).split("\n\n")[0].split()))


def section(doc: str, name: str) -> dict[str, str]:
    """Entries of a Google-style section of a docstring: name to text on one line."""
    match = re.search(rf"^{name}:\n((?:[ ]+.*\n|\n)*)", doc + "\n", re.MULTILINE)
    entries: dict[str, str] = {}
    for entry in re.split(r"\n(?=\S)", textwrap.dedent(match[1]).strip()) if match else ():
        key, _, text = entry.partition(":")
        entries[key.strip()] = inline(" ".join(text.split()))
    return entries


_SECTIONS = ("Args", "Returns", "Raises", "Attributes")


def prose(doc: str) -> str:
    """A docstring as Markdown; its ``Attributes`` are left to tables."""
    text = re.sub(r"^(Attributes):\n(?:[ ]+.*(?:\n|$)|\n)*", "", doc, flags=re.MULTILINE)
    paragraphs: list[str] = []
    code: list[str] = []
    for paragraph in [*text.split("\n\n"), ""]:
        lines = paragraph.strip("\n").split("\n")
        if lines != [""] and all(line.startswith("    ") or not line for line in lines):
            code.append(paragraph.strip("\n"))
            continue
        if code:
            paragraphs.append(_block("\n\n".join(code)))
            code = []
        paragraphs.append(_paragraph(lines))
    return "\n\n".join(p for p in paragraphs if p)


def _paragraph(lines: list[str]) -> str:
    head = lines[0].rstrip(":")
    if lines in ([""], ["::"]):
        return ""
    if head in _SECTIONS and len(lines) > 1:
        return _listed(head, "\n".join(lines[1:]))
    if lines[0].startswith("=="):
        return fence("text", "\n".join(lines))
    return inline(re.sub(r"::$", ":", "\n".join(lines).strip()))


def _block(text: str) -> str:
    code = re.sub(r"(?<=\S)\n\n(?=class |def |@)", "\n\n\n", textwrap.dedent(text))  # as formatters want it
    return fence("python" if re.search(r"^(class|from|import|def) ", code, re.MULTILINE) else "text", code)


def _listed(head: str, body: str) -> str:
    word = {"Args": "Arguments"}.get(head, head)
    if head == "Args" and re.fullmatch(r"\s*config: (The options\.|See `\w+`\.)\s*", body):
        return ""
    text = textwrap.dedent(body).strip()
    if head == "Returns":
        return f"**Returns** {inline(' '.join(text.split()))}"
    entries = [" ".join(entry.split()) for entry in re.split(r"\n(?=\S)", text)]
    return f"**{word}**\n\n" + "\n".join("* " + re.sub(r"^(\w+):", r"`\1`:", inline(entry)) for entry in entries)


def inline(text: str) -> str:
    """Double back-ticks to single ones; angle brackets outside of code stay visible."""
    parts = text.replace("``", "`").split("`")
    return "`".join(part if i % 2 else part.replace("<", "&lt;") for i, part in enumerate(parts))


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def fence(language: str, text: str) -> str:
    """A fenced block."""
    return f"```{language}\n{text}\n```"
