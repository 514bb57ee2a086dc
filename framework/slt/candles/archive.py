"""The exchange's archive of static candle files: which of them hold a span, and how they get here whole.

Months that are over come as one file, the days after them one by one; a month that is not published yet comes as days
too. A file that is here and agrees with its checksum is not fetched again, one that broke off is gone on with, and
nothing takes its final name before it has been verified.
"""

from __future__ import annotations

import calendar
import hashlib
import random
import re
import threading
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from datetime import date, timedelta
from http.client import HTTPException
from typing import TYPE_CHECKING, TypeVar
from urllib.error import HTTPError, URLError
from urllib.parse import quote
from urllib.request import Request, urlopen

from attrs import define, evolve, field, frozen

from slt.errors import DataError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from http.client import HTTPResponse
    from pathlib import Path

T = TypeVar("T")

__all__ = ["ARCHIVE_HOST", "KINDS", "ArchiveFile", "ArchiveRequest", "Downloaded", "download_archive", "plan_archive"]

ARCHIVE_HOST = "https://data.binance.vision"
"""Where the archive is."""

KINDS = ("klines", "markPriceKlines", "indexPriceKlines", "premiumIndexKlines", "fundingRate")
"""What the archive holds: candles of trades, of marks, of indices and premiums, and funding rates."""

_ROOT = "data/futures/um"
_TRIES = 6
_FIRST_WAIT_S = 0.5
_LONGEST_WAIT_S = 30.0
_TIMEOUT_S = 30.0
_CHUNK = 1 << 18
_NOT_FOUND, _RANGE_WRONG, _PARTIAL, _TOO_MANY = 404, 416, 206, 429
_DIGEST = re.compile(r"[0-9a-fA-F]{64}")


@frozen(kw_only=True)
class ArchiveRequest:
    """What is wanted of the archive.

    Attributes:
        symbols: Exchange names.
        kind: One of `KINDS`.
        interval: Length of the candles, as ``1m``; of no meaning for funding rates.
        first: First day, UTC.
        last: Last day, UTC; days that are not over yet are not in the archive.
    """

    symbols: tuple[str, ...]
    kind: str
    interval: str
    first: date
    last: date


@frozen
class ArchiveFile:
    """One file of the archive.

    Attributes:
        path: Its path below the host.
        name: Its name, under which it is kept.
        days: The days of the same span, to fetch in its place while it is not published; empty for a day.
    """

    path: str
    name: str
    days: tuple[ArchiveFile, ...] = ()


@frozen
class Downloaded:
    """What became of one file.

    Attributes:
        file: The file.
        status: ``new``, ``kept`` (it was here and right), ``unverified`` (new; the archive has no checksum of it) or
            ``absent`` (the archive does not have it).
        size: Bytes on disk.
    """

    file: ArchiveFile
    status: str
    size: int = 0


def plan_archive(request: ArchiveRequest) -> list[ArchiveFile]:
    """The files that hold what is wanted, symbol by symbol, in time order.

    Whole months are taken as months; funding rates come in months only, so the months touched are taken whole.
    """
    return [file for symbol in request.symbols for file in _of_symbol(request, symbol)]


def download_archive(
    request: ArchiveRequest,
    folder: Path,
    *,
    host: str = ARCHIVE_HOST,
    workers: int = 4,
    on_progress: Callable[[int, int, int], None] = lambda _done, _total, _size: None,
    wait_seconds: float = _FIRST_WAIT_S,
) -> list[Downloaded]:
    """Fetch files into a folder, each with its ``.CHECKSUM`` beside it; again after an interruption it goes on.

    Args:
        request: What is wanted.
        folder: Where to; made if it is missing. Candles of trades lie in it, everything else in a folder by its kind.
        host: ``https://host``, of a mirror perhaps.
        workers: Files fetched at the same time.
        on_progress: Told after every file: files done, files known to be wanted, bytes fetched so far.
        wait_seconds: First pause after a failure; doubles up to 30 s.

    Returns:
        One entry for each file, in the order of the plan.

    Raises:
        DataError: With a line for each file that could not be fetched, or was never what its checksum says; or the
            folder cannot be written.
    """
    place = folder if request.kind == "klines" else folder / request.kind
    try:
        place.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"{place}: cannot be made: {error.strerror or error}") from error
    fetcher = _Fetcher(host.rstrip("/"), place, wait_seconds)
    plan = plan_archive(request)
    done: dict[str, Downloaded] = {}
    problems: list[str] = []
    with ThreadPoolExecutor(max(1, workers), thread_name_prefix="archive") as pool:
        running = {pool.submit(fetcher.fetch, file) for file in plan}
        try:
            while running:
                ready, running = wait(running, return_when=FIRST_COMPLETED)
                for future in ready:
                    running |= {pool.submit(fetcher.fetch, day) for day in _settle(future, done, problems)}
                on_progress(len(done) + len(problems), len(done) + len(problems) + len(running), fetcher.fetched)
        except BaseException:
            fetcher.stopped.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if problems:
        raise DataError(*sorted(problems))
    order = {file.name: place for place, file in enumerate(_with_days(plan))}
    return sorted(done.values(), key=lambda one: order[one.file.name])


def _settle(future: Future[Downloaded], done: dict[str, Downloaded], problems: list[str]) -> tuple[ArchiveFile, ...]:
    """Note what became of a file; gives the days to fetch in its place."""
    try:
        one = future.result()
    except DataError as error:
        problems.extend(error.problems)
        return ()
    if one.status == "absent" and one.file.days:
        return one.file.days
    done[one.file.name] = one
    return ()


def _with_days(plan: list[ArchiveFile]) -> Iterator[ArchiveFile]:
    for file in plan:
        yield file
        yield from file.days


def _of_symbol(request: ArchiveRequest, symbol: str) -> Iterator[ArchiveFile]:
    month = request.first.replace(day=1)
    while month <= request.last:
        length = calendar.monthrange(month.year, month.month)[1]
        days = [month + timedelta(days=i) for i in range(length)]
        wanted = [day for day in days if request.first <= day <= request.last]
        if request.kind == "fundingRate":
            yield _file(request, symbol, f"{month:%Y-%m}", "monthly")
        elif len(wanted) == length:
            single = tuple(_file(request, symbol, f"{day:%Y-%m-%d}", "daily") for day in wanted)
            yield evolve(_file(request, symbol, f"{month:%Y-%m}", "monthly"), days=single)
        else:
            yield from (_file(request, symbol, f"{day:%Y-%m-%d}", "daily") for day in wanted)
        month = days[-1] + timedelta(days=1)


def _file(request: ArchiveRequest, symbol: str, moment: str, period: str) -> ArchiveFile:
    word = "fundingRate" if request.kind == "fundingRate" else request.interval
    below = symbol if request.kind == "fundingRate" else f"{symbol}/{request.interval}"
    name = f"{symbol}-{word}-{moment}.zip"
    return ArchiveFile(f"{_ROOT}/{period}/{request.kind}/{below}/{name}", name)


class _GoneError(Exception):
    """The archive does not have it."""


@define
class _Fetcher:
    """Fetches files; shared by the threads.

    Attributes:
        host: Address without a path.
        folder: Where to.
        wait_seconds: First pause after a failure.
        fetched: Bytes fetched so far.
        stopped: Set when the rest is not wanted any more.
    """

    host: str
    folder: Path
    wait_seconds: float
    fetched: int = 0
    stopped: threading.Event = field(factory=threading.Event)
    _lock: threading.Lock = field(factory=threading.Lock)

    def fetch(self, file: ArchiveFile) -> Downloaded:
        """Bring one file here, whole and verified."""
        target = self.folder / file.name
        beside = target.with_name(f"{file.name}.CHECKSUM")
        if target.is_file() and beside.is_file() and _digest_in(beside.read_text("utf-8")) == _digest_of(target):
            return Downloaded(file, "kept", target.stat().st_size)
        try:
            expected = self._expected(file)
            part = target.with_name(f"{file.name}.part")
            self._whole(file, part, expected)
        except _GoneError:
            return Downloaded(file, "absent")
        except OSError as error:
            raise DataError(f"{target}: cannot be written: {error.strerror or error}") from error
        if expected:
            beside.write_text(f"{expected}  {file.name}", encoding="utf-8")
        else:
            beside.unlink(missing_ok=True)
        part.replace(target)
        return Downloaded(file, "new" if expected else "unverified", target.stat().st_size)

    def _expected(self, file: ArchiveFile) -> str:
        """The sha256 that the archive tells; empty where it tells none."""
        try:
            text = self._try(file, lambda: self._read(f"{file.path}.CHECKSUM")).decode("utf-8", errors="replace")
        except _GoneError:
            return ""
        digest = _digest_in(text)
        if not digest:
            raise DataError(f"{self.host}/{file.path}.CHECKSUM: holds no sha256 but `{text[:40]!r}`; try again later")
        return digest

    def _whole(self, file: ArchiveFile, part: Path, expected: str) -> None:
        """Bring the file to `part`; one that is not what the checksum says is fetched once more from the beginning."""
        found = ""
        for _ in range(2):
            self._try(file, lambda: self._append(file, part))
            if not expected or (found := _digest_of(part)) == expected:
                return
            part.unlink()
        raise DataError(
            f"{self.host}/{file.path}: has the sha256 {found}, its checksum says {expected}; try again later"
        )

    def _try(self, file: ArchiveFile, work: Callable[[], T]) -> T:
        """Do it, again with growing pauses where the network or the server failed."""
        cause = ""
        for attempt in range(_TRIES):
            if attempt:
                self._pause(attempt, cause)
            try:
                return work()
            except HTTPError as error:
                error.close()
                if error.code == _NOT_FOUND:
                    raise _GoneError from None
                if error.code < 500 and error.code not in {_TOO_MANY, _RANGE_WRONG}:
                    raise DataError(
                        f"{self.host}/{file.path}: the server answered {error.code}; check the host"
                    ) from None
                cause = f"the server answered {error.code}"
            except (URLError, HTTPException, ConnectionError, TimeoutError) as error:
                cause = str(getattr(error, "reason", "") or error) or type(error).__name__
        raise DataError(f"{self.host}/{file.path}: {cause}, {_TRIES} times; run the same command again to go on")

    def _pause(self, attempt: int, cause: str) -> None:
        ceiling = min(self.wait_seconds * 2.0 ** (attempt - 1), _LONGEST_WAIT_S)
        if self.stopped.wait(ceiling * random.uniform(0.5, 1.0)):  # noqa: S311 # jitter
            raise DataError(f"{self.host}: stopped; {cause}" if cause else f"{self.host}: stopped")

    def _open(self, path: str, headers: dict[str, str]) -> HTTPResponse:
        address = f"{self.host}/{quote(path)}"
        if not address.startswith(("http://", "https://")):
            raise DataError(f"`{self.host}` is no address of an archive; write it as `{ARCHIVE_HOST}`")
        request = Request(address, headers={"User-Agent": "selflearningtrader", **headers})  # noqa: S310 # checked above
        answer: HTTPResponse = urlopen(request, timeout=_TIMEOUT_S)  # noqa: S310 # checked above
        return answer

    def _read(self, path: str) -> bytes:
        with self._open(path, {}) as answer:
            return answer.read(_CHUNK)

    def _append(self, file: ArchiveFile, part: Path) -> None:
        """Go on where an earlier try has ended."""
        held = part.stat().st_size if part.is_file() else 0
        try:
            answer = self._open(file.path, {"Range": f"bytes={held}-"} if held else {})
        except HTTPError as error:
            if error.code == _RANGE_WRONG:
                part.unlink(missing_ok=True)
            raise
        with answer, part.open("ab" if answer.status == _PARTIAL else "wb") as stream:
            length = answer.headers.get("Content-Length")
            count = 0
            while chunk := answer.read(_CHUNK):
                if self.stopped.is_set():
                    raise DataError(f"{self.host}: stopped")
                stream.write(chunk)
                count += len(chunk)
                with self._lock:
                    self.fetched += len(chunk)
        if length is not None and count < int(length):
            raise ConnectionError(f"the connection ended after {count} of {length} bytes")


def _digest_in(text: str) -> str:
    words = text.split()
    return words[0].lower() if words and _DIGEST.fullmatch(words[0]) else ""


def _digest_of(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()
