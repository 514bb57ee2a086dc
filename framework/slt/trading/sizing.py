"""Leverage, stop floor and caps: the kernel's part of how big a position is, as pure functions."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import frozen

if TYPE_CHECKING:
    from slt.config import RiskConfig
    from slt.types import LeverageBracket, Size, SymbolRules

__all__ = [
    "CappedSize",
    "allowed_leverage",
    "cap_size",
    "floored_stop",
    "leverage_curve",
    "round_trip_cost",
]


def round_trip_cost(rules: SymbolRules) -> float:
    """Expected cost of an entry and an exit at market, as a fraction of the notional: both fees, both slippages."""
    return 2 * (rules.taker_fee + rules.slippage)


def floored_stop(price: float, stop: float, side: int, floor: float) -> float:
    """`stop`, moved out to `floor` (a fraction of the price) where it lies nearer or on the wrong side."""
    limit = price * (1 - side * floor)
    return min(stop, limit) if side > 0 else max(stop, limit)


def leverage_curve(win_rate: float, confidence: float) -> float:
    """Leverage by proven win rate and confidence: 1 · (1 + 11 · max(0, (win − 0.55)/0.15)) · max(1, confidence/0.5).

    Args:
        win_rate: Wilson lower bound of the recent win rate.
        confidence: The rules' or the model's confidence, [0, 1]; NaN counts as 0.5.
    """
    boost = 1.0 if math.isnan(confidence) else max(1.0, confidence / 0.5)
    return (1 + 11 * max(0.0, (win_rate - 0.55) / 0.15)) * boost


def allowed_leverage(
    risk: RiskConfig, bracket: LeverageBracket, stop_fraction: float, win_rate: float, confidence: float
) -> int:
    """Highest whole leverage that curve, cap, bracket and the distance of liquidation all allow; at least 1.

    Liquidation of an isolated position lies (1/L − m)/(1 ± m) away (m = maintenance rate; the nearer case, a short, has
    the plus sign); that must be at least `liquidation_stop_multiple` stop distances.

    Args:
        risk: The limits.
        bracket: The exchange's bracket of the wanted size.
        stop_fraction: Distance to the stop as a fraction of the price.
        win_rate: Wilson lower bound of the recent win rate.
        confidence: See `leverage_curve`.
    """
    rate = bracket.maintenance_rate
    by_liquidation = 1 / (risk.liquidation_stop_multiple * stop_fraction * (1 + rate) + rate)
    limit = min(leverage_curve(win_rate, confidence), risk.max_leverage, bracket.max_leverage, by_liquidation)
    return max(1, math.floor(limit))


@frozen
class CappedSize:
    """A size after the kernel's caps.

    Attributes:
        notional: Quote currency; 0 when nothing is left.
        leverage: Smallest whole leverage whose margin fits.
        cap: Which cap bound it last: ``sizer``, ``margin``, ``leverage`` or ``risk``.
    """

    notional: float
    leverage: int
    cap: str


def cap_size(
    size: Size, risk: RiskConfig, equity: float, margin_in_use: float, leverage: int, loss_fraction: float
) -> CappedSize:
    """Apply the caps in order: margin of the position and of the account, leverage, loss at the stop.

    Args:
        size: The sizer's wish.
        risk: The limits.
        equity: Account equity, quote currency.
        margin_in_use: Initial margin already bound, quote currency.
        leverage: Highest leverage allowed.
        loss_fraction: Loss at the stop as a fraction of the notional, costs included.
    """
    margin = min(size.margin, risk.max_margin_per_position * equity, risk.max_margin_in_use * equity - margin_in_use)
    if margin <= 0:
        return CappedSize(0.0, 1, "margin")
    caps = {
        "sizer": size.notional,
        "leverage": margin * leverage,
        "risk": risk.max_loss_at_stop * equity / loss_fraction,
    }
    cap = min(caps, key=lambda name: caps[name])
    notional = caps[cap]
    needed = max(1, math.ceil(notional / margin * (1 - 1e-12)))
    return CappedSize(notional, min(needed, leverage), cap)
