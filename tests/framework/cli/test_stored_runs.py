"""``slt why``, ``slt model`` and ``slt report`` on a run that was stored, and on what was not."""

from __future__ import annotations

import asyncio
import json
import pickle
import re
from datetime import UTC, datetime

import attrs
import pytest

from slt.config import read_config
from slt.errors import StoppedError
from slt.run.execution import Observer, execute
from slt.types import Decision, ModelVersion, Run, Trade

CONFIG = """
[run]
name = "t"
[plugins]
feed = "synthetic"
storage = "file"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["time_stop"]
[feeds.synthetic]
days = 2
symbols = ["SYN1USDT", "SYN2USDT"]
"""


@pytest.fixture
def stored(slt, tmp_path, file_storage):
    """The command beside a storage with one finished run."""
    (tmp_path / "config.toml").write_text(CONFIG)
    code, _, err = slt("run")
    assert code == 0, err
    return slt


def change(path, kind, records):
    """Put records into the file of the storage."""
    content = pickle.loads(path.read_bytes())
    content[kind].update({record.id: record for record in records})
    path.write_bytes(pickle.dumps(content))


def decisions_of(path):
    return sorted(pickle.loads(path.read_bytes())[Decision].values(), key=lambda d: (d.time, d.id), reverse=True)


def test_why_tells_every_decision_newest_first_with_gate_and_numbers(stored, file_storage):
    code, out, err = stored("why", "syn1usdt", "--limit", "1000")
    head, *lines = out.splitlines()
    expected = [d for d in decisions_of(file_storage) if d.symbol == "SYN1USDT"]
    assert (code, err) == (0, "")
    assert head == "time (UTC)\tside\tgate\tproposal\tconfidence\tp_win\tnumbers"
    assert len(lines) == len(expected) > 5
    for line, decision in zip(lines, expected, strict=True):
        cells = line.split("\t")
        assert cells[1] == ("long" if decision.side > 0 else "short")
        assert cells[2].startswith(decision.outcome)
        assert cells[3] == f"ema_cross: {decision.reason}"
        assert cells[5] == "UNTRAINED"
        assert cells[6].count("=") == len(decision.numbers)


def health_of(tmp_path, **changes):
    """The health file of the stored run, as one that is under way writes it."""
    vitals = {
        "state": "running",
        "written": datetime.now(UTC).isoformat(timespec="seconds"),
        "waits": {"books": "the books have not been compared with the exchange yet"},
        "features": {"ready": 1, "symbols": 2, "waiting": {"SYN1USDT": "its features are not ready"}},
    }
    (tmp_path / "runs" / "t-001" / "health.json").write_text(json.dumps(vitals | changes))


@pytest.mark.parametrize(
    ("symbol", "changes", "told"),
    [
        (
            "SYN1USDT",
            {},
            [
                "now no entries by books: the books have not been compared with the exchange yet",
                "now no entries in SYN1USDT: its features are not ready",
            ],
        ),
        ("SYN2USDT", {}, ["now no entries by books: the books have not been compared with the exchange yet"]),
        ("SYN1USDT", {"waits": {}}, ["now no entries in SYN1USDT: its features are not ready"]),
        ("SYN2USDT", {"waits": {}}, []),
        ("SYN1USDT", {"waits": {"features": "12 bars so far"}}, ["now no entries by features: 12 bars so far"]),
        ("SYN1USDT", {"state": "stopped"}, []),
        ("SYN1USDT", {"written": "2024-01-01T00:00:00+00:00"}, []),
        ("SYN1USDT", {"written": "yesterday"}, []),
    ],
)
def test_why_tells_first_what_holds_entries_up_now(stored, tmp_path, symbol, changes, told):
    before = stored("why", symbol)[1]
    health_of(tmp_path, **changes)
    assert stored("why", symbol)[1].splitlines() == [*told, *before.splitlines()]
    assert stored("why", symbol, "--at", "2100-01-01")[1] == before


@pytest.mark.parametrize("chosen", [(), ("--run", "t-001")])
def test_why_tells_what_holds_entries_up_while_the_storage_is_away(slt, tmp_path, file_storage, chosen):
    (tmp_path / "config.toml").write_text(CONFIG)
    (tmp_path / "runs" / "t-001").mkdir(parents=True)
    health_of(tmp_path)
    code, out, err = slt("why", "syn1usdt", *chosen)
    assert code == 1
    assert out.splitlines() == [
        "now no entries by books: the books have not been compared with the exchange yet",
        "now no entries in SYN1USDT: its features are not ready",
    ]
    assert err.startswith("slt: no run is stored in file")
    assert slt("why", "syn1usdt", "--at", "2100-01-01")[1] == ""


def test_why_up_to_a_moment_and_a_limit_leaves_out_the_rest(stored, file_storage):
    expected = [d for d in decisions_of(file_storage) if d.symbol == "SYN2USDT"]
    moment = expected[3].time
    text = stored("why", "SYN2USDT", "--limit", "2", "--at", f"{moment // 1000}")
    assert text[0] == 2
    from datetime import UTC, datetime

    iso = datetime.fromtimestamp(moment / 1000, UTC).isoformat()
    _, out, _ = stored("why", "SYN2USDT", "--limit", "2", "--at", iso)
    times = [line.split("\t")[0] for line in out.splitlines()[1:]]
    assert times == [datetime.fromtimestamp(d.time / 1000, UTC).strftime("%Y-%m-%d %H:%M") for d in expected[3:5]]
    assert stored("why", "SYN2USDT", "--at", iso.removesuffix("+00:00"), "--limit", "2")[1] == out


def test_why_unknown_symbol_says_that_nothing_was_proposed(stored):
    nothing = "run t-001: no strategy has proposed anything for BTCUSDT"
    assert stored("why", "BTCUSDT") == (0, f"{nothing}\n", "")
    assert stored("why", "btcusdt", "--at", "2025-05-20T14:35")[1] == f"{nothing} up to then\n"


def test_model_list_without_a_fit_says_untrained(stored):
    assert stored("model", "list")[1] == "run t-001: nothing has been fitted; rules decide (UNTRAINED)\n"


def version(number, *, strategy="ema_cross", promoted=False, run="t-001"):
    return ModelVersion(
        id=f"{run}-{strategy}-v{number}",
        run_id=run,
        strategy=strategy,
        version=number,
        fitted_time=1_704_100_000_000 + number,
        effective_time=1_704_100_300_000 + number,
        schema_hash="abc",
        samples=50 * number,
        promoted=promoted,
        verdict="promoted: better" if promoted else "refused: too few samples (5 < 40)",
        metrics={"log_loss": 0.5},
        artefact=b"12345",
    )


def test_model_list_and_show_tell_versions_and_their_verdicts(stored, file_storage):
    change(file_storage, ModelVersion, [version(1), version(2, promoted=True), version(2, strategy="other")])
    code, out, err = stored("model", "list")
    assert (code, err) == (0, "")
    assert [line.split("\t")[:2] + line.split("\t")[4:] for line in out.splitlines()[1:]] == [
        ["ema_cross", "1", "refused", "refused: too few samples (5 < 40)"],
        ["ema_cross", "2", "promoted", "promoted: better"],
        ["other", "2", "refused", "refused: too few samples (5 < 40)"],
    ]
    code, out, _ = stored("model", "show", "2", "--strategy", "ema_cross")
    assert code == 0
    assert out.startswith(
        "ema_cross v2, fitted 2024-01-01 09:06 UTC on 100 samples\nin force from 2024-01-01 09:11 UTC\n"
    )
    assert json.loads(out[out.index("{") :]) == {"log_loss": 0.5}
    assert stored("model", "show", "2") == (
        1,
        "",
        "slt: version 2 exists for ema_cross, other; choose with --strategy\n",
    )
    assert stored("model", "show", "7") == (
        1,
        "",
        "slt: run t-001 has no model version 7 (stored: ema_cross v1, ema_cross v2, other v2)\n",
    )


def test_report_of_a_stored_run_is_written_again(stored, tmp_path):
    (line,) = stored("report", "t-001")[1].splitlines()
    assert line == f"report of run t-001: {tmp_path / 't-001.html'}"
    written = (tmp_path / "t-001.html").read_text(encoding="utf-8")
    original = (tmp_path / "runs" / "t-001" / "report.html").read_text(encoding="utf-8")
    trade_hash = re.search(r"\b[0-9a-f]{64}\b", original)[0]
    assert trade_hash in written
    assert stored("report", "--output", "deep/er/r.html")[0] == 0
    assert (tmp_path / "deep" / "er" / "r.html").exists()


def test_report_that_cannot_be_written_says_so(stored, tmp_path):
    (tmp_path / "file").touch()
    code, out, err = stored("report", "--output", "file/r.html")
    assert (code, out) == (1, "")
    assert err == (
        f"slt: cannot write the report `{tmp_path}/file/r.html`: File exists; the run's results are kept in the "
        "storage: choose a place that can be written, then run `slt report t-001`\n"
    )


PAPER = """
[run]
name = "p"
mode = "paper"
equity_every_minutes = 7
[plugins]
feed = "synthetic"
storage = "file"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["time_stop"]
[feeds.synthetic]
days = 2
symbols = ["SYN1USDT", "SYN2USDT"]
"""


def play_until_open(path, *, is_killed=False):
    """Play a run until it holds a position and has closed five trades, then stop it, or end it without a last word."""
    seen = []

    def progressed(progress):
        if progress.open_positions and progress.trades >= 5 and not seen:
            seen.append(progress)
            if is_killed:
                raise KeyboardInterrupt

    observer = Observer(lambda _: None, progressed, lambda: bool(seen))
    with pytest.raises(KeyboardInterrupt if is_killed else StoppedError):
        asyncio.run(execute(read_config(path, {}), observer))
    (progress,) = seen
    return progress


def moment_of(progress):
    return datetime.fromtimestamp(progress.time / 1000, UTC).strftime("%Y-%m-%d %H:%M")


@pytest.mark.parametrize("mode", ["paper", "backtest"])
def test_report_of_a_stopped_run_shows_it_as_it_stands_and_the_accounts_close(slt, tmp_path, file_storage, mode):
    config = tmp_path / "config.toml"
    config.write_text(PAPER.replace("paper", mode))
    progress = play_until_open(config)
    code, out, err = slt("report")
    lines = out.splitlines()
    assert (code, err) == (0, "")
    left = "p-001 is stopped and has not ended; the command that began it resumes it"
    assert lines[0] == f"{left}; figures up to {moment_of(progress)} UTC"
    assert lines[1].startswith(f"{progress.trades} closed trades, {progress.open_positions} open position")
    assert lines[2].endswith(f"equity {progress.equity:,.2f} USDT: the accounts close")
    assert lines[2].startswith("10,000.00 initial ")
    page = (tmp_path / "p-001.html").read_text(encoding="utf-8")
    assert "<strong>The run is stopped.</strong>" in page
    assert f"The figures go up to {moment_of(progress)} UTC" in page
    assert "the accounts close" in page
    assert "do not close" not in page
    assert f"All {progress.trades} closed trades." in page
    assert re.search(r"<h3>Open positions</h3>.*SYN\dUSDT (long|short)</td>", page)
    assert slt("run")[0] == 0
    assert slt("report")[1].splitlines() == [f"report of run p-001: {tmp_path / 'p-001.html'}"]
    assert "Open positions" not in (tmp_path / "p-001.html").read_text(encoding="utf-8")


def test_report_of_a_run_that_goes_on_shows_it_up_to_its_last_word(slt, tmp_path, file_storage):
    config = tmp_path / "config.toml"
    config.write_text(PAPER)
    progress = play_until_open(config, is_killed=True)
    code, out, err = slt("report")
    lines = out.splitlines()
    told = datetime.strptime(lines[0][-20:-4], "%Y-%m-%d %H:%M").replace(tzinfo=UTC).timestamp() * 1000
    assert (code, err) == (0, "")
    assert "p-001 has not ended: it goes on, unless its process was killed (`slt status` tells)" in lines[0]
    assert progress.time - 10 * 60_000 <= told <= progress.time
    assert lines[2].endswith("the accounts close")
    assert "<strong>The run goes on.</strong>" in (tmp_path / "p-001.html").read_text(encoding="utf-8")


def test_report_of_a_run_that_goes_on_leaves_out_trades_that_came_after_its_last_word(slt, tmp_path, file_storage):
    config = tmp_path / "config.toml"
    config.write_text(PAPER)
    progress = play_until_open(config)
    trades = pickle.loads(file_storage.read_bytes())[Trade]
    later = attrs.evolve(next(iter(trades.values())), id="p-001-x", exit_time=progress.time + 1, net_pnl=1e6)
    change(file_storage, Trade, [later])
    lines = slt("report")[1].splitlines()
    assert lines[1].startswith(f"{progress.trades} closed trades,")
    assert lines[2].endswith("the accounts close")


def test_report_of_a_stopped_run_whose_storage_lost_a_trade_says_that_the_accounts_do_not_close(
    slt, tmp_path, file_storage
):
    config = tmp_path / "config.toml"
    config.write_text(PAPER)
    play_until_open(config)
    content = pickle.loads(file_storage.read_bytes())
    lost = content[Trade].pop(next(iter(content[Trade])))
    file_storage.write_bytes(pickle.dumps(content))
    assert f"the accounts DO NOT CLOSE, off by {lost.net_pnl:.9f} USDT" in slt("report")[1]
    assert "The accounts do not close." in (tmp_path / "p-001.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("mode", "hint"),
    [
        ("backtest", "a back-test tells it when it is stopped or at its end"),
        ("live", "it does with its first equity point or trade"),
    ],
)
def test_report_of_a_run_without_any_account_says_when_there_will_be_one(stored, file_storage, mode, hint):
    change(file_storage, Run, [Run("t-002", mode, 0, "", "running")])
    code, out, err = stored("report")
    assert (code, out) == (1, "")
    assert err == f"slt: run t-002 is running and has not told yet how its account stands; {hint}\n"


def test_report_of_an_account_of_another_version_says_so(stored, file_storage):
    change(file_storage, Run, [Run("t-002", "live", 0, "", "stopped", {"account": {"time": 1}})])
    assert stored("report")[2] == (
        "slt: run t-002 is stopped: the stored account was written by another version of slt\n"
    )


def test_unknown_run_is_answered_with_the_nearest_and_the_last_ones(stored, file_storage):
    change(file_storage, Run, [Run(f"t-{n:03d}", "backtest", 0, "", "finished") for n in range(2, 14)])
    last = ", ".join(f"t-{n:03d}" for n in range(4, 14))
    line = f"slt: no run `t-1` is stored; did you mean `t-013`? (stored: 3 more, {last})\n"
    assert stored("why", "X", "--run", "t-1") == (1, "", line)


@pytest.mark.parametrize(
    ("others", "newest"),
    [
        (["t-999", "t-1000", "u-5000"], "t-1000"),
        (["zz-001"], "t-001"),
    ],
)
def test_newest_run_is_the_highest_number_of_the_configurations_name(stored, file_storage, others, newest):
    change(file_storage, Run, [Run(i, "backtest", 0, "", "finished") for i in others])
    assert stored("why", "X")[1].startswith(f"run {newest}: ")


def test_newest_run_of_a_name_without_runs_is_the_newest_of_all(stored):
    assert stored("why", "X", SLT_RUN__NAME="other")[1].startswith("run t-001: ")


@pytest.mark.parametrize("arguments", [["why", "X"], ["model", "list"], ["model", "show", "1"], ["report"]])
def test_storage_without_runs_is_named(slt, tmp_path, file_storage, arguments):
    (tmp_path / "config.toml").write_text(CONFIG)
    assert slt(*arguments) == (1, "", "slt: no run is stored in file: file storage.pickle\n")
