"""What waits for the live driver: waves and symbol changes in order, prices replaced by newer ones."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from slt.types import PricePoint, SymbolChange, Wave

__all__ = ["Outlet"]

_ROOM = 4


class Outlet:
    """A queue of one writer's side and one reader's side, both in one event loop.

    A price point that waits is replaced by a newer one of its symbol; everything else waits for the reader, and the
    workers wait in `room` while too much does.
    """

    def __init__(self) -> None:
        self._items: deque[Wave | SymbolChange | list[PricePoint]] = deque()
        self._prices: dict[str, list[PricePoint]] = {}
        self._kept = 0
        self._filled = asyncio.Event()
        self._drained = asyncio.Event()
        self._drained.set()

    def put(self, item: Wave | SymbolChange) -> None:
        """Add what must be read; a price that comes later is read later."""
        self._items.append(item)
        self._prices.clear()
        self._kept += 1
        if self._kept > _ROOM:
            self._drained.clear()
        self._filled.set()

    def price(self, point: PricePoint) -> None:
        """Add a price; it takes the place of the one of its symbol that waits behind the last wave."""
        held = self._prices.get(point.symbol)
        if held is None:
            self._prices[point.symbol] = held = []
            self._items.append(held)
        held[:] = (point,)
        self._filled.set()

    async def room(self) -> None:
        """Wait until the reader has caught up."""
        await self._drained.wait()

    async def read(self) -> AsyncGenerator[Wave | SymbolChange | PricePoint]:
        """Yield everything in order, without end."""
        while True:
            if not self._items:
                self._filled.clear()
                await self._filled.wait()
            item = self._items.popleft()
            if isinstance(item, list):
                if self._prices.get(item[0].symbol) is item:
                    del self._prices[item[0].symbol]
                yield item[0]
                continue
            self._kept -= 1
            if self._kept <= _ROOM:
                self._drained.set()
            yield item
