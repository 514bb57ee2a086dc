"""What people are told: the options of notices, and the builders of the four kinds, from trades and positions.

Builders are pure: the engine calls them with event time, and the same events give the same notices with the same ids,
so that a resumed run never tells a thing twice.
"""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from attrs import field, frozen
from attrs.validators import and_, deep_iterable, ge, gt, in_, instance_of, le, matches_re

from slt.types import Notice

if TYPE_CHECKING:
    from collections.abc import Sequence

    from attrs import Attribute

    from slt.types import Position, Trade

__all__ = [
    "DIGEST_LINES",
    "NOTICE_KINDS",
    "NoticesConfig",
    "alert_notice",
    "close_notice",
    "daily_notice",
    "digest_notice",
    "format_duration",
    "format_money",
    "format_price",
    "format_quantity",
    "format_share",
    "format_time",
    "next_summary",
    "open_notice",
]

NOTICE_KINDS = ("open", "close", "daily", "alert")
"""The kinds of `slt.types.Notice`."""

DIGEST_LINES = 20
"""Notices that a digest shows by their titles; of the others it tells the number."""
_kinds = deep_iterable(in_(NOTICE_KINDS), instance_of(tuple))


def _is_time_zone(_: object, option: Attribute[str], name: str) -> None:
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValueError(f"'{option.name}' must be a time zone such as Europe/Berlin or UTC, not `{name}`") from None


@frozen(kw_only=True)
class NoticesConfig:
    """Which notices are sent, and how patiently.

    Attributes:
        kinds: Kinds that are sent: open, close, daily, alert.
        in_backtest: Kinds that are sent in a back-test as well; empty: a back-test sends none.
        rate_limit_seconds: Least time between two messages of one channel.
        send_timeout_seconds: Time a channel has to confirm one message; then it counts as failed and is sent again.
        max_attempts: Failed attempts after which a message is dropped; while a channel is out of reach, not before
            `expire_hours` of them.
        retry_seconds: Wait after the first failed attempt; it doubles with each further one.
        retry_max_seconds: Longest wait between two attempts, unless the channel itself asks for more.
        expire_hours: Hours after which an open or close notice that still waits is left out and counted; 0 = never.
        digest_above: Waiting notices above which a channel gets all of them as one message.
        summary_time: Local time of the daily summary, HH:MM.
        time_zone: Time zone of that time, such as Europe/Berlin.
        queue_limit: Notices that wait per channel; beyond it the oldest that is no alert is dropped and counted.
        remember: Delivered notices remembered per channel, so that none is sent twice.
    """

    kinds: tuple[str, ...] = field(default=NOTICE_KINDS, validator=_kinds)
    in_backtest: tuple[str, ...] = field(default=(), validator=_kinds)
    rate_limit_seconds: float = field(default=1.0, validator=and_(ge(0.0), le(3600.0)))
    send_timeout_seconds: float = field(default=10.0, validator=and_(gt(0.0), le(600.0)))
    max_attempts: int = field(default=8, validator=and_(ge(1), le(1000)))
    retry_seconds: float = field(default=2.0, validator=and_(gt(0.0), le(3600.0)))
    retry_max_seconds: float = field(default=300.0, validator=and_(gt(0.0), le(86_400.0)))
    expire_hours: float = field(default=24.0, validator=and_(ge(0.0), le(8760.0)))
    digest_above: int = field(default=20, validator=and_(ge(1), le(1_000_000)))
    summary_time: str = field(default="00:00", validator=matches_re(r"([01]\d|2[0-3]):[0-5]\d"))
    time_zone: str = field(default="UTC", validator=_is_time_zone)
    queue_limit: int = field(default=1000, validator=and_(ge(1), le(1_000_000)))
    remember: int = field(default=10_000, validator=and_(ge(1), le(10_000_000)))


def format_price(price: float) -> str:
    """Write a price without exponent: two decimals from 1,000 up, four from 1 up, five significant digits below."""
    if not math.isfinite(price):
        return "unknown"
    size = abs(price)
    if size >= 1000.0:
        return f"{price:,.2f}"
    if size >= 1.0 or size == 0.0:
        return f"{price:.4f}"
    return f"{price:.{4 - math.floor(math.log10(size))}f}"


def format_money(amount: float, currency: str = "USDT") -> str:
    """Write an amount with two decimals, its sign (none where it rounds to zero) and its currency."""
    if not math.isfinite(amount):
        return "unknown"
    rounded = round(amount, 2)
    return f"{rounded:+,.2f} {currency}" if rounded else f"0.00 {currency}"


def format_quantity(quantity: float) -> str:
    """Write a quantity with up to eight decimals, without trailing zeros or exponent."""
    if not math.isfinite(quantity):
        return "unknown"
    text = f"{quantity:,.8f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text


def format_share(share: float | None, *, signed: bool = False) -> str:
    """Write a fraction as per cent with one decimal; ``unknown`` for None and NaN."""
    if share is None or not math.isfinite(share):
        return "unknown"
    percent = round(share * 100.0, 1) + 0.0
    return f"{percent:+.1f} %" if signed and percent else f"{percent:.1f} %"


def format_duration(duration_ms: int) -> str:
    """Write a span of time in its two largest units: ``45 s``, ``12 min 5 s``, ``1 h 40 min`` or ``2 d 3 h``."""
    seconds = max(duration_ms, 0) // 1000
    units = (("d", 86_400), ("h", 3600), ("min", 60), ("s", 1))
    for (name, size), (next_name, next_size) in pairwise(units):
        if seconds >= size:
            rest = seconds % size // next_size
            return f"{seconds // size} {name}" + (f" {rest} {next_name}" if rest else "")
    return f"{seconds} s"


def format_time(time: int) -> str:
    """Write a time (ms UTC) as ``2025-05-01 13:45:00 UTC``."""
    return datetime.fromtimestamp(time / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def open_notice(position: Position, *, run_id: str) -> Notice:
    """Tell that a position was opened, at its first fill.

    Args:
        position: As it stands after the fill; its `entry_outlook` gives confidence and p(win).
        run_id: The run.

    Returns:
        The notice, with the id ``<position id>-open``.
    """
    outlook = position.entry_outlook
    fields = [
        ("Symbol", position.symbol),
        ("Side", _side(position.side)),
        ("Entry", format_price(position.entry_price)),
        ("Quantity", format_quantity(position.initial_quantity)),
        ("Leverage", f"{position.leverage}x"),
        ("Confidence", format_share(outlook.confidence if outlook else None)),
    ]
    if outlook is not None and outlook.p_win is not None:
        fields.append(("Win probability", format_share(outlook.p_win)))
    fields += [
        ("Stop", _level(position.initial_stop, position.entry_price)),
        ("Target", _level(position.target, position.entry_price)),
        ("Strategy", position.strategy),
        ("Time", format_time(position.entry_time)),
    ]
    return Notice(
        id=f"{position.id}-open",
        run_id=run_id,
        time=position.entry_time,
        kind="open",
        title=f"Opened {_side(position.side)} {position.symbol} at {format_price(position.entry_price)}",
        fields=tuple(fields),
        tone="neutral",
    )


def close_notice(trade: Trade) -> Notice:
    """Tell that a position was closed; the id is ``<trade id>-close``. PnL is net of fees and funding."""
    result = f"{format_money(trade.net_pnl)} ({trade.r_multiple:+.2f} R)"
    return Notice(
        id=f"{trade.id}-close",
        run_id=trade.run_id,
        time=trade.exit_time,
        kind="close",
        title=f"Closed {_side(trade.side)} {trade.symbol}: {format_money(trade.net_pnl)}",
        fields=(
            ("Symbol", trade.symbol),
            ("Side", _side(trade.side)),
            ("Entry", format_price(trade.entry_price)),
            ("Exit", format_price(trade.exit_price)),
            ("PnL", result),
            ("Reason", trade.exit),
            ("Held for", format_duration(trade.exit_time - trade.entry_time)),
            ("Time", format_time(trade.exit_time)),
        ),
        tone=_tone(trade.net_pnl),
    )


def next_summary(after: int, clock: str, zone: str) -> int:
    """When the daily summary is due next, ms UTC.

    Args:
        after: ms UTC; the answer is later.
        clock: Local time, ``HH:MM``. One that a change of the clocks leaves out or doubles counts once, as the hour
            before the change has it; where that is the next day already, at the moment of the change.
        zone: Name of the time zone.
    """
    hour, minute = map(int, clock.split(":"))
    local = datetime.fromtimestamp(after / 1000, ZoneInfo(zone))
    # From the day before: a change at midnight may have brought its summary into this day.
    due = local.replace(hour=hour, minute=minute, second=0, microsecond=0, fold=0) - timedelta(days=1)
    while (time := _moment(due)) <= after:
        due += timedelta(days=1)
    return time


def _moment(local: datetime) -> int:
    """A local time as ms UTC, by the clocks before a change; no later than the end of its day."""
    time, zone = round(local.timestamp() * 1000), local.tzinfo

    def is_next_day(moment: int) -> bool:
        return datetime.fromtimestamp(moment / 1000, zone).date() > local.date()

    if is_next_day(time):  # left out by a change of the clocks at midnight
        before = round(local.replace(fold=1).timestamp() * 1000)
        while time - before > 1:
            middle = (before + time) // 2
            before, time = (before, middle) if is_next_day(middle) else (middle, time)
    return time


def daily_notice(
    trades: Sequence[Trade], *, run_id: str, day_end: int, equity: float | None = None, zone: str = "UTC"
) -> Notice:
    """Sum up a day.

    Args:
        trades: Trades closed within the day, in any order; may be empty.
        run_id: The run.
        day_end: Exclusive end of the day, ms UTC; the date told is that of the last millisecond before it.
        equity: Equity at the end, quote currency; None leaves the line out.
        zone: Time zone of the date told.

    Returns:
        The notice, with the id ``<run id>-daily-<date>-<day_end>``: where the summary's time or zone is changed, two of
        them may tell of one date.
    """
    date = datetime.fromtimestamp((day_end - 1) / 1000, ZoneInfo(zone)).strftime("%Y-%m-%d")
    total = math.fsum(t.net_pnl for t in trades)
    wins = sum(t.won for t in trades)
    fields = [("Date", date), ("Trades", str(len(trades)))]
    if trades:
        best = max(trades, key=lambda t: (t.net_pnl, t.id))
        worst = min(trades, key=lambda t: (t.net_pnl, t.id))
        fields += [
            ("Wins", f"{wins} of {len(trades)}"),
            ("Win rate", format_share(wins / len(trades))),
            ("PnL", format_money(total)),
            ("Best", f"{best.symbol} {format_money(best.net_pnl)}"),
            ("Worst", f"{worst.symbol} {format_money(worst.net_pnl)}"),
        ]
    if equity is not None:
        fields.append(("Equity", f"{equity:,.2f} USDT"))
    count = f"{len(trades)} trade" + ("" if len(trades) == 1 else "s")
    return Notice(
        id=f"{run_id}-daily-{date}-{day_end}",
        run_id=run_id,
        time=day_end,
        kind="daily",
        title=f"Day {date}: {count}, {format_money(total)}" if trades else f"Day {date}: no trades",
        fields=tuple(fields),
        tone=_tone(total),
    )


def alert_notice(
    code: str,
    title: str,
    *,
    run_id: str,
    time: int,
    fields: tuple[tuple[str, str], ...] = (),
    tone: str = "bad",
) -> Notice:
    """Tell something that a person should look at.

    Args:
        code: Short name of the situation, e.g. ``entries_halted``; one alert per code and time.
        title: One line: what happened and what slt did about it.
        run_id: The run.
        time: Event time, ms UTC.
        fields: Details, label and value.
        tone: ``bad``, ``neutral``, or ``good`` for an all-clear.

    Returns:
        The notice, with the id ``<run id>-alert-<code>-<time>``.
    """
    return Notice(
        id=f"{run_id}-alert-{code}-{time}",
        run_id=run_id,
        time=time,
        kind="alert",
        title=title,
        fields=(*fields, ("Time", format_time(time))),
        tone=tone,
    )


def digest_notice(notices: Sequence[Notice]) -> Notice:
    """Tell many notices in one: how many of each kind, then their titles, alerts before everything else.

    Args:
        notices: At least one, oldest first.

    Returns:
        A notice of the weightiest kind among them, with the id ``<id of the first>-digest-<count>``.
    """
    counts = {kind: sum(notice.kind == kind for notice in notices) for kind in NOTICE_KINDS}
    told = ", ".join(f"{count} {kind}" for kind, count in counts.items() if count)
    by_weight = sorted(notices, key=lambda notice: (-NOTICE_KINDS.index(notice.kind), -notice.time))
    shown = sorted(by_weight[:DIGEST_LINES], key=lambda notice: notice.time)
    fields = [(format_time(notice.time), notice.title) for notice in shown]
    if left := len(notices) - len(shown):
        fields.append(("…", f"{left} more"))
    return Notice(
        id=f"{notices[0].id}-digest-{len(notices)}",
        run_id=notices[0].run_id,
        time=notices[-1].time,
        kind=by_weight[0].kind,
        title=f"{len(notices)} notices that had to wait: {told}",
        fields=tuple(fields),
        tone="bad" if any(notice.kind == "alert" and notice.tone == "bad" for notice in notices) else "neutral",
    )


def _side(side: int) -> str:
    return "long" if side > 0 else "short"


def _level(level: float, entry: float) -> str:
    return f"{format_price(level)} ({(level / entry - 1.0) * 100.0:+.2f} %)"


def _tone(pnl: float) -> str:
    if not math.isfinite(pnl) or not round(pnl, 2):
        return "neutral"
    return "good" if pnl > 0 else "bad"
