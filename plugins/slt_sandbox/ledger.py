"""The exchange's own account of what happened, from which a test judges a client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from attrs import field, frozen

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Ledger", "LedgerEntry"]


@frozen
class LedgerEntry:
    """One thing that happened.

    Attributes:
        sequence: Rising by one from 1.
        time: The exchange's clock, ms UTC.
        kind: What it was; `Ledger` lists the words.
        account: API key it happened to; empty for the market as a whole.
        symbol: Exchange name; empty where there is none.
        detail: What else is known of it.
    """

    sequence: int
    time: int
    kind: str
    account: str = ""
    symbol: str = ""
    detail: dict[str, Any] = field(factory=dict)


class Ledger(list[LedgerEntry]):
    """Everything that happened, in order.

    Kinds and what their detail holds:

    * `order` (client_id, order_id, side, type, quantity, price, reduce_only, algo_id): taken; `refused`
      (client_id, code, msg); `cancelled`, `expired` (client_id, order_id, er); `amended` (client_id,
      order_id, quantity, price).
    * `algo` (client_id, algo_id, side, type, quantity, trigger_price, reduce_only): taken; `algo_cancelled`,
      `algo_triggered`, `algo_finished` (client_id, algo_id, status).
    * `fill` (client_id, order_id, trade_id, side, quantity, price, fee, realised, cause, is_forced, position).
    * `opened`, `closed` (client_id, quantity): a position began or ended.
    * `naked` (quantity): a position has less protection by stops than its size; `covered` (quantity, naked_ms): it has
      enough again, or is closed.
    * `funding` (amount, rate); `margin` (amount, type): moved to (1) or from (2) an isolated position.
    * `status` (status) of a symbol.
    * `kline_request` (path); `limited` (code): refused with 429; `banned` (until); `listen_key` (action).
    """

    def record(self, time: int, kind: str, account: str = "", symbol: str = "", **detail: Any) -> LedgerEntry:
        """Add an entry and give it."""
        entry = LedgerEntry(len(self) + 1, time, kind, account, symbol, detail)
        self.append(entry)
        return entry

    def of(self, *kinds: str, account: str = "", symbol: str = "") -> Iterator[LedgerEntry]:
        """The entries of some kinds; an empty account or symbol means every one."""
        return (
            entry
            for entry in self
            if entry.kind in kinds and account in {"", entry.account} and symbol in {"", entry.symbol}
        )
