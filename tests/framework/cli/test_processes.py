"""The command as a process: exit codes, signals, kills, full disks, pipes, and what it imports."""

from __future__ import annotations

import json
import os
import re
import resource
import signal
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

SLT = Path(sysconfig.get_path("scripts")) / "slt"
ROOT = Path(__file__).parents[3]
CONFIG = """
[run]
name = "t"
block_bars = 60
snapshot_seconds = 0.0
[plugins]
feed = "synthetic"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["time_stop"]
[feeds.synthetic]
days = 3
symbols = ["SYN1USDT", "SYN2USDT"]
"""
NO_REPORT = (
    "cannot write the report `{}`: {}; the run's results are kept in the storage: {}, then run `slt report t-001`"
)
OUTSIDE = ("DATABASE_URL", "RELAXED_SIGNAL_MODE", "DISABLE_MODEL_TRAINING", "DISABLE_WEBSOCKET", "NO_COLOR")
ENVIRONMENT = {n: v for n, v in os.environ.items() if not n.startswith("SLT_") and n not in OUTSIDE}


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "config.toml").write_text(CONFIG)
    return tmp_path


def slt(*arguments, folder, limit=None, **environment):
    """Run the command to its end; `limit` is the size in bytes that no file may exceed."""
    done = subprocess.run(
        [SLT, *arguments],
        cwd=folder,
        env={**ENVIRONMENT, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
        preexec_fn=None if limit is None else lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)),
    )
    return done.returncode, done.stdout, done.stderr


def said(err):
    return [line for line in err.splitlines() if not line.startswith('{"timestamp"')]


def trade_hash(out):
    return re.search(r"^trade hash: (\w{64})$", out, re.MULTILINE)[1]


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    """Trade hash of a run that nobody interrupts."""
    folder = tmp_path_factory.mktemp("untouched")
    (folder / "config.toml").write_text(CONFIG)
    code, out, err = slt("run", folder=folder)
    assert code == 0, err
    assert int(re.search(r"^trades: (\d+)", out, re.MULTILINE)[1]) > 5
    return trade_hash(out)


class Run:
    """A run under way, of which the first block is done."""

    def __init__(self, folder):
        self.child = subprocess.Popen(
            [SLT, "run"], cwd=folder, env=ENVIRONMENT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        self.seen = []
        while '"event":"progress"' not in (line := self.child.stderr.readline()):
            assert line, "".join(self.seen)
            self.seen.append(line)

    def end(self):
        out, err = self.child.communicate(timeout=60)
        return self.child.returncode, out, "".join(self.seen) + err


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_run_signalled_in_the_middle_is_saved_and_resumes_to_the_same_trades(folder, untouched, number):
    run = Run(folder)
    run.child.send_signal(number)
    code, out, err = run.end()
    assert (code, out) == (5, "")
    assert said(err) == ["slt: run t-001 is stopped and saved; the same command resumes it"]
    state = json.loads((folder / "runs" / "t-001" / "state.json").read_text())
    assert state["status"] == "running"
    code, out, err = slt("run", folder=folder)
    assert code == 0, err
    assert '"event":"run resumed","run":"t-001"' in err
    assert trade_hash(out) == untouched
    assert [p.name for p in (folder / "runs").iterdir()] == ["t-001"]


def test_run_signalled_twice_ends_at_once_and_resumes_to_the_same_trades(folder, untouched):
    run = Run(folder)
    run.child.send_signal(signal.SIGINT)
    run.child.send_signal(signal.SIGINT)
    code, out, err = run.end()
    assert (code, out) == (5, "")
    assert len(said(err)) == 1
    code, out, err = slt("run", folder=folder)
    assert code == 0, err
    assert trade_hash(out) == untouched


def test_run_killed_in_the_middle_resumes_to_the_same_trades(folder, untouched):
    for _ in range(2):
        run = Run(folder)
        run.child.kill()
        assert run.end()[0] == -signal.SIGKILL
    code, out, err = slt("run", folder=folder)
    assert code == 0, err
    assert '"event":"run resumed"' in err
    assert trade_hash(out) == untouched


def test_run_started_twice_at_once_is_refused_and_the_first_goes_on(folder, untouched):
    run = Run(folder)
    os.kill(run.child.pid, signal.SIGSTOP)
    try:
        code, out, err = slt("run", folder=folder)
        assert (code, out) == (2, "")
        (line,) = said(err)
        assert line == (
            "slt: run `t-001` of this configuration is under way in another process; wait for its end, or begin "
            "another with --fresh"
        )
        code, out, _ = slt("run", "--fresh", folder=folder)
        assert code == 0
        assert "run: t-002 " in out
    finally:
        os.kill(run.child.pid, signal.SIGCONT)
    code, out, _ = run.end()
    assert code == 0
    assert trade_hash(out) == untouched


def test_run_with_other_options_leaves_the_unfinished_run_and_says_what_differs(folder):
    run = Run(folder)
    run.child.send_signal(signal.SIGTERM)
    assert run.end()[0] == 5
    code, out, err = slt("run", folder=folder, SLT_RISK__MAX_POSITIONS="1", SLT_LOG__PROFIT="error")
    assert code == 0
    assert "run: t-002 " in out
    (line,) = [json.loads(line) for line in err.splitlines() if "is left as it is" in line]
    assert (line["run"], line["changed"]) == ("t-001", "risk.max_positions")


def test_run_resumes_under_other_locks_log_and_notifiers(folder, untouched):
    run = Run(folder)
    run.child.send_signal(signal.SIGTERM)
    assert run.end()[0] == 5
    others = {
        "DISABLE_MODEL_TRAINING": "1",
        "SLT_LOG__LIFECYCLE": '"debug"',
        "SLT_PLUGINS__NOTIFIERS": '["console"]',
        "SLT_RUN__SNAPSHOT_SECONDS": "5",
    }
    code, out, err = slt("run", folder=folder, **others)
    assert code == 0, err
    assert "run: t-001 " in out
    assert trade_hash(out) == untouched


def test_run_with_no_room_for_the_report_keeps_everything_else(folder, untouched):
    code, out, err = slt("run", folder=folder, limit=600_000)
    report = folder / "runs" / "t-001" / "report.html"
    assert code == 1
    assert said(err) == [f"slt: {NO_REPORT.format(report, 'File too large', 'choose a place that can be written')}"]
    assert trade_hash(out) == untouched
    assert "report:" not in out
    assert not [p for p in report.parent.iterdir() if "report" in p.name]


def test_run_with_no_room_for_a_snapshot_says_so_and_can_be_repeated(folder, untouched):
    code, out, err = slt("run", folder=folder, limit=9_000)
    assert (code, out) == (1, "")
    (line,) = [line for line in said(err) if line.startswith("slt: ")]
    assert line == (
        "slt: snapshot `runs/t-001/snapshot.bin` cannot be written: File too large; free space and resume the run"
    )
    code, out, _ = slt("run", folder=folder)
    assert code == 0
    assert trade_hash(out) == untouched


def test_run_on_a_full_disk_keeps_the_summary_and_says_where_there_is_no_room(folder, untouched):
    runs = folder / "runs"
    runs.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", runs], capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("a small file system cannot be mounted here")
    try:
        code, out, err = slt("run", folder=folder)
        assert code == 1
        assert trade_hash(out) == untouched
        advice = f"free some space in `{runs / 't-001'}` or choose another place"
        line = NO_REPORT.format(runs / "t-001" / "report.html", "No space left on device", advice)
        assert said(err) == [f"slt: {line}"]
    finally:
        subprocess.run(["umount", runs], check=True)


@pytest.mark.parametrize(
    ("arguments", "code", "line"),
    [
        (["--version"], 0, None),
        (["config", "check"], 0, None),
        (["config", "check", "--config", "no.toml"], 2, "config file `no.toml` does not exist; name one with --config"),
        (
            ["plugins", "show", "exits:time_stp"],
            3,
            "no exits plugin `time_stp` is installed; did you mean `time_stop`?",
        ),
        (["why", "X"], 1, "no run is stored in memory: memory (nothing outlives the process); choose another in"),
    ],
)
def test_exit_code_of_a_process_is_the_promised_one(folder, arguments, code, line):
    found, out, err = slt(*arguments, folder=folder)
    assert found == code
    if line is None:
        assert (bool(out), err) == (True, "")
        return
    assert out == ""
    assert err.startswith(f"slt: {line}")
    assert err.count("\n") == 1


@pytest.mark.parametrize("arguments", [["--debug", "config", "check"], ["config", "check", "--debug"]])
def test_debug_adds_the_traceback_without_secrets_and_keeps_the_exit_code(folder, arguments):
    secret = "s3cret-word-of-mine"
    code, out, err = slt(
        *arguments, folder=folder, SLT_RUN__NAME=json.dumps(secret), DATABASE_URL=f"postgresql://u:{secret}@h/d"
    )
    assert (code, out) == (2, "")
    assert err.startswith("Traceback (most recent call last):")
    assert err.splitlines()[-1].startswith("slt: environment variable `SLT_RUN__NAME`: run.name: found")
    assert secret not in err


def test_output_into_a_pipe_that_is_closed_ends_quietly(folder):
    command = f"'{SLT}' config show | head -1"
    done = subprocess.run(
        ["bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    first, code = done.stdout.splitlines()
    assert (first, done.stderr) == ("[run]", "")
    assert code in {"0", "1"}


HEAVY = ("numba", "pandas", "xgboost", "asyncpg", "pyarrow", "aiohttp", "plotly", "rich", "structlog", "uvloop")
IMPORTED = """
import sys
from slt.cli import main
try:
    main(sys.argv[1:])
except SystemExit as left:
    assert not left.code, left.code
print(sorted({heavy!r} & sys.modules.keys()), file=sys.stderr)
print(sorted(m for m in sys.modules if m.startswith("slt_")), file=sys.stderr)
"""


@pytest.mark.parametrize(
    "arguments", [["--help"], ["--version"], ["plugins", "list"], ["plugins", "list", "--json"], ["run", "--help"]]
)
def test_light_commands_import_nothing_heavy(folder, arguments):
    code = IMPORTED.format(heavy=set(HEAVY))
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        cwd=folder,
        env=ENVIRONMENT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout
    assert done.stderr.splitlines() == ["[]", "[]"]


def test_repository_config_is_fine_and_light_to_check():
    code, out, err = slt("config", "check", folder=ROOT)
    assert (code, err) == (0, "")
    assert re.fullmatch(r"config\.toml: fine; \d+ plugins chosen\n", out)
