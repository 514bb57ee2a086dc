"""Supervised loops: each declares how soon it comes round, and the one that does not is named."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from attrs import define, frozen

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LateLoop", "LoopMark", "Loops"]


@frozen
class LateLoop:
    """A loop that has not come round within its deadline.

    Attributes:
        name: As declared.
        silent_seconds: Since it last came round.
        deadline_seconds: As declared.
    """

    name: str
    silent_seconds: float
    deadline_seconds: float


class LoopMark:
    """One loop's own mark.

    Args:
        clock: Seconds that never go back.
        deadline_seconds: Silence from which the loop is late.
    """

    def __init__(self, clock: Callable[[], float], deadline_seconds: float) -> None:
        self.deadline_seconds = deadline_seconds
        self._clock = clock
        self._beaten: float | None = clock()

    def beat(self) -> None:
        """The loop comes round, or begins to work."""
        self._beaten = self._clock()

    def rest(self) -> None:
        """The loop waits for work, however long that takes: it is not late until it beats again."""
        self._beaten = None

    @property
    def silent_seconds(self) -> float:
        """Time since it came round; 0 while it waits for work."""
        return 0.0 if self._beaten is None else max(self._clock() - self._beaten, 0.0)


@define(eq=False)
class _Watched:
    """A loop that is looked at from outside."""

    mark: LoopMark
    progress: Callable[[], object]
    is_idle: Callable[[], bool]
    last: object


class Loops:
    """All supervised loops of a run.

    Args:
        clock: Seconds that never go back.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._marks: dict[str, LoopMark] = {}
        self._watched: dict[str, _Watched] = {}

    def declare(self, name: str, *, interval_seconds: float, deadline_seconds: float) -> LoopMark:
        """A loop says how often it comes round and from when on it is late; it then beats at every round.

        Args:
            name: Unique.
            interval_seconds: Usual distance of its rounds.
            deadline_seconds: Longer than that.

        Raises:
            ValueError: The name is taken, or the deadline is no longer than the interval.
        """
        if not deadline_seconds > interval_seconds:
            raise ValueError(
                f"the deadline of `{name}` was {deadline_seconds:g} s; it must be above its interval of "
                f"{interval_seconds:g} s"
            )
        return self._add(name, deadline_seconds)

    def watch(
        self, name: str, *, deadline_seconds: float, progress: Callable[[], object], is_idle: Callable[[], bool]
    ) -> None:
        """Supervise a loop that does not beat: it is late when it has work and nothing about it changes.

        Args:
            name: Unique.
            deadline_seconds: Longer than its longest step.
            progress: Anything that changes as it gets on; quick.
            is_idle: Whether it has nothing to do; quick.

        Raises:
            ValueError: The name is taken.
        """
        self._watched[name] = _Watched(self._add(name, deadline_seconds), progress, is_idle, None)

    def forget(self, name: str) -> None:
        """A loop has ended; one that is unknown is no error."""
        self._marks.pop(name, None)
        self._watched.pop(name, None)

    def late(self) -> tuple[LateLoop, ...]:
        """The loops that are late now, in order of declaration; to be asked regularly, for those looked at."""
        for watched in self._watched.values():
            found = watched.progress()
            if watched.is_idle() or found != watched.last:
                watched.last = found
                watched.mark.beat()
        return tuple(
            LateLoop(name, mark.silent_seconds, mark.deadline_seconds)
            for name, mark in self._marks.items()
            if mark.silent_seconds > mark.deadline_seconds
        )

    def _add(self, name: str, deadline_seconds: float) -> LoopMark:
        if name in self._marks:
            raise ValueError(f"a loop `{name}` is declared already")
        mark = self._marks[name] = LoopMark(self._clock, deadline_seconds)
        return mark
