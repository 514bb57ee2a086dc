"""Commands as text, one line each: what two runs of the same events are compared by."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

import attrs

from slt.events import CancelOrder, Notify, QueryOrder, ReadAccount, StartFit, Store, SubmitOrder, UseModel
from slt.storage._codec import encode_record
from slt.types import ModelVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from slt.events import Command

__all__ = ["write_commands"]


def write_commands(commands: Iterable[Command]) -> str:
    """One line of JSON for each command, exact to the bit; the bytes of models stand as their hashes."""
    return "\n".join(_WRITERS[type(command)](command) for command in commands)


def _store(command: Store) -> str:
    record = command.record
    if isinstance(record, ModelVersion):
        record = attrs.evolve(record, artefact=_digest(record.artefact).encode())
    return f"store {encode_record(record)}"


def _notify(command: Notify) -> str:
    return f"notify {encode_record(command.notice)}"


def _submit(command: SubmitOrder) -> str:
    return f"submit {_json(attrs.asdict(command.order))}"


def _fit(command: StartFit) -> str:
    request = command.request
    return f"fit {_json([request.id, request.strategy, request.version, request.effective_time, len(request.samples)])}"


def _use(command: UseModel) -> str:
    return f"use {_json([command.time, command.strategy, command.version, _digest(command.artefact)])}"


def _plain(command: CancelOrder | QueryOrder | ReadAccount) -> str:
    return f"{type(command).__name__} {_json(attrs.asdict(command))}"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


_json = json.JSONEncoder(separators=(",", ":"), default=str).encode
_WRITERS: dict[type, Callable[[Any], str]] = {
    Store: _store,
    Notify: _notify,
    SubmitOrder: _submit,
    StartFit: _fit,
    UseModel: _use,
    CancelOrder: _plain,
    QueryOrder: _plain,
    ReadAccount: _plain,
}
