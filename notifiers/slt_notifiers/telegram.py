"""Notices to a Telegram chat, by bot.

Reference: Telegram Bot API, "Making requests", "sendMessage", "HTML style", "ResponseParameters".
"""

from __future__ import annotations

import os
from html import escape
from typing import TYPE_CHECKING, Any

from attrs import field, frozen
from attrs.validators import and_, gt, le, min_len
from yarl import URL

from slt import hookimpl
from slt.errors import ConfigError, PluginError
from slt_notifiers._http import Reply, WebChannel, is_web_address
from slt_notifiers._text import fit, length

if TYPE_CHECKING:
    from slt.types import Notice

__all__ = ["TelegramNotifier", "TelegramNotifierConfig"]

_MARKS = {"good": "🟢", "bad": "🔴", "neutral": "🔵"}
_TITLE, _WHOLE = 512, 4096
_CHAT_FAULTS = (
    "chat not found",
    "chat_id is empty",
    "bot was kicked",
    "bot is not a member",
    "upgraded to a supergroup",
    "not enough rights",
    "no rights to send",
    "administrator rights",
    "chat_write_forbidden",
    "peer_id_invalid",
    "topic_closed",
)


@frozen(kw_only=True)
class TelegramNotifierConfig:
    """Options of `TelegramNotifier`.

    Attributes:
        token_env: Environment variable with the bot's token, a secret.
        chat_id_env: Environment variable with the chat: a number, or @name of a public channel.
        base_url: The Bot API server.
        timeout_seconds: Time for Telegram to confirm one message.
    """

    token_env: str = field(default="TELEGRAM_TOKEN", validator=min_len(1))
    chat_id_env: str = field(default="TELEGRAM_CHAT_ID", validator=min_len(1))
    base_url: str = field(default="https://api.telegram.org", validator=min_len(1))
    timeout_seconds: float = field(default=8.0, validator=and_(gt(0.0), le(600.0)))


class TelegramNotifier:
    """Sends notices to a Telegram chat through a bot.

    Args:
        config: See `TelegramNotifierConfig`.
    """

    config_class = TelegramNotifierConfig

    def __init__(self, config: TelegramNotifierConfig) -> None:
        self._config = config
        self._web = WebChannel("Telegram", config.timeout_seconds)
        self._url = URL()
        self._chat = ""

    @hookimpl
    async def slt_open_notifier(self) -> None:
        """Read token and chat from the environment and make the session.

        Raises:
            ConfigError: A variable is missing, or the server's address is none.
        """
        config = self._config
        token = os.environ.get(config.token_env, "").strip()
        self._chat = os.environ.get(config.chat_id_env, "").strip()
        problems = [
            f"notifiers.telegram.{option}: the environment variable `{name}` is not set; "
            f"put {what} there or take `telegram` out of plugins.notifiers"
            for option, name, what, value in (
                ("token_env", config.token_env, "the bot's token", token),
                ("chat_id_env", config.chat_id_env, "the chat's id", self._chat),
            )
            if not value
        ]
        if not is_web_address(config.base_url):
            problems.append(f"notifiers.telegram.base_url: `{config.base_url}` is no web address")
        if problems:
            raise ConfigError(*problems)
        self._url = URL(config.base_url) / f"bot{token}" / "sendMessage"
        self._web.open()

    @hookimpl
    async def slt_send_notice(self, notice: Notice) -> None:
        """Send one message and wait until Telegram has taken it.

        Raises:
            ConfigError: The token is wrong or revoked (401, 404), or the chat is unknown or closed to the bot.
            RetryLaterError: Telegram asked to wait (429, 503).
            PluginError: Telegram refused the message itself.
            ConnectionError: No connection, a broken one, or 5xx.
            TimeoutError: No answer in time.
        """
        body = {
            "chat_id": self._chat,
            "text": message_of(notice),
            "parse_mode": "HTML",
            "link_preview_options": {"is_disabled": True},
        }
        self._judge(await self._web.post(self._url, body))

    @hookimpl
    async def slt_close_notifier(self) -> None:
        """Close the session."""
        await self._web.close()

    def _judge(self, reply: Reply) -> None:
        if reply.status == 200 and reply.data.get("ok") is True:
            return
        parameters: Any = reply.data.get("parameters")
        reply.raise_if_busy(parameters.get("retry_after") if isinstance(parameters, dict) else None)
        said = str(reply.data.get("description", "")).lower()
        config = self._config
        if reply.status in (401, 404):
            raise ConfigError(
                f"notifiers.telegram.token_env: Telegram refuses the token in `{config.token_env}` "
                f"(HTTP {reply.status}); it is wrong or was revoked: ask @BotFather for the bot's token"
            )
        if reply.status == 403 or any(fault in said for fault in _CHAT_FAULTS):
            raise ConfigError(
                f"notifiers.telegram.chat_id_env: Telegram does not let the bot write to the chat in "
                f"`{config.chat_id_env}` (HTTP {reply.status}); check the id and that the bot is a member of it"
            )
        raise PluginError(f"Telegram refused the message (HTTP {reply.status})")


def message_of(notice: Notice) -> str:
    """The HTML text of a notice, escaped, at most 4096 characters; lines that find no room are counted in the last."""
    mark = _MARKS.get(notice.tone, _MARKS["neutral"])
    title = fit(notice.title or notice.kind, _TITLE)
    lines = [f"{mark} <b>{_escape(title)}</b>"]
    # Telegram counts what is left after its tags and entities are read, so the plain text is measured and cut.
    room = _WHOLE - length(f"{mark} {title}") - length("\n… 9999999 more")
    for index, (label, text) in enumerate(notice.fields):
        plain = fit(f"{label}: {text}", 1024)
        room -= length(plain) + 1
        if room < 0:
            lines.append(f"… {len(notice.fields) - index} more")
            break
        lines.append(_escape(plain))
    return "\n".join(lines)


def _escape(text: str) -> str:
    return escape(text, quote=False)
