"""What the driver of a live feed tells the run's vitals."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from streaming_kit import Exchange, Stream, live, recording, settings_of

from slt.run.health_server import HealthServer

NO_SERVER = "[health]\nport = 0\n"


def part(vitals, name):
    return next(one for one in vitals.health.report().parts if one.name == name)


async def test_broker_link_and_halts_reach_health_and_readiness_while_the_run_goes_on(tmp_path, monkeypatch):
    about, bars, rules = await recording(settings_of(tmp_path, "paper"))
    exchange, seen = Exchange(rules), {}
    stream = Stream(bars[:2], exchange)

    async def look(row):
        vitals = stream.driver._session.vitals
        if row == 20:
            exchange.link(is_up=False, reason="cut")
        elif row == 25:
            seen["cut"] = part(vitals, "broker"), vitals.halts(), vitals.snapshot("running")
        elif row == 30:
            exchange.link(is_up=True)
        elif row == 40:
            vitals.sources = {**vitals.sources, "test": lambda: "because"}
            seen["back"] = vitals.link, vitals.halts()
            vitals.sources = {name: reason for name, reason in vitals.sources.items() if name != "test"}

    stream.on_row = look
    life = await live(monkeypatch, settings_of(tmp_path, more=NO_SERVER), stream, exchange, market=about)
    broker, halts, snapshot = seen["cut"]
    assert (broker.score, broker.detail) == (40.0, "event stream down: cut")
    assert halts["link"].endswith("cut")
    assert snapshot["waits"] == halts
    assert snapshot["status"] == "red"
    link, halts = seen["back"]
    assert link.is_up
    assert halts["test"] == "because"
    assert "link" not in halts
    assert life.driver._mark.silent_seconds < 30.0


async def test_driver_that_does_not_come_round_is_named(tmp_path, monkeypatch):
    about, bars, rules = await recording(settings_of(tmp_path, "paper"))
    exchange, seen = Exchange(rules), {}
    stream = Stream(bars[:1], exchange)

    async def look(row):
        if row == 20:
            vitals = stream.driver._session.vitals
            mark, clock = stream.driver._mark, stream.driver._mark._clock
            mark._clock = lambda: clock() + 31.0
            seen["late"], seen["part"] = vitals.loops.late(), part(vitals, "loops")
            server = HealthServer(stream.driver._assembly.settings.health, lambda: vitals.snapshot("running"))
            seen["server"] = server._snapshot()["late_loops"]
            mark._clock = clock
            await asyncio.sleep(0)

    stream.on_row = look
    await live(monkeypatch, settings_of(tmp_path, more=NO_SERVER), stream, exchange, market=about)
    assert [one.name for one in seen["late"]] == ["driver"]
    assert seen["part"].score == 40.0
    assert [one["name"] for one in seen["server"]] == ["driver"]


async def test_clocks_are_compared_only_where_the_feed_goes_by_real_time(tmp_path, monkeypatch):
    about, bars, rules = await recording(settings_of(tmp_path, "paper"))
    seen = {}
    for clock in ("receive", "events"):
        exchange = Exchange(rules)
        stream = Stream(bars[:1], exchange)

        async def look(row, stream=stream, clock=clock):
            if row == 20:
                vitals = stream.driver._session.vitals
                seen[clock] = vitals.clock_offset_ms, part(vitals, "broker").detail

        stream.on_row = look
        (tmp_path / clock).mkdir()
        settings = settings_of(tmp_path / clock, more=f'{NO_SERVER}[feed]\nclock = "{clock}"\n')
        await live(monkeypatch, settings, stream, exchange, market=about)
    offset, words = seen["events"]
    assert offset is None
    assert words == "event stream up"
    assert seen["receive"][0]() is not None
    assert "clocks apart by" in seen["receive"][1]
