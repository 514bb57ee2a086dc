from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.errors import ModelError
from slt_xgboost.artefact import FORMAT_VERSION, Artefact, pack_artefact, unpack_artefact

HEADER = {"names": ["a", "b"], "rows": 3, "calibration": {"margin": [0.1, 1 / 3]}}
WHOLE = pack_artefact(Artefact(HEADER, b"trees" * 20))


def test_unpack_what_was_packed_gives_it_back() -> None:
    assert unpack_artefact(WHOLE) == Artefact(HEADER, b"trees" * 20)


def test_pack_header_in_another_order_gives_the_same_bytes() -> None:
    assert pack_artefact(Artefact(dict(reversed(HEADER.items())), b"trees" * 20)) == WHOLE


@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_unpack_any_byte_changed_raises_model_error(position: int, change: int) -> None:
    damaged = bytearray(WHOLE)
    damaged[position] ^= change
    with pytest.raises(ModelError, match=r"^model artefact: "):
        unpack_artefact(bytes(damaged))


@given(st.integers(0, len(WHOLE) - 1))
def test_unpack_any_truncation_raises_model_error(length: int) -> None:
    with pytest.raises(ModelError, match=r"truncated|bytes where"):
        unpack_artefact(WHOLE[:length])


def test_unpack_newer_version_says_to_upgrade() -> None:
    newer = WHOLE[:8] + (FORMAT_VERSION + 1).to_bytes(2, "little") + WHOLE[10:]
    with pytest.raises(ModelError, match=r"written by a newer slt \(format 2, known up to 1\): upgrade slt"):
        unpack_artefact(newer)


def test_unpack_foreign_bytes_says_what_was_found() -> None:
    with pytest.raises(ModelError, match=r"not written by `xgboost` \(it opens with b'PK"):
        unpack_artefact(b"PK\x03\x04 a zip archive of some kind")
