"""Everything that could keep the account from trading, for the start of a run and for the doctor."""

from __future__ import annotations

import os
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from attrs import evolve
from yarl import URL

from slt.errors import ConfigError, DataError
from slt.rules import parse_brackets, parse_exchange_info
from slt.types import Check, SymbolRules
from slt_binance.account import funds
from slt_binance.client import Client, Credentials, server_name
from slt_binance.endpoints import Endpoints
from slt_binance.faults import Action, ExchangeError
from slt_binance.signing import make_signer
from slt_binance.symbol_settings import MARGIN_WORDS

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from slt_binance.options import BinanceBrokerConfig

__all__ = ["Survey", "make_client", "read_credentials"]

_REAL_HOST = "fapi.binance.com"
_RIGHTS_URL = "https://api.binance.com"
_NOTICEABLE_MS = 1_000
_TOO_FAR_MS = 60_000
_FEE_SYMBOLS = 10
_GIVES_UP = frozenset({"server", "API key"})
"""Where one of these cannot be looked at, everything after it would only say so again."""


def read_credentials(config: BinanceBrokerConfig) -> Credentials:
    """Key and secret from the environment.

    Raises:
        ConfigError: One of them is missing or unusable; what it holds is not in the message.
    """
    names = (config.api_key_env, config.api_secret_env)
    values = [os.environ.get(name, "").strip() for name in names]
    missing = [
        f"environment variable {name}: not set; set it to the {what} of the exchange that rest_url names"
        for name, value, what in zip(names, values, ("API key", "API secret"), strict=True)
        if not value
    ]
    if missing:
        raise ConfigError(*missing)
    key, secret = values
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"environment variable {names[0]}: found characters that no API key has; copy it again")
    return Credentials(key, make_signer(secret, names[1]))


def make_client(config: BinanceBrokerConfig, credentials: Credentials | None) -> Client:
    """A client as the options say."""
    return Client(
        config.rest_url,
        credentials,
        recv_window_ms=config.recv_window_ms,
        timeout_seconds=config.request_timeout_seconds,
        longest_pause_seconds=config.longest_pause_seconds,
        firewall_pause_seconds=config.firewall_pause_seconds,
    )


class Survey:
    """Looks at server, symbols, key, account and fees; finds what the broker needs, and what is wrong.

    Args:
        client: The REST client.
        config: The broker's options.
        symbols: Symbols to trade.
        is_resumed: They are those of an unfinished run: one that does not trade any more is a warning, no problem.

    Attributes:
        checks: What was looked at, in order.
        failure: The error that ended a look early because the exchange did not answer; None = it answered.
        rules: Rules per symbol.
        quote: The quote currency.
        leverages: Leverage per symbol, as set.
        margin_types: ``ISOLATED`` or ``CROSSED`` per symbol, as set.
        used: Symbols with a position or an open order.
    """

    def __init__(
        self, client: Client, config: BinanceBrokerConfig, symbols: tuple[str, ...], *, is_resumed: bool = False
    ) -> None:
        self.checks: list[Check] = []
        self.failure: ExchangeError | None = None
        self.rules: dict[str, SymbolRules] = {}
        self.quote = ""
        self.leverages: dict[str, int] = {}
        self.margin_types: dict[str, str] = {}
        self.used: set[str] = set()
        self._client = client
        self._config = config
        self._symbols = symbols
        self._is_resumed = is_resumed

    @property
    def problems(self) -> list[Check]:
        """What would keep the account from trading."""
        return [check for check in self.checks if check.verdict == "problem"]

    async def look(self) -> None:
        """Look at everything; what is merely wrong becomes a check, never an error."""
        looks: dict[str, Callable[[], Awaitable[None]]] = {
            "server": self._server,
            "symbols": self._listed,
            "API key": self._account_config,
            "key rights": self._rights,
            "brackets": self._brackets,
            "margin type": self._symbol_config,
            "funds": self._funds,
            "fees": self._fees,
        }
        for name, look in looks.items():
            try:
                await look()
                continue
            except ExchangeError as error:
                if error.action in {Action.RETRY, Action.UNKNOWN, Action.WAIT}:
                    self.failure = error
                found, _, advice = str(error).partition("; ")
                self._add(name, "problem", found, advice or "try again later")
            except DataError as error:
                for problem in error.problems:
                    self._add(name, "problem", problem, "take the symbol out of the configuration, or report it")
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                found = f"{self._client.server} answered in a form that slt does not know ({type(error).__name__})"
                self._add(name, "problem", found, "check that rest_url is the address of the exchange")
            if name in _GIVES_UP:
                return

    def _add(self, name: str, verdict: str, found: str, advice: str = "") -> None:
        self.checks.append(Check(name, verdict, found, advice))

    async def _server(self) -> None:
        offset = await self._client.sync_clock()
        self._add("server", "ok", f"{self._client.server} answers")
        size = (
            f"the machine's clock is {abs(offset) / 1000:.1f} s {'ahead of' if offset > 0 else 'behind'} the exchange's"
        )
        if abs(offset) < _NOTICEABLE_MS:
            self._add("clock", "ok", size)
        elif _is_local(self._config.rest_url):
            self._add("clock", "ok", f"{size}: a local exchange has a time of its own")
        else:
            advice = "set it by NTP (`timedatectl set-ntp true`), then start again"
            self._add("clock", "problem" if abs(offset) > _TOO_FAR_MS else "warning", size, advice)

    async def _listed(self) -> None:
        info = await self._client.call(Endpoints.EXCHANGE_INFO)
        self._client.budgets.set_limits(info.get("rateLimits"))
        listed = {str(entry["symbol"]): entry for entry in info["symbols"]}
        self.rules = parse_exchange_info(info, symbols=frozenset(self._symbols))
        unfit = {symbol: problem for symbol in self._symbols if (problem := _unfit(symbol, listed.get(symbol)))}
        if self._is_resumed:
            for problem in unfit.values():
                self._add("symbols", "warning", problem, "nothing: its position, if any, is the exchange's to settle")
            self._symbols = tuple(symbol for symbol in self._symbols if symbol not in unfit)
            unfit = {}
        wrong = list(unfit.values())
        quotes = {str(listed[symbol]["quoteAsset"]) for symbol in self._symbols if symbol in listed}
        if len(quotes) > 1:
            wrong.append(f"quoted in different currencies: {', '.join(sorted(quotes))}")
        self.quote = min(quotes, default="USDT")
        for problem in wrong:
            self._add("symbols", "problem", problem, "choose other symbols in the feed's options")
        if not wrong:
            self._add("symbols", "ok", f"{len(self._symbols)} symbols trade, filters read, quoted in {self.quote}")

    async def _account_config(self) -> None:
        answer = await self._client.call(Endpoints.ACCOUNT_CONFIG)
        self._add("API key", "ok", f"accepted by {self._client.server}")
        if answer.get("canTrade") is False:
            self._add("key rights", "problem", "the account may not trade", "enable futures trading at the exchange")
        if answer["dualSidePosition"]:
            advice = "close every position and order, switch to one-way mode at the exchange, then start again"
            self._add("position mode", "problem", "the account is in hedge mode", advice)
        else:
            self._add("position mode", "ok", "one-way")
        if answer.get("multiAssetsMargin") and self._config.margin_type == "isolated":
            advice = "switch it off at the exchange, or set margin_type to cross"
            self._add("margin type", "problem", "multi-assets mode allows no isolated margin", advice)

    async def _rights(self) -> None:
        """What the key may do, where the exchange tells it: the demo exchange does not."""
        is_real = URL(self._config.rest_url).host == _REAL_HOST
        url = self._config.rights_url or (_RIGHTS_URL if is_real else self._config.rest_url)
        client = self._client.sibling(url)
        try:
            rights = await client.call(Endpoints.KEY_RIGHTS)
        except ExchangeError:
            rights = None
        finally:
            await client.close()
        self.checks += _judge_rights(rights, client.server)

    async def _brackets(self) -> None:
        brackets = parse_brackets(await self._client.call(Endpoints.BRACKETS))
        missing = [symbol for symbol in self.rules if symbol not in brackets]
        if missing and not self._is_resumed:
            self._add("brackets", "problem", f"no leverage brackets for {', '.join(missing)}", "choose other symbols")
        highest = [brackets[symbol][0].max_leverage for symbol in self.rules if brackets.get(symbol)]
        if highest:
            span = " to ".join(f"{leverage}x" for leverage in sorted({min(highest), max(highest)}))
            self._add("leverage", "ok", f"at most {span}; a higher risk.max_leverage is cut to it")
        self.rules = {
            symbol: evolve(
                rules, brackets=brackets.get(symbol, rules.brackets), slippage=self._config.slippage_fraction
            )
            for symbol, rules in self.rules.items()
        }

    async def _symbol_config(self) -> None:
        rows = await self._client.call(Endpoints.SYMBOL_CONFIG)
        for row in rows:
            self.leverages[str(row["symbol"])] = int(row["leverage"])
            self.margin_types[str(row["symbol"])] = str(row["marginType"]).upper()
        other = len(self.symbols_to_switch())
        state = f"{other} symbols are switched to it before their first entry" if other else "set for every symbol"
        self._add("margin type", "ok", f"{self._config.margin_type}: {state}")

    def symbols_to_switch(self) -> list[str]:
        """Symbols whose margin type is not the wanted one."""
        wanted = MARGIN_WORDS[self._config.margin_type]
        return [symbol for symbol in self._symbols if self.margin_types.get(symbol, "") != wanted]

    async def _funds(self) -> None:
        account = await self._client.call(Endpoints.ACCOUNT)
        self.used = {str(row["symbol"]) for row in account.get("positions", ())}
        wallet, available = funds(account, self.quote)
        if wallet <= 0:
            advice = f"transfer {self.quote} into the futures wallet, then start again"
            self._add("funds", "problem", f"the futures wallet holds {wallet:g} {self.quote}", advice)
            return
        self._add("funds", "ok", f"{wallet:.2f} {self.quote}, {available:.2f} of them free")

    async def _fees(self) -> None:
        """Fees of the first symbols as the exchange tells them; the highest of these for the rest."""
        told: dict[str, tuple[float, float]] = {}
        for symbol in list(self.rules)[:_FEE_SYMBOLS]:
            answer = await self._client.call(Endpoints.COMMISSION, symbol=symbol)
            told[symbol] = (float(answer["makerCommissionRate"]), float(answer["takerCommissionRate"]))
        if not told:
            return
        highest = (max(maker for maker, _ in told.values()), max(taker for _, taker in told.values()))
        for symbol, rules in self.rules.items():
            maker, taker = told.get(symbol, highest)
            self.rules[symbol] = evolve(rules, maker_fee=maker, taker_fee=taker)
        self._add("fees", "ok", f"maker {highest[0]:.4%}, taker {highest[1]:.4%}")


def _judge_rights(rights: Mapping[str, Any] | None, server: str) -> list[Check]:
    name = "key rights"
    if not isinstance(rights, dict) or "enableWithdrawals" not in rights:
        advice = "make sure at the exchange that the key may trade futures and may not withdraw"
        return [Check(name, "warning", f"{server} does not tell what the key may do", advice)]
    checks = []
    if rights["enableWithdrawals"]:
        advice = "take that right from it at the exchange, or make another key"
        checks.append(Check(name, "problem", "the key may withdraw", advice))
    if rights.get("enableFutures") is False:
        checks.append(Check(name, "problem", "the key may not trade futures", "give it that right at the exchange"))
    if rights.get("ipRestrict") is False:
        checks.append(Check(name, "warning", "the key works from anywhere", "restrict it to this machine's address"))
    return checks or [Check(name, "ok", "may trade futures, may not withdraw")]


def _unfit(symbol: str, entry: Mapping[str, Any] | None) -> str:
    """Why a symbol cannot be traded; empty when it can."""
    if entry is None:
        return f"{symbol} is not listed"
    if entry.get("status") != "TRADING":
        return f"{symbol} does not trade (status {entry.get('status')})"
    if entry.get("contractType") != "PERPETUAL":
        return f"{symbol} is no plain perpetual (contract type {entry.get('contractType')})"
    return ""


def _is_local(address: str) -> bool:
    host = server_name(address).rsplit(":", 1)[0]
    try:
        return host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        return False
