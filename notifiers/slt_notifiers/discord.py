"""Notices to a Discord channel, by webhook.

Reference: Discord developer documentation, "Webhook resource: Execute Webhook", "Message: Embed limits", "Rate limits".
"""

from __future__ import annotations

import os
import re
from datetime import UTC, datetime
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

__all__ = ["DiscordNotifier", "DiscordNotifierConfig"]

_COLOURS = {"good": 0x2ECC71, "bad": 0xE74C3C, "neutral": 0x3498DB}
_TITLE, _NAME, _VALUE, _FIELDS, _WHOLE = 256, 256, 1024, 25, 6000
_BLANK = "\u200b"
_SPECIAL = re.compile(r"([\\*_~`|\[\]<>@#-])")


@frozen(kw_only=True)
class DiscordNotifierConfig:
    """Options of `DiscordNotifier`.

    Attributes:
        webhook_env: Environment variable with the webhook's address, a secret.
        base_url: Scheme and host to use in place of the webhook's own, e.g. of a proxy; leave out to keep them.
        timeout_seconds: Time for Discord to confirm one message.
    """

    webhook_env: str = field(default="DISCORD_WEBHOOK_URL", validator=min_len(1))
    base_url: str | None = None
    timeout_seconds: float = field(default=8.0, validator=and_(gt(0.0), le(600.0)))


class DiscordNotifier:
    """Sends notices to a Discord channel through a webhook, as embeds coloured by tone.

    Args:
        config: See `DiscordNotifierConfig`.
    """

    config_class = DiscordNotifierConfig

    def __init__(self, config: DiscordNotifierConfig) -> None:
        self._config = config
        self._web = WebChannel("Discord", config.timeout_seconds)
        self._url = URL()

    @hookimpl
    async def slt_open_notifier(self) -> None:
        """Read the webhook's address from the environment and make the session.

        Raises:
            ConfigError: The variable is missing or holds no web address.
        """
        config = self._config
        webhook = os.environ.get(config.webhook_env, "").strip()
        problems = []
        if not webhook:
            problems.append(
                f"notifiers.discord.webhook_env: the environment variable `{config.webhook_env}` is not set; "
                "put the webhook's address there or take `discord` out of plugins.notifiers"
            )
        elif not is_web_address(webhook):
            problems.append(
                f"notifiers.discord.webhook_env: the value of `{config.webhook_env}` is no web address; "
                "it should open with https://discord.com/api/webhooks/"
            )
        if config.base_url is not None and not is_web_address(config.base_url):
            problems.append(
                f"notifiers.discord.base_url: `{config.base_url}` is no web address; use e.g. `https://proxy.example`"
            )
        if problems:
            raise ConfigError(*problems)
        self._url = _address(webhook, config.base_url)
        self._web.open()

    @hookimpl
    async def slt_send_notice(self, notice: Notice) -> None:
        """Post one embed and wait until Discord has stored it (``?wait=true``).

        Raises:
            ConfigError: The webhook is wrong or was deleted (401, 403, 404).
            RetryLaterError: Discord asked to wait (429, 503).
            PluginError: Discord refused the message itself.
            ConnectionError: No connection, a broken one, or 5xx.
            TimeoutError: No answer in time.
        """
        body = {"embeds": [embed_of(notice)], "allowed_mentions": {"parse": []}}
        self._judge(await self._web.post(self._url, body))

    @hookimpl
    async def slt_close_notifier(self) -> None:
        """Close the session."""
        await self._web.close()

    def _judge(self, reply: Reply) -> None:
        if reply.status in (200, 204):
            return
        reply.raise_if_busy(reply.data.get("retry_after"))
        if reply.status in (401, 403, 404):
            raise ConfigError(
                f"notifiers.discord.webhook_env: Discord refuses the webhook in `{self._config.webhook_env}` "
                f"(HTTP {reply.status}); it is wrong or was deleted: make a new one in the channel's settings"
            )
        raise PluginError(f"Discord refused the message (HTTP {reply.status}, code {reply.data.get('code', 'none')})")


def embed_of(notice: Notice) -> dict[str, Any]:
    """The embed of a notice, escaped and within Discord's limits.

    Title and names hold 256 characters, values 1024, an embed 25 fields and 6000 characters; longer text ends in
    ``…``, and fields that find no room are counted in the last one.
    """
    title = fit(notice.title or notice.kind, _TITLE, _escape)
    moment = datetime.fromtimestamp(notice.time / 1000, UTC).isoformat()
    fields: list[dict[str, Any]] = []
    room = _WHOLE - length(title) - 100
    for index, (label, text) in enumerate(notice.fields):
        name, value = fit(label, _NAME, _escape) or _BLANK, fit(text, _VALUE, _escape) or _BLANK
        left = len(notice.fields) - index
        room -= length(name) + length(value)
        if room < 0 or (len(fields) == _FIELDS - 1 and left > 1):
            fields.append({"name": "…", "value": f"{left} more", "inline": False})
            break
        fields.append({"name": name, "value": value, "inline": len(text) <= 40})
    return {
        "title": title,
        "color": _COLOURS.get(notice.tone, _COLOURS["neutral"]),
        "fields": fields,
        "footer": {"text": fit(f"slt {notice.run_id}", 64)},
        "timestamp": moment,
    }


def _escape(text: str) -> str:
    return _SPECIAL.sub(r"\\\1", text)


def _address(webhook: str, base_url: str | None) -> URL:
    url = URL(webhook)
    if base_url is not None:
        base = URL(base_url)
        url = url.with_scheme(base.scheme).with_host(base.host or "").with_port(base.port)
    return url.update_query(wait="true")
