"""The dense part of a run: candles to features to proposals to predictions, a block at a time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from slt.errors import ModelError, PluginError
from slt.events import Block, View
from slt.loader import build_again
from slt.run.dense_part import DensePart, stitch_features, stitch_signals
from slt.run.warmth import Warmth
from slt.trading.walkforward import checked_predictions
from slt.types import orient

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from slt.hookspecs import Predictor
    from slt.loader import Plugins
    from slt.types import Bars, FeatureBlock, StrategyBlock

__all__ = ["Dense"]

_MOST_PARTS = 8
"""Parts beyond which some are made anew together: each costs a call of every plugin for every block."""


class Dense:
    """Runs the chosen feature sets, strategies and models over blocks.

    A feature set or strategy that raises is not asked again: from there on it gives nothing, and its fault is in
    `faults` for the driver to halt entries.

    A symbol's output depends on its own bars alone. So symbols can join while a run goes on, and a symbol whose past
    turns out to have been another can begin anew: either is a part of its own (`make_part`, `put_in`), whose columns
    take their place among the others.

    Args:
        plugins: The chosen plugins.
        symbols: Column order of the blocks.
        interval_ms: Base interval.

    Attributes:
        symbols: Column order of the blocks now.
        faults: What plugins broke, one line each.
        warmth: Which symbols' features are ready.
    """

    def __init__(self, plugins: Plugins, symbols: tuple[str, ...], interval_ms: int) -> None:
        self.symbols = symbols
        self.faults: list[str] = []
        self._plugins = plugins
        self._interval_ms = interval_ms
        self._models: dict[str, tuple[int, Predictor | None]] = {s.name: (0, None) for s in plugins.strategies}
        self._broken: set[str] = set()
        self._described = {f.name: f.hooks.slt_describe_features() for f in plugins.features}
        self._parts = [DensePart(plugins.features, plugins.strategies, symbols, interval_ms, self._broken, self.faults)]
        self._owners = dict.fromkeys(symbols, self._parts[0])
        self.warmth = Warmth(symbols, interval_ms, self.warmup_bars, is_needed=bool(plugins.features))

    @property
    def names(self) -> tuple[str, ...]:
        """Columns of the model's vector: the chosen sets side by side."""
        return tuple(c.name for columns, _, _, _ in self._described.values() for c in columns)

    @property
    def schema_hash(self) -> str:
        """Identity of the vector: names, order and definitions."""
        text = "\n".join(
            f"{name}: {','.join(c.name for c in columns)}: {definition}"
            for name, (columns, _, _, definition) in self._described.items()
        )
        return hashlib.sha256(text.encode()).hexdigest()[:16]

    @property
    def warmup_bars(self) -> int:
        """Base bars before the first ready row: the slowest set's."""
        return max((bars for _, _, bars, _ in self._described.values()), default=0)

    @property
    def scattered(self) -> tuple[str, ...]:
        """Symbols that are best made anew together with the next ones, because there are many small parts."""
        if len(self._parts) < _MOST_PARTS:
            return ()
        largest = max(self._parts, key=lambda part: len(part.symbols))
        return tuple(symbol for symbol in self.symbols if self._owners[symbol] is not largest)

    def start(self) -> None:
        """Prepare the feature sets; may compile."""
        for part in self._parts:
            part.start()

    def make_part(self, symbols: tuple[str, ...], past: Iterable[Bars]) -> DensePart:
        """A part for some symbols, in fresh instances of the plugins, fed with their past; for `put_in`.

        May run in a thread while blocks are computed.

        Args:
            symbols: Its symbols; may be among those that there are.
            past: Blocks of just these symbols, oldest first.

        Raises:
            PluginError: A plugin cannot be made again, or raised over the past.
        """
        features = tuple(build_again(plugin) for plugin in self._plugins.features)
        strategies = tuple(build_again(plugin) for plugin in self._plugins.strategies)
        part = DensePart(features, strategies, symbols, self._interval_ms, set(self._broken), [])
        part.start()
        for bars in past:
            part.compute(bars)
        if part.faults:
            raise PluginError(f"over the past of {', '.join(symbols)}: {part.faults[0]}")
        return part

    def put_in(self, part: DensePart) -> None:
        """Let a part give its symbols' columns from the next block on; new symbols become the last columns."""
        part.broken, part.faults = self._broken, self.faults
        self.symbols = (*self.symbols, *(symbol for symbol in part.symbols if symbol not in self._owners))
        self._owners.update(dict.fromkeys(part.symbols, part))
        self.warmth.begin_anew(part.symbols)
        owners = set(map(id, self._owners.values()))
        self._parts = [one for one in (*self._parts, part) if id(one) in owners]

    def use_model(self, strategy: str, version: int, artefact: bytes) -> None:
        """Predict with this version from now on; version 0 = UNTRAINED.

        Raises:
            ModelError: The artefact cannot be used; the model before stays.
        """
        self._models[strategy] = (version, self.load_model(artefact)) if version else (0, None)

    def load_model(self, artefact: bytes) -> Predictor:
        """A model ready to predict.

        Raises:
            ModelError: The artefact cannot be used, or no model plugin is chosen.
        """
        if self._plugins.model is None:
            raise ModelError("no model plugin is chosen; choose the one that the run was started with")
        try:
            return self._plugins.model.hooks.slt_load_model(artefact)
        except ModelError:
            raise
        except Exception as error:
            raise ModelError(f"the model cannot be loaded: {type(error).__name__}: {error}") from error

    def compute(self, bars: Bars) -> Block:
        """Features, proposals and predictions for a block of closed bars of all symbols."""
        first = self._parts[0]
        if len(self._parts) == 1 and first.symbols == bars.symbols:
            features, signals = first.compute(bars)
        else:
            features, signals = self._compute_parts(bars)
        self.warmth.note(bars, features.ready)
        names = (plugin.name for plugin in self._plugins.strategies)
        views = tuple(View(name, one) for name, one in zip(names, signals, strict=True))
        return self.predict(Block(bars, features, views), 0)

    def _compute_parts(self, bars: Bars) -> tuple[FeatureBlock, list[StrategyBlock]]:
        columns = {symbol: column for column, symbol in enumerate(bars.symbols)}
        made: list[tuple[FeatureBlock, list[StrategyBlock], list[int], list[int]]] = []
        for part in self._parts:
            features, signals = part.compute(bars.columns([columns[symbol] for symbol in part.symbols]))
            theirs = [place for place, symbol in enumerate(part.symbols) if self._owners[symbol] is part]
            made.append((features, signals, theirs, [columns[part.symbols[place]] for place in theirs]))
        shape = (len(bars), len(bars.symbols))
        whole = stitch_features([(f, theirs, ours) for f, _, theirs, ours in made], shape)
        return whole, [
            stitch_signals([(signals[place], theirs, ours) for _, signals, theirs, ours in made], shape)
            for place in range(len(self._plugins.strategies))
        ]

    def predict(self, block: Block, row: int) -> Block:
        """The block with the predictions of the models in force from `row` on; rows before it are not asked (NaN)."""
        views = tuple(self._predicted(block, view, row) for view in block.views)
        return evolve(block, views=views)

    def snapshot(self) -> dict[str, Any]:
        """State of features and strategies as picklable data."""
        return {
            "symbols": self.symbols,
            "owners": [self._parts.index(self._owners[symbol]) for symbol in self.symbols],
            "parts": [part.snapshot() for part in self._parts],
            "broken": sorted(self._broken),
            "warmth": self.warmth.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `snapshot` gave, after `start`: its symbols are the columns from then on."""
        started = self._parts[0]
        self._parts = [
            started if place == 0 and started.symbols == one["symbols"] else self._make_another(one["symbols"])
            for place, one in enumerate(state["parts"])
        ]
        for part, one in zip(self._parts, state["parts"], strict=True):
            part.restore(one)
        self.symbols = state["symbols"]
        self._owners = {s: self._parts[place] for s, place in zip(self.symbols, state["owners"], strict=True)}
        self._broken.clear()
        self._broken.update(state["broken"])
        self.warmth.begin_anew(self.symbols)
        self.warmth.restore(state["warmth"])

    def _make_another(self, symbols: tuple[str, ...]) -> DensePart:
        part = self.make_part(symbols, ())
        part.broken, part.faults = self._broken, self.faults
        return part

    def _predicted(self, block: Block, view: View, row: int) -> View:
        version, predictor = self._models[view.strategy]
        if version == view.model_version and row > 0:
            return view
        if predictor is None:
            return evolve(view, p_long=None, p_short=None, model_version=0)
        asked = (block.features.fresh | (view.signals.side != 0)) & block.features.ready
        asked[:row] = False
        try:
            p_long = _asked(predictor, block.features, asked, 1)
            p_short = _asked(predictor, block.features, asked, -1)
        except Exception as error:  # noqa: BLE001 # a model may raise anything; positions must stay managed
            self.faults.append(f"model version {version} of `{view.strategy}` failed: {type(error).__name__}: {error}")
            self._models[view.strategy] = (version, None)
            return evolve(view, p_long=None, p_short=None, model_version=0)
        return evolve(view, p_long=p_long, p_short=p_short, model_version=version)


def _asked(predictor: Predictor, features: FeatureBlock, asked: NDArray[np.bool_], side: int) -> NDArray[np.float32]:
    """Predictions for the points asked for, NaN elsewhere."""
    dense = np.full(asked.shape, np.nan, dtype=np.float32)
    rows, columns = np.nonzero(asked)
    if len(rows):
        x = orient(features, rows, columns, np.full(len(rows), side, dtype=np.int8))
        dense[rows, columns] = checked_predictions(predictor, x)
    return dense
