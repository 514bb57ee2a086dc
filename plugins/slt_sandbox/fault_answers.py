"""The answers that faults give in the exchange's place."""

from __future__ import annotations

from aiohttp import web

from slt_sandbox.errors import MESSAGES

__all__ = ["refuse"]

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


def refuse(name: str, left: float, now: int) -> web.Response:
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
        return web.Response(status=int(title[:3]), text=_HTML.format(title), content_type="text/html")
    if name == "http_500":
        return web.Response(status=500)
    if name in _UNAVAILABLE:
        return _json(503, -1000, _UNAVAILABLE[name])
    code = -1007 if name == "http_408" else -int(name.rpartition("_")[2])
    return _json({-1008: 503, -1007: 408}.get(code, 400), code, _text_of(code))


def _too_many(name: str, left: float, now: int) -> web.Response:
    headers = {"Retry-After": str(max(1, int(left + 0.999)))}
    if name == "http_429":
        text = "Too many requests; current limit of IP(127.0.0.1) is 2400 requests per minute."
        return _json(429, -1003, text, headers)
    until = now + int(left * 1_000)
    text = f"Way too many requests; IP(127.0.0.1) banned until {until}. Please use the websocket for live updates."
    return _json(418, -1003, text, headers)


def _json(status: int, code: int, text: str, headers: dict[str, str] | None = None) -> web.Response:
    return web.json_response({"code": code, "msg": text}, status=status, headers=headers)


def _text_of(code: int) -> str:
    """What the exchange says with a code; its blanks get a number."""
    text = _TEXTS.get(code) or MESSAGES.get(code, _UNKNOWN)
    return text.format_map(_Blanks()) if "{" in text else text


class _Blanks(dict[str, str]):
    def __missing__(self, key: str) -> str:
        return "5"
