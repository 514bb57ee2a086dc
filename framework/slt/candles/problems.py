"""All that is wrong with a set of files, collected before anything is refused."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field

from slt.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    import numpy as np
    from numpy.typing import NDArray

__all__ = ["MAX_LINES", "BadFileError", "FileProblems", "Problems"]

MAX_LINES = 20
"""Lines of a list of problems that a person is shown; the rest is counted."""

_EXAMPLES = 3


class BadFileError(Exception):
    """A file cannot be read to its end; the text goes on from the file's name."""


@define
class Problems:
    """Every problem found so far, in the order found.

    Attributes:
        lines: One line each, complete.
    """

    lines: list[str] = field(factory=list)

    def add(self, line: str) -> None:
        """Note one problem; a line noted before is not repeated."""
        if line not in self.lines:
            self.lines.append(line)

    def raise_if_any(self) -> None:
        """Refuse if anything was noted.

        Raises:
            DataError: With the first `MAX_LINES` problems, and one more line that counts the others.
        """
        if not self.lines:
            return
        shown = self.lines[:MAX_LINES]
        hidden = len(self.lines) - len(shown)
        if hidden:
            shown = [*shown, f"... and {hidden} more problem{'s' if hidden > 1 else ''}"]
        raise DataError(*shown)


@define
class FileProblems:
    """Problems of the rows of one file, by kind: the first few as examples, the others counted.

    Attributes:
        path: The file, as messages name it.
        row_word: What messages call a row: ``line`` in text files, ``row`` elsewhere.
        examples: Complete lines by kind.
        counts: Number of rows by kind.
    """

    path: Path
    row_word: str
    examples: dict[str, list[str]] = field(factory=dict)
    counts: dict[str, int] = field(factory=dict)

    def add_rows(
        self, kind: str, found: NDArray[np.intp], where: Callable[[int], str], what: Callable[[int], str]
    ) -> None:
        """Note rows of one kind.

        Args:
            kind: The kind in words that follow "more rows where": ``"high is below low"``.
            found: ``[n]``, positions of the rows in the arrays at hand.
            where: Row number and time of a position, for the message.
            what: What was found at a position.
        """
        if len(found) == 0:
            return
        known = self.examples.setdefault(kind, [])
        known += [f"{self.path}: {where(int(i))}: {what(int(i))}" for i in found[: _EXAMPLES - len(known)]]
        self.counts[kind] = self.counts.get(kind, 0) + len(found)

    def report(self, problems: Problems) -> None:
        """Hand everything noted over to `problems`."""
        for kind, lines in self.examples.items():
            for line in lines:
                problems.add(line)
            more = self.counts[kind] - len(lines)
            if more:
                problems.add(f"{self.path}: {more} more {self.row_word}{'s' if more > 1 else ''} where {kind}")
