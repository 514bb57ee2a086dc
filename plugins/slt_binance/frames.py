"""Market frames: which stream one belongs to by looking at its bytes, and what it says once it is parsed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slt.errors import DataError
from slt.types import Kline, SymbolChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["decode_frame", "is_usdm", "kline_stream", "route_frame", "subscription_frames"]

_loads: Callable[[bytes], Any]
try:
    from orjson import loads as _loads
except ImportError:
    _loads = json.loads

_HEAD = b'{"stream":"'
_HEAD_LENGTH = len(_HEAD)
_BATCH = 100
_TRUE = ord("t")
_CONTRACTS = "!contractInfo"
_names: dict[bytes, str] = {}
_MOST_NAMES = 8_192


def kline_stream(symbol: str, interval: str) -> str:
    """Name of the stream of a symbol's k-lines."""
    return f"{symbol.lower()}@kline_{interval}"


def route_frame(frame: bytes) -> tuple[str, bytes, bool]:
    """Stream, bytes of the bar's open time, and whether the frame must not be lost.

    A combined frame as the exchange writes it is not parsed, only searched; anything else is.

    Raises:
        DataError: It is no JSON.
    """
    if not frame.startswith(_HEAD):
        return _route_parsed(frame)
    end = frame.find(b'"', _HEAD_LENGTH)
    raw = frame[_HEAD_LENGTH:end]
    name = _names.get(raw)
    if name is None:
        name = _learn(raw)
    begin = frame.find(b'"t":', end)
    if begin < 0:
        return name, b"", True
    comma = frame.find(b",", begin)
    closed = frame.find(b'"x":', comma)
    if closed < 0 or comma < 0:
        return name, b"", True
    return name, frame[begin + 4 : comma], frame[closed + 4] == _TRUE


def decode_frame(frame: bytes) -> list[Kline | SymbolChange]:
    """What a frame says that the kernel wants to know; oldest first.

    Raises:
        DataError: It is no JSON, a field is missing or of a wrong type, or the exchange refused a control frame.
    """
    content = _parse(frame)
    if not isinstance(content, dict):
        raise DataError(f"found a frame of type {type(content).__name__}, allowed is an object")
    data = content.get("data", content) if "stream" in content else content
    try:
        return list(_updates(data if isinstance(data, list) else [data]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(f"a {_kind(data)} frame lacks or garbles a field: {type(error).__name__} {error}") from None


def subscription_frames(streams: tuple[str, ...], is_wanted: bool, first_id: int) -> tuple[str, ...]:
    """Control frames that subscribe or unsubscribe the streams, up to 100 in each."""
    method = "SUBSCRIBE" if is_wanted else "UNSUBSCRIBE"
    batches = [streams[i : i + _BATCH] for i in range(0, len(streams), _BATCH)]
    return tuple(
        json.dumps({"method": method, "params": batch, "id": number}, ensure_ascii=False)
        for number, batch in enumerate(batches, start=first_id)
    )


def is_usdm(data: dict[str, Any]) -> bool:
    """Whether an all-market message is about a USDⓈ-M product; without the field it is."""
    return bool(data.get("st", 1) == 1)


def _route_parsed(frame: bytes) -> tuple[str, bytes, bool]:
    content = _parse(frame)
    if not isinstance(content, dict):
        return "", b"", True
    data = content.get("data", content) if "stream" in content else content
    if not isinstance(data, dict) or "e" not in data:
        return str(content.get("stream", "")), b"", True
    if data["e"] != "kline" or not isinstance(data.get("k"), dict):
        return str(content.get("stream", _CONTRACTS if data["e"] == "contractInfo" else "")), b"", True
    bar = data["k"]
    name = content.get("stream") or kline_stream(str(data.get("s")), str(bar.get("i")))
    return str(name), str(bar.get("t")).encode(), bar.get("x") is True


def _learn(raw: bytes) -> str:
    """A stream's name out of its bytes in a frame, remembered."""
    try:
        name = str(json.loads(b'"' + raw + b'"')) if b"\\" in raw else raw.decode()
    except ValueError:
        return ""
    if len(_names) < _MOST_NAMES:
        _names[raw] = name
    return name


def _parse(frame: bytes) -> Any:
    try:
        return _loads(frame)
    except ValueError as error:
        raise DataError(f"a frame of {len(frame)} bytes is no JSON: {error}") from None


def _updates(messages: list[Any]) -> Iterator[Kline | SymbolChange]:
    for data in messages:
        kind = data.get("e")
        if kind == "kline":
            yield _kline(data)
        elif kind == "contractInfo":
            if is_usdm(data) and data["ct"] == "PERPETUAL":
                yield SymbolChange(int(data["E"]), str(data["s"]), str(data["cs"]), data["cs"] == "TRADING")
        elif "msg" in data or "error" in data:
            refusal = data.get("error") or data
            raise DataError(f"the exchange refused a control frame: {refusal.get('code')} {refusal.get('msg')}")


def _kline(data: dict[str, Any]) -> Kline:
    bar = data["k"]
    opened, closes = int(bar["t"]), int(bar["T"]) + 1
    return Kline(
        symbol=str(data["s"]),
        event_time=int(data["E"]),
        interval_ms=closes - opened,
        close_time=closes,
        open=float(bar["o"]),
        high=float(bar["h"]),
        low=float(bar["l"]),
        close=float(bar["c"]),
        volume=float(bar["v"]),
        taker_buy_volume=float(bar["V"]),
        first_trade_id=int(bar["f"]),
        last_trade_id=int(bar["L"]),
        trades=int(bar["n"]),
        is_closed=bar["x"] is True,
    )


def _kind(data: Any) -> str:
    return str(data.get("e", "nameless")) if isinstance(data, dict) else "nameless"
