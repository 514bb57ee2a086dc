"""The engine: every decision of slt, as a state machine without I/O.

``handle(event) -> commands``. It reads no clock (time comes in with events), draws no random numbers, starts no
task, and awaits nothing; the same events in the same order give the same commands. Back-test, paper and live run
this same code: only the drivers around it differ.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt.events import (
    AccountRead,
    BarsClosed,
    Block,
    CancelOrder,
    Command,
    EntriesHalted,
    Event,
    ModelReady,
    Notify,
    PluginFailed,
    PositionsLeft,
    QueryOrder,
    ReadAccount,
    RunEnding,
    StartFit,
    SymbolsJoined,
    Tick,
    UseModel,
)
from slt.notices import close_notice, daily_notice, next_summary
from slt.trading.accounts import BOOKS, AccountDesk
from slt.trading.closes import CloseDesk
from slt.trading.core import Core, EngineSetup
from slt.trading.entries import EntryDesk
from slt.trading.exits import ExitDesk, make_outlook
from slt.trading.fills import FillDesk
from slt.trading.inheritance import Inheritance
from slt.trading.universe import UniverseDesk
from slt.types import (
    MINUTE_MS,
    BarState,
    BrokerAlert,
    BrokerLink,
    EquityPoint,
    Fill,
    FundingPayment,
    OrderType,
    OrderUpdate,
    PricePoint,
    SymbolChange,
    Trade,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

    from slt.trading.portfolio import Holding, PendingEntry, Portfolio
    from slt.types import ModelVersion, Sample

__all__ = ["Engine"]

_HOUR_MS = 3_600_000
_CANDLE_MS = 300_000
_ABSENT = int(BarState.ABSENT)
_ASK_AFTER_MS = 10_000
"""Age of an order at market at which the broker is asked what became of it, and again after as long."""
_PEAK_STEP = 0.05
"""Rise of the peak gain (in R) after which a position is stored again."""


class Engine:
    """Decides entries and exits, keeps the books, and steers the learner.

    Args:
        setup: What it is built from.
    """

    def __init__(self, setup: EngineSetup) -> None:
        self._core = Core(setup)
        self._entries = EntryDesk(self._core)
        self._closes = CloseDesk(self._core)
        self._fills = FillDesk(self._core, self._closes, self._trade_closed)
        self._inheritance = Inheritance(self._core, self._fills)
        self._accounts = AccountDesk(self._core, self._fills, self._inheritance)
        self._exits = ExitDesk(setup.exits)
        self._universe = UniverseDesk(self._core, self._closes)
        self._views = {strategy: i for i, strategy in enumerate(setup.strategies)}
        self._block: Block | None = None
        self._followed = 0
        self._row = -1
        self._next_point: int | None = None
        self._asked: dict[str, int] = {}
        self._fit_judged = False
        self._day_trades: list[Trade] = []
        self._summary_due: int | None = None
        self._handlers: dict[type, Any] = {
            PricePoint: self._price_moved,
            BarsClosed: self._bars_closed,
            Fill: self._fills.book,
            OrderUpdate: self._fills.change,
            FundingPayment: self._fills.pay_funding,
            AccountRead: self._accounts.compare,
            BrokerLink: self._link_changed,
            BrokerAlert: self._alerted,
            SymbolChange: self._universe.change,
            SymbolsJoined: self._universe.join,
            PositionsLeft: self._inheritance.note,
            Tick: self._ticked,
            ModelReady: self._model_ready,
            EntriesHalted: self._entries_halted,
            PluginFailed: self._plugin_failed,
            RunEnding: self._run_ending,
        }

    @property
    def portfolio(self) -> Portfolio:
        """The account, to read."""
        return self._core.portfolio

    @property
    def faults(self) -> list[str]:
        """What plugins broke so far, one line each; entries have been halted since the first."""
        return self._core.faults

    @property
    def halts(self) -> dict[str, str]:
        """Why entries are halted now, by source; a failed plugin is among `faults` instead."""
        return dict(self._core.gates.state.halts)

    def champion(self, strategy: str) -> tuple[int, bytes]:
        """Version and artefact of the model in force; version 0 = UNTRAINED."""
        champion = self._core.learner.champion(strategy)
        return champion.version, champion.artefact

    def adopt(self, version: ModelVersion) -> None:
        """Begin with a model of an earlier run, before the first event; `version` is its row in this run."""
        self._core.learner.adopt(version)

    def adopt_samples(self, samples: Iterable[Sample]) -> int:
        """Begin with resolved samples of earlier runs, oldest first, before the first event; returns how many."""
        return self._core.learner.adopt_samples(samples)

    def pending_fits(self) -> list[StartFit]:
        """Fits asked for whose result has not taken effect; a driver carries them out again after a resume."""
        return [StartFit(request) for request in self._core.learner.pending()]

    @property
    def symbols(self) -> tuple[str, ...]:
        """Columns of the blocks that come."""
        return self._core.setup.symbols

    def handle(self, event: Event) -> list[Command]:
        """Take one event.

        Args:
            event: Events come in order of time; a block's last row is always given.

        Returns:
            Commands to carry out in order; a `SubmitOrder` waits until the intent stored before it is durable.
        """
        core = self._core
        core.time = event.time
        core.clock = max(core.clock, event.time)
        self._handlers[type(event)](event)
        commands, core.out = core.out, []
        return commands

    def snapshot(self) -> dict[str, Any]:
        """The whole state as picklable data; to be taken after the last row of a block has been handled."""
        return {
            "symbols": self._core.setup.symbols,
            "core": self._core.snapshot(),
            "next_point": self._next_point,
            "day_trades": self._day_trades,
            "summary": (self._summary_due, self._core.setup.summary),
            "broken_exits": sorted(self._exits.broken),
            "differing": self._accounts.differing,
            "asked": self._asked,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Take back what `snapshot` gave, after a round trip through pickle."""
        self._universe.follow(state["symbols"])
        self._core.restore(state["core"])
        self._next_point = state["next_point"]
        self._day_trades = state["day_trades"]
        due, summary = state["summary"]
        is_same = summary == self._core.setup.summary or due is None
        self._summary_due = due if is_same else next_summary(self._core.time, *self._core.setup.summary)
        self._exits.leave_out(state["broken_exits"])
        self._accounts.differing = state["differing"]
        self._asked = state["asked"]

    # -- prices and time -------------------------------------------------------------------------------------------

    def _price_moved(self, point: PricePoint) -> None:
        holding = self._core.portfolio.holdings.get(point.symbol)
        if holding is not None:
            self._watch(holding, point)

    def _watch(self, holding: Holding, point: PricePoint) -> None:
        """One price of an open position: peak, stop level, exits."""
        position, price, start = holding.position, point.price, holding.price
        holding.price = price
        if position.stop_traded_time is None and position.side * (price - position.stop) <= 0:
            position.stop_traded_time = point.time
        if holding.uncovered_since is not None:
            self._closes.check_cover(holding)
        if position.closing:
            self._closes.retry(holding, point.time)
            return
        peak, gain = position.peak_gain, position.net_gain(price)
        if gain > peak:
            position.peak_gain = gain
        hit, marked = self._exits.check(position, point, holding.outlook, start)
        if self._exits.faults:
            for fault in self._exits.faults:
                self._core.fault(fault)
            self._exits.faults.clear()
        if hit is not None:
            if hit.order.trigger_price is not None and not point.is_gap:
                # The price has come to the level only; the point is looked at again once the close is filled.
                position.peak_gain = max(peak, position.net_gain(hit.order.trigger_price))
            self._closes.close(holding, hit.name, fraction=hit.order.fraction, level=hit.order.trigger_price)
        if marked or position.peak_gain - holding.stored_peak >= _PEAK_STEP:
            self._fills.store_position(holding)

    def _ticked(self, event: Tick) -> None:
        if event.is_gap:
            for entry in self._core.portfolio.entries.values():
                self._withdraw(entry, event.time)
        else:
            self._core.pace = event.pace
            self._ask_after(event.time)
        self._universe.leave(event.time)
        for holding in list(self._core.portfolio.holdings.values()):
            self._watch(holding, PricePoint(event.time, holding.position.symbol, holding.price))

    def _ask_after(self, time: int) -> None:
        """Ask what became of orders at market that should have filled long ago: an answer may have been lost."""
        orders = self._core.portfolio.orders
        for client_id in [c for c in self._asked if c not in orders]:
            del self._asked[client_id]
        for order in orders.values():
            since = self._asked.get(order.client_id, order.time)
            if order.type is OrderType.MARKET and time - since >= _ASK_AFTER_MS:
                self._asked[order.client_id] = time
                self._core.emit(QueryOrder(time, order.symbol, order.client_id))

    def _bars_closed(self, event: BarsClosed) -> None:
        core, block, row = self._core, event.block, event.row
        if self._block is None or block.bars is not self._block.bars:
            self._followed = 0
        self._block, self._row = block, row
        self._keep_time(event.time)
        self._withdraw_entries(event)
        for holding in list(core.portfolio.holdings.values()):
            self._close_of_bar(holding, event)
        self._universe.leave(event.time)
        loser = core.gates.worst_loser(event.time)
        if loser is not None:
            self._closes.close(loser, "margin_guard")
        self._entries.decide(event)
        if event.time % _HOUR_MS == 0 or self._fit_judged:
            self._fit_judged = False
            self._follow_barriers()
            self._demote()
            self._start_fits(event.time)
        elif row == len(block.bars) - 1:
            self._follow_barriers()

    def _withdraw_entries(self, event: BarsClosed) -> None:
        """Cancel entries that met a gap."""
        state = event.block.bars.state[event.row]
        for symbol, entry in self._core.portfolio.entries.items():
            if state[self._universe.columns[symbol]] == _ABSENT:
                self._withdraw(entry, event.time)

    def _withdraw(self, entry: PendingEntry, time: int) -> None:
        """Cancel an entry that no price has met: what was decided before a gap must not be filled after it."""
        if entry.order.time < time:
            self._core.emit(CancelOrder(time, entry.order.symbol, entry.order.client_id))

    def _close_of_bar(self, holding: Holding, event: BarsClosed) -> None:
        """Refresh a position's outlook at a 5m close with fresh features, and ask the exits again with it."""
        position, block, row = holding.position, event.block, event.row
        column = self._universe.columns[position.symbol]
        if block.bars.close_time[row] % _CANDLE_MS or not block.features.fresh[row, column]:
            return
        view = self._views[position.strategy]
        holding.outlook = make_outlook(block, row, column, view, position.side, holding.outlook)
        self._watch(holding, PricePoint(event.time, position.symbol, holding.price))

    def _keep_time(self, time: int) -> None:
        """Day boundary, daily summary, equity curve."""
        core = self._core
        core.gates.roll_day(time)
        self._summarise_when_due(time)
        step = core.setup.equity_every_minutes * MINUTE_MS
        if self._next_point is None:
            self._next_point = time // step * step
        while self._next_point <= time:
            self._store_equity(self._next_point)
            self._next_point += step

    def _summarise_when_due(self, time: int) -> None:
        core, clock = self._core, self._core.setup.summary
        due = self._summary_due
        if due is not None and time < due:
            return
        self._summary_due = next_summary(time, *clock)
        if due is None:
            return
        while (later := next_summary(due, *clock)) <= time:
            due = later
        run_id, equity, zone = core.setup.run_id, core.portfolio.equity, clock[1]
        core.emit(Notify(daily_notice(self._day_trades, run_id=run_id, day_end=due, equity=equity, zone=zone)))
        self._day_trades = []

    def _store_equity(self, time: int) -> None:
        core, portfolio = self._core, self._core.portfolio
        portfolio.note_point(time)
        core.store(
            EquityPoint(
                id=f"{core.setup.run_id}-{time}",
                run_id=core.setup.run_id,
                time=time,
                equity=portfolio.equity,
                wallet=portfolio.wallet,
                margin_in_use=portfolio.margin_in_use,
                open_positions=len(portfolio.holdings),
            )
        )

    def _plugin_failed(self, event: PluginFailed) -> None:
        self._core.fault(event.text)

    def _entries_halted(self, event: EntriesHalted) -> None:
        core = self._core
        # That a run compares its books before it trades is the rule, and no news.
        is_news = bool(event.reason) and event.source not in {BOOKS, *core.gates.state.halts}
        core.halt(event.reason, event.source)
        if is_news:
            core.alert("entries_halted", "Entries are halted; positions stay managed", event.reason)

    def _link_changed(self, event: BrokerLink) -> None:
        """The stream of events is down: no entries. It is up again: none either, until the books have been compared."""
        core = self._core
        core.halt("" if event.is_up else f"the broker's event stream is down: {event.reason}", "link")
        if event.is_up:
            core.halt("the books have not been compared with the exchange since its events came back", BOOKS)
            core.emit(ReadAccount(event.time, "events flow again"))

    def _alerted(self, event: BrokerAlert) -> None:
        self._core.alert("broker", "The broker says", event.text)

    def _run_ending(self, event: RunEnding) -> None:
        for entry in self._core.portfolio.entries.values():
            self._core.emit(CancelOrder(event.time, entry.order.symbol, entry.order.client_id))
        for holding in list(self._core.portfolio.holdings.values()):
            self._closes.close_at_once(holding, "end_of_data")
        self._store_equity(event.time)

    # -- orders and money ------------------------------------------------------------------------------------------

    def _trade_closed(self, trade: Trade) -> None:
        core = self._core
        core.store(trade)
        core.emit(Notify(close_notice(trade)))
        self._day_trades.append(trade)
        if not trade.won:
            core.gates.cool_down(trade.symbol, trade.exit_time)
        self._follow_barriers()
        sample = core.learner.note_trade(trade)
        if sample is not None:
            core.store(sample)
        self._start_fits(trade.exit_time)

    # -- learning --------------------------------------------------------------------------------------------------

    def _follow_barriers(self) -> None:
        """Bring the barriers up to the last closed row."""
        if self._block is None:
            return
        core = self._core
        for resolved in core.barriers.advance(self._block.bars, self._followed, self._row + 1):
            sample = core.learner.note_barrier(resolved)
            if sample is not None:
                core.store(sample)
        self._followed = self._row + 1

    def _start_fits(self, time: int) -> None:
        for request in self._core.learner.due_fits(time):
            self._core.emit(StartFit(request))

    def _model_ready(self, event: ModelReady) -> None:
        core, report = self._core, event.report
        version = core.learner.take_report(event.request, report)
        core.store(version)
        self._fit_judged = True
        if report.is_failed:
            title = f"{version.strategy}: fitting model v{version.version} failed; what was in force stays"
            core.alert(f"fit_failed-{version.id}", title, report.verdict)
        if version.promoted:
            core.emit(UseModel(event.time, version.strategy, version.version, report.artefact))

    def _demote(self) -> None:
        """Take models that have decayed in use out of their place."""
        core = self._core
        for demotion in core.learner.due_demotions(core.time):
            core.store(demotion.stored)
            successor = demotion.successor
            core.emit(UseModel(core.time, demotion.strategy, successor.version, successor.artefact))
            title = f"{demotion.strategy}: model v{demotion.version} has decayed and is demoted"
            core.alert(f"demoted-{demotion.stored.id}", title, demotion.reason)
