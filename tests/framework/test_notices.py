from __future__ import annotations

import math

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from slt.notices import (
    NOTICE_KINDS,
    NoticesConfig,
    alert_notice,
    close_notice,
    daily_notice,
    format_duration,
    format_money,
    format_price,
    format_quantity,
    format_share,
    format_time,
    open_notice,
)
from slt.types import Outlook, Position, Trade

MAY_1 = 1_746_057_600_000


@pytest.fixture
def position():
    return Position(
        id="run-001-p7",
        symbol="BTCUSDT",
        side=1,
        strategy="ict_smc",
        entry_time=MAY_1 + 90_000,
        entry_price=94_250.0,
        quantity=0.05,
        initial_quantity=0.05,
        initial_stop=93_500.0,
        stop=93_500.0,
        target=95_400.0,
        leverage=10,
        cost_rate=0.0006,
        entry_outlook=Outlook(MAY_1, 0.724, math.nan, math.nan, 0.61, {}),
    )


@pytest.fixture
def trade():
    return Trade(
        id="run-001-p7",
        run_id="run-001",
        symbol="DOGEUSDT",
        side=-1,
        strategy="ict_smc",
        reason="tier1",
        entry_time=MAY_1,
        exit_time=MAY_1 + 5_400_000,
        entry_price=0.17253,
        exit_price=0.17012,
        quantity=10_000.0,
        leverage=10,
        initial_stop=0.1741,
        target=0.1695,
        gross_pnl=24.1,
        fees=1.7,
        funding=0.0,
        slippage=0.2,
        net_pnl=22.4,
        r_multiple=1.4268,
        exit="trailing_profit",
        partial_exits=(),
        confidence=0.7,
        p_win=None,
        model_version=0,
        won=True,
    )


def test_open_notice_tells_everything_about_the_entry(position):
    notice = open_notice(position, run_id="run-001")
    assert (notice.id, notice.kind, notice.time, notice.tone) == (
        "run-001-p7-open",
        "open",
        position.entry_time,
        "neutral",
    )
    assert notice.title == "Opened long BTCUSDT at 94,250.00"
    assert dict(notice.fields) == {
        "Symbol": "BTCUSDT",
        "Side": "long",
        "Entry": "94,250.00",
        "Quantity": "0.05",
        "Leverage": "10x",
        "Confidence": "72.4 %",
        "Win probability": "61.0 %",
        "Stop": "93,500.00 (-0.80 %)",
        "Target": "95,400.00 (+1.22 %)",
        "Strategy": "ict_smc",
        "Time": "2025-05-01 00:01:30 UTC",
    }


def test_open_notice_without_outlook_says_unknown(position):
    fields = dict(open_notice(evolve(position, entry_outlook=None), run_id="r").fields)
    assert fields["Confidence"] == "unknown"
    assert "Win probability" not in fields


def test_close_notice_tells_everything_about_the_result(trade):
    notice = close_notice(trade)
    assert (notice.id, notice.run_id, notice.tone) == ("run-001-p7-close", "run-001", "good")
    assert notice.title == "Closed short DOGEUSDT: +22.40 USDT"
    assert dict(notice.fields) == {
        "Symbol": "DOGEUSDT",
        "Side": "short",
        "Entry": "0.17253",
        "Exit": "0.17012",
        "PnL": "+22.40 USDT (+1.43 R)",
        "Reason": "trailing_profit",
        "Held for": "1 h 30 min",
        "Time": "2025-05-01 01:30:00 UTC",
    }


@pytest.mark.parametrize(("pnl", "tone"), [(5.0, "good"), (-5.0, "bad"), (0.0, "neutral"), (-0.004, "neutral")])
def test_close_notice_tone_follows_the_money_shown(trade, pnl, tone):
    assert close_notice(evolve(trade, net_pnl=pnl)).tone == tone


def test_daily_notice_sums_the_day(trade):
    loser = evolve(trade, id="b", symbol="ETHUSDT", net_pnl=-30.0, won=False)
    small = evolve(trade, id="c", symbol="SOLUSDT", net_pnl=1.0)
    notice = daily_notice([trade, loser, small], run_id="run-001", day_end=MAY_1 + 86_400_000, equity=10_093.4)
    assert notice.id == f"run-001-daily-2025-05-01-{MAY_1 + 86_400_000}"
    assert notice.title == "Day 2025-05-01: 3 trades, -6.60 USDT"
    assert notice.tone == "bad"
    assert dict(notice.fields) == {
        "Date": "2025-05-01",
        "Trades": "3",
        "Wins": "2 of 3",
        "Win rate": "66.7 %",
        "PnL": "-6.60 USDT",
        "Best": "DOGEUSDT +22.40 USDT",
        "Worst": "ETHUSDT -30.00 USDT",
        "Equity": "10,093.40 USDT",
    }


def test_daily_notice_without_trades_says_so():
    notice = daily_notice([], run_id="r", day_end=MAY_1)
    assert notice.title == "Day 2025-04-30: no trades"
    assert dict(notice.fields) == {"Date": "2025-04-30", "Trades": "0"}


def test_daily_notice_of_another_end_has_another_id_though_its_date_is_the_same():
    evening, midnight = (daily_notice([], run_id="r", day_end=MAY_1 + hours * 3_600_000) for hours in (18, 24))
    assert evening.title == midnight.title == "Day 2025-05-01: no trades"
    assert evening.id != midnight.id


def test_daily_notice_does_not_depend_on_the_order_of_trades(trade):
    twins = [evolve(trade, id=name, symbol=name) for name in ("a", "b", "c")]
    notices = {daily_notice(order, run_id="r", day_end=MAY_1) for order in (tuple(twins), tuple(reversed(twins)))}
    assert len(notices) == 1


def test_alert_notice_has_an_id_of_code_and_time():
    notice = alert_notice(
        "entries_halted", "Entries halted: feed silent", run_id="r", time=MAY_1, fields=(("Feed", "61 s"),)
    )
    assert notice.id == f"r-alert-entries_halted-{MAY_1}"
    assert notice.fields == (("Feed", "61 s"), ("Time", "2025-05-01 00:00:00 UTC"))
    assert (notice.kind, notice.tone) == ("alert", "bad")


@pytest.mark.parametrize(
    ("price", "text"),
    [
        (104_250.126, "104,250.13"),
        (1000.0, "1,000.00"),
        (999.99999, "1000.0000"),
        (2.31, "2.3100"),
        (0.17253, "0.17253"),
        (0.00001234567, "0.000012346"),
        (0.0, "0.0000"),
        (math.nan, "unknown"),
    ],
)
def test_format_price_by_magnitude(price, text):
    assert format_price(price) == text


@given(st.floats(1e-12, 1e9))
def test_format_price_reads_back_within_half_a_unit_of_the_fifth_digit(price):
    text = format_price(price)
    assert "e" not in text
    assert float(text.replace(",", "")) == pytest.approx(price, rel=5.1e-5)


@pytest.mark.parametrize(
    ("amount", "text"),
    [(12.304, "+12.30 USDT"), (-1234.5, "-1,234.50 USDT"), (-0.004, "0.00 USDT"), (math.inf, "unknown")],
)
def test_format_money_has_sign_and_two_decimals(amount, text):
    assert format_money(amount) == text


@pytest.mark.parametrize(
    ("quantity", "text"), [(0.05, "0.05"), (10_000.0, "10,000"), (1e-8, "0.00000001"), (-1e-12, "0")]
)
def test_format_quantity_has_no_trailing_zeros(quantity, text):
    assert format_quantity(quantity) == text


@pytest.mark.parametrize(
    ("ms", "text"),
    [(-5, "0 s"), (45_000, "45 s"), (725_000, "12 min 5 s"), (7_200_000, "2 h"), (183_600_000, "2 d 3 h")],
)
def test_format_duration_in_its_two_largest_units(ms, text):
    assert format_duration(ms) == text


def test_format_share_signed_and_unknown():
    assert format_share(0.0123, signed=True) == "+1.2 %"
    assert format_share(-0.0001, signed=True) == "0.0 %"
    assert format_share(math.nan) == format_share(None) == "unknown"


def test_format_time_is_utc():
    assert format_time(MAY_1) == "2025-05-01 00:00:00 UTC"


def test_notices_config_refuses_unknown_kinds():
    assert NoticesConfig().kinds == NOTICE_KINDS
    assert NoticesConfig().in_backtest == ()
    with pytest.raises(ValueError, match="must be in"):
        NoticesConfig(kinds=("open", "weekly"))
