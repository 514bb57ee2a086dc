"""Where lines go: the screen and the file."""

from __future__ import annotations

import logging
import os
import sys
import time
from collections import deque
from contextlib import suppress
from logging.handlers import RotatingFileHandler
from typing import TYPE_CHECKING, Any, Self, TextIO

from slt.errors import ConfigError
from slt.log.filters import SECRET_NAMES, RepeatAggregator, SecretFilter
from slt.log.loggers import CATEGORIES, FIELDS, LEVELS, ROOT, LogConfig
from slt.log.outlet import Outlet
from slt.log.rendering import category_of, console_renderer, json_renderer, line_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path
    from types import TracebackType

__all__ = ["LogSession", "configure_logging"]

_EARLY_LINES = 1000


def _is_safety(record: logging.LogRecord) -> bool:
    """Whether no level may hide a line."""
    return bool(getattr(record, FIELDS, {}).get("safety")) or record.levelno >= logging.CRITICAL


def _is_safety_line(line: dict[str, Any]) -> bool:
    return bool(line.get("safety")) or line["level"] == "critical"


def _sameness(record: logging.LogRecord) -> str:
    """What makes two lines the same: words before their arguments, channel, and class of the exception."""
    channel = getattr(record, FIELDS, {}).get("channel", "")
    kind = record.exc_info[0].__name__ if record.exc_info and record.exc_info[0] is not None else ""
    return f"{record.msg}|{channel}|{kind}"


def _missed_line(count: int) -> dict[str, Any]:
    text = "lines were not shown, as nobody took them; the log file has them"
    return line_of(logging.makeLogRecord({
        "name": f"{ROOT}.lifecycle", "levelno": logging.WARNING, "levelname": "WARNING", "msg": text,
        FIELDS: {"lines": count},
    }))  # fmt: skip


class _Screen(logging.Handler):
    def __init__(
        self,
        config: LogConfig,
        secrets: SecretFilter,
        render: Callable[[dict[str, Any]], str],
        stream: TextIO | None,
        clock: Callable[[], float],
    ) -> None:
        super().__init__()
        self._levels = {category: LEVELS[getattr(config, category)] for category in (*CATEGORIES, "other")}
        self._secrets = secrets
        self._render = render
        self._outlet = Outlet(stream)
        self._clock = clock
        self._repeats = RepeatAggregator(config.repeat_seconds)
        self.produced = 0
        self.failed = 0

    @property
    def shown(self) -> int:
        return self._outlet.shown

    def emit(self, record: logging.LogRecord) -> None:
        self.produced += 1
        try:
            if _is_safety(record) or record.levelno >= self._levels[category_of(record)]:
                self._show(self._repeats.admit(line_of(record), self._clock(), phrase=_sameness(record)))
        except Exception:  # noqa: BLE001 - whatever a field's repr or the terminal raises must not reach the run
            self.handleError(record)

    def tell(self, *, everything: bool) -> None:
        self.acquire()
        try:
            self._show(self._repeats.flush() if everything else self._repeats.due(self._clock()))
        except (OSError, ValueError):
            self.failed += 1
        finally:
            self.release()

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the standard library's signature
        self.failed += 1

    def _show(self, lines: list[dict[str, Any]]) -> None:
        self._outlet.put([(self._text(line), _is_safety_line(line)) for line in lines])
        if self._outlet.missed and self._outlet.flush():
            missed, self._outlet.missed = self._outlet.missed, 0
            self._outlet.put([(self._text(_missed_line(missed)), True)])

    def _text(self, line: dict[str, Any]) -> str:
        return self._secrets.text(self._render(self._secrets.clean(line))) + "\n"


class _File(RotatingFileHandler):
    def __init__(self, path: Path, config: LogConfig, secrets: SecretFilter) -> None:
        super().__init__(path, maxBytes=config.file_mb << 20, backupCount=config.file_count, encoding="utf-8")
        self._level = LEVELS[config.file_level]
        self._secrets = secrets
        self._render = json_renderer()
        self.failed = 0

    def emit(self, record: logging.LogRecord) -> None:
        if record.levelno >= self._level or _is_safety(record):
            super().emit(record)

    def format(self, record: logging.LogRecord) -> str:
        return self._secrets.text(self._render(self._secrets.clean(line_of(record))))

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802 - the standard library's signature
        self.failed += 1
        if self.failed == 1 and sys.__stderr__ is not None:
            reason = sys.exc_info()[1]
            sys.__stderr__.write(f"the log file `{self.baseFilename}` cannot be written ({reason}); the run goes on\n")


class _Early(logging.Handler):
    """Keeps what was written before there is a file, for the file to come."""

    def __init__(self) -> None:
        super().__init__()
        self.records: deque[logging.LogRecord] = deque(maxlen=_EARLY_LINES)

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


class LogSession:
    """The log while it is set up; a context manager that takes it down again.

    Attributes:
        produced: Lines that reached the log.
        shown: Lines written to the screen.
        failed: Lines that screen or file could not take; the run goes on without them.
    """

    def __init__(self, screen: _Screen, file: _File | None, saved_level: int) -> None:
        self._screen = screen
        self._file = file
        self._early = _Early() if file is None else None
        self._saved_level = saved_level

    def _start(self) -> None:
        for handler in self._handlers():
            logging.getLogger().addHandler(handler)

    def _handlers(self) -> list[logging.Handler]:
        return [handler for handler in (self._screen, self._file, self._early) if handler is not None]

    @property
    def produced(self) -> int:  # noqa: D102 - documented above
        return self._screen.produced

    @property
    def shown(self) -> int:  # noqa: D102 - documented above
        return self._screen.shown

    @property
    def failed(self) -> int:  # noqa: D102 - documented above
        return self._screen.failed + (self._file.failed if self._file else 0)

    def tell_repeats(self) -> None:
        """Show the counts of repeated lines whose window is over; for a driver's once-a-minute duties."""
        self._screen.tell(everything=False)

    def close(self) -> None:
        """Show what is still counted, close the file, and leave the standard library's logging as it was found."""
        global _session  # noqa: PLW0603 - the standard library's logging is one for the process, and so is this
        root = logging.getLogger()
        self._screen.tell(everything=True)
        for handler in self._handlers():
            root.removeHandler(handler)
            with suppress(OSError, ValueError):  # a full disk refuses the last flush too
                handler.close()
        if _session is self:
            root.setLevel(self._saved_level)
            for name in (ROOT, *(f"{ROOT}.{category}" for category in CATEGORIES)):
                logging.getLogger(name).setLevel(logging.NOTSET)
            _session = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


_session: LogSession | None = None


def configure_logging(
    config: LogConfig,
    *,
    terminal: bool,
    file: Path | None,
    stream: TextIO | None = None,
    secret_names: Iterable[str] = (),
    environment: Mapping[str, str] | None = None,
    clock: Callable[[], float] = time.monotonic,
) -> LogSession:
    """Set the log up for this process; a second call replaces the first, and its file begins with what came before it.

    Args:
        config: Levels, repetition, file sizes.
        terminal: Whether a person is watching: lines for people instead of JSON, unless ``config.format`` decides.
        file: Rotating JSON-lines file of everything; its folder is made; None = no file.
        stream: Where the screen's lines go; None = stderr, looked up at every write.
        secret_names: Environment variables to hide besides `SECRET_NAMES`.
        environment: Where their values are read, once, now; None = ``os.environ``.
        clock: Seconds that never go back, for counting repetitions; tests give their own.

    Returns:
        The session; close it at the end, so that counts still open are told.

    Raises:
        ConfigError: The file cannot be opened.
    """
    global _session  # noqa: PLW0603 - as in `LogSession.close`
    environment = os.environ if environment is None else environment
    secrets = SecretFilter(environment, (*SECRET_NAMES, *secret_names))
    people = terminal if config.format == "auto" else config.format == "console"
    render = console_renderer(colors=terminal and not environment.get("NO_COLOR")) if people else json_renderer()
    file_handler = _open_file(file, config, secrets) if file is not None else None
    early: Iterable[logging.LogRecord] = ()
    if _session is not None:
        early = _session._early.records if _session._early is not None else ()  # noqa: SLF001 - of this module
        _session.close()
    _session = LogSession(_Screen(config, secrets, render, stream, clock), file_handler, logging.getLogger().level)
    if file_handler is not None:
        for record in early:
            file_handler.handle(record)
    _session._start()  # noqa: SLF001 - as above
    _set_levels(config, has_file=file is not None)
    return _session


def _open_file(path: Path, config: LogConfig, secrets: SecretFilter) -> _File:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        return _File(path, config, secrets)
    except OSError as error:
        raise ConfigError(f"the log file `{path}` cannot be opened: {error.strerror}; choose another folder") from error


def _set_levels(config: LogConfig, *, has_file: bool) -> None:
    floor = LEVELS[config.file_level] if has_file else logging.CRITICAL
    for category in CATEGORIES:
        logging.getLogger(f"{ROOT}.{category}").setLevel(min(floor, LEVELS[getattr(config, category)]))
    other = LEVELS[config.other]
    logging.getLogger(ROOT).setLevel(min(floor, other))
    # Debug lines of libraries (a compiler's among them) come by the million: only for who asks for them on screen.
    logging.getLogger().setLevel(min(other, max(floor, logging.INFO)))
