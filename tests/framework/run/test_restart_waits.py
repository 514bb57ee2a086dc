"""What a run tells of itself while its features warm up, and after a restart that missed bars."""

from __future__ import annotations

import itertools
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from streaming_kit import Exchange, Stream, live, recording, settings_of

from slt.run.health_server import HealthServer

WARM_UP, STOPPED, BEGUN, LAST = 60, 150, 155, 230
"""Rows: features are ready after an hour; the run is stopped at one row and goes on at another."""


@pytest.fixture
async def lives(tmp_path, monkeypatch):
    """Two lives of a run, with what its vitals said before each row, by life and row."""
    settings = settings_of(
        tmp_path,
        plugins='features = ["ict"]',
        more='[features.ict]\nwarmup_candles = 12\n[feed]\nclock = "events"\n[health]\nport = 0',
    )
    about, bars, rules = await recording(settings)
    exchange, told = Exchange(rules), ({}, {})
    for said, first, last in ((told[0], 0, STOPPED), (told[1], BEGUN, LAST)):
        stream = Stream(bars[:1], exchange, first=first)

        async def look(row, said=said, stream=stream):
            if stream.driver is not None:
                said[row] = stream.driver._session.vitals.snapshot("running")

        stream.on_row = look
        await live(
            monkeypatch, settings, stream, exchange, market=about, stop_when=lambda _, s=stream, n=last: s.rows >= n
        )
    return settings, told


async def is_ready(settings, snapshot):
    """What /readyz answers to such a state."""
    server = HealthServer(settings.health, lambda: snapshot)
    answer = await server._readyz(REQUEST)
    return answer.status == 200


class _Request:
    """A request from this machine, without a token."""

    class url:  # noqa: N801 - as aiohttp names it
        host = "127.0.0.1"

    headers = {}  # noqa: RUF012 - never changed


REQUEST = _Request()


async def test_ready_waits_for_the_first_warm_up_and_not_for_a_gap_that_it_shows(lives):
    settings, (first, second) = lives
    symbols = {"SYNAUSDT", "SYNBUSDT", "SYNCUSDT"}

    cold = first[WARM_UP - 10]
    assert cold["waits"].keys() == {"features"}
    assert "bars without a gap so far, they need 60" in cold["waits"]["features"]
    assert not await is_ready(settings, cold)

    warm = first[STOPPED - 1]
    assert warm["waits"] == {}
    assert warm["features"] == {"ready": 3, "symbols": 3, "waiting": {}}
    assert await is_ready(settings, warm), (warm["status"], [p for p in warm["parts"] if p["score"] < 100])

    behind = second[BEGUN + 2]
    assert behind["waits"] == {}
    assert behind["features"]["waiting"].keys() == symbols
    assert all("its bars have no gap since" in reason for reason in behind["features"]["waiting"].values())
    part = next(part for part in behind["parts"] if part["name"] == "features")
    assert (part["score"], part["detail"].partition(";")[0]) == (50.0, "ready for 0 of 3 symbols")
    assert await is_ready(settings, behind)

    resumed = second[LAST - 1]
    assert resumed["features"]["waiting"] == {}


async def test_nothing_is_entered_until_the_features_have_got_over_the_gap(lives):
    _, (_, second) = lives
    waiting = [row for row, said in second.items() if len(said["features"]["waiting"]) == 3]
    assert min(waiting) <= BEGUN + 2
    assert max(waiting) >= BEGUN + WARM_UP - 5
    held = [{position["symbol"] for position in second[row]["positions"]} for row in waiting]
    assert all(later <= earlier for earlier, later in itertools.pairwise(held))
