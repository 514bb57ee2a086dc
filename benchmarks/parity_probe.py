"""Lets a live run tell from inside whether it has dealt with all that it was told: what a parity run waits for.

`parity.py` makes a distribution of this file beside that of `chaos_plugins`. The feature set `watched` is `steady` with
one thing more: the driver of the run that it is part of answers on a Unix socket.
"""

from __future__ import annotations

import asyncio
import json

from attrs import field, frozen
from attrs.validators import min_len
from slt_chaos import Steady, SteadyConfig

from slt import hookimpl
from slt.run import streaming
from slt.trading.accounts import BOOKS


@frozen(kw_only=True)
class WatchedConfig(SteadyConfig):
    """Options of `Watched`.

    Attributes:
        bars: Bars in a row without a hole after which a symbol is ready.
        census_file: Where the number of the event loop's tasks is written down once an hour; empty = nowhere.
        progress_file: Where the time of the last bar seen is written down; empty = nowhere.
        socket_file: Unix socket on which the run tells where it stands.
    """

    socket_file: str = field(validator=min_len(1))


class Watched(Steady):
    """As `Steady`; and whoever connects to the socket reads, as JSON, where the run stands."""

    config_class = WatchedConfig

    @hookimpl
    def slt_start_features(self, symbols, interval_ms):
        super().slt_start_features(symbols, interval_ms)
        _watch(self.config.socket_file)


def _watch(path):
    """Have the driver that runs next answer on a socket for as long as it runs."""
    run = streaming._Driver.run

    async def run_watched(driver):
        async def tell(_, writer):
            writer.write(json.dumps(stand_of(driver)).encode())
            await writer.drain()
            writer.close()

        server = await asyncio.start_unix_server(tell, path)
        try:
            return await run(driver)
        finally:
            server.close()

    streaming._Driver.run = run_watched


def stand_of(driver):
    """Where a run stands.

    `is_at_rest`: nothing waits in a queue, is being handled, or is on its way to the exchange, and its books have been
    compared with the exchange's.
    """
    source, lanes, portfolio = driver._source, driver._lanes, driver._session.engine.portfolio
    is_fed = source._next == source._order and not any(source.status().queued) and not source._outlet._items
    is_idle = lanes is not None and not lanes.busy and not lanes._running and BOOKS not in driver._session.engine.halts
    return {
        "is_at_rest": is_fed and is_idle and not driver._queue._unfinished_tasks,
        "frames": source.frames,
        "time": driver._time,
        "orders": len(portfolio.orders),
        "positions": {
            symbol: holding.position.side * holding.position.quantity for symbol, holding in portfolio.holdings.items()
        },
    }
