"""Records as lines of JSON."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.storage._codec import decode_record, encode_record, field_names
from slt.testing.storage import RECORD_KINDS, canonical, make_record, records
from slt.types import Decision, Notice, Trade


@given(st.one_of(*(records(kind) for kind in RECORD_KINDS)))
def test_decode_any_encoded_record_gives_it_back_exactly(record):
    line = encode_record(record)

    assert "\n" not in line
    assert line.isascii()
    assert canonical(decode_record(line)) == canonical(record)


def test_encode_text_with_nul_and_lone_surrogate_comes_back():
    record = make_record(Trade, 1, reason="a\0b\ud800c\n")

    assert decode_record(encode_record(record)) == record


def test_encode_numpy_values_become_python_values():
    record = make_record(Decision, 1, confidence=np.float64(0.25), numbers={"a": np.float32(0.5), "b": np.int64(3)})

    found = decode_record(encode_record(record))

    assert (found.confidence, found.numbers) == (0.25, {"a": 0.5, "b": 3})


def test_encode_unknown_object_in_a_dictionary_is_kept_as_text():
    record = make_record(Decision, 1, numbers={"a": {"z", "b"}, "c": 1j})

    assert decode_record(encode_record(record)).numbers == {"a": ["b", "z"], "c": "1j"}


def test_decode_line_of_other_version_goes_by_field_names():
    names = {"Notice": ["gone", "id", "run_id", "time", "kind", "title"]}
    line = json.dumps(["Notice", "old", "n-1", "demo-001", 60_000, "open", "Hello"])

    assert decode_record(line, names) == Notice("n-1", "demo-001", 60_000, "open", "Hello")


@pytest.mark.parametrize(
    "line", ["", "[]", "17", '["Nothing", 1]', '["Notice", "too", "few"]', '{"a": 1}', '["Notice"', "\u00ff"]
)
def test_decode_what_is_no_record_raises_value_error(line):
    with pytest.raises(ValueError, match="not a record of this version"):
        decode_record(line)


def test_decode_nan_stays_nan():
    assert math.isnan(decode_record(encode_record(make_record(Trade, 1, confidence=math.nan))).confidence)


def test_field_names_cover_every_record_type():
    assert set(field_names()) == {kind.__name__ for kind in RECORD_KINDS} | {"Forget"}
