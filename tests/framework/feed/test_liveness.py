"""When a connection is judged dead, and which symbols are asked for again."""

from __future__ import annotations

from slt.config import FeedConfig
from slt.feed.liveness import Liveness, Verdict

STREAMS = tuple(f"s{i}" for i in range(10))


def made(**options):
    liveness = Liveness(FeedConfig(**options))
    liveness.begin(1_000.0, STREAMS)
    return liveness


def hear(liveness, now, streams):
    liveness.last = now
    liveness.heard.update(dict.fromkeys(streams, now))


def test_judge_connection_that_speaks_is_left_alone():
    liveness = made()
    for now in range(1_010, 2_000, 10):
        hear(liveness, now, STREAMS)
        assert liveness.judge(now) == Verdict()


def test_judge_no_message_for_a_minute_is_silent():
    liveness = made()
    assert liveness.judge(1_060.0) == Verdict()
    assert liveness.judge(1_060.1) == Verdict("silent")


def test_judge_connection_without_symbols_is_never_silent():
    liveness = made()
    liveness.begin(1_000.0, ())
    assert liveness.judge(9_999.0) == Verdict()


def test_judge_one_silent_symbol_is_asked_again_at_most_every_ten_minutes():
    liveness = made()
    asked = []
    for now in range(1_010, 3_000, 10):
        hear(liveness, now, STREAMS[1:])
        verdict = liveness.judge(now)
        if verdict.resubscribe:
            assert verdict == Verdict("", ("s0",))
            asked.append(now)
    assert asked == [1_190, 1_790, 2_390, 2_990]


def test_judge_a_fifth_of_the_symbols_silent_makes_the_connection_anew_once_in_ten_minutes():
    liveness = made()
    remade = []
    for now in range(1_010, 2_000, 10):
        hear(liveness, now, STREAMS[2:])
        verdict = liveness.judge(now)
        assert verdict.resubscribe == ()
        if verdict.cause:
            assert verdict.cause == "symbols_silent"
            remade.append(now)
    assert remade == [1_190, 1_790]


def test_judge_half_of_the_symbols_silent_asks_for_none():
    liveness = made(silent_share=1.0)
    hear(liveness, 1_200.0, STREAMS[:5])
    assert liveness.judge(1_200.0) == Verdict()
    hear(liveness, 1_200.0, STREAMS[:6])
    assert liveness.judge(1_200.0).resubscribe == STREAMS[6:]


def test_begin_forgets_what_the_last_socket_did():
    liveness = made()
    hear(liveness, 1_200.0, STREAMS[1:])
    liveness.begin(1_200.0, STREAMS)
    assert liveness.silent(1_200.0) == ()
    assert liveness.judge(1_260.0) == Verdict()


def test_judge_symbol_that_was_forgotten_is_not_missed():
    liveness = made()
    liveness.heard.pop("s0")
    hear(liveness, 1_500.0, STREAMS[1:])
    assert liveness.judge(1_500.0) == Verdict()
