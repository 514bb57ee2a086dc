"""How kernels are compiled: parts go into entries, and only entries are cached on disk.

numba keys its cache by the source file of the *entry* alone, so an entry in one module would go on using old machine
code after a part in another module changed. Every entry therefore closes over `SOURCE_DIGEST`, which enters that key
and changes with any source file of the package.
"""

from __future__ import annotations

import logging
import zlib
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, cast

from numba import njit

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["SOURCE_DIGEST", "entry", "has_cache", "part", "stage"]

_P = ParamSpec("_P")
_R = TypeVar("_R")

# IEEE division (NaN and infinity instead of an exception), no fastmath: the same operations in the same order for
# every cut of the input.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "nogil": True, "fastmath": False}
_INNER = {**_OPTIONS, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}


_SOURCES = sorted(Path(__file__).parent.glob("*.py"))


def _digest_of_sources() -> int:
    digest = 0
    for path in _SOURCES:
        digest = zlib.crc32(path.read_bytes(), digest)
    return digest


def _newest_source() -> float:
    return max((path.stat().st_mtime for path in _SOURCES), default=0.0)


SOURCE_DIGEST = _digest_of_sources()
"""CRC-32 of all source files of this package."""


def part(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a building block that only kernels call; the optimiser inlines it where that pays."""
    return cast("Callable[_P, _R]", njit(**_INNER)(function))


def stage(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a long block that one kernel calls once, written into that kernel before types are inferred.

    Compiling the levels between an entry and its parts apart would optimise everything below them once more for each:
    this takes a third off the time.
    """
    return cast("Callable[_P, _R]", njit(inline="always", **_INNER)(function))


def entry(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Compile a kernel that Python calls, cached on disk where any place for a cache is writable.

    The function must close over `SOURCE_DIGEST`; see the module's docstring. numba looks for a place beside the source
    file, then in the user's cache folder (or ``NUMBA_CACHE_DIR``). Without any the kernel is compiled anew per process.
    """
    try:
        return cast("Callable[_P, _R]", njit(cache=True, **_OPTIONS)(function))
    except RuntimeError as error:  # numba's "no locator available": nowhere to write
        logging.getLogger("slt.ict").info("kernels are compiled anew in every process: %s", error)
        return cast("Callable[_P, _R]", njit(**_OPTIONS)(function))


def has_cache(function: Callable[..., Any]) -> bool:
    """Whether machine code of an `entry`, younger than all sources, lies on disk: then nothing is likely to compile."""
    path = getattr(getattr(function, "stats", None), "cache_path", None)
    if path is None:
        return False
    newest = _newest_source()
    return any(file.stat().st_mtime >= newest for file in Path(path).glob(f"*.{function.__name__}-*.nbi"))
