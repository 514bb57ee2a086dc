"""A live feed and a live broker in this process: one `slt.market.Book` behind real asyncio, with faults on demand.

The market moves along the four points of each bar. After each it waits until everybody has come to rest, so that a run
without faults is the same however fast the machine.
"""

from __future__ import annotations

import asyncio
import pickle
from types import SimpleNamespace

import numpy as np
from attrs import evolve

from slt.errors import BrokerError
from slt.hookspecs import BrokerSpecs, FeedSpecs
from slt.loader import Loaded
from slt.market import Book, MarketSettings, bar_path
from slt.types import AccountState, BarState, BrokerLink, ExchangeOrder, ExchangePosition, PricePoint, Wave

TRADED = int(BarState.TRADED)


def hooks_of(spec, **given):
    """Hooks as the loader binds them: every name of the specification, None where it is left out."""
    names = {name: None for name in vars(spec) if name.startswith("slt_")}
    return SimpleNamespace(**(names | given))


class Faults:
    """What goes wrong next; each entry is used up by one call of its kind.

    Attributes:
        submit: ``lost`` (accepted, the answer is lost), ``silent`` (the answer comes over the event stream), ``unsent``
            (never arrives), ``slow`` (a while), or with the role to which the fault applies: ``(fault, role)``.
        query: ``away`` (no answer).
    """

    def __init__(self):
        self.submit, self.query, self.account = [], [], []

    def take(self, kind, role=""):
        waiting = getattr(self, kind)
        for fault in waiting:
            name, wanted = fault if isinstance(fault, tuple) else (fault, "")
            if not wanted or wanted == role:
                waiting.remove(fault)
                return name
        return ""


class Exchange:
    """Book, event stream and REST of one account.

    Args:
        rules: Rules per symbol.
        wallet: Balance.
    """

    def __init__(self, rules, wallet=10_000.0, funding=None):
        self.book = Book(rules, wallet, MarketSettings(), funding)
        self.rules, self.faults = rules, Faults()
        self.updates = asyncio.Queue()
        self.time, self.is_up = 0, True
        self.sent, self.cancelled, self.asked, self.read = [], [], [], 0
        self.naked_since, self.longest_naked = {}, 0
        self.strangers = ()
        self.before_submit = self.after_submit = None

    def image(self):
        """The exchange as it is now, for `from_image`: what a client's death leaves as it is."""
        return pickle.dumps((self.book.snapshot(), self.time, self.sent))

    @classmethod
    def from_image(cls, rules, image):
        """An exchange as it was."""
        exchange = cls(rules)
        state, exchange.time, exchange.sent = pickle.loads(image)
        exchange.book.restore(state)
        return exchange

    # -- the market's side

    def advance(self, point):
        self.time = max(self.time, point.time)
        while events := self.book.advance(point):
            for event in events:
                self.tell(event)

    def tell(self, event):
        if self.is_up:
            self.updates.put_nowait(event)

    def link(self, is_up, reason=""):
        self.is_up = is_up
        self.updates.put_nowait(BrokerLink(self.time, is_up, reason))

    def note_cover(self):
        """Remember since when which position has had no stop."""
        for position in self.book.positions():
            stops = [o for o in self.book.open_orders(position.symbol) if o.role == "stop"]
            if sum(o.quantity for o in stops) >= position.quantity * (1 - 1e-9):
                self.naked_since.pop(position.symbol, None)
                continue
            since = self.naked_since.setdefault(position.symbol, self.time)
            self.longest_naked = max(self.longest_naked, self.time - since)

    # -- the broker's hooks

    async def open(self, market, wallet):
        return self.rules

    async def submit(self, order):
        fault = self.faults.take("submit", str(order.role))
        await asyncio.sleep(0.3 if fault == "slow" else 0)
        if fault == "unsent":
            raise BrokerError("connection reset")
        if self.before_submit is not None:
            self.before_submit(order)
        self.sent.append(order)
        events = self.book.submit(evolve(order, level=None))
        if self.after_submit is not None:
            self.after_submit(order)
        if fault == "lost":
            raise BrokerError("no answer")
        if fault == "silent":
            for event in events:
                self.tell(event)
            return []
        return events

    async def cancel(self, symbol, client_id, time):
        await asyncio.sleep(0)
        self.cancelled.append(client_id)
        return self.book.cancel(symbol, client_id, time)

    async def query(self, symbol, client_id):
        await asyncio.sleep(0)
        self.asked.append(client_id)
        if self.faults.take("query"):
            raise BrokerError("away")
        return self.book.query(client_id)

    async def read_updates(self):
        yield BrokerLink(self.time, is_up=True, reason="")
        while True:
            yield await self.updates.get()

    async def read_account(self):
        await asyncio.sleep(0)
        self.read += 1
        if self.faults.take("account"):
            raise BrokerError("away")
        book = self.book
        positions = tuple(ExchangePosition(p.symbol, p.side, p.quantity, p.entry_price) for p in book.positions())
        orders = tuple(
            ExchangeOrder(o.client_id, s, o.side, str(o.type), o.quantity, 0.0, o.stop_price, o.reduce_only, o.time)
            for s in self.rules
            for o in book.open_orders(s)
        )
        return AccountState(self.time, book.wallet, book.available, (*positions, *self.strangers), orders)

    async def close(self):
        pass

    def as_broker(self, plugin):
        hooks = hooks_of(
            BrokerSpecs,
            slt_open_broker=self.open,
            slt_submit_order=self.submit,
            slt_cancel_order=self.cancel,
            slt_query_order=self.query,
            slt_read_updates=self.read_updates,
            slt_read_account=self.read_account,
            slt_advance_price=lambda point: [],
            slt_snapshot_broker=dict,
            slt_restore_broker=lambda state: None,
            slt_close_broker=self.close,
        )
        return Loaded(plugin.installed, hooks, plugin.config)


class Stream:
    """Plays blocks of bars as a live feed: prices of watched symbols, then the wave of each minute.

    Args:
        blocks: The bars.
        exchange: Whose prices move along; None: a simulated broker's do, by what is read here.
        skip: Rows (from 0) whose waves never come, as after a cut connection.
        first: Row to begin with.
    """

    def __init__(self, blocks, exchange=None, skip=frozenset(), first=0):
        self.blocks, self.exchange, self.skip, self.first = blocks, exchange, skip, first
        self.items, self.watched, self.driver = asyncio.Queue(), frozenset(), None
        self.is_done, self.rows, self.on_row = False, 0, None

    def watch(self, symbols):
        self.watched = frozenset(symbols)

    async def read(self):
        while True:
            yield await self.items.get()
            self.items.task_done()

    async def run(self):
        for bars in self.blocks:
            for row in range(len(bars)):
                if self.rows >= self.first:
                    await self.play(bars, row)
                else:
                    self.rows += 1
        self.is_done = True
        await asyncio.Event().wait()

    async def play(self, bars, row):
        await self.settle()
        if self.on_row is not None:
            await self.on_row(self.rows)
        closed = int(bars.close_time[row])
        opened, step = closed - bars.interval_ms, bars.interval_ms // 3
        for place, time in enumerate((opened, opened + step, opened + 2 * step, closed - 1)):
            for column, symbol in enumerate(bars.symbols):
                if bars.state[row, column] != TRADED:
                    continue
                prices = (float(getattr(bars, name)[row, column]) for name in ("open", "high", "low", "close"))
                point = PricePoint(time, symbol, bar_path(*prices, 1, "ohlc")[place], is_gap=place == 0)
                if symbol in self.watched:
                    self.items.put_nowait(point)
                    await self.settle()
                if self.exchange is not None:
                    self.exchange.advance(point)
                    await self.settle()
        if self.rows not in self.skip:
            self.items.put_nowait(Wave(closed, bars.rows(row, row + 1)))
        self.rows += 1
        await self.settle()

    async def settle(self):
        """Wait until nobody has anything to do any more."""
        while True:
            await self.items.join()
            driver = self.driver
            if driver is None:
                await asyncio.sleep(0)
                continue
            await driver._queue.join()
            lanes = driver._lanes
            if lanes is not None:
                await lanes.idle(60)
                reader = driver._reader
                if reader._asked.is_set() or reader.reason:
                    await asyncio.sleep(0.005)
                    continue
            if self.exchange is not None and not self.exchange.updates.empty():
                await asyncio.sleep(0)
                continue
            if driver._queue.empty() and self.items.empty() and (lanes is None or not lanes.busy):
                break
            await asyncio.sleep(0)
        if self.exchange is not None:
            self.exchange.note_cover()

    def as_feed(self, market, plugin):
        hooks = hooks_of(
            FeedSpecs,
            slt_describe_market=lambda resumed=(): market,
            slt_read_bars=lambda start, rows: iter(()),
            slt_plan_connections=lambda symbols: (),
        )
        return Loaded(plugin.installed, hooks, plugin.config)


def single_rows(bars):
    """A block cut into rows, for those who want them one by one."""
    return [bars.rows(row, row + 1) for row in range(len(np.asarray(bars.close_time)))]
