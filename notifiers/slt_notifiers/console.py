"""Notices on the terminal."""

from __future__ import annotations

import select
import sys
from typing import TYPE_CHECKING, TextIO

from attrs import field, frozen
from attrs.validators import in_

from slt import hookimpl

if TYPE_CHECKING:
    from slt.types import Notice

__all__ = ["ConsoleNotifier", "ConsoleNotifierConfig"]

_STYLES = {"good": "green", "bad": "red", "neutral": "cyan"}
_CONTROL = dict.fromkeys((*range(32), 127, *range(128, 160)), " ")


@frozen(kw_only=True)
class ConsoleNotifierConfig:
    """Options of `ConsoleNotifier`.

    Attributes:
        stream: stderr, or stdout where nothing else is read from it.
        style: auto (colours on a terminal, plain text elsewhere), rich or plain.
    """

    stream: str = field(default="stderr", validator=in_(("stderr", "stdout")))
    style: str = field(default="auto", validator=in_(("auto", "rich", "plain")))


class ConsoleNotifier:
    """Prints notices as lines, coloured by tone on a terminal; on stderr, so that output and progress bars stay whole.

    Args:
        config: See `ConsoleNotifierConfig`.
    """

    config_class = ConsoleNotifierConfig

    def __init__(self, config: ConsoleNotifierConfig) -> None:
        self._config = config

    @hookimpl
    async def slt_send_notice(self, notice: Notice) -> None:
        """Print one line.

        Raises:
            BlockingIOError: The terminal is stopped (Ctrl-S), or nobody reads the pipe: writing would hold up the run.
            OSError: The stream is closed or full.
        """
        # Looked up at each notice: a progress bar on screen puts its own stream in place of stderr.
        stream: TextIO = getattr(sys, self._config.stream)
        if not _takes_text(stream):
            raise BlockingIOError(f"nobody takes what is written to {self._config.stream}")
        style = self._config.style
        if style == "rich" or (style == "auto" and stream.isatty()):
            _print_rich(notice, stream, force=style == "rich")
        else:
            stream.write(line_of(notice) + "\n")
        stream.flush()


def line_of(notice: Notice) -> str:
    """A notice as one line of plain text: kind, title, then ``label value`` pairs. Control characters become spaces."""
    details = " · ".join(f"{label} {text}" for label, text in notice.fields)
    line = f"[{notice.kind}] {notice.title}" + (f" — {details}" if details else "")
    return line.translate(_CONTROL)


def _takes_text(stream: TextIO) -> bool:
    if not hasattr(select, "poll"):  # Windows, where only sockets can be asked
        return True
    try:
        poller = select.poll()
        poller.register(stream.fileno(), select.POLLOUT)
        return bool(poller.poll(0))
    except (OSError, ValueError, AttributeError):  # a stream in memory, or a closed one, which the write will tell
        return True


def _print_rich(notice: Notice, stream: TextIO, *, force: bool) -> None:
    from rich.console import Console  # noqa: PLC0415 - only where it prints
    from rich.text import Text  # noqa: PLC0415 - as above

    style = _STYLES.get(notice.tone, _STYLES["neutral"])
    text = Text.assemble(
        (notice.kind.translate(_CONTROL), f"bold {style}"), " ", (notice.title.translate(_CONTROL), style)
    )
    for label, value in notice.fields:
        text.append(f"  {label.translate(_CONTROL)} ", "dim")
        text.append(value.translate(_CONTROL))
    Console(file=stream, force_terminal=True if force else None, highlight=False).print(text, soft_wrap=True)
