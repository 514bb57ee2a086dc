"""What differs between two runs of one market, and why: each cause from what both runs wrote down of themselves.

Trades are matched by the decision that they came from: a symbol, and the close of the bar decided on. A difference is
put down to a cause only where the records bear it out; what is left over is ``UNKNOWN``.
"""

from __future__ import annotations

from attrs import frozen

FIELDS = ("side", "entry_time", "exit_time", "entry_price", "exit_price", "quantity", "fees", "net_pnl", "exit")
_NOISE = 1e-6
_STEP_MS = 20_000
"""Distance of two prices."""
_LEVELS = {"stop": "initial_stop", "target": "target"}
"""Exits at a level that rests on the exchange, and the field of the trade that names it."""


@frozen
class Cause:
    """Why something differs.

    Attributes:
        kind: In general, for counting.
        text: In figures.
    """

    kind: str
    text: str

    @property
    def is_unknown(self):
        return self.kind == "UNKNOWN"


class Account:
    """What a run wrote down, by decision.

    Attributes:
        trades: Closed trades by symbol and close of the bar decided on.
        decisions: Decisions by the same.
        exits: Time at which the close at market of a position was ordered, by its id; none for a resting level.
    """

    def __init__(self, trades, intents, decisions):
        decided = {intent.position_id: intent.time for intent in intents if intent.role == "entry"}
        self.trades = {(t.symbol, decided[t.id]): t for t in trades if t.exit != "end_of_data"}
        self.decisions = {(one.symbol, one.time): one for one in decisions}
        self.exits = {intent.position_id: intent.time for intent in intents if intent.role == "exit"}

    def until(self, end):
        """The same without trades closed later."""
        made = Account((), (), ())
        made.trades = {key: t for key, t in self.trades.items() if t.exit_time < end}
        made.decisions, made.exits = self.decisions, self.exits
        return made


def compare(one, other):
    """What differs between the trades of two runs: a line for each."""
    lines = []
    for key in _keys(one, other):
        a, b = one.trades.get(key), other.trades.get(key)
        if a is None or b is None:
            lines.append(f"{key[0]} decided {key[1]}: only {'before' if a else 'after'}")
        elif differing := _differing(a, b):
            told = ", ".join(f"{f} {getattr(a, f)} / {getattr(b, f)}" for f in differing)
            lines.append(f"{a.symbol} decided {key[1]}: {told}")
    return lines


def explain(offline, live):
    """The causes of every difference that latency made, by decision."""
    found = {}
    for key in _keys(offline, live):
        a, b = offline.trades.get(key), live.trades.get(key)
        if a is None or b is None:
            found[key] = [_why_absent(key, offline, live, is_live_only=a is None)]
        elif _differing(a, b):
            found[key] = _why_other(key[1], a, b, offline, live)
    return found


def _keys(one, other):
    return sorted(one.trades.keys() | other.trades.keys(), key=lambda key: (key[1], key[0]))


def _differing(a, b):
    return [name for name in FIELDS if not _same(getattr(a, name), getattr(b, name))]


def _same(a, b):
    return abs(a - b) <= _NOISE * max(1.0, abs(a)) if isinstance(a, float) else a == b


# -- a trade on both sides ---------------------------------------------------------------------------------------------


def _why_other(decided, a, b, offline, live):
    causes = [*_entry(decided, a, b), *_exit(a, b, offline, live), *_size(decided, a, b, offline, live)]
    odd = [name for name in ("side", "fees", "net_pnl") if not _follows(name, a, b)]
    if odd or not causes:
        told = ", ".join(f"{name} {getattr(a, name)} / {getattr(b, name)}" for name in odd or _differing(a, b))
        causes.append(Cause("UNKNOWN", f"UNKNOWN: {told}"))
    return causes


def _entry(decided, a, b):
    """The order came later: it filled at the price of that moment."""
    late = b.entry_time - a.entry_time
    if late == 0 and _same(a.entry_price, b.entry_price):
        return []
    if late < 0 or b.entry_time < decided:
        return [Cause("UNKNOWN", f"UNKNOWN: entered {-late} ms earlier")]
    if _same(a.entry_price, b.entry_price):
        return [Cause("entry later, at the same price", f"entry {late} ms later, at the same price {b.entry_price:g}")]
    text = f"a delay of {late} ms moved the entry from {a.entry_price:g} to {b.entry_price:g}"
    return [Cause("entry later, at another price", text)]


def _exit(a, b, offline, live):
    if a.exit != b.exit:
        return [_other_exit(a, b)]
    if a.exit in _LEVELS:
        return _level(a, b)
    apart = b.exit_time - a.exit_time
    if apart == 0 and _same(a.exit_price, b.exit_price):
        return []
    ordered = (offline.exits.get(a.id), live.exits.get(b.id))
    if None in ordered:
        return [Cause("UNKNOWN", f"UNKNOWN: {a.exit} {apart} ms apart, without an order")]
    if _same(a.exit_price, b.exit_price):
        return [Cause(f"{a.exit} at another time, at the same price", f"{a.exit} {_apart(apart)}, at the same price")]
    text = f"{a.exit} ordered {_apart(ordered[1] - ordered[0])} and filled {_apart(apart)}: {a.exit_price:g} became "
    return [Cause(f"{a.exit} at another time, at another price", f"{text}{b.exit_price:g}")]


def _level(a, b):
    """The same stop or target: it fills at its level, unless the price had passed it before it rested."""
    name = _LEVELS[a.exit]
    levels = getattr(a, name), getattr(b, name)
    apart = b.exit_time - a.exit_time
    if not _same(*levels):
        return [Cause(f"{a.exit} at another level", f"{a.exit} at another level: {levels[0]:g} became {levels[1]:g}")]
    if not _same(a.exit_price, b.exit_price):
        text = f"{a.exit} {levels[0]:g} filled at {a.exit_price:g} and at {b.exit_price:g}, {_apart(apart)}"
        return [Cause(f"{a.exit} passed before it rested", text)]
    return [] if apart == 0 else [Cause(f"{a.exit} told later", f"{a.exit} at the same price, {_apart(apart)}")]


def _other_exit(a, b):
    """Another rule closed it; each cause holds only where the records show it."""
    apart = _apart(b.exit_time - a.exit_time)
    text = f"left by {b.exit} at {b.exit_price:g} instead of {a.exit} at {a.exit_price:g}, {apart}"
    if b.entry_time > a.exit_time:
        return Cause("exit by another rule: the first had struck before the entry", f"{text}: entered after that")
    for one in (a.exit, b.exit):
        name = _LEVELS.get(one)
        if name and not _same(getattr(a, name), getattr(b, name)):
            moved = f"{one} {getattr(a, name):g} became {getattr(b, name):g}"
            return Cause("exit by another rule: a level stood elsewhere", f"{text}: {moved}")
    rested_ms = a.exit_time - b.entry_time
    if a.exit in _LEVELS and (b.exit == "unprotected" or rested_ms <= _STEP_MS):
        why = f"the {a.exit} was met {rested_ms} ms after the entry, before it rested"
        return Cause("exit by another rule: the level was passed before it rested", f"{text}: {why}")
    if a.exit not in _LEVELS and b.exit in _LEVELS and a.exit_time < b.exit_time:
        return Cause("exit by another rule: it struck before the close was due", f"{text}: the close was due later")
    return Cause("UNKNOWN", f"UNKNOWN: {text}")


def _size(decided, a, b, offline, live):
    if _same(a.quantity, b.quantity):
        return []
    equity = [side.decisions[a.symbol, decided].numbers.get("equity") for side in (offline, live)]
    if None not in equity and not _same(*equity):
        text = f"size {a.quantity:g} became {b.quantity:g}: the equity was {equity[1]:.4f} instead of {equity[0]:.4f}"
        return [Cause("another size after other results", text)]
    return [Cause("UNKNOWN", f"UNKNOWN: size {a.quantity:g} / {b.quantity:g}")]


def _follows(name, a, b):
    """Whether a field of the second trade is what its own prices and quantity make of it, as it is in the first."""
    if name == "side":
        return a.side == b.side
    if name == "fees":
        rates = [t.fees / (t.quantity * (t.entry_price + t.exit_price)) for t in (a, b)]
        return abs(rates[0] - rates[1]) <= _NOISE * abs(rates[0]) or "target" in {a.exit, b.exit}
    made = b.side * b.quantity * (b.exit_price - b.entry_price) - b.fees - b.funding
    return abs(made - b.net_pnl) <= _NOISE * max(1.0, abs(made))


def _apart(ms):
    return f"{abs(ms)} ms {'later' if ms >= 0 else 'earlier'}"


# -- a trade on one side only ------------------------------------------------------------------------------------------


def _why_absent(key, offline, live, *, is_live_only):
    """What the run without the trade decided of the same proposal."""
    where, lacks = ("with latency", offline) if is_live_only else ("without latency", live)
    decision = lacks.decisions.get(key)
    if decision is None:
        return Cause("UNKNOWN", f"UNKNOWN: only {where}, and no decision on the other side")
    if decision.outcome != "entered":
        return Cause(
            f"only {where}: refused on the other side ({decision.outcome})",
            f"only {where}; the other side refused: {decision.outcome} ({decision.detail})",
        )
    return Cause(f"only {where}: on the other side not closed by the end", f"only {where}; not closed by the end")
