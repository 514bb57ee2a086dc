"""Size by risk alone: every trade loses the same share of equity at its stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

from attrs import field, frozen, validators

from slt import hookimpl
from slt.types import Size, Skip

if TYPE_CHECKING:
    from slt.types import Account, Proposal

__all__ = ["FixedRisk", "FixedRiskConfig"]


@frozen(kw_only=True)
class FixedRiskConfig:
    """Options of `FixedRisk`.

    Attributes:
        risk_fraction: Fraction of equity lost at the stop, costs included (0.005 = 0.5 %).
    """

    risk_fraction: float = field(default=0.005, validator=[validators.gt(0), validators.lt(1)])


@frozen(eq=False)
class FixedRisk:
    """Sizes so that the loss at the stop, costs included, is 0.5 % of equity, whatever the conviction.

    notional = equity * risk_fraction / (stop distance + round-trip cost), both as fractions of the price; the margin is
    that notional at the highest leverage allowed, at most the whole equity. Confidence and p_win are not read.
    """

    config: FixedRiskConfig
    config_class = FixedRiskConfig

    @hookimpl
    def slt_size_position(
        self,
        proposal: Proposal,
        confidence: float,  # noqa: ARG002 - the hook's signature
        p_win: float | None,  # noqa: ARG002 - the hook's signature
        account: Account,
    ) -> Size | Skip:
        """Size by the distance to the stop; see `slt.hookspecs.SizerSpecs.slt_size_position`."""
        if not account.equity > 0.0:
            return Skip("no equity", {"equity": account.equity})
        loss = abs(proposal.price - proposal.stop) / proposal.price + account.cost_rate
        if not loss > 0.0:
            return Skip("no distance to the stop", {"loss_at_stop": loss})
        notional = account.equity * min(self.config.risk_fraction / loss, account.leverage)
        return Size(notional, notional / account.leverage, {"loss_at_stop": loss})
