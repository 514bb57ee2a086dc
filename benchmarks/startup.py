"""CPU time of the commands that must feel instant, and what they import.

    python benchmarks/startup.py

Medians of 15 runs, user + system, with byte code cached (`PYTHONDONTWRITEBYTECODE` is removed from the environment).
"""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import sys

COMMANDS = {"slt --help": ["--help"], "slt plugins list": ["plugins", "list"], "slt --version": ["--version"]}
HEAVY = ("numba", "pandas", "xgboost", "asyncpg", "pyarrow", "plotly", "aiohttp", "numpy", "rich", "structlog")
CHILD = """
import sys
from slt.cli import main
try:
    main({args!r})
except SystemExit:
    pass
print(" ".join(m for m in {heavy!r} if m in sys.modules), file=sys.stderr)
"""


def cpu_seconds(args, environment):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    command = [sys.executable, "-c", CHILD.format(args=args, heavy=HEAVY)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime, done.stderr.strip()


def main():
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    print(f"{'command':<18} {'CPU s':>6}  heavy modules imported")
    for name, args in COMMANDS.items():
        cpu_seconds(args, environment)
        runs = [cpu_seconds(args, environment) for _ in range(15)]
        print(f"{name:<18} {statistics.median(r[0] for r in runs):>6.3f}  {runs[-1][1] or 'none'}")


if __name__ == "__main__":
    main()
