"""The laws that features and strategies share: what makes batch and stream one, and keeps the future out of it."""

from __future__ import annotations

import pickle
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
from attrs import define, evolve, field

from slt.audit.findings import Example, broken, difference, holds, skipped
from slt.audit.subject import Market, PluginFaultError
from slt.audit.walks import Walk, make_walk
from slt.testing.laws import cut_points, postpone
from slt.types import Bars, BarState, Parity

if TYPE_CHECKING:
    from slt.audit.findings import Finding
    from slt.audit.subject import Subject, Table
    from slt.types import Column

__all__ = ["Lab", "chunks", "contract", "inputs", "late_bars", "lost_mirror", "prefix", "snapshots", "symbols"]

_SINGLES = 40
_LEAST_ROWS = 400


@define
class Lab:
    """The markets of one audit, made when first asked for, and what the plugin gives for them in one piece.

    Attributes:
        subject: The plugin.
        seed: Of everything random.
        extra_rows: Bars of the law market beyond the warm-up.
        leak_rows: Bars of the walks of the leak test beyond the warm-up.
        starts: Start points of the coupling law.
        data: Bars of the user's that take the place of the law market; None = a random walk.
        trials: How often laws are asked that cut the market somewhere else each time.
    """

    subject: Subject
    seed: int = 1
    extra_rows: int = 2_500
    leak_rows: int = 20_000
    starts: int = 500
    data: Bars | None = None
    trials: int = 3
    _made: dict[str, Any] = field(factory=dict, init=False)

    @property
    def warmup(self) -> int:
        """Declared warm-up in base bars."""
        return int(self._once("warmup", lambda: self.subject.warmup))

    @property
    def rows(self) -> int:
        """Length of the law market."""
        return len(self.data) if self.data is not None else self.warmup + self.extra_rows

    @property
    def bars(self) -> Bars:
        """The law market: with holes, long enough for the warm-up."""
        data = self.data
        return self._once("bars", lambda: self.walk(1).bars if data is None else data)  # type: ignore[no-any-return] # as made

    @property
    def market(self) -> Market:
        """The law market with the features that a strategy reads."""
        return self._once("market", lambda: self.subject.market(self.bars))  # type: ignore[no-any-return] # as made

    @property
    def whole(self) -> Table:
        """What the plugin gives for the law market in one piece."""
        return self._once("whole", lambda: self.subject.run(self.market))  # type: ignore[no-any-return] # as made

    def walk(self, number: int, rows: int | None = None, symbols: int = 3, **options: Any) -> Walk:
        """The numbered walk of this audit."""
        seed = self.seed * 1_000 + number
        length = self.rows if rows is None else rows
        return make_walk(length, symbols, seed=seed, interval_ms=self.subject.interval_ms, **options)

    def rng(self, number: int) -> np.random.Generator:
        """The numbered source of random cuts of this audit."""
        return np.random.default_rng([self.seed, number])

    def difference(self, what: str, expected: Table, actual: Table, bars: Bars) -> Finding | None:
        """Compare within the plugin's declared tolerance."""
        return difference(what, expected, actual, bars, self.subject.float_tolerance)

    def _once(self, key: str, make: Any) -> Any:
        if key not in self._made:
            try:
                self._made[key] = make()
            except PluginFaultError as fault:
                self._made[key] = fault
        if isinstance(self._made[key], PluginFaultError):
            raise self._made[key]
        return self._made[key]


def contract(lab: Lab) -> Finding:
    """Names are unique, dtypes are the contract's, nothing is infinite, and the plugin says anything at all."""
    subject = lab.subject
    if not 0.0 <= subject.float_tolerance <= 1e-6:
        return broken(f"float_tolerance is {subject.float_tolerance}, allowed is 0 to 1e-6")
    session = subject.started(lab.bars.symbols)
    piece = lab.market.rows(0, min(300, lab.rows))
    block = session.judge_shapes(session.given(piece.copy()), piece)
    problems = session.wrong_dtypes(block)
    if problems:
        return broken("; ".join(problems))
    if subject.kind == "features":
        described = session.describe()
        names = [c.name for c in described.columns] + list(described.context_names)
        doubled = sorted({n for n in names if names.count(n) > 1})
        if doubled:
            return broken(f"two columns have one name: {', '.join(doubled)}")
        given = (getattr(block, "columns", ()), getattr(block, "context_names", ()))
        lost = lost_mirror(described.columns, described.context_names)
        if lost:
            return broken(lost)
        if given != (described.columns, described.context_names):
            return broken("the columns of the blocks are not those that were described")
    return _numbers(lab)


def lost_mirror(columns: tuple[Column, ...], context_names: tuple[str, ...]) -> str:
    """What is wrong with the first mirrored column that has no partner in the context; empty where none is."""
    for column in columns:
        if column.parity is Parity.MIRRORED and column.mirror not in context_names:
            return f"column `{column.name}` mirrors into `{column.mirror}`, which is no context column"
    return ""


def _numbers(lab: Lab) -> Finding:
    table = lab.whole
    floats = {name: a for name, a in table.columns.items() if a.dtype.kind == "f"}
    for name, array in floats.items():
        if np.isinf(array).any():
            row, symbol = np.argwhere(np.isinf(array))[0].tolist()
            place = (int(lab.bars.close_time[row]), lab.bars.symbols[symbol])
            return broken("a value is infinite", Example(*place, name, str(array[row, symbol]), "a number or nan"))
    silent = [name for name in table.values if np.isnan(table.columns[name]).all()]
    spoken = "side" in table.columns and table.columns["side"].any()
    if len(silent) == len(table.values) and not spoken:
        return broken("nothing but NaN on the whole market: nothing could be judged; show it more bars or its features")
    if lab.subject.kind == "features" and silent and lab.data is None:
        return broken(f"never known on the whole market: {', '.join(silent)}")
    return holds(f"{len(table.columns)} outputs on {lab.rows} bars of {len(lab.bars.symbols)} symbols")


def chunks(lab: Lab) -> Finding:
    """Chunk invariance: f(A) ++ f(B) == f(A ++ B) for any cut, down to single bars."""
    rng = lab.rng(1)
    rows = lab.rows
    for trial in range(lab.trials):
        spans = _with_singles(cut_points(rows, 25, rng), int(rng.integers(0, max(rows - _SINGLES, 1))), rows)
        found = lab.difference(
            f"cut into {len(spans)} blocks, trial {trial + 1}", lab.whole, lab.subject.run(lab.market, spans), lab.bars
        )
        if found:
            return found
    return holds(f"{lab.trials} x 25 random cuts and {_SINGLES} single bars, {_exactly(lab)}")


def _with_singles(spans: list[tuple[int, int]], first: int, rows: int) -> list[tuple[int, int]]:
    edges = {a for span in spans for a in span} | set(range(first, min(first + _SINGLES, rows) + 1))
    return list(pairwise(sorted(edges)))


def prefix(lab: Lab) -> Finding:
    """Causality: rows up to t are the same on a prefix, and whatever comes after t."""
    rng = lab.rng(2)
    low = min(lab.warmup + 10, lab.rows // 2)
    cuts = sorted(rng.integers(low, lab.rows - 1, 2 * lab.trials).tolist())
    for number, cut in enumerate(cuts):
        bars = lab.bars.rows(0, cut)
        found = lab.difference(
            f"the first {cut} bars alone", lab.whole.rows(0, cut), lab.subject.run(lab.subject.market(bars)), bars
        )
        if found is None and number < lab.trials:
            changed = _other_future(lab, cut, number)
            table = lab.subject.run(lab.subject.market(changed))
            found = lab.difference(
                f"another future from bar {cut} on", lab.whole.rows(0, cut), table.rows(0, cut), bars
            )
        if found:
            return found
    return holds(f"{len(cuts)} prefixes and {lab.trials} other futures, {_exactly(lab)}")


def _other_future(lab: Lab, cut: int, number: int) -> Bars:
    """The same bars up to `cut`, behind it a wilder walk that goes on at the same prices and times."""
    before, after = lab.bars.rows(0, cut), lab.bars.rows(cut, lab.rows)
    walk = lab.walk(20 + number, len(after), len(after.symbols), volatility=0.004).bars
    last = [_last_close(before, s) for s in range(len(before.symbols))]
    factor = np.array(last) / walk.open[0]
    prices: dict[str, Any] = {name: getattr(walk, name) * factor for name in ("open", "high", "low", "close")}
    future = evolve(walk, symbols=before.symbols, close_time=after.close_time, **prices)
    return Bars.concatenate([before, future])


def _last_close(bars: Bars, symbol: int) -> float:
    known = bars.close[~np.isnan(bars.close[:, symbol]), symbol]
    return float(known[-1]) if known.size else 100.0


def snapshots(lab: Lab) -> Finding:
    """A snapshot taken anywhere, written to bytes and restored into a new instance, goes on as if nothing had been."""
    rng = lab.rng(3)
    cuts = [3, *sorted(rng.integers(10, lab.rows - 10, lab.trials).tolist()), lab.rows - 5]
    for cut in cuts:
        found = _snapshot_at(lab, cut)
        if found:
            return found
    return holds(f"after {', '.join(map(str, cuts))} bars, {_exactly(lab)}")


def _snapshot_at(lab: Lab, cut: int) -> Finding | None:
    market, subject = lab.market, lab.subject
    rest = market.rows(cut, lab.rows)
    first = subject.started(market.bars.symbols)
    first.step(market.rows(0, cut))
    state = first.snapshot()
    try:
        frozen = pickle.dumps(state)
    except Exception as error:  # noqa: BLE001 # pickle raises whatever the state's own classes raise
        return broken(f"the snapshot cannot be written to bytes: {type(error).__name__}: {error}")
    went_on = first.lay_out(first.step(rest))
    if pickle.dumps(state) != frozen:
        return broken(f"the snapshot after {cut} bars changed while the instance went on: give copies")
    what = f"an instance that gave a snapshot after {cut} bars"
    found = lab.difference(what, lab.whole.rows(cut, lab.rows), went_on, rest.bars)
    if found:
        return found
    second = subject.started(market.bars.symbols)
    second.restore(pickle.loads(frozen))  # noqa: S301 - bytes made three lines above
    return lab.difference(f"restored after {cut} bars", went_on, second.lay_out(second.step(rest)), rest.bars)


def inputs(lab: Lab) -> Finding:
    """Bars and features belong to the kernel: they are as before, and so is every block the plugin gave away."""
    market = lab.market.rows(0, max(min(lab.rows, lab.warmup + 200), lab.rows // 2))
    session = lab.subject.started(market.bars.symbols)
    given = market.copy()
    block = session.judge_shapes(session.given(given), market)
    for owner, before, after in _owned(market, given):
        changed = ~((before == after) | ((before != before) & (after != after)))  # noqa: PLR0124 - NaN, and text is no number
        if changed.any():
            name, at = owner, np.argwhere(changed)[0].tolist()
            bar = int(market.bars.close_time[at[0]])
            symbol = market.bars.symbols[at[1]] if len(at) > 1 else "all symbols"
            values = f"{after[tuple(at)]!r}, given {before[tuple(at)]!r}"
            return broken(f"it changed its input `{name}` at bar {bar} of {symbol}: now {values}")
    kept = pickle.dumps(block)
    if len(market) < lab.rows:
        session.step(lab.market.rows(len(market), lab.rows))
    if pickle.dumps(block) != kept:
        return broken("a block it gave earlier changed with the next block: give new arrays every time")
    return holds(f"{len(_owned(market, given))} input arrays unchanged, earlier blocks too")


def _owned(market: Market, given: Market) -> list[tuple[str, Any, Any]]:
    names = ("close_time", "open", "high", "low", "close", "volume", "taker_buy_volume", "state")
    arrays = [(f"bars.{n}", getattr(market.bars, n), getattr(given.bars, n)) for n in names]
    if market.features is not None:
        arrays += [
            (f"features.{n}", getattr(market.features, n), getattr(given.features, n))
            for n in ("values", "context", "fresh", "ready")
        ]
    return arrays


def symbols(lab: Lab) -> Finding:
    """A symbol's output is the same alone, among others and in another order."""
    if lab.subject.is_cross_symbol:
        return skipped("declared: a symbol's output depends on other symbols (`cross_symbol`)")
    everyone = list(range(len(lab.bars.symbols)))
    if len(everyone) < 2:
        return skipped("the data holds one symbol")
    groups = [[i] for i in everyone] + [everyone[::-1], everyone[1:]]
    # In a few blocks, since what one symbol leaves behind for the next is only met where a block begins.
    spans = cut_points(lab.rows, 6, lab.rng(4))
    together = lab.subject.run(lab.market, spans)
    for picked in groups:
        market = lab.market.columns(picked)
        names = ", ".join(market.bars.symbols)
        alone = lab.subject.run(market, spans)
        found = lab.difference(f"only {names}", together.pick(picked), alone, market.bars)
        if found:
            return found
    return holds(f"{len(groups)} choices and orders of {len(everyone)} symbols, {_exactly(lab)}")


def late_bars(lab: Lab) -> Finding:
    """A bar that is delivered with the next block counts as if it had been in time."""
    if lab.subject.is_cross_symbol:
        return skipped("declared: a symbol's output depends on other symbols (`cross_symbol`)")
    bars, whole, end = lab.bars, lab.whole, lab.rows
    traded = np.flatnonzero((bars.state[: end - 20] == BarState.TRADED).all(axis=1))
    if traded.size == 0:
        return skipped("the data holds no bar in which every symbol traded")
    others = list(range(1, len(bars.symbols)))
    for row in (int(traded[-1]), int(traded[len(traded) * 3 // 4])):
        session = lab.subject.started(bars.symbols)
        early, late = postpone(bars, row, 0)
        features = lab.market.features
        head = Market(early, features.rows(0, row + 1) if features else None)
        tail = Market(late, features.rows(row, end) if features else None)
        before, after = (session.lay_out(session.step(piece)) for piece in (head, tail))
        what = f"the bar {bars.close_time[row]} of {bars.symbols[0]} one block late"
        found = lab.difference(what, whole.rows(row, end).pick([0]), after.pick([0]), late.columns([0]))
        if found is None and others:
            found = lab.difference(
                what, whole.rows(0, row + 1).pick(others), before.pick(others), early.columns(others)
            )
        if found is None and others:
            rest = late.columns(others).rows(1, end - row)
            expected = whole.rows(row + 1, end).pick(others)
            found = lab.difference(what, expected, after.pick(others).rows(1, end - row), rest)
        if found:
            return found
    return holds(f"2 late bars, {_exactly(lab)}")


def _exactly(lab: Lab) -> str:
    tolerance = lab.subject.float_tolerance
    return f"floats within {tolerance:g}" if tolerance else "bit for bit"
