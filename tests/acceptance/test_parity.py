"""The same market through a back-test, a paper run and a live run against the local exchange: the same trades."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="the embedded server is POSIX")

PARITY = Path(__file__).parents[2] / "benchmarks" / "parity.py"


@pytest.mark.timeout(300)  # about 30 s of two idle cores
def test_backtest_paper_and_live_give_the_same_trades():
    command = [sys.executable, str(PARITY), "--bars", "30"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stdout + done.stderr
    counts = re.search(r"back-test (\d+), in a paper run (\d+), live (\d+)", done.stdout)
    assert len(set(counts.groups())) == 1
    assert int(counts[1]) >= 4
