"""Market frames by their bytes and by their content, as the exchange, other projects and broken lines write them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.errors import DataError
from slt.types import Kline, SymbolChange
from slt_binance.frames import decode_frame, kline_stream, route_frame, subscription_frames

VECTORS = (
    Path(__file__).parents[4]
    / "shared/vectors/JKorf+Binance.Net/Binance.Net.UnitTests/Subscriptions/UsdFutures"
)  # fmt: skip
needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="the conformance vectors are not on this machine")


def kline_data(symbol="BTCUSDT", opened=1_638_747_660_000, closed=False, **more):
    bar = {
        "t": opened, "T": opened + 59_999, "s": symbol, "i": "1m", "f": 100, "L": 200, "o": "0.0010", "c": "0.0020",
        "h": "0.0025", "l": "0.0015", "v": "1000", "n": 101, "x": closed, "q": "1.0000", "V": "500", "Q": "0.500",
        "B": "123456",
    }  # fmt: skip
    return {"e": "kline", "E": opened + 1_000, "s": symbol, "k": bar | more}


def wrapped(data, stream=None, **options):
    options = {"separators": (",", ":"), "ensure_ascii": False} | options
    stream = stream or kline_stream(data["s"], "1m")
    return json.dumps({"stream": stream, "data": data}, **options).encode()


def pushed(name):
    """The frame that a file of the vectors says is pushed."""
    text = (VECTORS / name).read_text().partition("\n= ")[2]
    return text.strip().encode()


@pytest.mark.parametrize("closed", [True, False])
def test_route_combined_frame_tells_stream_bar_and_mark(closed):
    frame = wrapped(kline_data(closed=closed))
    for _ in range(2):
        assert route_frame(frame) == ("btcusdt@kline_1m", b"1638747660000", closed)


@given(
    st.sampled_from(["BTCUSDT", "1000SHIBUSDT", "AUSDT", "币安人生USDT"]),
    st.integers(1_000_000_000, 4_000_000_000).map(lambda s: s * 1_000),
    st.booleans(),
    st.integers(0, 10**12),
    st.decimals(0, 10**6, places=4).map(str),
)
def test_route_finds_by_bytes_what_parsing_finds(symbol, opened, closed, first, price):
    data = kline_data(symbol, opened, closed, f=first, L=first + 7, c=price)
    expected = kline_stream(symbol, "1m"), str(opened).encode(), closed
    for _ in range(2):
        assert route_frame(wrapped(data)) == expected
    assert route_frame(wrapped(data, indent=1, separators=None)) == expected
    assert route_frame(json.dumps(data).encode()) == expected


def test_route_frame_with_other_field_order_is_still_right():
    data = kline_data(closed=True)
    assert route_frame(wrapped(data)) == ("btcusdt@kline_1m", b"1638747660000", True)
    swapped = {"k": dict(reversed(data["k"].items())), "s": "BTCUSDT", "E": 5, "e": "kline"}
    assert route_frame(wrapped(swapped)) == ("btcusdt@kline_1m", b"1638747660000", True)


def test_route_escaped_name_is_unescaped():
    frame = wrapped(kline_data("币USDT"), ensure_ascii=True)
    for _ in range(2):
        assert route_frame(frame)[0] == "币usdt@kline_1m"


def test_route_answers_and_news():
    assert route_frame(b'{"result":null,"id":1}') == ("", b"", True)
    news = {"e": "contractInfo", "E": 1, "s": "AUSDT", "ct": "PERPETUAL", "cs": "TRADING", "st": 1, "bks": []}
    for _ in range(2):
        assert route_frame(wrapped(news, "!contractInfo")) == ("!contractInfo", b"", True)
    assert route_frame(json.dumps(news).encode()) == ("!contractInfo", b"", True)


@pytest.mark.parametrize("cut", [1, 12, 30, 80, 120, 200, -1])
def test_frame_cut_in_the_middle_is_refused_with_a_reason(cut):
    frame = wrapped(kline_data())
    route_frame(frame)
    with pytest.raises(DataError, match="is no JSON"):
        decode_frame(frame[:cut])
    try:
        name, bar, _ = route_frame(frame[:cut])
    except DataError:
        return
    assert (name, bar) == ("btcusdt@kline_1m", b"1638747660000"), "only the tail is missing"


def test_decode_kline_gives_the_bar_by_its_exclusive_end():
    assert decode_frame(wrapped(kline_data(closed=True))) == [
        Kline(
            symbol="BTCUSDT",
            event_time=1_638_747_661_000,
            interval_ms=60_000,
            close_time=1_638_747_720_000,
            open=0.001,
            high=0.0025,
            low=0.0015,
            close=0.002,
            volume=1000.0,
            taker_buy_volume=500.0,
            first_trade_id=100,
            last_trade_id=200,
            trades=101,
            is_closed=True,
        )
    ]


@pytest.mark.parametrize(
    ("status", "more", "expected"),
    [
        ("TRADING", {"st": 1}, True),
        ("TRADING", {}, True),
        ("SETTLING", {"st": 1}, False),
        ("TRADING", {"st": 2}, None),
        ("TRADING", {"ct": "TRADIFI_PERPETUAL"}, None),
        ("TRADING", {"ct": "CURRENT_QUARTER"}, None),
    ],
)
def test_decode_contract_news_of_usdm_perpetuals_only(status, more, expected):
    news = {"e": "contractInfo", "E": 7, "s": "AUSDT", "ct": "PERPETUAL", "cs": status} | more
    found = decode_frame(wrapped(news, "!contractInfo"))
    assert found == ([] if expected is None else [SymbolChange(7, "AUSDT", status, expected)])


@pytest.mark.parametrize(
    ("frame", "words"),
    [
        (b"[1,2]", "of type list"),
        (wrapped(kline_data(o="much")), "kline frame lacks or garbles a field"),
        (wrapped({"e": "kline", "E": 1, "s": "A"}, "x"), "kline frame lacks or garbles a field: KeyError 'k'"),
        (b'{"code":2,"msg":"Invalid request: unknown variant","id":3}', "refused a control frame: 2 Invalid request"),
        (b'{"error":{"code":-1121,"msg":"Invalid symbol."},"id":3}', "refused a control frame: -1121"),
    ],
)
def test_decode_refuses_with_a_reason(frame, words):
    with pytest.raises(DataError, match=words):
        decode_frame(frame)


def test_decode_passes_over_what_is_of_no_interest():
    assert decode_frame(b'{"result":null,"id":1}') == []
    assert decode_frame(b'{"stream":"a@ticker","data":{"e":"24hrTicker","s":"A"}}') == []


@needs_vectors
def test_decode_frames_that_others_collected():
    (kline,) = decode_frame(pushed("Klines.txt"))
    assert (kline.symbol, kline.close_time, kline.trades, kline.is_closed) == ("BTCUSDT", 1638747720000, 100, False)
    assert route_frame(pushed("Klines.txt")) == ("btcusdt@kline_1M", b"1638747660000", False)
    (change,) = decode_frame(pushed("SymbolUpdates.txt"))
    assert change == SymbolChange(1669356423908, "IOTAUSDT", "TRADING", is_tradable=True)


def test_subscription_frames_are_batches_with_their_own_ids():
    streams = tuple(f"s{i}usdt@kline_1m" for i in range(250))
    frames = [json.loads(text) for text in subscription_frames(streams, True, 7)]
    assert [f["id"] for f in frames] == [7, 8, 9]
    assert {f["method"] for f in frames} == {"SUBSCRIBE"}
    assert tuple(s for f in frames for s in f["params"]) == streams
    assert max(len(f["params"]) for f in frames) == 100
    assert json.loads(subscription_frames(("币usdt@kline_1m",), False, 1)[0])["method"] == "UNSUBSCRIBE"


def test_frames_work_without_orjson():
    script = (
        "import sys; sys.modules['orjson'] = None\n"
        "from slt_binance.frames import decode_frame, _loads\n"
        "assert _loads.__module__ == 'json'\n"
        f"print(decode_frame({wrapped(kline_data(closed=True))!r})[0].close_time)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.stdout.strip() == "1638747720000", done.stderr


@pytest.mark.parametrize(
    ("value", "expected"), [(4_133_404_800_000, 0), (1_790_000_000_000, 1_790_000_000_000), (None, 0)]
)
def test_delivery_time_of_a_perpetual_is_one_only_where_a_date_is_told(value, expected):
    frame = {"e": "contractInfo", "E": 7, "s": "AUSDT", "ct": "PERPETUAL", "dt": value, "cs": "TRADING", "st": 1}
    (change,) = decode_frame(json.dumps(frame).encode())
    assert change.delivery_time == expected
