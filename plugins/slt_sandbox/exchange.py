"""The local exchange: accounts, orders and prices. Plain state, no I/O, one thread, deterministic."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from slt_sandbox.ledger import Ledger

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from slt.types import FundingRates, PricePoint, SymbolRules
    from slt_sandbox.settings import ExchangeSettings

__all__ = ["Exchange"]


class Exchange:
    """A simulated exchange for any number of accounts.

    Args:
        rules: Trading rules per symbol, fees and slippage included.
        settings: How it behaves.
        clock: Gives the exchange's time, ms UTC.
        funding: Funding settlements per symbol, where known; None = no funding.
    """

    def __init__(
        self,
        rules: Mapping[str, SymbolRules],
        settings: ExchangeSettings,
        clock: Callable[[], int],
        funding: Mapping[str, FundingRates] | None = None,
    ) -> None:
        self.rules = dict(rules)
        self.settings = settings
        self.clock = clock
        self.funding = dict(funding or {})
        self.ledger = Ledger()

    def add_account(self, api_key: str, secret: str, wallet: float, *, permissions: tuple[str, ...] = ()) -> None:
        """Open an account; `secret` is the HMAC secret or the PEM text of a public key."""

    def advance(self, point: PricePoint) -> None:
        """Move a symbol's price."""

    def subscribe(self, key: str, callback: Callable[[list[dict[str, Any]]], None]) -> Callable[[], None]:
        """Call back with the user events of a listen key or an API key, one list for all of one moment."""
        raise NotImplementedError

    def subscribe_market(self, callback: Callable[[dict[str, Any]], None]) -> Callable[[], None]:
        """Call back with forceOrder and contractInfo payloads of the market streams."""
        raise NotImplementedError

    def last_price(self, symbol: str) -> float:
        """The last traded price; NaN before the first."""
        raise NotImplementedError

    def mark_price(self, symbol: str) -> float:
        """The mark price; NaN before the first."""
        raise NotImplementedError

    def status(self, symbol: str) -> str:
        """The symbol's state, `TRADING` for one that trades."""
        raise NotImplementedError

    def set_status(self, symbol: str, status: str) -> None:
        """Change a symbol's state, as `TRADING`, `PENDING_TRADING`, `SETTLING`, `CLOSE`."""
        raise NotImplementedError

    def delist(self, symbol: str) -> None:
        """Settle every position of a symbol at its last price, expire its orders, and close it."""
        raise NotImplementedError

    def force_liquidation(self, api_key: str, symbol: str) -> None:
        """Liquidate an account's position at the last price."""
        raise NotImplementedError

    def force_adl(self, api_key: str, symbol: str, fraction: float = 1.0) -> None:
        """Take a share of an account's position away by auto-deleveraging, at the last price."""
        raise NotImplementedError
