"""The invariants: what the exchange's ledger says against what the run stored and promised."""

from __future__ import annotations

import itertools
import json
from collections import Counter, defaultdict

import numpy as np
from attrs import define, field
from chaos_scenarios import SPEED
from chaos_site import MAX_HOURS, READY_BARS, START, STOP_ACK_S, read_rows

from slt.storage.contract import Query
from slt.types import OpenPosition, OrderIntent, StoredBar, Trade
from slt_synthetic.feed import SyntheticFeed, SyntheticFeedConfig

INVARIANTS = (
    "wrong bars taken for good",
    "entries on a gap",
    "duplicate orders of an intent",
    "orders without a stored intent",
    "lost or invented fills",
    "positions without a stop too long",
    "positions too old",
    "database and exchange differ",
    "REST k-line calls",
    "bans and refused budgets",
    "run or harness broke",
)
_MINUTE = 60_000
_AGE_SLACK_S = 60.0
_REACTION_WALL_S = 2.5
"""What the run itself needs to react is wall time, which the market outruns: so much of it is granted."""
_TROUBLE_WALL_S = {
    "stall": 1.5,
    "http_429": 3.0,
    "http_418": 4.0,
    "user_silent": 7.0,
    "user_cut": 3.0,
    "listen_key_expired": 4.0,
}
_TROUBLE_ELSE_WALL_S = 4.0
"""Wall seconds after a fault struck in which the exchange is not counted as reached: its own length, and the time to
ask what became of an order (a request's time limit, then the waits between questions)."""
_REACHED_ANYWAY = {"kline", "line"}


@define
class Verdict:
    """What was found wrong, and what was counted.

    Attributes:
        wrong: Invariant and what was found, one line each.
        counts: What happened, for the table.
        faults: How often each fault struck.
    """

    wrong: list = field(factory=list)
    counts: Counter = field(factory=Counter)
    faults: Counter = field(factory=Counter)


class Judge:
    """Judges one play.

    Attributes:
        speed: Market seconds per second.
        stop_ack_s: Market seconds that a position may be without a stop.
        max_hours: Market hours that a position may last.
        ready_bars: Bars in a row that an entry needs.
        start: First day of the market.
        days: Days of it.

    Args:
        scenario: The scenario.
        play: What was seen.
        storage: Reads the database.
        stalls: Spans of `time.monotonic` in which the machine stood still.
    """

    speed, stop_ack_s, max_hours, ready_bars = SPEED, STOP_ACK_S, MAX_HOURS, READY_BARS
    start, days = START, 1

    def __init__(self, scenario, play, storage, stalls=()):
        self._stalls = stalls
        self._scenario = scenario
        self._play = play
        self._storage = storage
        self.verdict = Verdict()

    async def judge(self):
        """All invariants."""
        self._by_kind = defaultdict(list)
        for entry in self._play.ledger:
            self._by_kind[entry["kind"]].append(entry)
        self._trades = await self._read(Trade)
        self._open = [p for p in await self._read(OpenPosition) if p.is_open]
        self._intents = {i.id: i for i in await self._read(OrderIntent)}
        self._excused = self._downtimes() + self._troubles() + self._standstills()
        for problem in self._play.problems:
            self._wrong("run or harness broke", problem)
        await self._check_bars()
        self._check_gaps()
        self._check_orders()
        self._check_fills()
        self._check_stops()
        self._check_ages()
        self._check_end()
        for kind, name in (
            ("kline_request", "REST k-line calls"),
            ("banned", "bans and refused budgets"),
            ("limited", "bans and refused budgets"),
        ):
            for entry in self._by_kind[kind]:
                self._wrong(name, str(entry["detail"]))
        self._count()
        return self.verdict

    def write_down(self, folder):
        """Leave what was judged beside the logs: the ledger, and the rows of the database."""
        (folder / "ledger.jsonl").write_text("".join(json.dumps(entry) + "\n" for entry in self._play.ledger))
        rows = [*self._trades, *self._open, *sorted(self._intents.values(), key=lambda i: i.time)]
        (folder / "rows.txt").write_text("".join(f"{row}\n" for row in rows))
        (folder / "lives.txt").write_text("".join(f"{life}\n" for life in self._play.lives))

    async def _read(self, kind):
        return await read_rows(self._storage, kind, self._scenario.seed)

    def _wrong(self, invariant, text):
        self.verdict.wrong.append((invariant, text))

    def _count(self):
        counts = self.verdict.counts
        for kind in ("order", "algo", "fill", "opened", "closed", "algo_triggered", "refused"):
            counts[kind] = len(self._by_kind[kind])
        counts["trades"] = len(self._trades)
        counts["kills"] = len(self._play.kills)
        for entry in self._by_kind["fault"]:
            self.verdict.faults[entry["detail"]["name"]] += 1
        lines = ("close_1006", "close_1011", "close_1008", "cut_24h", "half_open", "unrouted")
        for entry in self._by_kind["stream"]:
            if entry["detail"]["word"] in lines:
                self.verdict.faults[entry["detail"]["word"]] += 1

    # -- when the exchange could not be reached --------------------------------------------------------------------

    def _downtimes(self):
        """Spans of market time without a process that had begun."""
        lives = self._play.lives
        return [(a.until, b.since + _REACTION_WALL_S * 1_000 * self.speed) for a, b in itertools.pairwise(lives)]

    def _standstills(self):
        """Spans of market time in which the machine itself was too slow to tell anything about the run."""
        if not self._play.clock:
            return []
        walls, markets = zip(*self._play.clock, strict=True)
        spans = []
        for began, ended in self._stalls:
            if ended >= walls[0] and began <= walls[-1]:
                since, until = np.interp((began, ended), walls, markets)
                spans.append((since, until + _REACTION_WALL_S * 1_000 * self.speed))
        self.verdict.counts["standstills"] = len(spans)
        return spans

    def _troubles(self):
        spans = []
        from slt_sandbox.fault_rules import CATALOGUE

        for entry in self._by_kind["fault"]:
            name = entry["detail"]["name"]
            if CATALOGUE[name].place not in _REACHED_ANYWAY:
                wall = _TROUBLE_WALL_S.get(name, _TROUBLE_ELSE_WALL_S)
                spans.append((entry["time"], entry["time"] + wall * 1_000 * self.speed))
        return spans

    def _excuse(self, since, until):
        """Ms of a span in which the exchange could not be reached, overlaps counted once."""
        cut = sorted((max(a, since), min(b, until)) for a, b in self._excused if a < until and b > since)
        total, reached = 0.0, since
        for a, b in cut:
            total += max(0.0, b - max(a, reached))
            reached = max(reached, b)
        return total

    # -- bars ------------------------------------------------------------------------------------------------------

    async def _check_bars(self):
        tape = true_bars(self._scenario, self.start, self.days)
        restated = {(e["symbol"], int(e["detail"]["detail"].split()[-1])) for e in self._faults("kline_restated")}
        for symbol in self._scenario.symbols:
            for bar in await self._storage.slt_read_records(Query(StoredBar, symbol=symbol)):
                self.verdict.counts["bars"] += 1
                if self._is_halted(symbol, bar.close_time - _MINUTE, bar.close_time) and np.isnan(bar.close):
                    continue  # nothing was traded, and the run found that out
                true = tape[symbol].get(bar.close_time)
                found = (bar.open, bar.high, bar.low, bar.close, bar.volume)
                if true is None or not np.allclose(found, true, rtol=1e-6):
                    if (symbol, bar.close_time) in restated:
                        continue
                    self._wrong("wrong bars taken for good", f"{symbol} {bar.close_time}: {found}, true {true}")

    def _faults(self, *names):
        return [e for e in self._by_kind["fault"] if e["detail"]["name"] in names]

    def _check_gaps(self):
        """No entry is decided at a close whose bar, or one of the bars before that must be whole, never came."""
        missing = {(e["symbol"], int(e["detail"]["detail"].split()[-1])) for e in self._faults("kline_missing")}
        for intent in self._intents.values():
            if intent.role != "entry" or intent.status == "rejected":
                continue
            decided = intent.time - intent.time % _MINUTE
            needed = [decided - n * _MINUTE for n in range(self.ready_bars)]
            hit = [bar for bar in needed if (intent.symbol, bar) in missing]
            if hit:
                self._wrong("entries on a gap", f"{intent.id} decided at {intent.time}, bar {hit[0]} was missing")

    # -- orders and fills ------------------------------------------------------------------------------------------

    def _check_orders(self):
        placed = Counter(e["detail"]["client_id"] for e in self._by_kind["order"] if not e["detail"]["algo_id"])
        placed.update(e["detail"]["client_id"] for e in self._by_kind["algo"])
        for client_id, times in placed.items():
            if client_id.startswith(("autoclose-", "adl_", "settlement_")):
                continue
            if times > 1:
                self._wrong("duplicate orders of an intent", f"{client_id} was placed {times} times")
            if client_id not in self._intents:
                self._wrong("orders without a stored intent", client_id)
        entries = defaultdict(list)
        for intent in self._intents.values():
            if intent.role == "entry" and intent.id in placed:
                entries[intent.position_id].append(intent.id)
        for position, ids in entries.items():
            if len(ids) > 1:
                self._wrong("duplicate orders of an intent", f"position {position} was entered by {', '.join(ids)}")

    def _check_fills(self):
        """Per symbol and side: base units and quote currency of the ledger's fills = those booked."""
        done, booked = defaultdict(lambda: np.zeros(2)), defaultdict(lambda: np.zeros(2))
        for entry in self._by_kind["fill"]:
            d = entry["detail"]
            side = 1 if d["side"] in {1, "BUY"} else -1
            done[entry["symbol"], side] += (d["quantity"], d["quantity"] * d["price"])
        for t in self._trades:
            booked[t.symbol, t.side] += (t.quantity, t.quantity * t.entry_price)
            booked[t.symbol, -t.side] += (t.quantity, t.quantity * t.exit_price)
        unpriced = set()
        for p in self._open:
            opened = p.state["initial_quantity"]
            booked[p.symbol, p.side] += (opened, opened * p.state["entry_price"])
            if p.quantity < opened * (1 - 1e-9):
                # What a part was closed at is not in the position's row: of that symbol only quantities are compared.
                booked[p.symbol, -p.side] += (opened - p.quantity, 0.0)
                unpriced.add(p.symbol)
        for key in sorted(done.keys() | booked.keys()):
            if key[0] in unpriced:
                done[key][1] = booked[key][1]
            if not np.allclose(done[key], booked[key], rtol=1e-6, atol=1e-6):
                self._wrong(
                    "lost or invented fills",
                    f"{key[0]} side {key[1]:+d}: the exchange filled {done[key][0]:.8g} for {done[key][1]:.8g}, "
                    f"booked are {booked[key][0]:.8g} for {booked[key][1]:.8g}",
                )

    def _check_stops(self):
        open_since = {}
        end = self._play.lives[-1].until if self._play.lives else 0
        spans = []
        for entry in self._play.ledger:
            if entry["kind"] == "naked":
                open_since[entry["symbol"]] = entry["time"]
            elif entry["kind"] == "covered" and entry["symbol"] in open_since:
                spans.append((entry["symbol"], open_since.pop(entry["symbol"]), entry["time"]))
        spans += [(symbol, since, max(end, since)) for symbol, since in open_since.items()]
        for symbol, since, until in spans:
            naked = (until - since - self._excuse(since, until)) / 1_000
            self.verdict.counts["naked spans"] += 1
            longest = self.verdict.counts["longest naked ms"]
            self.verdict.counts["longest naked ms"] = max(longest, round(naked * 1_000))
            if naked > max(self.stop_ack_s, _REACTION_WALL_S * self.speed):
                self._wrong("positions without a stop too long", f"{symbol} from {since} for {naked:.1f} s")

    def _check_ages(self):
        opened, spans = {}, []
        end = self._play.lives[-1].until if self._play.lives else 0
        for entry in self._play.ledger:
            if entry["kind"] == "opened":
                opened[entry["symbol"]] = entry["time"]
            elif entry["kind"] == "closed" and entry["symbol"] in opened:
                spans.append((entry["symbol"], opened.pop(entry["symbol"]), entry["time"]))
        spans += [(symbol, since, max(end, since)) for symbol, since in opened.items()]
        for symbol, since, until in spans:
            limit = since + self.max_hours * 3_600_000
            over = (until - limit - self._excuse(limit, until)) / 1_000 if until > limit else 0.0
            if over > max(_AGE_SLACK_S, _REACTION_WALL_S * self.speed) and not self._is_halted(symbol, limit, until):
                self._wrong("positions too old", f"{symbol} from {since}: {over:.0f} s past its time")

    def _is_halted(self, symbol, since, until):
        """Whether a symbol did not trade when it was to be closed: nobody could close it then."""
        states = [(e["time"], e["detail"]["status"]) for e in self._by_kind["status"] if e["symbol"] == symbol]
        halts = [time for time, status in states if status != "TRADING"]
        return any(
            time < until and min((t for t, s in states if s == "TRADING" and t > time), default=until) > since
            for time in halts
        )

    def _check_end(self):
        stored = {p.symbol: p.side * p.quantity for p in self._open}
        held = {s: q for s, q in self._play.positions.items() if q}
        if self._play.problems:
            return
        for symbol in sorted(stored.keys() | held.keys()):
            ours, theirs = stored.get(symbol, 0.0), held.get(symbol, 0.0)
            if not np.isclose(ours, theirs, rtol=1e-9, atol=1e-9):
                self._wrong("database and exchange differ", f"{symbol}: stored {ours:g}, at the exchange {theirs:g}")


def true_bars(scenario, start=START, days=1):
    """The true bars: symbol to close time to numbers."""
    feed = SyntheticFeed(
        SyntheticFeedConfig(symbols=scenario.symbols, start=start, days=days, seed=scenario.seed, annual_volatility=3.0)
    )
    found = {symbol: {} for symbol in scenario.symbols}
    since = feed.slt_describe_market().start
    for bars in feed.slt_read_bars(start=since, rows=1_440):
        for column, symbol in enumerate(bars.symbols):
            for row in np.flatnonzero(bars.state[:, column] == 1):
                values = (bars.open, bars.high, bars.low, bars.close, bars.volume)
                found[symbol][int(bars.close_time[row])] = tuple(float(v[row, column]) for v in values)
    return found
