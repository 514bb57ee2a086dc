"""What keeps the broker from opening: each thing one line, what was found and what to do, and no secret in it."""

from __future__ import annotations

import logging
from decimal import Decimal

import pytest
from aiohttp import web
from attrs import evolve
from venue import KEY, SECRET, SandboxVenue

from slt.errors import BrokerError, ConfigError
from slt.rules import GENERIC_BRACKETS
from slt.testing.broker import make_hooks
from slt.types import MINUTE_MS, MarketInfo, SymbolRules
from slt_binance.broker import BinanceBroker, BinanceBrokerConfig

SYMBOLS = ("BTCUSDT", "ETHUSDT", "SOLUSDT")


def rules(symbol):
    return SymbolRules(symbol, Decimal("0.01"), Decimal("0.001"), Decimal(5), GENERIC_BRACKETS, taker_fee=0.00041)


MARKET = MarketInfo(SYMBOLS, MINUTE_MS, 0, None, "the local exchange")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr("slt_binance.client._FIRST_WAIT_S", 0.001)


@pytest.fixture
async def venue():
    made = SandboxVenue({s: rules(s) for s in SYMBOLS}, "BTCUSDT")
    await made.start()
    yield made
    await made.stop()


async def opened(venue, market=MARKET):
    hooks = make_hooks(venue.broker)
    try:
        return await hooks.slt_open_broker(market=market, wallet=0.0)
    finally:
        await hooks.slt_close_broker()


async def refused(venue, market=MARKET, kind=ConfigError):
    with pytest.raises(kind) as caught:
        await opened(venue, market)
    text = str(caught.value)
    assert KEY not in text
    assert SECRET not in text
    return text.splitlines()


def answer(path, status, body):
    async def strike(request, method, seen):
        if seen != path:
            return None
        return (
            web.Response(status=status, text=body) if isinstance(body, str) else web.json_response(body, status=status)
        )

    return strike


async def test_open_gives_rules_with_the_accounts_fees_and_sets_nothing(venue):
    found = await opened(venue)
    assert set(found) == set(SYMBOLS)
    assert found["BTCUSDT"].taker_fee == 0.00041
    assert found["BTCUSDT"].brackets == GENERIC_BRACKETS
    assert found["BTCUSDT"].slippage == 0.0002
    assert venue.count("POST", "/fapi/v1/marginType") == venue.count("POST", "/fapi/v1/leverage") == 0


async def test_open_missing_keys_names_the_variables(venue, monkeypatch):
    monkeypatch.delenv("BINANCE_API_KEY")
    monkeypatch.setenv("BINANCE_API_SECRET", " ")
    lines = await refused(venue)
    assert [line.split(":")[0] for line in lines] == [
        "environment variable BINANCE_API_KEY",
        "environment variable BINANCE_API_SECRET",
    ]


async def test_open_key_with_odd_characters_is_refused_without_showing_it(venue, monkeypatch):
    monkeypatch.setenv("BINANCE_API_KEY", "abc def")
    (line,) = await refused(venue)
    assert "copy it again" in line
    assert "abc" not in line


async def test_open_wrong_key_is_one_line(venue, monkeypatch):
    monkeypatch.setenv("BINANCE_API_KEY", "another-key")
    (line,) = await refused(venue)
    assert "code -2015" in line
    assert "demo keys work on the demo host only" in line


async def test_open_wrong_secret_is_one_line(venue, monkeypatch):
    monkeypatch.setenv("BINANCE_API_SECRET", "another-secret")
    (line,) = await refused(venue)
    assert "code -1022" in line
    assert "the secret does not belong to the key" in line


async def test_open_key_that_may_withdraw_is_refused(venue):
    venue.account.permissions = frozenset({"futures", "withdrawals"})
    (line,) = await refused(venue)
    assert line.startswith("brokers.binance: the key may withdraw; take that right from it")


@pytest.mark.parametrize(("status", "body"), [(403, "<html>no</html>"), (404, "<html>"), (200, {})])
async def test_open_exchange_that_does_not_tell_rights_is_a_warning(venue, caplog, status, body):
    venue.before = answer("/sapi/v1/account/apiRestrictions", status, body)
    with caplog.at_level(logging.WARNING):
        await opened(venue)
    assert "does not tell what the key may do" in caplog.text


async def test_open_hedge_mode_is_refused(venue):
    venue.account.is_hedged = True
    (line,) = await refused(venue)
    assert "the account is in hedge mode" in line
    assert "one-way mode" in line


async def test_open_multi_assets_mode_with_isolated_margin_is_refused(venue):
    venue.account.is_multi_assets = True
    (line,) = await refused(venue)
    assert "multi-assets mode allows no isolated margin" in line
    venue.options = {"margin_type": "cross"}
    await opened(venue)


async def test_open_account_without_money_is_refused():
    venue = SandboxVenue({s: rules(s) for s in SYMBOLS}, "BTCUSDT")
    venue.wallet = 0.0
    await venue.start()
    try:
        (line,) = await refused(venue)
    finally:
        await venue.stop()
    assert "holds 0 USDT; transfer USDT into the futures wallet" in line


async def test_open_every_problem_at_once(venue):
    venue.account.is_hedged = True
    venue.account.permissions = frozenset({"futures", "withdrawals"})
    venue.exchange.set_status("ETHUSDT", "SETTLING")
    lines = await refused(venue, evolve(MARKET, symbols=(*SYMBOLS, "NOPEUSDT")))
    assert len(lines) == 4
    assert any("ETHUSDT does not trade (status SETTLING)" in line for line in lines)
    assert any("NOPEUSDT is not listed" in line for line in lines)


async def test_open_symbol_delisted_since_stops_a_new_run_and_not_one_that_goes_on(venue, caplog):
    venue.exchange.delist("ETHUSDT")
    (line,) = await refused(venue)
    assert "ETHUSDT does not trade (status CLOSE)" in line
    found = await opened(venue, evolve(MARKET, symbols=(*MARKET.symbols, "GONEUSDT"), is_resumed=True))
    assert set(found) == set(SYMBOLS)
    assert "ETHUSDT does not trade (status CLOSE)" in caplog.text
    assert "GONEUSDT is not listed" in caplog.text


async def test_open_margin_type_blocked_by_a_position_says_so(venue):
    await venue.move(100.0)
    venue.options = {"margin_type": "cross"}
    hooks = make_hooks(venue.broker)
    await hooks.slt_open_broker(market=MARKET, wallet=0.0)
    from slt.testing.broker_desk import BrokerDesk

    await BrokerDesk(hooks, "BTCUSDT", {}).enter()
    await hooks.slt_close_broker()
    venue.options = {"margin_type": "isolated"}
    (line,) = await refused(venue)
    assert "margin_type: BTCUSDT cannot be switched to isolated" in line
    assert "close it" in line


async def test_open_clock_far_off_is_the_right_of_a_local_exchange_and_a_problem_elsewhere(venue, caplog, monkeypatch):
    venue.skew_ms = 3_600_000
    with caplog.at_level(logging.WARNING):
        await opened(venue)
    assert "clock" not in caplog.text
    checks = await make_hooks(venue.broker).slt_diagnose_broker(market=MARKET)
    (clock,) = [c for c in checks if c.name == "clock"]
    assert clock.verdict == "ok"
    assert "3600.0 s behind the exchange's: a local exchange has a time of its own" in clock.found
    monkeypatch.setattr("slt_binance.survey._is_local", lambda _: False)
    (line,) = await refused(venue)
    assert "timedatectl set-ntp true" in line


async def test_open_no_route_is_a_broker_error_that_names_the_host(venue, unused_tcp_port):
    venue.options = {"rest_url": f"http://127.0.0.1:{unused_tcp_port}"}
    (line,) = await refused(venue, kind=BrokerError)
    assert f"no connection to 127.0.0.1:{unused_tcp_port}" in line


async def test_open_something_else_at_the_address_is_one_line(venue):
    venue.before = answer("/fapi/v1/time", 404, "<html>welcome</html>")
    (line,) = await refused(venue)
    assert "is a proxy in the way, or the address not the exchange's?" in line
    venue.before = answer("/fapi/v1/time", 200, {"hello": "world"})
    (line,) = await refused(venue)
    assert "check that rest_url is the address of the exchange" in line


async def test_open_other_shapes_of_answers_never_escape(venue):
    for path in ("/fapi/v1/exchangeInfo", "/fapi/v1/leverageBracket", "/fapi/v1/symbolConfig", "/fapi/v3/account"):
        venue.before = answer(path, 200, {"a": []})
        assert await refused(venue)


def test_default_hosts_are_those_of_the_demo_exchange():
    assert "//demo-" in BinanceBrokerConfig().rest_url
    assert "//demo-" in BinanceBrokerConfig().stream_url


async def test_read_updates_and_submit_before_open_are_errors():
    hooks = make_hooks(BinanceBroker(BinanceBrokerConfig()))
    with pytest.raises(BrokerError, match="not open"):
        await anext(hooks.slt_read_updates())
    assert hooks.slt_advance_price(point=None) == []


async def test_diagnose_healthy_account_has_no_problem(venue):
    checks = await make_hooks(venue.broker).slt_diagnose_broker(market=MARKET)
    assert {c.verdict for c in checks} <= {"ok", "warning"}
    names = [c.name for c in checks]
    for name in (
        "server",
        "clock",
        "symbols",
        "API key",
        "position mode",
        "margin type",
        "funds",
        "fees",
        "user stream",
    ):
        assert name in names
    assert venue.count("POST", "/fapi/v1/marginType") == 0


async def test_diagnose_never_raises_and_says_what_to_do(venue, monkeypatch, unused_tcp_port):
    venue.account.is_hedged = True
    checks = await make_hooks(venue.broker).slt_diagnose_broker(market=MARKET)
    (problem,) = [c for c in checks if c.verdict == "problem"]
    assert (problem.name, problem.found) == ("position mode", "the account is in hedge mode")
    assert problem.advice
    venue.account.is_hedged = False
    venue.options = {"stream_url": f"ws://127.0.0.1:{unused_tcp_port}"}
    checks = await make_hooks(venue.broker).slt_diagnose_broker(market=MARKET)
    assert checks[-1].name == "user stream"
    assert checks[-1].verdict == "problem"
    monkeypatch.delenv("BINANCE_API_KEY")
    (check,) = await make_hooks(venue.broker).slt_diagnose_broker(market=MARKET)
    assert (check.name, check.verdict) == ("API key", "problem")
    assert check.advice.startswith("set it to the API key")
