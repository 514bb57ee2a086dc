"""A cache plugin behind a budget and a breaker: what it owes, the storage answers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import define

from slt.log import get_logger

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from slt.config import CacheConfig
    from slt.hookspecs import CacheSpecs

__all__ = ["GuardedPlugin"]

R = TypeVar("R")
_CLOSE_SECONDS = 0.5
_log = get_logger("error")


@define(eq=False)
class GuardedPlugin:
    """A plugin that is asked with patience of `CacheConfig.budget_ms`, and left alone after failures in a row.

    Attributes:
        failures: Answers it owed.
        skipped: Questions it was not asked because it was left alone.
        last_error: Type of its last error; empty = none ever.
    """

    _plugin: CacheSpecs
    _config: CacheConfig
    _clock: Callable[[], float]
    failures: int = 0
    skipped: int = 0
    last_error: str = ""
    _in_a_row: int = 0
    _closed_until: float = 0.0
    _pause: float = 0.0
    _is_trying: bool = False

    @property
    def is_paused(self) -> bool:
        """Whether it is left alone, or on trial."""
        return self._in_a_row >= self._config.failures

    @property
    def pause_left(self) -> float:
        """Seconds until it may be asked again."""
        return max(self._closed_until - self._clock(), 0.0) if self.is_paused else 0.0

    async def ask(self, question: Callable[[CacheSpecs], Coroutine[Any, Any, R]]) -> R | None:
        """The plugin's answer; None where it fails, takes too long, or is left alone."""
        is_trial = self.is_paused
        if is_trial and (self._is_trying or self.pause_left > 0.0):
            self.skipped += 1
            return None
        self._is_trying = is_trial
        try:
            async with asyncio.timeout(self._config.budget_ms / 1000):
                answer = await question(self._plugin)
        except Exception as error:  # noqa: BLE001 - whatever a plugin raises, the storage below has the answer
            self._fail(error, is_trial=is_trial)
            return None
        finally:
            if is_trial:
                self._is_trying = False
        if self.is_paused:
            get_logger("lifecycle").info("cache answers again")
        self._in_a_row, self._pause = 0, 0.0
        return answer

    async def close(self) -> None:
        """Close the plugin; what goes wrong is logged."""
        try:
            async with asyncio.timeout(_CLOSE_SECONDS):
                await self._plugin.slt_close_cache()
        except Exception as error:  # noqa: BLE001 - what does not close must not keep the run from ending
            _log.warning("cache failed to close", cause=type(error).__name__)

    def _fail(self, error: Exception, *, is_trial: bool) -> None:
        # Only the type: the text of a foreign error may quote the address with its password.
        self.last_error = type(error).__name__
        self.failures += 1
        self._in_a_row += 1
        config = self._config
        # What was asked before the pause began and fails in it is the same failure, and lengthens nothing.
        if not is_trial and self._in_a_row != config.failures:
            return
        self._pause = min(max(self._pause * 2.0, config.pause_seconds), config.max_pause_seconds)
        if self._in_a_row == config.failures:
            _log.warning(
                "cache left alone, the storage is asked instead", cause=self.last_error, seconds=config.pause_seconds
            )
        self._closed_until = self._clock() + self._pause
