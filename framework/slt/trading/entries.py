"""From a bar's proposals to entry orders: gates, ranking, size, the exchange's rules, intent."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from attrs import evolve

from slt.events import SubmitOrder
from slt.rules import bracket_of, check_order
from slt.statistics import wilson_interval
from slt.trading.exits import make_outlook
from slt.trading.ledger import ENTERED, write_decision
from slt.trading.portfolio import PendingEntry
from slt.trading.risk import Refusal
from slt.trading.scoring import lower_probability
from slt.trading.selector import Candidate, opposed_symbols, rank
from slt.trading.sizing import allowed_leverage, cap_size, floored_stop, round_trip_cost
from slt.types import Account, Order, OrderRole, OrderSide, OrderType, Proposal, Sample, Size, Skip, orient

if TYPE_CHECKING:
    from collections.abc import Collection

    from slt.events import BarsClosed, Block, View
    from slt.trading.core import Core
    from slt.types import SymbolRules

__all__ = ["EntryDesk"]

_MARGIN_BUFFER = 1.01
"""The exchange asks for margin at the price of the fill, which may lie above that of the decision."""

SHADOWED = frozenset({"daily_loss", "cooldown", "slots", "sizer", "margin"})
"""Gates whose refusals are followed as shadows: valid proposals that the account, the model or a better one kept out.

Not followed: what could not be traded as proposed (``warm``, ``stale``, ``opposed``, ``cost``, ``rules``), what came
while entries were halted, and ``position``, whose outcome would be that of the open trade once more.
"""


class EntryDesk:
    """Turns proposals into entries or refusals.

    Args:
        core: The engine's memory.
    """

    def __init__(self, core: Core) -> None:
        self._core = core

    def decide(self, event: BarsClosed) -> None:
        """Take every proposal of one row through the gates."""
        core = self._core
        candidates = self._candidates(event)
        if not candidates:
            return
        opposed = opposed_symbols(candidates)
        passed = []
        for candidate in candidates:
            refusal = core.gates.check_early(candidate, event.time, opposed)
            if refusal is None:
                passed.append(candidate)
            else:
                self._refuse(candidate, refusal, event.block)
        for candidate in rank(passed):
            self._admit(candidate, event.block)

    def _candidates(self, event: BarsClosed) -> list[Candidate]:
        block, row = event.block, event.row
        found = []
        for index, view in enumerate(block.views):
            side_row = view.signals.side[row]
            if not side_row.any():
                continue
            for column in np.flatnonzero(side_row):
                candidate = self._candidate(block, row, int(column), index)
                if candidate is not None:
                    found.append(candidate)
        return found

    def _candidate(self, block: Block, row: int, column: int, index: int) -> Candidate | None:
        core, view, bars = self._core, block.views[index], block.bars
        signals = view.signals
        symbol = bars.symbols[column]
        rules = core.setup.rules.get(symbol)
        if rules is None:
            return None
        side = int(signals.side[row, column])
        price, stop = float(bars.close[row, column]), float(signals.stop[row, column])
        proposal = Proposal(
            time=int(bars.close_time[row]),
            symbol=symbol,
            side=side,
            strategy=view.strategy,
            price=price,
            stop=floored_stop(price, stop, side, core.setup.risk.min_stop_fraction),
            target=float(signals.target[row, column]),
            reason=signals.reasons[signals.reason[row, column]],
            confidence=float(signals.view("confidence", side)[row, column]),
        )
        fault = _malformed(proposal, stop)
        if fault:
            core.fault(f"strategy `{view.strategy}` proposed {fault} for {symbol} at {proposal.time}")
            return None
        return Candidate(
            proposal=proposal,
            row=row,
            column=column,
            view=index,
            p_win=_probability(view, row, column, side),
            model_version=view.model_version,
            is_ready=bool(block.features.ready[row, column]),
            numbers={
                "price": price,
                "stop_fraction": abs(price - proposal.stop) / price,
                "reward_to_risk": proposal.reward_to_risk,
                "cost_rate": round_trip_cost(rules),
            },
        )

    def _admit(self, candidate: Candidate, block: Block) -> None:
        """The gates that depend on what better candidates took, and the order itself."""
        gates = self._core.gates
        refusal = gates.check_halted() or gates.check_slots()
        if refusal is None and self._core.portfolio.engaged(candidate.proposal.symbol):
            refusal = Refusal("position", "another strategy's proposal for this symbol ranked higher")
        outcome = refusal or self._size(candidate)
        if isinstance(outcome, Refusal):
            self._refuse(candidate, outcome, block)
        else:
            self._enter(candidate, outcome, block)

    def _size(self, candidate: Candidate) -> Order | Refusal:
        """Sizer, caps, linter: the entry order, not yet numbered, or why there is none."""
        core, proposal, numbers = self._core, candidate.proposal, candidate.numbers
        rules = core.setup.rules[proposal.symbol]
        account = self._account(candidate, rules)
        size = self._ask_sizer(candidate, account)
        if isinstance(size, Refusal):
            return size
        numbers.update(size.numbers)
        if isinstance(size, Skip):
            return Refusal("sizer", f"{core.setup.sizer_name}: {size.reason}")
        loss_fraction = numbers["stop_fraction"] + numbers["cost_rate"]
        capped = cap_size(size, core.setup.risk, account.equity, account.margin_in_use, account.leverage, loss_fraction)
        numbers.update(notional=capped.notional, leverage=capped.leverage)
        if capped.notional <= 0:
            limit = core.setup.risk.max_margin_in_use
            return Refusal(
                "margin", f"{account.margin_in_use:.2f} USDT of margin is in use; {limit:.0%} of equity is allowed"
            )
        return self._lint(candidate, rules, capped.notional, capped.leverage, account)

    def _ask_sizer(self, candidate: Candidate, account: Account) -> Size | Skip | Refusal:
        """The sizer's answer; one that raises or answers nonsense halts entries."""
        core, proposal = self._core, candidate.proposal
        try:
            size = core.setup.sizer(proposal, proposal.confidence, self._believed(candidate), account)
            if isinstance(size, Skip) or (0 < size.notional < math.inf and 0 < size.margin < math.inf):
                return size
            fault = f"answered {size!r}; allowed are a notional and a margin above 0, or a Skip"
        except Exception as error:  # noqa: BLE001 # a plugin may raise anything; positions must stay managed
            fault = f"raised {type(error).__name__}: {error}"
        core.fault(f"sizer `{core.setup.sizer_name}` {fault}")
        return Refusal("halted", f"entries are halted: {core.gates.state.halted}")

    def _believed(self, candidate: Candidate) -> float | None:
        """The probability to size on: the model's, or its lower bound where `risk.p_win_confidence` asks for it."""
        confidence, p_win = self._core.setup.risk.p_win_confidence, candidate.p_win
        if confidence == 0.0 or p_win is None:
            return p_win
        stored = self._core.learner.champion(candidate.proposal.strategy).stored
        curve = stored.metrics.get("calibration", []) if stored is not None else []
        lower = lower_probability(p_win, curve, confidence)
        candidate.numbers["p_win_lower"] = lower
        return lower

    def _account(self, candidate: Candidate, rules: SymbolRules) -> Account:
        core, numbers, proposal = self._core, candidate.numbers, candidate.proposal
        portfolio, risk = core.portfolio, core.setup.risk
        equity, in_use = portfolio.equity, portfolio.margin_in_use
        win_rate = _proven_win_rate(portfolio.results)
        believed = self._believed(candidate)
        confidence = proposal.confidence if believed is None else believed
        bracket = bracket_of(rules, risk.max_loss_at_stop * equity / (numbers["stop_fraction"] + numbers["cost_rate"]))
        leverage = allowed_leverage(risk, bracket, numbers["stop_fraction"], win_rate, confidence)
        numbers.update(equity=equity, margin_in_use=in_use, win_rate=win_rate, allowed_leverage=leverage)
        return Account(
            equity=equity,
            available=max(0.0, min(equity, portfolio.wallet) - in_use),
            margin_in_use=in_use,
            leverage=leverage,
            cost_rate=numbers["cost_rate"],
            max_loss_at_stop=risk.max_loss_at_stop,
            win_rate=win_rate,
        )

    def _lint(
        self, candidate: Candidate, rules: SymbolRules, notional: float, leverage: int, account: Account
    ) -> Order | Refusal:
        proposal = candidate.proposal
        risk_cap = (
            account.max_loss_at_stop
            * account.equity
            / (candidate.numbers["stop_fraction"] + candidate.numbers["cost_rate"])
        )
        order = Order(
            client_id=self._core.next_id(),
            position_id="",
            symbol=proposal.symbol,
            side=OrderSide(proposal.side),
            type=OrderType.MARKET,
            role=OrderRole.ENTRY,
            quantity=notional / proposal.price,
            time=self._core.time,
            leverage=leverage,
            reason=proposal.reason,
        )
        result = check_order(order, rules, proposal.price, open_orders=0, max_quantity=risk_cap / proposal.price)
        if not result.is_ok:
            return Refusal("rules", result.reason)
        needed = result.order.quantity * proposal.price * (1 / leverage + rules.taker_fee) * _MARGIN_BUFFER
        if needed > account.available:
            return Refusal("margin", f"{needed:.2f} USDT is needed; {account.available:.2f} USDT is available")
        candidate.numbers["quantity"] = result.order.quantity
        return result.order

    def _enter(self, candidate: Candidate, sized: Order, block: Block) -> None:
        core, proposal = self._core, candidate.proposal
        detail = f"quantity {sized.quantity:g} at {sized.leverage}x"
        decision_id = write_decision(core, candidate, ENTERED, detail)
        order = evolve(sized, position_id=decision_id)
        entry = PendingEntry(
            order=order,
            proposal=proposal,
            margin=order.quantity * proposal.price / order.leverage,
            cost_rate=candidate.numbers["cost_rate"] / 2,
            p_win=candidate.p_win,
            model_version=candidate.model_version,
            outlook=make_outlook(block, candidate.row, candidate.column, candidate.view, proposal.side, None),
        )
        core.portfolio.entries[proposal.symbol] = entry
        core.portfolio.orders[order.client_id] = order
        sample = self._sample(candidate, decision_id, "trade", "", block)
        core.learner.open_sample(sample)
        core.barriers.follow(sample)
        core.store(sample)
        core.store_intent(order, "intended")
        core.emit(SubmitOrder(order))

    def _refuse(self, candidate: Candidate, refusal: Refusal, block: Block) -> None:
        core = self._core
        decision_id = write_decision(core, candidate, refusal.gate, refusal.detail)
        if refusal.gate in SHADOWED:
            sample = self._sample(candidate, decision_id, "shadow", refusal.gate, block)
            core.learner.open_sample(sample)
            core.barriers.follow(sample)

    def _sample(self, candidate: Candidate, sample_id: str, source: str, refused_by: str, block: Block) -> Sample:
        core, proposal = self._core, candidate.proposal
        x = orient(
            block.features,
            np.array([candidate.row]),
            np.array([candidate.column]),
            np.array([proposal.side], dtype=np.int8),
        )
        return Sample(
            id=sample_id,
            run_id=core.setup.run_id,
            strategy=proposal.strategy,
            schema_hash=core.setup.schema_hash,
            source=source,
            time=proposal.time,
            symbol=proposal.symbol,
            side=proposal.side,
            features=x[0].astype("<f4").tobytes(),
            entry_price=proposal.price,
            stop=proposal.stop,
            target=proposal.target,
            cost_rate=candidate.numbers["cost_rate"],
            model_version=candidate.model_version,
            confidence=proposal.confidence,
            p_win=candidate.p_win,
            refused_by=refused_by,
        )


def _proven_win_rate(results: Collection[bool]) -> float:
    """Lower end of the 95 % Wilson interval of the recent win rate; 0 without trades."""
    return wilson_interval(sum(results), len(results))[0]


def _probability(view: View, row: int, column: int, side: int) -> float | None:
    dense = view.p_long if side > 0 else view.p_short
    if dense is None:
        return None
    value = float(dense[row, column])
    return None if math.isnan(value) else value


def _malformed(proposal: Proposal, stop: float) -> str:
    """What is wrong with a proposal's prices (`stop` as the strategy gave it); empty when nothing is."""
    prices = (proposal.price, stop, proposal.target)
    if not all(math.isfinite(p) and p > 0 for p in prices):
        return f"prices that are not finite and positive (price, stop, target = {prices})"
    if proposal.side * (proposal.price - stop) <= 0:
        return f"a stop of {stop} on the winning side of {proposal.price}"
    if proposal.side * (proposal.target - proposal.price) <= 0:
        return f"a target of {proposal.target} on the losing side of {proposal.price}"
    return ""
