"""Requests and answers that nobody here wrote: documented vectors, recorded clients, other people's samples."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from yarl import URL

from slt_sandbox import rest
from slt_sandbox.errors import ApiError
from slt_sandbox.signing import check_time, is_signed_by, signed_text, sorted_text

VECTORS = Path(__file__).parents[4] / "shared" / "vectors"
RECORDED = VECTORS / "recorded-clients"
JKORF = VECTORS / "JKorf+Binance.Net" / "Binance.Net.UnitTests"
POSTMAN = VECTORS / "binance+binance-api-postman" / "collections" / "Binance Derivatives Trading USDS Futures API.json"
SECRET = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"
ORDER = (
    "symbol=BTCUSDT&side=BUY&type=LIMIT&quantity=1&price=9000&timeInForce=GTC&recvWindow=5000&timestamp=1591702613943"
)

needs_vectors = pytest.mark.skipif(not VECTORS.is_dir(), reason="the vectors are not on this machine")


# -- signatures --------------------------------------------------------------------------------------------------------


def test_signature_of_the_documentation_is_right():
    signature = "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"

    assert is_signed_by(SECRET, ORDER, signature)
    assert is_signed_by(SECRET, ORDER, signature.upper())
    assert not is_signed_by(SECRET, f"{ORDER}0", signature)


def test_signed_text_joins_query_and_body_without_a_separator():
    text, signature = signed_text("symbol=BTCUSDT&side=BUY&type=LIMIT", "quantity=1&price=9000&signature=ab%3D%3D")

    assert text == "symbol=BTCUSDT&side=BUY&type=LIMITquantity=1&price=9000"
    assert signature == "ab=="


def test_signature_by_rsa_and_ed25519_is_checked_with_the_public_key():
    small = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    curve = ed25519.Ed25519PrivateKey.generate()
    signed = [
        (small.public_key(), small.sign(ORDER.encode(), PKCS1v15(), hashes.SHA256())),
        (curve.public_key(), curve.sign(ORDER.encode())),
    ]

    for key, raw in signed:
        pem = key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
        text, signature = signed_text(f"{ORDER}&signature={quote(base64.b64encode(raw).decode(), safe='')}", "")
        assert is_signed_by(pem, text, signature)
        assert not is_signed_by(pem, text, base64.b64encode(raw[::-1]).decode())
        assert not is_signed_by(pem, text, "no base64!")


@pytest.mark.parametrize(
    ("timestamp", "window", "code"),
    [
        (10_999, 5_000, None),
        (11_000, 5_000, -1021),
        (5_000, 5_000, None),
        (4_999, 5_000, -1021),
        (9_000, 60_001, -1131),
    ],
)
def test_check_time_takes_only_what_is_in_the_window(timestamp, window, code):
    if code is None:
        check_time(10_000, timestamp, window)
        return
    with pytest.raises(ApiError) as caught:
        check_time(10_000, timestamp, window)
    assert caught.value.code == code


def _recorded():
    lines = [line for path in sorted(RECORDED.glob("*.jsonl")) for line in path.read_text().splitlines()]
    return [json.loads(line) for line in lines]


def _signed_requests():
    for row in _recorded():
        if row["kind"] == "rest" and "signature=" in row["query"] + row["body"]:
            yield signed_text(row["query"], row["body"])
        elif row["kind"] == "ws-msg" and "signature" in row["text"]:
            params = json.loads(row["text"], parse_float=str)["params"]
            yield sorted_text(params), params["signature"]


@needs_vectors
def test_signatures_of_recorded_clients_are_all_right():
    requests = list(_signed_requests())

    assert len(requests) >= 40
    assert [text for text, signature in requests if not is_signed_by("secret", text, signature)] == []


# -- requests ----------------------------------------------------------------------------------------------------------


@needs_vectors
async def test_requests_of_recorded_clients_are_understood(new_floor):
    floor = new_floor(check_timestamp=False).to(100.0, gap=True)
    floor.exchange.add_account("key", "secret", 10_000.0)
    app = web.Application()
    app.add_routes(rest.routes(floor.exchange))
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    answers = []
    async with aiohttp.ClientSession(f"http://127.0.0.1:{runner.addresses[0][1]}") as session:
        for row in (row for row in _recorded() if row["kind"] == "rest"):
            url = URL(f"{row['path']}?{row['query']}" if row["query"] else row["path"], encoded=True)
            headers = {"X-MBX-APIKEY": row["apikey"]} if row["apikey"] else {}
            headers |= {"Content-Type": row["ctype"]} if row["ctype"] else {}
            async with session.request(row["method"], url, data=row["body"] or None, headers=headers) as response:
                code = (await response.json()).get("code", 0) if response.status == 400 else 0
                answers.append((response.status, code, f"{row['method']} {row['path']}"))
    await runner.cleanup()

    # What they asked for cannot always be had (orders they only pretended to have placed, too small a notional), but
    # it is always understood: no parameter, signature or address is found wrong.
    business = {-2011, -2013, -2021, -2022, -4164, -4046, -4047, -4059, -4116, -1125, -5022, -1000, -2027}
    odd = {answer for answer in answers if answer[0] != 200 and answer[1] not in business and "lines" not in answer[2]}
    assert len(answers) > 50
    assert odd == set()


UNSERVED = {
    "/fapi/v1/aggTrades",
    "/fapi/v1/assetIndex",
    "/fapi/v1/constituents",
    "/fapi/v1/historicalTrades",
    "/fapi/v1/indexInfo",
    "/fapi/v1/insuranceBalance",
    "/fapi/v1/openInterest",
    "/fapi/v1/rpiDepth",
    "/fapi/v1/symbolAdlRisk",
    "/fapi/v1/trades",
    "/fapi/v1/tradingSchedule",
    "/fapi/v1/adlQuantile",
    "/fapi/v1/forceOrders",
    "/fapi/v1/orderAmendment",
    "/fapi/v1/stock/contract",
    "/fapi/v1/pmAccountInfo",
    "/fapi/v1/apiTradingStatus",
    "/fapi/v1/feeBurn",
}
"""Addresses of the exchange that the local one leaves out on purpose: no bot needs them to trade."""


def _postman(items):
    for item in items:
        if "item" in item:
            yield from _postman(item["item"])
        else:
            yield item["request"]["method"], "/" + "/".join(item["request"]["url"]["path"])


@needs_vectors
def test_every_address_of_the_official_collection_is_served_or_left_out_on_purpose():
    wanted = set(_postman(json.loads(POSTMAN.read_text())["item"]))
    served = {(one.method, one.path) for one in rest.ENDPOINTS}
    missing = {(method, path) for method, path in wanted - served if path not in UNSERVED}

    others = (
        "/fapi/v1/convert/",
        "/futures/data/",
        "/fapi/v1/income/asyn",
        "/fapi/v1/order/asyn",
        "/fapi/v1/trade/asyn",
    )
    assert {one for one in missing if not one[1].startswith(others)} == set()


# -- answers -----------------------------------------------------------------------------------------------------------

OLD = {"avgPrice", "cumQuote"}
"""Fields that acknowledgements had until July 2026."""
TRAILING = {"activatePrice", "priceRate"}
LEGS = {"tpTriggerPrice", "tpPrice", "slTriggerPrice", "slPrice"}
"""Fields that the exchange's own SDK of August 2026 knows in lists of conditional orders only."""
ACTUAL = {"actualType", "actualQty"}
"""Fields that it knows in the query of one conditional order only; they come with the trigger."""
SHORT_CANCEL = {"code", "msg"}
"""The answer to a cancelled conditional order is short since its documentation changed."""
V2_ONLY = {"isAutoAddMargin", "leverage", "marginType", "maxNotionalValue"}
"""Fields of positions that version 3 no longer has."""
V3_ONLY = {"adl", "askNotional", "bidNotional", "initialMargin", "maintMargin", "marginAsset"} | {
    "openOrderInitialMargin",
    "positionInitialMargin",
}
"""Fields that it has instead."""
RETYPED = {"isAutoAddMargin", "tranId"}
"""Fields whose type the SDK has otherwise than the older sample."""
PAIRS = {
    "Trading/PlaceOrder": ("POST /fapi/v1/order", OLD | TRAILING, set()),
    "Trading/CancelOrder": ("DELETE /fapi/v1/order", OLD | TRAILING, set()),
    "Trading/GetOrder": ("GET /fapi/v1/order", TRAILING, set()),
    "Trading/GetOpenOrders": ("GET /fapi/v1/openOrders", TRAILING, set()),
    "Trading/GetOrders": ("GET /fapi/v1/allOrders", TRAILING, set()),
    "Trading/PlaceConditionalOrder": ("POST /fapi/v1/algoOrder", {"activatePrice", "callbackRate"}, set()),
    "Trading/CancelConditionalOrder": ("DELETE /fapi/v1/algoOrder", None, SHORT_CANCEL),
    "Trading/GetConditionalOrder": ("GET /fapi/v1/algoOrder", ACTUAL | LEGS, set()),
    "Trading/GetOpenConditionalOrders": ("GET /fapi/v1/openAlgoOrders", set(), set()),
    "Trading/GetConditionalOrders": ("GET /fapi/v1/allAlgoOrders", ACTUAL, set()),
    "Trading/CancelAllOrders": ("DELETE /fapi/v1/allOpenOrders", set(), set()),
    "Trading/CancelAllConditionalOrders": ("DELETE /fapi/v1/algoOpenOrders", set(), set()),
    "Trading/GetUserTrades": ("GET /fapi/v1/userTrades", set(), {"baseQty", "marginAsset", "pair"}),
    "Trading/GetPositions": ("GET /fapi/v3/positionRisk", V2_ONLY, V3_ONLY),
    "Account/GetPositionInformation": ("GET /fapi/v2/positionRisk", set(), set()),
    "Account/GetAccountInfoV3": ("GET /fapi/v3/account", set(), set()),
    "Account/GetBalances": ("GET /fapi/v3/balance", set(), set()),
    "Account/GetAccountConfiguration": ("GET /fapi/v1/accountConfig", set(), set()),
    "Account/GetSymbolConfiguration": ("GET /fapi/v1/symbolConfig", set(), set()),
    "Account/ChangeInitialLeverage": ("POST /fapi/v1/leverage", set(), set()),
    "Account/ChangeMarginType": ("POST /fapi/v1/marginType", set(), set()),
    "Account/GetBrackets": ("GET /fapi/v1/leverageBracket", {"notionalCoef"}, set()),
    "Account/GetUserCommissionRate": ("GET /fapi/v1/commissionRate", set(), {"rpiCommissionRate"}),
    "Account/GetIncomeHistory": ("GET /fapi/v1/income", set(), set()),
    "Account/GetOrderRateLimit": ("GET /fapi/v1/rateLimit/order", set(), set()),
    "Account/GetMultiAssetsMode": ("GET /fapi/v1/multiAssetsMargin", set(), set()),
    "Account/StartUserStream": ("POST /fapi/v1/listenKey", set(), set()),
    "ExchangeData/GetServerTime": ("GET /fapi/v1/time", set(), set()),
    "ExchangeData/GetMarkPrice": ("GET /fapi/v1/premiumIndex", set(), set()),
    "ExchangeData/GetPrice": ("GET /fapi/v2/ticker/price", set(), set()),
    "ExchangeData/GetBookPrice": ("GET /fapi/v1/ticker/bookTicker", {"lastUpdateId"}, set()),
    "ExchangeData/GetTicker": ("GET /fapi/v1/ticker/24hr", set(), set()),
    "ExchangeData/GetOrderBook": ("GET /fapi/v1/depth", set(), set()),
}


def _sample(name):
    method, path, _, body = (JKORF / "Endpoints" / "UsdFutures" / f"{name}.txt").read_text("utf-8-sig").split("\n", 3)
    return f"{method.strip()} {path.strip()}", json.loads(body)


def _first(value):
    return value[0] if isinstance(value, list) else value


class _Answers:
    """One answer of every endpoint, from an account with a position, an order, a stop and a history."""

    def __init__(self, floor):
        from slt_sandbox.endpoint import Call
        from slt_sandbox.params import Params

        self.by_name = {}
        endpoints = {f"{one.method} {one.path}": one for one in rest.ENDPOINTS}
        base = {"symbol": "BTCUSDT", "side": "BUY", "quantity": "1"}
        stop = {"algoType": "CONDITIONAL", "type": "STOP_MARKET", "triggerPrice": "90", "side": "SELL"}
        plan = [
            ("POST /fapi/v1/marginType", {"marginType": "ISOLATED"}),
            ("POST /fapi/v1/leverage", {"leverage": "5"}),
            ("POST /fapi/v1/order", {"type": "MARKET"}),
            ("POST /fapi/v1/order", {"type": "LIMIT", "timeInForce": "GTC", "price": "95"}),
            ("POST /fapi/v1/algoOrder", stop),
            ("GET /fapi/v1/order", {"orderId": "1000002"}),
            ("GET /fapi/v1/algoOrder", {"algoId": "2000001"}),
            *(
                (name, {})
                for name in endpoints
                if name.startswith("GET") and "lines" not in name and "rder" not in name
            ),
            *((f"GET /fapi/v1/{name}", {}) for name in ("openOrders", "allOrders", "openAlgoOrders", "allAlgoOrders")),
            ("GET /fapi/v1/rateLimit/order", {}),
            ("POST /fapi/v1/listenKey", {}),
            ("DELETE /fapi/v1/order", {"orderId": "1000002"}),
            ("DELETE /fapi/v1/algoOrder", {"algoId": "2000001"}),
            ("DELETE /fapi/v1/allOpenOrders", {}),
            ("DELETE /fapi/v1/algoOpenOrders", {}),
        ]
        for name, given in plan:
            call = Call(floor.exchange, Params(base | given), floor.account)
            self.by_name[name] = endpoints[name].answer(call)


@needs_vectors
@pytest.mark.parametrize("name", PAIRS)
def test_answer_has_the_fields_of_other_peoples_samples(floor, name):
    address, gone, added = PAIRS[name]
    _, body = _sample(name)
    theirs, ours = _first(body), _first(_Answers(floor).by_name[address])

    assert gone is None or theirs.keys() - ours.keys() <= gone
    assert ours.keys() - theirs.keys() <= added
    kinds = {key: (type(theirs[key]), type(ours[key])) for key in (theirs.keys() & ours.keys()) - RETYPED}
    assert {key: pair for key, pair in kinds.items() if pair[0] is not pair[1]} == {}


@needs_vectors
@pytest.mark.parametrize(
    ("name", "gone", "added"),
    [
        ("OrderUpdate", {"AP", "cr"}, {"er"}),
        ("AlgoOrderUpdate", set(), {"rm"}),
        ("AccountUpdate", set(), set()),
        ("TradeUpdate", set(), set()),
        ("Leverage", set(), set()),
    ],
)
def test_user_event_has_the_fields_of_other_peoples_samples(floor, name, gone, added):
    from slt_sandbox.endpoint import Call
    from slt_sandbox.params import Params

    text = (JKORF / "Subscriptions" / "UsdFutures" / f"{name}.txt").read_text("utf-8-sig")
    sample = json.loads(text.partition("\n=")[2])["data"]
    endpoint = next(one for one in rest.ENDPOINTS if one.path.endswith("/leverage"))
    endpoint.answer(Call(floor.exchange, Params({"symbol": "BTCUSDT", "leverage": "5"}), floor.account))
    floor.order("BUY", "1")
    floor.algo("SELL", "STOP_MARKET", quantity="1", triggerPrice="90", reduceOnly="true")
    ours = [event for event in floor.events if event["e"] == sample["e"]][-1]

    assert sample.keys() == ours.keys()
    inner = next((key for key in ("o", "a", "ac") if isinstance(sample.get(key), dict)), None)
    theirs, mine = (sample[inner], ours[inner]) if inner else (sample, ours)
    assert theirs.keys() - mine.keys() <= gone
    assert mine.keys() - theirs.keys() <= added
    for key in ("B", "P"):
        if key in theirs:
            assert theirs[key][0].keys() == mine[key][0].keys()
