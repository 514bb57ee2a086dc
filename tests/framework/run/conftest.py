"""Whole runs of small configurations, in this process, on the synthetic market."""

from __future__ import annotations

import asyncio

import pytest
from attrs import evolve

from slt.config import read_config
from slt.run.execution import Observer, execute

CONFIG = """
[run]
name = "t"
folder = "{folder}/runs"
[plugins]
feed = "synthetic"
broker = "paper"
storage = "memory"
features = ["ict"]
strategies = ["ict_smc", "ema_cross"]
model = "xgboost"
sizer = "fixed_risk"
exits = ["total_loss", "time_stop", "partial_profit", "trailing_profit", "conviction_drop", "deep_loss", "invalidation"]
[feeds.synthetic]
days = {days}
planted_edge = 1.0
[features.ict]
warmup_candles = 300
[learning]
fit_every_trades = 30
[gate]
min_samples = 40
"""


class Runner:
    """Runs a configuration and keeps what it left."""

    def __init__(self, folder):
        self.folder = folder
        self.assembly = None
        self.blocks = 0

    def settings(self, days=3, text="", **sections):
        path = self.folder / "config.toml"
        path.write_text(CONFIG.format(folder=self.folder, days=days) + text)
        settings = read_config(path, {})
        changes = {name: evolve(getattr(settings, name), **options) for name, options in sections.items()}
        return evolve(settings, **changes)

    def run(self, settings, *, stop_after=None, skip=True, is_fresh=False):
        self.blocks = 0

        def keep(assembly):
            self.assembly = assembly

        def count(progress):
            self.blocks += 1

        observer = Observer(started=keep, progressed=count, stopping=lambda: self.blocks == stop_after)
        return asyncio.run(execute(settings, observer, is_fresh=is_fresh, skip=skip))


@pytest.fixture
def runner(tmp_path):
    return Runner(tmp_path)
