"""What every reader of files gives: rows as arrays, still in the order and the time unit of the file."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["CANDLES", "FUNDING", "Frame", "Layout", "Table", "to_ms", "unit_of"]

_MS_RANGE = (100_000_000_000, 100_000_000_000_000)
_US_RANGE = (_MS_RANGE[1], 1_000 * _MS_RANGE[1])


@frozen
class Table:
    """Which columns a kind of file has.

    Attributes:
        what: The kind, for messages.
        time: Name of the time column.
        values: Names of the number columns that must be there.
        optional: Names of number columns that may be missing; they are read as NaN then.
        aliases: Other names that exchanges write, in lower case, and the name meant.
        headerless: By number of columns, their names in files without a header.
    """

    what: str
    time: str
    values: tuple[str, ...]
    optional: tuple[str, ...]
    aliases: dict[str, str]
    headerless: dict[int, tuple[str, ...]]


_ARCHIVE = (
    "open_time",
    "open",
    "high",
    "low",
    "close",
    "volume",
    "close_time",
    "quote_volume",
    "count",
    "taker_buy_volume",
    "taker_buy_quote_volume",
    "ignore",
)

CANDLES = Table(
    what="candles",
    time="open_time",
    values=("open", "high", "low", "close", "volume"),
    optional=("taker_buy_volume",),
    aliases={"taker_buy_base_volume": "taker_buy_volume", "taker_buy_base_asset_volume": "taker_buy_volume"},
    headerless={6: _ARCHIVE[:6], 12: _ARCHIVE},
)

FUNDING = Table(
    what="funding rates",
    time="funding_time",
    values=("funding_rate",),
    optional=(),
    aliases={"calc_time": "funding_time", "last_funding_rate": "funding_rate"},
    headerless={
        2: ("funding_time", "funding_rate"),
        3: ("funding_time", "funding_interval_hours", "funding_rate"),
    },
)


@frozen
class Layout:
    """The columns found in one file.

    Attributes:
        table: The kind of file.
        names: All columns in file order, normalised.
        has_symbol: Whether a column tells the symbol of each row.
    """

    table: Table
    names: tuple[str, ...]
    has_symbol: bool

    @property
    def wanted(self) -> tuple[str, ...]:
        """Columns to read: time, the values that exist, and the symbol."""
        numbers = tuple(n for n in (*self.table.values, *self.table.optional) if n in self.names)
        return (self.table.time, *numbers, *(("symbol",) if self.has_symbol else ()))


@frozen(eq=False)
class Frame:
    """Some consecutive rows of a file.

    Attributes:
        first_row: Number of the first row as a person counts: the line in a text file, from 1 elsewhere.
        time: int64 ``[n]`` as stored, ms or µs.
        values: float64 ``[k, n]``: `Table.values`, then `Table.optional`; NaN where the file has no number.
        symbol_codes: int32 ``[n]``, index into `symbols`; None without a symbol column.
        symbols: Names in this frame; empty without a symbol column.
    """

    first_row: int
    time: NDArray[np.int64]
    values: NDArray[np.float64]
    symbol_codes: NDArray[np.int32] | None = None
    symbols: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.time)


def unit_of(time: NDArray[np.int64]) -> NDArray[np.int16]:
    """Stamps per millisecond ``[n]``: 1 for ms, 1000 for µs, 0 where a stamp can be neither."""
    unit = np.zeros(len(time), dtype=np.int16)
    unit[(time >= _MS_RANGE[0]) & (time < _MS_RANGE[1])] = 1
    unit[(time >= _US_RANGE[0]) & (time < _US_RANGE[1])] = 1_000
    return unit


def to_ms(time: NDArray[np.int64]) -> NDArray[np.int64]:
    """Stamps of a checked file in ms; its first stamp tells the unit."""
    return time // 1_000 if len(time) and time[0] >= _US_RANGE[0] else time
