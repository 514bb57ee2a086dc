"""The service `sandbox`: the local exchange as slt starts it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from attrs import field, frozen
from attrs.validators import and_, ge, in_, le, matches_re, min_len

from slt import hookimpl
from slt.candles import utc_text
from slt.errors import ConfigError
from slt_sandbox.fault_rules import parse_rule
from slt_sandbox.player import PlayerSettings
from slt_sandbox.server import Sandbox
from slt_sandbox.settings import ExchangeSettings
from slt_sandbox.streams import SocketSettings

if TYPE_CHECKING:
    from attrs import Attribute

    from slt.hookspecs import FeedSpecs

__all__ = ["SandboxConfig", "SandboxService"]

_name = matches_re(r"[A-Za-z_][A-Za-z0-9_]*")
_DEFAULT_KEY = "sandbox"


def _check_faults(_: SandboxConfig, __: Attribute[tuple[str, ...]], faults: tuple[str, ...]) -> None:
    for text in faults:
        parse_rule(text)


def _check_delays(config: SandboxConfig, _: Attribute[float], longest: float) -> None:
    if longest < config.close_delay_min_seconds:
        raise ValueError(f"found {longest:g}, below close_delay_min_seconds ({config.close_delay_min_seconds:g})")


@frozen(kw_only=True)
class SandboxConfig:
    """Options of `SandboxService`.

    Attributes:
        host: Address to listen on.
        port: Port to listen on; 0 = any that is free, which the first line tells.
        source: Feed whose candles are played; its options stand in [feeds.<source>].
        speed: Market seconds per second; 1 = real time, 0 = as fast as the clients read.
        seed: Seed of delays and faults.
        history_days: Days of the source before the market begins: served as archive files.
        clock: `market` (the source's own dates) or `now` (moved by whole days, so that the market begins now).
        wallet: Balance of the account at the start, USDT.
        api_key_env: Environment variable with the account's key; unset = the key `sandbox`.
        api_secret_env: Environment variable with its HMAC secret; unset = the secret `sandbox`.
        close_delay_min_seconds: Least market time from a candle's end until the exchange says that it is closed.
        close_delay_max_seconds: Most market time until then; 0 = at once.
        wait_for_clients: Stream connections to wait for before the market begins.
        stepped: After each candle wait for a step from the control desk; market orders then fill at the next price.
        stepped_prices: Where it is stepped, wait after each of a candle's four prices too.
        pushes_empty: Push candles without trades too; else nothing is said of them.
        market_fill: Market orders fill `at_once` at the last price, or at the `next_point`, as in a back-test.
        fill_slices: Parts in which an order fills.
        check_timestamp: Refuse requests whose timestamp is off (-1021); left out: at speed 1 with the clock `now`.
        connection_hours: Market hours after which a stream connection is cut.
        weight_per_minute: Request weight an address may use in a minute; more where a market is played fast.
        faults: What goes wrong, as rules such as "kline_late symbol=SYN1USDT nth=3 seconds=10".
    """

    host: str = field(default="127.0.0.1", validator=min_len(1))
    port: int = field(default=8771, validator=and_(ge(0), le(65_535)))
    source: str = field(default="synthetic", validator=min_len(1))
    speed: float = field(default=1.0, validator=and_(ge(0.0), le(100_000.0)))
    seed: int = field(default=1, validator=ge(0))
    history_days: int = field(default=8, validator=ge(0))
    clock: str = field(default="now", validator=in_(("market", "now")))
    wallet: float = field(default=10_000.0, validator=ge(0.0))
    api_key_env: str = field(default="SANDBOX_API_KEY", validator=_name)
    api_secret_env: str = field(default="SANDBOX_API_SECRET", validator=_name)
    close_delay_min_seconds: float = field(default=0.2, validator=and_(ge(0.0), le(10.0)))
    close_delay_max_seconds: float = field(default=2.0, validator=[ge(0.0), le(10.0), _check_delays])
    wait_for_clients: int = field(default=0, validator=ge(0))
    stepped: bool = False
    stepped_prices: bool = False
    pushes_empty: bool = False
    market_fill: str = field(default="at_once", validator=in_(("at_once", "next_point")))
    fill_slices: int = field(default=1, validator=and_(ge(1), le(100)))
    check_timestamp: bool | None = None
    connection_hours: float = field(default=24.0, validator=and_(ge(0.01), le(1_000_000.0)))
    weight_per_minute: int = field(default=2_400, validator=and_(ge(1), le(1_000_000_000)))
    faults: tuple[str, ...] = field(default=(), validator=_check_faults)


class SandboxService:
    """A local exchange that speaks Binance's USDⓈ-M futures protocol over a feed's candles, with faults on demand.

    It answers REST (`/fapi`), market and user streams (`/market`, `/public`, `/private`), archive files (`/data`), and
    a control desk for this machine alone (`/sandbox`). It knows one account. Nothing in it reaches a real exchange.

    Args:
        config: The options.
    """

    config_class = SandboxConfig

    def __init__(self, config: SandboxConfig) -> None:
        self.config = config
        self._sandbox: Sandbox | None = None

    @hookimpl
    async def slt_start_service(self, source: FeedSpecs | None) -> str:
        """Listen, and let the market begin; see `slt.hookspecs.ServiceSpecs.slt_start_service`."""
        config = self.config
        if source is None:
            raise ConfigError("services.sandbox.source: names no feed; write one such as `synthetic`")
        is_real_time = config.speed == 1.0 and config.clock == "now"
        is_checked = is_real_time if config.check_timestamp is None else config.check_timestamp
        self._sandbox = Sandbox(
            source,
            api_key=os.environ.get(config.api_key_env) or _DEFAULT_KEY,
            secret=os.environ.get(config.api_secret_env) or _DEFAULT_KEY,
            wallet=config.wallet,
            exchange=ExchangeSettings(
                market_fill=config.market_fill,
                fill_slices=config.fill_slices,
                check_timestamp=is_checked,
                weight_per_minute=config.weight_per_minute,
            ),
            player=PlayerSettings(
                speed=config.speed,
                seed=config.seed,
                close_delay_min_seconds=config.close_delay_min_seconds,
                close_delay_max_seconds=config.close_delay_max_seconds,
                wait_for_clients=config.wait_for_clients,
                is_stepped=config.stepped,
                steps_prices=config.stepped_prices,
                pushes_empty=config.pushes_empty,
            ),
            sockets=SocketSettings(life_hours=config.connection_hours),
            rules=[parse_rule(text) for text in config.faults],
            history_days=config.history_days,
            is_now=config.clock == "now",
            host=config.host,
            port=config.port,
        )
        await self._sandbox.start()
        market, stream = self._sandbox.market, self._sandbox.url.replace("http", "ws", 1)
        pace = f"at {config.speed:g}x" if config.speed else "as fast as clients read"
        begins = utc_text(self._sandbox.exchange.clock())
        return (
            f"local exchange on {self._sandbox.url} and {stream}: {len(market.symbols)} symbols from {begins} UTC "
            f"{pace}, {market.description}"
        )

    @hookimpl
    async def slt_wait_service(self) -> None:
        """Serve for ever; see `slt.hookspecs.ServiceSpecs.slt_wait_service`."""
        if self._sandbox is not None:
            await self._sandbox.wait()

    @hookimpl
    async def slt_stop_service(self) -> None:
        """Let go of the port; see `slt.hookspecs.ServiceSpecs.slt_stop_service`."""
        if self._sandbox is not None:
            await self._sandbox.stop()
            self._sandbox = None
