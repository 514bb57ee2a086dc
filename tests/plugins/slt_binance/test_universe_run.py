"""Symbols come and go while a run goes on, in paper and live, against the local exchange."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parent))

from universe_kit import A, B, C, arena, market_of, settings_of, trial

from slt.run.proving import prove_session
from slt.storage.contract import Query
from slt.types import Trade
from slt_sandbox.fault_rules import parse_rule

NAMED = f'symbols = ["{A}", "{B}", "{C}"]'
BROKERS = ("paper", "binance")


def stepped(**more):
    return arena(market_of(), is_stepped=True, delays=(0.2, 2.0), **more)


def streams_of(box):
    return {s for connection in box.hub.connections.values() for s in connection.streams}


async def proven(life):
    proof = await asyncio.to_thread(prove_session, life.folder)
    assert proof.difference is None
    assert proof.events > 10
    return proof


@pytest.mark.parametrize("broker", BROKERS)
async def test_symbol_listed_while_the_run_goes_on_joins_and_trades(tmp_path, monkeypatch, broker):
    async with stepped(faults=[f"listing symbol={C} after_seconds=1200"]) as box:
        settings = settings_of(tmp_path, box, broker=broker, feeds=NAMED)
        async with trial(monkeypatch, box, settings) as life:
            await life.step(15)
            assert life.engine.symbols == (A, B)
            assert f"{C.lower()}@kline_1m" not in streams_of(box)
            await life.step(12)
            await life.until(lambda: life.engine.symbols == (A, B, C))
            await life.until(lambda: f"{C.lower()}@kline_1m" in streams_of(box))
            entered = []
            portfolio = life.engine.portfolio
            await life.step(400, until=lambda: entered.append(C in portfolio.holdings) or entered[-1])
            assert life.status.counters["missing"] <= 2
            error = await life.stop()
        assert "stopped and saved" in str(error)
        await proven(life)
        async with trial(monkeypatch, box, settings) as again:
            await again.step(5)
            assert again.engine.symbols == (A, B, C)
            assert again.assembly.folder.is_resumed
            assert C in again.engine.portfolio.holdings or again.engine.portfolio.trades
            await again.stop()
        await proven(again)


@pytest.mark.parametrize("broker", BROKERS)
async def test_position_is_closed_before_the_delivery_and_the_streams_end(tmp_path, monkeypatch, broker):
    async with stepped() as box:
        settings = settings_of(tmp_path, box, broker=broker, feeds=NAMED)
        async with trial(monkeypatch, box, settings) as life:
            portfolio = life.engine.portfolio
            await life.step(400, until=lambda: B in portfolio.holdings)
            await box.add_fault(parse_rule(f"delisting symbol={B} seconds=5400"))
            await life.step(10)
            assert "to be delivered" in life.engine._core.gates.state.untradable[B]
            if B in portfolio.holdings:
                assert not portfolio.holdings[B].position.closing, "an hour and more is left"
            await life.step(85)
            assert B not in portfolio.holdings
            await life.until(lambda: f"{B.lower()}@kline_1m" not in streams_of(box))
            missing = life.status.counters["missing"]
            await life.step(10)
            assert life.status.counters["missing"] == missing
            await life.assembly.writer.flush()
            trades = await life.assembly.storage.slt_read_records(query=Query(Trade))
            assert [trade for trade in trades if trade.symbol == B][-1].exit == "delivery"
            await life.stop()
        await proven(life)


@pytest.mark.parametrize("broker", BROKERS)
async def test_symbol_settled_without_notice_leaves_no_position_behind(tmp_path, monkeypatch, broker):
    async with stepped() as box:
        settings = settings_of(tmp_path, box, broker=broker, feeds=NAMED)
        async with trial(monkeypatch, box, settings) as life:
            portfolio = life.engine.portfolio
            await life.step(400, until=lambda: B in portfolio.holdings)
            await box.add_fault(parse_rule(f"delisting symbol={B}"))
            await life.step(6)
            await life.until(lambda: B not in portfolio.holdings)
            await life.until(lambda: f"{B.lower()}@kline_1m" not in streams_of(box))
            await life.step(5)
            assert life.status.counters["missing"] == 0
            await life.stop()
        await proven(life)


async def test_restated_bar_is_corrected_in_the_store_and_in_the_features(tmp_path, monkeypatch, caplog):
    faults = [f"kline_restated symbol={B} nth=40 seconds=70"]
    made = {}
    for name, rules in (("wrong", faults), ("plain", [])):
        folder = tmp_path / name
        folder.mkdir()
        async with stepped(faults=rules) as box:
            async with trial(monkeypatch, box, settings_of(folder, box, feeds=NAMED)) as life:
                await life.step(60)
                universe, dense = life.driver._universe, life.driver._session.dense
                await life.until(lambda universe=universe: not universe.cold)
                made[name] = dense, dict(life.status.counters), life
                await life.step(1)
                await life.stop()
            await proven(life)
    wrong, plain = made["wrong"], made["plain"]
    assert wrong[1]["restated_late"] == 1
    assert plain[1]["restated_late"] == 0

    assert len(wrong[0]._parts) == 2
    assert len(plain[0]._parts) == 1
    np.testing.assert_array_equal(wrong[0].symbols, plain[0].symbols)
