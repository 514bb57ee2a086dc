"""The samples a learner keeps, as arrays: ten thousand take some two MiB, however long a run goes on."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slt.types import Sample

__all__ = ["SampleStore"]

_FIRST_ROWS = 256


class SampleStore:
    """The most recent resolved samples of one kind.

    Args:
        width: Columns of the vector.
        limit: Samples that are kept; those before them are forgotten.
    """

    def __init__(self, width: int, limit: int) -> None:
        self._width = width
        self._limit = limit
        self._most = limit + max(1, limit // 4)
        self._ids: list[str] = []
        self._rows = np.empty(min(_FIRST_ROWS, self._most), _row_type(width))

    def __len__(self) -> int:
        return min(len(self._ids), self._limit)

    def add(self, sample: Sample) -> None:
        """Keep a sample.

        Raises:
            ValueError: It is not resolved, or its vector has another width.
        """
        if sample.resolved_time is None or sample.barrier_r is None:
            raise ValueError(f"sample {sample.id} is not resolved")
        vector = np.frombuffer(sample.features, dtype="<f4")
        if len(vector) != self._width:
            raise ValueError(f"sample {sample.id} is of another schema: it has {len(vector)} columns")
        if len(self._ids) == len(self._rows):
            self._make_room()
        self._rows[len(self._ids)] = (
            sample.time,
            sample.resolved_time,
            sample.barrier_r,
            np.nan if sample.traded_r is None else sample.traded_r,
            np.nan if sample.p_win is None else sample.p_win,
            sample.model_version,
            vector,
        )
        self._ids.append(sample.id)

    def select(self, since: int, until: int) -> tuple[list[str], NDArray[Any]]:
        """The kept samples that were decided on from one time on and whose outcome was known by another.

        Args:
            since: Earliest decision, ms UTC.
            until: Latest resolution, ms UTC.

        Returns:
            Their ids, and as many rows with the fields ``time`` and ``resolved_time`` (int64, ms UTC), ``barrier_r``,
            ``traded_r`` and ``p_win`` (float64, NaN = None), ``model_version`` (int64) and ``x`` (float32 ``[width]``);
            in the order in which they were added.
        """
        first = len(self._ids) - len(self)
        rows = self._rows[first : len(self._ids)]
        chosen = np.flatnonzero((rows["time"] >= since) & (rows["resolved_time"] <= until))
        return [self._ids[first + i] for i in chosen], rows[chosen]

    def __getstate__(self) -> dict[str, Any]:
        """For a snapshot: the rows in use alone."""
        return {**self.__dict__, "_rows": self._rows[: len(self._ids)].copy()}

    def _make_room(self) -> None:
        """Forget what is beyond the limit where that is a quarter of it; otherwise grow."""
        if len(self._ids) >= self._most:
            self._ids = self._ids[-self._limit :]
            self._rows[: self._limit] = self._rows[-self._limit :].copy()
            return
        rows = np.empty(min(max(_FIRST_ROWS, 2 * len(self._rows)), self._most), self._rows.dtype)
        rows[: len(self._ids)] = self._rows
        self._rows = rows


def _row_type(width: int) -> np.dtype[Any]:
    floats = [(name, "<f8") for name in ("barrier_r", "traded_r", "p_win")]
    return np.dtype([("time", "<i8"), ("resolved_time", "<i8"), *floats, ("model_version", "<i8"), ("x", "<f4", width)])
