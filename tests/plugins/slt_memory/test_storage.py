"""The memory storage."""

from __future__ import annotations

import pytest

from slt.testing.storage import StorageConformance
from slt_memory.storage import MemoryStorage, MemoryStorageConfig


class TestMemoryStorage(StorageConformance):
    @pytest.fixture
    def make_storage(self):
        storage = MemoryStorage(MemoryStorageConfig())
        return lambda: storage


async def test_read_before_open_error_says_what_to_do():
    storage = MemoryStorage(MemoryStorageConfig())

    with pytest.raises(Exception, match="not open; call slt_open_storage first"):
        await storage.slt_write_records([])


async def test_open_describes_that_nothing_outlives_the_process():
    assert "nothing outlives the process" in await MemoryStorage(MemoryStorageConfig()).slt_open_storage()
