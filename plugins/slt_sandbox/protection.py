"""How well an account's positions are protected: by stops, and by margin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt.market import maintenance_margin
from slt_sandbox.events import margin_call

if TYPE_CHECKING:
    from slt_sandbox.account import Account
    from slt_sandbox.market import Market

__all__ = ["margin_warning", "protection"]


def protection(account: Account, symbol: str, side: int) -> float:
    """Tell how much of a position stops, and closes under way, would take off.

    Args:
        account: The account.
        symbol: Exchange name.
        side: Side of the closing orders: -1 for a long position.

    Returns:
        Base units; infinite where a stop closes whatever is held.
    """
    algos = [one for one in account.open_algos.values() if one.symbol == symbol and one.side == side]
    if any(algo.close_position and algo.is_stop for algo in algos):
        return float("inf")
    closing = [
        one
        for one in account.open_orders.values()
        if one.symbol == symbol and one.side == side and one.type == "MARKET" and one.reduce_only
    ]
    stops = sum(float(algo.quantity) for algo in algos if algo.is_stop and algo.reduce_only)
    return stops + sum(order.left for order in closing)


def margin_warning(market: Market, account: Account, symbol: str) -> dict[str, Any] | None:
    """Give the margin call that is due: once, when a position comes close to its liquidation.

    Args:
        market: Shared state.
        account: The account; notes that it was called.
        symbol: Exchange name.

    Returns:
        The user event; None = none is due.
    """
    position = account.book.position(symbol)
    if position is None:
        return None
    mark = market.quotes[symbol].last
    maintenance = maintenance_margin(market.rules[symbol], position.quantity * mark)
    is_isolated = account.book.margin_type(symbol) == "isolated"
    backing = position.margin + position.unrealised if is_isolated else account.book.equity
    if maintenance < backing * market.settings.margin_call_fraction:
        account.called.discard(symbol)
        return None
    if symbol in account.called:
        return None
    account.called.add(symbol)
    return margin_call(market.clock(), account, position, maintenance, mark)
