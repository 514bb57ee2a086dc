from __future__ import annotations

import hashlib
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import pytest

from slt.candles import Candles, write_parquet

if TYPE_CHECKING:
    from pathlib import Path

START = 1_704_067_200_000  # 2024-01-01 00:00 UTC
MINUTE = 60_000
HEADER = (
    "open_time,open,high,low,close,volume,close_time,quote_volume,count,taker_buy_volume,taker_buy_quote_volume,ignore"
)


class Maker:
    """Writes small candle files into a folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def candles(
        self, minutes: int | list[int], *, seed: int = 7, taker: bool = True, interval: int = MINUTE
    ) -> Candles:
        at = np.arange(minutes) if isinstance(minutes, int) else np.array(minutes)
        draws = np.random.default_rng(seed).random((4, 10_000))[:, at]
        opened, close = 100 + draws[0], 100 + draws[1]
        high, low = np.maximum(opened, close) + draws[2], np.minimum(opened, close) - draws[3]
        volume = 10 * draws[2]
        known = volume * draws[3] if taker else np.full(len(at), np.nan)
        return Candles(START + at * interval, np.stack([opened, high, low, close, volume, known]))

    def lines(self, minutes: int | list[int], *, seed: int = 7, unit: int = 1) -> list[str]:
        candles = self.candles(minutes, seed=seed)
        lines = []
        for time, column in zip(candles.open_time.tolist(), candles.values.T.tolist(), strict=True):
            opened, high, low, close, volume, taker = (repr(v) for v in column)
            end = (time + MINUTE) * unit - 1
            cells = [time * unit, opened, high, low, close, volume, end, "1.0", 5, taker, "1.0", 0]
            lines.append(",".join(map(str, cells)))
        return lines

    def text(self, name: str, lines: list[str]) -> Path:
        path = self.folder / name
        path.write_text("\n".join(lines) + "\n")
        return path

    def zip(self, name: str, lines: list[str], checksum: str | None = "") -> Path:
        path = self.folder / name
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(name.replace(".zip", ".csv"), "\n".join(lines))
        if checksum is not None:
            digest = checksum or hashlib.sha256(path.read_bytes()).hexdigest()
            path.with_name(name + ".CHECKSUM").write_text(f"{digest}  {name}")
        return path

    def parquet(self, name: str, candles: Candles, *, taker: bool = True) -> Path:
        path = self.folder / name
        write_parquet(path, [candles], has_taker_volume=taker)
        return path


@pytest.fixture
def maker(tmp_path: Path) -> Maker:
    return Maker(tmp_path)


@pytest.fixture
def header() -> str:
    return HEADER
