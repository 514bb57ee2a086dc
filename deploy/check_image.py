"""Carry out the Dockerfile's steps in a clean folder of this machine, without a container, and use what comes of them.

::

    python deploy/check_image.py            # a fresh virtual environment, pip install, then the checks
    python deploy/check_image.py --keep     # leave the folder for a look
    python deploy/check_image.py --python /usr/bin/python3

The last one is for an interpreter in a home folder that the user without rights cannot enter.

Only what the Dockerfile copies is there. As root, everything after the installation runs as a user without rights, as
in the image: the doctor compiles the kernels, then a paper run is started, found healthy by the health check, stopped
with SIGTERM, and resumed; neither start compiles anything.
"""

from __future__ import annotations

import argparse
import os
import pwd
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

__all__ = ["copies", "last_steps", "main"]

ROOT = Path(__file__).resolve().parent.parent
USER = "nobody"
"""Stands for the image's own user: one that the system knows, as the embedded PostgreSQL wants."""
CONFIG = """
[run]
name = "image"
mode = "paper"
speed = 60.0
[plugins]
feed = "synthetic"
storage = "postgres"
features = ["ict"]
strategies = ["ema_cross"]
sizer = "fixed_risk"
exits = ["time_stop"]
[feeds.synthetic]
days = 2
"""


def copies(dockerfile: str) -> list[tuple[str, str]]:
    """Source and target of everything that a Dockerfile copies from its context, in order."""
    found = []
    for words in re.findall(r"^COPY (?!--from)(.+)$", dockerfile, re.MULTILINE):
        *sources, target = words.split()
        found += [(source, target) for source in sources]
    return found


def last_steps(dockerfile: str) -> list[str]:
    """What a Dockerfile does as the user of the image, in a shell."""
    return re.findall(r"^RUN (.+)$", dockerfile.rpartition("\nUSER ")[2], re.MULTILINE)


def install(folder: Path, python: str) -> Path:
    """The first stage: copy the sources, make the environment, install. Returns the environment."""
    dockerfile = read_dockerfile()
    source = folder / "src"
    for name, target in copies(dockerfile.rpartition("\nFROM")[0]):
        place = source / (name if target == "./" else target)
        place.parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, place, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, place)
    extras = re.search(r"pip install .*\"\.(\[.*\])\"", dockerfile)
    environment = folder / "opt" / "slt"
    run([python, "-m", "venv", environment])
    run([environment / "bin" / "pip", "install", "--quiet", f".{extras[1] if extras else ''}"], cwd=source)
    shutil.rmtree(source)
    whole_seconds(environment)
    return environment


def whole_seconds(environment: Path) -> None:
    """What building and fetching an image does to the times of files."""
    for path in environment.glob("lib/python3*/site-packages/slt_*/*.py"):
        seconds = int(path.stat().st_mtime)
        os.utime(path, (seconds, seconds))


def read_dockerfile() -> str:
    """The Dockerfile's text."""
    return (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")


def run(command: list[object], **options: object) -> str:
    """Run a command to its end; ends this program where it fails."""
    done = subprocess.run([str(word) for word in command], text=True, capture_output=True, check=False, **options)  # type: ignore[call-overload] # options are its own
    if done.returncode:
        sys.exit(f"{' '.join(map(str, command))} left with {done.returncode}:\n{done.stdout}{done.stderr}")
    return str(done.stdout)


def check(environment: Path, home: Path) -> None:
    """The second stage, as the user of the image."""
    port = free_port()
    kernels = environment / "kernels"
    variables = {
        "PATH": f"{environment}/bin:/usr/bin:/bin",
        "HOME": str(home),
        "SLT_HEALTH__PORT": str(port),
        "NUMBA_CACHE_DIR": str(kernels),
    }
    as_user = {"cwd": home, "env": variables} | (
        {"user": USER, "group": pwd.getpwnam(USER).pw_gid, "extra_groups": []} if is_root() else {}
    )
    (home / "config.toml").write_text(CONFIG, encoding="utf-8")
    say("version", run([environment / "bin" / "slt", "--version"], **as_user).strip())
    say(
        "plugins", f"{len(run([environment / 'bin' / 'slt', 'plugins', 'list'], **as_user).splitlines()) - 1} installed"
    )
    for step in last_steps(read_dockerfile()):
        words = step.replace("/etc/slt/config.toml", str(ROOT / "config.toml")).replace("/tmp", str(home / "tmp"))  # noqa: S108 # a folder of this check instead
        (home / "tmp").mkdir(exist_ok=True)
        own(home / "tmp")
        run(["sh", "-c", words], **as_user)
    compiled = contents(kernels)
    say("compiled ahead", f"{len(compiled)} files of kernels")
    for word in ("started", "resumed"):
        command = [str(environment / "bin" / "slt"), "run", "--config", "config.toml"]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **as_user)  # type: ignore[call-overload] # as above
        wait_for(process, f'"run {word}"')
        ask_health(environment, as_user)
        begun = time.monotonic()
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        if code != 5:
            sys.exit(f"the run left with {code} after SIGTERM, not with 5")
        say(f"run {word}, healthy, stopped", f"exit code 5 after {time.monotonic() - begun:.1f} s")
    if not compiled or contents(kernels) != compiled:
        sys.exit("the kernels that the doctor compiled are not those that a run uses")


def contents(folder: Path) -> dict[str, int]:
    """Every file below a folder, with the time of its last change."""
    return {str(path): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def own(folder: Path) -> None:
    """Give a folder to the user of the image, where that can be done."""
    if is_root():
        shutil.chown(folder, USER)


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    """Read what a process says until it says this; ends this program where it never does."""
    said = []
    for line in process.stderr or ():
        said.append(line)
        if text in line:
            return
    sys.exit(f"the run never said {text}:\n{''.join(said)}")


def ask_health(environment: Path, as_user: dict[str, object]) -> None:
    """The image's health check, until it is content or half a minute has passed."""
    said = ""
    for _ in range(30):
        command = [str(environment / "bin" / "python"), str(ROOT / "deploy" / "healthcheck.py")]
        done = subprocess.run(command, capture_output=True, check=False, **as_user)  # type: ignore[call-overload] # as above
        if done.returncode == 0:
            return
        said = done.stderr.decode()
        time.sleep(1.0)
    sys.exit(f"the health check is not content: {said}")


def free_port() -> int:
    """A port that nothing listens on."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def is_root() -> bool:
    """Whether another user can be taken on."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def say(what: str, result: str) -> None:
    """One line of the result."""
    print(f"{what}: {result}", flush=True)  # noqa: T201 # a program's output


def main() -> None:
    """Carry out the steps."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keep", action="store_true", help="leave the folder")
    parser.add_argument("--python", default=sys.executable, help="the interpreter of the environment")
    given = parser.parse_args()
    folder = Path(tempfile.mkdtemp(prefix="slt-image-"))
    folder.chmod(0o755)
    try:
        environment = install(folder, given.python)
        shutil.copy(ROOT / "deploy" / "healthcheck.py", environment / "healthcheck.py")
        home = folder / "var" / "lib" / "slt"
        home.mkdir(parents=True)
        own(home)
        (environment / "kernels").mkdir()
        own(environment / "kernels")
        check(environment, home)
    finally:
        if not given.keep:
            shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
