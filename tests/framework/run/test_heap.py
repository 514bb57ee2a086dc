"""What the C library keeps, and gives back."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import sys
import textwrap

import pytest

from slt.run import heap

_CODE = """
    import threading
    from slt.run import heap
    from slt.run.vitals import resident_mib

    shared = heap.share_heaps()
    kept, blocks = [], [bytearray(1000) for _ in range(60_000)]
    kept = blocks[::500]
    del blocks
    before = resident_mib()
    gave = heap.give_back()
    print(int(shared), int(gave), before - resident_mib())
"""


def test_freed_pages_go_back_to_the_system():
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_CODE)], capture_output=True, text=True, check=True, timeout=60
    )
    shared, gave, freed = done.stdout.split()
    if sys.platform == "linux" and shared == "1":
        assert gave == "1"
        assert float(freed) > 10.0, "60 MB were freed, with a block kept every 500 kB"
    else:
        assert gave == "0"


_LARGE = """
    import ctypes, sys
    from slt.run import heap

    Numbers = type("Numbers", (ctypes.Structure,), {"_fields_": [(str(i), ctypes.c_size_t) for i in range(10)]})
    look = getattr(ctypes.CDLL(None), "mallinfo2", None)
    if look is None:
        sys.exit(print("unknown 0"))
    look.restype = Numbers
    mapped = lambda: getattr(look(), "4")
    shared = sys.argv[1] == "shared" and heap.share_heaps()
    freed = bytearray(16 << 20)
    del freed
    before = mapped()
    kept = bytearray(1 << 20)
    print(int(shared), mapped() - before)
"""


@pytest.mark.parametrize("way", ["shared", "as it is"])
def test_large_blocks_stay_out_of_the_heap_though_a_larger_one_was_freed(way):
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(_LARGE), way], capture_output=True, text=True, check=True, timeout=60
    )
    shared, mapped = done.stdout.split()
    if shared == "unknown":
        pytest.skip("this C library does not tell what it has mapped")
    assert (int(mapped) >= 1 << 20) == (shared == "1"), "without it glibc takes such a block from the heap"


def test_nothing_happens_without_glibc(monkeypatch):
    monkeypatch.setattr(heap, "_libc", lambda: None)
    assert heap.share_heaps() is False
    assert heap.give_back() is False


async def test_run_gives_back_again_and_again(monkeypatch):
    calls = asyncio.Queue()
    loop = asyncio.get_running_loop()
    monkeypatch.setattr(heap, "_SECONDS", 0.001)
    monkeypatch.setattr(heap, "give_back", lambda: loop.call_soon_threadsafe(calls.put_nowait, None))
    task = asyncio.ensure_future(heap.keep_small())
    for _ in range(3):
        await calls.get()
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
