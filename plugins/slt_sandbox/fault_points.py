"""The places where a request or an event can be made to go wrong; without faults they do nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from aiohttp import web

    from slt_sandbox.fault_answers import Refusal

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

    async def before_frame(self, token: int, method: str, path: str, given: dict[str, str]) -> Refusal | None:
        """As `before_rest`, for a request over the WebSocket API.

        Args:
            token: The same before and after, and no other request's.
            method: HTTP method of the REST request that it stands for.
            path: Path of that.
            given: Its parameters.

        Returns:
            The answer in the exchange's place; None = the exchange answers.
        """
        ...

    async def after_frame(self, token: int, method: str, path: str, given: dict[str, str]) -> Refusal | None:
        """As `after_rest`: the answer to send instead of the exchange's; None = the exchange's own."""
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

    async def before_frame(self, token: int, method: str, path: str, given: dict[str, str]) -> Refusal | None:
        """Let the exchange answer."""
        del token, method, path, given
        return None

    async def after_frame(self, token: int, method: str, path: str, given: dict[str, str]) -> Refusal | None:
        """Send the answer as it is."""
        del token, method, path, given
        return None

    async def order_user_events(self, events: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Push the events as they are."""
        return events
