"""The paper broker: a thin face of `slt.market` and `slt.rules`."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from attrs import evolve, field, frozen
from attrs.validators import and_, ge, in_, le, lt

from slt import hookimpl
from slt.errors import BrokerError, ConfigError, DataError
from slt.market import Book, ExchangePosition, MarketSettings
from slt.rules import generic_rules, parse_brackets, parse_exchange_info

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slt.types import (
        Fill,
        FundingPayment,
        LeverageBracket,
        MarketInfo,
        Order,
        OrderUpdate,
        PricePoint,
        SymbolRules,
    )

__all__ = ["PaperBroker", "PaperBrokerConfig"]

T = TypeVar("T")
_KEY = "brokers.paper"
_fraction = and_(ge(0.0), lt(1.0))


@frozen(kw_only=True)
class PaperBrokerConfig:
    """Options of `PaperBroker`.

    Attributes:
        path: Order of the prices inside a bar: `adverse` (the extreme against the position first) or `ohlc` (the
            extreme nearer to the open first).
        slippage_fraction: Slippage of market, stop and take-profit fills as a fraction of the price.
        taker_fee_fraction: Fee of fills at market as a fraction of the notional (0.0005 = 0.05 %).
        maker_fee_fraction: Fee of limit orders that rested in the book as a fraction of the notional.
        margin_type: `isolated` (a position can lose its own margin only) or `cross` (the whole wallet backs it).
        default_leverage: Leverage of a symbol until an order sets it.
        liquidation_fee_fraction: Fee of a forced close as a fraction of its notional, at most what is left.
        level_fills: Fill an exit at the level it was decided at; false: at the next price, as an exchange does.
        funding: Whether funding is paid and received, where the feed knows the rates.
        exchange_info: File with a GET /fapi/v1/exchangeInfo answer, for the symbols' filters; empty = the feed's rules,
            else generic ones.
        leverage_brackets: File with leverage brackets (GET /fapi/v1/leverageBracket, or ccxt's tiers); empty = those of
            the rules.
    """

    path: str = field(default="adverse", validator=in_(("adverse", "ohlc")))
    slippage_fraction: float = field(default=0.0002, validator=_fraction)
    taker_fee_fraction: float = field(default=0.0005, validator=_fraction)
    maker_fee_fraction: float = field(default=0.0002, validator=and_(ge(-0.001), lt(1.0)))
    margin_type: str = field(default="isolated", validator=in_(("isolated", "cross")))
    default_leverage: int = field(default=20, validator=and_(ge(1), le(150)))
    liquidation_fee_fraction: float = field(default=0.015, validator=_fraction)
    level_fills: bool = True
    funding: bool = True
    exchange_info: str = ""
    leverage_brackets: str = ""


class PaperBroker:
    """Simulates the exchange: fills, fees, slippage, funding, margin and liquidation, without sending anything.

    How orders meet prices is described at `slt.market.Book`. Rules of a symbol come from the file in `exchange_info`,
    else from the feed, else `slt.rules.generic_rules`; fees and slippage are always those of the options.

    Args:
        config: The options.
    """

    config_class = PaperBrokerConfig

    def __init__(self, config: PaperBrokerConfig) -> None:
        self.config = config
        self._opened: Book | None = None

    @property
    def book(self) -> Book:
        """The simulated account: wallet, positions, orders.

        Raises:
            BrokerError: The broker is not open.
        """
        if self._opened is None:
            raise BrokerError("the paper broker is not open; call slt_open_broker first")
        return self._opened

    @property
    def wallet(self) -> float:
        """Wallet balance, quote currency."""
        return self.book.wallet

    def positions(self) -> tuple[ExchangePosition, ...]:
        """Open positions by symbol."""
        return self.book.positions()

    @hookimpl
    async def slt_open_broker(self, market: MarketInfo, wallet: float) -> Mapping[str, SymbolRules]:
        """Find the rules and open an account; see `slt.hookspecs.BrokerSpecs.slt_open_broker`."""
        rules = await asyncio.to_thread(self._find_rules, market)
        settings = MarketSettings(
            margin_type=self.config.margin_type,
            default_leverage=self.config.default_leverage,
            liquidation_fee_fraction=self.config.liquidation_fee_fraction,
        )
        self._opened = Book(rules, wallet, settings, market.funding if self.config.funding else None)
        return rules

    @hookimpl
    async def slt_add_symbols(self, market: MarketInfo) -> Mapping[str, SymbolRules]:
        """Find the rules of more symbols; see `slt.hookspecs.BrokerSpecs.slt_add_symbols`."""
        rules = await asyncio.to_thread(self._find_rules, market)
        self.book.add_symbols(rules, market.funding if self.config.funding else None)
        return rules

    @hookimpl
    async def slt_submit_order(self, order: Order) -> list[Fill | OrderUpdate]:
        """Take an order; see `slt.hookspecs.BrokerSpecs.slt_submit_order`."""
        return self.book.submit(order if self.config.level_fills else evolve(order, level=None))

    @hookimpl
    async def slt_cancel_order(self, symbol: str, client_id: str, time: int) -> list[Fill | OrderUpdate]:
        """Cancel a working order; see `slt.hookspecs.BrokerSpecs.slt_cancel_order`."""
        return self.book.cancel(symbol, client_id, time)

    @hookimpl
    async def slt_query_order(self, client_id: str) -> list[Fill | OrderUpdate]:
        """Tell everything known of an order; see `slt.hookspecs.BrokerSpecs.slt_query_order`."""
        return self.book.query(client_id)

    @hookimpl
    def slt_advance_price(self, point: PricePoint) -> list[Fill | OrderUpdate | FundingPayment]:
        """Move a price; see `slt.hookspecs.BrokerSpecs.slt_advance_price`."""
        return self.book.advance(point)

    @hookimpl
    def slt_snapshot_broker(self) -> dict[str, Any]:
        """Give the account's state; see `slt.hookspecs.BrokerSpecs.slt_snapshot_broker`."""
        return self.book.snapshot()

    @hookimpl
    def slt_restore_broker(self, state: dict[str, Any]) -> None:
        """Take the account's state back; see `slt.hookspecs.BrokerSpecs.slt_restore_broker`."""
        self.book.restore(state)

    @hookimpl
    async def slt_close_broker(self) -> None:
        """Do nothing: the account stays readable; see `slt.hookspecs.BrokerSpecs.slt_close_broker`."""

    def _find_rules(self, market: MarketInfo) -> dict[str, SymbolRules]:
        """Rules of every symbol of the market, by precedence; every problem at once."""
        problems: list[str] = []
        listed = self._read(
            "exchange_info", lambda text: parse_exchange_info(text, symbols=frozenset(market.symbols)), market, problems
        )
        brackets = self._read("leverage_brackets", parse_brackets, market, problems)
        if problems:
            raise ConfigError(*problems)
        return {symbol: self._rules_of(symbol, market, listed, brackets) for symbol in market.symbols}

    def _read(
        self, option: str, parse: Callable[[bytes], dict[str, T]], market: MarketInfo, problems: list[str]
    ) -> dict[str, T] | None:
        """A file's entries by symbol; None where no file is given."""
        name, key = str(getattr(self.config, option)), f"{_KEY}.{option}"
        if not name:
            return None
        try:
            found = parse(Path(name).read_bytes())
        except OSError as error:
            problems.append(f"{key}: cannot read `{name}` ({error.strerror}); give an existing file, or leave it empty")
            return None
        except DataError as error:
            problems.extend(f"{key}: `{name}`: {problem}" for problem in error.problems)
            return None
        problems.extend(
            f"{key}: `{name}` does not hold {symbol}; take the symbol out, or give a file that lists it"
            for symbol in market.symbols
            if symbol not in found
        )
        return found

    def _rules_of(
        self,
        symbol: str,
        market: MarketInfo,
        listed: dict[str, SymbolRules] | None,
        brackets: dict[str, tuple[LeverageBracket, ...]] | None,
    ) -> SymbolRules:
        known = market.rules if listed is None else listed
        rules = known.get(symbol) or generic_rules(symbol)
        return evolve(
            rules,
            brackets=brackets[symbol] if brackets is not None else rules.brackets,
            taker_fee=self.config.taker_fee_fraction,
            maker_fee=self.config.maker_fee_fraction,
            slippage=self.config.slippage_fraction,
        )
