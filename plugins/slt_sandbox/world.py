"""Faults of the exchange as a whole: what happens to symbols, positions, keys, the clock, and the process itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

    from slt_sandbox.clock import MarketClock
    from slt_sandbox.exchange import Exchange
    from slt_sandbox.fault_rules import FaultRule, Schedule

__all__ = ["World"]

_HALTED = "PRE_SETTLE"
_UNLISTED = "PENDING_TRADING"


class World:
    """Lets market faults happen when they are due: at every bar's end, and as soon as a rule is given.

    Args:
        schedule: The rules.
        exchange: What they happen to.
        clock: The market's clock.
        note: Told of each: name, symbol, and more of it.
        break_private: Breaks the lines of the user streams; gives how many there were.
    """

    def __init__(
        self,
        schedule: Schedule,
        exchange: Exchange,
        clock: MarketClock,
        note: Callable[[str, str, str], None],
        break_private: Callable[[], int],
    ) -> None:
        self._schedule = schedule
        self._exchange = exchange
        self._clock = clock
        self._note = note
        self._break_private = break_private
        self._halted: dict[str, int] = {}
        self._delivered: dict[str, int] = {}
        self._acts: dict[str, Callable[[FaultRule], None]] = {
            "listen_key_expired": self._expire_keys,
            "clock_jump": self._jump,
            "liquidation": self._close_by_force,
            "adl": self._close_by_force,
            "halt": self._halt,
            "listing": self._list,
            "delisting": self._delist,
            "stall": self._stall,
            "user_cut": self._cut,
        }
        for rule in schedule.rules("market"):
            self.prepare(rule)

    def prepare(self, rule: FaultRule) -> None:
        """Make ready for a rule: a symbol that is to be listed does not trade before."""
        if rule.name == "listing" and rule.symbol and self._exchange.status(rule.symbol) == "TRADING":
            self._exchange.set_status(rule.symbol, _UNLISTED)

    def turn(self) -> None:
        """Let happen what is due now."""
        now = self._clock.now()
        for symbol, until in list(self._halted.items()):
            if until <= now:
                del self._halted[symbol]
                self._exchange.set_status(symbol, "TRADING")
        for symbol, due in list(self._delivered.items()):
            if due <= now:
                del self._delivered[symbol]
                self._exchange.delist(symbol)
        for rule in self._schedule.rules("market"):
            if self._is_possible(rule):
                for struck in self._schedule.strikes("market", now, symbol=rule.symbol, names=(rule.name,)):
                    self._acts[struck.name](struck)

    def _is_possible(self, rule: FaultRule) -> bool:
        """Whether there is anything for a fault to happen to: only then does it count as a chance."""
        if rule.name in {"liquidation", "adl"}:
            return bool(self._positions(rule.symbol))
        if rule.name in {"listen_key_expired", "user_cut"}:
            return self._exchange.listen_keys.next_expiry() is not None
        return True

    def _positions(self, symbol: str) -> list[tuple[str, str]]:
        """``(API key, symbol)`` of every open position, or of those in one symbol."""
        return [
            (account.api_key, position.symbol)
            for account in self._exchange.accounts()
            for position in account.book.positions()
            if symbol in {"", position.symbol}
        ]

    def _expire_keys(self, rule: FaultRule) -> None:
        for key, api_key in self._exchange.listen_keys.expire(1 << 62):
            self._note(rule.name, "", "")
            self._exchange.expire_listen_key(key, api_key)

    def _jump(self, rule: FaultRule) -> None:
        self._clock.jump_ms += int(rule.wait * 1_000)
        self._note(rule.name, "", f"{rule.wait:g} s")

    def _close_by_force(self, rule: FaultRule) -> None:
        api_key, symbol = self._positions(rule.symbol)[0]
        self._note(rule.name, symbol, "")
        act: Any = self._exchange.force_liquidation if rule.name == "liquidation" else self._exchange.force_adl
        act(api_key, symbol)

    def _halt(self, rule: FaultRule) -> None:
        for symbol in [rule.symbol] if rule.symbol else list(self._exchange.rules)[:1]:
            self._note(rule.name, symbol, f"{rule.wait:g} s")
            self._exchange.set_status(symbol, _HALTED)
            self._halted[symbol] = self._clock.now() + int(rule.wait * 1_000)

    def _list(self, rule: FaultRule) -> None:
        self._note(rule.name, rule.symbol, "")
        self._exchange.set_status(rule.symbol, "TRADING")

    def _delist(self, rule: FaultRule) -> None:
        symbol = rule.symbol or next(iter(self._exchange.rules))
        self._note(rule.name, symbol, f"in {rule.wait:g} s" if rule.wait else "")
        if rule.wait:
            self._delivered[symbol] = self._clock.now() + int(rule.wait * 1_000)
            self._exchange.announce_delivery(symbol, self._delivered[symbol])
        else:
            self._exchange.delist(symbol)

    def _cut(self, rule: FaultRule) -> None:
        self._note(rule.name, "", f"{self._break_private()} user streams")

    def _stall(self, rule: FaultRule) -> None:
        self._note(rule.name, "", f"{rule.wait:g} s")
        time.sleep(rule.wait)  # the whole process is to stand still, as one does that was stopped by a signal
