"""Values that PostgreSQL would refuse or change, there and back."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from slt.testing.storage import canonical
from slt_postgres.values import decode_json, decode_pairs, decode_text, encode_json, encode_pairs, encode_text

ANY_TEXT = st.text(st.characters())
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | ANY_TEXT,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(ANY_TEXT, inner, max_size=4),
    max_leaves=15,
)


@given(st.text(st.characters() | st.sampled_from("\0\ue000\ud800\udfff0e")))
def test_decode_any_encoded_text_gives_it_back(text):
    encoded = encode_text(text)

    assert decode_text(encoded) == text
    assert "\0" not in encoded
    encoded.encode()


def test_encode_plain_text_leaves_it_alone():
    assert encode_text("Überkauft ≥ 70 % 🚀") == "Überkauft ≥ 70 % 🚀"


@given(JSON)
def test_decode_any_encoded_json_gives_it_back_in_value_and_type(value):
    assert canonical(decode_json(encode_json(value))) == canonical(value)


@given(JSON)
def test_encoded_json_is_strict_json_without_floats_that_numeric_changes(value):
    def refuse(text):
        raise AssertionError(text)

    json.loads(encode_json(value), parse_constant=refuse, parse_float=lambda text: "e" in text and refuse(text))


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf, -0.0, 1e16, 1e22, 1.7976931348623157e308, 5e-324])
def test_encode_float_that_numeric_changes_is_tagged(value):
    assert json.loads(encode_json({"a": value})) == {"a": {"$float": repr(value)}}


@pytest.mark.parametrize("value", [{"$float": "nan"}, {"$float": 1.0, "$$float": 2}, {"$": {"$$": None}}])
def test_encode_keys_that_look_like_tags_come_back(value):
    assert decode_json(encode_json(value)) == value


def test_encode_numpy_and_foreign_values_become_plain_ones():
    value = {"a": np.float32(0.5), "b": np.arange(2), "c": (1, 2), "d": {"z", "a"}, 5: 1j}

    assert decode_json(encode_json(value)) == {"a": 0.5, "b": [0, 1], "c": [1, 2], "d": ["a", "z"], "5": "1j"}


@given(st.lists(st.tuples(ANY_TEXT, ANY_TEXT)).map(tuple))
def test_decode_any_encoded_pairs_gives_them_back(pairs):
    assert decode_pairs(encode_pairs(pairs)) == pairs
