"""``slt config``: what it shows is a config again, and the repository's own file is what it shows."""

from __future__ import annotations

import itertools
import tomllib
from pathlib import Path

import pytest

from slt.config import read_config
from slt.loader import build_plugins
from slt.run.assembly import effective_config

ROOT = Path(__file__).parents[3]
SMALL = """
[plugins]
feed = "synthetic"
storage = "memory"
strategies = ["ict_smc"]
features = ["ict"]
sizer = "kelly"
exits = ["time_stop", "deep_loss"]
[exits.time_stop]
max_hours = 1.5
[run]
mode = "{mode}"
{locks}
"""


def built(path):
    settings = read_config(path, {})
    plugins = build_plugins(settings)
    loaded = [plugins.feed, plugins.broker, plugins.storage, plugins.sizer, plugins.model]
    loaded += [*plugins.features, *plugins.strategies, *plugins.exits, *plugins.notifiers]
    kernel = (settings.run, settings.account, settings.plugins, settings.risk, settings.learning, settings.gate)
    return (*kernel, settings.notices, settings.log, settings.locks, [p and (p.installed, p.config) for p in loaded])


@pytest.mark.parametrize("mode", ["backtest", "paper"])
@pytest.mark.parametrize("locks", ["", "[locks]\nrelaxed_signal_mode = false\n[strategies.ict_smc]\nmin_grab = 0.5\n"])
def test_config_show_read_back_is_the_same_configuration(slt, tmp_path, mode, locks):
    path = tmp_path / "config.toml"
    path.write_text(SMALL.format(mode=mode, locks=locks))
    code, out, err = slt("config", "show")
    assert (code, err) == (0, "")
    shown = tmp_path / "shown.toml"
    shown.write_text(out)
    assert built(shown) == built(path)
    assert slt("config", "show", "--config", "shown.toml")[1] == out


def test_config_show_lists_every_option_with_its_meaning(slt, tmp_path):
    (tmp_path / "config.toml").write_text(SMALL.format(mode="paper", locks=""))
    lines = slt("config", "show")[1].splitlines()
    assert "# Close everything this many hours after the first fill." in lines
    assert "max_hours = 1.5" in lines
    uncommented = [
        line
        for before, line in itertools.pairwise(lines)
        if " = " in line and not before.startswith("# ") and not line.startswith(("#", " "))
    ]
    assert uncommented == []


def test_config_show_leaves_relaxed_signals_open_so_that_the_mode_decides(slt, tmp_path):
    (tmp_path / "config.toml").write_text(SMALL.format(mode="paper", locks=""))
    lines = slt("config", "show")[1].splitlines()
    assert "# relaxed_signal_mode =" in lines
    assert "# relaxed =" in lines


def test_config_show_with_a_lock_in_the_environment_shows_it(slt, tmp_path):
    (tmp_path / "config.toml").write_text(SMALL.format(mode="paper", locks=""))
    out = slt("config", "show", DISABLE_MODEL_TRAINING="1", SLT_RUN__SEED="7")[1]
    tables = tomllib.loads(out)
    assert tables["locks"]["disable_model_training"] is True
    assert tables["run"]["seed"] == 7


def test_config_check_good_file_says_so(slt, tmp_path):
    (tmp_path / "config.toml").write_text(SMALL.format(mode="paper", locks=""))
    assert slt("config", "check") == (0, "config.toml: fine; 8 plugins chosen\n", "")


def test_config_check_bad_file_tells_all_and_leaves_with_2(slt, tmp_path):
    (tmp_path / "config.toml").write_text(SMALL.format(mode="papper", locks="[exits.deep_loss]\nmax_los = 1\n"))
    code, out, err = slt("config", "check")
    assert (code, out) == (2, "")
    mode, option = err.splitlines()
    assert mode == 'slt: config.toml: run.mode: found `"papper"`, allowed is backtest, paper or live'
    assert option.startswith("slt: config.toml: exits.deep_loss.max_los: unknown option; did you mean `max_loss`?")


def test_repository_config_is_what_config_show_gives():
    text = (ROOT / "config.toml").read_text(encoding="utf-8")
    settings = read_config(ROOT / "config.toml", {})
    header, first, rest = text.partition("[run]\n")
    assert all(line.startswith("#") for line in header.splitlines() if line)
    assert first + rest == effective_config(settings, build_plugins(settings), comments=True)
