"""Market frames: which stream one belongs to by looking at its bytes, and what it says once it is parsed."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slt.errors import DataError
from slt.types import Kline, SymbolChange

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = ["decode_frame", "delivery_time", "is_usdm", "kline_stream", "route_frame", "subscription_frames"]

_loads: Callable[[bytes], Any]
try:
    from orjson import loads as _loads
except ImportError:
    _loads = json.loads

_HEAD = b'{"stream":"'
_HEAD_LENGTH = len(_HEAD)
_TIME, _TIME_DIGITS = b'"t":', 13
_COMMA, _TRUE = ord(","), ord("t")
_BATCH = 100
_CONTRACTS = "!contractInfo"
_MOST_NAMES = 8_192
_NEVER = 4_102_444_800_000
_places: dict[bytes, tuple[str, int, int]] = {}
"""Name of a stream and where the open time stands in its frames, by the name's bytes; 0 where there is none."""


def kline_stream(symbol: str, interval: str) -> str:
    """Name of the stream of a symbol's k-lines."""
    return f"{symbol.lower()}@kline_{interval}"


def route_frame(frame: bytes) -> tuple[str, bytes, bool]:
    """Stream, bytes of the bar's open time, and whether the frame must not be lost.

    A combined frame as the exchange writes it is not parsed: the open time stands where it stood in the first frame of
    the stream, which is checked, and the mark of a closed bar near the end. Anything else is parsed.

    Raises:
        DataError: It is no JSON.
    """
    place = _places.get(frame[_HEAD_LENGTH : frame.find(b'"', _HEAD_LENGTH)])
    if place is not None:
        name, begin, end = place
        closed = frame.rfind(b'"x":')
        if closed > end > 0 and frame[begin - 4 : begin] == _TIME and frame[end] == _COMMA:
            return name, frame[begin:end], frame[closed + 4] == _TRUE
    return _route_new(frame)


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


def delivery_time(value: object) -> int:
    """When a perpetual is settled for good, ms UTC; 0 where the exchange prints the year 2100, its word for never."""
    time = int(value) if isinstance(value, int | str) and str(value).isdigit() else _NEVER
    return time if time < _NEVER else 0


def is_usdm(data: dict[str, Any]) -> bool:
    """Whether an all-market message is about a USDⓈ-M product; without the field it is."""
    return bool(data.get("st", 1) == 1)


def _route_new(frame: bytes) -> tuple[str, bytes, bool]:
    """Parse a frame, and remember where its open time stands if it is as the exchange writes them."""
    name, bar, is_final = _route_parsed(frame)
    begin = frame.find(_TIME, _HEAD_LENGTH) + len(_TIME)
    if name and frame.startswith(_HEAD) and len(bar) == _TIME_DIGITS and len(_places) < _MOST_NAMES:
        raw = frame[_HEAD_LENGTH : frame.find(b'"', _HEAD_LENGTH)]
        if frame[begin : begin + _TIME_DIGITS] == bar and b"\\" not in raw:
            _places[raw] = name, begin, begin + _TIME_DIGITS
    return name, bar, is_final


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
                is_tradable, delivery = data["cs"] == "TRADING", delivery_time(data.get("dt"))
                yield SymbolChange(int(data["E"]), str(data["s"]), str(data["cs"]), is_tradable, delivery)
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
