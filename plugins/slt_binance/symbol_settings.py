"""Leverage and margin type of each symbol: what is set, and setting what an entry needs before it is sent."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from attrs import define, field

from slt.types import OrderRole
from slt_binance.endpoints import Endpoints
from slt_binance.faults import ExchangeError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from slt.types import Order
    from slt_binance.client import Client

__all__ = ["MARGIN_WORDS", "SymbolSettings"]

MARGIN_WORDS = {"isolated": "ISOLATED", "cross": "CROSSED"}
"""Margin types in the exchange's words, by option."""


@define
class SymbolSettings:
    """What is set for each symbol. A run of hundreds of symbols trades few of them in its first minutes.

    So nothing is set at the start: a symbol gets its margin type and leverage before its first entry, in one exchange
    of two requests side by side, and later ones only where they differ.

    Attributes:
        margin_type: The wanted one, ``isolated`` or ``cross``.
        leverages: Leverage per symbol, as set; kept up to date by the user stream.
        margin_types: ``ISOLATED`` or ``CROSSED`` per symbol, as set; kept up to date likewise. One that is missing is
            unknown, and set.
    """

    margin_type: str
    leverages: dict[str, int] = field(factory=dict)
    margin_types: dict[str, str] = field(factory=dict)

    async def prepare(self, client: Client, order: Order) -> str:
        """Set what an entry needs and the symbol has not; orders that shrink a position need nothing.

        Returns:
            Why it cannot be set, one line; empty = the order may be sent.
        """
        if order.role is not OrderRole.ENTRY:
            return ""
        works = []
        if self.margin_types.get(order.symbol) != MARGIN_WORDS[self.margin_type]:
            works.append(self._set_margin_type(client, order.symbol))
        if order.leverage not in {0, self.leverages.get(order.symbol)}:
            works.append(self._set_leverage(client, order.symbol, order.leverage))
        return "; ".join(problem for problem in await asyncio.gather(*works) if problem)

    def take(self, symbols: Iterable[str], leverages: Mapping[str, int], margin_types: Mapping[str, str]) -> None:
        """Take in what is set for more symbols."""
        for symbol in symbols:
            self.leverages.update({symbol: leverages[symbol]} if symbol in leverages else {})
            self.margin_types.update({symbol: margin_types[symbol]} if symbol in margin_types else {})

    async def _set_margin_type(self, client: Client, symbol: str) -> str:
        wanted = MARGIN_WORDS[self.margin_type]
        try:
            await client.call(Endpoints.SET_MARGIN_TYPE, symbol=symbol, marginType=wanted)
        except ExchangeError as error:
            return f"margin type {self.margin_type} could not be set: {error}"
        self.margin_types[symbol] = wanted
        return ""

    async def _set_leverage(self, client: Client, symbol: str, leverage: int) -> str:
        try:
            answer = await client.call(Endpoints.SET_LEVERAGE, symbol=symbol, leverage=leverage)
        except ExchangeError as error:
            return f"leverage {leverage} could not be set: {error}"
        self.leverages[symbol] = int(answer.get("leverage", leverage))
        return ""
