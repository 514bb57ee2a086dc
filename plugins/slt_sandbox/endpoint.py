"""What an endpoint is: its address, its cost, who may call it, and what answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import frozen

from slt_sandbox.errors import refusal

if TYPE_CHECKING:
    from collections.abc import Callable

    from slt_sandbox.account import Account
    from slt_sandbox.exchange import Exchange
    from slt_sandbox.params import Params
    from slt_sandbox.trading import Trading

__all__ = ["Call", "Endpoint"]


@frozen
class Call:
    """One request, ready to be answered.

    Attributes:
        exchange: The exchange.
        params: What was sent.
        owner: The account that calls; None where the endpoint asks for no key.
    """

    exchange: Exchange
    params: Params
    owner: Account | None

    @property
    def account(self) -> Account:
        """The account that calls.

        Raises:
            ApiError: There is none (-2014).
        """
        if self.owner is None:
            raise refusal(-2014)
        return self.owner

    @property
    def trading(self) -> Trading:
        """The desk of the account that calls."""
        return self.exchange.trading(self.account.api_key)

    def symbol(self) -> str:
        """The symbol, which must be sent and listed (-1121)."""
        symbol = self.params.text("symbol")
        if symbol not in self.exchange.rules:
            raise refusal(-1121)
        return symbol

    def symbols(self) -> tuple[list[str], bool]:
        """The symbols asked for, and whether it was one by name."""
        return ([self.symbol()], True) if "symbol" in self.params else (list(self.exchange.rules), False)

    def one_or_all(self, answer: Callable[[Exchange, str], dict[str, Any]]) -> Any:
        """The answer for the symbol asked for, or the list for all."""
        symbols, is_one = self.symbols()
        rows = [answer(self.exchange, symbol) for symbol in symbols]
        return rows[0] if is_one else rows


@frozen(kw_only=True)
class Endpoint:
    """An address and what is behind it.

    Attributes:
        method: HTTP method.
        path: Path.
        answer: Gives the JSON value; raises `ApiError`.
        weight: Request weight with a symbol.
        weight_of_all: Request weight without one; 0 = the same.
        security: `none`, `key` (API key) or `signed` (API key and signature).
        orders_10s: Orders counted against the ten seconds' limit; 0 = none.
        orders_1m: Orders counted against the minute's limit.
        is_funding: Counted against the limit that the funding addresses share.
    """

    method: str
    path: str
    answer: Callable[[Call], Any]
    weight: int = 1
    weight_of_all: int = 0
    security: str = "signed"
    orders_10s: int = 0
    orders_1m: int = 0
    is_funding: bool = False

    def cost(self, params: Params) -> int:
        """Request weight of a call."""
        return self.weight_of_all if self.weight_of_all and "symbol" not in params else self.weight
