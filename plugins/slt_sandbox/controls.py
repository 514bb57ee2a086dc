"""The control words of the market streams: SUBSCRIBE and its kin, answered as the exchange does."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from slt_sandbox.payloads import dump

if TYPE_CHECKING:
    from slt_sandbox.hub import Connection, Hub

__all__ = ["MAX_STREAMS", "answer_control"]

MAX_STREAMS = 1_024
"""Streams of one connection."""
_METHODS = ("SUBSCRIBE", "UNSUBSCRIBE", "LIST_SUBSCRIPTIONS", "SET_PROPERTY", "GET_PROPERTY")


class _RefusedError(Exception):
    def __init__(self, code: int, message: str) -> None:
        super().__init__(message)
        self.code = code


def answer_control(text: str, connection: Connection, hub: Hub) -> str:
    """Carry out a control frame and word the answer.

    Args:
        text: The frame as it came.
        connection: Who sent it.
        hub: Where subscriptions are kept.

    Returns:
        The answer, JSON text; a refusal has ``code`` (0 unknown property, 1 not a Boolean, 2 invalid request, 3 invalid
        JSON) and ``msg``.
    """
    identity: Any = None
    try:
        request = _parse(text)
        identity = request.get("id")
        result = _carry_out(request, connection, hub)
    except _RefusedError as refusal:
        return dump({"code": refusal.code, "msg": str(refusal)} | ({"id": identity} if identity is not None else {}))
    return dump({"result": result, "id": identity})


def _parse(text: str) -> dict[str, Any]:
    try:
        request = json.loads(text)
    except json.JSONDecodeError as error:
        place = f"at line {error.lineno} column {error.colno}"
        raise _RefusedError(3, f"Invalid JSON: expected value {place}") from None
    if not isinstance(request, dict):
        raise _RefusedError(2, "Invalid request: expected a JSON object")
    return request


def _carry_out(request: dict[str, Any], connection: Connection, hub: Hub) -> Any:
    method = request.get("method")
    if method is None:
        raise _RefusedError(2, f"Invalid request: missing field `method` at line 1 column {len(dump(request))}")
    if method not in _METHODS:
        allowed = ", ".join(f"`{name}`" for name in _METHODS)
        raise _RefusedError(
            2, f"Invalid request: unknown variant `{method}`, expected one of {allowed} at line 1 column 28"
        )
    if isinstance(request.get("id"), float | list | dict | bool):
        raise _RefusedError(2, "Invalid request: request ID must be an unsigned integer")
    params = request.get("params", [])
    if not isinstance(params, list):
        raise _RefusedError(2, "Invalid request: invalid type, expected a sequence")
    if method == "LIST_SUBSCRIPTIONS":
        return list(connection.streams)
    if method in {"SUBSCRIBE", "UNSUBSCRIBE"}:
        _change(method, params, connection, hub)
        return None
    return _property(method, params, connection)


def _change(method: str, params: list[Any], connection: Connection, hub: Hub) -> None:
    if not params:
        raise _RefusedError(2, "Invalid request: missing field `params` at line 1 column 1")
    if not all(isinstance(name, str) for name in params):
        raise _RefusedError(2, "Invalid request: stream name must be a string")
    if method == "SUBSCRIBE":
        hub.subscribe(connection, params)
    else:
        hub.unsubscribe(connection, params)


def _property(method: str, params: list[Any], connection: Connection) -> Any:
    is_set = method == "SET_PROPERTY"
    if len(params) > (2 if is_set else 1):
        raise _RefusedError(2, "Invalid request: too many parameters")
    if not params or not isinstance(params[0], str):
        raise _RefusedError(2, "Invalid request: property name must be a string")
    if params[0] != "combined":
        raise _RefusedError(0, "Unknown property")
    if not is_set:
        return connection.is_combined
    if len(params) != 2 or not isinstance(params[1], bool):
        raise _RefusedError(1, "Invalid value type: expected Boolean")
    connection.is_combined = params[1]
    return None
