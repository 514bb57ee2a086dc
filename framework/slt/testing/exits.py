"""The conformance kit of exits: subclass `ExitConformance`, give one fixture, run pytest."""

# ruff: noqa: S101 - a conformance kit is made of assertions
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from attrs import evolve, frozen

from slt.hookspecs import ExitSpecs
from slt.testing.laws import assert_described
from slt.testing.markets import make_outlook, make_point, make_position, mirror_position
from slt.types import ExitMark, ExitOrder, Outlook, Position, PricePoint

__all__ = ["ExitCase", "ExitConformance", "exit_cases"]

MakeExit = Callable[[], ExitSpecs]
Answer = ExitOrder | ExitMark | None

_NAN = float("nan")
_UNKNOWN = make_outlook(_NAN, _NAN, _NAN, trends={})
_FAVOURABLE = make_outlook(0.92, 0.91, 0.93, p_win=0.7, p_win_before=0.7)
_ADVERSE_TRENDS = {"1h": -1.0, "15m": -1.0, "5m": -1.0}
_OUTLOOKS: tuple[Outlook | None, ...] = (
    None,
    _UNKNOWN,
    make_outlook(),
    _FAVOURABLE,
    make_outlook(0.18, 0.12, 0.13, p_win=0.2, p_win_before=0.2, trends=_ADVERSE_TRENDS),
    make_outlook(0.5, 0.5, 0.5, confidence_before=0.81, p_win=0.4, p_win_before=0.61),
)
# Gains in R off every round number, so that no case stands on a threshold.
_GAINS = (-1.73, -1.07, -0.93, -0.71, -0.53, -0.47, -0.11, 0.03, 0.17, 0.23, 0.43, 0.67, 1.03, 1.37)
_MINUTES = (1.0, 121.0)


@frozen
class ExitCase:
    """One situation that an exit is asked in.

    Attributes:
        position: The open position.
        point: The price now.
        outlook: The outlook, or None.
    """

    position: Position
    point: PricePoint
    outlook: Outlook | None


def exit_cases(side: int = 1, *, costs: bool = True) -> Iterator[ExitCase]:
    """Situations from a full loss to a good gain, young and old, with every kind of outlook.

    Args:
        side: +1 long, -1 short.
        costs: Include positions that paid fees; without them a short mirrors a long exactly.
    """
    variants: list[dict[str, Any]] = [
        {},
        {"risk": 3.0},
        {"leverage": 60},
        {"stop_resting": False},
        {"stop_traded_time": make_point(1.0, minutes=0.5).time},
        {"entry_outlook": _FAVOURABLE, "risk": 3.0},
        {"peak_gain": 1.5},
    ]
    if costs:
        variants += [{"cost_rate": 0.0007, "costs_paid": 0.1, "risk": risk} for risk in (1.0, 3.0)]
    for variant in variants:
        for gain in _GAINS:
            for minutes in _MINUTES:
                for outlook in _OUTLOOKS:
                    position = make_position(side, **variant)
                    point = make_point(position.price_at_gain(gain), minutes=minutes)
                    position.peak_gain = max(position.peak_gain, position.net_gain(point.price))
                    yield ExitCase(position, point, outlook)


class ExitConformance:
    """What every exit must do. A subclass gives the fixture `make_exit`; nothing else is needed.

    ``make_exit()`` makes a plugin instance. It is asked in some thousand situations (`exit_cases`), once as they are
    and once with every mark it ever left.
    """

    @pytest.fixture
    def make_exit(self) -> MakeExit:
        """How to make an exit; the subclass overrides it."""
        raise NotImplementedError("give the fixture `make_exit`: a function that makes an exit")

    def test_e01_describes_itself(self, make_exit: MakeExit) -> None:
        """E01: documented class and options."""
        assert_described(make_exit())

    def test_e02_answers_are_orders_marks_or_none(self, make_exit: MakeExit) -> None:
        """E02: nothing else is answered, and in some of the situations it closes."""
        answers = [answer for _, answer in _asked(make_exit())]
        for answer in answers:
            assert answer is None or isinstance(answer, ExitOrder | ExitMark), f"{answer!r} is no answer of an exit"
        assert any(isinstance(a, ExitOrder) for a in answers), "it closes in none of the situations: nothing was tested"

    def test_e03_is_pure(self, make_exit: MakeExit) -> None:
        """E03: the position stays as it is, and the same question gets the same answer, from another instance too."""
        plugin, other = make_exit(), make_exit()
        for case in _situations(plugin):
            before = copy.deepcopy(case.position)
            answer, again = _ask(plugin, case), _ask(plugin, case)
            assert case.position == before, f"the position was changed: {case}"
            assert again == answer == _ask(other, case), f"asked twice, it answers {answer} and {again}: {case}"

    def test_e04_fraction_is_a_share(self, make_exit: MakeExit) -> None:
        """E04: an order closes more than nothing and at most everything."""
        for case, order in _orders(make_exit()):
            assert 0.0 < order.fraction <= 1.0, f"fraction {order.fraction}: {case}"

    def test_e05_trigger_price_was_on_the_way(self, make_exit: MakeExit) -> None:
        """E05: a trigger price is a level the price has passed: between the entry, the peak and the price now."""
        for case, order in _orders(make_exit()):
            if order.trigger_price is None:
                continue
            position, price = case.position, case.point.price
            seen = (position.entry_price, price, position.price_at_net_gain(position.peak_gain))
            slack = 1e-9 * position.entry_price
            assert min(seen) - slack <= order.trigger_price <= max(seen) + slack, (
                f"trigger price {order.trigger_price} was never traded, prices were {min(seen)} to {max(seen)}: {case}"
            )

    def test_e06_unknown_outlook_is_no_outlook(self, make_exit: MakeExit) -> None:
        """E06: an outlook of NaN and None says what a missing outlook says: nothing."""
        plugin = make_exit()
        for case, answer in _asked(plugin):
            if case.outlook is None:
                unknown = _ask(plugin, evolve(case, outlook=_UNKNOWN))
                assert answer == unknown, f"without outlook it answers {answer}, with an unknown one {unknown}: {case}"

    @pytest.mark.parametrize(
        "name", ["confidence", "rebound", "continuation", "p_win", "trends", "confidence_before", "p_win_before"]
    )
    def test_e07_unknown_value_never_fires(self, make_exit: MakeExit, name: str) -> None:
        """E07: where it closes with a value unknown, some known value in its place lets it close too."""
        plugin = make_exit()
        unknowns, knowns = _replacements(name)
        for case, _ in _asked(plugin, costs=False):
            if case.outlook is None:
                continue
            for unknown in unknowns:
                fired = _ask(plugin, evolve(case, outlook=evolve(case.outlook, **{name: unknown})))
                if isinstance(fired, ExitOrder):
                    others = [_ask(plugin, evolve(case, outlook=evolve(case.outlook, **{name: k}))) for k in knowns]
                    assert any(isinstance(a, ExitOrder) for a in others), f"{name} = {unknown} alone closes: {case}"

    def test_e08_short_mirrors_long(self, make_exit: MakeExit) -> None:
        """E08: without costs, a mirrored position at a mirrored price gets the mirrored answer."""
        plugin = make_exit()
        for case, answer in _asked(plugin, costs=False):
            twice = 2.0 * case.position.entry_price
            point = evolve(case.point, price=twice - case.point.price)
            mirrored = _ask(plugin, ExitCase(mirror_position(case.position), point, case.outlook))
            if isinstance(answer, ExitOrder) and answer.trigger_price is not None:
                assert isinstance(mirrored, ExitOrder), f"long: {answer}, short: {mirrored}: {case}"
                assert mirrored.trigger_price == pytest.approx(twice - answer.trigger_price, rel=1e-12), f"{case}"
                answer = evolve(answer, trigger_price=mirrored.trigger_price)  # noqa: PLW2901 - rounding aside
            assert mirrored == answer, f"long: {answer}, short: {mirrored}: {case}"

    def test_e09_mark_is_left_once(self, make_exit: MakeExit) -> None:
        """E09: a mark has a name, and where it stands already it is not left again."""
        for case, answer in _asked(make_exit()):
            if isinstance(answer, ExitMark):
                assert answer.name, f"a mark needs a name: {case}"
                assert answer.name not in case.position.marks, f"mark `{answer.name}` is left again: {case}"


def _ask(plugin: ExitSpecs, case: ExitCase) -> Answer:
    return plugin.slt_check_exit(position=case.position, point=case.point, outlook=case.outlook)


def _situations(plugin: ExitSpecs, *, costs: bool = True) -> Iterator[ExitCase]:
    """Every case; then every case on a position that carries all marks the exit leaves."""
    sides = (1, -1) if costs else (1,)
    answers = [_ask(plugin, case) for side in sides for case in exit_cases(side, costs=costs)]
    marks = {answer.name for answer in answers if isinstance(answer, ExitMark)}
    for side in sides:
        yield from exit_cases(side, costs=costs)
    for side in sides if marks else ():
        for case in exit_cases(side, costs=costs):
            case.position.marks |= marks
            yield case


def _asked(plugin: ExitSpecs, *, costs: bool = True) -> Iterator[tuple[ExitCase, Answer]]:
    return ((case, _ask(plugin, case)) for case in _situations(plugin, costs=costs))


def _orders(plugin: ExitSpecs) -> Iterator[tuple[ExitCase, ExitOrder]]:
    return ((case, answer) for case, answer in _asked(plugin) if isinstance(answer, ExitOrder))


def _replacements(name: str) -> tuple[list[Any], list[Any]]:
    """Unknown and known values of an outlook's field."""
    if name == "trends":
        return [{}, dict.fromkeys(_ADVERSE_TRENDS, _NAN)], [_ADVERSE_TRENDS, make_outlook().trends]
    unknowns = [None, _NAN] if name.startswith("p_win") else [_NAN]
    return unknowns, [0.0, 0.25, 0.5, 0.75, 1.0]
