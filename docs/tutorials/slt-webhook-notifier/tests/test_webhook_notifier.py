"""What every notifier must do, and what this one does."""

from __future__ import annotations

import json
from importlib.metadata import entry_points

import pytest

from slt.errors import ConfigError
from slt.testing import NotifierConformance
from slt.testing.notifiers import Answer, ChannelServer, make_notice
from slt_webhook_notifier import WebhookNotifier, WebhookNotifierConfig


class TestConformance(NotifierConformance):
    """The kit: one notice is one message, secrets stay secret, faults are told apart."""

    ok = Answer(204)
    permanent = (401, 403, 404, 410)

    def make_notifier(self, base_url):
        return WebhookNotifier(WebhookNotifierConfig())

    def secrets(self, base_url):
        return {"WEBHOOK_URL": f"{base_url}/hook/s3cret-token"}

    def received(self, body):
        message = json.loads(body)
        return "\n".join([message["title"], *(f"{label}: {value}" for label, value in message["fields"])])


def test_webhook_is_listed():
    (point,) = entry_points(group="slt.notifiers", name="webhook")
    assert point.dist.name == "slt-webhook-notifier"
    assert point.load() is WebhookNotifier


async def send(server, monkeypatch, notice):
    monkeypatch.setenv("WEBHOOK_URL", f"{server.url}/hook")
    notifier = WebhookNotifier(WebhookNotifierConfig())
    await notifier.slt_open_notifier()
    try:
        await notifier.slt_send_notice(notice)
    finally:
        await notifier.slt_close_notifier()


async def test_notice_arrives_as_json_with_its_id_as_key(monkeypatch):
    async with ChannelServer(Answer(204)) as server:
        await send(server, monkeypatch, make_notice())
        ((path, headers, body),) = server.requests
    assert path == "/hook"
    assert headers["Idempotency-Key"] == make_notice().id
    assert json.loads(body) == {
        "id": "demo-001-p1-close",
        "run_id": "demo-001",
        "time": 1_746_057_660_000,
        "kind": "close",
        "title": "Closed long BTCUSDT",
        "fields": [["Entry", "94250"], ["Exit", "95400"]],
        "tone": "good",
    }


async def test_address_without_scheme_is_refused(monkeypatch):
    monkeypatch.setenv("WEBHOOK_URL", "example.com/hook")
    with pytest.raises(ConfigError, match="is no web address"):
        await WebhookNotifier(WebhookNotifierConfig()).slt_open_notifier()
