"""The experiments of ``benchmarks/learning.py`` in their quick form: that they run, and what even one market shows."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.timeout(600)  # about 25 s of one idle core

BENCHMARK = Path(__file__).parents[2] / "benchmarks" / "learning.py"


@pytest.fixture(scope="module")
def rows() -> dict[tuple[str, str], str]:
    """Experiment and figure to what was found."""
    command = [sys.executable, str(BENCHMARK), "--quick", "--processes", "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=600)
    cells = [re.split(r"\s{2,}", line.strip()) for line in done.stdout.splitlines() if "  " in line.strip()]
    return {(cell[0], cell[1]): cell[2] for cell in cells if len(cell) >= 3}


def test_null_market_is_never_promoted(rows):
    assert rows["null", "markets promoted ever"].startswith("0/1")


def test_shuffled_labels_are_never_promoted(rows):
    assert rows["shuffled", "markets promoted ever"].startswith("0/1")


def test_planted_edge_is_found_and_pays(rows):
    assert rows["planted 0.74", "promoted ever"].startswith("1/1")
    assert rows["planted 0.74", "net PnL after promotion > UNTRAINED"].startswith("1/1")


def test_edge_that_flips_ends_the_model(rows):
    assert rows["drift", "demoted or replaced within 150 trades"].startswith("1/1")


def test_flipped_batch_is_played_against_its_clean_twin(rows):
    assert re.fullmatch(r"[01]/1 = .*", rows["flipped", "at most 0.01 behind the twin without the batch"])
