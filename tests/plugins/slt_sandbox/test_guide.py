"""What the guide has a new user do: start the sandbox, point ccxt at it, place an order, let one fail."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import websockets

from slt.loader import build_service

ROOT = Path(__file__).parents[3]
SLT = Path(sysconfig.get_path("scripts")) / "slt"
DATA = ROOT.parent / "shared" / "data"
ENVIRONMENT = {n: v for n, v in os.environ.items() if not n.startswith(("SLT_", "SANDBOX_", "BINANCE_"))}
MINUTE = 60_000
START = 1_704_067_200_000


@pytest.fixture
def url(tmp_path):
    """A sandbox as `slt sandbox` starts it without a file."""
    process = subprocess.Popen(
        [SLT, "sandbox"],
        cwd=tmp_path,
        env=ENVIRONMENT | {"SLT_SERVICES__SANDBOX__PORT": "0"},
        stdout=subprocess.PIPE,
        text=True,
    )
    yield re.search(r"http://127\.0\.0\.1:\d+", process.stdout.readline())[0]
    process.terminate()
    process.communicate(timeout=60)


def test_guide_script_buys_and_meets_the_fault_that_is_armed(url):
    script = (ROOT / "docs" / "examples" / "sandbox_ccxt.py").read_text()
    assert len(script.splitlines()) == 10
    run = [sys.executable, "-W", "ignore", "-c", script.replace("http://127.0.0.1:8771", url)]

    first = subprocess.run(run, capture_output=True, text=True, timeout=100, check=False, env=ENVIRONMENT)
    assert (first.returncode, first.stdout) == (0, "bought 0.1 and hold 0.1\n"), first.stderr

    with urllib.request.urlopen(f"{url}/sandbox/faults", b"error_2019", timeout=60) as answer:
        assert json.loads(answer.read()) == {"added": 1, "struck": 0}
    second = subprocess.run(run, capture_output=True, text=True, timeout=100, check=False, env=ENVIRONMENT)
    assert second.returncode == 1
    assert '"code": -2019' in second.stderr

    with urllib.request.urlopen(f"{url}/sandbox/ledger?kinds=order,fill,fault", timeout=60) as answer:
        told = json.loads(answer.read())
    assert [entry["kind"] for entry in told] == ["order", "fill", "fault"]
    assert told[2]["detail"]["name"] == "error_2019"


async def closed_klines(options, symbol, count):
    """The first closed k-lines of a sandbox that plays the candles of `replay` as fast as its one client reads."""
    own = {"source": "replay", "speed": 0.0, "port": 0, "clock": "market", "history_days": 0}
    service, source = build_service("sandbox", {("services", "sandbox"): own, ("feeds", "replay"): options})
    line = await service.hooks.slt_start_service(source=source.hooks)
    assert "as fast as clients read" in line
    found = []
    try:
        address = re.search(r"ws://\S+(?=:)", line)[0] + f"/market/ws/{symbol.lower()}@kline_1m"
        async with asyncio.timeout(60), websockets.connect(address, max_queue=None) as socket:
            while len(found) < count:
                k = json.loads(await socket.recv())["k"]
                if k["x"]:
                    found.append((k["t"], *(float(k[name]) for name in "ohlcv")))
    finally:
        await service.hooks.slt_stop_service()
    return found


async def test_sandbox_fed_by_replay_closes_the_candles_of_the_file(tmp_path):
    draw = np.random.default_rng(3)
    rows = []
    for minute in range(200):
        opened, closed = (100 + draw.normal(0, 1, 2)).round(2)
        high, low = max(opened, closed) + 0.5, min(opened, closed) - 0.25
        volume = float(draw.integers(1, 90))
        rows.append((START + minute * MINUTE, float(opened), float(high), float(low), float(closed), volume))
    lines = ["open_time,open,high,low,close,volume", *(",".join(map(repr, row)) for row in rows)]
    (tmp_path / "AAAUSDT-1m-2024-01.csv").write_text("\n".join(lines) + "\n")

    assert await closed_klines({"files": (str(tmp_path / "*.csv"),)}, "AAAUSDT", 200) == rows


@pytest.mark.skipif(not DATA.is_dir(), reason="the real candles are not on this machine")
async def test_sandbox_fed_by_replay_closes_real_candles():
    import pyarrow.parquet as pq

    file = DATA / "AVAXUSDT-1m-futures.parquet"
    table = pq.read_table(file).slice(0, 500).to_pydict()
    names = ("open_time", "open", "high", "low", "close", "volume")
    expected = list(zip(*(table[name] for name in names), strict=True))

    assert await closed_klines({"files": (str(file),)}, "AVAXUSDT", 500) == expected
