"""How a run looks while it goes: a live bar on a terminal, one line now and then elsewhere."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol, Self

import click

if TYPE_CHECKING:
    from types import TracebackType

    from rich.progress import Progress as Bar
    from rich.progress import TaskID

    from slt.run.assembly import Assembly
    from slt.run.player import Progress

__all__ = ["ProgressView", "make_progress_view"]

_LINE_EVERY_S = 10.0


class ProgressView(Protocol):
    """Shows how far a run is; a context manager."""

    def started(self, assembly: Assembly) -> None:
        """Everything is open."""

    def progressed(self, progress: Progress) -> None:
        """A block is done."""

    def __enter__(self) -> Self:
        """Begin to show."""
        ...

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End."""


def make_progress_view(*, is_terminal: bool) -> ProgressView:
    """The view that fits where the output goes."""
    return _BarView() if is_terminal else _LineView()


def _headline(assembly: Assembly) -> str:
    market = assembly.market
    verb = "resuming" if assembly.folder.is_resumed else "starting"
    names = ", ".join(market.symbols[:8]) + (" …" if len(market.symbols) > 8 else "")
    return (
        f"{verb} run {assembly.folder.run_id} ({assembly.settings.run.mode}): {market.description}\n"
        f"{len(market.symbols)} symbols ({names}); storage: {assembly.storage_text}"
    )


def _day(time_ms: int) -> str:
    return datetime.fromtimestamp(time_ms / 1000, UTC).strftime("%Y-%m-%d")


class _Rate:
    """Bars per second since the first block."""

    def __init__(self) -> None:
        self._began: float | None = None
        self._first_rows = 0

    def update(self, progress: Progress) -> float:
        """Symbol-bars per second so far."""
        now = time.monotonic()
        if self._began is None:
            self._began, self._first_rows = now, progress.rows
        spent = now - self._began
        return (progress.rows - self._first_rows) * progress.symbols / spent if spent > 0 else 0.0


class _LineView:
    def __init__(self) -> None:
        self._rate = _Rate()
        self._next = 0.0

    def started(self, assembly: Assembly) -> None:
        for line in _headline(assembly).splitlines():
            click.echo(line, err=True)

    def progressed(self, progress: Progress) -> None:
        rate = self._rate.update(progress)
        now = time.monotonic()
        if now < self._next:
            return
        self._next = now + _LINE_EVERY_S
        share = f"{progress.rows / progress.total_rows:.0%} " if progress.total_rows else ""
        click.echo(
            f"{_day(progress.time)} {share}bars/s={rate:.0f} open={progress.open_positions} "
            f"trades={progress.trades} equity={progress.equity:.2f}",
            err=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing to end."""


class _BarView:
    def __init__(self) -> None:
        self._rate = _Rate()
        self._bar: Bar | None = None
        self._task: TaskID | None = None

    def started(self, assembly: Assembly) -> None:
        from rich.console import Console  # noqa: PLC0415 # rich only when something is drawn
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn  # noqa: PLC0415 # as above

        console = Console(stderr=True)
        console.print(_headline(assembly), highlight=False, markup=False)
        self._bar = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[figures]}"),
            console=console,
            transient=True,
        )
        self._task = self._bar.add_task("", total=assembly.market.total_bars, figures="")
        self._bar.start()

    def progressed(self, progress: Progress) -> None:
        if self._bar is None or self._task is None:
            return
        rate = self._rate.update(progress)
        figures = (
            f"{rate:,.0f} bars/s · {progress.open_positions} open · {progress.trades} trades · "
            f"equity {progress.equity:,.2f}"
        )
        self._bar.update(self._task, completed=progress.rows, description=_day(progress.time), figures=figures)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()
