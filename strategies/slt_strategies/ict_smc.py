"""ICT / smart money: trade with the higher timeframes, from where liquidity was taken or institutions stepped in."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from slt import hookimpl
from slt.errors import ConfigError
from slt.types import StrategyBlock
from slt_strategies._ict_setups import CONTEXT, REASONS, find_setups
from slt_strategies._ict_views import FEATURES, Held, compute_views

if TYPE_CHECKING:
    from attrs import Attribute

    from slt.types import Bars, FeatureBlock

__all__ = ["IctSmc", "IctSmcConfig"]


def _at_least_min_target(config: IctSmcConfig, attribute: Attribute[float], value: float) -> None:
    if value < config.min_target_r:
        raise ValueError(f"{attribute.name} is {value}, it must be at least min_target_r ({config.min_target_r})")


@frozen(kw_only=True)
class IctSmcConfig:
    """Options of `IctSmc`.

    Attributes:
        relaxed: Also use tiers 4 and 5; left out: as RELAXED_SIGNAL_MODE says.
        min_grab: Least liquidity_grab in favour of the side that triggers an entry, 0 to 1.
        min_displacement: Least institutional_candle in favour of the side that triggers an entry, 0 to 1.
        min_order_flow: Least order_flow in favour of the side for any entry, -1 to 1; unknown flow passes.
        zone_reach_atr_15m: An order block counts as retested within this distance of its edge, in 15m ATR.
        stop_buffer_atr_15m: Distance of the stop behind the swing or order block it hides behind, in 15m ATR.
        min_stop_atr_15m: Least distance to the stop, in 15m ATR.
        min_stop_fraction: Least distance to the stop as a fraction of the price (0.006 = 0.6 %).
        max_stop_atr_1h: No entry where the stop would be farther away than this, in 1h ATR.
        target_r: Target where no liquidity pool suits, in R.
        min_target_r: The nearest opposing liquidity pool is the target from this distance on, in R.
        max_target_r: The nearest opposing liquidity pool is the target up to this distance, in R.
    """

    relaxed: bool | None = None
    min_grab: float = field(default=0.25, validator=[validators.gt(0), validators.le(1)])
    min_displacement: float = field(default=0.30, validator=[validators.gt(0), validators.le(1)])
    min_order_flow: float = field(default=-0.05, validator=[validators.ge(-1), validators.le(1)])
    zone_reach_atr_15m: float = field(default=0.25, validator=validators.ge(0))
    stop_buffer_atr_15m: float = field(default=0.25, validator=validators.ge(0))
    min_stop_atr_15m: float = field(default=1.5, validator=validators.gt(0))
    min_stop_fraction: float = field(default=0.006, validator=[validators.gt(0), validators.lt(0.5)])
    max_stop_atr_1h: float = field(default=2.0, validator=validators.gt(0))
    target_r: float = field(default=1.5, validator=validators.gt(0))
    min_target_r: float = field(default=1.2, validator=validators.gt(0))
    max_target_r: float = field(default=3.0, validator=[validators.gt(0), _at_least_min_target])


@frozen(eq=False)
class IctSmc:
    """Trades with the 1h, 15m and 5m trends after a liquidity grab, an order block retest or a displacement.

    Direction, first match wins (long shown, short mirrored). The 1h is bullish after a BOS up and neutral after a CHoCH
    alone; structure is its sign either way. The 15m is neutral without a trend, and in a pullback: its trend is against
    the 1h structure while most of its recent swings still go with it.

    ====  ==================================================================  ============
    tier  condition                                                           used
    ====  ==================================================================  ============
    1     1h, 15m and 5m bullish                                              always
    2     1h and 15m bullish                                                  always
    3     1h bullish, 15m neutral, 5m bullish                                 always
    4     1h bullish, 15m not bearish                                         when relaxed
    5     15m and 5m bullish, 1h not bearish, structure not bearish           when relaxed
    ====  ==================================================================  ============

    Trigger, one of these on a row that closed a 5m candle, with order flow not opposed (unknown is allowed): a recent
    liquidity grab in favour; the price in or near the nearest same-side 15m order block on a candle that closes in
    favour; a displacement candle in favour with fair value gaps in favour.

    Stop: behind the nearer of the last confirmed 15m swing and the nearest 15m order block, plus a buffer; not nearer
    than 1.5 ATR of 15m or 0.6 % (below that, costs eat the trade); no entry where it would be farther than 2 ATR of 1h,
    since two hours would rarely decide such a trade. Target: the nearest untaken liquidity pool where it pays 1.2 to
    3 R, else 1.5 R.

    The views are documented in `slt_strategies._ict_views`. The strategy keeps no state: a row's answer depends on that
    row of the features alone, which is what makes it causal and chunk-invariant.

    Needs the feature set `ict`.
    """

    config: IctSmcConfig
    _held: Held = field(factory=Held, init=False)
    config_class = IctSmcConfig

    @hookimpl
    def slt_propose_trades(self, bars: Bars, features: FeatureBlock) -> StrategyBlock:
        """Propose and rate a block; see `slt.hookspecs.StrategySpecs.slt_propose_trades`.

        Raises:
            ConfigError: No chosen feature set gives the columns needed.
        """
        _require_columns(features)
        block = StrategyBlock.quiet(bars.state.shape, REASONS)
        setups = find_setups(self.config, bars, features)
        at = (setups.rows, setups.symbols)
        block.side[at] = setups.side
        block.stop[at] = setups.stop
        block.target[at] = setups.target
        block.reason[at] = setups.reason
        for name, view in compute_views(features, self._held).items():
            getattr(block, name)[...] = view
        return block


def _require_columns(features: FeatureBlock) -> None:
    missing = sorted(set(FEATURES) - set(features.names)) + [n for n in CONTEXT if not features.has_context(n)]
    if missing:
        columns = ", ".join(f"`{name}`" for name in missing)
        raise ConfigError(
            f"features: the strategy `ict_smc` needs columns that no chosen feature set gives: {columns}; "
            "add `ict` to the feature sets"
        )
