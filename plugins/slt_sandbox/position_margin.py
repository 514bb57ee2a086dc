"""Moving money between the wallet and an isolated position."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from slt.market.margin import initial_margin
from slt_sandbox.errors import refusal
from slt_sandbox.events import account_update
from slt_sandbox.numbers import money, plain

if TYPE_CHECKING:
    from slt.market import ExchangePosition
    from slt_sandbox.endpoint import Call

__all__ = ["MarginMove", "change_margin", "list_margin_moves"]

_ADD, _REDUCE = 1, 2
_MAX_ROWS = 500


@frozen
class MarginMove:
    """One change of an isolated position's margin.

    Attributes:
        symbol: Exchange name.
        kind: 1 added, 2 taken back.
        amount: Quote currency, above 0.
        time: ms UTC.
    """

    symbol: str
    kind: int
    amount: float
    time: int


def change_margin(call: Call) -> Any:
    """Add to an isolated position's margin, or take some back.

    Raises:
        ApiError: -4049 not isolated, -4054 no position, -4050 and -4051 not so much there.
    """
    symbol, account, now = call.symbol(), call.account, call.exchange.clock()
    kind = int(call.params.choice("type", (str(_ADD), str(_REDUCE)), -1130))
    amount = float(call.params.decimal("amount"))
    if amount <= 0:
        raise refusal(-1130, name="amount")
    if account.book.margin_type(symbol) != "isolated":
        raise refusal(-4049)
    position = account.book.position(symbol)
    if position is None:
        raise refusal(-4054)
    if kind == _ADD and amount > account.book.available:
        raise refusal(-4050)
    if kind == _REDUCE and amount > _removable(position):
        raise refusal(-4051)
    account.book.move_margin(symbol, amount if kind == _ADD else -amount)
    account.margin_moves.append(MarginMove(symbol, kind, amount, now))
    account.emit(account_update(now, now, account, "MARGIN_TRANSFER", (symbol,)))
    call.exchange.ledger.record(now, "margin", account.api_key, symbol, amount=amount, type=kind)
    return {"amount": amount, "code": 200, "msg": "Successfully modify position margin.", "type": kind}


def _removable(position: ExchangePosition) -> float:
    """What a position does not need for its initial margin at the last price, a loss counted."""
    last = position.entry_price + position.side * position.unrealised / position.quantity
    needed = initial_margin(position.quantity, last, position.leverage)
    return position.margin + min(0.0, position.unrealised) - needed


def list_margin_moves(call: Call) -> Any:
    """List the changes of a symbol's position margin, the newest last."""
    params, symbol = call.params, call.symbol()
    kind, limit = params.whole("type", 0), min(params.whole("limit", _MAX_ROWS), _MAX_ROWS)
    start, end = params.whole("startTime", 0), params.whole("endTime", call.exchange.clock())
    found = [
        move
        for move in call.account.margin_moves
        if move.symbol == symbol and kind in {0, move.kind} and start <= move.time <= end
    ]
    return [
        {
            "symbol": move.symbol,
            "type": move.kind,
            "deltaType": "USER_ADJUST",
            "amount": plain(float(money(move.amount))),
            "asset": call.account.asset,
            "time": move.time,
            "positionSide": "BOTH",
        }
        for move in found[-limit:]
    ]
