"""What `slt run` says at its end."""

from __future__ import annotations

from contextlib import nullcontext

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
