"""Every hook of slt: one contract class per plugin kind.

A plugin is a class with a docstring (its first line is what ``slt plugins show`` prints), a ``config_class`` (a frozen
attrs class named ``<Plugin>Config``), an ``__init__(self, config)`` that only stores, and ``@hookimpl`` methods with
the names below. An implementation may take any subset of a hook's arguments, by name. The classes here are protocols:
they are the specification pluggy checks against and the types the kernel works with; plugins need not inherit them.

======================  ====================  =======================================================
entry-point group       contract              required hooks
======================  ====================  =======================================================
``slt.feeds``           `FeedSpecs`           ``slt_describe_market``, ``slt_read_bars``; a live feed all but
                                              ``slt_review_market``
``slt.brokers``         `BrokerSpecs`         all but the three of a live broker and ``slt_add_symbols``
``slt.storages``        `StorageSpecs`        open, write, read and close
``slt.caches``          `CacheSpecs`          all
``slt.features``        `FeatureSpecs`        all
``slt.models``          `ModelSpecs`          all but ``slt_describe_model``
``slt.strategies``      `StrategySpecs`       ``slt_propose_trades``; the others if it keeps state
``slt.sizers``          `SizerSpecs`          all
``slt.exits``           `ExitSpecs`           all
``slt.notifiers``       `NotifierSpecs`       ``slt_send_notice``
``slt.services``        `ServiceSpecs`        all
======================  ====================  =======================================================
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from slt._markers import hookspec

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping, Sequence

    import numpy as np
    from numpy.typing import NDArray

    from slt.storage.contract import Query
    from slt.types import (
        Account,
        AccountState,
        Bars,
        BrokerAlert,
        BrokerLink,
        Check,
        Column,
        ConnectionPlan,
        ExitMark,
        ExitOrder,
        FeatureBlock,
        Fill,
        FundingPayment,
        Kline,
        MarketInfo,
        MarketReview,
        Notice,
        Order,
        OrderUpdate,
        Outlook,
        Position,
        PricePoint,
        Proposal,
        Record,
        SampleSet,
        Size,
        Skip,
        StrategyBlock,
        SymbolChange,
        SymbolRules,
    )

__all__ = [
    "KINDS",
    "BrokerSpecs",
    "CacheSpecs",
    "ExitSpecs",
    "FeatureSpecs",
    "FeedSpecs",
    "ModelSpecs",
    "NotifierSpecs",
    "Predictor",
    "ServiceSpecs",
    "SizerSpecs",
    "StorageSpecs",
    "StrategySpecs",
]


class FeedSpecs(Protocol):
    """Where candles come from."""

    @hookspec
    def slt_describe_market(self, resumed: tuple[str, ...] = ()) -> MarketInfo:
        """Say which symbols, interval and span this feed gives, and what it knows of their rules and funding.

        **Called** once by the driver before the first bar, in a worker thread.

        **Args** `resumed` (since 0.2): the symbols of an unfinished run on a live feed that goes on; empty otherwise.
        The feed gives just these, in this order, whether they still trade or not: there may be positions in them.

        **Returns** the market; never None.

        **On error** the run does not start. Raise `slt.errors.DataError` with every problem found.

        **Budget** may open files; should not hold the whole history in memory.

        **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    def slt_read_bars(self, start: int, rows: int) -> Iterator[Bars]:
        """Yield blocks of closed bars in time order, from the first bar that closes after `start`.

        **Called** once by the driver; the iterator is pulled when the engine is ready for more. On a resume `start`
        is the time of the snapshot.

        **Args** `start`: ms UTC; bars closing at or before it are left out. `rows`: wanted length of a block in
        bars; the last may be shorter. Blocks end where ``close_time`` is a multiple of ``rows · interval``.

        **Returns** an iterator of `Bars`, each with all symbols in the order of `slt_describe_market`, every row of the
        time grid present, absent bars marked ABSENT. Two readings give equal bytes.

        **On error** raise `slt.errors.DataError`; the run stops with its state saved.

        **Budget** may read files; memory for a few blocks.

        **Since** 0.1.

        *In back-test and live*: recorded feeds only. The live driver reads the same blocks one row at a time, paced by
        ``run.speed``.
        """
        ...

    @hookspec
    async def slt_review_market(self, symbols: tuple[str, ...]) -> MarketReview:
        """Look at the market again: how the symbols stand that are followed, and which others are to be.

        A feed may leave it out; then the symbols of the start are followed for as long as the run lasts.

        **Called** by the driver of a live feed soon after the start, every ``feed.review_minutes`` and whenever the
        feed's frames tell of a symbol that begins to trade.

        **Args** `symbols`: those that are followed now, in column order.

        **Returns** what was found: a `slt.types.SymbolChange` for each symbol asked about, and those that join. A
        symbol that is gone is told as not tradable; one that is followed stays so while it trades.

        **On error** raise `slt.errors.FeedError`; logged, and asked again later.

        **Budget** network allowed; the driver sets a timeout. **Since** 0.2.

        *In back-test and live*: live feeds only.
        """
        ...

    @hookspec
    def slt_plan_connections(self, symbols: tuple[str, ...]) -> tuple[ConnectionPlan, ...]:
        """Say which WebSocket connections bring the candles of these symbols, and what to subscribe on each.

        A feed with this hook is *live*: the kernel connects, subscribes, watches, reconnects and queues; the feed only
        knows the exchange's words. It needs the other live hooks too, and its ``slt_read_bars`` gives whatever history
        it has, or nothing.

        **Called** by the kernel at the start and whenever the symbols change.

        **Args** `symbols`: exchange names, in the order of `slt_describe_market`.

        **Returns** the plans; at least one. Streams of all symbols (tickers, contract changes) have an empty symbol.

        **On error** the run does not start. **Budget** no I/O. **Since** 0.2.

        *In back-test and live*: live feeds only.
        """
        ...

    @hookspec
    def slt_subscribe_streams(self, streams: tuple[str, ...], is_wanted: bool, first_id: int) -> tuple[str, ...]:
        """Word the control frames that subscribe or unsubscribe these streams.

        **Called** by the kernel after connecting and when it resubscribes; it sends the frames in order, at the pace
        that ``feed.control_frames_per_second`` allows.

        **Args** `streams`: names from a `slt.types.ConnectionPlan`. `is_wanted`: subscribe, else unsubscribe.
        `first_id`: number of the first frame; each takes the next one.

        **Returns** text frames. **On error** the connection is tried again later. **Budget** no I/O. **Since** 0.2.

        *In back-test and live*: live feeds only.
        """
        ...

    @hookspec
    def slt_route_frame(self, frame: bytes) -> tuple[str, bytes, bool]:
        """Tell which stream a frame belongs to, which bar it speaks of, and whether it must not be lost, unparsed.

        **Called** by the kernel's reader for every frame: this is the hottest path of a live run.

        **Args** `frame`: as received.

        **Returns** ``(stream, bar, is_final)``: the stream's name, empty for an answer to a control frame; the bytes
        that name the bar in the frame (its open time as it stands there), empty where it speaks of none; and True for
        whatever may not be replaced in the queue by a later frame of the same stream (a closed bar, a symbol change).
        The kernel keeps the first frame of every bar too, and the last of one that was never closed.

        **On error** counted, logged once, the frame is dropped. **Budget** about a microsecond. **Since** 0.2.

        *In back-test and live*: live feeds and their recordings.
        """
        ...

    @hookspec
    def slt_decode_frame(self, frame: bytes) -> list[Kline | SymbolChange]:
        """Turn a frame into what it says. Pure: the same frame gives the same answer, in live trading and from a file.

        **Called** by the kernel's workers, frames of one stream in order.

        **Args** `frame`: as received.

        **Returns** updates, oldest first; empty for answers to control frames and for what is of no interest.

        **On error** raise `slt.errors.DataError` with what is wrong; counted, logged, the frame is dropped.

        **Budget** microseconds, no I/O. **Since** 0.2.

        *In back-test and live*: live feeds and their recordings.
        """
        ...


class BrokerSpecs(Protocol):
    """Where orders go."""

    @hookspec
    async def slt_open_broker(self, market: MarketInfo, wallet: float) -> Mapping[str, SymbolRules]:
        """Connect and tell the rules of every symbol of the market.

        **Called** once by the driver before the first bar.

        **Args** `market`: what the feed told. `wallet`: quote currency to start with; a real broker ignores it.

        **Returns** rules per symbol, fees and expected slippage included; a symbol left out cannot be traded.

        **On error** the run does not start. Raise `slt.errors.ConfigError` for a symbol without rules.

        **Budget** network allowed; the driver sets a timeout.

        **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    async def slt_add_symbols(self, market: MarketInfo) -> Mapping[str, SymbolRules]:
        """Make symbols tradable that were not there when the broker was opened, and tell their rules.

        A broker may leave it out; then no symbol joins a run while it goes on.

        **Called** by the driver when the feed has found symbols to follow, before their first bar.

        **Args** `market`: as for `slt_open_broker`, of the joining symbols alone.

        **Returns** rules per symbol, as `slt_open_broker`; one left out cannot be traded. Symbols known already are
        told again, their orders and positions untouched.

        **On error** raise `slt.errors.ConfigError` or `slt.errors.BrokerError`; logged, and tried again at the next
        review.

        **Budget** network allowed; the driver sets a timeout. **Since** 0.2.

        *In back-test and live*: on live feeds only.
        """
        ...

    @hookspec
    async def slt_submit_order(self, order: Order) -> list[Fill | OrderUpdate]:
        """Send an order. Idempotent: a client id seen before is not sent again.

        **Called** by the driver, one order at a time, in the order the engine decided, after its intent is durable.

        **Args** `order`: already rounded and checked by the linter.

        **Returns** what is known at once (acceptance, rejection, fills), oldest first; the rest comes through
        `slt_read_updates` or `slt_advance_price`. An empty list: nothing known yet.

        **On error** raise `slt.errors.BrokerError`; the driver treats the outcome as unknown and asks
        `slt_query_order`.

        **Budget** network allowed; the driver sets a timeout.

        **Since** 0.1.

        *In back-test and live*: a simulated broker answers from its own book and knows no network.
        """
        ...

    @hookspec
    async def slt_cancel_order(self, symbol: str, client_id: str, time: int) -> list[Fill | OrderUpdate]:
        """Cancel a working order; cancelling one that is gone is no error.

        **Called** by the driver when the engine says so.

        **Args** `symbol`, `client_id`: the order. `time`: ms UTC of the decision.

        **Returns** what is known at once, as `slt_submit_order`.

        **On error** as `slt_submit_order`.

        **Budget** network allowed; the driver sets a timeout.

        **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    async def slt_query_order(self, symbol: str, client_id: str) -> list[Fill | OrderUpdate]:
        """Tell everything known of one order, oldest first; an empty list: the broker never saw it.

        **Called** by the driver after an unknown outcome and at a restart.

        **Args** `symbol`, `client_id`: the order.

        **Returns** its fills and updates so far.

        **On error** retried by the driver with backoff.

        **Budget** network allowed; the driver sets a timeout.

        **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    def slt_advance_price(self, point: PricePoint) -> list[Fill | OrderUpdate | FundingPayment]:
        """Move a symbol's price to `point` and tell what that filled, up to and including the first level on the way.

        **Called** by the driver for simulated brokers only, for symbols with a position or a working order; called
        again with the same point until it returns an empty list, so that the engine can answer each fill before the
        price goes on.

        **Args** `point`: prices of one symbol arrive in time order.

        **Returns** events in the order they happened; empty: the price has arrived and nothing more happened.

        **On error** the run stops with its state saved.

        **Budget** no I/O: this is the inner loop of a back-test.

        **Since** 0.1.

        *In back-test and live*: a broker with a real exchange behind it returns an empty list.
        """
        ...

    @hookspec
    def slt_read_updates(
        self,
    ) -> AsyncIterator[Fill | OrderUpdate | FundingPayment | BrokerLink | BrokerAlert]:
        """Yield order and account events as the exchange pushes them, for as long as the run lasts.

        A broker with this hook is *live*. It keeps its connection alive by itself, and says `slt.types.BrokerLink`
        whenever events stop or flow again; after a silence it first yields whatever it missed.

        **Called** once by the driver, after `slt_open_broker`; the first event is a `BrokerLink`.

        **Returns** an asynchronous iterator. An event may come twice, here and from `slt_submit_order` or
        `slt_query_order`; fills carry the exchange's trade id, by which the kernel knows them again.

        **On error** entries halt and the iterator is asked for again with backoff. **Budget** network. **Since** 0.2.

        *In back-test and live*: live brokers only; a simulated broker answers `slt_advance_price`.
        """
        ...

    @hookspec
    async def slt_read_account(self) -> AccountState:
        """Read wallet, positions and working orders from the exchange, conditional orders included.

        **Called** by the driver at the start, after each reconnect of the event stream, and every few minutes to find
        orders that nobody owns; the run does not trade before its books and this agree.

        **Returns** the account at one moment. **On error** raise `slt.errors.BrokerError`; asked again with backoff.

        **Budget** network allowed; the driver sets a timeout. **Since** 0.2.

        *In back-test and live*: live brokers only.
        """
        ...

    @hookspec
    async def slt_diagnose_broker(self, market: MarketInfo) -> list[Check]:
        """Look at everything that could keep this broker from trading, and say what to do about it.

        **Called** by ``slt doctor``, without `slt_open_broker` before it. **Args** `market`: what the feed tells.

        **Returns** one `slt.types.Check` per thing looked at; never raises for what is merely wrong.

        **On error** shown as a problem. **Budget** network, 30 seconds. **Since** 0.2.

        *In back-test and live*: live brokers only; optional.
        """
        ...

    @hookspec
    def slt_snapshot_broker(self) -> dict[str, Any]:
        """Give the broker's own state as plain picklable data; a broker with an exchange behind it gives ``{}``.

        **Called** by the driver with every snapshot. **Returns** never None. **On error** the run stops.

        **Budget** no I/O. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    def slt_restore_broker(self, state: dict[str, Any]) -> None:
        """Take back what `slt_snapshot_broker` gave.

        **Called** by the driver at a resume, after `slt_open_broker`. **Args** `state`: as given. **On error** the
        run does not start. **Budget** no I/O. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    async def slt_close_broker(self) -> None:
        """Disconnect; leaves positions and resting orders as they are.

        **Called** once at the end of a run, also after an error. **On error** logged. **Budget** 5 seconds.
        **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...


class StorageSpecs(Protocol):
    """Where records last."""

    @hookspec
    async def slt_open_storage(self) -> str:
        """Connect, bring the schema up to date, and describe the place in one line without any secret.

        **Called** before the run. **Returns** e.g. ``"embedded PostgreSQL 16 in ./data/postgres"``.

        **On error** raise `slt.errors.StorageError` with what to do; never the password. A paper or live run then goes
        on with its journal alone and calls again until it succeeds, unless it is a `slt.errors.ConfigError`, which only
        a person can help: then the run does not start. Nothing stays open.

        **Budget** network and disk; may take a minute at first use. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    async def slt_write_records(self, records: Sequence[Record]) -> None:
        """Store records, replacing any of the same type and id; all of them or none.

        **Called** by the kernel's write-behind writer, one batch at a time, in order; the engine never waits for it.

        **Args** `records`: any mixture of types, oldest first; of two with one id the later counts, but for what
        different runs say of one position: see `slt.storage.contract.counts`.

        **On error** raise `slt.errors.StorageError`; the batch stays in the journal and is written again later. Raise
        its subclass `slt.errors.RecordRefusedError` only where a record can never be stored for what it is: the writer
        halves the batch until it has found it, and sets it aside in a file.

        **Budget** network and disk, never blocking the event loop. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    async def slt_read_records(self, query: Query) -> list[Record]:
        """Read records of one type, by the query's filters, in its order.

        **Called** by commands (report, why, model) and by a resume. **Args** `query`: see `slt.storage.contract.Query`.

        **Returns** records equal to those written. **On error** raise `slt.errors.StorageError`.

        **Budget** network and disk, never blocking the event loop. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    async def slt_forget_records(self, run_id: str, since: int) -> None:
        """Delete the records of a run from a time on; keep its `slt.types.Run`, its notices, and all stored bars.

        Optional. A run that is resumed goes back to its last snapshot; what it stored after that belongs to a future
        that may not come again (another lock, another version of a plugin). Without this hook such a record stays until
        one of the same id replaces it.

        **Called** once when a run is resumed, after the journal is stored and before the first bar.

        **Args** `run_id`: the run. `since`: ms UTC, inclusive; the time of a record is as in
        `slt.storage.contract.Query`.

        **On error** raise `slt.errors.StorageError`; a back-test then ends, other runs go on. **Budget** network and
        disk, never blocking the event loop. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    async def slt_prune_records(self, now: int) -> int:
        """Delete what is older than the storage's own options allow, a bounded number at a time; never a trade.

        Optional.

        **Called** in paper and live runs once an hour, again and again until it returns 0.

        **Args** `now`: event time, ms UTC.

        **Returns** how many records were deleted. **On error** raise `slt.errors.StorageError`; logged, and tried
        again an hour later. **Budget** network and disk, a second at most. **Since** 0.2.

        *In back-test and live*: never in a back-test.
        """
        ...

    @hookspec
    async def slt_migrate_storage(self, is_dry_run: bool) -> list[str]:
        """Bring the schema up to date, forward only, while no other process does.

        Optional.

        **Called** by ``slt db migrate`` on a storage that is not open; closes everything it opened.

        **Args** `is_dry_run`: only find out what would be done, and whether it would succeed.

        **Returns** a line for each step, in order; empty: nothing was missing.

        **On error** raise `slt.errors.StorageError`; then nothing is changed. **Budget** as long as it takes.
        **Since** 0.2.

        *In back-test and live*: `slt_open_storage` does the same by itself.
        """
        ...

    @hookspec
    async def slt_describe_storage(self) -> list[tuple[str, str]]:
        """Tell people where the records are, of what version the schema is, and how much there is of each kind.

        Optional.

        **Called** by ``slt db status`` on a storage that is not open; changes nothing, closes everything it opened.

        **Returns** label and text of each line. **On error** raise `slt.errors.StorageError`. **Budget** some seconds.
        **Since** 0.2.

        *In back-test and live*: neither calls it.
        """
        ...

    @hookspec
    async def slt_hold_lock(self, name: str) -> bool:
        """Take a named lock that one process at a time can hold, or make sure that this process still holds it.

        Optional, together with the two hooks below. The lock lasts until `slt_release_lock`, the close of the storage,
        or the end of the process, however it ends; it falls free within some seconds where the machine has gone.

        **Called** by a live run: every second while it waits as a standby, and before an entry where there is doubt.

        **Args** `name`: what is locked, e.g. an account.

        **Returns** whether this process holds it now; False: another one does.

        **On error** raise `slt.errors.StorageError`: the storage is away, and the lock counts as lost.

        **Budget** network, 5 seconds. **Since** 0.2.

        *In back-test and live*: live runs, and paper runs that ask for it.
        """
        ...

    @hookspec
    async def slt_watch_lock(self, name: str) -> None:
        """Wait until a lock that `slt_hold_lock` took is lost, and notice that within 5 seconds.

        **Called** in a task of its own after each `slt_hold_lock` that returned True.

        **Args** `name`: as above. **Returns** when it is lost; at once where it is not held. **On error** it is lost.
        **Budget** waits. **Since** 0.2.

        *In back-test and live*: as `slt_hold_lock`.
        """
        ...

    @hookspec
    async def slt_release_lock(self, name: str) -> None:
        """Give a lock up, so that a standby can take over at once; giving up what is not held is no error.

        **Called** at the end of a run, before `slt_close_storage`. **Args** `name`: as above. **On error** logged.
        **Budget** 5 seconds. **Since** 0.2.

        *In back-test and live*: as `slt_hold_lock`.
        """
        ...

    @hookspec
    async def slt_close_storage(self) -> None:
        """Disconnect and release what was started.

        **Called** once at the end, after the last write. **On error** logged. **Budget** 10 seconds. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...


class CacheSpecs(Protocol):
    """Where answers that are asked for often are shared between processes for some seconds.

    The second tier of the kernel's cache: the first is in memory, below stands the storage. Nothing rests on it: what
    it has lost, or does not say within the kernel's budget of 50 ms, the storage is asked for.
    """

    @hookspec
    async def slt_open_cache(self) -> str:
        """Prepare to answer: check that the address is there and well-formed. Connect when first asked, not here.

        **Called** once when the run or command starts.

        **Returns** one line saying where the cache is, without secrets. **On error** raise `slt.errors.ConfigError`
        naming the missing or malformed variable; the run does not start. A server that is away is no error.

        **Budget** no network. **Since** 0.2.

        *In back-test and live*: not called in a back-test, which asks for no statistics.
        """
        ...

    @hookspec
    async def slt_get_entries(self, keys: tuple[str, ...]) -> list[bytes | None]:
        """Look some keys up, in one round trip.

        **Called** by the cache for every question that its own memory cannot answer; calls overlap.

        **Args** `keys`: one or more, ASCII, at most 200 characters each.

        **Returns** a value for each key, in order; None = not there or expired.

        **On error** raise anything: the storage is asked, and after several failures in a row the cache is left alone
        for some seconds. Never answer with another key's value, not after a time-out or cancellation either.

        **Budget** the kernel cancels after 50 ms; must not block the event loop. **Since** 0.2.

        *In back-test and live*: not called in a back-test.
        """
        ...

    @hookspec
    async def slt_set_entry(self, key: str, value: bytes, ttl_ms: int) -> None:
        """Keep a value under a key, in place of what is there, until it expires.

        **Called** by the cache after it asked the storage, and to mark what is no longer true.

        **Args** `key`: as above. `value`: bytes, to be given back as they are; may be empty. `ttl_ms`: milliseconds
        until it must be gone, above 0.

        **On error** raise anything; counts as a failure, as above. **Budget** as above. **Since** 0.2.

        *In back-test and live*: not called in a back-test.
        """
        ...

    @hookspec
    async def slt_delete_entries(self, keys: tuple[str, ...]) -> None:
        """Forget some keys; those that are not there are no error.

        **Called** by the cache when it is told to forget. **Args** `keys`: as above. **On error**, **Budget** as above.

        **Since** 0.2.

        *In back-test and live*: not called in a back-test.
        """
        ...

    @hookspec
    async def slt_close_cache(self) -> None:
        """Disconnect.

        **Called** once at the end; twice is no error. **On error** logged. **Budget** 1 second. **Since** 0.2.

        *In back-test and live*: not called in a back-test.
        """
        ...


class FeatureSpecs(Protocol):
    """What the model and the strategies see of the market."""

    @hookspec
    def slt_describe_features(self) -> tuple[tuple[Column, ...], tuple[str, ...], int, str]:
        """Name the columns before any bar has come.

        **Called** once when the run is built; the answer must not change.

        **Returns** ``(columns, context_names, warmup_bars, definition)``: the model's columns in vector order; the
        context columns; the number of base bars before the first ready row; and a string that changes whenever a
        formula or a parameter does (it enters the schema hash).

        **On error** the run does not start. **Budget** no I/O. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    def slt_start_features(self, symbols: tuple[str, ...], interval_ms: int) -> None:
        """Prepare empty state for these symbols.

        **Called** once before the first block, and before `slt_restore_features` at a resume.

        **Args** `symbols`: column order of every block to come. `interval_ms`: the base interval.

        **On error** raise `slt.errors.ConfigError` naming both intervals where the base interval does not fit.

        **Budget** may compile; announce what takes longer than a second. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    def slt_update_features(self, bars: Bars) -> FeatureBlock:
        """Compute the features of a block of closed bars, carrying state over from the block before.

        **Called** by the driver for every block in time order, sets in config order: a day of minutes in a
        back-test, one minute in live trading.

        **Args** `bars`: read-only; a symbol's bars arrive in order.

        **Returns** a `FeatureBlock` of the same ``t`` and ``s``. Law: ``f(A) ++ f(B) == f(A ++ B)`` for any cut, bit
        for bit; a symbol's output depends on its own bars alone, and row t on nothing after row t.

        **On error** entries stop, positions stay managed, and the run ends with exit code 3 naming the plugin.

        **Budget** no I/O; 1 ms for 200 symbols and one minute. **Since** 0.1.

        *In back-test and live*: only the length of the block differs.
        """
        ...

    @hookspec
    def slt_snapshot_features(self) -> dict[str, Any]:
        """Give the state as plain picklable data (arrays allowed), so that a restore goes on bit for bit.

        **Called** with every snapshot. **Returns** never None. **On error** the run stops. **Budget** no I/O.

        **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    def slt_restore_features(self, state: dict[str, Any]) -> None:
        """Take back what `slt_snapshot_features` gave, after `slt_start_features`.

        **Called** at a resume. **Args** `state`: as given; must not be kept by reference. **On error** the run does
        not start.

        **Budget** no I/O. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...


class StrategySpecs(Protocol):
    """Who proposes trades."""

    @hookspec
    def slt_propose_trades(self, bars: Bars, features: FeatureBlock) -> StrategyBlock:
        """Propose entries for a block of closed bars, and rate every row for positions already open.

        **Called** by the driver for every block in time order, after the features, strategies in config order.

        **Args** `bars` and `features`: the same rows and symbols, read-only; all chosen feature sets side by side.

        **Returns** a `StrategyBlock` of the same shape. Chunk-invariant and causal, as features are. A proposal
        stands for an entry at the next price after the bar's close; its stop lies on the losing side of the close,
        its target on the winning.

        **On error** entries stop, positions stay managed, and the run ends with exit code 3 naming the plugin.

        **Budget** no I/O. **Since** 0.1.

        *In back-test and live*: only the length of the block differs.
        """
        ...

    @hookspec
    def slt_snapshot_strategy(self) -> dict[str, Any]:
        """Give the state as plain picklable data. A strategy without state need not implement it.

        **Called** with every snapshot. **Returns** never None. **On error** the run stops. **Budget** no I/O.

        **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    def slt_restore_strategy(self, state: dict[str, Any]) -> None:
        """Take back what `slt_snapshot_strategy` gave.

        **Called** at a resume, before the first block. **Args** `state`: as given. **On error** the run does not start.

        **Budget** no I/O. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...


class Predictor(Protocol):
    """A fitted model."""

    def predict(self, x: NDArray[np.float32]) -> NDArray[np.float32]:
        """Calibrated probability that each trade wins net of costs.

        Args:
            x: float32 ``[n, f]``, oriented features; NaN = missing.

        Returns:
            float32 ``[n]`` in [0, 1]. A row's answer depends on that row alone.
        """
        ...


class ModelSpecs(Protocol):
    """Who learns from closed trades."""

    @hookspec
    def slt_fit_model(self, samples: SampleSet, seed: int) -> bytes:
        """Fit a model on samples and give it as bytes.

        **Called** in a child process, several times per fit (once per fold of the walk-forward and once on everything).

        **Args** `samples`: resolved samples, oldest first, at least one of each outcome. `seed`: of everything random.

        **Returns** an artefact that `slt_load_model` takes, calibration included. Same samples and seed → same bytes.

        **On error** the champion stays in force, and the reason is stored and shown.

        **Budget** one thread; seconds. **Since** 0.1.

        *In back-test and live*: the same code at the same points of event time.
        """
        ...

    @hookspec
    def slt_load_model(self, artefact: bytes) -> Predictor:
        """Make a fitted model ready to predict.

        **Called** when a version takes effect, at a resume, and in the child process for scoring.

        **Args** `artefact`: bytes of `slt_fit_model`.

        **Returns** a `Predictor`. **On error** raise `slt.errors.ModelError`; the run goes on with the last good one.

        **Budget** milliseconds. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    def slt_explain_model(self, artefact: bytes, names: tuple[str, ...]) -> dict[str, float]:
        """Tell how much each column contributes, for the report.

        **Called** in the child process after a fit. **Args** `artefact`: the model. `names`: columns of the vector.

        **Returns** share of the total gain per column; shares add up to 1, columns never used have 0.

        **On error** the report shows no importance. **Budget** milliseconds. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    def slt_describe_model(self, artefact: bytes) -> dict[str, Any]:
        """Tell what a model was fitted with, for ``slt model show`` and the stored version.

        Optional.

        **Called** in the child process after a fit. **Args** `artefact`: the model.

        **Returns** JSON types: the parameters in force, the kind of calibration. **On error** nothing is stored.

        **Budget** milliseconds. **Since** 0.2.

        *In back-test and live*: the same.
        """
        ...


class SizerSpecs(Protocol):
    """Who says how big."""

    @hookspec
    def slt_size_position(
        self, proposal: Proposal, confidence: float, p_win: float | None, account: Account
    ) -> Size | Skip:
        """Say how large an entry should be, or that it should not be.

        **Called** by the engine for each proposal that passed the gates before it, best first.

        **Args** `proposal`: the entry, its stop already at least at the floor. `confidence`: the rules' [0, 1].
        `p_win`: the model's calibrated probability, None while UNTRAINED. `account`: as it would be after the better
        ones.

        **Returns** a `Size`, which the kernel then caps (risk, margin, brackets) and rounds, or a `Skip` with its
        reason.

        **On error** entries stop, positions stay managed, and the run ends with exit code 3 naming the plugin.

        **Budget** pure; microseconds. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...


class ExitSpecs(Protocol):
    """Who says when to leave."""

    @hookspec
    def slt_check_exit(
        self, position: Position, point: PricePoint, outlook: Outlook | None
    ) -> ExitOrder | ExitMark | None:
        """Decide whether to leave a position at this price.

        **Called** by the engine at every price point of every open position, exits in config order, until one closes
        something. Called directly, not through the hook relay, because it is the inner loop.

        **Args** `position`: read it, never change it. `point`: the price now. `outlook`: as of the last 5m close;
        None before the first.

        **Returns** an `ExitOrder` to close, an `ExitMark` to have something remembered on the position (the next exits
        are still asked), or None. The first `ExitOrder` in config order wins; where several exits name a trigger price
        on the way from the price before, the one that the price met first.

        **On error** entries stop, this exit is not asked again, the other exits and the resting stop stay in force,
        and the run ends with exit code 3 naming the plugin.

        **Budget** pure; about a microsecond. **Since** 0.1.

        *In back-test and live*: points are ticks in live trading, and the open, the two extremes and the close of
        each bar in a back-test; `ExitOrder.trigger_price` lets the latter fill at the level.
        """
        ...


class NotifierSpecs(Protocol):
    """Who tells people."""

    @hookspec
    async def slt_open_notifier(self) -> None:
        """Prepare to send: check that the secrets are in the environment, open a session. Sends nothing.

        **Called** once before the run. **On error** raise `slt.errors.ConfigError` naming the missing variable; the
        run does not start. **Budget** no network. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    async def slt_send_notice(self, notice: Notice) -> None:
        """Deliver one notice.

        **Called** by the outbox in a task of its own, one notice at a time per channel, at least a second apart; the
        outbox retries, so do not retry here.

        **Args** `notice`: plain text; escape it for the channel.

        **Returns** nothing when the channel confirmed. **On error** raise `slt.errors.RetryLaterError` with the wait
        the channel asked for; an `OSError` such as `ConnectionError` or `TimeoutError` where it is out of reach:
        retried with backoff until it is back; any other exception: retried ``notices.max_attempts`` times, then
        dropped with an error in the log. The run never notices.

        **Budget** network; the outbox sets a timeout. **Since** 0.1.

        *In back-test and live*: the same; a back-test sends only what ``notices.in_backtest`` allows.
        """
        ...

    @hookspec
    async def slt_close_notifier(self) -> None:
        """Close what `slt_open_notifier` opened.

        **Called** once at the end. **On error** logged. **Budget** 5 seconds. **Since** 0.1.

        *In back-test and live*: the same.
        """
        ...


class ServiceSpecs(Protocol):
    """What runs beside slt: a local exchange, for one. `slt NAME` starts it by hand, ``slt run`` where config says so.

    A service runs in a process of its own. Its option ``source``, if it has one, names a feed plugin whose options
    stand in ``[feeds.<source>]``; the kernel builds that feed and hands it over.
    """

    @hookspec
    async def slt_start_service(self, source: FeedSpecs | None) -> str:
        """Start, and say in one line for people where the service can be reached. Answers requests from then on.

        **Called** once, in the service's own process. **Args** `source`: hooks of the feed that the option ``source``
        names; None where there is no such option, or it is empty.

        **Returns** a line such as ``"local exchange on http://127.0.0.1:8771"``, without any secret.

        **On error** raise `slt.errors.ConfigError` with what to change (a port that is taken); the run does not start.

        **Budget** a minute. **Since** 0.2.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    async def slt_wait_service(self) -> None:
        """Serve until there is nothing more to serve.

        **Called** once after the start; cancelled when the service is to end. **Returns** when the service is over by
        itself; one that serves for ever never does.

        **On error** the service ends with the error told. **Budget** as long as it likes, never blocking the event
        loop. **Since** 0.2.

        *In back-test and live*: the same.
        """
        ...

    @hookspec
    async def slt_stop_service(self) -> None:
        """Stop serving and let go of everything: ports, files, tasks.

        **Called** once at the end, also when the start failed. **On error** told. **Budget** 5 seconds. **Since** 0.2.

        *In back-test and live*: the same.
        """
        ...


KINDS: dict[str, type] = {
    "feeds": FeedSpecs,
    "brokers": BrokerSpecs,
    "storages": StorageSpecs,
    "caches": CacheSpecs,
    "features": FeatureSpecs,
    "models": ModelSpecs,
    "strategies": StrategySpecs,
    "sizers": SizerSpecs,
    "exits": ExitSpecs,
    "notifiers": NotifierSpecs,
    "services": ServiceSpecs,
}
"""Every plugin kind, as written in config.toml and in entry-point groups (``slt.<kind>``), with its contract."""
