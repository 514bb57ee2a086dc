"""Gradient-boosted trees with calibrated probabilities: the model plugin `xgboost`."""

from __future__ import annotations
