"""What goes wrong in a scenario: drawn from its seed alone."""

from __future__ import annotations

import random

from attrs import frozen

from slt_sandbox.fault_rules import CATALOGUE

ORDER, ALGO, LEVERAGE, KEY = "/fapi/v1/order", "/fapi/v1/algoOrder", "/fapi/v1/leverage", "/fapi/v1/listenKey"
HELD_S = 0.4
"""How long a request, an answer or an event is held back while the process is killed."""
SPEED = 30.0
"""Market seconds per second."""
_WAITS = {
    "symbol_silent": 150,
    "halt": 120,
    "stall": 1,
    "http_429": 1,
    "http_418": 2,
    "burst": 1,
    "user_silent": 3,
    "answer_late": 1,
    "request_late": 1,
    "fill_before_ack": 0.5,
    "ack_before_fill": 0.5,
}
"""Seconds where the catalogue's own would outlast a scenario."""


@frozen
class Moment:
    """When a process is killed.

    Attributes:
        name: For people.
        kind: ``fault`` (a rule strikes), ``ledger`` (the n-th entry of a kind), ``journal``, ``session`` or
            ``database`` (the n-th write), ``snapshot`` (the n-th file that comes), ``time`` (seconds after the start).
        word: The rule or the kind of entry.
        count: Which one.
    """

    name: str
    kind: str
    word: str = ""
    count: float = 1


def _held(name, fault, path, method, nth):
    rule = f"{fault} path={path} method={method} nth={nth} seconds={HELD_S}"
    return Moment(name, "fault", rule)


def _order_moments(n):
    """Every await of an order's life at the exchange, for the n-th order of its kind."""
    stop, target = 2 * n - 1, 2 * n
    found = [
        _held("leverage: not yet taken", "request_late", LEVERAGE, "POST", n),
        _held("leverage: not yet answered", "answer_late", LEVERAGE, "POST", n),
        _held("order: not yet taken", "request_late", ORDER, "POST", n),
        Moment("order: never arrives", "fault", f"request_lost path={ORDER} method=POST nth={n}"),
        _held("order: not yet answered", "answer_late", ORDER, "POST", n),
        Moment("order: answer lost", "fault", f"answer_lost path={ORDER} method=POST nth={n}"),
        Moment("order: answered", "ledger", "order", n),
        Moment("fill: event held back", "fault", f"ack_before_fill nth={n} seconds={HELD_S}"),
        Moment("fill: event sent", "ledger", "fill", n),
    ]
    for word, nth in (("stop", stop), ("target", target)):
        found += [
            _held(f"{word}: not yet taken", "request_late", ALGO, "POST", nth),
            Moment(f"{word}: never arrives", "fault", f"request_lost path={ALGO} method=POST nth={nth}"),
            _held(f"{word}: not yet answered", "answer_late", ALGO, "POST", nth),
            Moment(f"{word}: answered", "ledger", "algo", nth),
        ]
    return [
        *found,
        _held("cancel: not yet taken", "request_late", ALGO, "DELETE", n),
        _held("cancel: not yet answered", "answer_late", ALGO, "DELETE", n),
        Moment("cancel: answered", "ledger", "algo_cancelled", n),
        Moment("stop or target triggered", "ledger", "algo_triggered", n),
        Moment("position closed", "ledger", "closed", n),
        Moment("position covered", "ledger", "covered", n),
    ]


def all_moments():
    """Every kind of moment, by name, each for the first orders of its kind."""
    made = {}
    for n in (1, 2, 3):
        for moment in _order_moments(n):
            made.setdefault(moment.name, []).append(moment)
    made["journal write"] = [Moment("journal write", "journal", count=n) for n in range(1, 61)]
    made["database write"] = [Moment("database write", "database", count=n) for n in range(1, 61)]
    made["session log write"] = [Moment("session log write", "session", count=n) for n in range(1, 121, 2)]
    made["snapshot"] = [Moment("snapshot", "snapshot", count=n) for n in range(1, 6)]
    made["any time"] = [Moment("any time", "time", count=s / 10) for s in range(60)]
    return made


MOMENTS = all_moments()


@frozen
class Scenario:
    """One market, one account, one run, and what goes wrong.

    Attributes:
        seed: It is made from.
        family: ``faults``, ``kill`` or ``both``.
        minutes: Length in market time.
        rules: Faults from the start on.
        kills: When the run is killed, one after the other.
        is_paused: Whether the market waits while the run is down.
        slices: Parts in which orders fill.
    """

    seed: int
    family: str
    minutes: int
    rules: tuple[str, ...]
    kills: tuple[Moment, ...]
    is_paused: bool
    slices: int

    @property
    def symbols(self):
        """What the run trades."""
        return tuple(f"SYN{self.seed}{letter}USDT" for letter in "ABC")

    @property
    def listed(self):
        """What the exchange lists: one more, which may come later."""
        return (*self.symbols, f"SYN{self.seed}DUSDT")


def draw(seed, minutes=7):
    """The scenario of a seed."""
    chance = random.Random(f"chaos {seed}")
    family = ("faults", "kill", "both")[seed % 3]
    names = list(MOMENTS)
    kills = ()
    if family != "faults":
        # Moments in turn, so that every one of them is met before any is met again.
        turn = seed // 3 * 2 + seed % 3 - 1
        more = [chance.choice(names) for _ in range(chance.randrange(2))]
        kills = tuple(chance.choice(MOMENTS[name]) for name in (names[turn % len(names)], *more))
    symbols = [f"SYN{seed}{letter}USDT" for letter in "ABC"]
    rules = () if family == "kill" else tuple(_draw_rule(chance, symbols, minutes) for _ in range(chance.randint(2, 5)))
    return Scenario(seed, family, minutes, rules, kills, chance.random() < 0.5, chance.choice((1, 1, 1, 3)))


def _draw_rule(chance, symbols, minutes):
    name = chance.choice(list(CATALOGUE))
    fault = CATALOGUE[name]
    words = [name]
    if name == "listing":
        words.append(f"symbol={symbols[0][:-5]}DUSDT")
    elif fault.place == "kline" or name in {"delisting", "halt"}:
        words.append(f"symbol={chance.choice(symbols)}")
    if fault.place != "line":
        words.append(f"after_seconds={chance.randrange(0, (minutes - 2) * 60)}")
    words.append(f"nth={chance.randrange(1, 4)}")
    if fault.place != "market":
        words.append(f"times={chance.choice((1, 1, 2, 3))}")
    if name in _WAITS:
        words.append(f"seconds={_WAITS[name]}")
    return " ".join(words)
