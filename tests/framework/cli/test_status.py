"""``slt status`` on runs that stopped, were killed, go on, or never were."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import sysconfig
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest

from slt.config import read_config
from slt.report.standing import Standing
from slt.report.status import StatusView, render_status, status_lines
from slt.run.dense import Dense
from slt.run.starting import Starting, starting_file
from slt.testing.storage import make_record
from slt.types import Trade

CONFIG = """
[run]
name = "t"
mode = "{mode}"
speed = 0.0
[plugins]
feed = "synthetic"
storage = "{storage}"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["time_stop"]
[feeds.synthetic]
days = 2
symbols = ["SYN1USDT", "SYN2USDT"]
[health]
port = 0
"""


def configure(tmp_path, mode="paper", storage="file"):
    (tmp_path / "config.toml").write_text(CONFIG.format(mode=mode, storage=storage))


@pytest.fixture
def played(slt, tmp_path, file_storage):
    """The command beside a finished paper run."""
    configure(tmp_path)
    code, _, err = slt("run")
    assert code == 0, err
    return slt


def vitals_of(tmp_path, run="t-001"):
    return json.loads((tmp_path / "runs" / run / "health.json").read_text())


def change(tmp_path, **changes):
    path = tmp_path / "runs" / "t-001" / "health.json"
    path.write_text(json.dumps(vitals_of(tmp_path) | changes))


def test_status_of_a_run_tells_score_parts_trades_and_day(played, tmp_path):
    change(tmp_path, state="running", written=datetime.now(UTC).isoformat())
    code, out, err = played("status")
    lines, vitals = out.splitlines(), vitals_of(tmp_path)
    assert (code, err) == (0, "")
    assert lines[0].startswith("run: t-001 (paper), running")
    assert f"health: {vitals['score']:.0f} of 100, {vitals['status']}" in lines
    assert len([line for line in lines if line.startswith("part ")]) == len(vitals["parts"]) > 10
    assert len([line for line in lines if line.startswith("trade ")]) == 10
    assert "positions: none open" in lines
    assert "model: none in force (UNTRAINED)" in lines
    assert lines[-1] == "figures: out of the storage"
    today = next(line for line in lines if line.startswith("today: "))
    assert f" net, {vitals['standing']['day_trades']} trade" in today
    assert played("status", "t-001")[1] == played("status", "--once")[1] == out


def test_status_without_its_storage_shows_the_runs_own_figures(slt, tmp_path):
    configure(tmp_path, storage="memory")
    assert slt("run")[0] == 0
    _, out, _ = slt("status")
    written = datetime.fromisoformat(vitals_of(tmp_path)["written"]).strftime("%Y-%m-%d %H:%M:%S")
    assert f"figures: the run's own, written {written} UTC" in out.splitlines()
    assert len([line for line in out.splitlines() if line.startswith("trade ")]) == 10


def test_status_with_a_storage_that_is_away_says_so_and_goes_on(played, tmp_path):
    text = (tmp_path / "config.toml").read_text().replace('"file"', '"postgres"')
    (tmp_path / "config.toml").write_text(text)
    url = "postgresql://slt:s3cretword@127.0.0.1:9/slt"
    code, out, err = played("status", DATABASE_URL=url)
    assert code == 0
    assert "s3cretword" not in out + err
    assert "; the storage cannot be opened (" in out.splitlines()[-1]


def test_status_of_a_run_under_way_names_its_process(played, tmp_path):
    change(tmp_path, state="running", written=datetime.now(UTC).isoformat())
    assert played("status")[1].splitlines()[0] == f"run: t-001 (paper), running (process {os.getpid()})"


def test_status_of_a_killed_run_says_that_its_process_is_gone(played, tmp_path):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    old = datetime.fromtimestamp(time.time() - 3600, UTC).isoformat()
    change(tmp_path, state="running", written=old, pid=gone.pid)
    first = played("status")[1].splitlines()[0]
    assert f"process {gone.pid} is gone since" in first
    assert first.endswith("; `slt run` resumes the run")
    ahead = datetime.fromtimestamp(time.time() + 3600, UTC).isoformat()
    change(tmp_path, written=ahead)
    assert f"process {gone.pid} is gone since" in played("status")[1].splitlines()[0], "the clock was set back"
    change(tmp_path, pid=os.getpid(), written=old)
    assert f"process {os.getpid()} gives no sign of life since" in played("status")[1].splitlines()[0]


@pytest.mark.parametrize("state", ["stopped", "finished"])
def test_status_of_a_run_that_was_left_on_purpose_shows_no_fault_of_what_is_down_with_it(played, tmp_path, state):
    down = [{"name": "feed market-1", "score": 70.0, "detail": "down, last message 3 s ago"}]
    change(tmp_path, state=state, score=70.0, status="yellow", parts=down, waits={"feed": "no bar"})
    (tmp_path / "config.toml").rename(tmp_path / "my run.toml")
    code, out, err = played("status", "--config", "my run.toml")
    lines = out.splitlines()
    when = datetime.fromisoformat(vitals_of(tmp_path)["written"]).strftime("%Y-%m-%d %H:%M:%S")
    resumes = "; `slt run --config 'my run.toml'` resumes it" if state == "stopped" else ""
    assert (code, err) == (0, "")
    assert lines[0] == f"run: t-001 (paper), {state} at {when} UTC{resumes}"
    assert lines[1] == f"health: not watched, the run is {state}"
    assert not [line for line in lines if line.startswith(("part ", "entries halted")) or "yellow" in line]
    assert len([line for line in lines if line.startswith("trade ")]) == 10
    change(tmp_path, writer={"pending": 1200})
    text = played("status", "--config", "my run.toml")[1]
    assert f"the run is {state}; 1,200 records wait in its journal for the database" in text


def test_status_of_a_stopped_run_draws_no_parts(played, tmp_path):
    from rich.console import Console

    view = StatusView(vitals_of(tmp_path) | {"state": "stopped"}, Standing(0), "stopped", "the run's own")
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115 - closed with the test
    with console.file:
        console.print(render_status(view, height=24))
        text = console.export_text()
    assert "not watched, the run is stopped" in text
    assert not [part["name"] for part in view.vitals["parts"] if f"{part['name']}  " in text]
    assert "At 100" not in text


def test_status_shows_positions_halts_and_channels(played, tmp_path):
    position = {
        "id": "p1", "symbol": "SYN1USDT", "side": -1, "strategy": "ema_cross", "entry_time": 1_704_067_200_000,
        "entry_price": 100.0, "quantity": 2.0, "leverage": 3, "price": 99.0, "stop": 101.0, "target": 97.0,
        "gain_r": 1.0, "net_gain_r": 0.9, "unrealised": 2.0, "stop_resting": False, "closing": False,
    }  # fmt: skip
    channel = {
        "name": "discord", "waiting": 3, "delivered": 0, "failed": 0, "busy": 0, "uncertain": 0, "duplicates": 0,
        "dropped": 1, "off": None,
    }  # fmt: skip
    off = {**channel, "name": "telegram", "off": "the token was refused"}
    change(
        tmp_path,
        positions=[position],
        waits={"storage": "the database is away"},
        channels=[channel, off],
        event_time=1_704_067_200_000 + 95 * 60_000,
        state="running",
        written=datetime.now(UTC).isoformat(),
    )
    lines = played("status")[1].splitlines()
    assert (
        "position SYN1USDT short; 1 h 35 min; 100; 99; stop 101 (NOT RESTING); target 97; +1.00 R; +2.00 USDT" in lines
    )
    assert "entries halted by storage: the database is away" in lines
    assert "notices discord: 3 wait, 1 dropped" in lines
    assert "notices telegram: switched off: the token was refused" in lines


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ({}, None),
        ({"expired": 2}, "notices discord: 0 wait, 0 dropped, 2 expired"),
        ({"uncertain": 1}, "notices discord: 0 wait, 0 dropped, 1 uncertain (may have come twice)"),
        (
            {"waiting": 3, "dropped": 1, "expired": 2000, "uncertain": 4},
            "notices discord: 3 wait, 1 dropped, 2,000 expired, 4 uncertain (may have come twice)",
        ),
        ({"off": "401", "expired": 2}, "notices discord: switched off: 401; 2 expired"),
    ],
)
def test_status_lines_tell_what_expired_and_what_is_uncertain(played, tmp_path, counts, expected):
    channel = {"name": "discord", "waiting": 0, "dropped": 0, "uncertain": 0, "expired": 0, "off": None} | counts
    view = StatusView(vitals_of(tmp_path) | {"channels": [channel]}, Standing(0), "running", "the run's own")
    said = [line for line in status_lines(view) if line.startswith("notices")]
    assert said == ([expected] if expected else [])


def test_status_on_a_terminal_draws_the_same(played, tmp_path):
    from rich.console import Console

    view = StatusView(vitals_of(tmp_path), Standing(0), "finished", "the run's own")
    console = Console(width=120, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115 - closed with the test
    with console.file:
        console.print(render_status(view))
        text = console.export_text()
    assert "t-001 (paper)" in text
    for line in status_lines(view):
        name, _, value = line.partition(": ")
        if name in {"health", "equity", "today"}:
            assert value.split(",")[0].strip() in text.replace("\N{MINUS SIGN}", "-")


def test_status_on_a_low_terminal_names_what_is_well_and_keeps_the_positions_in_sight(played, tmp_path):
    from rich.console import Console

    vitals = vitals_of(tmp_path) | {"state": "running"}
    vitals["parts"] = [{"name": f"part {n}", "score": 100.0 if n else 40.0, "detail": "so"} for n in range(20)]
    trades = tuple(make_record(Trade, number) for number in range(10))
    view = StatusView(vitals, Standing(0, last_trades=trades), "running", "out of the storage")
    console = Console(width=200, record=True, file=open(os.devnull, "w"))  # noqa: PTH123, SIM115 - as above
    with console.file:
        for height in (24, 60, None):
            console.print(render_status(view, height=height))
            text = console.export_text()
            lines = [line for line in text.splitlines() if line.strip()]
            assert len([line for line in lines if " so" in line]) == (1 if height == 24 else 20)
            assert ("At 100: part 1, part 2, " in text) == (height == 24)
            assert "No position is open." in text
            assert text.splitlines()[-1].strip() == "Figures: out of the storage"
            assert len([line for line in lines if " long " in line or " short " in line]) == (3 if height == 24 else 10)
            if height == 24:
                assert len(text.splitlines()) <= 24


def test_status_follows_what_a_run_says_it_has_written(played, tmp_path):
    assert {"Trade", "ModelVersion"} <= vitals_of(tmp_path)["writes"].keys()
    change(tmp_path, state="running", written=datetime.now(UTC).isoformat())
    out = played("status")[1]
    change(tmp_path, writes={}, written=datetime.now(UTC).isoformat())
    assert played("status")[1] == out


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("{", "is damaged; a run that goes on writes it anew within seconds"),
        ("[]", "was written by another version of slt"),
        ('{"run": "t-001"}', "was written by another version of slt"),
    ],
)
def test_status_of_a_damaged_file_is_one_clear_line(played, tmp_path, content, words):
    (tmp_path / "runs" / "t-001" / "health.json").write_text(content)
    code, out, err = played("status")
    assert (code, out) == (1, "")
    assert words in err
    assert len(err.splitlines()) == 1


def test_status_without_a_run_says_what_there_is(slt, tmp_path):
    configure(tmp_path, storage="memory")
    code, _, err = slt("status")
    assert code == 1
    assert err == ("slt: no paper or live run of `t` in `runs`; `slt run` begins one, `slt report` shows back-tests\n")
    assert "no run `t-009` in `runs` (runs: none)" in slt("status", "t-009")[2]


def test_status_of_a_back_test_or_a_misspelt_run_says_so(slt, tmp_path):
    configure(tmp_path, mode="backtest", storage="memory")
    assert slt("run")[0] == 0
    assert "run `t-001` keeps no health: it is a back-test" in slt("status", "t-001")[2]
    configure(tmp_path, storage="memory")
    assert slt("run")[0] == 0
    assert "no run `t-02` in `runs`; did you mean `t-002`? (runs: t-002)" in slt("status", "t-02")[2]
    assert slt("status")[1].startswith("run: t-002")


def test_status_left_with_ctrl_c_ends_well(slt, tmp_path):
    configure(tmp_path, storage="memory")
    assert slt("run")[0] == 0
    ours, theirs = pty.openpty()
    command = [Path(sysconfig.get_path("scripts")) / "slt", "status"]
    process = subprocess.Popen(command, cwd=tmp_path, stdin=theirs, stdout=theirs, stderr=theirs)
    os.close(theirs)
    seen = b""
    try:
        with contextlib.suppress(OSError):  # the terminal's end, once nobody is at the other one
            while chunk := os.read(ours, 65_536):
                if b"t-001" in seen + chunk and b"t-001" not in seen:
                    process.send_signal(signal.SIGINT)
                seen += chunk
        assert process.wait(60) == 0
    finally:
        os.close(ours)
        process.kill()
        process.wait()
    assert b"t-001" in seen
    assert b"interrupted" not in seen
    assert b"Traceback" not in seen


def test_status_while_a_fresh_run_starts_shows_that_one_and_not_the_run_before(played, tmp_path, monkeypatch):
    ask = [sys.executable, "-c", "import sys; sys.argv[0] = 'slt'; from slt.cli import main; main()", "status"]
    start, seen = Dense.start, []
    monkeypatch.setenv("PYTHONPATH", str(tmp_path / "site"))  # the storage plugin's

    def slowly(dense):
        begun = starting_file(tmp_path / "runs", "t")
        until = time.monotonic() + 60
        while not begun.exists() and time.monotonic() < until:
            time.sleep(0.01)
        seen.append(subprocess.run(ask, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=60))
        start(dense)

    monkeypatch.setattr(Dense, "start", slowly)
    assert played("run", "--fresh")[0] == 0
    (done,) = seen
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert lines[0] == f"run: t (paper), process {os.getpid()} is starting: the run is not under way yet"
    assert "t-001" not in done.stdout
    assert played("status")[1].startswith("run: t-002 (paper), finished at ")


def begin_as_standby(tmp_path, **changes):
    starting = Starting(read_config(tmp_path / "config.toml", {}))
    with starting.waiting("instance", "t-001: another instance has this run under way"):
        word = starting.snapshot() | changes
    starting_file(tmp_path / "runs", "t").write_text(json.dumps(word))


def test_status_of_a_run_with_a_standby_beside_it_shows_the_run_and_names_the_standby(played, tmp_path):
    change(tmp_path, state="running", written=datetime.now(UTC).isoformat())
    begin_as_standby(tmp_path)
    pid = os.getpid()
    assert played("status")[1].splitlines()[0] == (
        f"run: t-001 (paper), running (process {pid}); process {pid} is starting: the run is not under way yet; "
        "t-001: another instance has this run under way"
    )
    assert ";" not in played("status", "t-001")[1].splitlines()[0]


@pytest.mark.parametrize("how", ["old", "gone", "damaged"])
def test_status_believes_no_start_that_is_over(played, tmp_path, how):
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    old = datetime.fromtimestamp(time.time() - 3600, UTC).isoformat()
    begin_as_standby(tmp_path, **{"old": {"written": old}, "gone": {"pid": gone.pid}, "damaged": {}}[how])
    if how == "damaged":
        starting_file(tmp_path / "runs", "t").write_text("{")
    assert played("status")[1].startswith("run: t-001 (paper), finished at ")
