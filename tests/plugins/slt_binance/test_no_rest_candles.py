"""Candles come over WebSocket only: no code of any plugin or of the kernel can ask for one by REST."""

from __future__ import annotations

import re
from pathlib import Path

from slt_binance.endpoints import Endpoint, Endpoints

ROOT = Path(__file__).parents[3]
REST_CANDLES = re.compile(r"/[fd]?api/v\d+/\w*klines", re.IGNORECASE)
CLIENT_SIDE = ("framework", "strategies", "exits", "notifiers", "plugins/slt_binance")


def test_no_source_names_a_rest_address_of_candles():
    files = [path for folder in CLIENT_SIDE for path in sorted((ROOT / folder).rglob("*.py"))]
    assert len(files) > 100
    assert [str(path) for path in files if REST_CANDLES.search(path.read_text())] == []
    assert REST_CANDLES.search("GET /fapi/v1/klines")
    assert REST_CANDLES.search("GET /fapi/v1/continuousKlines")


def test_client_calls_only_listed_endpoints_and_none_is_of_candles():
    listed = {one.path for one in vars(Endpoints).values() if isinstance(one, Endpoint)}
    assert len(listed) > 15
    assert not [path for path in listed if "kline" in path.lower()]
    package = ROOT / "plugins" / "slt_binance"
    for path in package.rglob("*.py"):
        if path.name != "endpoints.py":
            code = "\n".join(line for line in path.read_text().splitlines() if '"""' not in line)
            assert not re.search(r"[\"']/(f|s)api/", code), f"{path} names an address beside endpoints.py"
