"""What Prometheus sees of a channel: all that it counts."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
from prometheus_client.parser import text_string_to_metric_families

from slt.notify import ChannelStatus
from slt.run.metrics import render_metrics

COUNTED = [field.name for field in attrs.fields(ChannelStatus) if field.type == "int" and field.name != "waiting"]
RULES = Path(__file__).parents[3] / "docs" / "how-to" / "slt-alerts.yml"


def metrics_of(channel):
    snapshot = {
        "run": "t-001", "mode": "paper", "state": "running", "score": 90.0, "waits": {}, "parts": [],
        "late_loops": [], "event_time": None, "trades": None, "equity": None, "open_positions": None,
        "margin_in_use": 0.0, "open_risk": 0.0, "lag_seconds": 0.0, "memory_mib": 1.0, "positions": [], "cache": None,
        "feed": None, "writer": {"pending": 0, "written": 0, "failures": 0, "journal_failures": 0},
        "standing": {"day_pnl": 0.0, "day_trades": 0, "recent_trades": 0, "recent_win_rate_low": 0.0,
                     "recent_expectancy_r": None, "models": []},
        "channels": [attrs.asdict(channel)],
    }  # fmt: skip
    families = text_string_to_metric_families(render_metrics(snapshot).decode())
    return [sample for family in families for sample in family.samples if "channel" in sample.labels]


def test_every_count_of_a_channel_is_a_metric():
    counts = {name: number for number, name in enumerate(COUNTED, 1)}
    found = metrics_of(ChannelStatus(name="telegram", waiting=77, off="wrong token", **counts))
    assert {sample.labels["channel"] for sample in found} == {"telegram"}
    told = {sample.labels["outcome"]: sample.value for sample in found if sample.name == "slt_notices_total"}
    assert told == {name: float(number) for name, number in counts.items()}
    rest = {sample.name: sample.value for sample in found if sample.name != "slt_notices_total"}
    assert rest == {"slt_notices_waiting": 77.0, "slt_channel_off": 1.0}


def test_outcomes_that_alert_rules_name_are_counted():
    named = re.findall(r'outcome="(\w+)"', RULES.read_text(encoding="utf-8"))
    assert named
    assert set(named) <= set(COUNTED)
