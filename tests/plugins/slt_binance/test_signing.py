"""Signatures against the exchange's documented example and against what other people's clients sent."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from urllib.parse import parse_qsl

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.rsa import generate_private_key
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from slt.errors import ConfigError
from slt_binance.client import Client, Credentials
from slt_binance.signing import Ed25519Signer, HmacSigner, encode, make_signer

VECTORS = Path(__file__).parents[4] / "shared" / "vectors" / "recorded-clients"
DOCUMENTED_KEY = "2b5eb11e18796d12d88f13dc27dbbd02c2cc51ff7059765ed9821957d82bb4d9"


def test_hmac_documented_example_gives_the_documented_signature():
    parameters = {
        "symbol": "BTCUSDT",
        "side": "BUY",
        "type": "LIMIT",
        "quantity": "1",
        "price": "9000",
        "timeInForce": "GTC",
        "recvWindow": "5000",
        "timestamp": "1591702613943",
    }
    signature = HmacSigner(DOCUMENTED_KEY).sign(encode(parameters))
    assert signature == "3c661234138461fcc7a7d8746c6558c9842d4e10870d2ecbedf7777cad694af9"


def _recorded():
    if not VECTORS.is_dir():
        return []
    lines = [json.loads(line) for file in sorted(VECTORS.glob("*.jsonl")) for line in file.read_text().splitlines()]
    return [line for line in lines if line["kind"] == "rest" and "signature=" in line["query"] + line["body"]]


@pytest.mark.skipif(not VECTORS.is_dir(), reason="the recorded requests of other clients are not beside the repository")
def test_hmac_recorded_requests_of_other_clients_sign_the_same():
    requests = _recorded()
    assert len(requests) > 20
    for request in requests:
        text = request["query"] + request["body"]
        payload, _, signature = text.partition("signature=")
        payload = payload.removesuffix("&")
        assert HmacSigner("secret").sign(payload) == signature
        assert encode(dict(parse_qsl(payload, keep_blank_values=True))) == payload or "%" in payload


def test_ed25519_pem_signs_what_its_public_key_verifies():
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for written in (pem, pem.replace("\n", "\\n"), f"\n  {pem}"):
        signer = make_signer(written, "X")
        assert isinstance(signer, Ed25519Signer)
        key.public_key().verify(base64.b64decode(signer.sign("a=1&b=2")), b"a=1&b=2")


def test_ed25519_rfc8032_vector_gives_its_signature():
    seed = bytes.fromhex("4ccd089b28ff96da9db6c346ec114e0f5b8a319f35aba624da8cf6ed4fb8a6fb")
    expected = (
        "92a009a9f0d4cab8720e820b5f642540a2b27b5416503f8fb3762223ebdb69da"
        "085ac1e43e15996e458f3613d0f11d8c387b2eaeb4302aeeb00d291612bb0c00"
    )
    signature = Ed25519Signer(Ed25519PrivateKey.from_private_bytes(seed)).sign("r")
    assert base64.b64decode(signature).hex() == expected


def test_make_signer_other_pem_is_refused_without_showing_it():
    pem = generate_private_key(65537, 2048).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()
    for bad in (pem, "-----BEGIN PRIVATE KEY-----\nrubbish\n-----END PRIVATE KEY-----"):
        with pytest.raises(ConfigError, match="environment variable MY_SECRET: found a PEM") as caught:
            make_signer(bad, "MY_SECRET")
        assert bad.splitlines()[1] not in str(caught.value)


def test_encode_other_scripts_are_percent_encoded_as_utf8():
    assert encode({"symbol": "币安USDT", "x": "a b+c/="}) == "symbol=%E5%B8%81%E5%AE%89USDT&x=a%20b%2Bc%2F%3D"


def test_repr_shows_no_secret():
    secret = "very-secret-text"
    credentials = Credentials("very-secret-key", HmacSigner(secret))
    shown = repr((credentials, credentials.signer, Client("https://host", credentials), make_signer(secret, "X")))
    assert "very-secret" not in shown
