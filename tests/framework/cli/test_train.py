from __future__ import annotations

import pytest
from click.testing import CliRunner

from slt.cli.root import root
from slt.errors import ConfigError

CONFIG = """
[run]
name = "t"
mode = "paper"
folder = "{folder}/runs"
[plugins]
feed = "synthetic"
storage = "memory"
features = ["ict"]
strategies = ["ema_cross"]
{model}
sizer = "fixed_risk"
notifiers = ["console"]
[feeds.synthetic]
days = 3
[features.ict]
warmup_candles = 300
[learning]
fit_every_trades = 5
[notifiers.console]
"""


def train(folder, *, model='model = "xgboost"', text=""):
    config = folder / "config.toml"
    config.write_text(CONFIG.format(folder=folder, model=model) + text)
    done = CliRunner().invoke(root, ["train", "--config", str(config)])
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return done.output


def test_train_replays_the_history_and_prints_the_versions(tmp_path):
    output = train(tmp_path)
    assert "model ema_cross v1: " in output
    assert "refused: too few samples" in output
    assert (tmp_path / "runs" / "t-001" / "report.html").exists()


def test_train_without_model_or_with_fits_switched_off_says_what_to_change(tmp_path):
    with pytest.raises(ConfigError) as caught:
        train(tmp_path, model="", text="[locks]\ndisable_model_training = true\n")
    assert str(caught.value).splitlines() == [
        "plugins.model: no model plugin is chosen, so nothing can be trained; name one",
        "locks.disable_model_training: fits are switched off; switch them on to train",
    ]
