"""Candle files: reading, checking, merging and importing them. Imports nothing of slt but types and errors."""

from __future__ import annotations

from slt.candles.blocks import block_times, cut_blocks, read_blocks
from slt.candles.folder import (
    Imported,
    Listed,
    check_files,
    import_files,
    list_folder,
    read_candles,
    write_parquet,
)
from slt.candles.funding import read_funding
from slt.candles.problems import Problems
from slt.candles.scan import CandleFile, Wanted, scan_files
from slt.candles.sources import Source, expand_sources
from slt.candles.stream import VALUE_NAMES, Candles, check_overlaps
from slt.candles.times import interval_name, parse_interval, parse_utc, utc_text

__all__ = [
    "VALUE_NAMES",
    "CandleFile",
    "Candles",
    "Imported",
    "Listed",
    "Problems",
    "Source",
    "Wanted",
    "block_times",
    "check_files",
    "check_overlaps",
    "cut_blocks",
    "expand_sources",
    "import_files",
    "interval_name",
    "list_folder",
    "parse_interval",
    "parse_utc",
    "read_blocks",
    "read_candles",
    "read_funding",
    "scan_files",
    "utc_text",
    "write_parquet",
]
