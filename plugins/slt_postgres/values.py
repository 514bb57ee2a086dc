"""Python values in PostgreSQL and back, exactly, where the two disagree: text, floats in jsonb, tuples."""

from __future__ import annotations

import json
import re
from typing import Any

__all__ = ["decode_json", "decode_pairs", "decode_text", "encode_json", "encode_pairs", "encode_text"]

_MARK = "\ue000"
_UNSTORABLE = re.compile("[\x00\ud800-\udfff\ue000]")
_ESCAPED = re.compile("\ue000([0-9a-f]{4})")
_FLOAT = "$float"


def encode_text(text: str) -> str:
    r"""Text as PostgreSQL takes it: NUL and lone surrogates, which it refuses, become U+E000 and four hex digits.

    A broker's or an exchange's words can hold anything, and one such letter must not stop a whole batch.
    """
    if text.isascii() and "\0" not in text:
        return text
    return _UNSTORABLE.sub(lambda match: f"{_MARK}{ord(match[0]):04x}", text)


def decode_text(text: str) -> str:
    """What `encode_text` took."""
    if _MARK not in text:
        return text
    return _ESCAPED.sub(lambda match: chr(int(match[1], 16)), text)


def encode_json(value: object) -> str:
    """A dictionary of JSON types as jsonb text that comes back equal in value and type.

    jsonb keeps numbers as decimals: it has no NaN, no infinity, no negative zero, and forgets that 1e16 was a float.
    Such floats are written as ``{"$float": "1e+16"}``; a key that begins with ``$`` gets a second one. The order of
    keys is not kept, tuples become lists.
    """
    return _TO_JSON(_to_plain(value))


def decode_json(text: str) -> Any:
    """What `encode_json` took."""
    return _from_plain(json.loads(text))


def encode_pairs(pairs: tuple[tuple[str, str], ...]) -> str:
    """Pairs of text, in order, as jsonb text."""
    return encode_json(pairs)


def decode_pairs(text: str) -> tuple[tuple[str, str], ...]:
    """What `encode_pairs` took."""
    return tuple((label, value) for label, value in decode_json(text))


def _to_plain(value: object) -> object:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return encode_text(value)
    if isinstance(value, float):
        return _plain_float(float(value))
    if isinstance(value, int):
        return int(value)
    return _plain_container(value)


def _plain_container(value: object) -> object:
    if isinstance(value, dict):
        return {_plain_key(str(key)): _to_plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_to_plain(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return [_to_plain(item) for item in sorted(value, key=str)]
    to_list = getattr(value, "tolist", None)  # numpy
    if to_list is not None:
        return _to_plain(to_list())
    return encode_text(str(value))


def _plain_float(value: float) -> object:
    text = repr(value)
    is_exact_in_numeric = "e" not in text and "n" not in text and text != "-0.0"
    return value if is_exact_in_numeric else {_FLOAT: text}


def _plain_key(key: str) -> str:
    return encode_text(f"${key}" if key.startswith("$") else key)


def _from_plain(value: Any) -> Any:
    if isinstance(value, str):
        return decode_text(value)
    if isinstance(value, list):
        return [_from_plain(item) for item in value]
    if isinstance(value, dict):
        if _FLOAT in value:
            return float(value[_FLOAT])
        return {_key_of(key): _from_plain(item) for key, item in value.items()}
    return value


def _key_of(key: str) -> str:
    text = decode_text(key)
    return text[1:] if text.startswith("$$") else text


_TO_JSON = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode
