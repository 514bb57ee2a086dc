"""The laws that need another process: the same answers under another hash seed and time zone, and from saved bytes."""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from attrs import define, field

from slt.audit.findings import Finding, broken, holds
from slt.audit.subject import PluginFaultError, Table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from slt.audit.laws import Lab

__all__ = ["OtherProcesses"]

_ENVIRONMENTS: tuple[Mapping[str, str], ...] = (
    {"PYTHONHASHSEED": "1", "TZ": "Asia/Kathmandu"},
    {"PYTHONHASHSEED": "4242", "TZ": "America/Los_Angeles"},
)
_TIMEOUT_S = 600.0


@define
class OtherProcesses:
    """Two processes that do the plugin's work over again; both laws read their answers."""

    _answers: list[Any] | None = field(default=None, init=False)

    def determinism(self, lab: Lab) -> Finding:
        """The law market in other processes, with other hash seeds and time zones, gives the same."""
        for environment, answer in zip(_ENVIRONMENTS, self._ask(lab), strict=True):
            what = "another process with " + ", ".join(f"{k}={v}" for k, v in environment.items())
            if isinstance(answer, str):
                return broken(f"{what}: {answer}")
            found = lab.difference(what, lab.whole, answer["whole"], lab.bars)
            if found:
                return found
        return holds("2 other processes with other hash seeds and time zones")

    def restart(self, lab: Lab) -> Finding:
        """A snapshot's bytes, restored in a new process, go on as if nothing had been."""
        answer = self._ask(lab)[0]
        if isinstance(answer, str):
            return broken(answer)
        cut = _cut(lab)
        bars = lab.bars.rows(cut, lab.rows)
        what = f"restored after {cut} bars in a new process"
        found = lab.difference(what, lab.whole.rows(cut, lab.rows), answer["rest"], bars)
        return found or holds(f"after {cut} bars, {len(answer['state'])} bytes")

    def _ask(self, lab: Lab) -> list[Any]:
        if self._answers is None:
            self._answers = _answers(lab)
        return self._answers


def _cut(lab: Lab) -> int:
    return lab.rows - max(min(lab.rows // 4, 700), 1)


def _answers(lab: Lab) -> list[Any]:
    cut = _cut(lab)
    session = lab.subject.started(lab.bars.symbols)
    session.step(lab.market.rows(0, cut))
    state = session.snapshot()
    try:
        request = pickle.dumps({"path": sys.path}) + pickle.dumps(
            {
                "subject": lab.subject.reference(),
                "market": lab.market,
                "cut": cut,
                "state": pickle.dumps(state),
            }
        )
    except Exception as error:  # noqa: BLE001 # pickle raises whatever the state's own classes raise
        return [f"its state or options cannot be written to bytes: {type(error).__name__}: {error}"] * 2
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "request").write_bytes(request)
        children = [_start(folder, i) for i in range(len(_ENVIRONMENTS))]
        return [_finish(folder, i, child) for i, child in enumerate(children)]


def _start(folder: Path, number: int) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "slt.audit.worker", str(folder / "request"), str(folder / str(number))]
    environment = {**os.environ, **_ENVIRONMENTS[number]}
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)  # noqa: S603 - our own interpreter and module


def _finish(folder: Path, number: int, child: subprocess.Popen[bytes]) -> Any:
    try:
        _, errors = child.communicate(timeout=_TIMEOUT_S)
    except subprocess.TimeoutExpired:
        child.kill()
        child.communicate()
        return f"no answer within {_TIMEOUT_S:g} s"
    if child.returncode != 0:
        last = errors.decode(errors="replace").strip().splitlines()[-1:] or ["without a word"]
        return f"ended with {child.returncode}: {last[0]}"
    answer = pickle.loads((folder / str(number)).read_bytes())  # noqa: S301 - written by our own child
    if "fault" in answer:
        raise PluginFaultError("in another process,", answer["fault"])
    return {"whole": Table(*answer["whole"]), "rest": Table(*answer["rest"]), "state": answer["state"]}
