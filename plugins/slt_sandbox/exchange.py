"""The local exchange: accounts, orders and prices. Plain state, no I/O, one thread, deterministic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt.errors import BrokerError
from slt.market import Book, MarketSettings
from slt.types import FillCause, PricePoint
from slt_sandbox.account import Account
from slt_sandbox.events import listen_key_expired
from slt_sandbox.limits import Limits
from slt_sandbox.listen_keys import ListenKeys
from slt_sandbox.market import ONBOARD_TIME, Market, Quote
from slt_sandbox.numbers import plain
from slt_sandbox.trading import Trading

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from slt.types import FundingRates, SymbolRules
    from slt_sandbox.ledger import Ledger
    from slt_sandbox.settings import ExchangeSettings

__all__ = ["Exchange"]

_ALL_PERMISSIONS = ("futures",)
_DELISTED = 7
_FOREVER_MS = 1 << 60


class Exchange:
    """A simulated exchange for any number of accounts.

    Matching, margin, funding and liquidation are those of `slt.market.Book`, one book an account; accounts do not trade
    with each other. What is simpler than on the real exchange: the last price stands in for the mark price, with no
    depth behind it; hedge mode and multi-assets mode can be set, but in hedge mode no order is taken (-4061); there is
    one margin asset, USDT; raising the leverage frees no margin of an open position.

    Args:
        rules: Trading rules per symbol, fees and slippage included.
        settings: How it behaves.
        clock: Gives the exchange's time, ms UTC.
        funding: Funding settlements per symbol, where known; None = no funding.
        wall: Gives the clients' time, ms UTC, by which listen keys, limits, bans and dead men's switches run; needed
            where the market is played at another speed than theirs. None = `clock`.
    """

    def __init__(
        self,
        rules: Mapping[str, SymbolRules],
        settings: ExchangeSettings,
        clock: Callable[[], int],
        funding: Mapping[str, FundingRates] | None = None,
        wall: Callable[[], int] | None = None,
    ) -> None:
        self.market = Market(rules, settings, clock, funding or {}, wall or clock)
        self.limits = Limits(settings)
        self.listen_keys = ListenKeys(settings.listen_key_ms)
        self._desks: dict[str, Trading] = {}

    @property
    def rules(self) -> dict[str, SymbolRules]:
        """Trading rules per symbol."""
        return self.market.rules

    @property
    def settings(self) -> ExchangeSettings:
        """How it behaves."""
        return self.market.settings

    @property
    def ledger(self) -> Ledger:
        """Everything that happened."""
        return self.market.ledger

    def clock(self) -> int:
        """The exchange's time, ms UTC."""
        return self.market.clock()

    def wall(self) -> int:
        """The clients' time, ms UTC."""
        return self.market.wall()

    # -- accounts --------------------------------------------------------------------------------------------------

    def add_account(
        self, api_key: str, secret: str, wallet: float, *, permissions: Iterable[str] = _ALL_PERMISSIONS
    ) -> Account:
        """Open an account in one-way mode.

        Args:
            api_key: Its key.
            secret: The HMAC secret, or the PEM text of an RSA or Ed25519 public key.
            wallet: Balance to start with, quote currency.
            permissions: What the key may do: `futures` (trade), `withdrawals`.

        Returns:
            The account, for reading.
        """
        settings = self.settings
        book_settings = MarketSettings(
            margin_type=settings.default_margin_type,
            default_leverage=settings.default_leverage,
            liquidation_fee_fraction=settings.liquidation_fee_fraction,
            fill_slices=settings.fill_slices,
            price_life_ms=_FOREVER_MS,
        )
        book = Book(self.rules, wallet, book_settings, self.market.funding)
        account = Account(api_key=api_key, secret=secret, permissions=frozenset(permissions), book=book)
        desk = self._desks[api_key] = Trading(self.market, account)
        for quote in self.market.quotes.values():
            if quote.updates:
                desk.advance(PricePoint(quote.time, quote.symbol, quote.last), quote.last)
        return account

    def account(self, api_key: str) -> Account | None:
        """An account by its key; None = unknown."""
        desk = self._desks.get(api_key)
        return desk.account if desk else None

    def accounts(self) -> list[Account]:
        """All accounts."""
        return [desk.account for desk in self._desks.values()]

    def trading(self, api_key: str) -> Trading:
        """The trading desk of an account; call `flush` after using it.

        Raises:
            BrokerError: There is no such account.
        """
        desk = self._desks.get(api_key)
        if desk is None:
            raise BrokerError("the exchange has no account of this key; add it with add_account")
        return desk

    # -- listening -------------------------------------------------------------------------------------------------

    def subscribe(self, key: str, callback: Callable[[list[dict[str, Any]]], None]) -> Callable[[], None]:
        """Call back with the user events of an account, one list for all of one moment, in order.

        Args:
            key: A listen key or an API key.
            callback: Takes the events; must not raise or block.

        Returns:
            Call it to end the subscription.

        Raises:
            BrokerError: There is no such key.
        """
        account = self.account(self.listen_keys.account_of(key, self.wall()) or key)
        if account is None:
            raise BrokerError("the exchange knows no such listen key or API key")
        account.listeners.append(callback)
        return lambda: _drop(account.listeners, callback)

    def subscribe_market(self, callback: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Call back with `forceOrder` and `contractInfo` payloads of the market streams; gives the way to stop."""
        self.market.listeners.append(callback)
        return lambda: _drop(self.market.listeners, callback)

    def flush(self) -> None:
        """Give the user events of this moment to those who listen."""
        for desk in self._desks.values():
            desk.account.flush()

    def expire(self) -> None:
        """End what has outlived its time: listen keys, orders good till a date, dead men's switches."""
        now = self.wall()
        first = self.listen_keys.next_expiry()
        for key, api_key in self.listen_keys.expire(now) if first is not None and first <= now else ():
            self.expire_listen_key(key, api_key)
        for desk in self._desks.values():
            desk.expire()
        self.flush()

    def expire_listen_key(self, key: str, api_key: str) -> None:
        """End a listen key before its time; its sockets stay open and silent."""
        self.listen_keys.close(api_key)
        self.ledger.record(self.clock(), "listen_key", api_key, action="expired")
        account = self.account(api_key)
        if account is not None:
            account.emit(listen_key_expired(self.clock(), key))
            account.flush()

    # -- prices ----------------------------------------------------------------------------------------------------

    def advance(self, point: PricePoint) -> None:
        """Move a symbol's price; what it sets off happens now.

        Raises:
            BrokerError: The symbol is not listed, or the price is not above 0.
        """
        quote = self.market.quote(point.symbol)
        start = quote.last
        quote.take(point.price, point.time)
        for desk in self._desks.values():
            desk.advance(point, start)
        self.expire()

    def add_volume(self, symbol: str, base: float, quote: float, trades: int = 0) -> None:
        """Add to what a symbol has traded."""
        found = self.market.quote(symbol)
        found.volume += base
        found.quote_volume += quote
        found.trades += trades

    def quote(self, symbol: str) -> Quote:
        """A symbol's price and volume."""
        return self.market.quote(symbol)

    def last_price(self, symbol: str) -> float:
        """The last traded price; NaN before the first."""
        return self.market.quote(symbol).last

    def mark_price(self, symbol: str) -> float:
        """The mark price, for which the last price stands in; NaN before the first."""
        return self.market.quote(symbol).last

    # -- the exchange's own acts -----------------------------------------------------------------------------------

    def status(self, symbol: str) -> str:
        """The symbol's state, `TRADING` for one that trades."""
        return self.market.quote(symbol).status

    def set_status(self, symbol: str, status: str) -> None:
        """Change a symbol's state, as `TRADING`, `PENDING_TRADING`, `SETTLING`, `CLOSE`."""
        self.market.quote(symbol).status = status
        self.ledger.record(self.clock(), "status", symbol=symbol, status=status)
        self.market.tell(self._contract_info(symbol))

    def announce_delivery(self, symbol: str, time: int) -> None:
        """Tell that a symbol will be settled at a time, ms UTC; until then it trades on."""
        self.market.quote(symbol).delivery = time
        self.ledger.record(self.clock(), "status", symbol=symbol, status=self.status(symbol), delivery=time)
        self.market.tell(self._contract_info(symbol))

    def delist(self, symbol: str) -> None:
        """Settle every position of a symbol at its last price, expire its orders, and close it."""
        quote = self.market.quote(symbol)
        quote.delivery = min(quote.delivery, self.clock())
        self.set_status(symbol, "SETTLING")
        for desk in self._desks.values():
            desk.end_all(symbol, _DELISTED)
            desk.force_close(symbol, FillCause.ORDER)
        self.set_status(symbol, "CLOSE")
        self.flush()

    def force_liquidation(self, api_key: str, symbol: str) -> None:
        """Liquidate an account's position at the last price."""
        self.trading(api_key).force_close(symbol, FillCause.LIQUIDATION)
        self.flush()

    def force_adl(self, api_key: str, symbol: str, fraction: float = 1.0) -> None:
        """Take a share of an account's position away by auto-deleveraging, at the last price."""
        self.trading(api_key).force_close(symbol, FillCause.AUTO_DELEVERAGING, fraction)
        self.flush()

    def _contract_info(self, symbol: str) -> dict[str, Any]:
        ladder = self.rules[symbol].brackets
        brackets = [
            {
                "bs": number,
                "bnf": int(one.floor),
                "bnc": int(one.cap),
                "mmr": one.maintenance_rate,
                "cf": int(one.cum),
                "mi": int(ladder[number].max_leverage) + 1 if number < len(ladder) else 1,
                "ma": one.max_leverage,
            }
            for number, one in enumerate(ladder, start=1)
        ]
        return {
            "e": "contractInfo",
            "E": self.clock(),
            "s": symbol,
            "ps": symbol,
            "ct": "PERPETUAL",
            "dt": self.quote(symbol).delivery,
            "ot": ONBOARD_TIME,
            "cs": self.status(symbol),
            "bks": brackets,
            "st": 1,
        }

    def price_text(self, symbol: str) -> str:
        """The last price as the exchange writes it; `0` before the first."""
        last = self.last_price(symbol)
        return plain(last) if last == last else "0"  # noqa: PLR0124 - NaN: no price yet


def _drop(listeners: list[Any], callback: Any) -> None:
    if callback in listeners:
        listeners.remove(callback)
