"""What happens in a paper or live run, as lines of the log by business category.

Shown at the default levels: positions opened and closed, the day's result, fits and swaps of models, and every alert.
Alerts are safety lines, which no level and no repetition hides. Decisions, orders and samples are debug lines: they are
in the file, and on the screen for who asks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt.events import Notify, Store, UseModel
from slt.log import get_logger
from slt.types import Decision, EquityPoint, ModelVersion, Notice, OpenPosition, OrderIntent, Sample, Trade

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slt.events import Command

__all__ = ["Diary"]

_execution = get_logger("execution")
_profit = get_logger("profit")
_learning = get_logger("learning")
_lifecycle = get_logger("lifecycle")


class Diary:
    """Writes down what the engine's commands mean for people."""

    def __init__(self) -> None:
        self._tellers: dict[type, Callable[[Any], None]] = {
            Trade: _closed,
            EquityPoint: _equity,
            OrderIntent: _order,
            Decision: _decided,
            Sample: _sampled,
            ModelVersion: _judged,
            OpenPosition: _position,
        }

    def tell(self, commands: Iterable[Command]) -> None:
        """Write the lines of some commands, in order; not every command has one."""
        for command in commands:
            if isinstance(command, Store):
                teller = self._tellers.get(type(command.record))
                if teller is not None:
                    teller(command.record)
            elif isinstance(command, Notify):
                _noticed(command.notice)
            elif isinstance(command, UseModel):
                _learning.info("model in force", strategy=command.strategy, version=command.version)


def _closed(trade: Trade) -> None:
    _profit.info(
        "trade closed",
        time=trade.exit_time,
        symbol=trade.symbol,
        side=_side(trade.side),
        net_pnl=round(trade.net_pnl, 2),
        r=round(trade.r_multiple, 2),
        exit=trade.exit,
        minutes=(trade.exit_time - trade.entry_time) // 60_000,
    )


def _equity(point: EquityPoint) -> None:
    _profit.debug("equity", time=point.time, equity=round(point.equity, 2), open_positions=point.open_positions)


def _order(order: OrderIntent) -> None:
    _execution.debug(
        f"order {order.status}",
        time=order.time,
        id=order.id,
        symbol=order.symbol,
        role=order.role,
        side=order.side,
        quantity=order.quantity,
        filled=order.filled_quantity,
        reason=order.reason,
        note=order.note,
    )


def _position(position: OpenPosition) -> None:
    _execution.debug("position stored", id=position.id, symbol=position.symbol, quantity=position.quantity)


def _decided(decision: Decision) -> None:
    _execution.debug(
        "proposal entered" if decision.outcome == "entered" else "proposal refused",
        time=decision.time,
        symbol=decision.symbol,
        side=_side(decision.side),
        strategy=decision.strategy,
        gate=decision.outcome,
        detail=decision.detail,
    )


def _sampled(sample: Sample) -> None:
    _learning.debug("sample", time=sample.time, id=sample.id, source=sample.source, barrier=sample.barrier)


def _judged(model: ModelVersion) -> None:
    _learning.debug("model stored", id=model.id, promoted=model.promoted, verdict=model.verdict)


def _noticed(notice: Notice) -> None:
    fields = {name.lower().replace(" ", "_"): value for name, value in notice.fields}
    if notice.kind == "alert":
        _lifecycle.warning(notice.title, **{**fields, "time": notice.time, "notice": notice.id, "safety": True})
    elif notice.kind == "open":
        _execution.info("position opened", **{**fields, "time": notice.time})
    elif notice.kind == "daily":
        _profit.info("day ended", **{**fields, "time": notice.time})


def _side(side: int) -> str:
    return "long" if side > 0 else "short"
