"""The outbox, a real notifier and a real server together: what is confirmed arrived once, in order."""

from __future__ import annotations

import asyncio
import json
import random

import pytest

from slt.notify import NoticesConfig, Outbox
from slt.testing.notifiers import CUT, SILENCE, Answer, ChannelServer, make_notice
from slt_notifiers.discord import DiscordNotifier, DiscordNotifierConfig
from slt_notifiers.telegram import TelegramNotifier, TelegramNotifierConfig

TITLES = [f"Notice {n}" for n in range(6)]


@pytest.fixture
async def discord_server(monkeypatch):
    async with ChannelServer(Answer(200, {"id": "1"})) as server:
        monkeypatch.setenv("DISCORD_WEBHOOK_URL", f"{server.url}/api/webhooks/1/hook-secret")
        yield server


@pytest.fixture
async def telegram_server(monkeypatch):
    monkeypatch.setenv("TELEGRAM_TOKEN", "1:token-secret")
    monkeypatch.setenv("TELEGRAM_CHAT_ID", "4242")
    async with ChannelServer(Answer(200, {"ok": True})) as server:
        yield server


async def test_outbox_over_http_brings_all_in_order_through_every_fault(discord_server, telegram_server, caplog):
    busy = Answer(429, {"retry_after": 0.05}, {"Retry-After": "1"})
    discord_server.script.extend([Answer(500), busy, CUT, Answer(204), SILENCE, Answer(503)])
    telegram_server.script.append(Answer(401, {"ok": False, "description": "Unauthorized"}))
    channels = {
        "discord": DiscordNotifier(DiscordNotifierConfig(timeout_seconds=0.2)),
        "telegram": TelegramNotifier(TelegramNotifierConfig(base_url=telegram_server.url)),
    }
    config = NoticesConfig(rate_limit_seconds=0.01, retry_seconds=0.01, send_timeout_seconds=2.0)
    outbox = Outbox(channels, config, is_backtest=False, rng=random.Random(7))
    await outbox.open()
    async with asyncio.TaskGroup() as group:
        group.create_task(outbox.run())
        for number, title in enumerate(TITLES):
            outbox.put(make_notice(number, title=title))
        assert await outbox.drain(10.0) == 0
    await outbox.close()
    titles = [json.loads(body)["embeds"][0]["title"] for _, _, body in discord_server.requests]
    assert titles == [TITLES[0]] * 4 + [TITLES[1]] * 3 + TITLES[2:]
    discord, telegram = outbox.status()
    assert (discord.delivered, discord.failed, discord.busy, discord.uncertain) == (6, 4, 1, 3)
    assert len(telegram_server.requests) == 1
    assert telegram.off is not None
    assert telegram.dropped == 6
    said = "\n".join(f"{r.getMessage()} {r.slt_fields}" for r in caplog.records)
    assert "hook-secret" not in said
    assert "token-secret" not in said
