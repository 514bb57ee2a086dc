"""A fitted model as self-describing bytes.

Layout, little-endian: magic (8 bytes), format version (uint16), length of the header (uint32), length of the trees
(uint32), header (JSON, UTF-8), trees (xgboost's UBJSON), SHA-256 of everything before it (32 bytes). The header names
the columns, the parameters and the calibration, so that a stored version can be read without the code that wrote it.
"""

from __future__ import annotations

import hashlib
import json
import struct
from typing import Any

from attrs import frozen

from slt.errors import ModelError

__all__ = ["FORMAT_VERSION", "Artefact", "pack_artefact", "unpack_artefact"]

FORMAT_VERSION = 1
"""The format written, and the newest one read."""

_MAGIC = b"SLTXGB\r\n"
_PREFIX = struct.Struct("<8sHII")
_DIGEST_BYTES = 32
_REMEDY = "restore it from a backup or roll back to another version"


@frozen
class Artefact:
    """The two parts of a stored model.

    Attributes:
        header: JSON types: ``names``, ``rows``, ``wins``, ``seed``, ``parameters``, ``calibration``, ``xgboost``.
        trees: The booster as xgboost saves it (UBJSON).
    """

    header: dict[str, Any]
    trees: bytes


def pack_artefact(artefact: Artefact) -> bytes:
    """Write a model as bytes; equal models give equal bytes."""
    header = json.dumps(artefact.header, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()
    body = _PREFIX.pack(_MAGIC, FORMAT_VERSION, len(header), len(artefact.trees)) + header + artefact.trees
    return body + hashlib.sha256(body).digest()


def unpack_artefact(data: bytes) -> Artefact:
    """Read bytes written by `pack_artefact`.

    Raises:
        ModelError: They are foreign, from a newer version, truncated or corrupt.
    """
    if data[: len(_MAGIC)] != _MAGIC[: len(data)]:
        raise ModelError(f"model artefact: not written by `xgboost` (it opens with {data[:8]!r}): fit a new model")
    if len(data) < _PREFIX.size:
        raise ModelError(f"model artefact: truncated after {len(data)} bytes: {_REMEDY}")
    _, version, header_bytes, tree_bytes = _PREFIX.unpack_from(data)
    if version > FORMAT_VERSION:
        raise ModelError(
            f"model artefact: written by a newer slt (format {version}, known up to {FORMAT_VERSION}): upgrade slt"
        )
    expected = _PREFIX.size + header_bytes + tree_bytes + _DIGEST_BYTES
    if len(data) != expected:
        raise ModelError(f"model artefact: {len(data)} bytes where {expected} were written: {_REMEDY}")
    body = data[:-_DIGEST_BYTES]
    if hashlib.sha256(body).digest() != data[-_DIGEST_BYTES:]:
        raise ModelError(f"model artefact: corrupt (its checksum differs): {_REMEDY}")
    trees_start = _PREFIX.size + header_bytes
    return Artefact(header=json.loads(body[_PREFIX.size : trees_start]), trees=body[trees_start:])
