"""The symbols of a run on a live feed, while it goes on: which join, which leave, and whose past was another.

A symbol that joins, or whose bar was restated after it had gone out, begins anew: features and strategies of its own,
which know nothing yet and so propose nothing. In the background they are fed with its past out of the candle files and
the bar store, where the restated bar has taken the place of the wrong one, and put in between two waves. Both steps are
in the session log.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

from attrs import evolve, frozen

from slt.errors import SltError
from slt.events import SymbolsJoined
from slt.feed.pipeline import FeedPipeline
from slt.log import get_logger
from slt.run.folders import remember_symbols
from slt.run.warming import past_bars
from slt.types import PricePoint

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from slt.run.assembly import Assembly
    from slt.run.dense_part import DensePart
    from slt.run.live_session import LiveSession
    from slt.types import Bars, MarketReview, SymbolChange, SymbolRules, Wave

__all__ = ["Arrivals", "Universe", "Warmed"]

_DAY_MS = 86_400_000
_HOOK_S = 120.0
_FLUSH_S = 30.0
_RETRY_S = 30.0
_LEAST_S = 5.0
_KEPT_WAVES = 240
_log = get_logger("lifecycle")


@frozen(eq=False)
class Arrivals:
    """Symbols that join, ready to be followed."""

    symbols: tuple[str, ...]
    rules: dict[str, SymbolRules]


@frozen(eq=False)
class Warmed:
    """A part whose symbols' past has been computed up to wave number `number`; `asked` tells what it answers."""

    part: DensePart
    past: tuple[Bars, ...]
    number: int
    asked: dict[str, int]


class Universe:
    """Looks at the market again and again, and keeps what is computed of each symbol true.

    Args:
        assembly: The run's parts.
        session: Engine and dense part.
        source: The feed; symbols join and leave where it is a pipeline.
        deliver: Puts `Arrivals` and `Warmed` among the driver's items, for `take`.
        store: Puts the bars of all waves so far down.
        until: Close time of the last bar computed, ms UTC.
    """

    def __init__(
        self,
        assembly: Assembly,
        session: LiveSession,
        source: object,
        deliver: Callable[[Arrivals | Warmed], Awaitable[None]],
        store: Callable[[], None],
        until: Callable[[], int],
    ) -> None:
        self._assembly = assembly
        self._session = session
        self._source = source if isinstance(source, FeedPipeline) else None
        self._deliver = deliver
        self._store = store
        self._until = until
        self._cold: dict[str, int] = {}
        self._waves: deque[Bars] = deque(maxlen=_KEPT_WAVES)
        self._number = 0
        self._asked = 0
        self._woken = asyncio.Event()
        self._is_review_wanted = True

    @property
    def cold(self) -> tuple[str, ...]:
        """Symbols that know nothing of their past yet, though it may be known."""
        return tuple(self._cold)

    def begin(self, cold: tuple[str, ...]) -> None:
        """Before the first wave: take up what an earlier life had not done.

        Args:
            cold: Symbols that were cold.
        """
        known = self._session.dense.symbols
        new = tuple(symbol for symbol in self._assembly.market.symbols if symbol not in known)
        if new:  # they were to join when the run died
            self._begin_anew(new)
            self._session.decide(SymbolsJoined(self._until(), new, self._assembly.rules))
        self._ask((*cold, *new))

    def receive(self, wave: Wave) -> Wave:
        """A wave as the dense part wants it: over all symbols, and computed on no bar that has proven wrong."""
        symbols = self._session.dense.symbols
        known = [kline for kline in wave.restated if kline.symbol in symbols]
        for kline in known:
            _log.warning(
                "a bar was restated after it had gone out; its symbol's features begin anew",
                symbol=kline.symbol,
                close_time=kline.close_time,
                close=kline.close,
            )
        if known:
            wrong = tuple(dict.fromkeys(kline.symbol for kline in known))
            self._begin_anew(wrong)
            self._ask(wrong)
        return evolve(wave, bars=wave.bars.spread(symbols))

    def note(self, bars: Bars) -> None:
        """A wave has been computed and is among those that are put down."""
        self._waves.append(bars)
        self._number += 1

    async def hear(self, change: SymbolChange) -> None:
        """The engine has been told how a symbol stands."""
        session = self._session
        holding = session.engine.portfolio.holdings.get(change.symbol)
        if holding is not None and change.delivery_time and not change.is_tradable:
            # A simulated broker sees no price of it any more; an exchange settles at one near the last.
            await session.settle_price(PricePoint(change.time, change.symbol, holding.price, is_gap=True))
        if change.is_tradable and change.symbol not in session.dense.symbols:
            self._is_review_wanted = True
            self._woken.set()

    async def take(self, item: Arrivals | Warmed, time: int) -> None:
        """Carry out, between two waves, what was made ready."""
        await (self._join(item, time) if isinstance(item, Arrivals) else self._put_in(item))

    async def run(self) -> None:
        """Review and warm until cancelled."""
        every = self._assembly.settings.feed.review_minutes * 60
        can_review = every > 0 and self._source is not None
        can_review = can_review and self._assembly.plugins.feed.implements("slt_review_market")
        clock = asyncio.get_running_loop().time
        due = clock()
        while True:
            if can_review and (clock() >= due or self._is_review_wanted):
                self._is_review_wanted = False
                await self._review()
                due = clock() + every
            is_warm = await self._warm()
            wait = min(due - clock() if can_review else _RETRY_S, _RETRY_S if not is_warm else every or _RETRY_S)
            try:
                async with asyncio.timeout(max(wait, 0.0)):
                    await self._woken.wait()
            except TimeoutError:
                pass
            else:
                self._woken.clear()
                await asyncio.sleep(min(_LEAST_S, every) if self._is_review_wanted else 0)

    # -- joining and leaving ---------------------------------------------------------------------------------------

    async def _review(self) -> None:
        assembly, symbols = self._assembly, self._session.dense.symbols
        try:
            async with asyncio.timeout(_HOOK_S):
                found = await assembly.plugins.feed.hooks.slt_review_market(symbols=symbols)
            if self._source is not None:
                for change in found.changes:
                    self._source.change(change)
            await self._admit(found)
        except (SltError, OSError, TimeoutError) as error:
            _log.warning("the market cannot be looked at again now", cause=str(error) or type(error).__name__)

    async def _admit(self, found: MarketReview) -> None:
        known, broker = self._session.dense.symbols, self._assembly.plugins.broker
        joining = tuple(symbol for symbol in found.joining if symbol not in known)
        if not joining or not broker.implements("slt_add_symbols"):
            return
        market = evolve(self._assembly.market, symbols=joining, rules=found.rules, is_resumed=False)
        async with asyncio.timeout(_HOOK_S):
            rules = dict(await broker.hooks.slt_add_symbols(market=market))
        ruled = tuple(symbol for symbol in joining if symbol in rules)
        if ruled:
            await self._deliver(Arrivals(ruled, rules))

    async def _join(self, item: Arrivals, time: int) -> None:
        session, assembly = self._session, self._assembly
        new = tuple(symbol for symbol in item.symbols if symbol not in session.dense.symbols)
        if not new or self._source is None:
            return
        symbols = (*session.dense.symbols, *new)
        remember_symbols(assembly.folder.path, symbols)  # first: a resumed run then opens its broker with them
        assembly.rules.update(item.rules)
        self._begin_anew(new)
        await session.handle(SymbolsJoined(time, new, item.rules))
        self._source.follow(symbols)
        self._ask(new)
        _log.info("symbols joined", symbols=", ".join(new), followed=len(symbols))

    # -- the past --------------------------------------------------------------------------------------------------

    def _ask(self, symbols: tuple[str, ...]) -> None:
        if self._assembly.settings.run.warm_days > 0:
            for symbol in symbols:
                self._asked += 1
                self._cold[symbol] = self._asked
            self._woken.set()

    def _begin_anew(self, symbols: tuple[str, ...]) -> None:
        self._session.begin_anew(self._session.dense.make_part(symbols, ()), ())

    async def _warm(self) -> bool:
        """Compute what is known of the cold symbols; returns False where it has to be tried again."""
        if not self._cold:
            return True
        asked, dense = dict(self._cold), self._session.dense
        symbols = tuple(dict.fromkeys((*asked, *dense.scattered)))
        self._store()
        number, until = self._number, self._until()
        try:
            async with asyncio.timeout(_FLUSH_S):
                await self._assembly.writer.flush()
            since = until - round(self._assembly.settings.run.warm_days * _DAY_MS)
            past = [bars async for bars in past_bars(self._assembly, symbols, since, until, is_strict=True)]
            part = await asyncio.to_thread(dense.make_part, symbols, past)
        except (SltError, TimeoutError) as error:
            _log.warning("the past of some symbols cannot be read now", symbols=", ".join(asked), cause=str(error))
            return False
        await self._deliver(Warmed(part, tuple(past), number, asked))
        return True

    async def _put_in(self, item: Warmed) -> None:
        if any(self._cold.get(symbol) != asked for symbol, asked in item.asked.items()):
            self._woken.set()  # restated again meanwhile
            return
        since = self._number - item.number
        if since > len(self._waves):
            self._woken.set()  # it took too long
            return
        symbols = self._session.dense.symbols
        columns = [symbols.index(symbol) for symbol in item.part.symbols]
        tail = tuple(bars.spread(symbols).columns(columns) for bars in list(self._waves)[len(self._waves) - since :])
        for bars in tail:
            item.part.compute(bars)
        if item.past or tail:
            self._session.begin_anew(item.part, (*item.past, *tail))
        for symbol in item.asked:
            del self._cold[symbol]
        count = sum(int((bars.state != 0).sum()) for bars in item.past)
        _log.info("features computed anew", symbols=", ".join(item.asked), bars=count)
