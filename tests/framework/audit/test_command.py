"""``slt audit``: exit codes, output, certificates; on plugins installed as a stranger's package would be."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from slt.cli.root import main

HERE = Path(__file__).parent
ENTRY_POINTS = """
[slt.features]
audited_rsi = honest_plugins:Rsi
audited_leak = leaking_plugins:TargetInFeatures
audited_unfit = audit_bases:BarFeatures

[slt.strategies]
audited_breakout = honest_plugins:BarBreakout
audited_needy = needy_strategy:Needy
"""
NEEDY = '''
from attrs import frozen
from slt.authoring import BarStrategy, Signal


@frozen
class NeedyConfig:
    """Options.

    Attributes:
        level: Level of `rsi` to buy below.
    """

    level: float = -0.3


class Needy(BarStrategy):
    """Buys a low RSI."""

    config_class = NeedyConfig

    def on_bar(self, symbol, bar, features):
        rsi = features["rsi"]
        if rsi < self.config.level:
            return Signal(1, bar.close * 0.99, bar.close * 1.02, "low", 0.6)
        return None
'''


@pytest.fixture(autouse=True)
def stranger(tmp_path, monkeypatch):
    """The plugins of this folder as an installed distribution."""
    site = tmp_path / "site"
    info = site / "audited_plugins-1.2.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: audited-plugins\nVersion: 1.2\n")
    (info / "entry_points.txt").write_text(ENTRY_POINTS)
    (site / "needy_strategy.py").write_text(NEEDY)
    monkeypatch.syspath_prepend(site)
    monkeypatch.syspath_prepend(HERE)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("needy_strategy", None)


def run(*args):
    with pytest.raises(SystemExit) as ended:
        main(["audit", *args])
    return ended.value.code


def test_audit_honest_strategy_writes_a_certificate_and_leaves_with_0(capsys, stranger):
    assert run("strategies:audited_breakout", "--bars", "500") == 0
    out = capsys.readouterr().out
    assert "strategies:audited_breakout, from audited-plugins 1.2 (honest_plugins:BarBreakout)" in out
    assert "every law holds" in out
    (path,) = (stranger / "certificates").glob("strategies-audited_breakout-*.json")
    table = json.loads(path.read_text())
    assert table["passed"] is True
    assert table["date"].startswith("20")
    assert {law["verdict"] for law in table["laws"]} == {"holds"}
    assert len(table["laws"]) == 10


def test_audit_leaking_features_leaves_with_4_and_prints_the_counter_example(capsys, stranger):
    assert run("features:audited_leak", "--bars", "500", "--json", "--output", "elsewhere", "--seed", "3") == 4
    captured = capsys.readouterr()
    table = json.loads(captured.out)
    assert table["passed"] is False
    assert table["seed"] == 3
    broken = {law["law"]: law for law in table["laws"] if law["verdict"] == "broken"}
    assert {"chunks", "prefix", "leaks"} <= set(broken)
    assert broken["prefix"]["example"]["column"] == "target"
    assert captured.err.startswith("slt: features:audited_leak breaks ")
    assert len(list((stranger / "elsewhere").glob("*.json"))) == 1


def test_audit_strategy_is_shown_the_features_it_needs(capsys):
    assert run("strategies:audited_needy", "--features", "audited_rsi", "--bars", "600") == 0
    assert "features: audited_rsi " in capsys.readouterr().out


def test_audit_strategy_without_features_finds_those_of_its_own_distribution(capsys):
    assert run("strategies:audited_needy", "--bars", "600") == 0
    assert "features: audited_rsi " in capsys.readouterr().out


def test_audit_with_config_takes_its_choice_and_options(capsys, stranger):
    config = stranger / "mine.toml"
    config.write_text(
        '[plugins]\nfeed = "synthetic"\nfeatures = ["audited_rsi"]\nstrategies = ["audited_needy"]\n'
        'sizer = "fixed_risk"\n\n[strategies.audited_needy]\nlevel = -0.25\n'
    )
    assert run("strategies:audited_needy", "--config", str(config), "--bars", "600") == 0
    (path,) = (stranger / "certificates").glob("strategies-*.json")
    assert json.loads(path.read_text())["options"] == {"level": "-0.25"}
    capsys.readouterr()
    config.write_text(config.read_text().replace("level = -0.25", "levle = 1"))
    assert run("--config", str(config)) == 2
    assert "strategies.audited_needy.levle: unknown option; did you mean `level`" in capsys.readouterr().err


def test_audit_with_config_alone_audits_all_that_it_chooses(capsys, stranger):
    config = stranger / "mine.toml"
    config.write_text(
        '[plugins]\nfeed = "synthetic"\nfeatures = ["audited_leak"]\nstrategies = ["audited_breakout"]\n'
        'sizer = "fixed_risk"\n'
    )
    assert run("--config", str(config), "--bars", "500") == 4
    captured = capsys.readouterr()
    assert "features:audited_leak, from" in captured.out
    assert "strategies:audited_breakout, from" in captured.out
    assert len(list((stranger / "certificates").iterdir())) == 2


def candles(path, rows, interval_ms=60_000):
    rng = np.random.default_rng(1)
    close = 100 + np.cumsum(np.rint(rng.normal(0, 3, rows))) / 100
    lines = ["open_time,open,high,low,close,volume"]
    before = 100.0
    for i, price in enumerate(close.tolist()):
        high, low = max(price, before) + 0.02, min(price, before) - 0.02
        lines.append(f"{1_704_067_200_000 + i * interval_ms},{before},{high:.2f},{low:.2f},{price},{10 + i % 7}")
        before = price
    path.write_text("\n".join(lines) + "\n")


def test_audit_on_own_candles_asks_the_laws_on_them(capsys, stranger):
    candles(stranger / "MINEUSDT-1m.csv", 1_200)
    assert run("features:audited_rsi", "--data", "MINEUSDT-1m.csv", "--bars", "500") == 0
    out = capsys.readouterr().out
    assert "seed 1, 800 bars of 1 files of candles" in out
    assert "on 100000 bars of random walks" not in out
    assert "random walks cannot be predicted" in out


@pytest.mark.parametrize(
    ("args", "code", "text"),
    [
        ((), 2, "nothing to audit: name a plugin"),
        (("exits:time_stop",), 2, "found `exits:time_stop`, an audit needs features:NAME or strategies:NAME"),
        (("features",), 2, "found `features`"),
        (("features:audited_rsj",), 3, "did you mean `audited_rsi`"),
        (("features:ict", "--interval", "15m"), 2, "base interval of 15m does not divide 5m"),
        (("features:audited_rsi", "--interval", "soon"), 2, "--interval: "),
        (("features:audited_rsi", "--data", "none.csv"), 2, "none.csv: no such file"),
        (("features:audited_rsi", "--data", "SHORTUSDT-1m.csv"), 2, "found 100 bars, features:audited_rsi needs 600"),
        (("features:audited_rsi", "--data", "SLOWUSDT-5m.csv"), 2, "--data: found 5m, the audit is for 1m"),
    ],
)
def test_audit_that_cannot_be_done_says_why_in_one_line(args, code, text, capsys, stranger):
    candles(stranger / "SHORTUSDT-1m.csv", 100)
    candles(stranger / "SLOWUSDT-5m.csv", 700, 300_000)
    assert run(*args) == code
    err = capsys.readouterr().err
    assert text in err
    assert len(err.splitlines()) == 1


def test_audit_strategy_that_no_feature_set_helps_is_refused_with_the_reason(capsys, stranger):
    (stranger / "site" / "needy_strategy.py").write_text(NEEDY.replace('features["rsi"]', 'features["tea_leaves"]'))
    assert run("strategies:audited_needy") == 2
    err = capsys.readouterr().err
    assert "no feature column `tea_leaves`" in err
    assert "name their sets with --features or --config" in err


def test_audit_is_not_imported_by_the_help():
    code = "import sys, slt.cli.root; sys.exit(any(n.startswith('slt.audit') for n in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
