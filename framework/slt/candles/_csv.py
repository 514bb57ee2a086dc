"""Rows out of CSV files and of archive zips with one CSV inside, streamed."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

import numpy as np

from slt.candles._frames import Frame, Layout, Table
from slt.candles._layout import headerless_layout, layout_of
from slt.candles.problems import BadFileError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    import pyarrow as pa
    from numpy.typing import NDArray

__all__ = ["csv_frames", "csv_layout"]

_BYTES_A_ROW = 100
_HEAD_BYTES = 65_536


def csv_frames(path: Path, table: Table, window: int) -> Iterator[Frame]:
    """Rows in file order, some `window` rows at a time; a first line that opens with no digit is the header.

    Raises:
        BadFileError: The file is damaged, is no CSV, has other columns, or a cell is no number.
    """
    import pyarrow as pa  # noqa: PLC0415 - heavy, and not needed to import the kernel

    layout, has_header, has_rows = _sniff(path, table)
    if not has_rows:
        return
    try:
        with _open(path) as stream:
            yield from _frames(stream, layout, has_header, window)
    except pa.ArrowException as error:
        reason = _first_bad_line(path, layout, has_header) or str(error).splitlines()[0]
        raise BadFileError(reason) from error


def csv_layout(path: Path, table: Table) -> Layout:
    """The columns of the file.

    Raises:
        BadFileError: The file cannot be read, or has other columns.
    """
    return _sniff(path, table)[0]


def _frames(stream: IO[bytes], layout: Layout, has_header: bool, window: int) -> Iterator[Frame]:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and not needed to import the kernel
    from pyarrow import csv as arrow_csv  # noqa: PLC0415 - heavy, and not needed to import the kernel

    table = layout.table
    types: dict[str, pa.DataType] = dict.fromkeys(layout.wanted, pa.float64())
    types |= {table.time: pa.int64()} | ({"symbol": pa.string()} if layout.has_symbol else {})
    reader = arrow_csv.open_csv(
        stream,
        read_options=arrow_csv.ReadOptions(
            use_threads=False,
            block_size=max(window * _BYTES_A_ROW, 4_096),
            column_names=list(layout.names),
            skip_rows=int(has_header),
        ),
        convert_options=arrow_csv.ConvertOptions(column_types=types, include_columns=list(layout.wanted)),
    )
    row = 1 + int(has_header)
    for batch in reader:
        frame = _decode(batch, layout, row)
        row += len(frame)
        yield frame


def _decode(batch: pa.RecordBatch, layout: Layout, row: int) -> Frame:
    import pyarrow as pa  # noqa: PLC0415 - heavy, and not needed to import the kernel

    table = layout.table
    times = batch.column(0)
    if times.null_count:
        raise pa.ArrowInvalid(f"column `{table.time}` has an empty cell")
    values = np.full((len(table.values) + len(table.optional), len(times)), np.nan)
    for place, name in enumerate((*table.values, *table.optional)):
        if name in layout.wanted:
            values[place] = batch.column(layout.wanted.index(name)).to_numpy(zero_copy_only=False)
    time: NDArray[np.int64] = times.to_numpy().astype(np.int64)
    if not layout.has_symbol:
        return Frame(row, time, values)
    coded = batch.column(len(layout.wanted) - 1).dictionary_encode()
    names = tuple(str(name) for name in coded.dictionary.to_pylist())
    return Frame(row, time, values, coded.indices.to_numpy(zero_copy_only=False).astype(np.int32), names)


@contextmanager
def _open(path: Path) -> Iterator[IO[bytes]]:
    try:
        if path.suffix.lower() != ".zip":
            with path.open("rb") as stream:
                yield stream
            return
        with zipfile.ZipFile(path) as archive, archive.open(_only_csv(archive)) as stream:
            yield stream
    except (OSError, zipfile.BadZipFile, zlib.error, EOFError, RuntimeError, NotImplementedError) as error:
        raise BadFileError(f"cannot be read: {error}") from error


def _only_csv(archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
    if len(names) != 1:
        raise BadFileError(f"must hold exactly one CSV file, holds {len(names)}")
    return names[0]


def _sniff(path: Path, table: Table) -> tuple[Layout, bool, bool]:
    """The columns, whether the first line is a header, and whether any row follows it."""
    with _open(path) as stream:
        line, rest = stream.readline(_HEAD_BYTES), stream.read(_HEAD_BYTES)
    try:
        text = line.decode("utf-8-sig").strip()
    except UnicodeDecodeError:
        raise BadFileError("is not a text file in UTF-8") from None
    if not text:
        raise BadFileError("is empty")
    cells = next(csv.reader([text]))
    if text[0].isdigit() or text[0] == "-":
        return headerless_layout(len(cells), table), False, True
    return layout_of(cells, table), True, bool(rest.strip())


def _first_bad_line(path: Path, layout: Layout, has_header: bool) -> str:
    """Name the first cell that is no number, read slowly, after the fast reader refused."""
    with _open(path) as stream:
        text = io.TextIOWrapper(stream, encoding="utf-8-sig", errors="replace", newline="")
        for line, cells in enumerate(csv.reader(text), start=1):
            if cells and not (has_header and line == 1):
                found = _bad_cell(cells, layout)
                if found:
                    return f"line {line}: {found}"
    return ""


def _bad_cell(cells: list[str], layout: Layout) -> str:
    if len(cells) != len(layout.names):
        return f"{len(cells)} cells, expected {len(layout.names)}"
    for name in layout.wanted:
        cell = cells[layout.names.index(name)].strip()
        if name == layout.table.time and not _is_number(cell, int):
            return f"column `{name}` holds `{cell}`, expected an integer: ms or µs since 1970 UTC"
        if name not in (layout.table.time, "symbol") and cell and not _is_number(cell, float):
            return f"column `{name}` holds `{cell}`, expected a number"
    return ""


def _is_number(cell: str, kind: type[int | float]) -> bool:
    try:
        kind(cell)
    except ValueError:
        return False
    return True
