"""What the parts of the engine share: set-up, account, memory, and the commands being collected."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import evolve, field, frozen

from slt.config import AccountConfig, LearningConfig, RiskConfig
from slt.events import Command, Notify, Store
from slt.notices import alert_notice
from slt.trading.barriers import Barriers
from slt.trading.learner import Learner
from slt.trading.portfolio import Portfolio
from slt.trading.risk import Gates
from slt.types import Order, OrderIntent, Record, Size, Skip, SymbolRules

if TYPE_CHECKING:
    from collections.abc import Callable

    from slt.types import ExitMark, ExitOrder, FundingRates

__all__ = ["Core", "EngineSetup"]


@frozen(eq=False, kw_only=True)
class EngineSetup:
    """Everything an engine is built from; the same set-up and events give the same commands.

    Attributes:
        run_id: Prefix of every id.
        symbols: Column order of every block.
        interval_ms: Base interval.
        strategies: Config names, in the order of a block's views.
        names: Columns of the model's vector.
        schema_hash: Identity of that vector.
        rules: Trading rules per symbol; a symbol without rules is not traded.
        sizer: ``slt_size_position`` of the chosen sizer.
        sizer_name: Its config name.
        exits: Name and ``slt_check_exit`` of each exit, in config order.
        funding: Funding per symbol where known, for the net outcome of barriers.
        account: Section ``[account]``.
        risk: Section ``[risk]``.
        learning: Section ``[learning]``.
        seed: The run's seed.
        is_training_locked: No fits.
        equity_every_minutes: Distance of the points of the equity curve.
        summary: Local time and time zone of the daily summary.
        strangers: What becomes of positions that the exchange has and the books have not: ``ignore``, ``adopt`` or
            ``flatten``.
    """

    run_id: str
    symbols: tuple[str, ...]
    interval_ms: int
    strategies: tuple[str, ...]
    names: tuple[str, ...]
    schema_hash: str
    rules: dict[str, SymbolRules]
    sizer: Callable[..., Size | Skip]
    sizer_name: str
    exits: list[tuple[str, Callable[..., ExitOrder | ExitMark | None]]]
    funding: dict[str, FundingRates] = field(factory=dict)
    account: AccountConfig = field(factory=AccountConfig)
    risk: RiskConfig = field(factory=RiskConfig)
    learning: LearningConfig = field(factory=LearningConfig)
    seed: int = 1
    is_training_locked: bool = False
    equity_every_minutes: int = 60
    summary: tuple[str, str] = ("00:00", "UTC")
    strangers: str = "ignore"

    @property
    def owner(self) -> str:
        """Prefix of every client id of runs of this name: an order with it on the account is ours."""
        return f"{self.run_id.rpartition('-')[0]}-"


class Core:
    """The engine's memory and its outgoing commands.

    Args:
        setup: What the engine is built from.
    """

    def __init__(self, setup: EngineSetup) -> None:
        self.setup = setup
        self.time = 0
        self.clock = 0
        self.pace = 1.0
        self.sequence = 0
        self.faults: list[str] = []
        self.out: list[Command] = []
        self.portfolio = Portfolio(setup.run_id, setup.account.initial_equity, setup.risk.win_rate_trades)
        self.gates = Gates(setup.risk, self.portfolio)
        self.barriers = Barriers(
            setup.symbols, setup.learning.horizon_minutes, setup.risk.min_stop_fraction, setup.funding
        )
        self.learner = Learner(
            setup.learning,
            setup.run_id,
            setup.strategies,
            setup.names,
            setup.schema_hash,
            seed=setup.seed,
            is_locked=setup.is_training_locked,
        )

    def next_id(self) -> str:
        """A new id: ``<run id>-<sequence>``."""
        self.sequence += 1
        return f"{self.setup.run_id}-{self.sequence:06d}"

    def emit(self, command: Command) -> None:
        """Add a command to those of the event being handled."""
        self.out.append(command)

    def store(self, record: Record) -> None:
        """Ask for a record to be kept."""
        self.out.append(Store(record))

    def store_intent(self, order: Order, status: str, note: str = "", filled: float = 0.0) -> None:
        """Ask for an order's state to be kept."""
        self.store(
            OrderIntent(
                id=order.client_id,
                run_id=self.setup.run_id,
                position_id=order.position_id,
                symbol=order.symbol,
                side=int(order.side),
                type=str(order.type),
                role=str(order.role),
                quantity=order.quantity,
                price=order.price,
                stop_price=order.stop_price,
                reduce_only=order.reduce_only,
                time=order.time,
                reason=order.reason,
                status=status,
                filled_quantity=filled,
                note=note,
            )
        )

    def alert(self, code: str, title: str, detail: str) -> None:
        """Tell people that something needs their attention; `code` names the situation in one word."""
        fields = (("Detail", detail),) if detail else ()
        self.emit(Notify(alert_notice(code, title, run_id=self.setup.run_id, time=self.time, fields=fields)))

    def fault(self, text: str) -> None:
        """A plugin broke: halt entries for the rest of the run, keep managing positions, tell people."""
        self.faults.append(text)
        self.halt("", "")
        self.alert("plugin_failed", "A plugin failed; entries are halted, positions stay managed", text)

    def halt(self, reason: str, source: str) -> None:
        """Halt entries for one source, or take its halt back where the reason is empty; a failed plugin halts on."""
        halts = self.gates.state.halts
        if reason:
            halts[source] = reason
        else:
            halts.pop(source, None)
        self.gates.state.halted = next(iter(halts.values()), self.faults[0] if self.faults else "")

    def snapshot(self) -> dict[str, Any]:
        """Everything remembered, as picklable data."""
        return {
            "time": self.time,
            "clock": self.clock,
            "pace": self.pace,
            "sequence": self.sequence,
            "faults": self.faults,
            "portfolio": self.portfolio.__dict__,
            "risk": self.gates.state,
            "barriers": self.barriers.snapshot(),
            "learner": self.learner.states,
            "started": self.learner.started,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `snapshot` gave, after a round trip through pickle."""
        self.time, self.clock, self.pace = state["time"], state["clock"], state["pace"]
        self.sequence, self.faults = state["sequence"], list(state["faults"])
        self.portfolio.__dict__.update(state["portfolio"])
        self.gates.state = evolve(state["risk"])
        self.barriers.restore(state["barriers"])
        self.learner.states = state["learner"]
        self.learner.started = state["started"]
