"""The broker `binance`: orders and account of Binance USDⓈ-M futures."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any

from slt import hookimpl
from slt.errors import BrokerError, ConfigError
from slt.types import BrokerLink, Check, Fill, FundingPayment, OrderStatus, OrderUpdate
from slt_binance.account import read_account
from slt_binance.endpoints import Endpoints
from slt_binance.events import Events, Update
from slt_binance.faults import Action, ExchangeError
from slt_binance.history import History
from slt_binance.options import BinanceBrokerConfig
from slt_binance.survey import Survey, make_client, read_credentials
from slt_binance.symbol_settings import MARGIN_WORDS, SymbolSettings
from slt_binance.tracking import Tracker
from slt_binance.user_stream import Timing, UserStream
from slt_binance.words import FeeTable, GridError, order_request, order_update

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Mapping

    from slt.types import AccountState, BrokerAlert, MarketInfo, Order, PricePoint, SymbolRules
    from slt_binance.client import Client
    from slt_binance.tracking import Tracked

__all__ = ["BinanceBroker", "BinanceBrokerConfig"]

_KEY = "brokers.binance"
_DUPLICATE = -4116
_ON_THE_WAY_MS = 1_000
_UPDATES_WAITING = 10_000
_START_WAIT_S = 75.0
"""Restarts in a row use up a minute's budget: a start waits for the next, rather than end and use up more."""
_log = logging.getLogger(__name__)


class BinanceBroker:
    """Trades at Binance USDⓈ-M futures: the demo exchange by default, the real one where its addresses are given.

    Entries and exits go to the order endpoint, stops and targets to the algo endpoint; all carry the intent's client
    id. Fills and account events come over the user stream. An order whose outcome is unknown is never sent again: it is
    asked for, and as long as it may still arrive the answer is waited for.

    Args:
        config: The options.
    """

    config_class = BinanceBrokerConfig

    def __init__(self, config: BinanceBrokerConfig) -> None:
        self.config = config
        self._tracker = Tracker()
        self._rules: dict[str, SymbolRules] = {}
        self._settings = SymbolSettings(config.margin_type)
        self._quote = ""
        self._opened: Client | None = None
        self._history: History | None = None
        self._stream: UserStream | None = None
        self._reading: asyncio.Task[None] | None = None

    @hookimpl
    async def slt_open_broker(self, market: MarketInfo) -> Mapping[str, SymbolRules]:
        """Look at exchange, key and account; see `slt.hookspecs.BrokerSpecs.slt_open_broker`.

        Raises:
            ConfigError: Something is wrong that a person has to put right; every problem at once.
            BrokerError: The exchange does not answer.
        """
        config = self.config
        credentials = read_credentials(config)
        client = make_client(config, credentials)
        try:
            survey = Survey(client, config, market.symbols, is_resumed=market.is_resumed)
            with client.waiting_up_to(_START_WAIT_S):
                await survey.look()
                _raise_problems(survey)
                await _switch_used(client, survey, config.margin_type)
        except BaseException:
            await client.close()
            raise
        self._rules, self._quote = survey.rules, survey.quote
        self._settings = SymbolSettings(config.margin_type, survey.leverages, survey.margin_types)
        fees = FeeTable(survey.quote, survey.rules)
        self._opened = client
        self._history = History(client, self._tracker, fees, self._latest_arrival())
        events = Events(self._tracker, fees, self._settings)
        self._stream = UserStream(client, config.stream_url, _timing(config), events, self._history, self._tracker)
        return dict(survey.rules)

    @hookimpl
    async def slt_add_symbols(self, market: MarketInfo) -> Mapping[str, SymbolRules]:
        """Look at more symbols; see `slt.hookspecs.BrokerSpecs.slt_add_symbols`.

        Raises:
            ConfigError: Something is wrong that a person has to put right.
            BrokerError: The exchange does not answer.
        """
        survey = Survey(self._client, self.config, market.symbols)
        await survey.look()
        _raise_problems(survey)
        await _switch_used(self._client, survey, self.config.margin_type)
        new = [symbol for symbol in survey.rules if symbol not in self._rules]
        self._rules.update((symbol, survey.rules[symbol]) for symbol in new)
        self._settings.take(new, survey.leverages, survey.margin_types)
        return dict(survey.rules)

    @hookimpl
    async def slt_submit_order(self, order: Order) -> list[Fill | OrderUpdate]:
        """Send an order; see `slt.hookspecs.BrokerSpecs.slt_submit_order`.

        Raises:
            BrokerError: Nobody knows whether it arrived.
        """
        if self._tracker.get(order.client_id) is not None:
            return await self._told.tell_order(order.symbol, order.client_id)
        rules = self._rules.get(order.symbol)
        tracked = self._tracker.add(order)
        if rules is None:
            return self._refuse(tracked, f"{order.symbol} is none of the symbols that this run trades")
        try:
            endpoint, parameters = order_request(order, rules, self.config.trigger_price)
        except GridError as error:
            return self._refuse(tracked, f"not sent: {error}; please report it")
        if problem := await self._settings.prepare(self._client, order):
            return self._refuse(tracked, f"not sent: {problem}")
        return await self._send(tracked, endpoint, parameters, is_urgent=order.reduce_only)

    @hookimpl
    async def slt_cancel_order(self, symbol: str, client_id: str) -> list[Fill | OrderUpdate]:
        """Cancel an order of either kind; see `slt.hookspecs.BrokerSpecs.slt_cancel_order`.

        A conditional order that has triggered is cancelled as the real order it has become.

        Raises:
            BrokerError: The exchange does not answer.
        """
        tracked = self._tracker.get(client_id)
        may_be_algo = tracked is None or tracked.is_algo
        if may_be_algo and await self._try_cancel(Endpoints.CANCEL_ALGO, clientAlgoId=client_id) is not None:
            if tracked is not None:
                tracked.is_finished = True
            return [OrderUpdate(self._client.now, client_id, symbol, OrderStatus.CANCELLED)]
        number = tracked.order_id if tracked is not None else 0
        name = {"orderId": number} if number else {"origClientOrderId": client_id}
        answer = await self._try_cancel(Endpoints.CANCEL_ORDER, symbol=symbol, **name)
        if answer is None or float(answer.get("executedQty") or 0) > 0:
            return await self._told.tell_order(symbol, client_id)
        if tracked is not None:
            tracked.is_finished = True
        update = order_update(client_id, symbol, str(answer["status"]), int(answer["updateTime"]))
        return [] if update is None else [update]

    @hookimpl
    async def slt_query_order(self, symbol: str, client_id: str) -> list[Fill | OrderUpdate]:
        """Ask what became of an order; see `slt.hookspecs.BrokerSpecs.slt_query_order`.

        Raises:
            BrokerError: The exchange does not answer.
        """
        return await self._told.tell_order(symbol, client_id)

    @hookimpl
    def slt_advance_price(self, point: PricePoint) -> list[Fill | OrderUpdate | FundingPayment]:
        """Nothing: prices are the exchange's; see `slt.hookspecs.BrokerSpecs.slt_advance_price`."""
        del point
        return []

    @hookimpl
    async def slt_read_updates(
        self,
    ) -> AsyncGenerator[Fill | OrderUpdate | FundingPayment | BrokerLink | BrokerAlert, None]:
        """Yield what the user stream says; see `slt.hookspecs.BrokerSpecs.slt_read_updates`.

        Raises:
            BrokerError: The broker is not open.
        """
        if self._stream is None:
            raise _not_open()
        stream = self._stream
        updates: asyncio.Queue[Update | BrokerLink | BaseException] = asyncio.Queue(_UPDATES_WAITING)

        async def relay() -> None:
            try:
                await stream.run(updates.put)
            except Exception as error:  # noqa: BLE001 # it is raised where the updates are read
                await updates.put(error)

        self._reading = asyncio.create_task(relay())
        try:
            while True:
                update = await updates.get()
                if isinstance(update, BaseException):
                    raise update
                yield update
        finally:
            await self._stop_reading()

    @hookimpl
    async def slt_read_account(self) -> AccountState:
        """Read the account; see `slt.hookspecs.BrokerSpecs.slt_read_account`.

        Raises:
            BrokerError: The exchange does not answer.
        """
        return await read_account(self._client, self._tracker, self._quote)

    @hookimpl
    async def slt_diagnose_broker(self, market: MarketInfo) -> list[Check]:
        """Look at everything and trade nothing; see `slt.hookspecs.BrokerSpecs.slt_diagnose_broker`."""
        try:
            credentials = read_credentials(self.config)
        except ConfigError as error:
            return [Check("API key", "problem", *problem.split("; ", 1)) for problem in error.problems]
        client = make_client(self.config, credentials)
        try:
            survey = Survey(client, self.config, market.symbols)
            await survey.look()
            if not survey.problems:
                survey.checks.append(await self._diagnose_stream(client, survey))
        finally:
            await client.close()
        return survey.checks

    @hookimpl
    def slt_snapshot_broker(self) -> dict[str, Any]:
        """Nothing: the exchange keeps its state; see `slt.hookspecs.BrokerSpecs.slt_snapshot_broker`."""
        return {}

    @hookimpl
    def slt_restore_broker(self, state: dict[str, Any]) -> None:
        """Nothing: the exchange keeps its state; see `slt.hookspecs.BrokerSpecs.slt_restore_broker`."""

    @hookimpl
    async def slt_close_broker(self) -> None:
        """Disconnect; see `slt.hookspecs.BrokerSpecs.slt_close_broker`."""
        await self._stop_reading()
        client, self._opened = self._opened, None
        self._history = self._stream = None
        if client is not None:
            await client.close()

    @property
    def _client(self) -> Client:
        if self._opened is None:
            raise _not_open()
        return self._opened

    @property
    def _told(self) -> History:
        if self._history is None:
            raise _not_open()
        return self._history

    async def _stop_reading(self) -> None:
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _send(
        self, tracked: Tracked, endpoint: Any, parameters: dict[str, Any], *, is_urgent: bool
    ) -> list[Fill | OrderUpdate]:
        tracked.is_sending = True
        try:
            answer = await self._client.call(endpoint, is_urgent=is_urgent, **parameters)
        except ExchangeError as error:
            failure = error
        except asyncio.CancelledError:
            # Whoever waited for the answer has given up; the order may still be on its way.
            tracked.doubtful_until = self._latest_arrival()
            raise
        else:
            return self._taken(tracked, answer)
        finally:
            tracked.is_sending = False
        if failure.code == _DUPLICATE:
            return await self._told.tell_order(tracked.symbol, tracked.client_id)
        if failure.action is Action.UNKNOWN:
            tracked.doubtful_until = self._latest_arrival()
            raise failure
        return self._refuse(tracked, str(failure))

    def _latest_arrival(self) -> int:
        """Exchange time after which it refuses, as too old, a request sent by now."""
        return self._client.now + self.config.recv_window_ms + _ON_THE_WAY_MS

    def _taken(self, tracked: Tracked, answer: dict[str, Any]) -> list[Fill | OrderUpdate]:
        self._tracker.link(tracked.symbol, int(answer.get("orderId") or 0), tracked.client_id)
        if self._stream is not None:
            self._stream.expect(tracked.client_id)
        status = str(answer.get("status") or answer.get("algoStatus") or "NEW")
        time = int(answer.get("updateTime") or self._client.now)
        update = order_update(tracked.client_id, tracked.symbol, status, time)
        return [] if update is None else [update]

    def _refuse(self, tracked: Tracked, reason: str) -> list[Fill | OrderUpdate]:
        """An order that is certainly not at the exchange."""
        tracked.is_finished, tracked.doubtful_until = True, 0
        time = self._client.now
        tracked.refusal = OrderUpdate(time, tracked.client_id, tracked.symbol, OrderStatus.REJECTED, reason)
        return [tracked.refusal]

    async def _try_cancel(self, endpoint: Any, **parameters: Any) -> dict[str, Any] | None:
        """The answer; None where there is nothing of that name to cancel."""
        try:
            answer: dict[str, Any] = await self._client.call(endpoint, is_urgent=True, **parameters)
        except ExchangeError as error:
            if error.action is Action.GONE:
                return None
            raise
        return answer

    async def _diagnose_stream(self, client: Client, survey: Survey) -> Check:
        """Open the user stream once."""
        tracker = Tracker()
        fees = FeeTable(survey.quote, survey.rules)
        history, events = History(client, tracker, fees), Events(tracker, fees, SymbolSettings("isolated"))
        stream = UserStream(client, self.config.stream_url, _timing(self.config), events, history, tracker)
        links: asyncio.Queue[Any] = asyncio.Queue()
        reading = asyncio.create_task(stream.run(links.put))
        try:
            async with asyncio.timeout(self.config.request_timeout_seconds):
                link = await links.get()
                while not isinstance(link, BrokerLink):
                    link = await links.get()
        except TimeoutError:
            link = BrokerLink(client.now, is_up=False, reason="it did not open in time")
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)
        if link.is_up:
            return Check("user stream", "ok", "opens; whether it pushes shows with the first order")
        return Check("user stream", "problem", link.reason, "check stream_url and the network")


def _timing(config: BinanceBrokerConfig) -> Timing:
    return Timing(
        keepalive=config.keepalive_minutes * 60,
        event_timeout=config.event_timeout_seconds,
        reconnect=config.reconnect_hours * 3600,
        longest_backoff=config.longest_backoff_seconds,
    )


def _not_open() -> BrokerError:
    return BrokerError("the binance broker is not open; call slt_open_broker first")


def _raise_problems(survey: Survey) -> None:
    for check in survey.checks:
        if check.verdict == "warning":
            _log.warning("%s: %s; %s", check.name, check.found, check.advice)
    if survey.failure is not None:
        raise survey.failure
    problems = [f"{_KEY}: {c.found}" + (f"; {c.advice}" if c.advice else "") for c in survey.problems]
    if problems:
        raise ConfigError(*problems)


async def _switch_used(client: Client, survey: Survey, margin_type: str) -> None:
    """Switch the margin type of symbols with a position or an order, which may forbid it; others before their entry."""
    problems = []
    for symbol in [one for one in survey.symbols_to_switch() if one in survey.used]:
        try:
            await client.call(Endpoints.SET_MARGIN_TYPE, symbol=symbol, marginType=MARGIN_WORDS[margin_type])
        except ExchangeError as error:
            if error.action is not Action.REJECTED:
                raise
            problems.append(f"{_KEY}: margin_type: {symbol} cannot be switched to {margin_type}: {error}")
        else:
            survey.margin_types[symbol] = MARGIN_WORDS[margin_type]
    if problems:
        raise ConfigError(*problems)
