"""What a live run loads into its process: nothing heavy that it does not use."""

from __future__ import annotations

import subprocess
import sys
import textwrap

LIVE = """
    [run]
    mode = "live"
    confirm_live = true
    allow_uncertified = true
    [plugins]
    feed = "binance"
    broker = "binance"
    storage = "postgres"
    cache = "redis"
    features = ["ict"]
    strategies = ["ict_smc"]
    model = "xgboost"
    sizer = "kelly"
    exits = ["total_loss", "time_stop", "partial_profit", "trailing_profit", "conviction_drop", "deep_loss"]
    notifiers = ["console", "discord", "telegram"]
"""
CODE = """
import sys
from pathlib import Path
from slt.cli import main
from slt.config import read_config
from slt.loader import build_plugins
import slt.cli.run, slt.run.execution
plugins = build_plugins(read_config(Path(sys.argv[1]), {}))
plugins.features[0].hooks.slt_start_features(("BTCUSDT",), 60_000)
print(sorted({"pandas", "pyarrow", "sklearn", "plotly", "matplotlib"} & set(sys.modules)))
"""


def test_live_run_with_every_shipped_part_imports_no_pandas(tmp_path, monkeypatch):
    for name in ("DISCORD_WEBHOOK_URL", "TELEGRAM_TOKEN", "TELEGRAM_CHAT_ID", "REDIS_URL"):
        monkeypatch.setenv(name, {"REDIS_URL": "redis://127.0.0.1:1/0"}.get(name, "https://127.0.0.1/x"))
    config = tmp_path / "config.toml"
    config.write_text(textwrap.dedent(LIVE))
    done = subprocess.run(
        [sys.executable, "-c", CODE, str(config)],
        capture_output=True,
        text=True,
        check=False,
        timeout=180,
        cwd=tmp_path,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "[]"
