"""The answers that faults give in the exchange's place."""

from __future__ import annotations

from typing import Any

from aiohttp import web
from attrs import frozen

from slt_sandbox.errors import MESSAGES

__all__ = ["LOST", "Refusal", "refuse"]

_HTML = "<html><head><title>{0}</title></head><body><center><h1>{0}</h1></center></body></html>"
_PAGES = {"http_403": "403 Forbidden", "http_502": "502 Bad Gateway"}
_TEXTS = {
    -1006: "An unexpected response was received from the message bus. Execution status unknown.",
    -1007: "Timeout waiting for response from backend server. Send status unknown; execution status unknown.",
    -1008: "Request throttled by system-level protection. Reduce-only/close-position orders are exempt. "
    "Please try again.",
}
_UNAVAILABLE = {
    "http_503_unknown": "Unknown error, please check your request or try again later.",
    "http_503_unavailable": "Service Unavailable.",
    "http_503_internal": "Internal error; unable to process your request. Please try again.",
}
_UNKNOWN = "An unknown error occurred while processing the request."


@frozen
class Refusal:
    """An answer in the exchange's place.

    Attributes:
        status: HTTP status.
        code: The exchange's code; 0 = the answer is no JSON.
        text: What it says; with no code the page, or nothing.
        retry_after: Seconds for the Retry-After header; 0 = none.
        is_lost: There is no answer: the connection breaks.
    """

    status: int
    code: int = 0
    text: str = ""
    retry_after: int = 0
    is_lost: bool = False

    def as_response(self) -> web.Response:
        """The answer to an HTTP request."""
        if not self.code:
            return web.Response(status=self.status, text=self.text or None, content_type="text/html")
        headers = {"Retry-After": str(self.retry_after)} if self.retry_after else None
        return web.json_response({"code": self.code, "msg": self.text}, status=self.status, headers=headers)

    def as_frame(self) -> dict[str, Any]:
        """The answer over the WebSocket API, which knows no pages: they become an unknown error of their status."""
        return {
            "status": self.status,
            "error": {"code": self.code or -1000, "msg": self.text if self.code else _UNKNOWN},
        }


LOST = Refusal(500, is_lost=True)
"""The connection breaks before an answer."""


def refuse(name: str, left: float, now: int) -> Refusal:
    """Word a refusal.

    Args:
        name: A fault of place ``request``.
        left: Seconds that it goes on for.
        now: The exchange's time, ms UTC.
    """
    if name in {"http_429", "http_418"}:
        return _too_many(name, left, now)
    if name in _PAGES:
        title = _PAGES[name]
        return Refusal(int(title[:3]), 0, _HTML.format(title))
    if name == "http_500":
        return Refusal(500)
    if name in _UNAVAILABLE:
        return Refusal(503, -1000, _UNAVAILABLE[name])
    code = -1007 if name == "http_408" else -int(name.rpartition("_")[2])
    return Refusal({-1008: 503, -1007: 408}.get(code, 400), code, _text_of(code))


def _too_many(name: str, left: float, now: int) -> Refusal:
    wait = max(1, int(left + 0.999))
    if name == "http_429":
        text = "Too many requests; current limit of IP(127.0.0.1) is 2400 requests per minute."
        return Refusal(429, -1003, text, wait)
    until = now + int(left * 1_000)
    text = f"Way too many requests; IP(127.0.0.1) banned until {until}. Please use the websocket for live updates."
    return Refusal(418, -1003, text, wait)


def _text_of(code: int) -> str:
    """What the exchange says with a code; its blanks get a number."""
    text = _TEXTS.get(code) or MESSAGES.get(code, _UNKNOWN)
    return text.format_map(_Blanks()) if "{" in text else text


class _Blanks(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "5"
