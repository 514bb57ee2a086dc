"""The options of the broker."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import and_, ge, gt, in_, le, lt, matches_re

__all__ = ["BinanceBrokerConfig"]

_name = matches_re(r"[A-Za-z_][A-Za-z0-9_]*")


@frozen(kw_only=True)
class BinanceBrokerConfig:
    """Options of `BinanceBroker`.

    Attributes:
        rest_url: Address of the REST API: the demo exchange; for real money `https://fapi.binance.com`.
        stream_url: Address of the user stream: the demo exchange; for real money `wss://fstream.binance.com`.
        rights_url: Address that tells what the key may do; empty = `https://api.binance.com` with the real host, else
            the same as `rest_url`.
        api_key_env: Environment variable that holds the API key.
        api_secret_env: Environment variable that holds the secret: HMAC, or an Ed25519 private key as PEM text.
        margin_type: `isolated` (a position can lose its own margin only) or `cross` (the whole wallet backs it).
        recv_window_ms: How late a signed request may arrive, ms; an order without an answer is doubtful for as long.
        request_timeout_seconds: Time for one request and its answer.
        longest_pause_seconds: A request that would have to wait longer for budget or ban fails at once.
        firewall_pause_seconds: How long nothing is sent after a 403, which does not say how long it lasts.
        keepalive_minutes: Minutes between two renewals of the user stream's key, which lives for 60.
        event_timeout_seconds: Wait for the user stream's word on an order that REST took; then the stream counts as
            silent and is opened anew.
        reconnect_hours: Hours after which the user stream is opened anew, before the exchange cuts it at 24.
        longest_backoff_seconds: Longest wait between two attempts to open the user stream.
        slippage_fraction: Slippage that cost estimates expect of market orders, as a fraction of the price.
        trigger_price: Price that sets off stops and targets: `last` or `mark`.
    """

    rest_url: str = field(default="https://demo-fapi.binance.com", validator=matches_re(r"https?://.+"))
    stream_url: str = field(default="wss://demo-fstream.binance.com", validator=matches_re(r"wss?://.+"))
    rights_url: str = field(default="", validator=matches_re(r"(https?://.+)?"))
    api_key_env: str = field(default="BINANCE_API_KEY", validator=_name)
    api_secret_env: str = field(default="BINANCE_API_SECRET", validator=_name)
    margin_type: str = field(default="isolated", validator=in_(("isolated", "cross")))
    recv_window_ms: int = field(default=5_000, validator=and_(ge(100), le(60_000)))
    request_timeout_seconds: float = field(default=10.0, validator=and_(gt(0.0), le(25.0)))
    longest_pause_seconds: float = field(default=10.0, validator=and_(ge(0.0), le(60.0)))
    firewall_pause_seconds: float = field(default=15.0, validator=and_(ge(0.0), le(300.0)))
    keepalive_minutes: float = field(default=25.0, validator=and_(gt(0.0), lt(60.0)))
    event_timeout_seconds: float = field(default=10.0, validator=gt(0.0))
    reconnect_hours: float = field(default=23.0, validator=and_(gt(0.0), lt(24.0)))
    longest_backoff_seconds: float = field(default=30.0, validator=and_(gt(0.0), le(600.0)))
    slippage_fraction: float = field(default=0.0002, validator=and_(ge(0.0), lt(0.1)))
    trigger_price: str = field(default="last", validator=in_(("last", "mark")))
