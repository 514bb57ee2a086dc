"""``slt doctor``: a table, and an exit code that scripts can use."""

from __future__ import annotations

import pytest

from slt.errors import ConfigError
from slt_ict.features import IctFeatures

SMALL = """
[plugins]
feed = "synthetic"
storage = "memory"
strategies = ["ema_cross"]
sizer = "fixed_risk"
[run]
folder = "{folder}"
"""


def test_doctor_healthy_configuration_leaves_with_0(slt, tmp_path):
    (tmp_path / "config.toml").write_text(SMALL.format(folder="runs"))
    code, out, err = slt("doctor")
    lines = [line.split("\t") for line in out.splitlines()]
    assert (code, err) == (0, "")
    assert lines[0] == ["verdict", "check", "found", "what to do"]
    assert {line[0] for line in lines[1:]} == {"ok"}
    assert [line[1] for line in lines[1:4]] == ["configuration", "plugins", "certificates"]


def test_doctor_prepares_the_features_so_that_a_run_need_not_compile(slt, tmp_path):
    text = SMALL.format(folder="runs").replace("[plugins]", '[plugins]\nfeatures = ["ict"]')
    (tmp_path / "config.toml").write_text(text)
    code, out, _ = slt("doctor")
    assert code == 0
    (line,) = [line.split("\t") for line in out.splitlines() if line.split("\t")[1] == "features"]
    assert line[0] == "ok"
    assert line[2].startswith("ict prepared in ")


def test_doctor_says_of_features_that_cannot_be_prepared_why(slt, tmp_path, monkeypatch):
    def start(self, symbols, interval_ms):
        raise ConfigError(f"features.ict: {len(symbols)} symbols are too many; take fewer")

    start.slt_impl = IctFeatures.slt_start_features.slt_impl
    monkeypatch.setattr(IctFeatures, "slt_start_features", start)
    text = SMALL.format(folder="runs").replace("[plugins]", '[plugins]\nfeatures = ["ict"]')
    (tmp_path / "config.toml").write_text(text)
    code, out, _ = slt("doctor")
    assert code == 1
    assert "problem\tfeatures\tfeatures.ict: 8 symbols are too many\ttake fewer" in out.splitlines()


def test_doctor_red_line_leaves_with_1_and_says_what_to_do(slt, tmp_path):
    (tmp_path / "file").write_text("")
    (tmp_path / "config.toml").write_text(SMALL.format(folder="file/runs"))
    code, out, _ = slt("doctor", "--config", "config.toml")
    assert code == 1
    (red,) = [line.split("\t") for line in out.splitlines() if line.startswith("problem")]
    assert red[1] == "disk"
    assert red[3]


def test_doctor_on_a_terminal_draws_marks_and_advice(slt, tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    (tmp_path / "config.toml").write_text(SMALL.format(folder="file/runs"))
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    code, out, _ = slt("doctor")
    assert code == 1
    assert "problem" in out
    assert "→" in out


@pytest.mark.parametrize("text", ["", "not toml ["])
def test_doctor_unreadable_configuration_is_a_red_line(slt, tmp_path, text):
    (tmp_path / "config.toml").write_text(text)
    code, out, _ = slt("doctor")
    assert code == 1
    assert "problem\tconfiguration" in out
