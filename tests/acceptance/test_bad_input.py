"""Bad input of every kind: what a person is told, word for word, the exit code, and that nothing is lost."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

from slt.cli import main
from slt.config import options_of
from slt.loader import find_plugins, import_plugin
from slt_postgres.embedded import EmbeddedServer

MINUTE_MS, START = 60_000, 1_704_067_200_000
HEAD = "open_time,open,high,low,close,volume"
REPLAY = """
[run]
name = "t"
[plugins]
feed = "replay"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["time_stop"]
[feeds.replay]
files = ["BTCUSDT-1m*.csv"]
"""
SYNTHETIC = """
[run]
name = "t"
block_bars = 120
[plugins]
feed = "synthetic"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["time_stop"]
[feeds.synthetic]
days = 1
symbols = ["SYN1USDT"]
"""
OUTSIDE = ("DATABASE_URL", "DISCORD_WEBHOOK_URL", "TELEGRAM_TOKEN", "TELEGRAM_CHAT_ID", "RELAXED_SIGNAL_MODE")


@pytest.fixture
def slt(tmp_path, monkeypatch, capsys):
    """The command in this process, in an empty folder: exit code, output, and what it says on stderr."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith(("SLT_", "DISABLE_")) or n in OUTSIDE]:
        monkeypatch.delenv(name)

    def slt(*arguments, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(arguments)
        out, err = capsys.readouterr()
        assert "Traceback" not in err
        return left.value.code, out, [line for line in err.splitlines() if line.startswith("slt: ")]

    return slt


def write_config(text, **sections):
    """config.toml with tables added or replaced: ``{"plugins.feed": '"x"'}`` as ``plugins__feed='"x"'``."""
    Path("config.toml").write_text(text)
    return {f"SLT_{name.upper()}": value for name, value in sections.items()}


def candles(count=30, first=START):
    """Lines of a CSV file of quiet one-minute candles."""
    return [f"{first + i * MINUTE_MS},100,101,99,100.5,10" for i in range(count)]


def write_candles(rows, head=HEAD, name="BTCUSDT-1m.csv"):
    Path(name).write_text("\n".join([head, *rows, ""]))


def changed(row, column, value):
    rows = candles()
    cells = rows[row].split(",")
    cells[column] = value
    rows[row] = ",".join(cells)
    return rows


def swapped():
    rows = candles()
    rows[4], rows[5] = rows[5], rows[4]
    return rows


def doubled():
    rows = candles()
    return [*rows[:5], rows[4], *rows[5:]]


def in_two_units():
    return candles()[:10] + [row.replace(",", "000,", 1) for row in candles()[10:]]


NEEDED = "candles need open_time, open, high, low, close, volume; missing"
CANDLE_FILES = {
    "wrong columns": (
        candles(),
        "time,o,h,l,c,v",
        f"has the columns time, o, h, l, c, v; {NEEDED}: open_time, open, high, low, close, volume",
    ),
    "one column missing": (
        [row.rpartition(",")[0] for row in candles()],
        HEAD.removesuffix(",volume"),
        f"has the columns open_time, open, high, low, close; {NEEDED}: volume",
    ),
    "cells missing": ([*candles()[:5], "1704067500000,100", *candles()[6:]], HEAD, "line 7: 2 cells, expected 6"),
    "no number": (changed(5, 2, "abc"), HEAD, "line 7: column `high` holds `abc`, expected a number"),
    "unsorted": (swapped(), HEAD, "line 7 (2024-01-01 00:04): unsorted: the row before it opens at 2024-01-01 00:05"),
    "duplicate": (doubled(), HEAD, "line 7 (2024-01-01 00:04): the same bar twice"),
    "off the grid": (
        changed(5, 0, str(START + 5 * MINUTE_MS + 1234)),
        HEAD,
        "line 7 (2024-01-01 00:05:01.234): off the 1m grid",
    ),
    "not a number": (changed(5, 1, "nan"), HEAD, "line 7 (2024-01-01 00:05): open nan is not a finite number"),
    "negative": (changed(5, 3, "-1"), HEAD, "line 7 (2024-01-01 00:05): low -1.0 is not above 0"),
    "high below low": (changed(5, 2, "98"), HEAD, "line 7 (2024-01-01 00:05): high 98.0 is below low 99.0"),
    "close outside": (
        changed(5, 4, "105"),
        HEAD,
        "line 7 (2024-01-01 00:05): open 100.0 or close 105.0 lies outside low 99.0 and high 101.0",
    ),
    "negative volume": (
        changed(5, 5, "-3"),
        HEAD,
        "line 7 (2024-01-01 00:05): volume -3.0 is not a number of at least 0",
    ),
    "mixed units": (
        in_two_units(),
        HEAD,
        "line 12: time `1704067800000000` is in µs, the rows before it are in ms; one file needs one unit",
    ),
    "seconds": (
        [row.replace("000,", ",", 1) for row in candles()],
        HEAD,
        "line 2: time `1704067200` is neither ms nor µs since 1970 UTC",
    ),
    "empty": ([], HEAD, "holds no candles"),
}


@pytest.mark.parametrize(("rows", "head", "line"), CANDLE_FILES.values(), ids=CANDLE_FILES)
def test_bad_candles_are_named_by_file_line_and_time(slt, rows, head, line):
    write_config(REPLAY)
    write_candles(rows, head)
    code, out, (first, *others) = slt("run")
    assert (code, out) == (2, "")
    assert first == f"slt: BTCUSDT-1m.csv: {line}"
    assert all(other.startswith("slt: BTCUSDT-1m.csv: ") for other in others)
    assert not list(Path("runs").glob("t-*"))
    assert slt("data", "check", "BTCUSDT-1m.csv")[0] == 2


def test_many_bad_candles_are_told_by_a_few_examples_and_a_count(slt):
    write_config(REPLAY)
    write_candles([row.replace(",101,", ",98,") for row in candles()])
    code, _, lines = slt("run")
    assert code == 2
    assert len(lines) == 4
    assert lines[-1] == "slt: BTCUSDT-1m.csv: 27 more lines where high is below low"


def test_overlapping_files_that_disagree_show_both_bars(slt):
    write_config(REPLAY)
    write_candles(candles())
    write_candles(changed(5, 4, "100.7"), name="BTCUSDT-1m-b.csv")
    code, _, lines = slt("run")
    bar = "open 100.0 high 101.0 low 99.0 close {} volume 10.0 taker_buy_volume nan"
    assert code == 2
    assert lines == [
        (
            "slt: `BTCUSDT-1m-b.csv` and `BTCUSDT-1m.csv` disagree on BTCUSDT at 2024-01-01 00:05: "
            f"{bar.format(100.7)} against {bar.format(100.5)}; keep the right one of the two files"
        )
    ]


def test_overlapping_files_that_agree_are_fine(slt):
    write_config(REPLAY)
    write_candles(candles())
    write_candles(candles(40), name="BTCUSDT-1m-b.csv")
    assert slt("run")[::2] == (0, [])


NOTIFIED = {"notices__in_backtest": '["daily"]'}
URL_HINT = "postgresql://USER:PASSWORD@HOST:5432/DATABASE (letters like @ : / # in the password as %40 %3A %2F %23)"
CHOOSE = "choose a {} that connects to an exchange, such as binance, or mode paper"
NO_LIVE = (
    f"but the feed `synthetic` plays a recording; {CHOOSE.format('feed')}",
    f"but the broker `paper` only simulates orders; {CHOOSE.format('broker')}",
)
NO_FOLDER = "choose another folder, free space or change its permissions"
UNSET = "notifiers.{}: the environment variable `{}` is not set; put the {} there or take `{}` out of plugins.notifiers"
REFUSALS = {
    "no config": (None, {}, 2, ["config file `config.toml` does not exist; name one with --config"]),
    "no data": (REPLAY, {}, 2, ["BTCUSDT-1m*.csv: matches no .csv, .parquet, .zip file in {folder}"]),
    "data is gone": (
        REPLAY,
        {"feeds__replay__files": '["gone.csv", "also.parquet"]'},
        2,
        ["gone.csv: no such file", "also.parquet: no such file"],
    ),
    "data is a folder": (
        REPLAY,
        {"feeds__replay__files": '["."]'},
        2,
        [".: the folder holds no .csv, .parquet, .zip file"],
    ),
    "no file is named": (
        REPLAY,
        {"feeds__replay__files": "[]"},
        2,
        ["feeds.replay.files: names no file; write paths, folders or globs of candle files"],
    ),
    "no symbol": (
        SYNTHETIC.replace('symbols = ["SYN1USDT"]', "symbols = []"),
        {},
        2,
        [
            "config.toml: feeds.synthetic.symbols: names no symbol; write some that begin with SYN, such as `SYN1USDT`",
        ],
    ),
    "unknown plugins": (
        SYNTHETIC,
        {"plugins__exits": '["time_stp"]', "plugins__sizer": "kely"},
        3,
        [
            "no sizers plugin `kely` is installed; did you mean `kelly`? (installed: {sizers})",
            "no exits plugin `time_stp` is installed; did you mean `time_stop`? (installed: {exits})",
        ],
    ),
    "options in several sections and plugins": (
        SYNTHETIC.replace("days = 1", "days = 0\ndais = 1"),
        {
            "run__seed": "1.5",
            "risk__max_positions": "0",
            "strategies__ema_cross__fast_bars": '"x"',
            "exits__time_stop__max_hours": "0",
        },
        2,
        [
            "environment variable `SLT_RUN__SEED`: run.seed: found `1.5`, allowed is a whole number",
            "environment variable `SLT_RISK__MAX_POSITIONS`: risk.max_positions: found `0`, allowed is at least 1",
            "config.toml: feeds.synthetic.dais: unknown option; did you mean `days`? (options: {days})",
            "config.toml: feeds.synthetic.days: found `0`, allowed is at least 1 and at most 3650",
            'config.toml: strategies.ema_cross.fast_bars: found `"x"`, allowed is a whole number',
            "config.toml: exits.time_stop.max_hours: found `0.0`, allowed is more than 0",
        ],
    ),
    "live mode": (
        SYNTHETIC,
        {"run__mode": "live"},
        2,
        [f"environment variable `SLT_RUN__MODE`: run.mode: found `live`, {reason}" for reason in NO_LIVE],
    ),
    "missing secret of discord": (
        SYNTHETIC,
        {"plugins__notifiers": '["discord"]', **NOTIFIED},
        2,
        [UNSET.format("discord.webhook_env", "DISCORD_WEBHOOK_URL", "webhook's address", "discord")],
    ),
    "missing secrets of telegram": (
        SYNTHETIC,
        {"plugins__notifiers": '["telegram"]', **NOTIFIED},
        2,
        [
            UNSET.format("telegram.token_env", "TELEGRAM_TOKEN", "bot's token", "telegram"),
            UNSET.format("telegram.chat_id_env", "TELEGRAM_CHAT_ID", "chat's id", "telegram"),
        ],
    ),
    "run folder below a file": (
        SYNTHETIC,
        {"run__folder": "config.toml/runs"},
        2,
        [f"run.folder: `config.toml/runs` cannot be written: Not a directory; {NO_FOLDER}"],
    ),
    "run folder is a file": (
        SYNTHETIC,
        {"run__folder": "config.toml"},
        2,
        [f"run.folder: `config.toml` cannot be written: File exists; {NO_FOLDER}"],
    ),
    "database refuses the connection": (
        SYNTHETIC,
        {"plugins__storage": "postgres", "url": "postgresql://me:s3cret-word@127.0.0.1:{port}/slt"},
        1,
        ["PostgreSQL at 127.0.0.1:{port}/slt refused the connection; start the server or correct DATABASE_URL"],
    ),
    "database address is none": (
        SYNTHETIC,
        {"plugins__storage": "postgres", "url": "mysql://me:s3cret-word@h/x"},
        2,
        [f"DATABASE_URL: found `mysql://`, allowed is postgresql://; write {URL_HINT}"],
    ),
    "database folder below a file": (
        SYNTHETIC,
        {"plugins__storage": "postgres", "storages__postgres__embedded_folder": "config.toml/db"},
        2,
        ["embedded_folder `{folder}/config.toml/db` cannot be used: File exists; choose a folder that can be written"],
    ),
}


@pytest.mark.parametrize(("config", "options", "code", "lines"), REFUSALS.values(), ids=REFUSALS)
def test_refusal_says_what_is_wrong_and_what_to_do(slt, tmp_path, unused_tcp_port, config, options, code, lines):
    options = dict(options)
    url = options.pop("url", None)
    environment = {} if url is None else {"DATABASE_URL": url.format(port=unused_tcp_port)}
    if config is not None:
        environment |= write_config(config, **options)
    found, out, said = slt("run", **environment)
    assert (found, out) == (code, "")
    assert "s3cret-word" not in "".join(said)
    names = {kind: ", ".join(i.name for i in find_plugins(kind)) for kind in ("exits", "sizers")}
    names["days"] = ", ".join(o.name for o in options_of(import_plugin("feeds", "synthetic")[1].config_class))
    assert said == [f"slt: {line.format(folder=tmp_path, port=unused_tcp_port, **names)}" for line in lines]


def test_symbol_without_rules_is_named(slt):
    options = write_config(REPLAY, brokers__paper__exchange_info="rules.json")
    write_candles(candles())
    Path("rules.json").write_text(json.dumps({"symbols": []}))
    what = "`rules.json` does not hold BTCUSDT; take the symbol out, or give a file that lists it"
    assert slt("run", **options) == (2, "", [f"slt: brokers.paper.exchange_info: {what}"])


def test_failed_starts_take_no_run_numbers(slt):
    options = write_config(SYNTHETIC, plugins__notifiers='["discord"]', notices__in_backtest='["daily"]')
    for _ in range(2):
        assert slt("run", **options)[0] == 2
    code, out, _ = slt("run", SLT_PLUGINS__NOTIFIERS="[]")
    assert code == 0
    assert "run: t-001 " in out


def test_wrong_password_of_a_real_server_is_named_and_never_shown(slt):
    folder = Path(tempfile.mkdtemp(prefix="slt-pg-"))
    server = EmbeddedServer(folder / "data")
    try:
        server.ensure_running()
        rules = server.folder / "pg_hba.conf"
        rules.write_text(f"local all locked scram-sha-256\n{rules.read_text()}")
        asyncio.run(_make_role(server))
        write_config(SYNTHETIC)
        url = f"postgresql://locked:wr0ng-Secret@/postgres?host={server.folder}"
        code, out, lines = slt("run", SLT_PLUGINS__STORAGE="postgres", DATABASE_URL=url)
        assert (code, out) == (2, "")
        assert lines == [
            f"slt: PostgreSQL at {server.folder}/postgres refused the user or the password; correct DATABASE_URL"
        ]
        assert "wr0ng-Secret" not in "".join(
            p.read_text(errors="replace") for p in Path("runs").rglob("*.*") if p.is_file()
        )
    finally:
        server.stop()
        shutil.rmtree(folder)


async def _make_role(server):
    import asyncpg

    connection = await asyncpg.connect(host=str(server.folder), user="postgres", database="postgres")
    try:
        await connection.execute("CREATE ROLE locked LOGIN PASSWORD 'right'")
        await connection.execute("SELECT pg_reload_conf()")
    finally:
        await connection.close()
    for _ in range(50):
        try:
            await (
                await asyncpg.connect(host=str(server.folder), user="locked", password="no", database="postgres")
            ).close()
        except asyncpg.InvalidPasswordError:
            return
        await asyncio.sleep(0.1)


def test_files_that_cannot_be_written_by_other_commands_are_named(slt, tmp_path):
    write_candles(candles())
    (tmp_path / "file").touch()
    code, _, lines = slt("data", "import", "BTCUSDT-1m.csv", "--folder", "file/data")
    assert code in {1, 2}
    assert len(lines) == 1
    assert "file/data" in lines[0]
    assert "Not a directory" in lines[0]


BROKEN = """
import numpy as np
from attrs import evolve, frozen
from slt import hookimpl
from slt.types import FeatureBlock, StrategyBlock
from slt_exits.time_stop import TimeStop
from slt_sizers.fixed_risk import FixedRisk

FAIL = 1_704_067_200_000 + 12 * 3_600_000


@frozen
class Config:
    fails: bool = True


class Base:
    config_class = Config

    def __init__(self, config):
        self.config = config

    def fail_from(self, time):
        if self.config.fails and time >= FAIL:
            raise RuntimeError("boom\\nand more")


class Strategy(Base):
    @hookimpl
    def slt_propose_trades(self, bars):
        self.fail_from(bars.close_time[-1])
        block = StrategyBlock.quiet(bars.close.shape)
        at = bars.close_time % 5_400_000 == 0
        changes = {name: getattr(block, name).copy() for name in ("side", "stop", "target", "reason")}
        changes["side"][at] = 1
        changes["stop"][at] = bars.close[at] * 0.85
        changes["target"][at] = bars.close[at] * 1.5
        changes["reason"][at] = 0
        return evolve(block, reasons=("clock",), **changes)


class Features(Base):
    @hookimpl
    def slt_describe_features(self):
        return (), (), 1, "none"

    @hookimpl
    def slt_start_features(self): pass

    @hookimpl
    def slt_update_features(self, bars):
        self.fail_from(bars.close_time[-1])
        shape = bars.close.shape
        known = np.ones(shape, dtype=bool)
        return FeatureBlock((), (), np.empty((*shape, 0), np.float32), np.empty((*shape, 0)), known, known.copy())

    @hookimpl
    def slt_snapshot_features(self): return {}

    @hookimpl
    def slt_restore_features(self, state): pass


class Sizer(Base):
    @hookimpl
    def slt_size_position(self, proposal, account):
        self.fail_from(proposal.time)
        return FixedRisk(FixedRisk.config_class()).slt_size_position(proposal, 0.5, None, account)


class Exit(Base):
    @hookimpl
    def slt_check_exit(self, point):
        self.fail_from(point.time)
"""
BROKEN_CONFIG = """
[run]
name = "t"
block_bars = 60
[plugins]
feed = "synthetic"
storage = "memory"
features = ["bad"]
strategies = ["bad"]
sizer = "bad"
exits = ["bad", "time_stop"]
[exits.time_stop]
max_hours = 1.25
[feeds.synthetic]
days = 1
symbols = ["SYN1USDT"]
[features.bad]
fails = {features}
[strategies.bad]
fails = {strategies}
[sizers.bad]
fails = {sizers}
[exits.bad]
fails = {exits}
"""


@pytest.fixture
def broken_plugins(tmp_path, monkeypatch):
    """The distribution slt-bad 0.1: a features set, strategy, sizer and exit that raise from noon on."""
    info = tmp_path / "site" / "slt_bad-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slt-bad\nVersion: 0.1\n")
    classes = {"features": "Features", "strategies": "Strategy", "sizers": "Sizer", "exits": "Exit"}
    (info / "entry_points.txt").write_text("".join(f"[slt.{k}]\nbad = slt_bad:{c}\n" for k, c in classes.items()))
    (tmp_path / "site" / "slt_bad.py").write_text(BROKEN)
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield
    sys.modules.pop("slt_bad", None)


def broken_config(*kinds):
    fails = {kind: str(kind in kinds).lower() for kind in ("features", "strategies", "sizers", "exits")}
    Path("config.toml").write_text(BROKEN_CONFIG.format(**fails))


def figures(out):
    """Trades, trades by exit, and the report's path, out of the summary."""
    trades = int(re.search(r"^trades: (\d+)", out, re.MULTILINE)[1])
    exits = {name: int(count) for name, count in re.findall(r"^exit (\w+): (\d+) trades", out, re.MULTILINE)}
    return trades, exits, Path(re.search(r"^report: (.+)$", out, re.MULTILINE)[1])


@pytest.mark.usefixtures("broken_plugins")
def test_plugins_that_do_not_fail_trade_all_day(slt):
    broken_config()
    code, out, lines = slt("run")
    assert (code, lines) == (0, [])
    assert figures(out)[:2] == (15, {"time_stop": 15})


@pytest.mark.usefixtures("broken_plugins")
@pytest.mark.parametrize(
    ("kind", "line"),
    [
        ("features", "features:bad (slt_bad:Features from slt-bad 0.1) raised in slt_update_features:"),
        ("strategies", "strategies:bad (slt_bad:Strategy from slt-bad 0.1) raised in slt_propose_trades:"),
        ("sizers", "sizer `bad` raised"),
        ("exits", "exit `bad` raised"),
    ],
)
def test_plugin_that_raises_in_a_hook_is_named_entries_stop_and_positions_stay_managed(slt, kind, line):
    broken_config(kind)
    code, out, lines = slt("run")
    trades, exits, report = figures(out)
    assert code == 3
    assert lines == [
        f"slt: {line} RuntimeError: boom and more; entries were halted since, positions stayed managed",
    ]
    assert trades in {7, 8}
    assert exits == {"time_stop": trades}
    assert "accounts: close" in out
    assert report.stat().st_size > 0
    assert json.loads((report.parent / "state.json").read_text())["status"] == "finished"
