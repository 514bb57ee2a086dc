"""How a run looks while it goes: a live bar on a terminal, a structured line now and then elsewhere."""

from __future__ import annotations

import io
import math
import os
import sys
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol, Self

from slt.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from rich.console import Console

    from slt.run.assembly import Assembly
    from slt.run.player import Progress

__all__ = ["ProgressView", "make_progress_view"]

_LINE_EVERY_S = 10.0
_PACED_LINE_EVERY_S = 3600.0
_NAMES_SHOWN = 4
_log = get_logger("lifecycle")


class ProgressView(Protocol):
    """Shows how far a run is; a context manager."""

    def started(self, assembly: Assembly) -> None:
        """Everything is open."""

    def progressed(self, progress: Progress) -> None:
        """A block is done."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(self, *_: object) -> None:
        """End."""


def make_progress_view(*, is_terminal: bool) -> ProgressView:
    """The view that fits where the output goes."""
    return _BarView() if is_terminal and os.environ.get("TERM", "") not in {"dumb", "unknown"} else _LineView()


def _headline(assembly: Assembly) -> str:
    market, folder = assembly.market, assembly.folder
    verb = "resuming" if folder.is_resumed else "starting"
    more = "" if len(market.symbols) <= _NAMES_SHOWN else ", …"
    names = ", ".join(market.symbols[:_NAMES_SHOWN]) + more
    count = f"{len(market.symbols)} symbol{'s' if len(market.symbols) > 1 else ''}"
    return (
        f"{verb} run {folder.run_id} ({assembly.settings.run.mode}): {market.description}\n"
        f"{count}: {names}; storage: {assembly.storage_text}"
    )


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")


def _minute(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


class _Rate:
    """Bars per second since the first block."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._first_rows = 0

    def update(self, progress: Progress) -> float | None:
        """Symbol-bars per second so far; None at the first block, which has nothing to be compared with."""
        now = time.monotonic()
        if self._began is None:
            self._began, self._first_rows = now, progress.rows
        spent = now - self._began
        return (progress.rows - self._first_rows) * progress.symbols / spent if spent > 0 else None


class _LineView:
    """Lines of the log, which is JSON where nobody watches: a few a minute in a back-test, one an hour elsewhere.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._rate = _Rate()
        self._next = -math.inf
        self._every = _LINE_EVERY_S

    def started(self, assembly: Assembly) -> None:
        market, folder = assembly.market, assembly.folder
        if assembly.settings.run.mode != "backtest":
            self._every = _PACED_LINE_EVERY_S
        _log.info(
            "run resumed" if folder.is_resumed else "run started",
            run=folder.run_id,
            mode=assembly.settings.run.mode,
            market=market.description,
            symbols=len(market.symbols),
            storage=assembly.storage_text,
        )

    def progressed(self, progress: Progress) -> None:
        rate = self._rate.update(progress)
        now = self._clock()
        if now < self._next:
            return
        self._next = now + self._every
        _log.info(
            "progress",
            time=progress.time,
            done=round(progress.rows / progress.total_rows, 4) if progress.total_rows else None,
            bars_per_second=None if rate is None else round(rate),
            open_positions=progress.open_positions,
            trades=progress.trades,
            equity=round(progress.equity, 2),
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


class _BarView:
    """Two lines that stay at the foot of the terminal; whatever else is written meanwhile goes above them."""

    def __init__(self) -> None:
        self._rate = _Rate()
        self._is_first = True
        self._live: Any = None
        self._saved: tuple[TextIO, TextIO] | None = None

    def __enter__(self) -> Self:
        from rich.console import Console, Group  # noqa: PLC0415 # rich only when something is drawn
        from rich.live import Live  # noqa: PLC0415 # as above
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415 # as above
        from rich.text import Text  # noqa: PLC0415 # as above

        # Bound to the stream itself: `sys.stderr` is about to become what prints above the bar.
        self._console = Console(file=sys.stderr)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(bar_width=None),
            TextColumn("{task.fields[share]}"),
            TimeRemainingColumn(),
            expand=True,
        )
        self._task = self._bar.add_task("opening", total=None, share="")
        self._figures = Text("", style="dim", no_wrap=True, overflow="ellipsis")
        self._live = Live(
            Group(self._bar, self._figures),
            console=self._console,
            refresh_per_second=8,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._saved = sys.stdout, sys.stderr
        if sys.stdout.isatty():
            sys.stdout = _AboveBar(self._console, sys.stdout)
        sys.stderr = _AboveBar(self._console, sys.stderr)
        self._live.start()
        return self

    def started(self, assembly: Assembly) -> None:
        self._console.print(_headline(assembly), highlight=False, markup=False)
        self._bar.update(self._task, total=assembly.market.total_bars, description="warming up")

    def progressed(self, progress: Progress) -> None:
        rate = self._rate.update(progress)
        if self._is_first:
            # A resumed run begins in the middle: what was done before says nothing about the time that is left.
            self._bar.reset(self._task, total=progress.total_rows, completed=progress.rows)
            self._is_first = False
        if progress.total_rows:
            share = f"{progress.rows / progress.total_rows:.0%}"
            self._bar.update(self._task, completed=progress.rows, description=_day(progress.time), share=share)
            parts = [] if rate is None else [f"{rate:,.0f} bars/s"]
        else:  # a live run has no end that a bar could show
            self._bar.update(self._task, visible=False)
            parts = [_minute(progress.time)]
        parts += [f"{progress.open_positions} open", f"{progress.trades:,} trades", f"equity {progress.equity:,.2f}"]
        self._figures.plain = " · ".join(parts)

    def __exit__(self, *_: object) -> None:
        if self._saved is not None:
            for stream in (sys.stdout, sys.stderr):
                if isinstance(stream, _AboveBar):
                    stream.finish()
            sys.stdout, sys.stderr = self._saved
        self._live.stop()


class _AboveBar(io.TextIOBase):
    """In place of a terminal's stream while the bar is drawn: takes text, prints whole lines above the bar.

    rich has such a stream too, but a `Console` made for it (a notifier may make one) sees through it and writes into
    the bar.
    """

    def __init__(self, console: Console, stream: TextIO) -> None:
        self._console = console
        self._stream = stream
        self._rest = ""

    @property
    def encoding(self) -> str:  # type: ignore[override] # read-only, as of any open stream
        return self._stream.encoding

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True

    def write(self, text: str, /) -> int:
        from rich.text import Text  # noqa: PLC0415 # it is there already, as the bar is

        *lines, self._rest = (self._rest + text).split("\n")
        for line in lines:
            self._console.print(Text.from_ansi(line), highlight=False)
        return len(text)

    def finish(self) -> None:
        """Print what has not been ended by a line break."""
        if self._rest:
            self.write("\n")
