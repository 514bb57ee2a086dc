"""Memory that the C library keeps after it was given back, so that a run of months stays as small as it is.

Threads that write snapshots, force files to the disk and pack logs each get a heap of their own from glibc, and what
they free stays there. And whoever frees a large block once, as a snapshot is, has all blocks up to its size taken from
the heap from then on, where what is made between two of them keeps the room of the first. So few heaps are shared, and
large blocks stay out of them. Nothing here does anything where the C library is another.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
from typing import NoReturn

__all__ = ["give_back", "keep_small", "share_heaps"]

_ARENA_MAX = -8
"""glibc's number for the greatest count of heaps (``M_ARENA_MAX`` of malloc.h)."""
_MMAP_THRESHOLD = -3
"""glibc's number for the size from which a block is mapped by itself (``M_MMAP_THRESHOLD``); set, it stays there."""
_HEAPS = 2
_LARGE = 256 * 1024
_SECONDS = 60.0


@functools.cache
def _libc() -> ctypes.CDLL | None:
    """The C library, where it is glibc."""
    try:
        library = ctypes.CDLL(None)
        found = library.gnu_get_libc_version, library.mallopt, library.malloc_trim
    except (OSError, AttributeError, TypeError):
        return None
    return library if all(found) else None


def share_heaps() -> bool:
    """Let all threads share few heaps, and map large blocks by themselves; to be called before the threads begin.

    Returns:
        Whether that was possible.
    """
    library = _libc()
    if library is None:
        return False
    return all((library.mallopt(_ARENA_MAX, _HEAPS), library.mallopt(_MMAP_THRESHOLD, _LARGE)))


def give_back() -> bool:
    """Give pages that nothing uses back to the system; takes some milliseconds. Returns whether there were any."""
    library = _libc()
    return library is not None and bool(library.malloc_trim(ctypes.c_size_t(0)))


async def keep_small() -> NoReturn:
    """Give back once a minute, in a thread; until cancelled."""
    while True:
        await asyncio.sleep(_SECONDS)
        await asyncio.to_thread(give_back)
