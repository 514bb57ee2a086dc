"""One number for how well the run is, and the parts it is made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Health", "HealthPart", "HealthReport"]

_GREEN, _YELLOW = 80.0, 50.0


@frozen
class HealthPart:
    """One part of the run.

    Attributes:
        name: As registered.
        score: 0 (dead) to 100 (well).
        detail: One line for a person.
        is_critical: Whether the whole can be no better than this part.
    """

    name: str
    score: float
    detail: str
    is_critical: bool


@frozen
class HealthReport:
    """The whole and its parts.

    Attributes:
        score: 0 to 100: the mean of all parts, or the worst critical part where that is lower; 100 without parts.
        status: ``green`` from 80, ``yellow`` from 50, ``red`` below.
        parts: In the order of registration.
    """

    score: float
    status: str
    parts: tuple[HealthPart, ...]


class Health:
    """Asks registered parts how they are.

    A check is quick and does no I/O: it reads what its component knows already.
    """

    def __init__(self) -> None:
        self._checks: dict[str, tuple[Callable[[], tuple[float, str]], bool]] = {}

    def register(self, name: str, check: Callable[[], tuple[float, str]], *, is_critical: bool = False) -> None:
        """Add a part.

        Args:
            name: Unique.
            check: Gives the score, 0 to 100, and one line of detail. One that raises, or gives NaN, counts as 0.
            is_critical: Whether the whole can be no better than this part.

        Raises:
            ValueError: The name is taken.
        """
        if name in self._checks:
            raise ValueError(f"a part `{name}` is registered already")
        self._checks[name] = (check, is_critical)

    def report(self) -> HealthReport:
        """Ask every part, now."""
        parts = tuple(_ask(name, check, critical) for name, (check, critical) in self._checks.items())
        mean = math.fsum(part.score for part in parts) / len(parts) if parts else 100.0
        score = min([mean, *(part.score for part in parts if part.is_critical)])
        status = "green" if score >= _GREEN else "yellow" if score >= _YELLOW else "red"
        return HealthReport(score, status, parts)


def _ask(name: str, check: Callable[[], tuple[float, str]], is_critical: bool) -> HealthPart:
    try:
        score, detail = check()
        score = min(max(float(score), 0.0), 100.0) if math.isfinite(score) else 0.0
    except Exception as error:  # noqa: BLE001 - a check that fails is itself the news
        # Its text stays out: it may hold an address with a password.
        return HealthPart(name, 0.0, f"the check failed: {type(error).__name__}", is_critical)
    return HealthPart(name, score, detail, is_critical)
