"""A whole run at debug level, through faults of every kind: no key, secret or signature in anything that it leaves."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sysconfig
import time
import urllib.request
from pathlib import Path

import pytest

SLT = Path(sysconfig.get_path("scripts")) / "slt"
EXAMPLE = Path(__file__).parents[3] / "docs/examples/sandbox.toml"
KEY, SECRET = "debug-level-key-" + "k" * 20, "debug-level-secret-" + "s" * 20
LOUD = "[log]\n" + "".join(
    f'{name} = "debug"\n' for name in ("learning", "profit", "execution", "lifecycle", "error", "other", "file_level")
)
FAULTS = [
    "answer_lost path=/fapi/v1/order method=POST",
    "http_503_unknown path=/fapi/v1/order method=POST nth=2",
    "error_1021 path=/fapi/v1/algoOrder",
    "request_lost path=/fapi/v1/algoOrder",
    "http_429 path=/fapi/v3/account seconds=0.2",
    "http_403 path=/fapi/v1/openOrders",
    "http_500 path=/fapi/v1/leverage",
    "error_2019 path=/fapi/v1/order nth=5",
    "malformed_json symbol=SYN1USDT",
]
ORDERS, STRUCK = 4, 3
STOPPED = 5


def ask(port, path, *, method="GET", body=None):
    request = urllib.request.Request(
        f"http://127.0.0.1:{port}{path}", method=method, data=body, headers={"X-MBX-APIKEY": KEY}
    )
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())


def until(process, condition, what):
    deadline = time.monotonic() + 90
    while time.monotonic() < deadline:
        if process.poll() is not None:
            pytest.fail(f"the run ended with {process.returncode}")
        try:
            if condition():
                return
        except OSError:
            pass
        signal.sigtimedwait([], 0.2)
    pytest.fail(f"in vain: {what}")


@pytest.mark.timeout(400)
def test_whole_run_at_debug_level_leaves_no_secret_anywhere(tmp_path):
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port = one.getsockname()[1]
    text = (
        EXAMPLE.read_text()
        .replace("8771", str(port))
        .replace("speed = 60.0", f"speed = 240.0\nfaults = {json.dumps(FAULTS)}")
    )
    (tmp_path / "config.toml").write_text(text + LOUD)
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("SLT_", "SANDBOX_", "BINANCE_"))}
    environment |= {"SANDBOX_API_KEY": KEY, "SANDBOX_API_SECRET": SECRET, "PYTHONASYNCIODEBUG": "1"}
    with (tmp_path / "out.txt").open("wb") as out, (tmp_path / "err.txt").open("wb") as err:
        process = subprocess.Popen([SLT, "run", "--debug"], cwd=tmp_path, env=environment, stdout=out, stderr=err)
        try:
            until(process, lambda: len(ask(port, "/sandbox/ledger?kinds=order")) >= ORDERS, "orders")
            until(process, lambda: len(ask(port, "/sandbox/faults")["struck"]) >= STRUCK, "faults")
            listen_keys = [ask(port, "/fapi/v1/listenKey", method="POST", body=b"")["listenKey"]]
            ask(port, "/sandbox/faults", method="POST", body=b'["listen_key_expired", "user_cut"]')
            struck = len(ask(port, "/sandbox/faults")["struck"])
            until(process, lambda: len(ask(port, "/sandbox/faults")["struck"]) >= struck, "the stream's faults")
            listen_keys.append(ask(port, "/fapi/v1/listenKey", method="POST", body=b"")["listenKey"])
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == STOPPED
        finally:
            process.kill()
            process.wait()
    files = [path for path in tmp_path.rglob("*") if path.is_file() and path.name != "config.toml"]
    assert any(path.suffix == ".log" or "log" in path.name for path in files)
    written = 0
    for path in files:
        content = path.read_bytes()
        written += content.count(b"debug")
        for secret in (KEY, SECRET, *listen_keys):
            assert secret.encode() not in content, f"{path.relative_to(tmp_path)} holds {secret[:12]}…"
        assert re.search(rb"signature[\"']?[=:] ?[\"']?[0-9a-f]{16}", content) is None, path
    assert written > 0, "nothing was logged at debug level: the test would prove nothing"
