"""Whether a connection is alive, judged by its data: an open socket proves nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

if TYPE_CHECKING:
    from slt.config import FeedConfig

__all__ = ["Liveness", "Verdict"]


@frozen
class Verdict:
    """What to do about a connection.

    Attributes:
        cause: Why it must be made anew: ``silent`` (no message at all) or ``symbols_silent``; empty: it need not be.
        resubscribe: Streams to subscribe again.
    """

    cause: str = ""
    resubscribe: tuple[str, ...] = ()


@define
class Liveness:
    """Judges one connection; all times are seconds of one steady clock.

    Attributes:
        config: The limits.
        heard: When each symbol's stream last said something, by stream; at first, when it was subscribed.
        last: When any stream of the connection last said something; answers to control frames do not count.
        begun: When the present socket was opened.
    """

    config: FeedConfig
    heard: dict[str, float] = field(factory=dict)
    last: float = 0.0
    begun: float = 0.0
    _asked: dict[str, float] = field(factory=dict)
    _remade: float | None = None

    def begin(self, now: float, streams: tuple[str, ...]) -> None:
        """A new socket subscribes these streams; nothing is held against them yet."""
        self.last = self.begun = now
        self.heard.clear()
        self.heard.update(dict.fromkeys(streams, now))

    def silent(self, now: float) -> tuple[str, ...]:
        """Streams that have been silent too long."""
        limit = now - self.config.symbol_silence_seconds
        return tuple(stream for stream, time in self.heard.items() if time < limit)

    def judge(self, now: float) -> Verdict:
        """What to do now; an answer is not given again before its pause is over.

        A symbol without trades is silent for good reason, so both kinds of remedy pause for
        ``feed.resubscribe_minutes``.
        """
        if self.heard and now - self.last > self.config.silence_seconds:
            return Verdict("silent")
        silent = self.silent(now)
        if not silent:
            return Verdict()
        pause = self.config.resubscribe_minutes * 60
        if len(silent) >= self.config.silent_share * len(self.heard) and len(self.heard) > 1:
            if self._remade is None or now - self._remade >= pause:
                self._remade = now
                return Verdict("symbols_silent")
            return Verdict()
        if 2 * len(silent) >= len(self.heard):
            return Verdict()
        due = tuple(s for s in silent if s not in self._asked or now - self._asked[s] >= pause)
        self._asked.update(dict.fromkeys(due, now))
        return Verdict("", due)
