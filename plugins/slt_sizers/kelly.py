"""Size by linear Kelly: nothing at even odds, the base at 75 %, twice the base at certainty."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from slt import hookimpl
from slt.types import Size, Skip

if TYPE_CHECKING:
    from slt.types import Account, Proposal

__all__ = ["Kelly", "KellyConfig"]


@frozen(kw_only=True)
class KellyConfig:
    """Options of `Kelly`.

    Attributes:
        base_margin_fraction: Margin of a position at multiplier 1, as a fraction of equity.
        max_margin_fraction: Highest margin of a position, as a fraction of equity.
        max_multiplier: Highest multiplier of the base margin.
    """

    base_margin_fraction: float = field(default=0.05, validator=[validators.gt(0), validators.le(1)])
    max_margin_fraction: float = field(default=0.10, validator=[validators.gt(0), validators.le(1)])
    max_multiplier: float = field(default=2.0, validator=validators.gt(0))


@frozen(eq=False)
class Kelly:
    """Binds 5 % of equity times (c - 0.5) * 4 as margin, at most 10 %, and skips where c <= 50 %.

    While no model predicts, c is the rules' confidence. Once one does, c = (1 + f) / 2 with the Kelly fraction
    f = p - (1 - p) / b, where p is the model's net win probability and b the net reward at the target over the net loss
    at the stop, costs of entry and exit counted on both. At b = 1 this is the same formula on p itself. The notional
    asked for is the margin at the highest leverage allowed; the kernel's caps on risk and margin then shrink it.

    Source: J. L. Kelly, "A New Interpretation of Information Rate", Bell System Technical Journal 35 (1956).
    """

    config: KellyConfig
    config_class = KellyConfig

    @hookimpl
    def slt_size_position(
        self, proposal: Proposal, confidence: float, p_win: float | None, account: Account
    ) -> Size | Skip:
        """Size by conviction; see `slt.hookspecs.SizerSpecs.slt_size_position`."""
        if not account.equity > 0.0:
            return Skip("no equity", {"equity": account.equity})
        edge = _rule_edge(confidence) if p_win is None else _model_edge(proposal, p_win, account.cost_rate)
        if isinstance(edge, Skip):
            return edge
        conviction = edge["conviction"]
        if conviction <= 0.5:
            return Skip("no edge: conviction at or below 50 %", edge)
        config = self.config
        multiplier = min((conviction - 0.5) * 4.0, config.max_multiplier)
        margin = account.equity * min(config.base_margin_fraction * multiplier, config.max_margin_fraction)
        return Size(margin * account.leverage, margin, {**edge, "multiplier": multiplier})


def _rule_edge(confidence: float) -> dict[str, float] | Skip:
    if math.isnan(confidence):
        return Skip("the rules' confidence is unknown")
    return {"conviction": min(confidence, 1.0)}


def _model_edge(proposal: Proposal, p_win: float, cost_rate: float) -> dict[str, float] | Skip:
    if math.isnan(p_win):
        return Skip("the model's probability is unknown")
    reward = abs(proposal.target - proposal.price) / proposal.price - cost_rate
    loss = abs(proposal.price - proposal.stop) / proposal.price + cost_rate
    if not (reward > 0.0 and loss > 0.0):
        return Skip("no reward left after costs", {"net_reward": reward, "net_loss": loss})
    payoff = reward / loss
    kelly = p_win - (1.0 - p_win) / payoff
    return {"conviction": (1.0 + kelly) / 2.0, "p_win": p_win, "payoff": payoff, "kelly_fraction": kelly}
