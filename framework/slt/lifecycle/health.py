"""One number for how well the run is, and the parts it is made of."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from attrs import frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

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
        self._checks: dict[str, tuple[Callable[[], Any], bool]] = {}
        self._groups: set[str] = set()

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

    def register_group(
        self, name: str, check: Callable[[], Mapping[str, tuple[float, str]]], *, is_critical: bool = False
    ) -> None:
        """Add parts whose number may change, such as connections; each is called ``<name> <key>``.

        Args:
            name: Unique.
            check: Gives score and detail of each by its key. One that raises counts as one part `name` at 0.
            is_critical: Whether the whole can be no better than each of them.

        Raises:
            ValueError: The name is taken.
        """
        self.register(name, check, is_critical=is_critical)  # type: ignore[arg-type] # told apart in `report`
        self._groups.add(name)

    def report(self) -> HealthReport:
        """Ask every part, now."""
        parts: list[HealthPart] = []
        for name, (check, is_critical) in self._checks.items():
            if name in self._groups:
                parts += _ask_group(name, check, is_critical)
            else:
                parts.append(_ask(name, check, is_critical))
        mean = math.fsum(part.score for part in parts) / len(parts) if parts else 100.0
        score = min([mean, *(part.score for part in parts if part.is_critical)])
        status = "green" if score >= _GREEN else "yellow" if score >= _YELLOW else "red"
        return HealthReport(score, status, tuple(parts))


def _ask_group(name: str, check: Callable[[], Mapping[str, tuple[float, str]]], is_critical: bool) -> list[HealthPart]:
    try:
        found = dict(check())
    except Exception as error:  # noqa: BLE001 - as below
        return [HealthPart(name, 0.0, f"the check failed: {type(error).__name__}", is_critical)]
    return [_ask(f"{name} {key}", _already(given), is_critical) for key, given in found.items()]


def _already(given: tuple[float, str]) -> Callable[[], tuple[float, str]]:
    return lambda: given


def _ask(name: str, check: Callable[[], tuple[float, str]], is_critical: bool) -> HealthPart:
    try:
        score, detail = check()
        score = min(max(float(score), 0.0), 100.0) if math.isfinite(score) else 0.0
    except Exception as error:  # noqa: BLE001 - a check that fails is itself the news
        # Its text stays out: it may hold an address with a password.
        return HealthPart(name, 0.0, f"the check failed: {type(error).__name__}", is_critical)
    return HealthPart(name, score, detail, is_critical)
