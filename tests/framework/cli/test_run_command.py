"""What `slt run` says at its end."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from slt.cli.run import carry_out
from slt.config import read_config
from slt.errors import StoppedError

CONFIG = """
[plugins]
feed = "synthetic"
strategies = ["ema_cross"]
sizer = "fixed_risk"
services = [{services}]
"""


@pytest.mark.parametrize(("services", "is_told"), [('"sandbox"', True), ("", False)])
def test_stopped_run_whose_exchange_ends_with_it_says_that_it_forgets(tmp_path, monkeypatch, services, is_told):
    async def stopped(*_, **__):
        raise StoppedError("run t-001 is stopped and saved; the same command resumes it")

    monkeypatch.setattr("slt.run.execution.execute", stopped)
    monkeypatch.setattr("slt.run.services.running_services", lambda _: nullcontext())
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(services=services))
    with pytest.raises(StoppedError, match=r"stopped and saved; the same command resumes it") as caught:
        carry_out(read_config(path), fresh=False)
    assert ("`--fresh` begins anew" in str(caught.value)) is is_told


@pytest.mark.parametrize(
    ("services", "is_resumed", "is_told"), [('"sandbox"', True, True), ('"sandbox"', False, False), ("", True, False)]
)
def test_resumed_run_whose_exchange_is_new_says_so_at_its_start(
    tmp_path, monkeypatch, capsys, services, is_resumed, is_told
):
    async def begun(settings, observer, **_):
        folder = SimpleNamespace(path=tmp_path, is_resumed=is_resumed, run_id="t-001")
        observer.started(SimpleNamespace(folder=folder, plugins=None, settings=settings))
        raise StoppedError("stopped")

    monkeypatch.setattr("slt.run.execution.execute", begun)
    monkeypatch.setattr("slt.run.services.running_services", lambda _: nullcontext())
    monkeypatch.setattr("slt.run.assembly.secret_names", lambda _: ())
    monkeypatch.setattr("slt.cli.progress._LineView.started", lambda *_: None)
    path = tmp_path / "config.toml"
    path.write_text(CONFIG.format(services=services))
    with pytest.raises(StoppedError):
        carry_out(read_config(path), fresh=False)
    told = "sandbox was started anew with this run and knows nothing of its earlier life"
    assert (told in capsys.readouterr().err) is is_told
    assert (told in (tmp_path / "slt.log").read_text()) is is_told
