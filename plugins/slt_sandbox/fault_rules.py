"""Faults by name, and the rules that say when one strikes."""

from __future__ import annotations

import difflib
import random
from typing import TYPE_CHECKING

import attrs
from attrs import define, field, frozen
from attrs.validators import ge, in_, instance_of, le

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["CATALOGUE", "Fault", "FaultRule", "Schedule", "draw_rules", "parse_rule"]

_ORDERS = ("/fapi/v1/order", "/fapi/v1/algoOrder", "/fapi/v1/batchOrders")


@frozen
class Fault:
    """A kind of fault.

    Attributes:
        place: Where it strikes: ``line`` (a market connection), ``kline``, ``request``, ``answer``, ``user`` (events),
            or ``market`` (the exchange as a whole).
        seconds: How long it lasts or waits unless the rule says otherwise.
        text: What happens.
        paths: Requests it is about; empty = all.
    """

    place: str
    seconds: float
    text: str
    paths: tuple[str, ...] = ()


CATALOGUE: dict[str, Fault] = {
    "close_1006": Fault("line", 0, "The connection breaks without a closing handshake."),
    "close_1011": Fault("line", 0, "The exchange closes the connection: internal error."),
    "close_1008": Fault("line", 0, "The exchange closes the connection: policy."),
    "cut_24h": Fault("line", 0, "The exchange closes the connection as it does after 24 hours."),
    "half_open": Fault("line", 0, "The connection stays open and says nothing more, not even a pong."),
    "unrouted": Fault("line", 0, "The connection takes subscriptions, answers them, and pushes nothing."),
    "slow_network": Fault("line", 0.05, "A frame waits `seconds`; `times` says how many do."),
    "burst": Fault("line", 5, "Nothing for `seconds`, then everything at once."),
    "symbol_silent": Fault("kline", 300, "One symbol pushes nothing for `seconds` of market time."),
    "kline_late": Fault("kline", 10, "A closing update comes `seconds` of market time late."),
    "kline_duplicate": Fault("kline", 0, "A closing update comes twice."),
    "kline_reordered": Fault("kline", 0, "A closing update comes after the next bar's second one."),
    "kline_restated": Fault("kline", 3, "A closing update comes again after `seconds`, with other numbers."),
    "kline_missing": Fault("kline", 0, "Nothing is pushed of a bar that has traded."),
    "kline_never_closed": Fault("kline", 0, "The update that closes a bar never comes."),
    "malformed_json": Fault("kline", 0, "A frame is cut in the middle."),
    "huge_frame": Fault("kline", 0, "A frame is 4 MiB long."),
    "http_429": Fault("request", 2, "Too many requests for `seconds`, with Retry-After.", ()),
    "http_418": Fault("request", 5, "Banned for `seconds`, with the time in the text.", ()),
    "http_403": Fault("request", 0, "The firewall's HTML page."),
    "http_408": Fault("request", 0, "Backend timeout; half of them after the request was carried out."),
    "http_500": Fault("request", 0, "A server error without a body; half of them after it was carried out."),
    "http_502": Fault("request", 0, "A gateway's HTML page; half of them after it was carried out."),
    "http_503_unknown": Fault("request", 0, "Unknown error; half of them after it was carried out."),
    "http_503_unavailable": Fault("request", 0, "Service unavailable: certainly not carried out."),
    "http_503_internal": Fault("request", 0, "Internal error: certainly not carried out."),
    "error_1006": Fault("request", 0, "-1006, unexpected response; half of them after it was carried out.", _ORDERS),
    "error_1007": Fault("request", 0, "-1007, timeout; half of them after it was carried out.", _ORDERS),
    "error_1008": Fault(
        "request", 0, "-1008 (503), throttled; orders that reduce risk and cancels are let through.", _ORDERS
    ),
    "error_1021": Fault("request", 0, "-1021, timestamp outside recvWindow."),
    "error_2019": Fault("request", 0, "-2019, margin is insufficient.", _ORDERS),
    "error_2021": Fault("request", 0, "-2021, a conditional order would trigger at once.", ("/fapi/v1/algoOrder",)),
    "error_2022": Fault("request", 0, "-2022, a reduce-only order is rejected.", _ORDERS),
    "error_4120": Fault("request", 0, "-4120, use the algo endpoints.", ("/fapi/v1/order", "/fapi/v1/batchOrders")),
    "error_4164": Fault("request", 0, "-4164, the notional is too small.", _ORDERS),
    "request_lost": Fault("request", 0, "The connection breaks before a request is carried out."),
    "request_late": Fault("request", 2, "A request waits `seconds` before it is carried out."),
    "answer_lost": Fault("answer", 0, "A request is carried out and the connection breaks before the answer."),
    "answer_late": Fault("answer", 2, "An answer waits `seconds`."),
    "fill_before_ack": Fault("answer", 1, "The answer to an order waits `seconds`: its events come first.", _ORDERS),
    "ack_before_fill": Fault("user", 1, "User events wait `seconds`: the answer to an order comes first."),
    "algo_after_fill": Fault("user", 0, "ALGO_UPDATE comes after the events of the order that it set off."),
    "user_duplicate": Fault("user", 0, "User events come twice."),
    "user_silent": Fault("user", 90, "User streams stay open and lose everything for `seconds`."),
    "user_cut": Fault("market", 0, "User streams break without a closing handshake."),
    "listen_key_expired": Fault("market", 0, "Every listen key expires; the sockets stay open and silent."),
    "clock_jump": Fault("market", 10, "The exchange's clock jumps ahead by `seconds`."),
    "liquidation": Fault("market", 0, "A position is liquidated at the last price."),
    "adl": Fault("market", 0, "A position is closed by auto-deleveraging at the last price."),
    "halt": Fault("market", 600, "A symbol stops trading for `seconds` of market time."),
    "listing": Fault("market", 0, "A symbol that was not listed before begins to trade."),
    "delisting": Fault(
        "market",
        0,
        "A symbol is settled and closed for good, `seconds` of market time after its delivery date is told.",
    ),
    "stall": Fault("market", 3, "The whole exchange stands still for `seconds`, as a stopped process does."),
}
"""Every fault by its name."""


@frozen(kw_only=True)
class FaultRule:
    """When a fault strikes. Each time it could, the place counts one more; all conditions must hold.

    Attributes:
        name: A name of `CATALOGUE`.
        symbol: Only this symbol; empty = any.
        path: Only requests whose path begins so; empty = what the fault is about by itself.
        method: Only requests of this HTTP method; empty = POST where the fault is about orders, else any.
        client: Only this market connection, counted from 1; 0 = each. Its k-lines alone are then struck.
        after_seconds: Market time since the start before which it never strikes.
        nth: It strikes the n-th time it could, and from then on.
        times: How often it strikes; 0 = without end.
        probability: Chance of each strike, drawn from the seed.
        seconds: How long it lasts or waits; below 0 = as the catalogue says.
    """

    name: str = field(validator=in_(CATALOGUE))
    symbol: str = field(default="", validator=instance_of(str))
    path: str = field(default="", validator=instance_of(str))
    method: str = field(default="", validator=instance_of(str))
    client: int = field(default=0, validator=ge(0))
    after_seconds: float = field(default=0.0, validator=ge(0.0))
    nth: int = field(default=1, validator=ge(1))
    times: int = field(default=1, validator=ge(0))
    probability: float = field(default=1.0, validator=[ge(0.0), le(1.0)])
    seconds: float = field(default=-1.0, validator=instance_of(int | float))

    @property
    def fault(self) -> Fault:
        """The kind of fault."""
        return CATALOGUE[self.name]

    @property
    def wait(self) -> float:
        """How long it lasts or waits, seconds."""
        return self.seconds if self.seconds >= 0 else self.fault.seconds

    def matches_request(self, method: str, path: str) -> bool:
        """Whether a request is one that the rule is about."""
        if self.path and not path.startswith(self.path):
            return False
        if not self.path and self.fault.paths and path not in self.fault.paths:
            return False
        wanted = self.method or ("POST" if self.fault.paths and not self.path else "")
        return method == (wanted or method)


def parse_rule(text: str) -> FaultRule:
    """Read a rule such as ``kline_late symbol=BTCUSDT nth=3 seconds=5``.

    Raises:
        ValueError: A word is not known or a value does not fit; the message says what is allowed.
    """
    name, *words = text.split() or [""]
    if name not in CATALOGUE:
        near = difflib.get_close_matches(name, CATALOGUE, n=1)
        hint = f"; did you mean `{near[0]}`?" if near else ""
        raise ValueError(f"`{name}` is no fault{hint} (faults: {', '.join(CATALOGUE)})")
    kinds: dict[str, type] = {a.name: type(a.default) for a in attrs.fields(FaultRule) if a.name != "name"}
    values: dict[str, object] = {}
    for word in words:
        key, _, value = word.partition("=")
        if key not in kinds or not value:
            raise ValueError(f"`{text}`: found `{word}`, allowed is KEY=VALUE with KEY one of {', '.join(kinds)}")
        try:
            values[key] = kinds[key](value)
        except ValueError:
            raise ValueError(f"`{text}`: {key} must be a number, found `{value}`") from None
    try:
        return FaultRule(name=name, **values)  # type: ignore[arg-type] # each value has the type of its default
    except ValueError as error:
        raise ValueError(f"`{text}`: {error.args[0]}") from None


def draw_rules(seed: int, count: int, symbols: Iterable[str], *, places: Iterable[str] = ()) -> list[FaultRule]:
    """Draw rules for a scenario, always the same for the same seed.

    Args:
        seed: Of the draw.
        count: How many.
        symbols: Symbols that faults of one symbol may be about.
        places: Places to draw from, as in `Fault.place`; empty = all.

    Returns:
        Rules that strike within the first half hour of market time.
    """
    chance, known = random.Random(seed), sorted(symbols)  # noqa: S311 # a scenario
    wanted = set(places)
    names = [name for name, fault in CATALOGUE.items() if not wanted or fault.place in wanted]
    made = []
    for _ in range(count):
        name = chance.choice(names)
        place = CATALOGUE[name].place
        is_single = name in {"symbol_silent", "listing", "delisting", "halt"} or place == "kline"
        made.append(
            FaultRule(
                name=name,
                symbol=chance.choice(known) if is_single and known else "",
                after_seconds=float(chance.randrange(0, 1_800)),
                nth=chance.randrange(1, 4),
                times=chance.choice((1, 1, 2, 3)) if place != "market" else 1,
            )
        )
    return made


@define
class _Armed:
    rule: FaultRule
    seen: int = 0
    struck: int = 0


class Schedule:
    """The rules in force, and what they have done.

    Args:
        rules: The rules at the start.
        seed: Of chances.
        start: Market time that `FaultRule.after_seconds` counts from, ms UTC.
    """

    def __init__(self, rules: Iterable[FaultRule], seed: int, start: int) -> None:
        self._start = start
        self._chance = random.Random(seed)  # noqa: S311 # chances of a simulation
        self._armed: dict[str, list[_Armed]] = {}
        self.struck: list[tuple[int, str, str]] = []
        for rule in rules:
            self.add(rule)

    def add(self, rule: FaultRule) -> None:
        """Put a rule in force."""
        self._armed.setdefault(rule.fault.place, []).append(_Armed(rule))

    def clear(self, name: str = "") -> int:
        """Take the rules of a fault, or all, out of force; returns how many there were."""
        count = 0
        for place, armed_there in self._armed.items():
            kept = [armed for armed in armed_there if name not in {"", armed.rule.name}]
            count += len(armed_there) - len(kept)
            self._armed[place] = kept
        return count

    def has(self, place: str) -> bool:
        """Whether any rule of a place is in force."""
        return bool(self._armed.get(place))

    def rules(self, place: str = "") -> list[FaultRule]:
        """The rules that can still strike, of one place or all."""
        return [
            armed.rule for where, armed_there in self._armed.items() for armed in armed_there if place in {"", where}
        ]

    def draw(self) -> bool:
        """Toss a coin."""
        return self._chance.random() < 0.5

    def strikes(
        self, place: str, time: int, *, symbol: str = "", client: int = 0, names: tuple[str, ...] = ()
    ) -> list[FaultRule]:
        """The rules of a place that strike now.

        Args:
            place: As in `Fault.place`.
            time: Market time, ms UTC.
            symbol: What it is about; a rule about another symbol is passed over.
            client: As `symbol`, a market connection.
            names: Only these faults; empty = all of the place.
        """
        return [
            armed.rule
            for armed in list(self._armed.get(place, ()))
            if (not names or armed.rule.name in names)
            and armed.rule.symbol in {"", symbol}
            and self._is_about(armed.rule, client)
            and self._hits(armed, time, symbol)
        ]

    def request_strikes(self, place: str, time: int, method: str, path: str, symbol: str) -> list[FaultRule]:
        """As `strikes`, for the rules that are about a request."""
        return [
            armed.rule
            for armed in list(self._armed.get(place, ()))
            if armed.rule.matches_request(method, path)
            and armed.rule.symbol in {"", symbol}
            and self._hits(armed, time, symbol)
        ]

    @staticmethod
    def _is_about(rule: FaultRule, client: int) -> bool:
        """A k-line is pushed to everybody at once, so its rules are asked for client by client; a line has one."""
        return rule.client == client or (rule.client == 0 and rule.fault.place == "line")

    def _hits(self, armed: _Armed, time: int, symbol: str) -> bool:
        """Count one more time that a rule could strike; whether it does."""
        rule = armed.rule
        if time < self._start + rule.after_seconds * 1_000:
            return False
        armed.seen += 1
        if armed.seen < rule.nth or self._chance.random() >= rule.probability:
            return False
        armed.struck += 1
        if rule.times and armed.struck >= rule.times:
            self._armed[rule.fault.place].remove(armed)
        self.struck.append((time, rule.name, symbol or rule.symbol))
        return True
