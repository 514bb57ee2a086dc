from __future__ import annotations

import pytest

from slt.lifecycle import Health, LateLoop, Loops


class Clock:
    def __init__(self):
        self.now = 50.0

    def __call__(self):
        return self.now


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def loops(clock):
    return Loops(clock)


def test_loop_is_late_past_its_own_deadline_and_named(loops, clock):
    quick = loops.declare("quick", interval_seconds=1.0, deadline_seconds=5.0)
    loops.declare("slow", interval_seconds=60.0, deadline_seconds=100.0)
    clock.now += 5.0
    assert loops.late() == ()
    clock.now += 0.5
    assert loops.late() == (LateLoop("quick", 5.5, 5.0),)
    clock.now += 95.0
    assert [one.name for one in loops.late()] == ["quick", "slow"]
    quick.beat()
    assert [one.name for one in loops.late()] == ["slow"]


def test_loop_that_waits_for_work_is_never_late(loops, clock):
    mark = loops.declare("worker", interval_seconds=1.0, deadline_seconds=5.0)
    mark.rest()
    clock.now += 1e6
    assert loops.late() == ()
    mark.beat()
    clock.now += 6.0
    assert [one.name for one in loops.late()] == ["worker"]


def test_watched_loop_is_late_when_it_has_work_and_does_not_get_on(loops, clock):
    state = {"done": 0, "waiting": 0}
    loops.watch("writer", deadline_seconds=10.0, progress=lambda: state["done"], is_idle=lambda: state["waiting"] == 0)
    for _ in range(5):
        clock.now += 100.0
        assert loops.late() == ()
    state["waiting"] = 3
    for done in range(5):
        state["done"] = done + 1
        clock.now += 9.0
        assert loops.late() == ()
    clock.now += 9.0
    assert loops.late() == ()
    clock.now += 9.0
    assert loops.late() == (LateLoop("writer", 18.0, 10.0),)
    state["waiting"] = 0
    assert loops.late() == ()


def test_deadline_no_longer_than_the_interval_is_refused(loops):
    with pytest.raises(ValueError, match="deadline of `x` was 5 s; it must be above its interval of 5 s"):
        loops.declare("x", interval_seconds=5.0, deadline_seconds=5.0)


def test_name_that_is_taken_is_refused_until_it_is_forgotten(loops):
    loops.declare("x", interval_seconds=1.0, deadline_seconds=5.0)
    with pytest.raises(ValueError, match="`x` is declared already"):
        loops.watch("x", deadline_seconds=1.0, progress=int, is_idle=bool)
    loops.forget("x")
    loops.forget("x")
    loops.declare("x", interval_seconds=1.0, deadline_seconds=5.0)


def test_group_of_parts_grows_and_shrinks_and_each_counts():
    health, found = Health(), {"a": (100.0, "well"), "b": (20.0, "down")}
    health.register("x", lambda: (60.0, "so"))
    health.register_group("feed", lambda: found, is_critical=True)
    report = health.report()
    assert [(p.name, p.score) for p in report.parts] == [("x", 60.0), ("feed a", 100.0), ("feed b", 20.0)]
    assert (report.score, report.status) == (20.0, "red")
    found.clear()
    assert health.report().score == 60.0
    with pytest.raises(ValueError, match="`feed` is registered already"):
        health.register_group("feed", dict)


def test_group_whose_check_fails_is_one_dead_part_without_its_words():
    def check():
        raise OSError("redis://u:s3cret@cache")

    health = Health()
    health.register_group("feed", check)
    (part,) = health.report().parts
    assert (part.name, part.score, part.detail) == ("feed", 0.0, "the check failed: OSError")
