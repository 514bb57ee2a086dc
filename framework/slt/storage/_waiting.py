"""Waiting for a number to grow, and for a thread to end."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Progress", "in_thread"]

_Arguments = ParamSpec("_Arguments")
_Result = TypeVar("_Result")


class Progress:
    """A number that only grows, and those who wait for it to get somewhere."""

    def __init__(self) -> None:
        self.value = 0
        self._waiting: list[tuple[int, asyncio.Future[None]]] = []

    def advance(self, value: int) -> None:
        """Let the number grow to `value`; a smaller one changes nothing."""
        if value <= self.value:
            return
        self.value = value
        due = [future for goal, future in self._waiting if goal <= value]
        self._waiting = [(goal, future) for goal, future in self._waiting if goal > value]
        for future in due:
            if not future.done():
                future.set_result(None)

    async def reached(self, goal: int) -> None:
        """Wait until the number is at least `goal`."""
        while self.value < goal:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((goal, future))
            await future


async def in_thread(
    work: Callable[_Arguments, _Result], *args: _Arguments.args, **kwargs: _Arguments.kwargs
) -> _Result:
    """Run blocking file work in a thread; a cancellation waits for it, so that nobody meets it half done."""
    future = asyncio.get_running_loop().run_in_executor(None, partial(work, *args, **kwargs))
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait([future])
        raise
