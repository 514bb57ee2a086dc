from __future__ import annotations

import json
import re
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.errors import ConfigError, PluginError, RetryLaterError
from slt.testing import NotifierConformance
from slt.testing.notifiers import SILENCE, Answer, ChannelServer, make_notice
from slt_notifiers._text import length
from slt_notifiers.discord import DiscordNotifier, DiscordNotifierConfig, embed_of

PATH = "/api/webhooks/1234567890/wEbHoOk-ToKeN_0123456789"


def plain(text):
    return re.sub(r"\\([^0-9A-Za-z\s])", r"\1", text)


class TestDiscordConformance(NotifierConformance):
    ok = Answer(200, {"id": "1"})

    def make_notifier(self, base_url):
        return DiscordNotifier(DiscordNotifierConfig())

    def secrets(self, base_url):
        return {"DISCORD_WEBHOOK_URL": base_url + PATH}

    def received(self, body):
        (embed,) = json.loads(body)["embeds"]
        return plain("\n".join([embed["title"], *(f"{f['name']} {f['value']}" for f in embed["fields"])]))

    def busy(self, seconds):
        return Answer(429, {"message": "You are being rate limited.", "retry_after": seconds, "global": False})


@pytest.fixture
async def server(monkeypatch):
    async with ChannelServer(Answer(200, {"id": "1"})) as one:
        monkeypatch.setenv("DISCORD_WEBHOOK_URL", one.url + PATH)
        yield one


@pytest.fixture
async def discord(server):
    notifier = DiscordNotifier(DiscordNotifierConfig())
    await notifier.slt_open_notifier()
    yield notifier
    await notifier.slt_close_notifier()


async def test_discord_request_asks_for_confirmation_and_mentions_nobody(discord, server):
    await discord.slt_send_notice(make_notice())
    ((path, headers, body),) = server.requests
    assert path == PATH + "?wait=true"
    assert headers["Content-Type"] == "application/json"
    assert json.loads(body)["allowed_mentions"] == {"parse": []}


async def test_discord_webhook_with_a_thread_keeps_it(server, monkeypatch):
    monkeypatch.setenv("DISCORD_WEBHOOK_URL", server.url + PATH + "?thread_id=77")
    notifier = DiscordNotifier(DiscordNotifierConfig())
    await notifier.slt_open_notifier()
    await notifier.slt_send_notice(make_notice())
    await notifier.slt_close_notifier()
    assert server.requests[0][0] == PATH + "?thread_id=77&wait=true"


async def test_discord_base_url_replaces_scheme_host_and_port(server, monkeypatch):
    monkeypatch.setenv("MY_HOOK", "https://discord.com" + PATH)
    notifier = DiscordNotifier(DiscordNotifierConfig(webhook_env="MY_HOOK", base_url=server.url))
    await notifier.slt_open_notifier()
    await notifier.slt_send_notice(make_notice())
    await notifier.slt_close_notifier()
    assert server.requests[0][0] == PATH + "?wait=true"


async def test_discord_204_confirms(discord, server):
    server.script.append(Answer(204))
    await discord.slt_send_notice(make_notice())


async def test_discord_429_body_counts_before_the_header(discord, server):
    server.script.append(Answer(429, {"retry_after": 1.337}, {"Retry-After": "2"}))
    server.script.append(Answer(429, None, {"Retry-After": "7"}))
    server.script.append(Answer(429, {"retry_after": "soon"}, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}))
    waits = []
    for _ in range(3):
        with pytest.raises(RetryLaterError) as caught:
            await discord.slt_send_notice(make_notice())
        waits.append(caught.value.seconds)
    assert waits == [1.337, 7.0, 5.0]


async def test_discord_retry_after_may_be_a_date(discord, server):
    date = format_datetime(datetime.now(UTC) + timedelta(hours=2), usegmt=True)
    server.script.append(Answer(429, None, {"Retry-After": date}))
    with pytest.raises(RetryLaterError) as caught:
        await discord.slt_send_notice(make_notice())
    assert 3600.0 < caught.value.seconds <= 7200.0


async def test_discord_that_is_away_for_a_while_and_says_how_long_is_left_alone_so_long(discord, server):
    server.script.append(Answer(503, None, {"Retry-After": "120"}))
    with pytest.raises(RetryLaterError) as caught:
        await discord.slt_send_notice(make_notice())
    assert caught.value.seconds == 120.0


@pytest.mark.parametrize(("status", "may_be_taken"), [(500, True), (502, True), (503, False), (504, True)])
async def test_discord_server_error_says_whether_the_message_may_have_been_taken(discord, server, status, may_be_taken):
    server.script.append(Answer(status, {"message": "no"}))
    with pytest.raises(ConnectionError, match=f"HTTP {status}") as caught:
        await discord.slt_send_notice(make_notice())
    assert isinstance(caught.value, ConnectionResetError) is may_be_taken


async def test_discord_deleted_webhook_says_what_to_do(discord, server):
    server.script.append(Answer(404, {"message": "Unknown Webhook", "code": 10015}))
    with pytest.raises(ConfigError) as caught:
        await discord.slt_send_notice(make_notice())
    assert str(caught.value) == (
        "notifiers.discord.webhook_env: Discord refuses the webhook in `DISCORD_WEBHOOK_URL` (HTTP 404); it is wrong "
        "or was deleted: make a new one in the channel's settings"
    )


async def test_discord_refused_message_is_not_worth_a_retry(discord, server):
    server.script.append(Answer(400, {"code": 50035, "message": "Invalid Form Body"}))
    with pytest.raises(PluginError, match=r"Discord refused the message \(HTTP 400, code 50035\)"):
        await discord.slt_send_notice(make_notice())


async def test_discord_silence_ends_at_the_timeout(server):
    notifier = DiscordNotifier(DiscordNotifierConfig(timeout_seconds=0.2))
    await notifier.slt_open_notifier()
    server.script.append(SILENCE)
    with pytest.raises(TimeoutError, match=r"Discord did not answer within 0\.2 s"):
        await notifier.slt_send_notice(make_notice())
    await notifier.slt_send_notice(make_notice())
    await notifier.slt_close_notifier()


async def test_discord_redirect_is_not_followed(discord, server):
    server.script.append(Answer(307, None, {"Location": server.url + "/elsewhere"}))
    with pytest.raises(PluginError):
        await discord.slt_send_notice(make_notice())
    assert len(server.requests) == 1


@pytest.mark.parametrize("value", ["not an address", "ftp://discord.com/x", "https://"])
async def test_discord_malformed_webhook_is_named_but_not_shown(monkeypatch, value):
    monkeypatch.setenv("DISCORD_WEBHOOK_URL", value)
    with pytest.raises(ConfigError, match="value of `DISCORD_WEBHOOK_URL` is no web address") as caught:
        await DiscordNotifier(DiscordNotifierConfig()).slt_open_notifier()
    assert f"`{value}`" not in str(caught.value)


async def test_discord_open_tells_every_problem_at_once(monkeypatch):
    monkeypatch.delenv("DISCORD_WEBHOOK_URL", raising=False)
    with pytest.raises(ConfigError) as caught:
        await DiscordNotifier(DiscordNotifierConfig(base_url="proxy")).slt_open_notifier()
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "notifiers.discord.webhook_env",
        "notifiers.discord.base_url",
    ]


async def test_discord_send_before_open_is_an_error():
    with pytest.raises(ConnectionError, match="the Discord notifier is not open"):
        await DiscordNotifier(DiscordNotifierConfig()).slt_send_notice(make_notice())


def test_discord_embed_shows_tone_and_time():
    embed = embed_of(make_notice(tone="bad", time=1_746_057_600_500))
    assert embed["color"] == 0xE74C3C
    assert embed["timestamp"] == "2025-05-01T00:00:00.500000+00:00"


def test_discord_embed_with_too_many_fields_counts_the_rest():
    fields = tuple((f"L{n}", f"v{n}") for n in range(30))
    assert len(embed_of(make_notice(fields=fields[:25]))["fields"]) == 25
    shown = embed_of(make_notice(fields=fields))["fields"]
    assert len(shown) == 25
    assert shown[-1]["value"] == "6 more"


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300) | st.builds(
    lambda character, times: character * times, st.sampled_from(["*", "a", "🚀", "\\", "\n"]), st.integers(0, 7000)
)


@given(texts, st.lists(st.tuples(texts, texts), max_size=40))
def test_discord_embed_keeps_every_limit_and_never_ends_in_half_an_escape(title, fields):
    embed = embed_of(make_notice(title=title, fields=tuple(fields), run_id=title[:500]))
    assert 1 <= length(embed["title"]) <= 256
    assert len(embed["fields"]) <= 25
    texts = [embed["title"], embed["footer"]["text"]]
    for one in embed["fields"]:
        assert 1 <= length(one["name"]) <= 256
        assert 1 <= length(one["value"]) <= 1024
        texts += [one["name"], one["value"]]
    assert sum(map(length, texts)) <= 6000
    for text in texts:
        assert re.fullmatch(r"(?:\\[\\*_~`|\[\]<>@#-]|[^\\*_~`|\[\]<>@#-])*", text, re.DOTALL) or text == texts[1]
