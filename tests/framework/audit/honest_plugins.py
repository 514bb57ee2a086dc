"""Thirteen plugins as a careful stranger would write them; an audit must find nothing in any of them."""

from __future__ import annotations

import math
from collections import deque

import numpy as np
from attrs import frozen
from audit_bases import NAN, BarFeatures, PlainConfig, TableFeatures, windows

from slt.authoring import BarStrategy, DataFrameStrategy, Signal
from slt.types import Column, Parity

EVEN, ODD, MIRRORED = Parity.EVEN, Parity.ODD, Parity.MIRRORED


class Rsi(BarFeatures):
    """Wilder's RSI of 14 bars, centred at 0."""

    columns = (Column("rsi"),)
    warm = 300

    def step(self, m, time, o, h, low, c, v, taker):
        move = c - m.get("close", c)
        m["close"] = c
        for name, size in (("up", max(move, 0.0)), ("down", max(-move, 0.0))):
            m[name] = m.get(name, 0.0) * 13 / 14 + size / 14
        total = m["up"] + m["down"]
        return ((m["up"] - m["down"]) / total if total > 0 else NAN,)


class Atr(BarFeatures):
    """ATR of 14 bars over the price, and itself in price units."""

    columns = (Column("atr_fraction", EVEN),)
    context_names = ("atr",)
    warm = 300

    def step(self, m, time, o, h, low, c, v, taker):
        before = m.get("close", o)
        true_range = max(h, before) - min(low, before)
        m["atr"] = m["atr"] + (true_range - m["atr"]) / 14 if "atr" in m else true_range
        m["close"] = c
        return m["atr"] / c, m["atr"]


class EmaCross(BarFeatures):
    """Distance of two exponential averages in ATR."""

    columns = (Column("ema_cross"),)
    context_names = ("ema_fast", "ema_slow")
    warm = 600

    def step(self, m, time, o, h, low, c, v, taker):
        for name, value, span in (("fast", c, 12), ("slow", c, 48), ("atr", h - low, 48)):
            m[name] = m[name] + 2 / (span + 1) * (value - m[name]) if name in m else value
        spread = (m["fast"] - m["slow"]) / m["atr"] if m["atr"] > 0 else NAN
        return spread, m["fast"], m["slow"]


class Donchian(TableFeatures):
    """Where the close lies in the range of the last 60 bars, and the distance to its top in widths."""

    columns = (Column("donchian"), Column("to_top", MIRRORED, "to_bottom"))
    context_names = ("to_bottom", "top", "bottom")
    warm = 80

    def compute(self, t):
        top, bottom = windows(t["high"], 60).max(axis=-1), windows(t["low"], 60).min(axis=-1)
        width = np.where(top > bottom, top - bottom, np.nan)
        close = t["close"]
        return (2 * (close - bottom) / width - 1, (close - top) / width, (bottom - close) / width, top, bottom)


class ZScore(TableFeatures):
    """Rolling z-score of the close with pandas, whose running sums differ in the last bits with their start."""

    columns = (Column("z"),)
    warm = 100
    float_tolerance = 1e-6

    def compute(self, t):
        import pandas as pd

        close = pd.DataFrame(t["close"])
        window = close.rolling(50, min_periods=30)
        return (((close - window.mean()) / window.std()).where(window.std() > 0).to_numpy(),)


class DayVwap(BarFeatures):
    """Distance of the close to the volume-weighted mean price of the UTC day, in mean ranges."""

    columns = (Column("vwap_distance"),)
    context_names = ("vwap",)
    warm = 1441

    def step(self, m, time, o, h, low, c, v, taker):
        day = (time - 1) // 86_400_000
        if m.get("day") != day:
            m.update(day=day, money=0.0, volume=0.0)
        m["money"] += v * (h + low + c) / 3
        m["volume"] += v
        m["range"] = m["range"] * 0.98 + (h - low) * 0.02 if "range" in m else h - low
        vwap = m["money"] / m["volume"] if m["volume"] > 0 else NAN
        return (c - vwap) / m["range"] if m["range"] > 0 else NAN, vwap


class Rsi15m(BarFeatures):
    """RSI of 7 closed 15m candles, built inside and only used once they are closed."""

    columns = (Column("rsi_15m"),)
    warm = 2_100

    def step(self, m, time, o, h, low, c, v, taker):
        candle = (time - 1) // 900_000
        if candle != m.setdefault("candle", candle):
            self.close(m)
            m["candle"] = candle
        m["last"] = c
        if time % 900_000 == 0:
            self.close(m)
            m["candle"] = candle + 1
            return (m["rsi"],)
        return None

    @staticmethod
    def close(m):
        if "last" not in m:
            return
        c = m.pop("last")
        move = c - m.get("close", c)
        m["close"] = c
        for name, size in (("up", max(move, 0.0)), ("down", max(-move, 0.0))):
            m[name] = m.get(name, 0.0) * 6 / 7 + size / 7
        total = m["up"] + m["down"]
        m["rsi"] = (m["up"] - m["down"]) / total if total > 0 else NAN


class FlowEma(BarFeatures):
    """Taker buys against sells, exponentially weighted over 20 bars; unknown where the exchange does not tell."""

    columns = (Column("flow"),)
    warm = 400

    def step(self, m, time, o, h, low, c, v, taker):
        if math.isnan(taker):
            return (NAN,)
        for name, value in (("flow", 2 * taker - v), ("volume", v)):
            m[name] = m.get(name, 0.0) * 0.9 + value * 0.1
        return (m["flow"] / m["volume"] if m["volume"] > 0 else NAN,)


class LogVolume(BarFeatures):
    """Log volume against its own recent mean and deviation."""

    columns = (Column("volume_z", EVEN),)
    warm = 1_000

    def step(self, m, time, o, h, low, c, v, taker):
        if v <= 0:
            return (NAN,)
        x = math.log(v)
        mean, variance = m.get("mean", x), m.get("variance", 1.0)
        m["mean"] = mean + 0.02 * (x - mean)
        m["variance"] = variance + 0.02 * ((x - mean) ** 2 - variance)
        return (math.tanh((x - mean) / math.sqrt(variance) / 3),)


class Macd(BarFeatures):
    """MACD histogram in ATR, and the signs of the last three bars."""

    columns = (Column("macd"), Column("run"))
    warm = 700

    def step(self, m, time, o, h, low, c, v, taker):
        for name, span in (("fast", 12), ("slow", 26)):
            m[name] = m[name] + 2 / (span + 1) * (c - m[name]) if name in m else c
        line = m["fast"] - m["slow"]
        m["signal"] = m.get("signal", 0.0) + 0.2 * (line - m.get("signal", 0.0))
        m["atr"] = m.get("atr", h - low) * 0.97 + (h - low) * 0.03
        signs = m.setdefault("signs", deque(maxlen=3))
        signs.append((c > o) - (c < o))
        return (line - m["signal"]) / m["atr"] if m["atr"] > 0 else NAN, sum(signs) / 3


@frozen
class BarBreakoutConfig:
    """Options of `BarBreakout`.

    Attributes:
        bars: Length of the channel.
    """

    bars: int = 45


class BarBreakout(BarStrategy):
    """Buys new highs and sells new lows of the last closes, bar by bar."""

    config_class = BarBreakoutConfig

    def on_bar(self, symbol, bar, features):
        closes = self.memory(symbol).setdefault("closes", [])
        side = 0
        if len(closes) == self.config.bars:
            side = (bar.close > max(closes)) - (bar.close < min(closes))
        closes.append(bar.close)
        del closes[: -self.config.bars]
        rank = sum(c < bar.close for c in closes) / len(closes)
        views = {"continuation_long": rank, "continuation_short": 1 - rank}
        if side:
            return Signal(side, bar.close * (1 - 0.01 * side), bar.close * (1 + 0.02 * side), "break", 0.7, views)
        return Signal(views=views)


class FrameMomentum(DataFrameStrategy):
    """Two rolling means of a pandas frame; the means differ in the last bits with the frame's start."""

    config_class = PlainConfig
    lookback_bars = 480
    float_tolerance = 1e-6

    def on_frame(self, symbol, frame):
        fast, slow = (frame["close"].rolling(n).mean() for n in (15, 60))
        above = (fast > slow * (1 + 1e-9)).astype(int)
        frame["side"] = above.diff().where(slow.shift(1).notna(), 0).fillna(0)
        frame["stop"] = frame["close"] * (1 - 0.01 * frame["side"])
        frame["target"] = frame["close"] * (1 + 0.02 * frame["side"])
        frame["confidence_long"] = (0.5 + 50 * (fast / slow - 1)).clip(0, 1)
        return frame


class BarReversion(BarStrategy):
    """Fades bars that are long against the recent mean range, with taker flow against them."""

    config_class = PlainConfig

    def on_bar(self, symbol, bar, features):
        m = self.memory(symbol)
        size = m.get("size", bar.high - bar.low)
        m["size"] = size * 0.98 + (bar.high - bar.low) * 0.02
        share = bar.taker_buy_volume / bar.volume if bar.volume > 0 else 0.5
        side = 0
        if size > 0 and abs(bar.close - bar.open) > 2.5 * size and not math.isnan(share):
            side = -1 if bar.close > bar.open else 1
        rebound = 0.5 if math.isnan(share) else min(max(1 - share, 0.0), 1.0)
        views = {"rebound_long": rebound}
        if side and (share - 0.5) * side < 0:
            reach = 4 * size
            return Signal(side, bar.close - side * reach, bar.close + side * reach, "fade", 0.6, views)
        return Signal(views=views)


FEATURES = (Rsi, Atr, EmaCross, Donchian, ZScore, DayVwap, Rsi15m, FlowEma, LogVolume, Macd)
STRATEGIES = (BarBreakout, FrameMomentum, BarReversion)
