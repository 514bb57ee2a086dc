"""The top of the report: what must be known before any figure, and the key figures."""

from __future__ import annotations

from typing import TYPE_CHECKING

from slt.report.interim import build_interim_banner
from slt.report.text import duration, escape, integer, money, multiple, percent, signed, tone, utc
from slt.statistics import check_accounting

if TYPE_CHECKING:
    from slt.report.data import ReportData
    from slt.statistics import Summary

__all__ = ["build_banners", "build_tiles"]


def build_banners(data: ReportData) -> str:
    """What a reader must know before any figure."""
    banners = [build_interim_banner(data.summary)]
    if data.summary.is_synthetic:
        banners.append(
            '<p class="banner" role="note"><strong>Synthetic market.</strong> The candles were made by a program, '
            "not recorded from an exchange. The results show that the system works; they say nothing about profit on "
            "a real market.</p>"
        )
    accounting = check_accounting(data.summary)
    if not accounting.closes:
        banners.append(
            '<p class="banner" role="alert"><strong>The accounts do not close.</strong> The final equity differs by '
            f"{accounting.difference:.9f} {escape(data.summary.currency)} from the initial equity and the results of "
            "the trades. Do not rely on the figures below; please report this with the run's logs.</p>"
        )
    return "".join(banners)


def build_tiles(data: ReportData) -> str:
    """The key figures."""
    tiles = [*_money_tiles(data.summary), *_trade_tiles(data.summary), *_ratio_tiles(data.summary)]
    return f'<dl class="tiles">{"".join(tiles)}</dl>'


def _money_tiles(s: Summary) -> list[str]:
    fall, relative = s.max_drawdown, s.max_drawdown_relative
    change = ("+" if s.net_return is not None and s.net_return > 0 else "") + percent(s.net_return, 2)
    when = f"from {utc(relative.peak_time)} to {utc(relative.trough_time)}"
    lowest = f"{money(fall.amount, s.currency)}; {when}" if relative.amount else "the equity never fell"
    still_open = []
    if s.interim is not None:
        note = f"{integer(len(s.interim.positions))} open positions, realised and unrealised"
        still_open = [_tile("Open PnL", signed(s.open_pnl), note, unit=s.currency, style=tone(s.open_pnl))]
    equity = "Final equity" if s.interim is None else "Equity so far"
    return [
        _tile("Net PnL", signed(s.net_pnl), "after fees and funding", unit=s.currency, style=tone(s.net_pnl)),
        *still_open,
        _tile(equity, money(s.final_equity), f"{change} on {money(s.initial_equity)}", unit=s.currency),
        _tile("Max drawdown", percent(relative.fraction, 2), lowest),
    ]


def _trade_tiles(s: Summary) -> list[str]:
    reach = f"95 % interval {percent(s.win_rate_low)} to {percent(s.win_rate_high)}" if s.trades else "no trades"
    expectancy = multiple(s.expectancy_r) + (" R" if s.expectancy_r is not None else "")
    ends = f"{money(s.average_win)} / {money(s.average_loss)}"
    return [
        _tile("Trades", integer(s.trades), f"{integer(s.wins)} won, {integer(s.trades - s.wins)} lost"),
        _tile("Win rate", percent(s.win_rate), reach),
        _tile("Expectancy", expectancy, "a trade; 1 R = loss at the initial stop", style=tone(s.expectancy_r)),
        _tile("Profit factor", multiple(s.profit_factor), "profit of winners / loss of losers"),
        _tile("Mean win / loss", ends, f"{s.currency} a trade, after costs"),
    ]


def _ratio_tiles(s: Summary) -> list[str]:
    streak = f"mean; longest losing streak: {integer(s.longest_losing_streak)} trades"
    return [
        _tile("Sharpe", multiple(s.sharpe), f"{integer(s.days)} daily returns, annualised (365)"),
        _tile("Sortino", multiple(s.sortino), "the same, against falling days only"),
        _tile("Exposure", percent(s.exposure), "of the time with an open position"),
        _tile("Holding time", duration(s.average_holding_ms), streak),
    ]


def _tile(name: str, value: str, note: str, *, unit: str = "", style: str = "") -> str:
    small = f" <small>{escape(unit)}</small>" if unit else ""
    return (
        f'<div class="tile"><dt>{escape(name)}</dt><dd class="{style}">{_unbroken(value)}{small}</dd>'
        f'<dd class="note">{_unbroken(note)}</dd></div>'
    )


def _unbroken(text: str) -> str:
    return escape(text).replace(" %", "&nbsp;%")
