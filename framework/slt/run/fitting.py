"""Fits in a child process: spawned, warm, niced, with a limit on time and memory, so that trading never waits.

The child is a fresh interpreter (never a fork: the parent has threads and open connections). It imports the model
plugin once, then answers one request after the other over its pipes. It lives in a session of its own, so that Ctrl-C
reaches the parent alone, and it ends by itself, also in the middle of a fit, when the parent's end of the pipe closes.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
from collections import deque
from typing import IO, TYPE_CHECKING, Any, cast

from attrs import define, field, frozen

from slt.trading.gate import GateConfig, evaluate
from slt.types import FitReport, FitRequest

if sys.platform != "win32":
    import resource

if TYPE_CHECKING:
    from slt.hookspecs import ModelSpecs
    from slt.lifecycle import LoopMark, Loops

__all__ = ["FitWorker", "fit_inline", "serve"]

_MIB = 1 << 20
_STOP_SECONDS = 5.0
_END_SECONDS = 30.0
"""What a fit may take beyond its time limit: ending the child, its pipes and what listens to them."""
_COMMAND = "from slt.run.fitting import serve; serve()"
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def fit_inline(request: FitRequest, model: ModelSpecs, config: GateConfig) -> FitReport:
    """Carry out a fit here and now, without limits; the report equals that of a `FitWorker`, byte for byte.

    For tests, and for commands that have nothing else to do meanwhile.
    """
    return evaluate(request, model, config)


class FitWorker:
    """A child process that fits, one request at a time.

    Whatever happens to the child (killed, out of memory or time, a plugin that crashes Python) ends in a report
    that refuses and says why; the next fit gets a new child.

    Args:
        model: The model plugin as ``module:class``, importable under this process's ``sys.path``.
        config: Its options, an instance of its `config_class`; picklable.
        gate: The bar for a challenger.
        timeout_seconds: Wall time a fit may take, a cold start of the child included.
        memory_mb: Data memory the child may use in all, MiB; not enforced on Windows and macOS.
        niceness: Added to the child's nice value; not on Windows.
    """

    def __init__(
        self,
        model: str,
        config: object,
        gate: GateConfig,
        *,
        timeout_seconds: float = 120.0,
        memory_mb: int = 2048,
        niceness: int = 10,
    ) -> None:
        self.timeout_seconds = timeout_seconds
        self._setup = _Setup(model, pickle.dumps(config), gate, memory_mb, niceness)
        self._child: _Child | None = None
        self._lock = asyncio.Lock()
        self._mark: LoopMark | None = None

    @property
    def pid(self) -> int | None:
        """Process id of the child; None while there is none."""
        return self._child.process.pid if self._child else None

    def supervise(self, loops: Loops) -> None:
        """Name the fits among a run's supervised loops: one that outlives even its own time limit is late."""
        self._mark = loops.declare(
            "fits", interval_seconds=self.timeout_seconds, deadline_seconds=self.timeout_seconds + _END_SECONDS
        )
        self._mark.rest()

    async def start(self) -> None:
        """Start the child if there is none alive; it imports the plugin while this process goes on."""
        if self._child is not None and self._child.process.poll() is not None:
            await self._drop(grace_seconds=0.0)
        if self._child is None:
            self._child = await asyncio.to_thread(_start_child, self._setup)

    async def fit(self, request: FitRequest) -> FitReport:
        """Carry out one fit; further calls wait for their turn.

        The exchange with the child runs in a thread, so the fit goes on while the event loop is busy.

        Returns:
            The gate's report, or a refusal with the reason why there is none. Never raises for a fault of the fit.
        """
        async with self._lock:
            if self._mark is None:
                return await self._fit(request)
            self._mark.beat()
            try:
                return await self._fit(request)
            finally:
                self._mark.rest()

    async def _fit(self, request: FitRequest) -> FitReport:
        try:
            async with asyncio.timeout(self.timeout_seconds):
                await self.start()
                return await asyncio.to_thread(cast("_Child", self._child).exchange, request)
        except TimeoutError:
            reason = f"the fit took longer than {self.timeout_seconds:g} s"
            await self._drop(grace_seconds=0.0)
        except _ChildError as error:
            reason = str(error)
            await self._drop(grace_seconds=0.0)
        except (EOFError, OSError, pickle.UnpicklingError):
            reason = await self._drop(grace_seconds=_STOP_SECONDS)
        except BaseException:
            # Cancelled in the middle: the child's answer would be taken for the next request's.
            await self._drop(grace_seconds=0.0)
            raise
        return FitReport(request.id, promoted=False, verdict=f"refused: {reason}", is_failed=True)

    async def stop(self) -> None:
        """End the child. A fit under way is refused. Safe to call twice; `start` works again afterwards."""
        child, self._child = self._child, None
        if child is not None:
            await asyncio.to_thread(child.close)

    async def _drop(self, *, grace_seconds: float) -> str:
        child, self._child = self._child, None
        if child is None:
            return "the fit was stopped"
        return await asyncio.to_thread(child.end, grace_seconds)


@frozen
class _Setup:
    """What a child needs before its first request."""

    model: str
    config: bytes
    gate: GateConfig
    memory_mb: int
    niceness: int


class _ChildError(Exception):
    """The child cannot work and says why."""


@define(eq=False)
class _Child:
    """A running child. Its methods block; they run in threads."""

    process: subprocess.Popen[bytes]
    words: deque[str]
    listener: threading.Thread
    is_ready: bool = field(default=False)

    def exchange(self, request: FitRequest) -> FitReport:
        """Send a request and wait for its report.

        Raises:
            _ChildError: The child could not be set up.
            EOFError: The child is gone; or `OSError`, or `pickle.UnpicklingError` for half an answer.
        """
        answers, requests = self._pipes()
        if not self.is_ready:
            problem = pickle.load(answers)  # noqa: S301 - our own child at the other end
            if problem:
                raise _ChildError(problem)
            self.is_ready = True
        pickle.dump(request, requests, protocol=pickle.HIGHEST_PROTOCOL)
        requests.flush()
        return cast("FitReport", pickle.load(answers))  # noqa: S301 - our own child at the other end

    def close(self) -> None:
        """Let the child end by itself; end it if it does not."""
        with contextlib.suppress(OSError):
            self._pipes()[1].close()
        self.end(_STOP_SECONDS)

    def end(self, grace_seconds: float) -> str:
        """Kill the child if it does not end within the grace, release its pipes, and say how it ended."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.process.wait(grace_seconds)
        self.process.kill()
        code = self.process.wait()
        self.listener.join(_STOP_SECONDS)
        for pipe in (*self._pipes(), self.process.stderr):
            with contextlib.suppress(OSError):
                cast("IO[bytes]", pipe).close()
        last = f": {self.words[-1]}" if self.words else ""
        if code < 0:
            return f"the process that fits was ended by {signal.Signals(-code).name}{last}"
        return f"the process that fits ended with exit code {code}{last}"

    def _pipes(self) -> tuple[IO[bytes], IO[bytes]]:
        return cast("IO[bytes]", self.process.stdout), cast("IO[bytes]", self.process.stdin)


def _start_child(setup: _Setup) -> _Child:
    path = os.pathsep.join(entry or os.getcwd() for entry in sys.path)  # noqa: PTH109 - a string among strings
    environment = {**os.environ, "PYTHONPATH": path, **dict.fromkeys(_ONE_THREAD, "1")}
    process = subprocess.Popen(  # noqa: S603 - this interpreter and a constant
        [sys.executable, "-P", "-c", _COMMAND],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment,
        start_new_session=True,
    )
    words: deque[str] = deque(maxlen=20)
    listener = threading.Thread(target=_listen, args=(process.stderr, words), name="slt-fit-stderr", daemon=True)
    listener.start()
    child = _Child(process, words, listener)
    with contextlib.suppress(OSError):  # a child that died at once is found out by the first exchange
        requests = child._pipes()[1]  # noqa: SLF001 - same module
        pickle.dump(setup, requests, protocol=pickle.HIGHEST_PROTOCOL)
        requests.flush()
    return child


def _listen(stream: IO[bytes], words: deque[str]) -> None:
    for line in stream:
        if line.strip():
            words.append(line.decode(errors="replace").strip())


def serve() -> None:
    """Body of the child process: set up, then answer requests until the pipe closes. Not to be called elsewhere."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a plugin prints must not get between the answers
    requests: queue.SimpleQueue[Any] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(os.fdopen(os.dup(0), "rb"), requests), daemon=True).start()
    setup = cast("_Setup", requests.get())
    try:
        model = _build_model(setup)
    except Exception as error:  # noqa: BLE001 - whatever the plugin raises at import is told to the parent
        _answer(answers, f"the model plugin `{setup.model}` cannot be loaded: {type(error).__name__}: {error}")
        return
    _answer(answers, "")
    while True:
        _answer(answers, evaluate(requests.get(), model, setup.gate))


def _receive(stream: IO[bytes], requests: queue.SimpleQueue[Any]) -> None:
    while True:
        try:
            requests.put(pickle.load(stream))  # noqa: S301 - our own parent at the other end
        except (EOFError, OSError, pickle.UnpicklingError):
            os._exit(0)


def _build_model(setup: _Setup) -> ModelSpecs:
    if sys.platform != "win32":
        os.nice(setup.niceness)
        resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    module, _, name = setup.model.partition(":")
    plugin = getattr(importlib.import_module(module), name)(pickle.loads(setup.config))  # noqa: S301 - our own parent
    if sys.platform != "win32":
        hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
        wanted = setup.memory_mb * _MIB
        resource.setrlimit(resource.RLIMIT_DATA, (wanted if hard < 0 else min(wanted, hard), hard))
    return cast("ModelSpecs", plugin)


def _answer(stream: IO[bytes], answer: FitReport | str) -> None:
    pickle.dump(answer, stream, protocol=pickle.HIGHEST_PROTOCOL)
    stream.flush()
