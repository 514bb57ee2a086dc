"""What happens in a part of the week: drawn from its seed alone."""

from __future__ import annotations

import itertools
import random
from datetime import date, timedelta

from attrs import frozen

SERVICES = ("PostgreSQL", "cache", "telegram", "discord")
MAX_HOURS, READY_BARS = 2.0, 2
_PAUSED = 0.9
"""Share of the ends after which the market waits: a start of some seconds would else be an hour of it or more."""
_HOWS = ("kill", "kill", "pause", "restart")
_DOWN_S = {"PostgreSQL": (0.2, 4.0), "cache": (0.2, 3.0), "telegram": (0.2, 4.0), "discord": (0.2, 4.0)}
"""Wall seconds of an outage, least and most."""


@frozen
class End:
    """How a life of the run ends.

    Attributes:
        share: When, as a share of the life that it is given.
        is_killed: By SIGKILL, else by SIGTERM.
        is_pair: Whether a second instance was started together with it, to take over.
        is_paused: Whether the market waits while nobody trades.
    """

    share: float
    is_killed: bool
    is_pair: bool
    is_paused: bool


@frozen
class Outage:
    """What happens to a service.

    Attributes:
        share: When, as a share of the part.
        service: To whom.
        how: ``kill``, ``pause`` or ``restart``.
        seconds: For how long, of wall time.
    """

    share: float
    service: str
    how: str
    seconds: float


@frozen
class Part:
    """A day of the week, or less.

    Attributes:
        week: Seed of the week.
        number: Which part, from 1.
        minutes: Length in market time.
        speed: Market seconds per second.
        ends: How the lives of the run end, in order; one more ends at the end.
        outages: What the services suffer, in order of time.
    """

    week: int
    number: int
    minutes: int
    speed: float
    ends: tuple[End, ...]
    outages: tuple[Outage, ...]
    rules: tuple[str, ...] = ()
    slices: int = 1
    days: int = 3

    @property
    def seed(self):
        """Of its market and its run's name."""
        return self.week * 100 + self.number

    @property
    def start(self):
        """The day that it plays."""
        return str(date(2024, 1, 1) + timedelta(days=self.number - 1))

    @property
    def symbols(self):
        """What the run trades."""
        return tuple(f"SYN{self.seed}{letter}USDT" for letter in "ABC")

    @property
    def listed(self):
        """What the exchange lists."""
        return self.symbols


def draw(week, options):
    """The parts of a week.

    Args:
        week: Its seed.
        options: parts, minutes, speed, kills, stops, pairs (of all parts together) and outages (of a service and part).
    """
    chance = random.Random(f"week {week}")
    killed = [True] * options.kills + [False] * options.stops
    chance.shuffle(killed)
    parts = []
    for number in range(1, options.parts + 1):
        own = _draw_ends(chance, killed[number - 1 :: options.parts], _fair_share(options.pairs, number, options.parts))
        outages = [_outage(chance, service) for service in SERVICES for _ in range(options.outages)]
        outages.sort(key=lambda one: one.share)
        parts.append(Part(week, number, options.minutes, options.speed, own, tuple(outages)))
    return parts


def _fair_share(whole, number, parts):
    return whole // parts + (number <= whole % parts)


def _draw_ends(chance, killed, pairs):
    """The ends of a part's lives. The first begins alone; nor do two begin at once where one has just taken over."""
    places = range(1, len(killed))
    while True:
        paired = sorted(chance.sample(places, pairs))
        if all(b - a > 1 for a, b in itertools.pairwise(paired)):
            break
    return tuple(
        End(chance.uniform(0.1, 1.0), is_killed, number in paired, chance.random() < _PAUSED)
        for number, is_killed in enumerate(killed)
    )


def _outage(chance, service):
    return Outage(chance.uniform(0.02, 0.95), service, chance.choice(_HOWS), chance.uniform(*_DOWN_S[service]))
