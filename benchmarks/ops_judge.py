"""What a part of the week must show: the exchange's ledger against the database against what the channels took."""

from __future__ import annotations

import html
import itertools
import json
from collections import Counter, defaultdict

from chaos_judge import INVARIANTS, Judge
from ops_config import stop_ack_seconds
from ops_week import MAX_HOURS, READY_BARS

from slt.notices import close_notice, format_time
from slt.types import OpenPosition

__all__ = ["OPS_INVARIANTS", "OpsJudge", "read_taken"]

OPS_INVARIANTS = (
    *INVARIANTS,
    "ledger and database differ in trades",
    "notices lost",
    "notices doubled without cause",
    "notices that tell of nothing",
    "clean stops without exit code 5",
    "pairs without a standby",
)
_NEAR_S = 3.0
"""Wall seconds around the death of a channel, or of the run, in which a message may be taken and its answer lost."""


class OpsJudge(Judge):
    """Judges one part; see `chaos_judge.Judge`."""

    max_hours, ready_bars = MAX_HOURS, READY_BARS

    def __init__(self, part, play, storage, stalls, files):
        super().__init__(part, play, storage, stalls)
        self.speed, self.start, self.days = part.speed, part.start, part.days
        self.stop_ack_s = stop_ack_seconds(part)
        self._files = files

    async def judge(self):
        """All invariants."""
        verdict = await super().judge()
        positions = await self._read(OpenPosition)
        self._check_trades()
        for name, file in self._files.items():
            self._check_channel(name, read_taken(file, name), positions)
        for code in self._play.codes:
            if code != 5:
                self._wrong("clean stops without exit code 5", f"exit code {code}")
        if self._play.pairs != self._play.waited:
            self._wrong("pairs without a standby", f"{self._play.pairs} pairs, {self._play.waited} standbys")
        return verdict

    def _check_trades(self):
        """Each position that the exchange saw opened and closed is one trade in the database."""
        closed, opened = Counter(), {}
        for entry in self._by_kind["opened"] + self._by_kind["closed"]:
            if entry["kind"] == "closed":
                closed[entry["symbol"]] += 1
            else:
                opened[entry["symbol"]] = entry
        stored = Counter(trade.symbol for trade in self._trades)
        self.verdict.counts["ledger trades"] = sum(closed.values())
        for symbol in closed.keys() | stored.keys():
            if closed[symbol] != stored[symbol]:
                text = f"{symbol}: the exchange closed {closed[symbol]} positions, stored are {stored[symbol]} trades"
                self._wrong("ledger and database differ in trades", text)
        for exit_name, number in Counter(trade.exit for trade in self._trades).items():
            self.verdict.counts[f"exit {exit_name}"] = number

    # -- notices ---------------------------------------------------------------------------------------------------

    def _check_channel(self, name, taken, positions):
        counts = self.verdict.counts
        closes = {(n.title, tuple(f"{k}: {v}" for k, v in n.fields)) for n in map(close_notice, self._trades)}
        closes = {key: f"close {key[0]}" for key in closes}
        opens = {(p.symbol, format_time(p.entry_time)) for p in positions}
        singles, listed, hidden = defaultdict(list), Counter(), Counter()
        for message in taken:
            if " notices that had to wait: " in message["title"]:
                listed_here = _listed(message)
                listed.update(listed_here)
                hidden.update(_hidden(message, listed_here))
                counts[f"{name} digests"] += 1
            else:
                singles[message["title"], message["fields"]].append(message)
        self._check_closes(name, closes, singles, listed, hidden)
        self._check_opens(name, opens, singles, listed, hidden)
        for key, messages in singles.items():
            self._check_doubles(name, key, messages)

    def _check_closes(self, name, closes, singles, listed, hidden):
        told = [key for key in closes if key in singles]
        in_digests = [key for key in closes if key not in singles and listed[_line(key)]]
        missing = [key for key in closes if key not in singles and not listed[_line(key)]]
        self.verdict.counts[f"{name} closes"] += len(told) + len(in_digests) + min(len(missing), hidden["close"])
        if len(missing) > hidden["close"]:
            text = f"{name}: {len(missing)} closes were not told one by one, digests stand for {hidden['close']} more"
            self._wrong("notices lost", f"{text}: {missing[0][0]} {missing[0][1][-1]}")
        for title, fields in singles:
            if title.startswith("Closed ") and (title, fields) not in closes:
                self._wrong("notices that tell of nothing", f"{name}: {title} {fields[-1]}")

    def _check_opens(self, name, opens, singles, listed, hidden):
        told = {_open_key(title, fields[-1].removeprefix("Time: ")) for title, fields in singles if _is_open(title)}
        told |= {_open_key(title, time) for time, title in listed if _is_open(title)}
        missing = opens - told
        self.verdict.counts[f"{name} opens"] += len(opens) - max(0, len(missing) - hidden["open"])
        if len(missing) > hidden["open"]:
            symbol, time = min(missing)
            text = f"{name}: {len(missing)} opens were not told one by one, digests stand for {hidden['open']} more"
            self._wrong("notices lost", f"{text}: {symbol} {time}")

    def _check_doubles(self, name, key, messages):
        """A message that was taken again needs a reason: nobody had heard that it was taken the first time."""
        for first, second in itertools.pairwise(messages):
            why = self._why_again(name, first, second)
            self.verdict.counts[f"{name} doubles: {why}" if why else f"{name} doubles without cause"] += 1
            if not why:
                self._wrong(
                    "notices doubled without cause", f"{name}: {key[0]} after {second['time'] - first['time']:.2f} s"
                )

    def _why_again(self, name, first, second):
        if not first["answered"]:
            return "the channel died after taking it"
        spans = [(a - _NEAR_S, b + _NEAR_S) for a, b in self._play.downs.get(name, ())]
        if any(a <= first["time"] <= b for a, b in spans) or first["answered"] - first["time"] > 1.0:
            return "the channel died after taking it"
        if any(a - _NEAR_S <= first["time"] <= b <= second["time"] for a, b in self._play.killed):
            return "slt ended before it had noted the answer"
        return ""


def read_taken(file, kind):
    """What a channel took: time, whether and when it answered, title, and fields as ``label: text``."""
    found = {}
    for line in file.read_text().splitlines():
        entry = json.loads(line)
        if entry["event"] == "taken":
            title, fields = (_of_telegram if kind == "telegram" else _of_discord)(entry["message"])
            found[entry["number"]] = {"time": entry["time"], "answered": None, "title": title, "fields": fields}
        elif entry["event"] == "answered":
            found[entry["number"]]["answered"] = entry["time"]
    return list(found.values())


def _of_telegram(text):
    first, *rest = text.split("\n")
    title = html.unescape(first.partition("<b>")[2].removesuffix("</b>"))
    return title, tuple(html.unescape(line) for line in rest)


def _of_discord(embed):
    return _plain(embed["title"]), tuple(f"{_plain(f['name'])}: {_plain(f['value'])}" for f in embed["fields"])


def _plain(text):
    return text.replace("\\", "")


def _listed(message):
    """The notices that a digest shows: pairs of time and title."""
    lines = (line.partition(" UTC: ") for line in message["fields"])
    return Counter((f"{time} UTC", title) for time, found, title in lines if found)


def _hidden(message, listed):
    """How many of each kind a digest stands for without showing them."""
    told = message["title"].partition(": ")[2].split(", ")
    counts = Counter({kind: int(number) for number, kind in (part.split() for part in told)})
    words = {"Opened": "open", "Closed": "close"}
    shown = Counter(words[title.split()[0]] for _, title in listed.elements() if title.split()[0] in words)
    return Counter({kind: counts[kind] - shown[kind] for kind in ("open", "close")})


def _line(key):
    """A closed position as a digest shows it."""
    return key[1][-1].removeprefix("Time: "), key[0]


def _is_open(title):
    return title.startswith("Opened ")


def _open_key(title, time):
    return title.split()[2], time
