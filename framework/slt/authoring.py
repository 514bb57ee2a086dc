"""Two bases for strategy authors who would rather not write array code.

`BarStrategy` hands over one closed bar at a time in plain Python; `DataFrameStrategy` hands over a pandas DataFrame a
symbol, as most authors know it. Both turn what comes back into the `slt.types.StrategyBlock` the kernel works with,
keep what has to be kept between blocks, and give and take snapshots, so that a back-test in blocks of a day and live
trading minute by minute decide the same.

A subclass needs a docstring, a ``config_class`` and one method::

    class Breakout(BarStrategy):
        \"\"\"Buys a new high of the last 60 bars.\"\"\"

        config_class = BreakoutConfig

        def on_bar(self, symbol, bar, features):
            highs = self.memory(symbol).setdefault("highs", [])
            is_new_high = len(highs) == 60 and bar.close > max(highs)
            highs.append(bar.high)
            del highs[:-60]
            if is_new_high:
                return Signal(side=1, stop=bar.close * 0.99, target=bar.close * 1.02, confidence=0.7)
            return None
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from difflib import get_close_matches
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import field, frozen

from slt._block_writer import BlockWriter
from slt._markers import hookimpl
from slt.errors import PluginError
from slt.types import VIEW_NAMES, BarState

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from slt.types import Bars, FeatureBlock, StrategyBlock

__all__ = ["Bar", "BarStrategy", "DataFrameStrategy", "FeatureRow", "Signal"]

_NAN = float("nan")
_ANSWERS = ("side", "stop", "target", "reason", *VIEW_NAMES)
"""Columns that count in the answer of `DataFrameStrategy.on_frame`; the first three cannot be missed silently."""
_VIEW_WORDS = frozenset(name.rpartition("_")[0] for name in VIEW_NAMES)
_NEAR = 0.86
"""Likeness from which a column counts as misspelt: `reasons` is, `season` is not."""
_BAR_COLUMNS = ("open", "high", "low", "close", "volume", "taker_buy_volume")


@frozen
class Bar:
    """One closed bar of one symbol.

    Attributes:
        time: Close time (exclusive end), ms UTC.
        open: First price, quote currency.
        high: Highest price.
        low: Lowest price.
        close: Last price.
        volume: Base units traded.
        taker_buy_volume: Base units bought by takers; NaN where the source does not tell.
    """

    time: int
    open: float
    high: float
    low: float
    close: float
    volume: float
    taker_buy_volume: float


class FeatureRow(Mapping[str, float]):
    """The features of one symbol at one bar, by name: the model's columns and the context columns.

    Attributes:
        fresh: The values were recomputed at this bar.
        ready: Warmed up and without a recent gap; the kernel refuses proposals where it is False.
    """

    __slots__ = ("_at", "_block", "fresh", "ready")

    def __init__(self, block: FeatureBlock, row: int, symbol: int) -> None:
        self._block = block
        self._at = (row, symbol)
        self.fresh = bool(block.fresh[row, symbol])
        self.ready = bool(block.ready[row, symbol])

    def __getitem__(self, name: str) -> float:
        if self._block.has_context(name):
            return float(self._block.context_of(name)[self._at])
        return float(self._block.value(name)[self._at])

    def __iter__(self) -> Iterator[str]:
        yield from self._block.names
        yield from self._block.context_names

    def __len__(self) -> int:
        return len(self._block.columns) + len(self._block.context_names)


@frozen
class Signal:
    """What `BarStrategy.on_bar` answers: an entry, views for positions already open, or both.

    Attributes:
        side: +1 long, -1 short, 0 no entry.
        stop: Protective stop price, on the losing side of the close; needed with a side.
        target: Profit target price, on the winning side of the close; needed with a side.
        reason: One word or short phrase for the decision ledger.
        confidence: Confidence in the side at this bar, [0, 1]; NaN = unknown.
        views: Values in [0, 1] by the names in `slt.types.VIEW_NAMES`; what is left out is unknown (NaN). They hold for
            this bar alone.
    """

    side: int = 0
    stop: float = _NAN
    target: float = _NAN
    reason: str = "signal"
    confidence: float = _NAN
    views: Mapping[str, float] = field(factory=dict)


class BarStrategy(ABC):
    """Base of strategies that look at one bar after the other.

    Args:
        config: An instance of the subclass's ``config_class``; stored as `config`.
    """

    def __init__(self, config: Any) -> None:
        self.config = config
        self._memory: dict[str, dict[str, Any]] = {}

    @abstractmethod
    def on_bar(self, symbol: str, bar: Bar, features: FeatureRow) -> Signal | None:
        """Look at one traded bar of one symbol.

        Called for every traded bar, each symbol's in order; not for minutes without trades or without data. Keep
        whatever must outlive the bar in `memory`, nowhere else, and let a symbol read its own memory alone.

        Args:
            symbol: Exchange name.
            bar: The closed bar.
            features: The chosen feature sets at this bar.

        Returns:
            A `Signal`, or None for nothing.
        """

    def memory(self, symbol: str) -> dict[str, Any]:
        """What this strategy remembers of a symbol, empty at first: picklable values, saved in snapshots."""
        return self._memory.setdefault(symbol, {})

    @hookimpl
    def slt_propose_trades(self, bars: Bars, features: FeatureBlock) -> StrategyBlock:
        """Ask `on_bar` for every traded bar; see `slt.hookspecs.StrategySpecs.slt_propose_trades`.

        Raises:
            PluginError: `on_bar` gave a stop, target or view that cannot be.
        """
        writer = BlockWriter(type(self).__name__, bars)
        columns = np.stack([getattr(bars, name) for name in _BAR_COLUMNS], axis=-1)
        for row, symbol in np.argwhere(bars.state == BarState.TRADED).tolist():
            bar = Bar(int(bars.close_time[row]), *columns[row, symbol].tolist())
            signal = self.on_bar(bars.symbols[symbol], bar, FeatureRow(features, row, symbol))
            if signal is not None:
                self._write(writer, (row, symbol), signal)
        return writer.block()

    @hookimpl
    def slt_snapshot_strategy(self) -> dict[str, Any]:
        """Give the memory of every symbol; see `slt.hookspecs.StrategySpecs.slt_snapshot_strategy`."""
        return {"memory": copy.deepcopy(self._memory)}

    @hookimpl
    def slt_restore_strategy(self, state: dict[str, Any]) -> None:
        """Take back a snapshot; see `slt.hookspecs.StrategySpecs.slt_restore_strategy`."""
        self._memory = copy.deepcopy(state["memory"])

    @staticmethod
    def _write(writer: BlockWriter, at: tuple[int, int], signal: Signal) -> None:
        if signal.side != 0:
            writer.enter(at, signal.side, signal.stop, signal.target, signal.reason)
            writer.rate(at, f"confidence_{'long' if signal.side > 0 else 'short'}", signal.confidence)
        for name, value in signal.views.items():
            writer.rate(at, name, value)


class DataFrameStrategy(ABC):
    """Base of strategies that compute their signals on a pandas DataFrame a symbol.

    The function must be causal: row t of the answer may depend on rows up to t alone (no ``shift(-1)``, no ``bfill``,
    no statistic of the whole frame). Then any cut of the bars into blocks gives the same signals, bit for bit, because
    the row a frame starts at depends on the count of bars since the start of the run and never on the cut. Indicators
    that look back at most `lookback_bars` bars are exact; those with a longer memory (an unlimited ``ewm``) see between
    `lookback_bars` and twice as many.

    Attributes:
        lookback_bars: Bars, the current one included, that every row of the answer can count on once there have been as
            many; at least 2. Set it on the subclass, or on the instance from the config.

    Args:
        config: An instance of the subclass's ``config_class``; stored as `config`.
    """

    lookback_bars: int = 200

    def __init__(self, config: Any) -> None:
        self.config = config
        self._history: dict[str, _History] = {}

    @abstractmethod
    def on_frame(self, symbol: str, frame: pd.DataFrame) -> pd.DataFrame | None:
        """Compute the signals of one symbol.

        Args:
            symbol: Exchange name.
            frame: The symbol's traded bars, oldest first, one row a bar; a copy, free to be changed. Index: close
                time, UTC, rising, with jumps where nothing traded. Columns: ``open``, ``high``, ``low``, ``close``,
                ``volume``, ``taker_buy_volume``, then every feature and context column by name, all float64, then
                ``fresh`` and ``ready``, bool.

        Returns:
            A frame with the same index and the columns ``side`` (+1, -1; 0 or missing for no entry), ``stop`` and
            ``target`` (prices, needed where there is a side), optionally ``reason`` and any of `slt.types.VIEW_NAMES`
            (``confidence_long``, ``confidence_short``, …; a bare ``confidence`` is for `Signal`, not for a frame).
            Other columns are ignored, so the given frame with columns added will do; one that is taken for a misspelt
            name of these is an error. None: no signals.
        """

    @hookimpl
    def slt_propose_trades(self, bars: Bars, features: FeatureBlock) -> StrategyBlock:
        """Ask `on_frame` for every symbol; see `slt.hookspecs.StrategySpecs.slt_propose_trades`.

        Raises:
            PluginError: `on_frame` gave something that is not row-aligned, a misspelt column, or a stop, target or view
                that cannot be.
        """
        writer = BlockWriter(type(self).__name__, bars)
        names = (*_BAR_COLUMNS, *features.names, *features.context_names, "fresh", "ready")
        for symbol in range(len(bars.symbols)):
            rows = np.flatnonzero(bars.state[:, symbol] == BarState.TRADED)
            if rows.size:
                self._propose_for(writer, symbol, rows, names, _table(bars, features, rows, symbol))
        return writer.block()

    @hookimpl
    def slt_snapshot_strategy(self) -> dict[str, Any]:
        """Give the bars kept of every symbol; see `slt.hookspecs.StrategySpecs.slt_snapshot_strategy`."""
        return {symbol: (h.first, h.time.copy(), h.table.copy()) for symbol, h in self._history.items()}

    @hookimpl
    def slt_restore_strategy(self, state: dict[str, Any]) -> None:
        """Take back a snapshot; see `slt.hookspecs.StrategySpecs.slt_restore_strategy`."""
        self._history = {symbol: _History(first, time, table) for symbol, (first, time, table) in state.items()}

    def _propose_for(
        self,
        writer: BlockWriter,
        symbol: int,
        rows: NDArray[np.intp],
        names: tuple[str, ...],
        table: NDArray[np.float64],
    ) -> None:
        name = writer.bars.symbols[symbol]
        time = writer.bars.close_time[rows]
        past = self._history.get(name, _History(0, time[:0], table[:0]))
        new = past.end
        history = _History(past.first, np.concatenate([past.time, time]), np.concatenate([past.table, table]))
        # One call for each stretch of `lookback_bars` bars, counted from the symbol's first bar of the run.
        span = self.lookback_bars
        begin = new
        while begin < history.end:
            end = min((begin // span + 1) * span, history.end)
            window = history.part(begin // span * span - span + 1, end)
            self._ask(writer, symbol, rows[begin - new : end - new], window, names)
            begin = end
        self._history[name] = history.part(history.end // span * span - span + 1, history.end)

    def _ask(
        self, writer: BlockWriter, symbol: int, rows: NDArray[np.intp], window: _History, names: tuple[str, ...]
    ) -> None:
        import pandas as pd  # noqa: PLC0415 - kernel modules load no heavy library before it is needed

        index = pd.to_datetime(window.time, unit="ms", utc=True).rename("close_time")
        frame = pd.DataFrame(window.table.copy(), index=index, columns=list(names))
        frame = frame.astype({"fresh": bool, "ready": bool})
        answer = self.on_frame(writer.bars.symbols[symbol], frame)
        if answer is None:
            return
        who = f"{type(self).__name__}.on_frame"
        if not isinstance(answer, pd.DataFrame):
            raise PluginError(f"{who} gave a {type(answer).__name__}; a DataFrame or None is needed")
        if "side" not in answer.columns or not answer.index.equals(index):
            raise PluginError(f"{who} must keep the frame's index, row by row, and give a column `side`")
        _check_names(who, [c for c in map(str, answer.columns) if c not in names])
        self._write(writer, symbol, rows, answer.iloc[len(answer) - len(rows) :])

    @staticmethod
    def _write(writer: BlockWriter, symbol: int, rows: NDArray[np.intp], answer: pd.DataFrame) -> None:
        def numbers(name: str) -> NDArray[np.float64]:
            if name not in answer.columns:
                return np.full(len(rows), np.nan)
            return answer[name].to_numpy(dtype=np.float64, na_value=np.nan)

        sides = np.nan_to_num(numbers("side"))
        stops, targets = numbers("stop"), numbers("target")
        for i in np.flatnonzero(sides).tolist():
            reason = str(answer["reason"].iloc[i]) if "reason" in answer.columns else "signal"
            writer.enter((int(rows[i]), symbol), sides[i].item(), stops[i].item(), targets[i].item(), reason)
        for name in VIEW_NAMES:
            if name in answer.columns:
                values = numbers(name)
                for i in np.flatnonzero(~np.isnan(values)).tolist():
                    writer.rate((int(rows[i]), symbol), name, values[i].item())


def _check_names(who: str, added: list[str]) -> None:
    """Refuse a column that would be ignored though it is plainly meant to count.

    Raises:
        PluginError: There is one.
    """
    for name in added:
        if name not in _ANSWERS and (meant := _meant_by(name)):
            raise PluginError(
                f"{who} gave a column `{name}`, which is none of an answer's; {meant}; an answer has the columns "
                f"{', '.join(_ANSWERS)}, others are ignored: rename or drop it"
            )


@cache
def _meant_by(name: str) -> str:
    """What a column that is none of an answer's was probably meant to be; empty = something of the author's own."""
    plain = name.strip().casefold()
    words = sorted(plain.split("_"))
    same = [view for view in VIEW_NAMES if sorted(view.split("_")) == words]
    near = same or get_close_matches(plain, _ANSWERS[3:], n=1, cutoff=_NEAR)
    if near:
        return f"did you mean `{near[0]}`"
    if plain in _VIEW_WORDS or "confidence" in plain:
        word = plain if plain in _VIEW_WORDS else "confidence"
        return f"say for which side: `{word}_long` or `{word}_short`"
    return ""


@frozen(eq=False)
class _History:
    """A symbol's latest traded bars; `first` is the number of the oldest kept, counted from the start of the run."""

    first: int
    time: NDArray[np.int64]
    table: NDArray[np.float64]

    @property
    def end(self) -> int:
        return self.first + len(self.time)

    def part(self, begin: int, end: int) -> _History:
        begin = max(begin, self.first)
        span = slice(begin - self.first, end - self.first)
        return _History(begin, self.time[span].copy(), self.table[span].copy())


def _table(bars: Bars, features: FeatureBlock, rows: NDArray[np.intp], symbol: int) -> NDArray[np.float64]:
    """The chosen rows of one symbol as float64 ``[n, columns]``, in the order of a frame's columns."""
    prices = np.stack([getattr(bars, name)[rows, symbol] for name in _BAR_COLUMNS], axis=-1)
    flags = np.stack([features.fresh[rows, symbol], features.ready[rows, symbol]], axis=-1)
    values, context = features.values, features.context  # noqa: PD011 - a field of the block, not a pandas frame
    return np.hstack([prices, values[rows, symbol], context[rows, symbol], flags]).astype(np.float64)
