"""Features and strategies of some of the symbols: a symbol's output depends on its own bars alone, so parts add up."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import evolve

from slt.types import VIEW_NAMES, FeatureBlock, StrategyBlock

if TYPE_CHECKING:
    from slt.loader import Loaded
    from slt.types import Bars, Column

__all__ = ["DensePart", "stitch_features", "stitch_signals"]

_STRATEGY_ARRAYS = ("side", "stop", "target", "reason", *VIEW_NAMES)


class DensePart:
    """The chosen feature sets and strategies over fixed symbols, in instances of their own.

    Args:
        features: The feature sets.
        strategies: The strategies.
        symbols: Columns of the bars that it is given.
        interval_ms: Base interval.
        broken: Plugins that have raised and are not asked again, shared by all parts.
        faults: What they raised, one line each, shared likewise.
    """

    def __init__(
        self,
        features: tuple[Loaded[Any], ...],
        strategies: tuple[Loaded[Any], ...],
        symbols: tuple[str, ...],
        interval_ms: int,
        broken: set[str],
        faults: list[str],
    ) -> None:
        self.symbols = symbols
        self.broken = broken
        self.faults = faults
        self._features = features
        self._strategies = strategies
        self._interval_ms = interval_ms
        self._described = {f.name: f.hooks.slt_describe_features() for f in features}

    def start(self) -> None:
        """Prepare the feature sets; may compile."""
        for plugin in self._features:
            plugin.hooks.slt_start_features(self.symbols, self._interval_ms)

    def compute(self, bars: Bars) -> tuple[FeatureBlock, list[StrategyBlock]]:
        """Features and proposals of a block of closed bars; one block of proposals for each strategy."""
        blocks = [self._features_of(plugin, bars) for plugin in self._features]
        features = FeatureBlock.join(blocks) if blocks else _no_features(bars)
        return features, [self._signals_of(plugin, bars, features) for plugin in self._strategies]

    def snapshot(self) -> dict[str, Any]:
        """State of features and strategies as picklable data."""
        return {
            "symbols": self.symbols,
            "features": {p.name: p.hooks.slt_snapshot_features() for p in self._features},
            "strategies": {p.name: p.hooks.slt_snapshot_strategy() for p in self._strategies},
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `snapshot` gave, after `start`."""
        for plugin in self._features:
            plugin.hooks.slt_restore_features(state["features"][plugin.name])
        for strategy in self._strategies:
            strategy.hooks.slt_restore_strategy(state["strategies"][strategy.name])

    def _features_of(self, plugin: Loaded[Any], bars: Bars) -> FeatureBlock:
        columns, context_names, _, _ = self._described[plugin.name]
        if plugin.installed.kind + plugin.name not in self.broken:
            try:
                return _checked(plugin.hooks.slt_update_features(bars), bars)
            except Exception as error:  # noqa: BLE001 # a plugin may raise anything; positions must stay managed
                self._break(plugin, "slt_update_features", error)
        return _no_features(bars, columns, context_names)

    def _signals_of(self, plugin: Loaded[Any], bars: Bars, features: FeatureBlock) -> StrategyBlock:
        if plugin.installed.kind + plugin.name not in self.broken:
            try:
                return _checked_signals(plugin.hooks.slt_propose_trades(bars, features), bars)
            except Exception as error:  # noqa: BLE001 # as above
                self._break(plugin, "slt_propose_trades", error)
        return StrategyBlock.quiet((len(bars), len(bars.symbols)))

    def _break(self, plugin: Loaded[Any], hook: str, error: Exception) -> None:
        self.broken.add(plugin.installed.kind + plugin.name)
        self.faults.append(f"{plugin.installed} raised in {hook}: {type(error).__name__}: {error}")


def stitch_features(pieces: list[tuple[FeatureBlock, list[int], list[int]]], shape: tuple[int, int]) -> FeatureBlock:
    """One block out of those of parts.

    Args:
        pieces: Each part's block, the columns of it that count, and where they go.
        shape: Rows and symbols of the whole.
    """
    first = pieces[0][0]
    whole = FeatureBlock(
        columns=first.columns,
        context_names=first.context_names,
        values=np.full((*shape, len(first.columns)), np.nan, dtype=np.float32),
        context=np.full((*shape, len(first.context_names)), np.nan),
        fresh=np.zeros(shape, dtype=np.bool_),
        ready=np.zeros(shape, dtype=np.bool_),
    )
    for block, theirs, ours in pieces:
        for name in ("values", "context", "fresh", "ready"):
            getattr(whole, name)[:, ours] = getattr(block, name)[:, theirs]
    return whole


def stitch_signals(pieces: list[tuple[StrategyBlock, list[int], list[int]]], shape: tuple[int, int]) -> StrategyBlock:
    """As `stitch_features`, for one strategy; reason codes become those of all parts' words together."""
    reasons = tuple(dict.fromkeys(word for block, _, _ in pieces for word in block.reasons))
    whole = StrategyBlock.quiet(shape, reasons)
    for block, theirs, ours in pieces:
        codes = np.array([*(reasons.index(word) for word in block.reasons), -1], dtype=np.int16)
        renamed = evolve(block, reason=codes[np.where(block.reason < 0, -1, block.reason)])
        for name in _STRATEGY_ARRAYS:
            getattr(whole, name)[:, ours] = getattr(renamed, name)[:, theirs]
    return whole


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
    for name in _STRATEGY_ARRAYS:
        if (found := getattr(block, name).shape) != shape:
            raise ValueError(f"found an array `{name}` of shape {found}, it must be {shape}")
    if ((block.side != 0) & ((block.reason < 0) | (block.reason >= len(block.reasons)))).any():
        raise ValueError("a proposal has a reason code outside `reasons`")
    return block
