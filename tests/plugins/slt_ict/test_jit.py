"""Compilation and its cache."""

from __future__ import annotations

import logging
import math
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numba
import pytest

import slt_ict
from slt_ict import features as features_module
from slt_ict import jit as jit_module
from slt_ict.features import IctFeatures, IctFeaturesConfig
from slt_ict.jit import SOURCE_DIGEST, entry, has_cache

PACKAGE = Path(slt_ict.__file__).parent


def test_entry_without_any_place_for_a_cache_compiles_and_says_so(monkeypatch, caplog):
    def njit_in_a_place_without_any_cache(*, cache=False, **options):
        if cache:
            raise RuntimeError("cannot cache function 'add': no locator available for file 'jit.py'")
        return numba.njit(**options)

    monkeypatch.setattr(jit_module, "njit", njit_in_a_place_without_any_cache)

    def build(digest):
        @entry
        def add(x):
            return x + digest

        return add

    with caplog.at_level(logging.INFO, logger="slt.ict"):
        add = build(SOURCE_DIGEST)
    assert add(1) == 1 + SOURCE_DIGEST
    assert not has_cache(add)
    assert "compiled anew in every process" in caplog.text


def test_start_features_without_cache_announces_the_compilation(monkeypatch, caplog):
    monkeypatch.setattr(features_module, "has_cache", lambda _: False)
    with caplog.at_level(logging.INFO, logger="slt.ict"):
        IctFeatures(IctFeaturesConfig()).slt_start_features(("BTCUSDT",), 60_000)
    assert "compiling the `ict` kernel" in caplog.text


def test_start_features_with_cache_says_nothing(caplog, capsys):
    IctFeatures(IctFeaturesConfig()).slt_start_features(("BTCUSDT",), 60_000)
    caplog.clear()
    with caplog.at_level(logging.INFO, logger="slt.ict"):
        IctFeatures(IctFeaturesConfig()).slt_start_features(("BTCUSDT",), 60_000)
    assert caplog.text == ""
    assert capsys.readouterr() == ("", "")


def test_has_cache_with_sources_changed_since_is_false(monkeypatch):
    IctFeatures(IctFeaturesConfig()).slt_start_features(("BTCUSDT",), 60_000)
    assert has_cache(features_module.advance_block)
    monkeypatch.setattr(jit_module, "_newest_source", lambda: math.inf)
    assert not has_cache(features_module.advance_block)


@pytest.mark.timeout(240)
def test_cache_after_change_in_another_module_is_not_used(tmp_path):
    """A cached `find_gaps` must not survive a change of the rule it calls, which lives in another file."""
    shutil.copytree(PACKAGE, tmp_path / "slt_ict", ignore=shutil.ignore_patterns("__pycache__"))
    candles = "[1, 1, 2.5], [1, 2, 3], [1, 1, 2.0], [1, 2, 3]"
    script = f"from slt_ict.blocks import find_gaps; print(len(find_gaps({candles}).side))"
    command = [sys.executable, "-c", script]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(tmp_path / "cache")}

    def gaps():
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        return int(done.stdout)

    assert gaps() == 1
    files = set((tmp_path / "cache").rglob("*.nbc"))
    assert gaps() == 1
    assert set((tmp_path / "cache").rglob("*.nbc")) == files  # the second run compiled nothing
    rule = tmp_path / "slt_ict" / "zones.py"
    rule.write_text(rule.read_text().replace("body > 0.0 and low > high_before", "body > 9.0 and low > high_before"))
    assert gaps() == 0
