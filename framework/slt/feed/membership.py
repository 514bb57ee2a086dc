"""Which symbols' streams are subscribed where, while symbols come and go."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from slt.feed.connections import Connection
    from slt.feed.intake import Intake
    from slt.types import ConnectionPlan, SymbolChange

__all__ = ["Membership"]

_LINGERING_WAVES = 2
"""Waves that a symbol's streams stay subscribed for when it stops trading: its last bar has yet to close."""


class Membership:
    """Spreads streams of symbols that come over the connections, and takes those of symbols that left off them.

    Args:
        plan: The feed's ``slt_plan_connections``.
        intake: Sorts the frames.
        connections: The connections that there are, as a list that is kept up to date.
        connect: Opens one more.
    """

    def __init__(
        self,
        plan: Callable[..., tuple[ConnectionPlan, ...]],
        intake: Intake,
        connections: list[Connection],
        connect: Callable[[ConnectionPlan], None],
    ) -> None:
        self._plan = plan
        self._intake = intake
        self._connections = connections
        self._connect = connect
        self._known: dict[str, SymbolChange] = {}
        self._leaving: dict[str, int] = {}
        self._left: set[str] = set()

    def is_news(self, change: SymbolChange) -> bool:
        """Whether a symbol stands otherwise than it was last said to; at first it is taken to trade."""
        known = self._known.get(change.symbol)
        if known is None:
            return not change.is_tradable or bool(change.delivery_time)
        before = (known.status, known.is_tradable, known.delivery_time)
        return before != (change.status, change.is_tradable, change.delivery_time)

    def add(self, symbols: tuple[str, ...], new: frozenset[str]) -> list[tuple[str, str]]:
        """Subscribe the streams of new symbols.

        They come onto the connection with the fewest streams or, where the feed would now open more connections than
        there are, onto one of their own.

        Args:
            symbols: All that are followed.
            new: Those among them that are new.

        Returns:
            Name and symbol of each new stream.
        """
        plans = self._plan(symbols=symbols)
        streams = [pair for plan in plans for pair in zip(plan.streams, plan.symbols, strict=True) if pair[1] in new]
        if not streams:
            return []
        self._intake.add(streams)
        names, theirs = zip(*streams, strict=True)
        if len(plans) > len(self._connections):
            name = f"more-{len(self._connections) + 1}"
            self._connect(type(plans[0])(name=name, url=plans[0].url, streams=names, symbols=theirs))
        else:
            fewest = min(self._connections, key=lambda one: len(one.plan.streams))
            fewest.subscribe_more(names, theirs)
        return streams

    def note(self, change: SymbolChange) -> None:
        """A symbol stands otherwise: it is missed no longer when it is silent, or missed again."""
        self._known[change.symbol] = change
        for connection in self._connections:
            connection.expect(change.symbol, is_tradable=change.is_tradable)
        if not change.is_tradable:
            self._leaving.setdefault(change.symbol, _LINGERING_WAVES)
            return
        self._leaving.pop(change.symbol, None)
        if change.symbol in self._left:
            self._left.discard(change.symbol)
            states = [state for state in self._intake.streams.values() if state.symbol == change.symbol]
            fewest = min(self._connections, key=lambda one: len(one.plan.streams))
            fewest.subscribe_more(tuple(s.name for s in states), tuple(s.symbol for s in states))

    def leave(self) -> None:
        """A wave has been cut: unsubscribe the streams of those that have been gone for long enough."""
        for symbol, waves in list(self._leaving.items()):
            self._leaving[symbol] = waves - 1
            if waves <= 0:
                del self._leaving[symbol]
                self._left.add(symbol)
                for connection in self._connections:
                    connection.drop(symbol)
