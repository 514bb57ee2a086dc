from __future__ import annotations

import html
import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.errors import ConfigError, PluginError, RetryLaterError
from slt.testing import NotifierConformance
from slt.testing.notifiers import CUT, Answer, ChannelServer, make_notice
from slt_notifiers._text import fit, length
from slt_notifiers.telegram import TelegramNotifier, TelegramNotifierConfig, message_of

TOKEN = "123456789:AAF-token_0123456789abcdef"
TAKEN = Answer(200, {"ok": True, "result": {"message_id": 5}})


def plain(text):
    return html.unescape(re.sub(r"</?b>", "", text))


class TestTelegramConformance(NotifierConformance):
    ok = TAKEN

    def make_notifier(self, base_url):
        return TelegramNotifier(TelegramNotifierConfig(base_url=base_url))

    def secrets(self, base_url):
        return {"TELEGRAM_TOKEN": TOKEN, "TELEGRAM_CHAT_ID": "-1001234567890"}

    def received(self, body):
        return plain(json.loads(body)["text"])

    def busy(self, seconds):
        parameters = {"retry_after": int(seconds)}
        return Answer(429, {"ok": False, "error_code": 429, "parameters": parameters})


@pytest.fixture
async def server(monkeypatch):
    monkeypatch.setenv("TELEGRAM_TOKEN", TOKEN)
    monkeypatch.setenv("TELEGRAM_CHAT_ID", "42")
    async with ChannelServer(TAKEN) as one:
        yield one


@pytest.fixture
async def telegram(server):
    notifier = TelegramNotifier(TelegramNotifierConfig(base_url=server.url))
    await notifier.slt_open_notifier()
    yield notifier
    await notifier.slt_close_notifier()


async def test_telegram_request_names_bot_chat_and_html(telegram, server):
    await telegram.slt_send_notice(make_notice())
    ((path, _, body),) = server.requests
    assert path == f"/bot{TOKEN}/sendMessage"
    sent = json.loads(body)
    assert (sent["chat_id"], sent["parse_mode"]) == ("42", "HTML")
    assert sent["text"] == "🟢 <b>Closed long BTCUSDT</b>\nEntry: 94250\nExit: 95400"


async def test_telegram_base_url_with_a_path_is_kept(server):
    notifier = TelegramNotifier(TelegramNotifierConfig(base_url=server.url + "/proxy/"))
    await notifier.slt_open_notifier()
    await notifier.slt_send_notice(make_notice())
    await notifier.slt_close_notifier()
    assert server.requests[0][0] == f"/proxy/bot{TOKEN}/sendMessage"


async def test_telegram_429_without_parameters_uses_the_header(telegram, server):
    server.script.append(Answer(429, {"ok": False}, {"Retry-After": "9"}))
    with pytest.raises(RetryLaterError) as caught:
        await telegram.slt_send_notice(make_notice())
    assert caught.value.seconds == 9.0


@pytest.mark.parametrize(
    ("status", "description", "option"),
    [
        (401, "Unauthorized", "token_env"),
        (404, "Not Found", "token_env"),
        (403, "Forbidden: bot was blocked by the user", "chat_id_env"),
        (400, "Bad Request: chat not found", "chat_id_env"),
        (400, "Bad Request: group chat was upgraded to a supergroup chat", "chat_id_env"),
        (400, "Bad Request: need administrator rights in the channel chat", "chat_id_env"),
        (400, "Bad Request: have no rights to send a message", "chat_id_env"),
        (400, "Bad Request: CHAT_WRITE_FORBIDDEN", "chat_id_env"),
        (400, "Bad Request: PEER_ID_INVALID", "chat_id_env"),
    ],
)
async def test_telegram_refusal_names_the_option_to_repair(telegram, server, status, description, option):
    server.script.append(Answer(status, {"ok": False, "error_code": status, "description": description}))
    with pytest.raises(ConfigError, match=rf"^notifiers\.telegram\.{option}: Telegram .* \(HTTP {status}\)"):
        await telegram.slt_send_notice(make_notice())


@pytest.mark.parametrize("answer", [Answer(400, {"ok": False, "description": "can't parse entities"}), Answer(200, {})])
async def test_telegram_refused_message_is_not_worth_a_retry(telegram, server, answer):
    server.script.append(answer)
    with pytest.raises(PluginError, match=f"HTTP {answer.status}"):
        await telegram.slt_send_notice(make_notice())


async def test_telegram_cut_line_says_that_it_may_have_been_taken(telegram, server):
    server.script.append(CUT)
    with pytest.raises(ConnectionResetError, match="the connection to Telegram broke"):
        await telegram.slt_send_notice(make_notice())


async def test_telegram_server_away_is_a_plain_connection_error(server):
    notifier = TelegramNotifier(TelegramNotifierConfig(base_url="http://127.0.0.1:9"))
    await notifier.slt_open_notifier()
    with pytest.raises(ConnectionError, match="cannot connect to Telegram") as caught:
        await notifier.slt_send_notice(make_notice())
    await notifier.slt_close_notifier()
    assert not isinstance(caught.value, ConnectionResetError)
    assert caught.value.__context__ is None


async def test_telegram_open_tells_every_problem_at_once(monkeypatch):
    monkeypatch.delenv("TELEGRAM_TOKEN", raising=False)
    monkeypatch.setenv("TELEGRAM_CHAT_ID", " ")
    with pytest.raises(ConfigError) as caught:
        await TelegramNotifier(TelegramNotifierConfig(base_url="api")).slt_open_notifier()
    assert [problem.partition(":")[0] for problem in caught.value.problems] == [
        "notifiers.telegram.token_env",
        "notifiers.telegram.chat_id_env",
        "notifiers.telegram.base_url",
    ]


texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=300) | st.builds(
    lambda character, times: character * times, st.sampled_from(["<", "a", "🚀", "&"]), st.integers(0, 7000)
)


@given(texts, st.lists(st.tuples(texts, texts), max_size=40))
def test_telegram_message_keeps_the_limit_and_is_valid_html(title, fields):
    message = message_of(make_notice(title=title, fields=tuple(fields)))
    assert 1 <= length(plain(message)) <= 4096
    assert re.fullmatch(r"[^<>&]*<b>(?:[^<>&]|&(?:amp|lt|gt);)*</b>(?:[^<>&]|&(?:amp|lt|gt);)*", message)


def test_telegram_message_counts_the_lines_that_find_no_room():
    message = message_of(make_notice(fields=tuple((f"L{n}", "x" * 900) for n in range(10))))
    assert message.endswith("\n… 6 more")


@given(texts, st.integers(1, 400))
def test_fit_is_within_the_limit_and_opens_like_the_text(text, limit):
    cut = fit(text, limit)
    assert length(cut) <= limit
    assert cut == text or (cut.endswith("…") and text.startswith(cut[:-1]))
