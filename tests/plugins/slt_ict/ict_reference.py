"""A second, slow implementation of `ict`, from the definitions: plain lists, real prices, every search spelled out.

It keeps the whole history of a symbol and looks everything up anew. It shares no code with the kernel.
"""

from __future__ import annotations

import bisect
import itertools
import math

FIVE = 300_000
NAN = math.nan
ABSENT, TRADED = 0, 1


class Timeframe:
    """Candles of one timeframe: ATR, swings, structure, order blocks, gaps and pools."""

    def __init__(self, k, age, cap, merge):
        self.k, self.age, self.cap, self.merge = k, age, cap, merge
        self.candles = {}  # clock -> (open, high, low, close)
        self.last = None
        self.true_ranges = []
        self.atr = NAN
        self.atr_before = NAN
        self.swings = []  # alternating: dicts of side, price, clock, crossed
        self.events = []  # (clock, direction, label)
        self.blocks = []
        self.gaps = []
        self.pools = []
        self.grab = None  # (clock, signed strength)

    def has(self, first, last):
        return all(clock in self.candles for clock in range(first, last + 1))

    def newest(self, side):
        return next((s for s in reversed(self.swings) if s["side"] == side), None)

    @property
    def trend(self):
        return self.events[-1][1] if self.events else 0

    def expire(self, clock):
        self.blocks = [z for z in self.blocks if clock - z["born"] <= self.age]
        self.gaps = [z for z in self.gaps if clock - z["born"] <= self.age]
        self.pools = [p for p in self.pools if clock - p["touched"] <= self.age]

    def push(self, clock, candle):
        _, high, low, close = candle
        previous = self.candles.get(clock - 1)
        self.candles[clock] = candle
        self.measure_atr(previous, high, low)
        self.test_zones(high, low, close)
        self.take_pools(clock, previous is not None, high, low, close)
        self.break_structure(clock, close)
        self.find_gap(clock)
        self.confirm(clock)

    def measure_atr(self, previous, high, low):
        tr = high - low
        if previous is not None:
            tr = max(tr, abs(high - previous[3]), abs(low - previous[3]))
        self.true_ranges.append(tr)
        self.atr_before = self.atr
        if len(self.true_ranges) == 14:
            total = 0.0
            for x in self.true_ranges:
                total += x
            self.atr = total / 14
        elif len(self.true_ranges) > 14:
            self.atr = (self.atr * 13 + tr) / 14

    def test_zones(self, high, low, close):
        self.blocks = [z for z in self.blocks if not (close < z["bottom"] if z["side"] == "bull" else close > z["top"])]
        self.gaps = [z for z in self.gaps if not (low <= z["bottom"] if z["side"] == "bull" else high >= z["top"])]
        for z in self.gaps:
            z["best"] = min(z["best"], low) if z["side"] == "bull" else max(z["best"], high)

    def take_pools(self, clock, follows, high, low, close):
        strongest = {"high": 0.0, "low": 0.0}
        left = []
        for pool in self.pools:
            level = pool["level"]
            beyond = high - level if pool["side"] == "high" else level - low
            if not beyond > 0:
                left.append(pool)
                continue
            back = close <= level if pool["side"] == "high" else close >= level
            if back and not math.isnan(self.atr):
                depth = beyond / self.atr if self.atr > 0 else math.inf
                strength = min(1.0, 0.25 + depth) * min(1.0, 0.5 + 0.25 * pool["touches"])
                strongest[pool["side"]] = max(strongest[pool["side"]], strength)
        self.pools = left
        if follows and strongest["low"] > strongest["high"]:
            self.grab = (clock, strongest["low"])
        elif follows and strongest["high"] > strongest["low"]:
            self.grab = (clock, -strongest["high"])

    def break_structure(self, clock, close):
        for side, direction in (("high", 1), ("low", -1)):
            swing = self.newest(side)
            if swing is None or swing["crossed"]:
                continue
            if (close > swing["price"]) if side == "high" else (close < swing["price"]):
                swing["crossed"] = True
                label = "CHoCH" if self.trend == -direction else "BOS"
                self.events.append((clock, direction, label))
                self.bear_block(clock, swing, direction)

    def bear_block(self, clock, swing, direction):
        """Give birth to the order block of a break at `clock`."""
        if not self.has(swing["clock"] + 1, clock - 1):
            return
        span = range(swing["clock"] + 1, clock)
        if direction == 1:
            extreme = min(self.candles[i][2] for i in span)
            m = max(i for i in span if self.candles[i][2] == extreme)
        else:
            extreme = max(self.candles[i][1] for i in span)
            m = max(i for i in span if self.candles[i][1] == extreme)
        side = "bull" if direction == 1 else "bear"
        self.add(self.blocks, {"side": side, "top": self.candles[m][1], "bottom": self.candles[m][2], "born": clock})

    def add(self, zones, zone):
        same = [z for z in zones if z["side"] == zone["side"]]
        if len(same) >= self.cap:
            zones.remove(same[0])
        zones.append(zone)

    def find_gap(self, clock):
        if not self.has(clock - 2, clock):
            return
        first, middle, third = (self.candles[clock - i] for i in (2, 1, 0))
        if third[2] > first[1] and middle[3] > middle[0]:
            zone = {"side": "bull", "top": third[2], "bottom": first[1], "best": third[2], "born": clock}
            self.add(self.gaps, zone)
        if third[1] < first[2] and middle[3] < middle[0]:
            zone = {"side": "bear", "top": first[2], "bottom": third[1], "best": third[1], "born": clock}
            self.add(self.gaps, zone)

    def confirm(self, clock):
        p = clock - self.k
        if not self.has(p - self.k, clock):
            return
        others = [i for i in range(p - self.k, clock + 1) if i != p]
        is_high = all(self.candles[p][1] >= self.candles[i][1] for i in others)
        is_low = all(self.candles[p][2] <= self.candles[i][2] for i in others)
        sides = [side for side, found in (("high", is_high), ("low", is_low)) if found]
        if len(sides) == 2:
            if not self.swings:
                return
            last = self.swings[-1]["side"]
            sides = ["low", "high"] if last == "high" else ["high", "low"]
        for side in sides:
            price = self.candles[p][1] if side == "high" else self.candles[p][2]
            if self.accept(side, price, p):
                self.add_pool(clock, side, price)

    def accept(self, side, price, p):
        swing = {"side": side, "price": price, "clock": p, "crossed": False}
        if self.swings and self.swings[-1]["side"] == side:
            last = self.swings[-1]["price"]
            if not (price > last if side == "high" else price < last):
                return False
            self.swings[-1] = swing
        else:
            self.swings.append(swing)
        return True

    def add_pool(self, clock, side, price):
        same = [p for p in self.pools if p["side"] == side]
        near = [p for p in same if abs(price - p["level"]) <= self.merge * self.atr]
        if near:
            pool = min(near, key=lambda p: abs(price - p["level"]))
            level = max(price, pool["level"]) if side == "high" else min(price, pool["level"])
            self.pools.remove(pool)
            touches = pool["touches"] + 1
        else:
            level, touches = price, 1
            if len(same) >= self.cap:
                self.pools.remove(same[0])
        self.pools.append({"side": side, "level": level, "touches": touches, "touched": clock})


class Reference:
    """One symbol of `ict`, fed bar by bar."""

    def __init__(self, interval_ms, k=5, age=300, cap=24, merge=0.1, warmup=2000):
        self.interval = interval_ms
        self.expected = FIVE // interval_ms
        self.warmup = warmup
        self.frames = {n: Timeframe(k, age, cap, merge) for n in (1, 3, 12)}
        self.first = None  # first 5m candle that could be whole
        self.last_time = None
        self.bars = {}  # clock -> bars of the 5m candle
        self.whole = {}  # clock -> None if empty, else (open, high, low, close)
        self.order = []  # clocks of whole candles
        self.close = NAN
        self.flows = None
        self.flow = NAN
        self.log_volumes = None
        self.participation = NAN
        self.displacement = NAN
        self.values = [NAN] * 12
        self.context = [NAN] * 15
        self.ready = False

    def push(self, end, state, open_, high, low, close, volume, taker):
        """Returns (values, context, fresh, ready) after one row of a block."""
        if state == ABSENT:
            return list(self.values), list(self.context), False, self.ready
        if self.first is None:
            self.first = -(-(end - self.interval) // FIVE)
        elif end - self.last_time > self.interval:
            self.values = [NAN] * 12
            self.ready = False
        self.last_time = end
        clock = (end - self.interval) // FIVE
        self.bars.setdefault(clock, []).append((state, open_, high, low, close, volume, taker))
        fresh = end % FIVE == 0 and len(self.bars[clock]) == self.expected
        if fresh:
            self.close_candle(clock)
        return list(self.values), list(self.context), fresh, self.ready

    def close_candle(self, clock):
        bars = [b for b in self.bars[clock] if b[0] == TRADED]
        candle = None
        if bars:
            candle = (bars[0][1], max(b[2] for b in bars), min(b[3] for b in bars), bars[-1][4])
        self.whole[clock] = candle
        self.order.append(clock)
        for length in (12, 3):
            if (clock + 1) % length == 0:
                self.close_higher(length, clock // length)
        frame = self.frames[1]
        frame.expire(clock)
        if candle is None:
            self.displacement = 0.0
            self.participation = NAN
        else:
            frame.push(clock, candle)
            self.measure(frame, candle, bars)
        self.ready = self.is_ready(clock)
        self.values = self.vector(clock) if self.ready else [NAN] * 12
        self.context = self.surroundings()

    def close_higher(self, length, clock):
        parts = range(clock * length, (clock + 1) * length)
        if any(i not in self.whole for i in parts):
            return
        frame = self.frames[length]
        frame.expire(clock)
        traded = [self.whole[i] for i in parts if self.whole[i] is not None]
        if traded:
            candle = (traded[0][0], max(c[1] for c in traded), min(c[2] for c in traded), traded[-1][3])
            frame.push(clock, candle)

    def measure(self, frame, candle, bars):
        open_, high, low, close = candle
        self.close = close
        body = close - open_
        self.displacement = 0.0
        if body != 0:
            size = abs(body)
            ratio = size / frame.atr_before if frame.atr_before != 0 else math.inf
            self.displacement = math.copysign(min(ratio, 3.0) / 3.0 * (size / (high - low)), body)
            if math.isnan(ratio):
                self.displacement = NAN
        volume = taker = 0.0
        for b in bars:
            volume += b[5]
            taker += b[6]
        self.measure_flow(volume, taker)
        self.measure_volume(volume)

    def measure_flow(self, volume, taker):
        self.flow = NAN
        if math.isnan(taker):
            return
        net, total = self.flows or (0.0, 0.0)
        self.flows = ((1 - 0.15) * net + (2 * taker - volume), (1 - 0.15) * total + volume)
        if self.flows[1] > 0:
            self.flow = self.flows[0] / self.flows[1]

    def measure_volume(self, volume):
        self.participation = NAN
        if volume == 0:
            return
        x = math.log(volume)
        if self.log_volumes is None:
            self.log_volumes = (x, 0.0)
            return
        mean, variance = self.log_volumes
        if variance > 0:
            self.participation = math.tanh((x - mean) / math.sqrt(variance) / 3)
        alpha = 1 / 96
        delta = x - mean
        self.log_volumes = (mean + alpha * delta, (1 - alpha) * (variance + alpha * delta * delta))

    def is_ready(self, clock):
        if clock - self.first + 1 < self.warmup:
            return False
        if any(i not in self.whole for i in range(clock - 11, clock + 1)):
            return False
        whole = bisect.bisect_right(self.order, clock) - bisect.bisect_right(self.order, clock - self.warmup)
        return self.warmup - whole <= 0.05 * self.warmup

    def vector(self, clock):
        low, mid, high = self.frames[1], self.frames[3], self.frames[12]
        trend = high.trend
        return [
            trend * (1.0 if high.events and high.events[-1][2] == "BOS" else 0.5),
            self.weigh(mid.blocks, mid.atr),
            self.displacement,
            low.grab[1] * 0.5 ** ((clock - low.grab[0]) / 6) if low.grab else 0.0,
            self.flow,
            self.weigh(low.gaps, low.atr, gaps=True),
            (2 * mid.trend + low.trend) / 3,
            self.from_swing(1),
            integrity(mid.swings, trend),
            self.participation,
            self.convergence(clock),
            self.pool_balance(mid),
        ]

    def weigh(self, zones, atr, *, gaps=False):
        if math.isnan(atr):
            return NAN
        total = {"bull": 0.0, "bear": 0.0}
        for z in zones:
            distance = max(self.close - z["top"], z["bottom"] - self.close, 0.0)
            weight = 1.0
            if distance > 0:
                weight = math.exp(-distance / atr) if atr > 0 else 0.0
            if gaps:
                size = z["top"] - z["bottom"]
                left = z["best"] - z["bottom"] if z["side"] == "bull" else z["top"] - z["best"]
                weight = weight * (min(1.0, size / atr) if atr > 0 else 1.0) * (left / size)
            total[z["side"]] += weight
        return (total["bull"] - total["bear"]) / (1 + total["bull"] + total["bear"])

    def from_swing(self, sign):
        """Feature 8 (sign 1) or its mirror, the distance of the swing low (sign −1)."""
        mid = self.frames[3]
        swing = mid.newest("high" if sign == 1 else "low")
        if swing is None or math.isnan(mid.atr):
            return NAN
        distance = sign * (self.close - swing["price"])
        return in_atr(distance, mid.atr)

    def convergence(self, clock):
        vote = sum(w * self.frames[n].trend for n, w in ((12, 3), (3, 2), (1, 1)))
        if vote == 0:
            return 0.0
        total = 0.0
        for n, w in ((12, 3), (3, 2), (1, 1)):
            frame = self.frames[n]
            if frame.trend == math.copysign(1, vote):
                age = (clock + 1) // n - 1 - frame.events[-1][0]
                total += w * math.exp(-age / 24)
        return total / 6

    def pool_balance(self, mid):
        above = [p["level"] for p in mid.pools if p["side"] == "high"]
        below = [p["level"] for p in mid.pools if p["side"] == "low"]
        up = in_atr(max(min(above) - self.close, 0.0), mid.atr) if above else 10.0
        down = in_atr(max(self.close - max(below), 0.0), mid.atr) if below else 10.0
        return (down - up) / (down + up) if down + up != 0 else 0.0

    def surroundings(self):
        low, mid, high = self.frames[1], self.frames[3], self.frames[12]
        swing_high, swing_low = mid.newest("high"), mid.newest("low")
        bull, bear = self.nearest(mid.blocks, "bull"), self.nearest(mid.blocks, "bear")
        above = [p["level"] for p in mid.pools if p["side"] == "high"]
        below = [p["level"] for p in mid.pools if p["side"] == "low"]
        return [
            *(f.atr for f in (low, mid, high)),
            *(float(f.trend) for f in (low, mid, high)),
            swing_high["price"] if swing_high else NAN,
            swing_low["price"] if swing_low else NAN,
            self.from_swing(-1),
            bull["top"] if bull else NAN,
            bull["bottom"] if bull else NAN,
            bear["bottom"] if bear else NAN,
            bear["top"] if bear else NAN,
            min(above) if above else NAN,
            max(below) if below else NAN,
        ]

    def nearest(self, zones, side):
        mine = [z for z in zones if z["side"] == side]
        if not mine:
            return None
        return min(mine, key=lambda z: (max(self.close - z["top"], z["bottom"] - self.close, 0.0), -z["born"]))


def in_atr(distance, atr):
    if math.isnan(atr):
        return NAN
    if distance == 0:
        return 0.0
    return min(max(distance / atr if atr > 0 else math.copysign(math.inf, distance), -10.0), 10.0)


def integrity(swings, trend):
    steps = []
    for side in ("high", "low"):
        prices = [s["price"] for s in swings[-8:] if s["side"] == side][-4:]
        steps += [b - a for a, b in itertools.pairwise(prices)]
    if trend == 0 or len(steps) < 2:
        return 0.5
    return sum(step * trend > 0 for step in steps) / len(steps)


def run_reference(bars, column, **options):
    """The reference over one symbol of a block: lists of values, context, fresh, ready, one entry a row."""
    reference = Reference(bars.interval_ms, **options)
    fields = ("state", "open", "high", "low", "close", "volume", "taker_buy_volume")
    columns = [getattr(bars, name)[:, column].tolist() for name in fields]
    rows = [reference.push(end, *row) for end, *row in zip(bars.close_time.tolist(), *columns, strict=True)]
    return [list(part) for part in zip(*rows, strict=True)]
