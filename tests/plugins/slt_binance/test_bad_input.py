"""What a person may get wrong, at `slt run` and `slt doctor`: one line each, what was found and what to do, no secret.

The exchange is a local one in a thread of its own; the commands are the real ones, in this process.
"""

from __future__ import annotations

import asyncio
import os
import re
import threading
from contextlib import contextmanager

import pytest

from slt.cli import main
from slt.run import doctor
from slt_sandbox.player import PlayerSettings
from slt_sandbox.server import Sandbox
from slt_synthetic.feed import SyntheticFeed, SyntheticFeedConfig

KEY, SECRET = "k" * 30 + "EY", "s" * 30 + "ECRET"
SYMBOLS = ("SYN1USDT", "SYN2USDT")
CONFIG = """
[run]
name = "t"
mode = "live"
confirm_live = true
allow_uncertified = true
one_instance = false
warm_days = 0
[plugins]
feed = "binance"
broker = "binance"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["time_stop"]
[feed]
clock = "events"
[feeds.binance]
rest_url = "{url}"
stream_url = "{stream}"
symbols = {symbols}
[brokers.binance]
rest_url = "{broker}"
stream_url = "{stream}"
[health]
port = 0
"""


@contextmanager
def sandbox(wallet=10_000.0, **player):
    """A local exchange in a thread of its own."""
    feed = SyntheticFeed(SyntheticFeedConfig(symbols=SYMBOLS, days=2))
    ready, found = threading.Event(), {}

    async def serve():
        ending = asyncio.Event()
        box = Sandbox(feed, api_key=KEY, secret=SECRET, wallet=wallet, player=PlayerSettings(speed=30.0, **player))
        async with box:
            found.update(box=box, end=ending.set, loop=asyncio.get_running_loop())
            ready.set()
            await ending.wait()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    assert ready.wait(60)
    try:
        yield found["box"]
    finally:
        found["loop"].call_soon_threadsafe(found["end"])
        thread.join(30)


@pytest.fixture(scope="module")
def shared():
    """One exchange for all that only ask it."""
    with sandbox() as box:
        yield box


@pytest.fixture
def account(shared):
    """Its account, as it was afterwards."""
    found = shared.exchange.account(KEY)
    before = (found.permissions, found.is_hedged, found.addresses)
    yield found
    found.permissions, found.is_hedged, found.addresses = before


@pytest.fixture
def slt(tmp_path, monkeypatch, capsys):
    """Run a command on a configuration: exit code, what it says, and that no secret is in it."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(doctor, "_LISTEN_S", 0.1)
    for name in [n for n in os.environ if n.startswith(("SLT_", "DISABLE_", "BINANCE_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("BINANCE_API_KEY", KEY)
    monkeypatch.setenv("BINANCE_API_SECRET", SECRET)

    def slt(command, url, *, broker="", stream="", symbols=SYMBOLS, plugins="", more=""):
        stream = stream or url.replace("http", "ws", 1)
        text = (
            CONFIG.replace("[feed]", f"{plugins}\n[feed]").format(
                url=url, broker=broker or url, stream=stream, symbols=list(symbols)
            )
            + more
        )
        (tmp_path / "config.toml").write_text(text)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main([command])
        out, err = capsys.readouterr()
        for secret in (KEY, SECRET, os.environ.get("BINANCE_API_KEY", KEY), "signature="):
            assert secret not in out + err
        return left.value.code, out, err

    return slt


def refused(slt, url, found, advice, **options):
    """Both commands refuse, each in a line that says what was found and what to do."""
    code, _, err = slt("run", url, **options)
    assert code in {1, 2}
    (line,) = [line for line in err.splitlines() if line.startswith("slt: ")]
    assert found in line, line
    assert advice in line, line
    code, out, _ = slt("doctor", url, **options)
    assert code == 1
    # The last problem: what comes after the first red line may be red because of it.
    assert found in " ".join(out.split()), out
    assert advice in " ".join(out.split()), out


@pytest.mark.parametrize("name", ["BINANCE_API_KEY", "BINANCE_API_SECRET"])
def test_missing_key_is_named_by_its_variable(slt, shared, monkeypatch, name):
    monkeypatch.delenv(name)
    refused(slt, shared.url, f"environment variable {name}: not set", "set it to the API")


def test_wrong_key_as_one_of_the_demo_exchange_on_the_real_host_is(slt, shared, monkeypatch):
    monkeypatch.setenv("BINANCE_API_KEY", "key-of-another-exchange")
    refused(slt, shared.url, "code -2015: Invalid API-key, IP, or permissions", "demo keys work on the demo host only")


def test_wrong_secret(slt, shared, monkeypatch):
    monkeypatch.setenv("BINANCE_API_SECRET", "secret-of-another-key")
    refused(slt, shared.url, "code -1022", "the secret does not belong to the key; check both environment variables")


def test_address_that_the_key_may_not_be_used_from(slt, shared, account):
    account.addresses = frozenset({"203.0.113.7"})
    refused(slt, shared.url, "code -2015", "that its IP list holds this machine")


def test_key_that_may_withdraw(slt, shared, account):
    account.permissions = frozenset({"futures", "withdrawals"})
    refused(slt, shared.url, "the key may withdraw", "take that right from it at the exchange")


def test_key_that_may_not_trade_futures(slt, shared, account):
    account.permissions = frozenset()
    refused(slt, shared.url, "code -2015", "that it may trade futures")


def test_account_in_hedge_mode(slt, shared, account):
    account.is_hedged = True
    refused(slt, shared.url, "the account is in hedge mode", "switch to one-way mode")


def test_account_without_money(slt):
    with sandbox(wallet=0.0) as box:
        refused(slt, box.url, "the futures wallet holds 0 USDT", "transfer USDT into the futures wallet")


def test_symbol_that_is_unknown(slt, shared):
    refused(slt, shared.url, "the exchange knows no `SYN3USDT`", "did you mean", symbols=(*SYMBOLS, "SYN3USDT"))


@pytest.mark.parametrize("status", ["CLOSE", "SETTLING", "PRE_TRADING_BY_REGION"])
def test_symbol_that_is_delisted_or_not_permitted(slt, shared, status):
    quote = shared.exchange.quote("SYN2USDT")
    quote.status = status
    try:
        refused(slt, shared.url, f"`SYN2USDT` cannot be traded (status {status}", "remove it")
    finally:
        quote.status = "TRADING"


def test_no_route_to_the_exchange(slt, unused_tcp_port):
    url = f"http://127.0.0.1:{unused_tcp_port}"
    refused(slt, url, f"127.0.0.1:{unused_tcp_port}", "network")


def test_no_route_to_the_broker_alone(slt, shared, unused_tcp_port):
    broker = f"http://127.0.0.1:{unused_tcp_port}"
    refused(slt, shared.url, f"no connection to 127.0.0.1:{unused_tcp_port}", "any proxy", broker=broker)


def test_proxy_that_does_not_answer(slt, monkeypatch, unused_tcp_port):
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{unused_tcp_port}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{unused_tcp_port}")
    refused(slt, "http://exchange.test", "no connection", "proxy", stream="ws://exchange.test")


def test_proxy_that_answers_itself(slt):
    with sandbox() as box:
        broker = box.url + "/welcome-page"
        refused(slt, box.url, "is a proxy in the way", "or the address not the exchange's?", broker=broker)


def test_clock_that_is_an_hour_off(slt, monkeypatch):
    monkeypatch.setattr("slt_binance.survey._is_local", lambda _: False)
    with sandbox() as box:  # its market is of another year
        refused(slt, box.url, "the machine's clock is", "set it by NTP")


def test_leverage_above_every_bracket_is_not_asked_for(slt, shared, tmp_path):
    """Whatever `risk.max_leverage` says, an entry keeps to the symbol's bracket: no error, and the doctor says so."""
    code, out, _ = slt("doctor", shared.url, more="[risk]\nmax_leverage = 125\n")
    assert code == 0, out
    assert re.search(r"at most \d+x.*; a higher risk.max_leverage is cut to it", out)


def test_sandbox_port_that_is_taken(slt, shared):
    port = shared.url.rpartition(":")[2]
    more = f'[services.sandbox]\nport = {port}\nsource = "synthetic"\nhistory_days = 0\n[feeds.synthetic]\ndays = 2\n'
    services = 'services = ["sandbox"]'
    refused(
        slt, shared.url, f"cannot listen on {port} of 127.0.0.1", "choose another port", plugins=services, more=more
    )
