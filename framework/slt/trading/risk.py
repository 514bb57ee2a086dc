"""The gates every proposal passes, and the guard over the margin in use.

A gate says nothing when it lets a proposal through; otherwise it gives its name and one line with what it found and
what is allowed. `Gates.check_early` holds those that do not depend on the ranking, in the order they are asked.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import define, field, frozen

from slt.types import MINUTE_MS

if TYPE_CHECKING:
    from slt.config import RiskConfig
    from slt.trading.portfolio import Holding, Portfolio
    from slt.trading.selector import Candidate

__all__ = ["DAY_MS", "Gates", "Refusal", "RiskState"]

DAY_MS = 86_400_000


@frozen
class Refusal:
    """Why a proposal was refused.

    Attributes:
        gate: Name of the gate.
        detail: One line: what was found and what is allowed.
    """

    gate: str
    detail: str


@define
class RiskState:
    """What the gates remember; plain data for the snapshot.

    Attributes:
        day: Number of the UTC day since 1970.
        day_equity: Equity at its start.
        cooldown_until: Per symbol, ms UTC.
        guard_until: Next time the margin guard may close something, ms UTC.
        halted: Why entries are halted; empty = they are not.
        halts: Reason by source, of all that halt entries now.
        untradable: The exchange's word for each symbol that cannot be traded now.
        deliveries: When the exchange will settle a symbol for good, ms UTC, for each that has such a time.
        strangers: Signed quantity by symbol of positions on the account that are not slt's and are left alone.
    """

    day: int = -1
    day_equity: float = 0.0
    cooldown_until: dict[str, int] = field(factory=dict)
    guard_until: int = 0
    halted: str = ""
    halts: dict[str, str] = field(factory=dict)
    untradable: dict[str, str] = field(factory=dict)
    deliveries: dict[str, int] = field(factory=dict)
    strangers: dict[str, float] = field(factory=dict)


class Gates:
    """The gates with their limits and memory.

    Args:
        config: The limits.
        portfolio: The account they look at.
    """

    def __init__(self, config: RiskConfig, portfolio: Portfolio) -> None:
        self.config = config
        self.portfolio = portfolio
        self.state = RiskState()

    def roll_day(self, time: int) -> bool:
        """Start a new UTC day if `time` belongs to one; True when it does (not for the first day)."""
        day = time // DAY_MS
        if day == self.state.day:
            return False
        is_first = self.state.day < 0
        self.state.day, self.state.day_equity = day, self.portfolio.equity
        return not is_first

    def cool_down(self, symbol: str, time: int) -> None:
        """Leave a symbol alone after a losing trade."""
        self.state.cooldown_until[symbol] = time + self.config.cooldown_minutes * MINUTE_MS

    def check_early(self, candidate: Candidate, time: int, opposed: set[str]) -> Refusal | None:
        """The gates that do not depend on the ranking."""
        proposal = candidate.proposal
        if (halted := self.check_halted()) is not None:
            return halted
        if proposal.time < time:
            return Refusal(
                "stale", f"the bar came {(time - proposal.time) / 1000:.0f} s late; only fresh bars may enter"
            )
        if not candidate.is_ready:
            return Refusal("warm", "the features are not warm: too little history, or a gap within the last hour")
        if proposal.symbol in opposed:
            return Refusal("opposed", "strategies propose both sides of this symbol at once")
        return (
            self._check_symbol(proposal.symbol)
            or self._check_daily_loss(candidate)
            or self._check_cooldown(candidate, time)
            or self._check_cost(candidate)
        )

    def check_halted(self) -> Refusal | None:
        """The gate `halted`, asked again before each entry: a plugin may have failed on a better candidate."""
        return Refusal("halted", f"entries are halted: {self.state.halted}") if self.state.halted else None

    def check_slots(self) -> Refusal | None:
        """The gate `slots`, asked for each candidate in order of rank."""
        taken = len(self.portfolio.holdings.keys() | self.portfolio.entries.keys())
        if taken >= self.config.max_positions:
            return Refusal("slots", f"{taken} positions are open or under way; {self.config.max_positions} are allowed")
        return None

    def worst_loser(self, time: int) -> Holding | None:
        """What the margin guard closes now: the largest loser while margin in use is above the threshold; or None."""
        portfolio, config = self.portfolio, self.config
        if len(portfolio.holdings) == 0 or time < self.state.guard_until:
            return None
        equity = portfolio.equity
        if portfolio.margin_in_use <= config.margin_guard_threshold * equity:
            return None
        losers = [h for h in portfolio.holdings.values() if h.unrealised < 0 and not h.position.closing]
        if not losers:
            return None
        self.state.guard_until = time + config.margin_guard_cooldown_seconds * 1000
        return min(losers, key=lambda h: (h.unrealised, h.position.symbol))

    def _check_symbol(self, symbol: str) -> Refusal | None:
        if self.portfolio.engaged(symbol):
            return Refusal("position", "the symbol has a position or an entry under way; one per symbol is allowed")
        if (quantity := self.state.strangers.get(symbol)) is not None:
            return Refusal("position", f"the account holds {quantity:g} of this symbol that is not slt's")
        if (status := self.state.untradable.get(symbol)) is not None:
            return Refusal(
                "rules", f"the exchange says that the symbol is {status}; only one in TRADING may be entered"
            )
        return None

    def _check_daily_loss(self, candidate: Candidate) -> Refusal | None:
        start = self.state.day_equity
        loss = 1 - self.portfolio.equity / start if start > 0 else 1.0
        candidate.numbers["daily_loss"] = loss
        if loss >= self.config.max_daily_loss:
            return Refusal(
                "daily_loss",
                f"{loss:.2%} of the day's starting equity is lost; {self.config.max_daily_loss:.2%} is allowed",
            )
        return None

    def _check_cooldown(self, candidate: Candidate, time: int) -> Refusal | None:
        until = self.state.cooldown_until.get(candidate.proposal.symbol, 0)
        if time < until:
            minutes = (until - time) / MINUTE_MS
            return Refusal(
                "cooldown", f"the symbol lost lately; {minutes:.0f} more minutes of {self.config.cooldown_minutes}"
            )
        return None

    def _check_cost(self, candidate: Candidate) -> Refusal | None:
        share = candidate.numbers["cost_rate"] / candidate.numbers["stop_fraction"]
        candidate.numbers["cost_share"] = share
        if share > self.config.max_cost_share:
            return Refusal(
                "cost", f"a round trip costs {share:.1%} of the risk; {self.config.max_cost_share:.1%} is allowed"
            )
        return None
