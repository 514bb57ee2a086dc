"""Memory that the C library keeps after it was given back, so that a run of months stays as small as it is.

Threads that write snapshots, force files to the disk and pack logs each get a heap of their own from glibc, and what
they free stays there. Nothing here does anything where the C library is another.
"""

from __future__ import annotations

import asyncio
import ctypes
import functools
from typing import NoReturn

__all__ = ["give_back", "keep_small", "share_heaps"]

_ARENA_MAX = -8
"""glibc's number for the greatest count of heaps (``M_ARENA_MAX`` of malloc.h)."""
_HEAPS = 2
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
    """Let all threads share few heaps; to be called before they begin. Returns whether that was possible."""
    library = _libc()
    return library is not None and bool(library.mallopt(_ARENA_MAX, _HEAPS))


def give_back() -> bool:
    """Give pages that nothing uses back to the system; takes some milliseconds. Returns whether there were any."""
    library = _libc()
    return library is not None and bool(library.malloc_trim(ctypes.c_size_t(0)))


async def keep_small() -> NoReturn:
    """Give back once a minute, in a thread; until cancelled."""
    while True:
        await asyncio.sleep(_SECONDS)
        await asyncio.to_thread(give_back)
