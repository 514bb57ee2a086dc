"""The plugin under audit: made afresh for every trial, its blocks checked and laid out as named columns."""

from __future__ import annotations

import importlib
import warnings
from typing import TYPE_CHECKING, Any

import numpy as np
import pluggy
from attrs import evolve, field, frozen

from slt._binding import bind_hooks, in_one_line, misfits
from slt._markers import PROJECT_NAME
from slt.errors import PluginError, PluginLoadError
from slt.hookspecs import KINDS
from slt.testing.laws import copy_bars
from slt.testing.markets import blank_features, pick_symbols
from slt.types import VIEW_NAMES, Bars, FeatureBlock, StrategyBlock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from numpy.typing import DTypeLike, NDArray

    from slt.types import Column

    Block = FeatureBlock | StrategyBlock

__all__ = ["AUDITED_KINDS", "Described", "Market", "PluginFaultError", "Session", "Subject", "Table"]

AUDITED_KINDS = ("features", "strategies")
"""Kinds that an audit can judge: those that turn candles into opinions."""

_BLOCKS: dict[str, tuple[type, dict[str, DTypeLike]]] = {
    "features": (FeatureBlock, {"values": np.float32, "context": np.float64, "fresh": np.bool_, "ready": np.bool_}),
    "strategies": (
        StrategyBlock,
        {
            "side": np.int8,
            "stop": np.float64,
            "target": np.float64,
            "reason": np.int16,
            **dict.fromkeys(VIEW_NAMES, np.float32),
        },
    ),
}


class PluginFaultError(PluginError):
    """The plugin raised, or gave something that cannot be judged; the text says which hook and what.

    Args:
        hook: The hook that was called.
        problem: What came of it.
    """

    def __init__(self, hook: str, problem: str) -> None:
        super().__init__(f"{hook} {problem}")


@frozen
class Described:
    """What a feature set says of itself."""

    columns: tuple[Column, ...]
    context_names: tuple[str, ...]
    warmup: int
    definition: str


@frozen(eq=False)
class Market:
    """What a plugin is given: bars, and for a strategy the features beside them."""

    bars: Bars
    features: FeatureBlock | None = None

    def __len__(self) -> int:
        return len(self.bars)

    def rows(self, start: int, stop: int) -> Market:
        """Rows ``start:stop`` as a view."""
        return Market(self.bars.rows(start, stop), self.features.rows(start, stop) if self.features else None)

    def columns(self, indices: list[int]) -> Market:
        """The chosen symbols, copied."""
        return Market(self.bars.columns(indices), pick_symbols(self.features, indices) if self.features else None)

    def copy(self) -> Market:
        """The same in memory of its own, so that a plugin that writes into its input spoils nothing else."""
        everyone = list(range(len(self.bars.symbols)))
        return Market(copy_bars(self.bars), pick_symbols(self.features, everyone) if self.features else None)


@frozen(eq=False)
class Table:
    """What a plugin gave for a market: one array ``[t, s]`` a column, in the plugin's order.

    Attributes:
        columns: Arrays by column name: float, bool, int, or words (the reasons of a strategy).
        values: Names of the model's columns, or of the views.
        context: Names of the columns in price units: a feature set's context, a strategy's stop and target.
    """

    columns: dict[str, NDArray[Any]]
    values: tuple[str, ...]
    context: tuple[str, ...]

    def rows(self, start: int, stop: int) -> Table:
        """Rows ``start:stop``."""
        return evolve(self, columns={name: array[start:stop] for name, array in self.columns.items()})

    def pick(self, indices: list[int]) -> Table:
        """The chosen symbols, in the order given."""
        return evolve(self, columns={name: array[:, indices] for name, array in self.columns.items()})

    @classmethod
    def join(cls, tables: Sequence[Table]) -> Table:
        """Consecutive pieces as one table."""
        first = tables[0]
        columns = {name: np.concatenate([t.columns[name] for t in tables]) for name in first.columns}
        return evolve(first, columns=columns)


@frozen(eq=False)
class Subject:
    """A plugin as an audit sees it.

    Attributes:
        kind: ``features`` or ``strategies``.
        name: The word in config.toml.
        cls: The plugin's class.
        config: Its options.
        interval_ms: Base interval of the markets it is shown.
        feature_sets: The feature sets that a strategy reads; empty for a feature set.
        distribution: Where it comes from.
        version: That distribution's version.
    """

    kind: str
    name: str
    cls: type
    config: Any
    interval_ms: int = 60_000
    feature_sets: tuple[Subject, ...] = ()
    distribution: str = "unknown"
    version: str = "unknown"
    _faults: list[str] = field(factory=list, init=False, repr=False)

    def __str__(self) -> str:
        return f"{self.kind}:{self.name}"

    @property
    def target(self) -> str:
        """``module:class``."""
        return f"{self.cls.__module__}:{self.cls.__qualname__}"

    @property
    def float_tolerance(self) -> float:
        """Largest difference that rounding may make to its floats between cuts, as the plugin declares it; 0 = none."""
        return float(getattr(self.cls, "float_tolerance", 0.0))

    @property
    def is_cross_symbol(self) -> bool:
        """Whether it declares that a symbol's output depends on other symbols."""
        return bool(getattr(self.cls, "cross_symbol", False))

    @property
    def warmup(self) -> int:
        """Base bars before the first ready row: its own, or that of the slowest feature set it reads."""
        if self.kind == "features":
            return self.started(("AAAUSDT",)).describe().warmup
        return max((s.warmup for s in self.feature_sets), default=0)

    def session(self) -> Session:
        """A new instance without any state.

        Raises:
            PluginLoadError: It cannot be made, or does not fit its kind.
        """
        try:
            instance = self.cls(self.config)
        except Exception as error:
            raise PluginLoadError(f"{self} cannot be made: {in_one_line(error)}") from error
        manager = pluggy.PluginManager(PROJECT_NAME)
        manager.add_hookspecs(KINDS[self.kind])
        problem = next(misfits(manager, self.kind, instance), None)
        if problem is not None:
            raise PluginLoadError(f"{self} {problem}")
        manager.register(instance)
        return Session(self, instance, bind_hooks(manager, self.kind, instance))

    def started(self, symbols: tuple[str, ...]) -> Session:
        """A new instance, ready for blocks of these symbols."""
        session = self.session()
        if self.kind == "features":
            session.call("slt_start_features", symbols, self.interval_ms)
        return session

    def run(self, market: Market, spans: Iterable[tuple[int, int]] | None = None) -> Table:
        """What a new instance gives for a market in pieces; None = in one piece.

        Pieces are put together at the end, as the kernel might hold them: an instance that goes on writing into what
        it gave away is found out.
        """
        session = self.started(market.bars.symbols)
        pieces = [session.step(market.rows(a, b)) for a, b in spans or [(0, len(market))]]
        return Table.join([session.lay_out(block) for block in pieces])

    def market(self, bars: Bars) -> Market:
        """These bars with the features that the plugin is to be shown beside them."""
        if self.kind == "features":
            return Market(bars)
        blocks = []
        for subject in self.feature_sets:
            block = subject.started(bars.symbols).step(Market(bars))
            if not isinstance(block, FeatureBlock):
                raise TypeError(f"{subject} is no feature set")
            blocks.append(block)
        return Market(bars, FeatureBlock.join(blocks) if blocks else blank_features(bars))

    def reference(self) -> dict[str, Any]:
        """What another process needs to make the same plugin; see `from_reference`."""
        return {
            "kind": self.kind,
            "name": self.name,
            "target": self.target,
            "config": self.config,
            "interval_ms": self.interval_ms,
        }

    @classmethod
    def from_reference(cls, reference: dict[str, Any]) -> Subject:
        """The plugin of another process, imported by its name."""
        module, _, path = reference["target"].partition(":")
        plugin: Any = importlib.import_module(module)
        for part in path.split("."):
            plugin = getattr(plugin, part)
        return cls(
            kind=reference["kind"],
            name=reference["name"],
            cls=plugin,
            config=reference["config"],
            interval_ms=reference["interval_ms"],
        )


@frozen(eq=False)
class Session:
    """One instance of the plugin at work."""

    subject: Subject
    instance: Any
    hooks: dict[str, Any]

    def call(self, hook: str, *args: Any) -> Any:
        """Call a hook.

        Raises:
            PluginFaultError: It raised.
        """
        try:
            with warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                return self.hooks[hook](*args)
        except (Exception, SystemExit) as error:
            raise PluginFaultError(hook, f"raised {in_one_line(error)}") from error

    def describe(self) -> Described:
        """What a feature set says of itself."""
        return Described(*self.call("slt_describe_features"))

    def step(self, market: Market) -> Block:
        """The plugin's own block for a piece of market, which it may write into, since it is a copy."""
        block: Block = self.judge_shapes(self.given(market.copy()), market)
        return block

    def given(self, market: Market) -> Any:
        """What the plugin gives for exactly this memory, unchecked."""
        if self.subject.kind == "features":
            return self.call("slt_update_features", market.bars)
        return self.call("slt_propose_trades", market.bars, market.features)

    def judge_shapes(self, block: Any, market: Market) -> Any:
        """The block, if it has the shapes that the contract asks for.

        Raises:
            PluginFaultError: It has not; the first wrong array is named.
        """
        hook = "slt_update_features" if self.subject.kind == "features" else "slt_propose_trades"
        wanted, dtypes = _BLOCKS[self.subject.kind]
        if not isinstance(block, wanted):
            raise PluginFaultError(hook, f"gave a {type(block).__name__}, a {wanted.__name__} is needed")
        shape = market.bars.state.shape
        for name in dtypes:
            array, tail = getattr(block, name), _tail(block, name)
            if not isinstance(array, np.ndarray) or array.shape != (*shape, *tail):
                found = array.shape if isinstance(array, np.ndarray) else type(array).__name__
                raise PluginFaultError(hook, f"gave `{name}` of shape {found}, {(*shape, *tail)} is needed")
        return block

    def wrong_dtypes(self, block: Block) -> list[str]:
        """Arrays of another dtype than the contract's, in words."""
        return [
            f"`{name}` has dtype {getattr(block, name).dtype}, {np.dtype(dtype)} is needed"
            for name, dtype in _BLOCKS[self.subject.kind][1].items()
            if getattr(block, name).dtype != dtype
        ]

    def lay_out(self, block: Block) -> Table:
        """The block as named columns."""
        if isinstance(block, FeatureBlock):
            names = block.names
            columns: dict[str, NDArray[Any]] = {name: block.values[:, :, i] for i, name in enumerate(names)}
            columns.update({name: block.context[:, :, i] for i, name in enumerate(block.context_names)})
            return Table({**columns, "fresh": block.fresh, "ready": block.ready}, names, block.context_names)
        words = np.array([*block.reasons, ""], dtype=object)
        known = np.where((block.reason >= 0) & (block.reason < len(block.reasons)), block.reason, len(block.reasons))
        columns = {"side": block.side, "stop": block.stop, "target": block.target, "reason": words[known]}
        columns.update({name: getattr(block, name) for name in VIEW_NAMES})
        return Table(columns, VIEW_NAMES, ("stop", "target"))

    def snapshot(self) -> dict[str, Any]:
        """The plugin's state."""
        name = "slt_snapshot_features" if self.subject.kind == "features" else "slt_snapshot_strategy"
        state: dict[str, Any] = self.call(name)
        return state

    def restore(self, state: dict[str, Any]) -> None:
        """Give a state back."""
        name = "slt_restore_features" if self.subject.kind == "features" else "slt_restore_strategy"
        self.call(name, state)


def _tail(block: Any, name: str) -> tuple[int, ...]:
    if name == "values" and isinstance(block, FeatureBlock):
        return (len(block.columns),)
    if name == "context" and isinstance(block, FeatureBlock):
        return (len(block.context_names),)
    return ()
