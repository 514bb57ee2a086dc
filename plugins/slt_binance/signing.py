"""Signing requests: HMAC-SHA256 with a secret, or Ed25519 with a private key in PEM."""

from __future__ import annotations

import base64
import hashlib
import hmac
from typing import TYPE_CHECKING, Protocol
from urllib.parse import quote

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from slt.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["Ed25519Signer", "HmacSigner", "Signer", "encode", "make_signer"]

_PEM_HEAD = "-----BEGIN"


class Signer(Protocol):
    """Signs the text of a request's parameters."""

    def sign(self, payload: str) -> str:
        """The signature of `payload`, not yet percent-encoded."""
        ...


class HmacSigner:
    """Signs with HMAC-SHA256, in hexadecimal.

    Args:
        secret: The API secret.
    """

    def __init__(self, secret: str) -> None:
        self._secret = secret.encode()

    def __repr__(self) -> str:
        return "HmacSigner()"

    def sign(self, payload: str) -> str:
        """The signature of `payload` in hexadecimal."""
        return hmac.new(self._secret, payload.encode(), hashlib.sha256).hexdigest()


class Ed25519Signer:
    """Signs with Ed25519, in base64.

    Args:
        key: The private key.
    """

    def __init__(self, key: Ed25519PrivateKey) -> None:
        self._key = key

    def __repr__(self) -> str:
        return "Ed25519Signer()"

    def sign(self, payload: str) -> str:
        """The signature of `payload` in base64."""
        return base64.b64encode(self._key.sign(payload.encode())).decode()


def make_signer(secret: str, name: str) -> Signer:
    r"""Choose the way of signing by the look of the secret: PEM is an Ed25519 key, anything else an HMAC secret.

    Args:
        secret: The secret; a PEM may have its line breaks written as ``\n``, as cloud platforms store them.
        name: The environment variable it came from, for messages.

    Raises:
        ConfigError: A PEM that holds no usable Ed25519 private key. The secret is not in the message.
    """
    if not secret.lstrip().startswith(_PEM_HEAD):
        return HmacSigner(secret.strip())
    pem = secret.strip().replace("\\n", "\n").encode()
    try:
        key = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, Ed25519PrivateKey):
        raise ConfigError(
            f"environment variable {name}: found a PEM that is no unencrypted Ed25519 private key; "
            "give the PKCS#8 private key that was made for the API key, or an HMAC secret"
        )
    return Ed25519Signer(key)


def encode(parameters: Mapping[str, str]) -> str:
    """Give parameters as ``name=value&…``, percent-encoded as UTF-8, in their order: what is signed is what is sent."""
    return "&".join(f"{name}={quote(value, safe='')}" for name, value in parameters.items())
