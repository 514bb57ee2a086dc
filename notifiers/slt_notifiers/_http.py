"""One message to one web service: sending, and telling apart what went wrong without ever showing the address.

The addresses of webhooks and bots are passwords. aiohttp's errors carry them, so none of its errors leaves this module,
not even as the context of another.
"""

from __future__ import annotations

import json
import math
import os
import time
from email.utils import parsedate_to_datetime
from typing import Any

import aiohttp
from attrs import frozen
from yarl import URL

from slt.errors import RetryLaterError

__all__ = ["Reply", "WebChannel", "is_web_address"]

_LONGEST_REPLY = 65_536
_DEFAULT_WAIT = 5.0


@frozen
class Reply:
    """What a web service answered.

    Attributes:
        status: HTTP status.
        headers: Header names in lower case to values.
        data: The JSON object of the body; empty where it was none.
    """

    status: int
    headers: dict[str, str]
    data: dict[str, Any]

    def raise_if_busy(self, asked: object) -> None:
        """Raise what a 429 asks for.

        Args:
            asked: Seconds to wait as the body says them; the ``Retry-After`` header counts where that is no number.

        Raises:
            RetryLaterError: The status is 429.
        """
        if self.status != 429:
            return
        seconds = _seconds(asked)
        if seconds is None:
            seconds = self.retry_after
        raise RetryLaterError(_DEFAULT_WAIT if seconds is None else seconds)

    @property
    def retry_after(self) -> float | None:
        """Seconds that the ``Retry-After`` header asks for, as a number or a date to come; None = it asks nothing."""
        header = self.headers.get("retry-after", "")
        seconds = _seconds(header)
        if seconds is not None:
            return seconds
        try:
            left = parsedate_to_datetime(header).timestamp() - time.time()
        except (ValueError, TypeError, OverflowError):
            return None
        return left if left > 0.0 else None


class WebChannel:
    """An HTTP session of one channel.

    Args:
        name: How messages call the service, e.g. ``Discord``.
        timeout_seconds: Time for one whole exchange.
    """

    def __init__(self, name: str, timeout_seconds: float) -> None:
        self._name = name
        self._timeout = timeout_seconds
        self._session: aiohttp.ClientSession | None = None

    def open(self) -> None:
        """Make the session; no connection is opened before the first message."""
        self._session = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=self._timeout))

    async def close(self) -> None:
        """Close the session; closing twice or without `open` is no error."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def post(self, url: URL, body: dict[str, Any]) -> Reply:
        """Send `body` as JSON. Redirects are not followed: they would carry the secret elsewhere.

        Raises:
            ConnectionResetError: The connection broke, or it answered 5xx, after the message may have been taken.
            ConnectionError: No connection, or it answered 503.
            RetryLaterError: It answered 503 and when to come again.
            TimeoutError: No answer in time; the message may have been taken.
        """
        if self._session is None:
            raise ConnectionError(f"the {self._name} notifier is not open")
        failure: Exception
        try:
            async with self._session.post(url, json=body, allow_redirects=False) as response:
                headers = {name.lower(): value for name, value in response.headers.items()}
                reply = Reply(response.status, headers, _object(await _beginning(response.content)))
                if reply.status < 500:
                    return reply
                failure = self._broken(reply)
        except TimeoutError:
            failure = TimeoutError(f"{self._name} did not answer within {self._timeout:g} s")
        except aiohttp.ClientConnectorError as error:
            failure = ConnectionError(f"cannot connect to {self._name} ({_cause(error)})")
        except (aiohttp.ClientError, OSError) as error:
            failure = ConnectionResetError(f"the connection to {self._name} broke ({_cause(error)})")
        except ValueError as error:
            failure = ConnectionError(f"{self._name} cannot be asked ({type(error).__name__})")
        # Raised here and not in the handlers: an error's context is printed with it, and the context holds the address.
        raise failure

    def _broken(self, reply: Reply) -> Exception:
        """What a 5xx means. Only 503 says that nothing was done with the message."""
        text = f"{self._name} answered HTTP {reply.status}"
        if reply.status != 503:
            return ConnectionResetError(text)
        return ConnectionError(text) if reply.retry_after is None else RetryLaterError(reply.retry_after)


def is_web_address(text: str) -> bool:
    """Whether `text` is an ``http`` or ``https`` address with a host."""
    try:
        url = URL(text)
    except (ValueError, TypeError):
        return False
    return url.scheme in ("http", "https") and bool(url.host)


async def _beginning(content: aiohttp.StreamReader) -> bytes:
    raw = b""
    while len(raw) < _LONGEST_REPLY and (chunk := await content.read(_LONGEST_REPLY - len(raw))):
        raw += chunk
    return raw


def _object(raw: bytes) -> dict[str, Any]:
    try:
        data = json.loads(raw)
    except ValueError:
        return {}
    return data if isinstance(data, dict) else {}


def _seconds(value: object) -> float | None:
    if not isinstance(value, (int, float, str)) or isinstance(value, bool):
        return None
    try:
        seconds = float(value)
    except ValueError:
        return None
    return seconds if math.isfinite(seconds) and seconds >= 0.0 else None


def _cause(error: BaseException) -> str:
    number = getattr(error, "errno", None)
    # The number's own words and the class: an error's text may hold the address.
    return os.strerror(number) if isinstance(number, int) and number > 0 else type(error).__name__
