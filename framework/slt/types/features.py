"""What a feature set gives: the model's columns, the context beside them, and which rows are new and ready."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np
from attrs import field, frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["Column", "FeatureBlock", "Parity", "orient"]


class Parity(StrEnum):
    """How a column changes when all prices are mirrored (long becomes short)."""

    ODD = "odd"
    """Changes sign; the kernel multiplies it by the trade's side before the model sees it."""
    EVEN = "even"
    """Does not change."""
    MIRRORED = "mirrored"
    """Becomes another column, named by `Column.mirror`, which lives in the context."""


@frozen
class Column:
    """One column of the model's vector.

    Attributes:
        name: Unique within the feature set.
        parity: What mirroring the market does to it.
        mirror: Name of the context column that replaces it for shorts; empty unless the parity is MIRRORED.
    """

    name: str
    parity: Parity = Parity.ODD
    mirror: str = ""


@frozen(eq=False)
class FeatureBlock:
    """Features for the same rows and symbols as the `Bars` they were computed from.

    Attributes:
        columns: The model's columns, in vector order; length f.
        context_names: Names of the context columns; length c.
        values: float32 ``[t, s, f]``. NaN until warm and where an input is missing: never a made-up number. Between
            two fresh rows the last values are held.
        context: float64 ``[t, s, c]``, in price units or states; never fed to the model. NaN where unknown.
        fresh: bool ``[t, s]``: the values were recomputed at this row (for `ict`: it closed a 5m candle).
        ready: bool ``[t, s]``: warmed up and without a recent gap; proposals elsewhere are refused by the gate `warm`.
    """

    columns: tuple[Column, ...]
    context_names: tuple[str, ...]
    values: NDArray[np.float32]
    context: NDArray[np.float64]
    fresh: NDArray[np.bool_]
    ready: NDArray[np.bool_]
    _index: dict[str, int] = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        index = {name: i for i, name in enumerate(self.context_names)}
        object.__setattr__(self, "_index", index)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the model's columns, in vector order."""
        return tuple(c.name for c in self.columns)

    def value(self, name: str) -> NDArray[np.float32]:
        """Column `name` of the vector, ``[t, s]``; KeyError where the set has no such column."""
        for i, column in enumerate(self.columns):
            if column.name == name:
                return self.values[:, :, i]
        raise KeyError(f"no feature column `{name}`; there are: {', '.join(self.names)}")

    def has_context(self, name: str) -> bool:
        """Whether a context column of this name exists."""
        return name in self._index

    def context_of(self, name: str) -> NDArray[np.float64]:
        """Context column `name`, ``[t, s]``; KeyError where the set has no such column."""
        if name not in self._index:
            raise KeyError(f"no context column `{name}`; there are: {', '.join(self.context_names)}")
        return self.context[:, :, self._index[name]]

    def rows(self, start: int, stop: int) -> FeatureBlock:
        """Rows ``start:stop`` as a view on the same memory."""
        span = slice(start, stop)
        return FeatureBlock(
            columns=self.columns,
            context_names=self.context_names,
            values=self.values[span],
            context=self.context[span],
            fresh=self.fresh[span],
            ready=self.ready[span],
        )

    @classmethod
    def join(cls, blocks: list[FeatureBlock]) -> FeatureBlock:
        """Several sets side by side, columns in the order given; a row is fresh if any set is, ready if all are.

        Raises:
            ValueError: The list is empty or two sets use one name.
        """
        if not blocks:
            raise ValueError("no feature set to join")
        if len(blocks) == 1:
            return blocks[0]
        columns = tuple(c for b in blocks for c in b.columns)
        context_names = tuple(n for b in blocks for n in b.context_names)
        names = [c.name for c in columns] + list(context_names)
        doubled = sorted({n for n in names if names.count(n) > 1})
        if doubled:
            raise ValueError(f"two feature sets give a column of the same name: {', '.join(doubled)}")
        return cls(
            columns=columns,
            context_names=context_names,
            values=np.concatenate([b.values for b in blocks], axis=2),
            context=np.concatenate([b.context for b in blocks], axis=2),
            fresh=np.logical_or.reduce([b.fresh for b in blocks]),
            ready=np.logical_and.reduce([b.ready for b in blocks]),
        )


def orient(
    block: FeatureBlock, rows: NDArray[np.intp], symbols: NDArray[np.intp], sides: NDArray[np.int8]
) -> NDArray[np.float32]:
    """The model's input for chosen points: the market as seen from the side of the trade.

    Odd columns are multiplied by the side, mirrored columns are replaced by their context partner for shorts, even
    columns stay, so that long and short trades inform one model.

    Args:
        block: The features.
        rows: ``[n]`` row of each point.
        symbols: ``[n]`` column of each point's symbol.
        sides: int8 ``[n]``, +1 long, −1 short.

    Returns:
        float32 ``[n, f]``, C-contiguous, a copy.
    """
    x = block.values[rows, symbols, :].copy()
    short = sides < 0
    for i, column in enumerate(block.columns):
        if column.parity is Parity.ODD:
            x[:, i] *= sides
        elif column.parity is Parity.MIRRORED:
            x[short, i] = block.context_of(column.mirror)[rows[short], symbols[short]]
    return x
