"""Symbols that come and go: what the engine does when one joins, stops trading, or is to be delivered."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import evolve

from slt.candles import utc_text
from slt.events import CancelOrder

if TYPE_CHECKING:
    from slt.events import SymbolsJoined
    from slt.trading.closes import CloseDesk
    from slt.trading.core import Core
    from slt.types import SymbolChange

__all__ = ["UniverseDesk"]

_LEAD_MS = 3_600_000
"""How long before its delivery a position is closed: in the last hour an exchange may take no more than reductions."""


class UniverseDesk:
    """Keeps the columns of the blocks, and leaves symbols that leave the exchange.

    A symbol that does not trade, or whose delivery is announced, is entered no more, and an entry under way in it is
    withdrawn. Its position is closed an hour before the delivery, at once where less is left. Where it only stands
    still, without a delivery, its position stays under its resting stop.

    Args:
        core: The engine's memory.
        closes: Closes positions.

    Attributes:
        columns: Column of each symbol in the blocks that come.
    """

    def __init__(self, core: Core, closes: CloseDesk) -> None:
        self._core = core
        self._closes = closes
        self.columns = {symbol: i for i, symbol in enumerate(core.setup.symbols)}

    def join(self, event: SymbolsJoined) -> None:
        """Add columns and rules."""
        setup = self._core.setup
        self.follow((*setup.symbols, *(symbol for symbol in event.symbols if symbol not in self.columns)))
        self._core.setup = evolve(self._core.setup, rules={**setup.rules, **event.rules})

    def follow(self, symbols: tuple[str, ...]) -> None:
        """Let these be the columns; used to take a snapshot back."""
        self._core.setup = evolve(self._core.setup, symbols=symbols)
        self._core.barriers.follow_symbols(symbols)
        self.columns = {symbol: i for i, symbol in enumerate(symbols)}

    def change(self, event: SymbolChange) -> None:
        """A symbol stands otherwise than before."""
        state, symbol = self._core.gates.state, event.symbol
        state.deliveries.pop(symbol, None)
        if event.is_tradable and not event.delivery_time:
            state.untradable.pop(symbol, None)
            return
        word = event.status
        if event.delivery_time:
            state.deliveries[symbol] = event.delivery_time
            word = f"{event.status}, to be delivered at {utc_text(event.delivery_time)} UTC"
        is_news, state.untradable[symbol] = state.untradable.get(symbol) != word, word
        self._withdraw(symbol)
        if is_news and symbol in self._core.portfolio.holdings:
            self._tell(event, word)
        if event.delivery_time and not event.is_tradable:
            self._close(symbol)
        self.leave(event.time)

    def leave(self, time: int) -> None:
        """Close positions whose symbol is delivered soon."""
        for symbol, delivery in self._core.gates.state.deliveries.items():
            if delivery - time <= _LEAD_MS:
                self._close(symbol)

    def _close(self, symbol: str) -> None:
        holding = self._core.portfolio.holdings.get(symbol)
        if holding is not None and not holding.position.closing:
            self._closes.close(holding, "delivery")

    def _withdraw(self, symbol: str) -> None:
        entry = self._core.portfolio.entries.get(symbol)
        if entry is not None:
            self._core.emit(CancelOrder(self._core.time, symbol, entry.order.client_id))

    def _tell(self, event: SymbolChange, word: str) -> None:
        if event.is_tradable:
            detail = f"{event.symbol} is {word}: no entries, and its position is closed an hour before"
        else:
            detail = f"{event.symbol} is {word}: no entries, and its position may not be closable"
        self._core.alert(f"symbol-{event.symbol}", detail, "")
