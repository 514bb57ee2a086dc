"""The kernel's vocabulary: candles, features, signals, orders, positions and records. Imports nothing of slt."""

from __future__ import annotations

from slt.types.bars import MINUTE_MS, Bars, BarState
from slt.types.features import Column, FeatureBlock, Parity, orient
from slt.types.learning import FitReport, FitRequest, SampleSet
from slt.types.orders import (
    Fill,
    FillCause,
    FundingPayment,
    Order,
    OrderRole,
    OrderSide,
    OrderStatus,
    OrderType,
    OrderUpdate,
)
from slt.types.positions import Account, ExitMark, ExitOrder, Outlook, Position, PricePoint, Size, Skip
from slt.types.records import (
    Decision,
    EquityPoint,
    ModelVersion,
    Notice,
    OpenPosition,
    OrderIntent,
    Record,
    Run,
    Sample,
    StoredBar,
    Trade,
)
from slt.types.signals import VIEW_NAMES, Proposal, Side, StrategyBlock
from slt.types.symbols import FundingRates, LeverageBracket, MarketInfo, SymbolRules

__all__ = [
    "MINUTE_MS",
    "VIEW_NAMES",
    "Account",
    "BarState",
    "Bars",
    "Column",
    "Decision",
    "EquityPoint",
    "ExitMark",
    "ExitOrder",
    "FeatureBlock",
    "Fill",
    "FillCause",
    "FitReport",
    "FitRequest",
    "FundingPayment",
    "FundingRates",
    "LeverageBracket",
    "MarketInfo",
    "ModelVersion",
    "Notice",
    "OpenPosition",
    "Order",
    "OrderIntent",
    "OrderRole",
    "OrderSide",
    "OrderStatus",
    "OrderType",
    "OrderUpdate",
    "Outlook",
    "Parity",
    "Position",
    "PricePoint",
    "Proposal",
    "Record",
    "Run",
    "Sample",
    "SampleSet",
    "Side",
    "Size",
    "Skip",
    "StoredBar",
    "StrategyBlock",
    "SymbolRules",
    "Trade",
    "orient",
]
