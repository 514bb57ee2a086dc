"""Runs the commands whose output the documentation shows, and puts the output there.

    python docs/examples.py            run all and rewrite the blocks
    python docs/examples.py NAME ...   only these

A block that follows the line ``<!-- example: NAME -->`` holds the output of the example of that name.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

__all__ = ["EXAMPLES", "Example", "documents", "install", "main", "output_of"]

ROOT = Path(__file__).parents[1]
STRATEGY = ROOT / "docs" / "tutorials" / "slt-first-strategy"
WEBHOOK = ROOT / "docs" / "tutorials" / "slt-webhook-notifier"
_BLOCK = re.compile(r"(<!-- example: (?P<name>[\w-]+) -->\n```text\n)(?P<body>.*?)(?=```\n)", re.DOTALL)


def _whole(lines: list[str]) -> list[str]:
    return lines


def _abridged(lines: list[str]) -> list[str]:
    """A summary without the figures of less use, and with the first and the last model alone."""
    left_out = ("gross pnl", "profit factor", "sharpe", "exposure")
    lines = [line for line in lines if not line.startswith(left_out)]
    models = [line for line in lines if line.startswith("model ")]
    shortened = []
    for line in lines:
        if line not in models or line in {models[0], models[-1]}:
            shortened.append(line)
        elif shortened[-1] != "…":
            shortened.append("…")
    return shortened


def _proposals(lines: list[str]) -> list[str]:
    return [line for line in lines if line.startswith(("trades:", "proposals:"))]


@frozen
class Example:
    """Commands to run in an empty folder with a copy of one config; the output of the last is shown.

    Attributes:
        config: The config, copied as config.toml.
        commands: Arguments of `slt`, one list a command.
        variables: Environment variables.
        keep: Which lines of the output are shown.
        receives: Show what a receiver of webhook notices prints instead.
    """

    config: Path
    commands: tuple[tuple[str, ...], ...]
    variables: dict[str, str] = field(factory=dict)
    keep: Callable[[list[str]], list[str]] = _whole
    receives: bool = False


_RUN = ("run", "--config", "config.toml")
_KEPT = {"SLT_PLUGINS__STORAGE": "postgres"}
_TIGHT = {"SLT_STRATEGIES__BREAKOUT__STOP_FRACTION": "0.005"}
EXAMPLES = {
    "main-run": Example(ROOT / "config.toml", (_RUN,), keep=_abridged),
    "strategy-list": Example(STRATEGY / "config.toml", (("plugins", "list", "--kind", "strategies"),)),
    "strategy-show": Example(STRATEGY / "config.toml", (("plugins", "show", "strategies:breakout"),)),
    "strategy-run": Example(STRATEGY / "config.toml", (_RUN,)),
    "strategy-why": Example(STRATEGY / "config.toml", (_RUN, ("why", "SYN1USDT", "--limit", "2")), _KEPT),
    "strategy-refused": Example(STRATEGY / "config.toml", (_RUN,), _TIGHT, _proposals),
    "strategy-refused-why": Example(
        STRATEGY / "config.toml", (_RUN, ("why", "SYN1USDT", "--limit", "1")), _KEPT | _TIGHT
    ),
    "webhook-list": Example(WEBHOOK / "config.toml", (("plugins", "list", "--kind", "notifiers"),)),
    "webhook-run": Example(WEBHOOK / "config.toml", (_RUN,), receives=True),
}


def install(package: Path, site: Path) -> None:
    """Put a package of one module into a folder as pip would: the module, its metadata and its entry points."""
    project = tomllib.loads((package / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module = project["name"].replace("-", "_")
    info = site / f"{module}-{project['version']}.dist-info"
    info.mkdir(parents=True)
    shutil.copy(package / f"{module}.py", site)
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(head, encoding="utf-8")
    groups = project["entry-points"].items()
    points = "".join(f"[{group}]\n" + "".join(f"{n} = {t}\n" for n, t in names.items()) for group, names in groups)
    (info / "entry_points.txt").write_text(points, encoding="utf-8")


def output_of(example: Example, **variables: str) -> list[str]:
    """Run an example; returns the lines that are to be shown."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for package in (STRATEGY, WEBHOOK):
            install(package, folder / "site")
        shutil.copy(example.config, folder / "config.toml")
        kept = {k: v for k, v in os.environ.items() if not k.startswith("SLT_") and k != "DATABASE_URL"}
        environment = {**kept, "PYTHONPATH": str(folder / "site"), **example.variables, **variables}
        if example.receives:
            return _received(example, folder, environment)
        slt = Path(sysconfig.get_path("scripts")) / "slt"
        output = ""
        for command in example.commands:
            done = subprocess.run(  # noqa: S603 # the commands above
                [slt, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
            )
            if done.returncode:
                raise SystemExit(f"slt {' '.join(command)} left with {done.returncode}: {done.stderr}")
            output = done.stdout
        return example.keep(output.splitlines())


def _received(example: Example, folder: Path, environment: dict[str, str]) -> list[str]:
    """Run an example beside the tutorial's receiver; returns what that prints."""
    receiver = subprocess.Popen(  # noqa: S603 # a file of this folder
        [sys.executable, "-u", WEBHOOK / "receiver.py", environment.get("RECEIVER_PORT", "8765")],
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        printed = receiver.stdout.readline() if receiver.stdout else ""
        address = {"WEBHOOK_URL": printed.split()[-1]}
        slt = Path(sysconfig.get_path("scripts")) / "slt"
        subprocess.run(  # noqa: S603 # as above
            [slt, *example.commands[0]], cwd=folder, env=environment | address, capture_output=True, check=True
        )
    finally:
        receiver.terminate()
    rest = receiver.communicate()[0]
    return example.keep((printed + rest).splitlines())


def documents() -> Iterable[Path]:
    """Every page of the documentation."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def main(names: Sequence[str]) -> int:
    """Rewrite the blocks of the examples named, or of all; returns the exit code."""
    outputs: dict[str, str] = {}

    def renewed(match: re.Match[str]) -> str:
        name = match["name"]
        if names and name not in names:
            return match[0]
        if name not in outputs:
            outputs[name] = "\n".join(output_of(EXAMPLES[name])) + "\n"
        return match[1] + outputs[name]

    for page in documents():
        text = page.read_text(encoding="utf-8")
        page.write_text(_BLOCK.sub(renewed, text), encoding="utf-8")
    sys.stdout.writelines(f"{name}\n" for name in outputs)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
