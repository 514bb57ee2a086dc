"""The places where a request or an event can be made to go wrong; without faults they do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from aiohttp import web

__all__ = ["FaultPoints", "NoFaults"]


class FaultPoints(Protocol):
    """What the HTTP and WebSocket handlers ask before they answer."""

    async def before_rest(self, request: web.Request, method: str, path: str) -> web.StreamResponse | None:
        """Give an answer in the exchange's place, or None to let the exchange answer; may wait or raise.

        Args:
            request: The request as it came.
            method: HTTP method, upper case.
            path: Path without the query.
        """
        ...

    async def after_rest(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """Give the answer to send; may wait, exchange it, or close the request's connection so that it is lost.

        Args:
            request: The request.
            response: The exchange's answer; what it says has already happened.
        """
        ...

    async def order_user_events(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Give the user events to push, in this order; may wait, drop, repeat or reorder them.

        Args:
            events: Events of one moment and one account, in the exchange's order.
        """
        ...


class NoFaults:
    """Nothing ever goes wrong."""

    async def before_rest(self, request: web.Request, method: str, path: str) -> web.StreamResponse | None:
        """Let the exchange answer."""
        del request, method, path
        return None

    async def after_rest(self, request: web.Request, response: web.StreamResponse) -> web.StreamResponse:
        """Send the answer as it is."""
        del request
        return response

    async def order_user_events(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Push the events as they are."""
        return events
