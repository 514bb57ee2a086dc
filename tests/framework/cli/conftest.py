"""The command in the test's own process, and a storage that outlives it."""

from __future__ import annotations

import os
import sys

import pytest

from slt.cli import main

OUTSIDE = ("DATABASE_URL", "RELAXED_SIGNAL_MODE", "NO_COLOR", "COLUMNS")

STORAGE = """
import pickle
from pathlib import Path
from attrs import frozen
from slt import hookimpl
from slt_memory.storage import MemoryStorage, MemoryStorageConfig


@frozen
class FileConfig:
    path: str = "storage.pickle"


class FileStorage(MemoryStorage):
    config_class = FileConfig

    def __init__(self, config):
        super().__init__(MemoryStorageConfig())
        self.path = Path(config.path)

    @hookimpl
    async def slt_open_storage(self):
        if self.path.exists():
            self._records = pickle.loads(self.path.read_bytes())
        await super().slt_open_storage()
        return f"file {self.path}"

    @hookimpl
    async def slt_close_storage(self):
        self.path.write_bytes(pickle.dumps(self._records))
        await super().slt_close_storage()
"""


@pytest.fixture
def slt(tmp_path, monkeypatch, capsys):
    """Run the command in an empty folder: exit code, output, stderr."""
    monkeypatch.chdir(tmp_path)
    for name in [n for n in os.environ if n.startswith(("SLT_", "DISABLE_")) or n in OUTSIDE]:
        monkeypatch.delenv(name)

    def slt(*arguments, **environment):
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        capsys.readouterr()
        with pytest.raises(SystemExit) as left:
            main(arguments)
        out, err = capsys.readouterr()
        return left.value.code, out, err

    return slt


@pytest.fixture
def file_storage(tmp_path, monkeypatch):
    """The storage plugin `file`: as the memory storage, but kept in a file between two commands."""
    info = tmp_path / "site" / "slt_file-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: slt-file\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[slt.storages]\nfile = slt_file:FileStorage\n")
    (tmp_path / "site" / "slt_file.py").write_text(STORAGE)
    monkeypatch.syspath_prepend(tmp_path / "site")
    yield tmp_path / "storage.pickle"
    sys.modules.pop("slt_file", None)
