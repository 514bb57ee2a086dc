"""Runs ``slt`` with a stopwatch on the steps of a start; `restart.py` uses it to tell where the time goes.

    PROBE_FILE=steps.jsonl PROBE_BEGUN=<seconds since the epoch> python benchmarks/restart_probe.py run --config F

Each line of the file is a step: its name, when it began and how long it took, in seconds since the process was started.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import time
from pathlib import Path

_BEGUN = float(os.environ["PROBE_BEGUN"])
_FILE = Path(os.environ["PROBE_FILE"])


def note(name, begun):
    """Write a step down."""
    with _FILE.open("a") as file:
        file.write(json.dumps({"step": name, "at": begun - _BEGUN, "took": time.time() - begun}) + "\n")


def timed(owner, attribute, name):
    """Put a stopwatch around a function, a coroutine function, or an asynchronous context manager's entry."""
    whole = getattr(owner, attribute)

    @functools.wraps(whole)
    def call(*args, **more):
        begun = time.time()
        made = whole(*args, **more)
        if asyncio.iscoroutine(made):
            return _finished(made, name, begun)
        if hasattr(made, "__aenter__"):
            return _entered(made, name, begun)
        note(name, begun)
        return made

    setattr(owner, attribute, call)


async def _finished(made, name, begun):
    try:
        return await made
    finally:
        note(name, begun)


@contextlib.asynccontextmanager
async def _entered(made, name, begun):
    async with made as value:
        note(name, begun)
        yield value


def main():
    note("interpreter", _BEGUN)
    begun = time.time()
    from slt.cli import main as command
    from slt.run import assembly, books, execution, standby, streaming
    from slt.run.dense import Dense

    note("import slt", begun)
    timed(execution, "build_plugins", "import and build plugins")
    timed(execution, "assembled", "assemble")
    timed(Dense, "start", "- features prepared")
    timed(assembly, "open_folder", "- folder")
    timed(assembly, "_stored_runs", "- storage opened and asked for runs")
    timed(execution, "_services", "services (outbox, fits, journal)")
    timed(streaming, "restore", "session restored")
    timed(streaming, "warm_up", "bars of the past read")
    timed(streaming._Driver, "begin", "driver begun, snapshot taken")
    timed(standby, "wait_as_standby", "lock of the account")
    timed(streaming._Driver, "_resume_orders", "orders taken up")
    timed(books.AccountReader, "_read", "account read")
    plugins = execution.build_plugins

    def build(settings):
        made = plugins(settings)
        for loaded, hook, name in (
            (made.feed, "slt_describe_market", "- market described"),
            (made.broker, "slt_open_broker", "- broker opened"),
        ):
            timed(loaded.hooks, hook, name)
        return made

    execution.build_plugins = build
    command()


if __name__ == "__main__":
    main()
