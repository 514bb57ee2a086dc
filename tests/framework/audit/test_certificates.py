"""Certificates: bound to code and options, written, read back and found; and what a run does without one."""

from __future__ import annotations

import importlib
import json
import logging
import sys
from pathlib import Path
from types import SimpleNamespace

import honest_plugins
import leaking_plugins
import pytest
from attrs import evolve, frozen

from slt.audit import Certificate, Lab, Subject, certify, check_certificates, conduct, find_certificate, plugin_hash
from slt.audit.certificates import options_of, read_certificates
from slt.config import RunConfig
from slt.errors import ConfigError
from slt.loader import Installed, Loaded

QUICK = {"extra_rows": 600, "leak_rows": 2_000, "starts": 30, "trials": 1}
DATE = "2026-01-02T03:04:05+00:00"


def certificate_of(cls, laws=None):
    kind = "strategies" if hasattr(cls, "slt_propose_trades") else "features"
    lab = Lab(Subject(kind=kind, name="mine", cls=cls, config=cls.config_class()), **QUICK)
    return certify(lab, conduct(lab, only=laws), date=DATE, data=("a.parquet",))


GOOD = certificate_of(honest_plugins.BarBreakout)
BAD = certificate_of(leaking_plugins.NextBarShift, ("contract", "chunks", "prefix"))


def test_certificate_holds_what_was_audited_and_how():
    assert GOOD.passed
    assert not BAD.passed
    assert (GOOD.kind, GOOD.name, GOOD.target) == ("strategies", "mine", "honest_plugins:BarBreakout")
    assert GOOD.options == {"bars": "45"}
    assert (GOOD.seed, GOOD.date, GOOD.data, GOOD.interval_ms) == (1, DATE, ("a.parquet",), 60_000)
    assert BAD.definition == "NextBarShift/1"
    assert certificate_of(honest_plugins.ZScore, ("contract",)).float_tolerance == 1e-6


@pytest.mark.parametrize("certificate", [GOOD, BAD], ids=["good", "bad"])
def test_certificate_json_comes_back_the_same(certificate, tmp_path):
    path = certificate.write(tmp_path / "deep" / "folder")
    assert path.name == f"{certificate.kind}-mine-{certificate.hash[:12]}.json"
    assert Certificate.from_json(path.read_text()) == certificate
    table = json.loads(path.read_text())
    assert table["passed"] is certificate.passed
    broken = [law for law in table["laws"] if law["verdict"] == "broken"]
    assert all(law["example"]["column"] == "x" for law in broken)


def test_certificate_lines_name_each_law_and_the_end():
    lines = list(BAD.lines())
    assert lines[0] == "features:mine, from unknown unknown (leaking_plugins:NextBarShift)"
    assert lines[-2].startswith("not asked: snapshots, restart, ")
    assert lines[-1] == "2 of 3 laws are broken: no certificate"
    assert sum(line.startswith("broken") for line in lines) == 2
    assert list(GOOD.lines())[-1] == "every law holds"
    assert "floats within 1e-06, as declared" in "\n".join(evolve(GOOD, float_tolerance=1e-6).lines())


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"format": 99}', '{"format": 1, "laws": []}'])
def test_certificate_from_something_else_is_refused(text):
    with pytest.raises(ValueError, match=r".+"):
        Certificate.from_json(text)


def test_read_certificates_passes_over_what_cannot_be_read(tmp_path):
    GOOD.write(tmp_path)
    (tmp_path / "strategies-mine-000000000000.json").write_text("{")
    assert list(read_certificates(tmp_path, "strategies", "mine")) == [GOOD]
    assert list(read_certificates(tmp_path / "none", "strategies", "mine")) == []


def test_find_certificate_of_an_audit_that_left_laws_out_does_not_count(tmp_path):
    part = evolve(GOOD, judged=GOOD.judged[:-1])
    assert not part.passed
    part.write(tmp_path)
    assert find_certificate([tmp_path], "strategies", "mine", GOOD.hash) is None


def test_find_certificate_wants_the_hash_and_every_law(tmp_path):
    GOOD.write(tmp_path)
    BAD.write(tmp_path)
    assert find_certificate([tmp_path / "none", tmp_path], "strategies", "mine", GOOD.hash) == GOOD
    assert find_certificate([tmp_path], "strategies", "mine", "0" * 64) is None
    assert find_certificate([tmp_path], "features", "mine", BAD.hash) is None


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package ``audited_package`` with two modules, importable."""
    folder = tmp_path / "audited_package"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "plugin.py").write_text("A = 1\n")
    (folder / "formulas.py").write_text("B = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield folder
    for name in [n for n in sys.modules if n.startswith("audited_package")]:
        del sys.modules[name]


def hash_of(target="audited_package.plugin:P", name="p", definition="1", **options):
    return plugin_hash("features", name, target, options, definition)


def test_plugin_hash_changes_with_every_source_of_the_package_options_and_definition(package):
    first = hash_of(bars="3")
    assert hash_of(bars="3") == first
    found = {first, hash_of(bars="4"), hash_of(bars="3", definition="2"), hash_of(bars="3", name="q")}
    for file, text in (("plugin.py", "A = 2\n"), ("formulas.py", "B = 2\n"), ("new.py", "")):
        (package / file).write_text(text)
        found.add(hash_of(bars="3"))
    assert len(found) == 7


def test_plugin_hash_ignores_line_ends_caches_and_other_files(package):
    first = hash_of()
    (package / "plugin.py").write_bytes(b"A = 1\r\n")
    (package / "notes.txt").write_text("x")
    (package / "certificates").mkdir()
    (package / "certificates" / "features-p-0.json").write_text("{}")
    importlib.import_module("audited_package.formulas")
    assert hash_of() == first


def test_plugin_hash_of_a_single_module_is_of_its_file_alone(tmp_path, monkeypatch):
    (tmp_path / "audited_module.py").write_text("A = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    first = hash_of("audited_module:P")
    (tmp_path / "beside.py").write_text("")
    assert hash_of("audited_module:P") == first
    (tmp_path / "audited_module.py").write_text("A = 2\n")
    assert hash_of("audited_module:P") != first
    del sys.modules["audited_module"]


# What a run does ------------------------------------------------------------------------------------


@frozen
class Settings:
    run: RunConfig
    path: Path = Path("config.toml")

    def located(self, text):
        return f"config.toml: {text}"


def loaded(cls=honest_plugins.BarBreakout, distribution="stranger"):
    kind = "strategies" if hasattr(cls, "slt_propose_trades") else "features"
    installed = Installed(kind, "mine", f"{cls.__module__}:{cls.__qualname__}", distribution, "1.0")
    instance = cls(cls.config_class())
    return Loaded(installed, instance, instance.config)


def run_with(folder, mode="backtest", plugin=None, **options):
    plugin = plugin or loaded()
    plugins = SimpleNamespace(
        features=(plugin,) if plugin.installed.kind == "features" else (),
        strategies=(plugin,) if plugin.installed.kind == "strategies" else (),
    )
    check_certificates(plugins, Settings(RunConfig(mode=mode, certificates=str(folder), **options)))


@pytest.mark.parametrize("mode", ["backtest", "paper"])
def test_check_certificates_without_one_warns_once(mode, tmp_path, caplog):
    with caplog.at_level(logging.INFO, logger="slt"):
        run_with(tmp_path, mode)
    assert [r.levelname for r in caplog.records] == ["WARNING"]
    text = caplog.records[0].getMessage()
    assert text.startswith("no certificate for strategies:mine with this code and these options in ")
    assert "`slt audit --config config.toml`" in text


@pytest.mark.parametrize("mode", ["backtest", "paper", "live"])
def test_check_certificates_with_one_is_silent(mode, tmp_path, caplog):
    GOOD.write(tmp_path)
    run_with(tmp_path, mode)
    assert not caplog.records


def test_check_certificates_live_without_one_refuses_unless_allowed(tmp_path, caplog):
    with pytest.raises(ConfigError, match=r"config.toml: run.certificates: no certificate .*allow_uncertified = true"):
        run_with(tmp_path, "live")
    run_with(tmp_path, "live", allow_uncertified=True)
    assert len(caplog.records) == 1


def test_check_certificates_of_other_options_or_broken_laws_does_not_count(tmp_path, caplog):
    GOOD.write(tmp_path)
    BAD.write(tmp_path)
    plugin = loaded()
    run_with(tmp_path, plugin=Loaded(plugin.installed, plugin.hooks, evolve(plugin.config, bars=46)))
    run_with(tmp_path, plugin=loaded(leaking_plugins.NextBarShift))
    assert len(caplog.records) == 2


SHIPPED = [
    ("features", "ict", {}),
    ("strategies", "ict_smc", {"relaxed": True}),
    ("strategies", "ict_smc", {"relaxed": False}),
    ("strategies", "ema_cross", {}),
]


@pytest.mark.parametrize(("kind", "name", "options"), SHIPPED)
def test_shipped_plugin_comes_with_a_certificate_for_its_present_code(kind, name, options, tmp_path, caplog):
    """After a change of its code: ``python benchmarks/audit.py --ship`` audits anew and writes the certificates."""
    from slt.loader import import_plugin

    installed, cls = import_plugin(kind, name)
    config = cls.config_class(**options)
    run_with(tmp_path, "live", plugin=Loaded(installed, cls(config), config))
    assert not caplog.records


def test_shipped_certificates_of_a_strangers_package_do_not_count(tmp_path, caplog):
    """Only an audit of one's own speaks for a stranger's plugin."""
    from slt.loader import import_plugin

    installed, cls = import_plugin("strategies", "ema_cross")
    stranger = Loaded(evolve(installed, distribution="stranger"), cls(cls.config_class()), cls.config_class())
    run_with(tmp_path, plugin=stranger)
    assert len(caplog.records) == 1


def test_options_of_are_toml():
    assert options_of(honest_plugins.BarBreakoutConfig(7)) == {"bars": "7"}
