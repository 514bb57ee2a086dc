"""Strangers' packages: built and installed by pip, listed, run from config, and named when they are broken."""

from __future__ import annotations

import asyncio
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest

from slt.testing.notifiers import Answer, ChannelServer

DOCS = Path(__file__).parents[2] / "docs"
TUTORIALS = DOCS / "tutorials"
PACKAGES = {path.parent.name: path.parent for path in sorted(DOCS.rglob("pyproject.toml"))}
SLT = Path(sysconfig.get_path("scripts")) / "slt"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which pip has built and installed the documentation's packages, from copies of their sources."""
    folder = tmp_path_factory.mktemp("third-party")
    ignored = shutil.ignore_patterns("__pycache__", ".pytest_cache", "runs")
    sources = [shutil.copytree(path, folder / "src" / name, ignore=ignored) for name, path in PACKAGES.items()]
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-index", "--no-deps"]
    done = subprocess.run(
        [*pip, "--no-build-isolation", "--no-compile", "--target", folder / "site", *sources],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder / "site"


def environment(*folders, **variables):
    """This process's environment with the folders importable and nothing that changes a config."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLT_")}
    kept.pop("WEBHOOK_URL", None)
    return {**kept, "PYTHONPATH": os.pathsep.join(map(str, folders)), **variables}


def run_slt(*arguments, folder, sites, **variables):
    return subprocess.run(
        [SLT, *arguments],
        cwd=folder,
        env=environment(*sites, **variables),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )


def listed(*sites, folder):
    done = run_slt("plugins", "list", "--json", folder=folder, sites=sites)
    assert done.returncode == 0, done.stderr
    return {(p["kind"], p["name"], p["distribution"]): p["version"] for p in json.loads(done.stdout)}


def make_distribution(folder, name, entry_points, module=""):
    """A distribution as pip leaves it behind: metadata, entry points, one module."""
    info = folder / f"{name.replace('-', '_')}-0.3.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 0.3\n")
    (info / "entry_points.txt").write_text(entry_points)
    (folder / f"{name.replace('-', '_')}.py").write_text(module)
    return folder


def closed_trades(output):
    found = re.search(r"^trades: ([\d,]+)", output, re.MULTILINE)
    assert found, output
    return int(found[1].replace(",", ""))


def test_installed_packages_bring_nothing_but_their_module(site):
    names = {path.name for path in site.iterdir()}
    modules = {name.replace("-", "_") for name in PACKAGES}
    assert names == {f"{m}.py" for m in modules} | {f"{m}-0.1.0.dist-info" for m in modules}


def test_installed_plugins_are_listed_with_their_distribution(site, tmp_path):
    shown = listed(site, folder=tmp_path)
    assert shown["exits", "break_even", "slt-break-even"] == "0.1.0"
    assert shown["strategies", "breakout", "slt-first-strategy"] == "0.1.0"
    assert shown["notifiers", "webhook", "slt-webhook-notifier"] == "0.1.0"
    assert set(listed(folder=tmp_path)) < set(shown)


@pytest.mark.parametrize(
    ("plugin", "words"),
    [
        ("strategies:breakout", ("slt-first-strategy 0.1.0", "lookback_bars", "Length of the range")),
        ("exits:break_even", ("slt-break-even 0.1.0", "min_peak", "Net gain that must have been seen")),
        ("notifiers:webhook", ("slt-webhook-notifier 0.1.0", "url_env", "WEBHOOK_URL")),
    ],
)
def test_installed_plugin_shows_its_options(site, tmp_path, plugin, words):
    done = run_slt("plugins", "show", plugin, folder=tmp_path, sites=[site])
    assert done.returncode == 0, done.stderr
    for word in words:
        assert word in done.stdout


@pytest.mark.parametrize("name", PACKAGES)
def test_own_tests_of_a_package_pass_against_the_installed_module(site, tmp_path, name):
    package = shutil.copytree(site.parent / "src" / name, tmp_path / name)
    (package / f"{name.replace('-', '_')}.py").unlink()
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider"],
        cwd=package,
        env=environment(site),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"\d\d passed", done.stdout)


def test_strategy_trades_from_config(site, tmp_path):
    shutil.copy(TUTORIALS / "slt-first-strategy" / "config.toml", tmp_path)
    done = run_slt("run", "--config", "config.toml", folder=tmp_path, sites=[site])
    assert done.returncode == 0, done.stderr
    assert closed_trades(done.stdout) > 0
    assert "accounts: close" in done.stdout
    assert "exit break_even:" not in done.stdout
    assert (tmp_path / "runs" / "tutorial-001" / "report.html").stat().st_size > 0


def test_exit_closes_from_config(site, tmp_path):
    shutil.copy(TUTORIALS / "slt-first-strategy" / "config.toml", tmp_path)
    chosen = {"SLT_PLUGINS__EXITS": '["total_loss", "break_even", "time_stop"]', "SLT_FEEDS__SYNTHETIC__DAYS": "3"}
    done = run_slt("run", "--config", "config.toml", folder=tmp_path, sites=[site], **chosen)
    assert done.returncode == 0, done.stderr
    assert re.search(r"^exit break_even: [1-9]", done.stdout, re.MULTILINE)


async def test_notifier_delivers_every_close_of_a_run_once(site, tmp_path):
    shutil.copy(TUTORIALS / "slt-webhook-notifier" / "config.toml", tmp_path)
    async with ChannelServer(Answer(204)) as server:
        variables = {
            "WEBHOOK_URL": f"{server.url}/hook/s3cret-token",
            "SLT_NOTICES__IN_BACKTEST": '["open", "close", "daily"]',
            "SLT_NOTICES__RATE_LIMIT_SECONDS": "0",
            "SLT_NOTICES__DIGEST_ABOVE": "100000",  # one by one, however far the channel falls behind
        }
        child = await asyncio.create_subprocess_exec(
            SLT,
            *("run", "--config", "config.toml"),
            cwd=tmp_path,
            env=environment(site, **variables),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = (part.decode() for part in await asyncio.wait_for(child.communicate(), 100))
    assert child.returncode == 0, err
    assert "s3cret-token" not in out + err
    notices = [json.loads(body) for _, _, body in server.requests]
    assert len({notice["id"] for notice in notices}) == len(notices)
    kinds = [notice["kind"] for notice in notices]
    assert kinds.count("close") == closed_trades(out) > 0
    assert kinds.count("open") == kinds.count("close")
    assert kinds.count("daily") == 3


def test_notifier_without_its_secret_refuses_to_start_and_names_the_variable(site, tmp_path):
    shutil.copy(TUTORIALS / "slt-webhook-notifier" / "config.toml", tmp_path)
    done = run_slt("run", "--config", "config.toml", folder=tmp_path, sites=[site])
    assert done.returncode == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("slt: ")]
    assert "`WEBHOOK_URL` is not set" in line


@pytest.fixture
def breakout_config(tmp_path):
    shutil.copy(TUTORIALS / "slt-first-strategy" / "config.toml", tmp_path)
    return tmp_path


def test_broken_package_is_listed_and_named_when_it_is_chosen(site, breakout_config):
    broken = make_distribution(
        breakout_config / "broken",
        "slt-broken",
        "[slt.exits]\nbroken = slt_broken:Broken\n",
        "raise ImportError('no module named nowhere')\n",
    )
    assert listed(site, broken, folder=breakout_config)["exits", "broken", "slt-broken"] == "0.3"
    unharmed = run_slt("config", "check", folder=breakout_config, sites=[site, broken])
    assert unharmed.returncode == 0, unharmed.stderr
    chosen = {"SLT_PLUGINS__EXITS": '["broken"]'}
    for command in (["config", "check"], ["run"], ["plugins", "show", "exits:broken"]):
        done = run_slt(*command, folder=breakout_config, sites=[site, broken], **chosen)
        assert done.returncode == 3
        assert done.stderr == (
            "slt: exits:broken (slt_broken:Broken from slt-broken 0.3) cannot be imported: "
            "ImportError: no module named nowhere\n"
        )


def test_name_offered_by_two_distributions_names_both(site, breakout_config):
    rival = make_distribution(
        breakout_config / "rival", "slt-rival", "[slt.strategies]\nbreakout = slt_rival:Breakout\n"
    )
    shown = listed(site, rival, folder=breakout_config)
    assert {key[2] for key in shown if key[:2] == ("strategies", "breakout")} == {"slt-first-strategy", "slt-rival"}
    done = run_slt("run", folder=breakout_config, sites=[site, rival])
    assert done.returncode == 3
    assert done.stderr.count("\n") == 1
    for word in ("strategies:breakout", "slt-first-strategy 0.1.0", "slt-rival 0.3", "uninstall one of them"):
        assert word in done.stderr


def test_package_that_is_not_installed_is_answered_with_the_nearest_name(breakout_config):
    done = run_slt(
        "config", "check", folder=breakout_config, sites=[], SLT_PLUGINS__STRATEGIES='["ict_smd", "ema_cross"]'
    )
    assert done.returncode == 3
    assert "did you mean `ict_smc`?" in done.stderr
