"""Services beside a run: started as processes of their own before it, ended with it."""

from __future__ import annotations

import os
import secrets
import signal
import subprocess
import sys
import threading
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import IO, TYPE_CHECKING

import attrs

from slt.errors import ConfigError, PluginError, SltError
from slt.loader import import_plugin
from slt.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Iterator

    from slt.config import Settings

__all__ = ["running_services"]

_START_TIMEOUT_S = 60.0
_STOP_TIMEOUT_S = 10.0
_COMMAND = "from slt.cli import main; main()"
_log = get_logger("lifecycle")


@contextmanager
def running_services(settings: Settings) -> Iterator[None]:
    """Start the services that a configuration chooses, each once the one before is ready, and end them at the end.

    Each is ``slt <name> --config <file>`` in a process group of its own, so that Ctrl-C ends the run first. It reads
    from a pipe that breaks when this process dies, however that happens, and then ends too. Environment variables that
    its options ending in ``_env`` name, and that are not set, get a random value that service and run share: a key to a
    local exchange need not be made up by hand.

    Raises:
        SltError: A service did not start; of the kind that its exit code tells, with its own words.
    """
    with ExitStack() as stack:
        for name in settings.plugins.services:
            stack.enter_context(_running(name, settings))
        yield


@contextmanager
def _running(name: str, settings: Settings) -> Iterator[None]:
    _lend_secrets(name, settings)
    command = [sys.executable, "-c", _COMMAND, name, "--config", str(settings.path), "--with-parent"]
    pipe = subprocess.PIPE
    process = subprocess.Popen(  # noqa: S603 # this interpreter, a name that config has been checked for, and its path
        command, stdin=pipe, stdout=pipe, stderr=pipe, text=True, encoding="utf-8", process_group=0
    )
    readers: list[threading.Thread] = []
    try:
        _log.info("service started", service=name, ready=_first_line(process, name, readers))
        _follow(process, name, readers)
        yield
    finally:
        _end(process)
        for reader in readers:
            reader.join(_STOP_TIMEOUT_S)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def _lend_secrets(name: str, settings: Settings) -> None:
    """Set the variables that a service's options name and that nobody has set."""
    _, cls = import_plugin("services", name)
    given = settings.options.get(("services", name), {})
    for spec in attrs.fields(cls.config_class):  # type: ignore[attr-defined] # `import_plugin` has checked it
        variable = given.get(spec.name, spec.default) if spec.name.endswith("_env") else ""
        if isinstance(variable, str) and variable:
            os.environ.setdefault(variable, secrets.token_hex(32))


def _first_line(process: subprocess.Popen[str], name: str, readers: list[threading.Thread]) -> str:
    """The line with which a service says that it is ready.

    Raises:
        SltError: It ended, or took too long.
    """
    lines: list[str] = []
    reader = threading.Thread(target=lambda: lines.append(_output(process.stdout).readline()), daemon=True)
    reader.start()
    readers.append(reader)
    reader.join(_START_TIMEOUT_S)
    if lines and lines[0]:
        return lines[0].strip()
    if not lines:
        raise SltError(f"service `{name}` was not ready within {_START_TIMEOUT_S:g} s; run `slt {name}` to see why")
    code = process.wait(_STOP_TIMEOUT_S)
    told = [line.removeprefix("slt: ").strip() for line in _output(process.stderr).readlines() if line.strip()]
    error = {ConfigError.exit_code: ConfigError, PluginError.exit_code: PluginError}.get(code, SltError)
    raise error("\n".join(told) or f"service `{name}` ended with exit code {code} and said nothing")


def _follow(process: subprocess.Popen[str], name: str, readers: list[threading.Thread]) -> None:
    """Log what a service says from now on, so that its pipes never fill."""

    def read(stream: IO[str], *, is_error: bool) -> None:
        for line in stream:
            (_log.warning if is_error else _log.info)("service says", service=name, told=line.strip())

    for stream, is_error in ((process.stdout, False), (process.stderr, True)):
        work = partial(read, _output(stream), is_error=is_error)
        readers.append(threading.Thread(target=work, daemon=True))
        readers[-1].start()


def _output(stream: IO[str] | None) -> IO[str]:
    if stream is None:
        raise SltError("a service was started without a pipe to it")
    return stream


def _end(process: subprocess.Popen[str]) -> None:
    """Ask a service to end, and make it end where it does not; what else there is of its group goes with it."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(_STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
