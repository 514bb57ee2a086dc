"""Candle files into the bar store."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from slt.errors import DataError
from slt.run.bar_store import store_candles
from slt.types import StoredBar

HEAD = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


BASE = 1_699_999_800_000


class Store:
    def __init__(self):
        self.calls, self.records, self.sizes = [], {}, []

    async def slt_open_storage(self):
        self.calls.append("open")

    async def slt_write_records(self, records):
        self.sizes.append(len(records))
        self.records.update({record.id: record for record in records})

    async def slt_close_storage(self):
        self.calls.append("close")


def candles(path, minutes, step=60_000):
    rows = [f"{BASE + m * step},1,2,0.5,1.5,{m},{BASE + m * step + step - 1},0,1,0.25,0,0" for m in minutes]
    path.write_text("\n".join([HEAD, *rows]) + "\n")
    return str(path)


def test_store_candles_writes_every_bar_under_its_close_time(tmp_path):
    store, told = Store(), []
    paths = [
        candles(tmp_path / "AUSDT-1m-2024-01.csv", [1, 2, 5]),
        candles(tmp_path / "BUSDT-1m-2024-01.csv", [2]),
        candles(tmp_path / "AUSDT-5m-2024-01.csv", [1, 2], 300_000),
    ]
    counts = store_candles(paths, SimpleNamespace(hooks=store), on_progress=told.append)
    assert counts == {"AUSDT 1m": 3, "BUSDT 1m": 1, "AUSDT 5m": 2}
    assert store.calls == ["open", "close"]
    assert told == [6]
    name = f"AUSDT-60000-{BASE + 360_000}"
    assert store.records[name] == StoredBar(name, "AUSDT", 60_000, BASE + 360_000, 1.0, 2.0, 0.5, 1.5, 5.0, 0.25)
    assert f"AUSDT-60000-{BASE + 240_000}" not in store.records, "a gap stays a gap"


def test_store_candles_writes_in_batches(tmp_path):
    store = Store()
    store_candles([candles(tmp_path / "AUSDT-1m-2024-01.csv", range(1, 12_001))], SimpleNamespace(hooks=store))
    assert store.sizes == [5_000, 5_000, 2_000]
    assert len(store.records) == 12_000


def test_store_candles_with_a_broken_file_writes_nothing(tmp_path):
    store = Store()
    (tmp_path / "BUSDT-1m-2024-01.csv").write_text(f"{HEAD}\n{BASE},1,0.5,2,1,1,0,0,0,0,0,0\n")
    paths = [candles(tmp_path / "AUSDT-1m-2024-01.csv", [1, 2]), str(tmp_path / "BUSDT-1m-2024-01.csv")]
    with pytest.raises(DataError, match="BUSDT"):
        store_candles(paths, SimpleNamespace(hooks=store))
    assert store.calls == []


def test_store_candles_closes_a_storage_that_refuses(tmp_path):
    store = Store()

    async def refuse(records):
        raise OSError("full")

    store.slt_write_records = refuse
    with pytest.raises(OSError, match="full"):
        store_candles([candles(tmp_path / "AUSDT-1m-2024-01.csv", [1, 2])], SimpleNamespace(hooks=store))
    assert store.calls == ["open", "close"]
