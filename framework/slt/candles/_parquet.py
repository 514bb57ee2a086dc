"""Rows out of Parquet files, a bounded number at a time."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from slt.candles._frames import Frame, Layout, Table, to_ms
from slt.candles._layout import layout_of
from slt.candles.problems import BadFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa
    import pyarrow.parquet as pq
    from numpy.typing import NDArray

__all__ = ["parquet_frames", "parquet_layout"]

_WHOLE_GROUP_ROWS = 1_000_000


def parquet_frames(path: Path, table: Table, window: int, after: int | None) -> Iterator[Frame]:
    """Rows in file order.

    A row group is decoded at once and cut into windows that are copied, so that a suspended reader holds no more than
    `window` rows: pyarrow's own iterator would keep the decompressed pages of every column alive. A group longer than a
    window is decoded once for each of its windows; only groups above a million rows go through pyarrow's iterator.

    Args:
        path: The file.
        table: The columns looked for.
        window: Most rows in a frame.
        after: Row groups whose last time lies before it, ms UTC, may be left out; None reads all.

    Raises:
        BadFileError: The file is no Parquet file, is damaged or has other columns.
    """
    with _refusing(path):
        yield from _frames(path, table, window, after)


def parquet_layout(path: Path, table: Table) -> Layout:
    """The columns of the file.

    Raises:
        BadFileError: The file is no Parquet file, is damaged or has other columns.
    """
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy, and not needed to import the kernel

    with _refusing(path), pq.ParquetFile(path) as file:
        return _read_layout(file.schema_arrow, table)[0]


@contextmanager
def _refusing(path: Path) -> Iterator[None]:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and not needed to import the kernel

    try:
        yield
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise BadFileError(f"cannot be read as Parquet: {reason.replace(str(path), path.name)}") from error


def _frames(path: Path, table: Table, window: int, after: int | None) -> Iterator[Frame]:
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy, and not needed to import the kernel

    row = 1
    with pq.ParquetFile(path) as file:
        layout, stored = _read_layout(file.schema_arrow, table)
        columns = [stored[name] for name in layout.wanted]
        groups = file.metadata.num_row_groups
    for group in range(groups):
        with pq.ParquetFile(path) as file:
            rows: int = file.metadata.row_group(group).num_rows
            skip = after is not None and _ends_before(file.metadata.row_group(group), columns[0], after)
        if not skip:
            for frame in _group_frames(path, group, rows, columns=columns, layout=layout, window=window):
                yield Frame(row, frame.time, frame.values, frame.symbol_codes, frame.symbols)
                row += len(frame)
        else:
            row += rows


def _group_frames(
    path: Path, group: int, rows: int, *, columns: list[str], layout: Layout, window: int
) -> Iterator[Frame]:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and not needed to import the kernel
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy, and not needed to import the kernel

    if rows > _WHOLE_GROUP_ROWS:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(window, row_groups=[group], columns=columns, use_threads=False):
                yield _decode(pa.Table.from_batches([batch]).select(columns), layout)
        return
    for offset in range(0, rows, window):
        yield _read_window(path, group, slice(offset, offset + window), columns, layout)


def _read_window(path: Path, group: int, rows: slice, columns: list[str], layout: Layout) -> Frame:
    import pyarrow.parquet as pq  # noqa: PLC0415 - heavy, and not needed to import the kernel

    with pq.ParquetFile(path) as file:
        whole = file.read_row_group(group, columns=columns, use_threads=False).select(columns)
    return _decode(whole.slice(rows.start, rows.stop - rows.start), layout)


def _read_layout(schema: pa.Schema, table: Table) -> tuple[Layout, dict[str, str]]:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and not needed to import the kernel

    layout = layout_of(list(schema.names), table)
    stored = dict(zip(layout.names, schema.names, strict=True))
    for name in layout.wanted:
        kind = schema.field(stored[name]).type
        number = pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)
        if name == table.time and not (pa.types.is_integer(kind) or pa.types.is_timestamp(kind)):
            raise BadFileError(f"column `{stored[name]}` is {kind}, expected integer ms or µs, or a timestamp")
        if name not in (table.time, "symbol") and not number:
            raise BadFileError(f"column `{stored[name]}` is {kind}, expected a number")
    return layout, stored


def _ends_before(group: pq.RowGroupMetaData, column: str, after: int) -> bool:
    for i in range(group.num_columns):
        chunk = group.column(i)
        if chunk.path_in_schema == column:
            stats = chunk.statistics
            if stats is None or not stats.has_min_max or not isinstance(stats.max, int):
                return False
            return int(to_ms(np.array([stats.max]))[0]) < after
    return False


def _decode(data: pa.Table, layout: Layout) -> Frame:
    table = layout.table
    time = _times(data.column(0), table.time)
    values = np.full((len(table.values) + len(table.optional), len(time)), np.nan)
    for place, name in enumerate((*table.values, *table.optional)):
        if name in layout.wanted:
            values[place] = _numbers(data.column(layout.wanted.index(name)))
    if not layout.has_symbol:
        return Frame(0, time, values)
    codes, names = _symbols(data.column(len(layout.wanted) - 1))
    return Frame(0, time, values, codes, names)


def _times(column: pa.ChunkedArray[Any], name: str) -> NDArray[np.int64]:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and not needed to import the kernel

    if column.null_count:
        raise BadFileError(f"column `{name}` has {column.null_count} empty cells")
    if pa.types.is_timestamp(column.type):
        column = column.cast(pa.timestamp("us")).cast(pa.int64())
    times: NDArray[np.int64] = column.cast(pa.int64()).to_numpy().astype(np.int64)
    return times


def _numbers(column: pa.ChunkedArray[Any]) -> NDArray[np.float64]:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and not needed to import the kernel

    numbers: NDArray[np.float64] = column.cast(pa.float64()).to_numpy()
    return numbers


def _symbols(column: pa.ChunkedArray[Any]) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and not needed to import the kernel

    if column.null_count:
        raise BadFileError(f"column `symbol` has {column.null_count} empty cells")
    if not pa.types.is_dictionary(column.type):
        column = column.dictionary_encode()
    chunks = cast("list[pa.DictionaryArray[Any, Any]]", column.unify_dictionaries().chunks)
    names = tuple(str(name) for name in chunks[0].dictionary.to_pylist())
    return np.concatenate([chunk.indices.to_numpy(zero_copy_only=False) for chunk in chunks]).astype(np.int32), names
