"""Notices as JSON to any web address: a chat bridge, a home server, a script of your own."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import aiohttp
from attrs import field, frozen, validators

from slt import hookimpl
from slt.errors import ConfigError, PluginError, RetryLaterError

if TYPE_CHECKING:
    from slt.types import Notice

__all__ = ["WebhookNotifier", "WebhookNotifierConfig"]

_DEFAULT_WAIT_SECONDS = 5.0


@frozen(kw_only=True)
class WebhookNotifierConfig:
    """Options of `WebhookNotifier`.

    Attributes:
        url_env: Environment variable with the address that takes the notices, a secret.
        timeout_seconds: Time for the service to confirm one notice.
    """

    url_env: str = field(default="WEBHOOK_URL", validator=validators.min_len(1))
    timeout_seconds: float = field(default=8.0, validator=[validators.gt(0), validators.le(600)])


class WebhookNotifier:
    """Posts each notice as a JSON object to a web address of your own.

    The object has the keys of `slt.types.Notice`; ``fields`` is a list of ``[label, value]``. Any 2xx answer confirms.
    The header ``Idempotency-Key`` holds the notice's id, so that a receiver can drop what a retry brings twice.

    Args:
        config: See `WebhookNotifierConfig`.
    """

    config_class = WebhookNotifierConfig

    def __init__(self, config: WebhookNotifierConfig) -> None:
        self._config = config
        self._url = ""
        self._session: aiohttp.ClientSession | None = None

    @hookimpl
    async def slt_open_notifier(self) -> None:
        """Read the address from the environment; see `slt.hookspecs.NotifierSpecs.slt_open_notifier`."""
        name = self._config.url_env
        self._url = os.environ.get(name, "").strip()
        if not self._url.startswith(("http://", "https://")):
            found = "is no web address" if self._url else "is not set"
            raise ConfigError(
                f"notifiers.webhook.url_env: the environment variable `{name}` {found}; "
                "put the address there, with https://, or take `webhook` out of plugins.notifiers"
            )
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._config.timeout_seconds))

    @hookimpl
    async def slt_send_notice(self, notice: Notice) -> None:
        """Post one notice; see `slt.hookspecs.NotifierSpecs.slt_send_notice`."""
        body = {
            "id": notice.id,
            "run_id": notice.run_id,
            "time": notice.time,
            "kind": notice.kind,
            "title": notice.title,
            "fields": [list(pair) for pair in notice.fields],
            "tone": notice.tone,
        }
        status, wait = await self._post(body, notice.id)
        if status == 429:
            raise RetryLaterError(wait)
        if status in (401, 403, 404, 410):
            raise ConfigError(
                f"notifiers.webhook.url_env: the service refuses the address in `{self._config.url_env}` "
                f"(HTTP {status}); correct the address"
            )
        if status >= 500:
            raise ConnectionError(f"the webhook answered HTTP {status}")
        if status >= 300:
            raise PluginError(f"the webhook refused the notice (HTTP {status})")

    @hookimpl
    async def slt_close_notifier(self) -> None:
        """Close the session; see `slt.hookspecs.NotifierSpecs.slt_close_notifier`."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _post(self, body: dict[str, Any], key: str) -> tuple[int, float]:
        """Post; returns the HTTP status and the seconds that a busy service asks to wait."""
        if self._session is None:
            raise ConnectionError("the webhook notifier is not open")
        try:
            async with self._session.post(
                self._url, json=body, headers={"Idempotency-Key": key}, allow_redirects=False
            ) as response:
                return response.status, _seconds(response.headers.get("Retry-After"))
        except TimeoutError:
            failure: Exception = TimeoutError(f"the webhook did not answer within {self._config.timeout_seconds:g} s")
        except (aiohttp.ClientError, OSError, ValueError) as error:
            failure = ConnectionError(f"the webhook cannot be reached ({type(error).__name__})")
        # Not raised in the handlers: an error's context is printed with it, and aiohttp's errors may hold the address.
        raise failure


def _seconds(text: str | None) -> float:
    """A Retry-After header in seconds; a few where it is missing or a date."""
    return float(text) if text is not None and text.isdecimal() else _DEFAULT_WAIT_SECONDS
