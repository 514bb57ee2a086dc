"""The exchange's trading rules: filters, leverage brackets and the order linter. Pure: no I/O, no clock.

`parse_exchange_info` and `parse_brackets` read the exchange's own answers; `generic_rules` stands in where none exist.
`round_price`, `floor_quantity` and `ceil_quantity` put numbers on the exchange's grids exactly; `check_order` judges a
whole order before it is sent, repairs what rounding can repair, and names the exchange's error code for the rest.
"""

from __future__ import annotations

from slt.rules.brackets import bracket_of, maintenance_margin, max_leverage, parse_brackets
from slt.rules.exchange_info import parse_exchange_info
from slt.rules.generic import GENERIC_BRACKETS, generic_rules
from slt.rules.grids import Lot, ceil_quantity, floor_quantity, lot_of, round_price
from slt.rules.linter import LintProblem, LintRepair, LintResult, check_order

__all__ = [
    "GENERIC_BRACKETS",
    "LintProblem",
    "LintRepair",
    "LintResult",
    "Lot",
    "bracket_of",
    "ceil_quantity",
    "check_order",
    "floor_quantity",
    "generic_rules",
    "lot_of",
    "maintenance_margin",
    "max_leverage",
    "parse_brackets",
    "parse_exchange_info",
    "round_price",
]
