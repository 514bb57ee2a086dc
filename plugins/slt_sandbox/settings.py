"""How the local exchange behaves."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import ge, gt, in_

__all__ = ["ExchangeSettings"]


@frozen(kw_only=True)
class ExchangeSettings:
    """What the exchange is set to. Lengths of time run by the clients' clock.

    Attributes:
        market_fill: When a market order fills: `at_once` at the last price, or `next_point` at the next price that
            comes, as in a back-test.
        fill_slices: Parts in which an order fills, one at each price that sets it off; 1 = in full.
        default_leverage: Leverage of a symbol until it is set.
        default_margin_type: `cross` or `isolated`, until it is set.
        liquidation_fee_fraction: Fee of a forced close as a fraction of its notional.
        check_timestamp: Refuse signed requests whose timestamp is outside recvWindow (-1021). Off where the market is
            played faster than a client's clock runs.
        weight_per_minute: Request weight an address may use in a minute.
        funding_per_5m: Requests about funding rates an address may make in five minutes, over both addresses together.
        orders_per_10s: Orders an account may send in ten seconds.
        orders_per_minute: Orders an account may send in a minute.
        ban_after: Requests refused with 429 in one minute after which the address is banned (418).
        ban_ms: Length of a ban.
        max_algo_orders: Open conditional orders of one account.
        listen_key_ms: Life of a listen key since it was last kept alive.
        margin_call_fraction: Maintenance margin as a share of what backs a position at which a margin call is sent.
    """

    market_fill: str = field(default="at_once", validator=in_(("at_once", "next_point")))
    fill_slices: int = field(default=1, validator=ge(1))
    default_leverage: int = field(default=20, validator=ge(1))
    default_margin_type: str = field(default="cross", validator=in_(("cross", "isolated")))
    liquidation_fee_fraction: float = field(default=0.015, validator=ge(0.0))
    check_timestamp: bool = True
    weight_per_minute: int = field(default=2_400, validator=ge(1))
    funding_per_5m: int = field(default=500, validator=ge(1))
    orders_per_10s: int = field(default=300, validator=ge(1))
    orders_per_minute: int = field(default=1_200, validator=ge(1))
    ban_after: int = field(default=20, validator=ge(1))
    ban_ms: int = field(default=120_000, validator=ge(1))
    max_algo_orders: int = field(default=200, validator=ge(1))
    listen_key_ms: int = field(default=3_600_000, validator=ge(1))
    margin_call_fraction: float = field(default=0.8, validator=gt(0.0))
