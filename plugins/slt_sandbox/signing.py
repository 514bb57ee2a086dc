"""Signed requests: what is signed, by which key, and when.

The text that is signed is the query string followed by the body, without a separator, exactly as sent and without the
signature itself. HMAC: hex of HMAC-SHA256, in either case. RSA: base64 of RSASSA-PKCS1-v1_5 with SHA-256. Ed25519:
base64.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from typing import TYPE_CHECKING
from urllib.parse import unquote

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_pem_public_key

from slt_sandbox.errors import refusal

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["DEFAULT_RECV_WINDOW_MS", "MAX_RECV_WINDOW_MS", "check_time", "is_signed_by", "signed_text", "sorted_text"]

DEFAULT_RECV_WINDOW_MS = 5_000
MAX_RECV_WINDOW_MS = 60_000
_AHEAD_MS = 1_000


def signed_text(query: str, body: str) -> tuple[str, str]:
    """Split a request into what was signed and the signature.

    Args:
        query: Query string as sent, without the question mark.
        body: Form body as sent.

    Returns:
        The signed text, and the signature decoded from its percent-encoding; empty where there is none.
    """
    kept: list[str] = []
    signature = ""
    for part in (query, body):
        pairs = part.split("&") if part else []
        signature = next((pair[10:] for pair in pairs if pair.startswith("signature=")), signature)
        kept.append("&".join(pair for pair in pairs if not pair.startswith("signature=")))
    return "".join(kept), unquote(signature)


def sorted_text(params: Mapping[str, object]) -> str:
    """What a WebSocket request signs: all its parameters but the signature, sorted by name, as ``k=v&k=v``."""
    return "&".join(f"{name}={_plain(params[name])}" for name in sorted(params) if name != "signature")


def _plain(value: object) -> object:
    return str(value).lower() if isinstance(value, bool) else value


def is_signed_by(secret: str, text: str, signature: str) -> bool:
    """Tell whether a signature is right.

    Args:
        secret: The HMAC secret, or an RSA or Ed25519 public key as PEM text.
        text: What was signed.
        signature: Hex for HMAC, base64 for the others.
    """
    if not secret.startswith("-----BEGIN"):
        expected = hmac.new(secret.encode(), text.encode(), hashlib.sha256).hexdigest()
        return hmac.compare_digest(expected, signature.lower())
    key = load_pem_public_key(secret.encode())
    try:
        raw = base64.b64decode(signature, validate=True)
        if isinstance(key, Ed25519PublicKey):
            key.verify(raw, text.encode())
        elif isinstance(key, RSAPublicKey):
            key.verify(raw, text.encode(), PKCS1v15(), hashes.SHA256())
        else:
            return False
    except (InvalidSignature, binascii.Error):
        return False
    return True


def check_time(now: int, timestamp: int, recv_window: int) -> None:
    """Refuse a request that is too old or from the future.

    Args:
        now: The exchange's clock, ms UTC.
        timestamp: The request's, ms UTC.
        recv_window: How old it may be, ms.

    Raises:
        ApiError: -1021, or -1131 for a window that is too long.
    """
    if not 0 <= recv_window <= MAX_RECV_WINDOW_MS:
        raise refusal(-1131)
    if timestamp >= now + _AHEAD_MS or now - timestamp > recv_window:
        raise refusal(-1021)
