"""The service: what it says, how it is told, and how `slt sandbox` and `slt run` start and end it."""

# ruff: noqa: SIM117 - first the sandbox, then its clients
from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import sysconfig
import urllib.request
from pathlib import Path

import pytest

from slt.config import structure
from slt.errors import ConfigError
from slt.loader import build_service
from slt_sandbox.service import SandboxConfig

sys.path.insert(0, str(Path(__file__).parent))

from arena import GivenFeed, arena, client, frames, get, http, klines, post

SLT = Path(sysconfig.get_path("scripts")) / "slt"
ENVIRONMENT = {n: v for n, v in os.environ.items() if not n.startswith(("SLT_", "SANDBOX_", "BINANCE_"))}
CONFIG = """
[services.sandbox]
port = {port}
history_days = 1
speed = 60.0
[feeds.synthetic]
symbols = ["SYN1USDT", "SYN2USDT"]
days = 3
"""
_TAKEN = (
    "slt: services.sandbox.port: cannot listen on {} of 127.0.0.1 (address already in use); end what listens there, or "
    "choose another port\n"
)
RUN = """
[run]
name = "t"
[plugins]
feed = "synthetic"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["time_stop"]
services = ["sandbox"]
"""


def free_port():
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def start(folder, *arguments, **environment):
    return subprocess.Popen(
        [SLT, *arguments],
        cwd=folder,
        env=ENVIRONMENT | environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def ask(port, path):
    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
        return json.loads(answer.read())


def test_sandbox_command_serves_until_it_is_interrupted(tmp_path):
    port = free_port()
    (tmp_path / "config.toml").write_text(CONFIG.format(port=port))
    process = start(tmp_path, "sandbox")
    line = process.stdout.readline()
    assert line.startswith(f"local exchange on http://127.0.0.1:{port} and ws://127.0.0.1:{port}: 2 symbols from 20")
    assert line.endswith(" UTC at 60x, synthetic market (seed 1): not real prices\n")
    assert ask(port, "/fapi/v1/ping") == {}
    assert [s["symbol"] for s in ask(port, "/fapi/v1/exchangeInfo")["symbols"]] == ["SYN1USDT", "SYN2USDT"]
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (0, "")
    with socket.socket() as one:
        assert one.connect_ex(("127.0.0.1", port)) != 0


def test_sandbox_command_without_a_file_takes_the_defaults_and_any_port(tmp_path):
    process = start(tmp_path, "sandbox", SLT_SERVICES__SANDBOX__PORT="0")
    line = process.stdout.readline()
    port = int(line.partition("http://127.0.0.1:")[2].partition(" ")[0])
    assert len(ask(port, "/sandbox/state")["symbols"]) == 8
    process.terminate()
    process.communicate()
    assert process.returncode == 0


def test_sandbox_command_with_a_parent_ends_when_its_input_does(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG.format(port=0))
    process = start(tmp_path, "sandbox", "--with-parent")
    assert process.stdout.readline().startswith("local exchange on")
    process.stdin.close()
    assert process.wait(60) == 0
    process.stdout.close()
    process.stderr.close()


@pytest.mark.parametrize(
    ("text", "line"),
    [
        (
            "[services.sandbox]\nprot = 1\n",
            "services.sandbox.prot: unknown option; did you mean `port`? (options: host, port,",
        ),
        (
            '[services.sandbox]\nfaults = ["kline_lat"]\n',
            "services.sandbox.faults: `kline_lat` is no fault; did you mean `kline_late`? (faults: close_1006,",
        ),
        (
            '[services.sandbox]\nsource = "synthetc"\n',
            "no feeds plugin `synthetc` is installed; did you mean `synthetic`?",
        ),
        (
            "[feeds.synthetic]\ndays = 0\n",
            "feeds.synthetic.days: found `0`",
        ),
        (
            "[services.sandbox]\nhistory_days = 40\n",
            "services.sandbox.history_days: found 40, but the source holds 30 days in all; lower it, or give",
        ),
        (
            "[services.sandbox]\nclose_delay_max_seconds = 0.1\n",
            "services.sandbox.close_delay_max_seconds: found 0.1, below close_delay_min_seconds (0.2)",
        ),
        ("services = 3\n[services.sandbox", "services.sandbox: config file `config.toml` is not valid TOML"),
    ],
)
def test_sandbox_command_refuses_in_one_line(tmp_path, text, line):
    (tmp_path / "config.toml").write_text(text)
    done = subprocess.run(
        [SLT, "sandbox"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode in {2, 3}
    assert done.stdout == ""
    assert done.stderr.startswith(f"slt: {line}"), done.stderr
    assert done.stderr.count("\n") == 1


def test_sandbox_command_on_a_port_that_is_taken_says_so(tmp_path):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        one.listen()
        port = one.getsockname()[1]
        (tmp_path / "config.toml").write_text(CONFIG.format(port=port))
        done = subprocess.run(
            [SLT, "sandbox"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout, done.stderr) == (
            2,
            "",
            _TAKEN.format(port),
        )
        (tmp_path / "config.toml").write_text(RUN + CONFIG.format(port=port))
        done = subprocess.run(
            [SLT, "run"], cwd=tmp_path, env=ENVIRONMENT, capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 2
        assert f"slt: services.sandbox.port: cannot listen on {port} of 127.0.0.1" in done.stderr
        assert not (tmp_path / "runs" / "t-001").exists()


def test_run_starts_the_sandbox_tells_so_and_ends_it(tmp_path):
    port = free_port()
    (tmp_path / "config.toml").write_text(RUN + CONFIG.format(port=port))
    process = start(tmp_path, "run")
    output, errors = process.communicate(timeout=100)
    assert process.returncode == 0, errors
    assert f"local exchange on http://127.0.0.1:{port}" in errors
    assert "trade hash" in output
    with socket.socket() as one:
        assert one.connect_ex(("127.0.0.1", port)) != 0


def test_sandbox_of_a_run_that_is_killed_ends_by_itself(tmp_path):
    port = free_port()
    slow = RUN.replace('name = "t"', 'name = "t"\nmode = "paper"\nspeed = 1.0')
    (tmp_path / "config.toml").write_text(slow + CONFIG.format(port=port))
    process = start(tmp_path, "run")
    for line in process.stderr:
        if "local exchange on" in line:
            break
    assert ask(port, "/fapi/v1/ping") == {}
    process.kill()
    process.communicate()
    for _ in range(600):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) != 0:
                return
        signal.sigtimedwait([], 0.1)
    pytest.fail("the sandbox lives on")


def test_service_knows_its_source_from_its_option():
    service, source = build_service("sandbox", {("feeds", "synthetic"): {"days": 9}, ("exits", "time_stop"): {"x": 1}})
    assert (service.name, source.name, source.config.days) == ("sandbox", "synthetic", 9)


def test_service_without_a_source_says_what_to_write():
    service, _ = build_service("sandbox", {})
    with pytest.raises(ConfigError, match=r"services\.sandbox\.source: names no feed; write one such as `synthetic`"):
        asyncio.run(service.hooks.slt_start_service(source=None))


def test_config_with_several_problems_tells_them_all():
    problems = []
    structure({"faults": ["stall seconds=x"], "port": 70_000}, SandboxConfig, "services.sandbox", problems)
    assert problems == [
        "services.sandbox.port: found `70000`, allowed is at least 0 and at most 65535",
        "services.sandbox.faults: `stall seconds=x`: seconds must be a number, found `x`",
    ]


# -- the control desk ----------------------------------------------------------------------------------------------


async def test_desk_tells_state_ledger_and_faults():
    async with arena(GivenFeed(minutes=5_000), speed=600.0) as box, client(box, streams=klines()) as stream:
        await frames(stream, 5)
        state = json.loads((await get(box, "/sandbox/state"))[1])
        assert state["speed"] == 600.0
        assert state["clients"][0]["streams"] == 2
        assert state["accounts"][0]["wallet"] == 10_000.0
        assert await post(box, "/sandbox/faults", {"name": "kline_missing", "symbol": "AAAUSDT"}) == (
            200,
            {"added": 1, "struck": 0},
        )
        await frames(stream, 20)
        told = json.loads((await get(box, "/sandbox/faults"))[1])
        assert told["rules"] == []
        assert [(one["name"], one["symbol"]) for one in told["struck"]] == [("kline_missing", "AAAUSDT")]
        entries = json.loads((await get(box, "/sandbox/ledger?kinds=fault,stream"))[1])
        assert {entry["kind"] for entry in entries} == {"fault", "stream"}
        since = entries[-1]["sequence"]
        assert json.loads((await get(box, f"/sandbox/ledger?kinds=stream&since={since}"))[1]) == []


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("kline_lat", "`kline_lat` is no fault; did you mean `kline_late`?"),
        ({"name": "kline_late", "nht": 3}, "FaultRule.__init__() got an unexpected keyword argument 'nht'"),
        (3, "`3` is no fault"),
        ("", "`` is no fault"),
        ([{"name": "kline_late"}, {"nam": 1}], "`` is no fault"),
    ],
)
async def test_desk_refuses_what_is_no_rule(given, message):
    async with arena() as box:
        status, answer = await post(box, "/sandbox/faults", given)
        assert status == 400
        assert answer["error"].startswith(message)
        assert box.faults.schedule.rules() == []


async def test_desk_takes_rules_as_plain_lines_and_takes_them_back():
    async with arena() as box, http() as session:
        rules = "http_429 seconds=5\nkline_late symbol=AAAUSDT nth=3\nkline_late nth=4\n"
        async with session.post(box.url + "/sandbox/faults", data=rules) as answer:
            assert (answer.status, await answer.json()) == (200, {"added": 3, "struck": 0})
        async with session.delete(box.url + "/sandbox/faults?name=kline_late") as answer:
            assert await answer.json() == {"removed": 2}
        assert [rule.name for rule in box.faults.schedule.rules()] == ["http_429"]
        async with session.post(box.url + "/sandbox/faults", data="http_42 seconds=5") as answer:
            assert answer.status == 400
            assert (await answer.json())["error"].startswith("`http_42` is no fault; did you mean `http_429`?")
        async with session.delete(box.url + "/sandbox/faults") as answer:
            assert await answer.json() == {"removed": 1}


async def test_desk_tells_its_addresses_and_refuses_in_words():
    async with arena() as box, http() as session:
        _, text, _ = await get(box, "/sandbox")
        assert f"curl -d 'http_429 seconds=5' {box.url}/sandbox/faults" in text.decode()
        status, body, _ = await get(box, "/sandbox/ledger?since=x")
        assert (status, "found `x`" in json.loads(body)["error"]) == (400, True)
        for odd in ("x", "3", '{"step": "x"}', "[]"):
            async with session.post(box.url + "/sandbox/market", data=odd) as answer:
                assert answer.status == 400
                assert '{"step": 1}' in (await answer.json())["error"]


async def test_desk_strikes_connections_at_once():
    async with arena(GivenFeed(minutes=5_000), speed=600.0) as box:
        async with client(box, streams=klines()) as one, client(box, streams=klines()) as two:
            assert await post(box, "/sandbox/faults", "half_open client=2") == (200, {"added": 1, "struck": 1})
            await frames(one, 10)
            with pytest.raises(TimeoutError):
                await frames(two, 1_000, 0.5)


async def test_desk_pauses_and_steps_the_market():
    async with arena(GivenFeed(minutes=200), is_stepped=True) as box, client(box, streams=klines()) as stream:
        await frames(stream, 8)
        assert (await post(box, "/sandbox/market", {"paused": True}))[1]["is_paused"]
        assert not (await post(box, "/sandbox/market", {"paused": False, "step": 3}))[1]["is_paused"]
        async with asyncio.timeout(25):
            while box.player.rows < 4:
                await stream.recv()


async def test_desk_answers_this_machine_alone():
    from types import SimpleNamespace

    from slt_sandbox.desk import desk_routes

    handler = next(route.handler for route in desk_routes(None) if route.path == "/sandbox/ledger")
    for remote in ("10.0.0.7", "unknown", None):
        answer = await handler(SimpleNamespace(remote=remote))
        assert answer.status == 403
