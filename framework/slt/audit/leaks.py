"""The leak test: on walks without an edge nothing a plugin says may go with a later return, and trading it pays costs.

Write e_u for the innovation of bar u: the sign of e_u is a fair coin for anybody who knows only the bars before u. Let
z_t be an output at bar t, normalised by its own past alone. Against the return of the next h bars the sum of products

    sum over t of z_t (e_{t+1} + ... + e_{t+h})  =  sum over u of w_u e_u,   w_u = z_{u-1} + ... + z_{u-h}

is a sum of fair bets with stakes w_u that were known before, however overlapping, correlated or fat-tailed z and e are.
So t = sum(w e) / sqrt(sum(w^2 e^2)) needs no correction for autocorrelation, and its tails are no heavier than a normal
variable's; a plugin that has seen e_u when it answered at a bar before u stands out. Outputs are not centred by their
mean over the walk, which would itself be knowledge of the future (the bias that makes a price level "predict" returns).

The bound is that of a normal variable at `ALPHA` over all outputs, forms, horizons and naive strategies of the audit
together (Bonferroni).
"""

from __future__ import annotations

from statistics import NormalDist
from typing import TYPE_CHECKING

import numpy as np
from attrs import frozen

from slt.audit.findings import Example, broken, holds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from slt.audit.findings import Finding
    from slt.audit.laws import Lab
    from slt.audit.subject import Table
    from slt.audit.walks import Walk

    Array = NDArray[np.float64]

__all__ = ["ALPHA", "HORIZONS", "leaks"]

ALPHA = 1e-5
"""Probability that the leak test of one audit accuses an honest plugin, at most."""

HORIZONS = (1, 5, 15, 60, 240)
"""Bars ahead."""

COST = 0.0005
"""What the naive strategy pays for a change of its position by one unit, as a fraction of the price."""

_SYMBOLS = 4
_CLIP = 4.0


@frozen(eq=False)
class _Form:
    """One output in one form: `z` ``[t, s]``, 0 where it is unknown."""

    column: str
    form: str
    z: Array


@frozen
class _Score:
    """A form against one horizon, or a naive strategy on it (horizon 0)."""

    form: _Form
    horizon: int
    t: float
    gross: float = 0.0
    net: float = 0.0


def leaks(lab: Lab) -> Finding:
    """No output goes with a later return of a random walk, and a naive strategy on it earns nothing but costs."""
    walk = lab.walk(9, lab.warmup + lab.leak_rows, symbols=_SYMBOLS)
    table = lab.subject.run(lab.subject.market(walk.bars))
    scores = []
    for form in _forms(table, walk.bars.close):
        scores += [_Score(form, h, _t(_stakes(form.z, h), walk.innovations)) for h in HORIZONS]
        scores.append(_trade(form, walk))
    if not scores:
        return broken("no output takes more than one value: nothing could be judged")
    bound = NormalDist().inv_cdf(1.0 - ALPHA / (2.0 * len(scores)))
    worst = max(scores, key=lambda s: abs(s.t))
    if abs(worst.t) > bound:
        return broken(*_accusation(worst, scores, bound, walk))
    naive = [s for s in scores if s.horizon == 0]
    gross, net = (sum(getattr(s, name) for s in naive) / len(naive) for name in ("gross", "net"))
    return holds(
        f"{len(scores)} tests on {walk.innovations.size} bars of random walks: largest |t| {abs(worst.t):.1f} "
        f"(`{worst.form.column}`), bound {bound:.1f}; {len(naive)} naive strategies on average {gross:+.2%} before and "
        f"{net:+.2%} after costs"
    )


def _accusation(worst: _Score, scores: list[_Score], bound: float, walk: Walk) -> tuple[str, Example]:
    guilty = [s for s in scores if abs(s.t) > bound]
    columns = ", ".join(dict.fromkeys(s.form.column for s in sorted(guilty, key=lambda s: -abs(s.t))))
    if worst.horizon:
        what = f"against the next {worst.horizon} bar{'s' if worst.horizon > 1 else ''}"
        parts = _stakes(worst.form.z, worst.horizon) * walk.innovations
    else:
        what = f"traded naively (gross {worst.gross:+.1%}, net {worst.net:+.1%})"
        parts = _positions(worst.form.z) * walk.returns
    row, symbol = np.unravel_index(int(np.argmax(parts * np.sign(worst.t))), parts.shape)
    before = max(int(row) - 1, 0)
    bars = walk.bars
    example = Example(
        bar=int(bars.close_time[before]),
        symbol=bars.symbols[int(symbol)],
        column=worst.form.column,
        found=f"{worst.form.z[before, symbol]:+.2f} (normalised {worst.form.form})",
        expected=f"nothing that knows of the {walk.returns[row, symbol]:+.3%} of the bar after it",
    )
    text = (
        f"it knows the future of a random walk: `{worst.form.column}` ({worst.form.form}) {what} has "
        f"t = {worst.t:+.1f}, bound {bound:.1f}; {len(guilty)} of {len(scores)} tests over it ({columns}); for example"
    )
    return text, example


def _forms(table: Table, close: Array) -> Iterator[_Form]:
    for name, array in table.columns.items():
        if array.dtype.kind not in "fbi":
            continue
        x = array.astype(np.float64)
        x[~np.isfinite(x)] = np.nan
        forms = {"change": np.vstack([np.full((1, x.shape[1]), np.nan), np.diff(x, axis=0)])}
        if name == "side":
            forms["level"] = x
        elif name not in ("stop", "target"):
            yield from _kept(name, "level", _centred(x))
        if name in table.context:
            with np.errstate(invalid="ignore", divide="ignore"):
                forms["distance"] = x / close - 1.0
        for form, values in forms.items():
            yield from _kept(name, form, _normalised(values))


def _kept(name: str, form: str, z: Array) -> Iterator[_Form]:
    z[~np.isfinite(z)] = 0.0
    np.clip(z, -_CLIP, _CLIP, out=z)
    if z.any():
        yield _Form(name, form, z)


def _centred(x: Array) -> Array:
    """The level against mean and deviation of its own past and present."""
    known = ~np.isnan(x)
    count = np.maximum(np.cumsum(known, axis=0), 1)
    first = x[np.argmax(known, axis=0), np.arange(x.shape[1])]
    shifted = np.where(known, x - first, 0.0)
    mean = np.cumsum(shifted, axis=0) / count
    variance = np.cumsum(shifted**2, axis=0) / count - mean**2
    with np.errstate(invalid="ignore", divide="ignore"):
        z: Array = np.where(known & (variance > 1e-18), (shifted - mean) / np.sqrt(variance), np.nan)
    return z


def _normalised(x: Array) -> Array:
    """The value against the root mean square of its own past and present."""
    known = ~np.isnan(x)
    count = np.maximum(np.cumsum(known, axis=0), 1)
    size = np.sqrt(np.cumsum(np.where(known, x, 0.0) ** 2, axis=0) / count)
    with np.errstate(invalid="ignore", divide="ignore"):
        z: Array = x / size
    return z


def _stakes(z: Array, horizon: int) -> Array:
    """w_u: the sum of the answers of the `horizon` bars before u."""
    total = np.vstack([np.zeros((1, z.shape[1])), np.cumsum(z, axis=0)])
    rows = np.arange(z.shape[0])
    stakes: Array = total[rows] - total[np.maximum(rows - horizon, 0)]
    return stakes


def _t(stakes: Array, innovations: Array) -> float:
    parts = stakes * innovations
    size = float(np.sqrt((parts**2).sum()))
    return float(parts.sum()) / size if size > 0.0 else 0.0


def _positions(z: Array) -> Array:
    """One unit in the direction of the answer of the bar before."""
    return np.vstack([np.zeros((1, z.shape[1])), np.sign(z[:-1])])


def _trade(form: _Form, walk: Walk) -> _Score:
    positions = _positions(form.z)
    changes = np.abs(np.diff(positions, axis=0, prepend=0.0)).sum()
    gross = float((positions * walk.returns).sum()) / positions.shape[1]
    return _Score(form, 0, _t(positions, walk.returns), gross, gross - COST * float(changes) / positions.shape[1])
