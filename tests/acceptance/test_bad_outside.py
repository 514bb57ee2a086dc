"""What goes wrong around a run: channels that refuse, files that are damaged; one line each, and nothing is lost."""

from __future__ import annotations

import json
import os
import signal
import socketserver
import subprocess
import sysconfig
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

SLT = Path(sysconfig.get_path("scripts")) / "slt"
OUTSIDE = ("DATABASE_URL", "DISCORD_WEBHOOK_URL", "TELEGRAM_TOKEN", "TELEGRAM_CHAT_ID", "RELAXED_SIGNAL_MODE")
TOKEN = "123456789:AAF-token_0123456789abcdef"
HOOK = "/api/webhooks/1234567890/wEbHoOk-ToKeN_0123456789"
CONFIG = """
[run]
name = "t"
mode = "paper"
[plugins]
feed = "synthetic"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["total_loss", "time_stop"]
notifiers = {notifiers}
[feeds.synthetic]
days = 1
symbols = ["SYN1USDT", "SYN2USDT"]
[notices]
rate_limit_seconds = 0.01
retry_seconds = 0.01
[health]
port = 0
"""


class Channels:
    """Telegram and Discord at once: what each answers, and what it was sent."""

    def __init__(self):
        self.answers = {"telegram": (200, {"ok": True, "result": {}}), "discord": (200, {"id": "1"})}
        self.asked = {"telegram": 0, "discord": 0}
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                self.rfile.read(int(self.headers["Content-Length"]))
                name = "discord" if self.path.startswith("/api/webhooks/") else "telegram"
                outer.asked[name] += 1
                status, answer = outer.answers[name]
                body = json.dumps(answer).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"


@pytest.fixture
def channels():
    one = Channels()
    thread = threading.Thread(target=one.server.serve_forever, daemon=True)
    thread.start()
    yield one
    one.server.shutdown()
    one.server.server_close()
    thread.join()


@pytest.fixture
def slt(tmp_path):
    """Run the command to its end: exit code, stdout, stderr."""
    environment = {n: v for n, v in os.environ.items() if not n.startswith(("SLT_", "DISABLE_")) and n not in OUTSIDE}

    def slt(*arguments, stop=False, **more):
        process = subprocess.Popen(
            [SLT, *arguments],
            cwd=tmp_path,
            env=environment | more,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        while stop and process.poll() is None:
            if any(tmp_path.glob("runs/t-*/health.json")):
                process.send_signal(signal.SIGINT)
                break
            time.sleep(0.02)
        out, err = process.communicate(timeout=120)
        assert "Traceback" not in err
        return process.returncode, out, err

    return slt


def configure(tmp_path, notifiers=(), more=""):
    (tmp_path / "config.toml").write_text(CONFIG.format(notifiers=json.dumps(list(notifiers))) + more)


GONE = {"ok": False, "error_code": 401, "description": "Unauthorized"}
NO_CHAT = {"ok": False, "error_code": 400, "description": "Bad Request: chat not found"}
NO_HOOK = {"message": "Unknown Webhook", "code": 10015}
REFUSALS = {
    "token revoked": ("telegram", (401, GONE), "notifiers.telegram.token_env: Telegram refuses the token"),
    "unknown chat": ("telegram", (400, NO_CHAT), "notifiers.telegram.chat_id_env: Telegram"),
    "webhook deleted": ("discord", (404, NO_HOOK), "notifiers.discord.webhook_env: Discord refuses the webhook"),
}


@pytest.mark.parametrize(("name", "answer", "words"), REFUSALS.values(), ids=REFUSALS)
def test_channel_that_is_refused_is_said_once_and_switched_off_and_the_run_goes_on(
    slt, channels, tmp_path, name, answer, words
):
    other = {"telegram": "discord", "discord": "telegram"}[name]
    channels.answers[name] = answer
    tables = f'[notifiers.telegram]\nbase_url = "{channels.url}"\n[notifiers.discord]\nbase_url = "{channels.url}"\n'
    configure(tmp_path, ["telegram", "discord"], tables)
    secrets = {
        "TELEGRAM_TOKEN": TOKEN,
        "TELEGRAM_CHAT_ID": "42",
        "DISCORD_WEBHOOK_URL": f"https://discord.com{HOOK}",
    }
    code, out, err = slt("run", **secrets)
    assert code == 0, err
    assert TOKEN not in out + err
    assert HOOK not in out + err
    (said,) = [line for line in err.splitlines() if "notifier switched off" in line]
    assert words in said
    assert channels.asked[name] == 1, "a channel that is off is not asked again"
    assert channels.asked[other] > 1, "the other one is told everything"
    vitals = json.loads((tmp_path / "runs" / "t-001" / "health.json").read_text())
    assert {one["name"]: one["off"] is not None for one in vitals["channels"]} == {name: True, other: False}
    status = slt("status", **secrets)[1]
    assert f"notices {name}: switched off: {words}" in status
    assert TOKEN not in status


def test_message_that_a_channel_refuses_for_what_it_is_is_dropped_and_the_channel_stays_on(slt, channels, tmp_path):
    too_long = {"ok": False, "error_code": 400, "description": "Bad Request: message is too long"}
    channels.answers["telegram"] = (400, too_long)
    configure(tmp_path, ["telegram"], f'[notifiers.telegram]\nbase_url = "{channels.url}"\n')
    code, _, err = slt("run", TELEGRAM_TOKEN=TOKEN, TELEGRAM_CHAT_ID="42")
    assert code == 0, err
    assert channels.asked["telegram"] > 1
    assert "notifier switched off" not in err
    assert "notice dropped" in err
    (channel,) = json.loads((tmp_path / "runs" / "t-001" / "health.json").read_text())["channels"]
    assert channel["off"] is None
    assert channel["dropped"] + channel["failed"] > 0


def test_restart_file_and_journal_that_are_damaged_are_said_and_the_run_resumes(slt, tmp_path):
    configure(tmp_path)
    assert slt("run", stop=True, SLT_RUN__SPEED="3000")[0] == 5
    run = tmp_path / "runs" / "t-001"
    (tmp_path / "runs" / "t.starts.json").write_text('{"starts": [1, "x"')
    segment = run / "journal" / f"{9_000_000:020d}.journal"
    segment.write_bytes(b"9000000 12 deadbeef not a record at all\n")
    code, _, err = slt("run", SLT_RUN__SPEED="0")
    assert code == 0, err
    assert len([line for line in err.splitlines() if "t.starts.json` cannot be read" in line]) == 1
    assert len([line for line in err.splitlines() if "journal damaged" in line]) == 1
    assert segment.name in err
    assert json.loads((run / "health.json").read_text())["state"] == "finished"
    assert not (tmp_path / "runs" / "t-002").exists()


def test_journal_folder_that_cannot_be_used_is_one_line_and_nothing_is_lost(slt, tmp_path):
    configure(tmp_path)
    assert slt("run", stop=True, SLT_RUN__SPEED="3000")[0] == 5
    journal = tmp_path / "runs" / "t-001" / "journal"
    aside = journal.with_name("aside")
    journal.rename(aside)
    journal.write_text("in the way")
    code, out, err = slt("run", SLT_RUN__SPEED="0")
    assert (code, out) == (2, "")
    said = [line for line in err.splitlines() if line.startswith("slt: ")]
    what = "journal folder `runs/t-001/journal` cannot be used: File exists"
    assert said == [f"slt: {what}; free or allow it, or choose another data folder"]
    journal.unlink()
    aside.rename(journal)
    assert slt("run", SLT_RUN__SPEED="0")[0] == 0


@pytest.fixture
def plain_server():
    """The port of a PostgreSQL, as it were, that answers every wish for TLS with No."""

    class Handler(socketserver.BaseRequestHandler):
        def handle(self):
            self.request.recv(8)
            self.request.sendall(b"N")

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def test_database_without_the_tls_that_is_asked_for_keeps_a_run_from_starting(slt, tmp_path, plain_server):
    configure(tmp_path)
    url = f"postgresql://slt:s3cret-word@127.0.0.1:{plain_server}/slt?sslmode=require"
    code, out, err = slt("run", SLT_PLUGINS__STORAGE="postgres", DATABASE_URL=url)
    assert (code, out) == (2, "")
    assert "s3cret-word" not in err
    said = [line for line in err.splitlines() if line.startswith("slt: ")]
    where = f"PostgreSQL at 127.0.0.1:{plain_server}/slt"
    what = "offers no TLS, which slt wants of a public host and where `sslmode` in DATABASE_URL says so"
    assert said == [f"slt: {where} {what}; write ?sslmode=disable there only if you trust the network"]


def test_database_whose_host_is_unknown_is_said_and_its_records_wait_in_the_journal(slt, tmp_path):
    configure(tmp_path)
    url = "postgresql://slt:s3cret-word@no-such-host.invalid/slt"
    code, _, err = slt("run", stop=True, SLT_PLUGINS__STORAGE="postgres", SLT_RUN__SPEED="3000", DATABASE_URL=url)
    assert code == 5, err
    assert "s3cret-word" not in err
    assert "PostgreSQL at no-such-host.invalid:5432/slt cannot be reached: the host is unknown" in err
    (health,) = tmp_path.glob("runs/t-*/health.json")
    database = next(part for part in json.loads(health.read_text())["parts"] if part["name"] == "database")
    assert database["score"] == 60.0
    assert "the host is unknown; correct DATABASE_URL or the name service" in database["detail"]
    assert any(file.stat().st_size > 500 for file in health.parent.glob("journal/*.journal"))
