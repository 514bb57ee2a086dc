from __future__ import annotations

import asyncio
import importlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from slt.config.sections import GateConfig
from slt.lifecycle import Loops
from slt.run.fitting import FitWorker, fit_inline
from slt.testing.model import planted_samples
from slt.types import FitRequest

if TYPE_CHECKING:
    from types import ModuleType

TOY = '''
"""A model plugin that fits the base rate, or misbehaves as the request's seed says."""

import ctypes
import os
import time
from pathlib import Path

import numpy as np
from attrs import frozen


@frozen
class ToyConfig:
    offset: float = 0.0


class Constant:
    def __init__(self, value):
        self.value = value

    def predict(self, x):
        return np.full(len(x), self.value, np.float32)


def print_noise():
    print("a plugin that prints")
    os.write(1, b"and writes to the standard output")


def fill_memory():
    np.ones(2**30)


ACTS = {
    2: lambda: time.sleep(600),
    3: fill_memory,
    4: lambda: os.abort(),
    5: lambda: os._exit(7),
    6: lambda: 1 // 0,
    7: print_noise,
    8: lambda: exit(3),
    9: lambda: Path(__file__).with_suffix(".done").touch(),
}


class Toy:
    config_class = ToyConfig

    def __init__(self, config):
        self.config = config

    def slt_fit_model(self, samples, seed):
        ACTS.get(seed, lambda: None)()
        return np.float64(samples.won.mean() + self.config.offset).tobytes()

    def slt_load_model(self, artefact):
        return Constant(np.frombuffer(artefact)[0])
'''
SLEEP, MEMORY, ABORT, LEAVE, RAISE, PRINT, EXIT, MARK = range(2, 10)


@pytest.fixture
def toy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    (tmp_path / "slt_fit_toy.py").write_text(TOY)
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("slt_fit_toy")
    monkeypatch.delitem(sys.modules, "slt_fit_toy")
    # Pickle finds the class of the config by name.
    monkeypatch.setitem(sys.modules, "slt_fit_toy", module)
    return module


@pytest.fixture
async def make_worker(toy: ModuleType):
    workers = []

    def make(model: str = "slt_fit_toy:Toy", **options: object) -> FitWorker:
        workers.append(FitWorker(model, toy.ToyConfig(), GateConfig(), **options))
        return workers[-1]

    yield make
    for worker in workers:
        await worker.stop()


MakeWorker = Callable[..., FitWorker]


def request(seed: int = 1, rows: int = 150) -> FitRequest:
    return FitRequest(f"run-x-v{seed}", "x", seed, "hash", 0, 0, planted_samples(rows, 1), seed)


def is_alive(pid: int) -> bool:
    """Whether the process still runs; one that waits to be reaped does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in {"Z", "X"}
    except (FileNotFoundError, ProcessLookupError):
        return False


def start_python(script: str) -> subprocess.Popen[str]:
    return subprocess.Popen([sys.executable, "-P", "-c", script], stdout=subprocess.PIPE, text=True)


async def gone(pid: int, seconds: float = 10.0) -> bool:
    for _ in range(int(seconds / 0.05)):
        if not is_alive(pid):
            return True
        await asyncio.sleep(0.05)
    return False


async def test_fit_in_the_child_equals_the_fit_inline(make_worker: MakeWorker, toy: ModuleType) -> None:
    far = await make_worker().fit(request())
    near = fit_inline(request(), toy.Toy(toy.ToyConfig()), GateConfig())
    assert len(near.artefact) == 8
    assert (far.request_id, far.promoted, far.verdict, far.metrics, far.artefact) == (
        near.request_id,
        near.promoted,
        near.verdict,
        near.metrics,
        near.artefact,
    )


async def test_fit_config_reaches_the_child(toy: ModuleType) -> None:
    worker = FitWorker("slt_fit_toy:Toy", toy.ToyConfig(offset=0.125), GateConfig())
    try:
        report = await worker.fit(request())
    finally:
        await worker.stop()
    assert report.artefact == toy.Toy(toy.ToyConfig(offset=0.125)).slt_fit_model(request().samples, 1)


async def test_fit_one_child_serves_all_requests_in_their_order(make_worker: MakeWorker) -> None:
    worker = make_worker()
    await worker.start()
    pid = worker.pid
    reports = await asyncio.gather(*(worker.fit(request(seed)) for seed in (11, 12, 13)))
    assert [report.request_id for report in reports] == ["run-x-v11", "run-x-v12", "run-x-v13"]
    assert worker.pid == pid


async def test_fit_event_loop_goes_on_meanwhile(make_worker: MakeWorker) -> None:
    fit = asyncio.create_task(make_worker().fit(request()))
    turns = 0
    while not fit.done():
        await asyncio.sleep(0.001)
        turns += 1
    assert (await fit).artefact
    assert turns > 20, "importing the plugin in the child takes far longer than twenty turns of the loop"


async def test_fit_proceeds_while_the_event_loop_is_busy(make_worker: MakeWorker, tmp_path: Path) -> None:
    worker = make_worker()
    await worker.fit(request())
    fit = asyncio.create_task(worker.fit(request(MARK, rows=20_000)))
    await asyncio.sleep(0)
    is_done = False
    for _ in range(200):  # a replay between two of its awaits; 20,000 samples are far more than a pipe holds
        time.sleep(0.05)  # noqa: ASYNC251 - the loop is to be blocked
        is_done = is_done or (tmp_path / "slt_fit_toy.done").exists()
        if is_done:
            break
    assert is_done
    assert (await fit).artefact


async def test_fit_longer_than_the_limit_is_refused_and_the_next_is_unharmed(make_worker: MakeWorker) -> None:
    worker = make_worker(timeout_seconds=60.0)
    await worker.fit(request())
    pid = worker.pid
    worker.timeout_seconds = 0.3
    report = await worker.fit(request(SLEEP))
    assert (report.promoted, report.verdict) == (False, "refused: the fit took longer than 0.3 s")
    assert report.request_id == "run-x-v2"
    assert not is_alive(pid)
    worker.timeout_seconds = 60.0
    assert (await worker.fit(request())).artefact


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux enforces a limit on data memory")
async def test_fit_is_no_late_loop_within_its_limit_and_named_beyond_it(make_worker: MakeWorker) -> None:
    now = [1000.0]
    loops, worker = Loops(lambda: now[0]), make_worker(timeout_seconds=100.0)
    worker.supervise(loops)
    now[0] += 86_400.0
    assert loops.late() == (), "nothing to fit for a day"
    task = asyncio.create_task(worker.fit(request(SLEEP)))
    while not worker._lock.locked():  # noqa: ASYNC110 - a lock tells nobody that it is taken
        await asyncio.sleep(0.01)
    now[0] += 129.0
    assert loops.late() == (), "within its limit and the time to end the child"
    now[0] += 2.0
    assert [(late.name, late.deadline_seconds) for late in loops.late()] == [("fits", 130.0)]
    await worker.stop()
    await task
    now[0] += 86_400.0
    assert loops.late() == (), "at rest again"


async def test_fit_beyond_the_memory_limit_is_refused_and_the_next_is_unharmed(make_worker: MakeWorker) -> None:
    worker = make_worker(memory_mb=1024)
    report = await worker.fit(request(MEMORY))
    assert report.verdict.startswith("refused: the fit failed: ")
    assert "MemoryError" in report.verdict
    assert (await worker.fit(request())).artefact


@pytest.mark.parametrize(
    ("act", "verdict"),
    [
        (ABORT, "refused: the process that fits was ended by SIGABRT"),
        (LEAVE, "refused: the process that fits ended with exit code 7"),
        (EXIT, "refused: the process that fits ended with exit code 3"),
        (RAISE, "refused: the fit failed: ZeroDivisionError: integer division or modulo by zero"),
    ],
)
async def test_fit_that_crashes_is_refused_and_the_next_is_unharmed(
    make_worker: MakeWorker, act: int, verdict: str
) -> None:
    worker = make_worker()
    report = await worker.fit(request(act))
    assert (report.promoted, report.artefact, report.verdict) == (False, b"", verdict)
    assert (await worker.fit(request())).artefact


async def test_fit_child_killed_from_outside_is_refused(make_worker: MakeWorker) -> None:
    worker = make_worker()
    await worker.fit(request())
    fit = asyncio.create_task(worker.fit(request(SLEEP)))
    await asyncio.sleep(0.2)
    os.kill(worker.pid, signal.SIGKILL)
    assert (await fit).verdict == "refused: the process that fits was ended by SIGKILL"


async def test_fit_child_killed_between_two_fits_is_replaced(make_worker: MakeWorker) -> None:
    worker = make_worker()
    await worker.fit(request())
    first = worker.pid
    os.kill(first, signal.SIGKILL)
    await asyncio.to_thread(worker._child.process.wait)
    assert (await worker.fit(request())).artefact
    assert worker.pid != first


async def test_fit_plugin_that_prints_does_not_disturb_the_answers(make_worker: MakeWorker) -> None:
    worker = make_worker()
    assert (await worker.fit(request(PRINT))).artefact
    assert (await worker.fit(request())).artefact


@pytest.mark.parametrize(
    ("model", "words"),
    [
        ("slt_fit_nowhere:Toy", "ModuleNotFoundError: No module named 'slt_fit_nowhere'"),
        ("slt_fit_toy:Nothing", "AttributeError: module 'slt_fit_toy' has no attribute 'Nothing'"),
    ],
)
async def test_fit_plugin_that_cannot_be_loaded_is_refused(make_worker: MakeWorker, model: str, words: str) -> None:
    report = await make_worker(model).fit(request())
    assert report.verdict == f"refused: the model plugin `{model}` cannot be loaded: {words}"


async def test_fit_cancelled_in_the_middle_leaves_no_answer_for_the_next(make_worker: MakeWorker) -> None:
    worker = make_worker()
    await worker.fit(request())
    pid = worker.pid
    fit = asyncio.create_task(worker.fit(request(SLEEP)))
    await asyncio.sleep(0.2)
    fit.cancel()
    with pytest.raises(asyncio.CancelledError):
        await fit
    assert not is_alive(pid)
    assert (await worker.fit(request(11))).request_id == "run-x-v11"


async def test_stop_ends_the_child_and_start_begins_anew(make_worker: MakeWorker) -> None:
    worker = make_worker()
    await worker.start()
    first = worker.pid
    await worker.stop()
    await worker.stop()
    assert worker.pid is None
    assert not is_alive(first)
    await worker.start()
    assert worker.pid not in {None, first}


async def test_stop_in_the_middle_of_a_fit_refuses_it(make_worker: MakeWorker) -> None:
    worker = make_worker()
    await worker.fit(request())
    fit = asyncio.create_task(worker.fit(request(SLEEP)))
    await asyncio.sleep(0.2)
    await worker.stop()
    assert (await fit).verdict == "refused: the fit was stopped"


@pytest.mark.skipif(sys.platform == "win32", reason="sessions and nice values are POSIX")
async def test_child_has_its_own_session_and_gives_way(make_worker: MakeWorker) -> None:
    worker = make_worker()
    await worker.fit(request())
    assert os.getsid(worker.pid) == worker.pid, "a signal to the parent's group (Ctrl-C) must not reach the child"
    assert os.getpriority(os.PRIO_PROCESS, worker.pid) > os.getpriority(os.PRIO_PROCESS, 0)


@pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")
@pytest.mark.parametrize("seed", [1, SLEEP], ids=["idle", "fitting"])
async def test_child_ends_when_its_parent_is_killed(toy: ModuleType, tmp_path: Path, seed: int) -> None:
    script = f"""
import asyncio, sys
sys.path.insert(0, {str(tmp_path)!r})
import slt_fit_toy
from slt.config.sections import GateConfig
from slt.lifecycle import Loops
from slt.run.fitting import FitWorker
from slt.testing.model import planted_samples
from slt.types import FitRequest

async def main():
    worker = FitWorker("slt_fit_toy:Toy", slt_fit_toy.ToyConfig(), GateConfig())
    samples = planted_samples(150, 1)
    await worker.fit(FitRequest("a", "x", 1, "hash", 0, 0, samples, 1))
    fit = asyncio.create_task(worker.fit(FitRequest("a", "x", 1, "hash", 0, 0, samples, {seed})))
    await asyncio.sleep(0.3)
    print(worker.pid, flush=True)
    await asyncio.sleep(600)

asyncio.run(main())
"""
    parent = start_python(script)
    try:
        pid = int(await asyncio.to_thread(parent.stdout.readline))
        assert is_alive(pid)
        parent.kill()
        assert await gone(pid)
    finally:
        parent.kill()
        parent.wait()
        parent.stdout.close()
