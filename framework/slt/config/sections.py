"""The kernel's own sections of config.toml. Plugins bring theirs (``[<kind>.<name>]``)."""

from __future__ import annotations

from attrs import field, frozen
from attrs.validators import and_, ge, gt, in_, instance_of, le, lt, matches_re, min_len, or_

from slt.log import LogConfig
from slt.notices import NoticesConfig

__all__ = [
    "KERNEL_SECTIONS",
    "AccountConfig",
    "CacheConfig",
    "FeedConfig",
    "GateConfig",
    "HealthConfig",
    "LearningConfig",
    "LocksConfig",
    "LogConfig",
    "NoticesConfig",
    "PluginChoice",
    "RiskConfig",
    "RunConfig",
]

_share = and_(gt(0.0), le(1.0))


@frozen(kw_only=True)
class RunConfig:
    """The run as a whole.

    Attributes:
        name: Name of the run; results go to `folder`/`name`-001, -002, …
        mode: backtest (as fast as it can), paper (paced, simulated orders) or live (real orders).
        seed: Seed of everything random: fits, bootstraps, retry jitter.
        folder: Folder of results: journals, snapshots and reports.
        block_bars: Bars computed at once in a back-test; results do not depend on it, speed and memory do.
        speed: How many times faster than real time a recording is played in paper mode; 0 = as fast as it can.
        snapshot_seconds: Wall time between two snapshots; what a crash loses is done again, with the same result.
        equity_every_minutes: Distance between the points of the stored equity curve.
        certificates: Folder of the certificates that `slt audit` writes for feature sets and strategies.
        halt_entries_without_storage: Open no new positions while the storage is away, in paper and live mode.
        one_instance: Trade only while the storage's lock of the account is held; left out: in live mode alone.
        allow_uncertified: Trade live although a feature set or strategy has no certificate for its present code.
        confirm_live: Whether real orders are wanted; live mode refuses to start without it.
        strangers: Positions on the account that are not slt's: ignore, adopt (protect and manage them) or flatten.
        reconcile_minutes: Minutes between two comparisons of the books with the exchange's account.
        session_minutes: Minutes of a session log on a live feed, after which a new part begins with a snapshot.
        session_days: Days that the parts of a session log are kept.
        store_bars: Keep closed bars of a live feed in the storage, for warm starts.
        warm_days: Days of the past that a warm start on a live feed reads; 0 = start cold.
        warm_data: Candle files, folder or glob that a warm start reads before the stored bars; empty = none.
    """

    name: str = field(default="run", validator=matches_re(r"[A-Za-z0-9_.]{1,16}"))
    mode: str = field(default="backtest", validator=in_(("backtest", "paper", "live")))
    seed: int = field(default=1, validator=and_(ge(0), lt(2**31)))
    folder: str = field(default="runs", validator=min_len(1))
    block_bars: int = field(default=1440, validator=and_(ge(1), le(100_000)))
    speed: float = field(default=0.0, validator=ge(0.0))
    snapshot_seconds: float = field(default=5.0, validator=ge(0.0))
    equity_every_minutes: int = field(default=60, validator=ge(1))
    certificates: str = field(default="certificates", validator=min_len(1))
    halt_entries_without_storage: bool = False
    one_instance: bool | None = None
    allow_uncertified: bool = False
    confirm_live: bool = False
    strangers: str = field(default="ignore", validator=in_(("ignore", "adopt", "flatten")))
    reconcile_minutes: float = field(default=5.0, validator=and_(gt(0.0), le(1440.0)))
    session_minutes: float = field(default=60.0, validator=and_(gt(0.0), le(1440.0)))
    session_days: float = field(default=7.0, validator=gt(0.0))
    store_bars: bool = True
    warm_days: float = field(default=8.0, validator=and_(ge(0.0), le(400.0)))
    warm_data: str = ""


@frozen(kw_only=True)
class AccountConfig:
    """The simulated account; a real broker reports its own.

    Attributes:
        initial_equity: Wallet balance at the start of a back-test or paper run, USDT.
    """

    initial_equity: float = field(default=10_000.0, validator=gt(0.0))


@frozen(kw_only=True)
class RiskConfig:
    """Limits that every entry must pass and every position obeys.

    Attributes:
        max_positions: Open positions (and entries under way) at the same time.
        max_daily_loss: Loss since 00:00 UTC, as a fraction of the equity then, that stops entries until the next day.
        cooldown_minutes: Minutes a symbol is left alone after a losing trade.
        max_cost_share: Highest round-trip cost (fees and slippage) as a share of the distance to the stop.
        max_loss_at_stop: Loss at the stop, costs included, as a fraction of equity, that caps the size.
        min_stop_fraction: Smallest distance to the stop as a fraction of the price; nearer stops are moved out to it.
        max_margin_per_position: Largest initial margin of one position as a fraction of equity.
        max_margin_in_use: Largest initial margin of all positions together as a fraction of equity.
        max_leverage: Highest leverage of any position.
        liquidation_stop_multiple: Liquidation must lie at least this many stop distances away from entry.
        margin_guard_threshold: Margin in use as a fraction of equity above which the worst loser is closed.
        margin_guard_cooldown_seconds: Wait between two closes by the margin guard.
        win_rate_trades: Closed trades whose win rate (Wilson lower bound) enters the leverage curve.
        stop_ack_seconds: Longest time, by the exchange's clock, that part of a position may have no acknowledged
            stop; then it is closed.
        p_win_confidence: Size on the lower bound of p_win at this one-sided confidence (0.5 to 1); 0 = on p_win itself.
    """

    max_positions: int = field(default=5, validator=ge(1))
    max_daily_loss: float = field(default=0.03, validator=_share)
    cooldown_minutes: int = field(default=15, validator=ge(0))
    max_cost_share: float = field(default=0.25, validator=_share)
    max_loss_at_stop: float = field(default=0.01, validator=_share)
    min_stop_fraction: float = field(default=0.003, validator=and_(gt(0.0), lt(0.5)))
    max_margin_per_position: float = field(default=0.10, validator=_share)
    max_margin_in_use: float = field(default=0.50, validator=_share)
    max_leverage: int = field(default=20, validator=and_(ge(1), le(125)))
    liquidation_stop_multiple: float = field(default=1.5, validator=ge(1.0))
    margin_guard_threshold: float = field(default=0.85, validator=_share)
    margin_guard_cooldown_seconds: int = field(default=120, validator=ge(0))
    win_rate_trades: int = field(default=100, validator=ge(1))
    stop_ack_seconds: float = field(default=5.0, validator=and_(gt(0.0), le(3600.0)))
    p_win_confidence: float = field(default=0.0, validator=[ge(0.0), lt(1.0), or_(le(0.0), ge(0.5))])


@frozen(kw_only=True)
class LearningConfig:
    """When the learner fits, on what, and what a challenger must show before it trades.

    Attributes:
        fit_every_trades: Closed trades between two fits.
        label: What trains: barrier (the fixed stop, target or time limit on real candles) or trade (as traded).
        horizon_minutes: Time limit of the barrier.
        effect_delay_minutes: Event time between the trigger of a fit and the candle close its result takes effect at.
        shadow_fit_after_days: Days without a closed trade after which resolved shadows trigger a fit; 0 = never.
        shadow_fit_count: Newly resolved shadows that such a fit needs.
        max_samples: Most recent samples kept for fitting.
        start_model: What a new run begins with: none (UNTRAINED) or latest (what earlier runs of this name left).
        start_samples: What a new run fits on besides its own: none, or latest (those of earlier runs of this name).
        demotion_window: Last decisions of a model, trades and shadows, that it is judged by in use; 0 = never demoted.
        demotion_min_decisions: Decisions with a known outcome before a model is judged in use.
        demotion_level: Greatest p-value of the one-sided test that its log-loss is worse than the base rate's.
        max_feature_drift: Greatest population stability index of the features in use against the fit's; 0 = any.
        fit_timeout_seconds: Wall time after which a fit is given up; the champion stays.
        fit_memory_mb: Memory limit of the process that fits, MiB.
    """

    fit_every_trades: int = field(default=50, validator=ge(1))
    label: str = field(default="barrier", validator=in_(("barrier", "trade")))
    horizon_minutes: int = field(default=120, validator=ge(1))
    effect_delay_minutes: int = field(default=5, validator=ge(1))
    shadow_fit_after_days: int = field(default=3, validator=ge(0))
    shadow_fit_count: int = field(default=50, validator=ge(1))
    max_samples: int = field(default=10_000, validator=ge(100))
    start_model: str = field(default="none", validator=in_(("none", "latest")))
    start_samples: str = field(default="none", validator=in_(("none", "latest")))
    demotion_window: int = field(default=200, validator=ge(0))
    demotion_min_decisions: int = field(default=100, validator=ge(20))
    demotion_level: float = field(default=0.01, validator=and_(gt(0.0), lt(1.0)))
    max_feature_drift: float = field(default=1.0, validator=ge(0.0))
    fit_timeout_seconds: float = field(default=120.0, validator=gt(0.0))
    fit_memory_mb: int = field(default=2048, validator=ge(256))


@frozen(kw_only=True)
class GateConfig:
    """When a challenger may replace what is in force.

    Attributes:
        min_samples: Resolved samples to fit on before anything is fitted.
        min_per_outcome: Wins and losses that a training part must each hold.
        folds: Consecutive parts of the later samples, each predicted by a model fitted on what came before.
        first_train_share: Share of the samples before the first of these parts; at least half of `min_samples`.
        embargo_minutes: Minutes between the last outcome trained on and the first prediction; at least 120.
        min_scored: Later samples that must have been predicted.
        significance_level: Greatest p-value of the one-sided tests (log-loss and Brier) against base rate and champion.
        min_log_loss_gain: Least mean gain in log-loss over the base rate, in nats, whatever the p-value.
        min_champion_scored: Later samples that the champion must have predicted too, to be compared with.
        min_taken: Later samples that the challenger would have taken.
        min_expected_r: Least lower bound of the mean net outcome of those it would have taken, in R.
        expected_r_confidence: One-sided confidence of that bound.
        bootstrap_draws: Resamples of the block bootstrap.
        calibration_bins: Bins of the stored calibration curve, equal in count.
        train_on_shadows: Fit on shadows too; they are always scored.
    """

    min_samples: int = field(default=100, validator=ge(20))
    min_per_outcome: int = field(default=10, validator=ge(2))
    folds: int = field(default=8, validator=[ge(1), le(50)])
    first_train_share: float = field(default=0.3, validator=[gt(0.0), lt(1.0)])
    embargo_minutes: float = field(default=120.0, validator=ge(120.0))
    min_scored: int = field(default=40, validator=ge(10))
    significance_level: float = field(default=0.05, validator=[gt(0.0), lt(1.0)])
    min_log_loss_gain: float = field(default=0.002, validator=ge(0.0))
    min_champion_scored: int = field(default=30, validator=ge(10))
    min_taken: int = field(default=20, validator=ge(1))
    min_expected_r: float = field(default=-0.05)
    expected_r_confidence: float = field(default=0.9, validator=[ge(0.5), lt(1.0)])
    bootstrap_draws: int = field(default=2_000, validator=ge(200))
    calibration_bins: int = field(default=10, validator=ge(2))
    train_on_shadows: bool = field(default=False, validator=instance_of(bool))


@frozen(kw_only=True)
class CacheConfig:
    """How long answers of the storage are kept, in memory and in the cache plugin.

    Attributes:
        entries: Answers kept in memory; beyond it the least recently used goes.
        memory_seconds: Longest time an answer stays in the memory of the run that writes; a write ends it at once.
        shared_seconds: Longest time an answer stays in the cache plugin, or in a command that cannot follow the run.
        budget_ms: Wait for the cache plugin after which the storage is asked instead.
        max_kib: Answers larger than this stay out of the cache plugin.
        failures: Failures in a row after which the cache plugin is left alone.
        pause_seconds: How long, at first; doubles with each failed try after it.
        max_pause_seconds: The longest such pause.
    """

    entries: int = field(default=1000, validator=and_(ge(1), le(1_000_000)))
    memory_seconds: float = field(default=600.0, validator=and_(gt(0.0), le(3600.0)))
    shared_seconds: float = field(default=5.0, validator=and_(ge(0.05), le(600.0)))
    budget_ms: float = field(default=50.0, validator=and_(gt(0.0), le(1000.0)))
    max_kib: int = field(default=1024, validator=and_(ge(1), le(65_536)))
    failures: int = field(default=3, validator=and_(ge(1), le(1000)))
    pause_seconds: float = field(default=1.0, validator=and_(gt(0.0), le(3600.0)))
    max_pause_seconds: float = field(default=60.0, validator=and_(gt(0.0), le(3600.0)))


@frozen(kw_only=True)
class HealthConfig:
    """Health of a paper or live run over HTTP: /healthz, /readyz and /metrics.

    Attributes:
        port: Port of the server; 0 = none.
        host: Address it listens on; anything but this machine's own needs a token.
        token_env: Environment variable with the token that requests from elsewhere must bear.
        memory_mb: Resident memory of the process at which its part of the score begins to fall, MiB.
        model_days: Age of a model in force at which its part of the score begins to fall, days.
    """

    port: int = field(default=9464, validator=and_(ge(0), le(65_535)))
    host: str = field(default="127.0.0.1", validator=min_len(1))
    token_env: str = field(default="SLT_HEALTH_TOKEN", validator=min_len(1))
    memory_mb: int = field(default=350, validator=ge(32))
    model_days: float = field(default=14.0, validator=gt(0.0))


@frozen(kw_only=True)
class LocksConfig:
    """Switches that also answer to environment variables of the same name in capitals.

    Attributes:
        disable_model_training: No fits; the champion keeps predicting.
        disable_websocket: No connection to an exchange: recorded feeds only, live mode refused.
        disable_rest_fallback: No polling in place of the event stream (nothing polls); books are still compared.
        relaxed_signal_mode: Whether strategies use their lower signal tiers; left out: yes, except in live mode.
    """

    disable_model_training: bool = False
    disable_websocket: bool = False
    disable_rest_fallback: bool = True
    relaxed_signal_mode: bool | None = None


@frozen(kw_only=True)
class FeedConfig:
    """How the candles of a live feed are received, watched, cut into waves and recorded.

    Attributes:
        deadline_seconds: After a bar's close, how long the wave waits for symbols that have not closed theirs.
        clock: What the deadline is measured on: receive (when frames came in) or events (the exchange's times in them).
        queue_slots: Frames that may wait for decoding, over all three queues.
        gather_ms: Between closes, how long a connection collects what comes before it is read, ms; saves CPU.
        silence_seconds: Time without any message after which a connection is made anew.
        symbol_silence_seconds: Time without a message of a symbol, while more than half speak, before it resubscribes.
        resubscribe_minutes: Least time between two resubscriptions of one symbol.
        silent_share: Share of a connection's symbols whose silence makes the connection anew.
        connect_seconds: Time that connecting and the handshake may take.
        ping_seconds: Time between pings; an answer that takes as long again ends the connection.
        backoff_ceiling_seconds: Longest wait between two attempts to connect.
        reconnect_hours: Age at which a connection is replaced, below the 24 h after which the exchange cuts it.
        overlap_seconds: How long the old connection goes on beside its replacement.
        review_minutes: Time between two looks at which symbols are listed, leave, or trade most; 0 = never.
        control_frames_per_second: Subscriptions sent in a second; the exchange takes 10 messages, pings included.
        record: Write every frame with its receive time to disk, for the feed `recording`.
        record_folder: Folder of the recordings; each run makes one of its own in it.
        record_mb: Size at which a recording goes on in a new file, MiB; each hour begins one too.
    """

    deadline_seconds: float = field(default=3.0, validator=and_(gt(0.0), le(50.0)))
    clock: str = field(default="receive", validator=in_(("receive", "events")))
    queue_slots: int = field(default=10_000, validator=ge(30))
    gather_ms: float = field(default=30.0, validator=and_(ge(0.0), le(1000.0)))
    silence_seconds: float = field(default=60.0, validator=gt(0.0))
    symbol_silence_seconds: float = field(default=180.0, validator=gt(0.0))
    resubscribe_minutes: float = field(default=10.0, validator=ge(0.0))
    silent_share: float = field(default=0.2, validator=_share)
    connect_seconds: float = field(default=10.0, validator=gt(0.0))
    ping_seconds: float = field(default=20.0, validator=gt(0.0))
    backoff_ceiling_seconds: float = field(default=60.0, validator=gt(0.0))
    reconnect_hours: float = field(default=23.5, validator=and_(gt(0.0), lt(24.0)))
    overlap_seconds: float = field(default=10.0, validator=ge(0.0))
    review_minutes: float = field(default=15.0, validator=ge(0.0))
    control_frames_per_second: float = field(default=5.0, validator=and_(gt(0.0), le(10.0)))
    record: bool = False
    record_folder: str = field(default="recordings", validator=min_len(1))
    record_mb: int = field(default=64, validator=ge(1))


@frozen(kw_only=True)
class PluginChoice:
    """The plugins of the run, by the names that ``slt plugins list`` shows.

    Attributes:
        feed: Where candles come from.
        broker: Where orders go.
        storage: Where trades, decisions, samples and models are kept.
        cache: Where answers asked for often are shared between processes; left out: in each one's memory only.
        features: What model and strategies see; the vector is the sets side by side in this order.
        strategies: Who proposes trades.
        model: Who learns from closed trades.
        sizer: Who says how big.
        exits: Who says when to leave, asked in this order.
        notifiers: Who tells people.
        services: What is started beside the run, in processes of their own, and ended with it.
    """

    feed: str
    broker: str = "paper"
    storage: str = "memory"
    cache: str | None = None
    features: tuple[str, ...] = ()
    strategies: tuple[str, ...] = field(validator=min_len(1))
    model: str | None = None
    sizer: str
    exits: tuple[str, ...] = ()
    notifiers: tuple[str, ...] = ()
    services: tuple[str, ...] = ()


KERNEL_SECTIONS: dict[str, type] = {
    "run": RunConfig,
    "account": AccountConfig,
    "plugins": PluginChoice,
    "feed": FeedConfig,
    "risk": RiskConfig,
    "learning": LearningConfig,
    "gate": GateConfig,
    "notices": NoticesConfig,
    "log": LogConfig,
    "cache": CacheConfig,
    "health": HealthConfig,
    "locks": LocksConfig,
}
"""Section name in config.toml to its class."""
