"""Services beside a run: started before it, told of, ended with it; what a stranger's service can get wrong."""

from __future__ import annotations

import os
import subprocess
import sys
import sysconfig
import time
from pathlib import Path

import pytest

from slt.config import read_config
from slt.errors import ConfigError, PluginLoadError, PluginNotFoundError, SltError
from slt.loader import build_plugins, build_service
from slt.run import services
from slt.run.services import running_services

ROOT = Path(__file__).parents[3]
SLT = Path(sysconfig.get_path("scripts")) / "slt"
CONFIG = """
[plugins]
feed = "synthetic"
strategies = ["ema_cross"]
sizer = "fixed_risk"
services = ["t_service"]
"""
SERVICE = '''
import asyncio, os, sys
from pathlib import Path
from attrs import frozen
from slt import hookimpl
from slt.errors import ConfigError


@frozen(kw_only=True)
class ServiceConfig:
    """Options of `Service`.

    Attributes:
        source: A feed.
        key_env: A variable.
        fails: How.
    """
    source: str = ""
    key_env: str = "T_SERVICE_KEY"
    fails: str = ""


class Service:
    """Says what it was given."""

    config_class = ServiceConfig

    def __init__(self, config):
        self.config = config

    @hookimpl
    async def slt_start_service(self, source):
        if self.config.fails == "config":
            raise ConfigError("services.t_service.port: taken", "services.t_service.host: none")
        if self.config.fails == "crash":
            os._exit(9)
        if self.config.fails == "bug":
            raise KeyError("x")
        Path("pid").write_text(str(os.getpid()))
        symbols = source.slt_describe_market().symbols if source is not None else ()
        return f"key {len(os.environ.get(self.config.key_env, ''))}, {len(symbols)} symbols"

    @hookimpl
    async def slt_wait_service(self):
        if self.config.fails == "soon":
            return
        if self.config.fails == "deaf":
            import signal
            asyncio.get_running_loop().remove_signal_handler(signal.SIGTERM)
            signal.signal(signal.SIGTERM, signal.SIG_IGN)
        print("a word", flush=True)
        await asyncio.Event().wait()

    @hookimpl
    async def slt_stop_service(self):
        Path("stopped").touch()
'''


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A working directory with a service of a stranger on the path, as pip would have put it there."""
    site = tmp_path / "site"
    info = site / "t_service-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: t-service\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[slt.services]\nt_service = t_service_module:Service\n")
    (site / "t_service_module.py").write_text(SERVICE)
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.setenv("PYTHONPATH", str(site))
    monkeypatch.delenv("T_SERVICE_KEY", raising=False)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("t_service_module", None)
    os.environ.pop("T_SERVICE_KEY", None)


def settings_of(folder, options=""):
    path = folder / "my.toml"
    path.write_text(CONFIG + (f"[services.t_service]\n{options}\n" if options else ""))
    return read_config(path, {})


def is_alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_service_runs_beside_and_is_stopped_with_the_run(folder):
    settings = settings_of(folder, 'source = "synthetic"')
    with running_services(settings):
        pid = int((folder / "pid").read_text())
        assert pid != os.getpid()
        assert os.getpgid(pid) == pid
        assert is_alive(pid)
        assert len(os.environ["T_SERVICE_KEY"]) == 64
    assert not is_alive(pid)
    assert (folder / "stopped").exists()


def test_service_keeps_a_variable_that_somebody_set(folder, monkeypatch):
    monkeypatch.setenv("T_SERVICE_KEY", "mine")
    with running_services(settings_of(folder)):
        assert os.environ["T_SERVICE_KEY"] == "mine"


@pytest.mark.parametrize(
    ("fails", "kind", "text"),
    [
        ("config", ConfigError, "services.t_service.port: taken\nservices.t_service.host: none"),
        ("crash", SltError, "service `t_service` ended with exit code 9 and said nothing"),
        ("bug", Exception, "raised in slt_start_service: KeyError: 'x'"),
    ],
)
def test_service_that_does_not_start_keeps_the_run_from_starting(folder, fails, kind, text):
    with pytest.raises(kind) as caught, running_services(settings_of(folder, f'fails = "{fails}"')):
        pytest.fail("the run began")
    assert text in str(caught.value)


def test_service_that_is_never_ready_is_given_up(folder, monkeypatch):
    monkeypatch.setattr(services, "_START_TIMEOUT_S", 0.0)
    never = pytest.raises(SltError, match="`t_service` was not ready within 0 s; run `slt t_service` to see why")
    with never, running_services(settings_of(folder)):
        pytest.fail("the run began")


def test_service_that_does_not_listen_is_ended_all_the_same(folder, monkeypatch):
    monkeypatch.setattr(services, "_STOP_TIMEOUT_S", 0.5)
    with running_services(settings_of(folder, 'fails = "deaf"')):
        pid = int((folder / "pid").read_text())
        time.sleep(0.3)
    assert not is_alive(pid)


def test_service_ends_with_the_run_even_when_the_run_breaks(folder):
    def break_() -> None:
        with running_services(settings_of(folder)):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        break_()
    assert not is_alive(int((folder / "pid").read_text()))


def test_command_of_a_service_is_listed_without_importing_it_and_ends_when_it_is_over(folder):
    (folder / "site" / "t_service_module.py").write_text("raise SystemExit('imported')")
    help_ = subprocess.run([SLT, "--help"], capture_output=True, text=True, timeout=60, check=True).stdout
    assert "t_service  Run the service `t_service` until Ctrl-C." in help_
    (folder / "site" / "t_service_module.py").write_text(SERVICE)
    (folder / "config.toml").write_text('[services.t_service]\nfails = "soon"\n')
    done = subprocess.run([SLT, "t_service"], capture_output=True, text=True, timeout=60, check=True)
    assert (done.stdout, done.stderr) == ("key 0, 0 symbols\n", "")


def test_source_of_a_service_may_have_options_although_the_run_reads_another_feed(folder):
    path = folder / "my.toml"
    path.write_text(
        CONFIG.replace('feed = "synthetic"', 'feed = "replay"')
        + '[feeds.synthetic]\ndays = 5\n[services.t_service]\nsource = "synthetic"\n'
    )
    plugins = build_plugins(read_config(path, {}))
    assert plugins.feed.name == "replay"
    assert [(s.name, s.config.days) for s in plugins.sources] == [("synthetic", 5)]
    assert [s.name for s in plugins.services] == ["t_service"]


def test_source_that_is_the_feed_of_the_run_is_not_built_twice(folder):
    path = folder / "my.toml"
    path.write_text(CONFIG + '[services.t_service]\nsource = "synthetic"\n')
    assert build_plugins(read_config(path, {})).sources == ()


def test_options_of_a_feed_that_nobody_reads_are_refused(folder):
    path = folder / "my.toml"
    path.write_text(CONFIG + "[feeds.replay]\nfiles = []\n")
    with pytest.raises(ConfigError, match=r"feeds\.replay: options for a plugin that \[plugins\] does not choose"):
        build_plugins(read_config(path, {}))


def test_build_service_refuses_what_is_not_there(folder):
    with pytest.raises(
        PluginNotFoundError, match="no services plugin `t_servce` is installed; did you mean `t_service`"
    ):
        build_service("t_servce", {})
    with pytest.raises(PluginNotFoundError, match="no feeds plugin `nothing` is installed"):
        build_service("t_service", {("services", "t_service"): {"source": "nothing"}})
    with pytest.raises(ConfigError, match=r"services\.t_service\.kee_env: unknown option"):
        build_service("t_service", {("services", "t_service"): {"kee_env": "X"}})
    (folder / "site" / "t_service_module.py").write_text("class Service: pass")
    sys.modules.pop("t_service_module", None)
    with pytest.raises(PluginLoadError, match="has no `config_class`"):
        build_service("t_service", {})


def test_example_of_the_sandbox_is_a_whole_configuration():
    done = subprocess.run(
        [SLT, "config", "check", "--config", str(ROOT / "docs/examples/sandbox.toml")],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
