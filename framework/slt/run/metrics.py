"""A run's vitals as Prometheus metrics. Those in ``docs/reference/metrics.md``; names stay."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.registry import Collector, CollectorRegistry

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from prometheus_client.metrics_core import Metric

__all__ = ["CONTENT_TYPE", "collect_metrics", "render_metrics"]

CONTENT_TYPE = CONTENT_TYPE_LATEST

_GAUGES = (
    ("slt_health_score", "Health of the run, 0 (dead) to 100 (well).", "score"),
    ("slt_event_time_seconds", "Event time of the last bar, Unix seconds.", "event_time"),
    ("slt_open_positions", "Open positions.", "open_positions"),
    ("slt_equity", "Account equity, quote currency.", "equity"),
    ("slt_margin_in_use", "Initial margin of positions and entries under way, quote currency.", "margin_in_use"),
    ("slt_open_risk_ratio", "Share of the equity that is lost where every position goes to its stop.", "open_risk"),
    ("slt_loop_lag_seconds", "Most that the event loop was late in the last minute.", "lag_seconds"),
    ("slt_memory_mebibytes", "Resident memory of the process.", "memory_mib"),
)
_STANDING = (
    ("slt_day_pnl", "Net PnL of the trades closed since 00:00 UTC, quote currency.", "day_pnl"),
    ("slt_day_trades", "Trades closed since 00:00 UTC.", "day_trades"),
    ("slt_recent_trades", "Newest trades that the two below are of, at most 100.", "recent_trades"),
    ("slt_recent_win_rate_low", "Lower bound of the 95 % interval of their win rate.", "recent_win_rate_low"),
    ("slt_recent_expectancy_r", "Their mean result in R.", "recent_expectancy_r"),
)
_WRITER = (
    ("slt_records_written", "Records that the storage has confirmed.", "written"),
    ("slt_storage_failures", "Failed tries to write to the storage.", "failures"),
    ("slt_journal_failures", "Failed tries to write to the journal.", "journal_failures"),
)
_CHANNEL_OUTCOMES = ("delivered", "failed", "busy", "uncertain", "duplicates", "dropped", "expired", "digests")
_STATES = {"running": 1.0}


def render_metrics(snapshot: Mapping[str, Any]) -> bytes:
    """All metrics of one moment in Prometheus' text format.

    Args:
        snapshot: As `slt.run.vitals.Vitals.snapshot` gives it.
    """
    registry = CollectorRegistry()
    registry.register(_Collector(snapshot))
    return generate_latest(registry)


def collect_metrics(snapshot: Mapping[str, Any]) -> list[Metric]:
    """All metrics of one moment.

    Args:
        snapshot: As `slt.run.vitals.Vitals.snapshot` gives it.
    """
    return list(_Collector(snapshot).collect())


class _Collector(Collector):
    def __init__(self, snapshot: Mapping[str, Any]) -> None:
        self._snapshot = snapshot

    def collect(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        yield InfoMetricFamily(
            "slt_run", "The run.", {"run": snapshot["run"], "mode": snapshot["mode"], "version": _version()}
        )
        yield _gauge("slt_up", "Whether the run is under way.", _STATES.get(snapshot["state"], 0.0))
        yield from _plain(_GAUGES, _in_seconds(snapshot))
        yield from _plain(_STANDING, snapshot["standing"])
        yield _counter("slt_trades", "Closed trades.", snapshot["trades"] or 0)
        yield from _health(snapshot)
        yield from _positions(snapshot["positions"])
        yield from _models(snapshot)
        yield _gauge("slt_writer_pending_records", "Records not confirmed yet.", snapshot["writer"]["pending"])
        for name, text, key in _WRITER:
            yield _counter(name, text, snapshot["writer"][key])
        if snapshot["cache"] is not None:
            yield from _cache(snapshot["cache"])
        yield from _channels(snapshot["channels"])
        if snapshot["feed"] is not None:
            yield from _feed(snapshot["feed"])


def _health(snapshot: Mapping[str, Any]) -> Iterator[Metric]:
    parts = ((part["name"], part["score"]) for part in snapshot["parts"])
    yield _by("slt_health_part_score", "Health of one part of the run, 0 to 100.", "part", parts)
    halts = ((source, 1.0) for source in snapshot["waits"])
    yield _by("slt_entries_halted", "1 for each source that keeps the run from taking entries.", "source", halts)
    late = ((loop["name"], loop["silent_seconds"]) for loop in snapshot["late_loops"])
    yield _by("slt_late_loop_seconds", "Silence of each supervised loop past its deadline.", "loop", late)


def _positions(positions: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    gain = GaugeMetricFamily("slt_position_gain_r", "Gain of an open position in R.", labels=["symbol", "side"])
    bare = 0
    for one in positions:
        gain.add_metric([one["symbol"], "long" if one["side"] > 0 else "short"], one["gain_r"])
        bare += not one["stop_resting"] and not one["closing"]
    yield gain
    yield _gauge("slt_unprotected_positions", "Open positions without a stop resting on the exchange.", bare)


def _models(snapshot: Mapping[str, Any]) -> Iterator[Metric]:
    models, now = snapshot["standing"]["models"], snapshot["event_time"]
    versions = ((one["strategy"], one["version"]) for one in models)
    yield _by("slt_model_version", "Model in force; a strategy without one is untrained.", "strategy", versions)
    if now is not None:
        ages = ((one["strategy"], max(now - one["fitted_time"], 0) / 1000) for one in models)
        yield _by("slt_model_age_seconds", "Event time since the model in force was fitted.", "strategy", ages)


def _cache(cache: Mapping[str, Any]) -> Iterator[Metric]:
    requests = CounterMetricFamily("slt_cache_requests", "Questions by the tier that answered.", labels=["tier"])
    for tier, key in (("memory", "memory_hits"), ("shared", "shared_hits"), ("storage", "misses")):
        requests.add_metric([tier], cache[key])
    yield requests
    yield _counter("slt_cache_failures", "Answers that the cache plugin owed.", cache["failures"])
    yield _gauge("slt_cache_paused", "Whether the cache plugin is left alone.", float(cache["is_paused"]))


def _channels(channels: Iterable[Mapping[str, Any]]) -> Iterator[Metric]:
    notices = CounterMetricFamily("slt_notices", "Notices and attempts by outcome.", labels=["channel", "outcome"])
    waiting = GaugeMetricFamily("slt_notices_waiting", "Notices queued or being sent.", labels=["channel"])
    off = GaugeMetricFamily("slt_channel_off", "Whether a channel is switched off.", labels=["channel"])
    for channel in channels:
        for outcome in _CHANNEL_OUTCOMES:
            notices.add_metric([channel["name"], outcome], channel[outcome])
        waiting.add_metric([channel["name"]], channel["waiting"])
        off.add_metric([channel["name"]], float(channel["off"] is not None))
    yield from (notices, waiting, off)


def _feed(feed: Mapping[str, Any]) -> Iterator[Metric]:
    connections = feed["connections"]
    up = ((one["name"], float(one["is_up"])) for one in connections)
    yield _by("slt_feed_up", "Whether a connection is up.", "connection", up)
    ages = ((one["name"], one["age_seconds"]) for one in connections if one["age_seconds"] is not None)
    yield _by("slt_feed_age_seconds", "Time since the last message of a connection.", "connection", ages)
    silent = ((one["name"], len(one["silent_symbols"])) for one in connections)
    yield _by("slt_feed_silent_symbols", "Symbols of a connection that say nothing.", "connection", silent)
    again = CounterMetricFamily("slt_feed_reconnects", "Reconnects by cause.", labels=["connection", "cause"])
    for one in connections:
        for cause, count in one["reconnects"].items():
            again.add_metric([one["name"], cause], count)
    yield again
    queued = ((str(number), count) for number, count in enumerate(feed["queued"], 1))
    yield _by("slt_feed_queued_frames", "Frames waiting in a queue.", "queue", queued)
    counted = CounterMetricFamily("slt_feed_events", "What came in, by kind.", labels=["kind"])
    for kind, count in feed["counters"].items():
        counted.add_metric([kind], count)
    yield counted


def _plain(rows: Iterable[tuple[str, str, str]], values: Mapping[str, Any]) -> Iterator[Metric]:
    for name, text, key in rows:
        if values[key] is not None:
            yield _gauge(name, text, values[key])


def _in_seconds(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    time = snapshot["event_time"]
    return {**snapshot, "event_time": None if time is None else time / 1000}


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value)


def _counter(name: str, text: str, value: float) -> CounterMetricFamily:
    return CounterMetricFamily(name, text, value)


def _by(name: str, text: str, label: str, rows: Iterable[tuple[str, float]]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, text, labels=[label])
    for key, value in rows:
        family.add_metric([key], value)
    return family


def _version() -> str:
    try:
        return version("selflearningtrader")
    except PackageNotFoundError:
        return "unknown"
