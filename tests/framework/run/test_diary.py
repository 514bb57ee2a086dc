from __future__ import annotations

import io
import json

import pytest
from attrs import evolve

from slt.events import Notify, StartFit, Store, UseModel
from slt.log import LogConfig, configure_logging
from slt.notices import alert_notice
from slt.run.diary import Diary
from slt.testing.notifiers import make_notice
from slt.testing.storage import RECORD_KINDS, make_record
from slt.types import OrderIntent, Trade


@pytest.fixture
def lines(tmp_path):
    stream = io.StringIO()

    def lines(commands, **config):
        with configure_logging(LogConfig(**config), terminal=False, file=None, stream=stream, environment={}):
            Diary().tell(commands)
        return [json.loads(line) for line in stream.getvalue().splitlines()]

    return lines


def test_closed_trade_is_a_line_of_profit(lines):
    trade = make_record(Trade, 1)
    (line,) = lines([Store(trade)])
    assert (line["category"], line["level"], line["event"]) == ("profit", "info", "trade closed")
    assert (line["symbol"], line["exit"], line["time"]) == (trade.symbol, trade.exit, trade.exit_time)


def test_alert_is_a_safety_line_that_no_level_hides(lines):
    notice = alert_notice("x", "A plugin failed", run_id="t-001", time=5, fields=(("Detail", "why"), ("Event", "odd")))
    levels = dict.fromkeys(("lifecycle", "error", "execution"), "critical")
    (line,) = lines([Notify(notice)], **levels)
    assert (line["event"], line["safety"], line["detail"], line["event_"]) == ("A plugin failed", True, "why", "odd")


def test_opened_position_and_day_are_told_and_a_close_is_left_to_the_trade(lines):
    notices = [make_notice(1, kind=kind, fields=(("Entry", "94250"),)) for kind in ("open", "close", "daily")]
    found = [(line["category"], line["event"]) for line in lines(map(Notify, notices))]
    assert found == [("execution", "position opened"), ("profit", "day ended")]


def test_every_kind_of_record_can_be_told_and_the_rest_is_for_the_file(lines):
    records = [Store(make_record(kind, 1)) for kind in RECORD_KINDS]
    assert [line["event"] for line in lines(records)] == ["trade closed"]
    debug = dict.fromkeys(("learning", "profit", "execution"), "debug")
    found = [line["event"] for line in lines(records, **debug)][1:]
    assert {"equity", "position stored", "sample", "model stored"} <= set(found)


def test_order_is_told_by_its_status(lines):
    order = evolve(make_record(OrderIntent, 1), status="rejected", note="too small")
    (line,) = lines([Store(order)], execution="debug")
    assert (line["event"], line["note"]) == ("order rejected", "too small")


def test_model_in_force_is_told_and_other_commands_are_not(lines):
    (line,) = lines([UseModel(5, "ict_smc", 3, b"bytes"), StartFit(None)])
    assert (line["category"], line["event"], line["version"]) == ("learning", "model in force", 3)
