"""The dense part of a run: candles to features to proposals to predictions, a block at a time."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from slt.errors import ModelError
from slt.events import Block, View
from slt.run.warmth import Warmth
from slt.trading.walkforward import checked_predictions
from slt.types import VIEW_NAMES, FeatureBlock, StrategyBlock, orient

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from slt.hookspecs import Predictor
    from slt.loader import Loaded, Plugins
    from slt.types import Bars, Column

__all__ = ["Dense"]


class Dense:
    """Runs the chosen feature sets, strategies and models over blocks.

    A feature set or strategy that raises is not asked again: from there on it gives nothing, and its fault is in
    `faults` for the driver to halt entries.

    Args:
        plugins: The chosen plugins.
        symbols: Column order of the blocks.
        interval_ms: Base interval.

    Attributes:
        faults: What plugins broke, one line each; the driver takes them.
        warmth: Which symbols' features are ready.
    """

    def __init__(self, plugins: Plugins, symbols: tuple[str, ...], interval_ms: int) -> None:
        self._plugins = plugins
        self._shape = (symbols, interval_ms)
        self._models: dict[str, tuple[int, Predictor | None]] = {s.name: (0, None) for s in plugins.strategies}
        self._broken: set[str] = set()
        self.faults: list[str] = []
        self._described = {f.name: f.hooks.slt_describe_features() for f in plugins.features}
        self.warmth = Warmth(*self._shape, self.warmup_bars, is_needed=bool(self._described))

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

    def start(self) -> None:
        """Prepare the feature sets; may compile."""
        for plugin in self._plugins.features:
            plugin.hooks.slt_start_features(*self._shape)

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
        """Features, proposals and predictions for a block of closed bars."""
        blocks = [self._features_of(plugin, bars) for plugin in self._plugins.features]
        features = FeatureBlock.join(blocks) if blocks else _no_features(bars)
        self.warmth.note(bars, features.ready)
        views = [View(p.name, self._signals_of(p, bars, features)) for p in self._plugins.strategies]
        return self.predict(Block(bars, features, tuple(views)), 0)

    def predict(self, block: Block, row: int) -> Block:
        """The block with the predictions of the models in force from `row` on; rows before it are not asked (NaN)."""
        views = tuple(self._predicted(block, view, row) for view in block.views)
        return evolve(block, views=views)

    def snapshot(self) -> dict[str, Any]:
        """State of features and strategies as picklable data."""
        features = {p.name: p.hooks.slt_snapshot_features() for p in self._plugins.features}
        strategies = {p.name: p.hooks.slt_snapshot_strategy() for p in self._plugins.strategies}
        return {
            "features": features,
            "strategies": strategies,
            "broken": sorted(self._broken),
            "warmth": self.warmth.snapshot(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `snapshot` gave, after `start`."""
        for plugin in self._plugins.features:
            plugin.hooks.slt_restore_features(state["features"][plugin.name])
        for strategy in self._plugins.strategies:
            strategy.hooks.slt_restore_strategy(state["strategies"][strategy.name])
        self._broken = set(state["broken"])
        if "warmth" in state:  # one made by an earlier version has none
            self.warmth.restore(state["warmth"])

    def _features_of(self, plugin: Loaded[Any], bars: Bars) -> FeatureBlock:
        columns, context_names, _, _ = self._described[plugin.name]
        if plugin.installed.kind + plugin.name not in self._broken:
            try:
                return _checked(plugin.hooks.slt_update_features(bars), bars)
            except Exception as error:  # noqa: BLE001 # a plugin may raise anything; positions must stay managed
                self._break(plugin, "slt_update_features", error)
        return _no_features(bars, columns, context_names)

    def _signals_of(self, plugin: Loaded[Any], bars: Bars, features: FeatureBlock) -> StrategyBlock:
        if plugin.installed.kind + plugin.name not in self._broken:
            try:
                return _checked_signals(plugin.hooks.slt_propose_trades(bars, features), bars)
            except Exception as error:  # noqa: BLE001 # as above
                self._break(plugin, "slt_propose_trades", error)
        return StrategyBlock.quiet((len(bars), len(bars.symbols)))

    def _break(self, plugin: Loaded[Any], hook: str, error: Exception) -> None:
        self._broken.add(plugin.installed.kind + plugin.name)
        self.faults.append(f"{plugin.installed} raised in {hook}: {type(error).__name__}: {error}")

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
        except Exception as error:  # noqa: BLE001 # as above
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


def _no_features(bars: Bars, columns: tuple[Column, ...] = (), context_names: tuple[str, ...] = ()) -> FeatureBlock:
    """Nothing known. Without any feature set every traded bar is ready and fresh; with a broken one none is."""
    shape = (len(bars), len(bars.symbols))
    known = (bars.state == 1) if not columns else np.zeros(shape, dtype=np.bool_)
    return FeatureBlock(
        columns=columns,
        context_names=context_names,
        values=np.full((*shape, len(columns)), np.nan, dtype=np.float32),
        context=np.full((*shape, len(context_names)), np.nan),
        fresh=known,
        ready=known.copy(),
    )


def _checked(block: FeatureBlock, bars: Bars) -> FeatureBlock:
    shape = (len(bars), len(bars.symbols))
    found = (block.values.shape[:2], block.context.shape[:2], block.fresh.shape, block.ready.shape)
    if any(f != shape for f in found):
        raise ValueError(f"found arrays of shapes {found}, every one must begin with {shape}")
    if block.values.dtype != np.float32:
        raise TypeError(f"found values of dtype {block.values.dtype}, allowed is float32")
    return block


def _checked_signals(block: StrategyBlock, bars: Bars) -> StrategyBlock:
    shape = (len(bars), len(bars.symbols))
    for name in ("side", "stop", "target", "reason", *VIEW_NAMES):
        if (found := getattr(block, name).shape) != shape:
            raise ValueError(f"found an array `{name}` of shape {found}, it must be {shape}")
    if ((block.side != 0) & ((block.reason < 0) | (block.reason >= len(block.reasons)))).any():
        raise ValueError("a proposal has a reason code outside `reasons`")
    return block
