"""The last alert of a process whose loop stands still, sent from beside it."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import textwrap

from slt.testing.notifiers import Answer, ChannelServer

STUCK = textwrap.dedent("""
    import asyncio, sys, time
    from pathlib import Path
    from types import SimpleNamespace
    from slt.lifecycle import Watchdog
    from slt.loader import import_plugin
    from slt.notices import alert_notice
    from slt.run.last_words import tell_last

    def loaded(name):
        installed, cls = import_plugin("notifiers", name)
        return SimpleNamespace(installed=installed, name=name, config=cls.config_class())

    def tell(dump):
        notice = alert_notice("watchdog", "stood still", run_id="demo-001", time=0)
        print(tell_last([loaded("discord"), loaded("telegram"), loaded("console")], notice, 8.0), flush=True)

    async def main():
        dog = Watchdog(Path(sys.argv[1]), silence_seconds=1.0, beat_seconds=0.1, check_seconds=0.1, on_silence=tell)
        dog.start(asyncio.get_running_loop())
        asyncio.ensure_future(dog.heartbeat())
        await asyncio.sleep(1.5)
        print("stuck", flush=True)
        time.sleep(120)

    asyncio.run(main())
""")


async def test_stuck_process_dumps_its_stacks_tells_through_what_still_works_and_ends_with_70(tmp_path):
    async with ChannelServer(Answer(204)) as server:
        environment = os.environ | {"DISCORD_WEBHOOK_URL": f"{server.url}/api/webhooks/1/secret-word"}
        environment.pop("TELEGRAM_TOKEN", None)
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            STUCK,
            str(tmp_path / "watchdog.txt"),
            env=environment,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate()
        bodies = [json.loads(body) for _, _, body in server.requests]
    assert process.returncode == 70, err
    assert out.decode().splitlines() == ["stuck", "['discord', 'console']"]
    assert [body["embeds"][0]["title"] for body in bodies] == ["stood still"]
    assert "[alert] stood still" in err.decode()
    assert "thread MainThread" in (tmp_path / "watchdog.txt").read_text()
    assert "secret-word" not in err.decode() + (tmp_path / "watchdog.txt").read_text()
