"""The configurations of exchange and run in a part of the week."""

from __future__ import annotations

import json

from ops_week import MAX_HOURS, READY_BARS

__all__ = ["run_text", "sandbox_text", "stop_ack_seconds"]

_STOP_ACK_WALL_S = 2.5
_SANDBOX = """
[services.sandbox]
port = 0
source = "synthetic"
speed = {speed}
seed = {seed}
clock = "market"
history_days = 0
wait_for_clients = 2
weight_per_minute = {weight}
[feeds.synthetic]
symbols = {symbols}
start = "{start}"
days = {days}
seed = {seed}
annual_volatility = 3.0
"""
_RUN = """
[run]
name = "c{seed}"
mode = "live"
confirm_live = true
allow_uncertified = true
folder = "{folder}/runs"
reconcile_minutes = 0.5
session_minutes = 0.1
equity_every_minutes = 60
warm_days = 1
[plugins]
feed = "binance"
broker = "binance"
storage = "postgres"
cache = "redis"
features = ["steady"]
strategies = ["coin"]
sizer = "fixed_risk"
exits = ["total_loss", "time_stop", "partial_profit", "trailing_profit"]
notifiers = ["telegram", "discord"]
[feed]
clock = "events"
gather_ms = 0
silence_seconds = 4
symbol_silence_seconds = 3
backoff_ceiling_seconds = 2
connect_seconds = 3
[feeds.binance]
rest_url = "{url}"
stream_url = "{stream}"
symbols = {symbols}
[brokers.binance]
rest_url = "{url}"
stream_url = "{stream}"
api_key_env = "SANDBOX_API_KEY"
api_secret_env = "SANDBOX_API_SECRET"
request_timeout_seconds = 3
event_timeout_seconds = 2
longest_backoff_seconds = 2
longest_pause_seconds = 3
recv_window_ms = 1000
keepalive_minutes = {keepalive}
[notifiers.telegram]
base_url = "{telegram}"
timeout_seconds = 2
[notifiers.discord]
timeout_seconds = 2
[notices]
rate_limit_seconds = 0.05
send_timeout_seconds = 2.5
retry_seconds = 0.2
retry_max_seconds = 1
max_attempts = 1000
[cache]
pause_seconds = 0.2
max_pause_seconds = 2
[features.steady]
bars = {ready}
lag_file = "{folder}/lag.txt"
[strategies.coin]
seed = {seed}
chance = 0.2
stop_fraction = 0.02
target_fraction = 0.03
[exits.time_stop]
max_hours = {hours}
[risk]
max_positions = 3
max_daily_loss = 1.0
cooldown_minutes = 0
max_cost_share = 1.0
stop_ack_seconds = {stop_ack}
[storages.postgres]
connect_timeout_seconds = 2
statement_timeout_seconds = 5
"""


def stop_ack_seconds(part):
    """Market seconds that a position may be without a stop: what the run needs for one is wall time."""
    return min(3600.0, _STOP_ACK_WALL_S * part.speed)


def sandbox_text(part):
    """The exchange's."""
    symbols = json.dumps(part.listed)
    weight = round(2_400 * max(1.0, part.speed / 60))  # starts come as fast as the market is played
    return _SANDBOX.format(
        speed=part.speed, seed=part.seed, symbols=symbols, start=part.start, days=part.days, weight=weight
    )


def run_text(part, folder, url, stream, telegram):
    """The run's."""
    return _RUN.format(
        seed=part.seed,
        folder=folder,
        url=url,
        stream=stream,
        symbols=json.dumps(part.symbols),
        telegram=telegram,
        keepalive=25 / part.speed,  # the key lives for an hour of the market
        ready=READY_BARS,
        hours=MAX_HOURS,
        stop_ack=stop_ack_seconds(part),
    )
