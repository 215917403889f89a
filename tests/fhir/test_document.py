from __future__ import annotations

import contextlib
import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fhir.document import MAX_DEPTH, REMOVE, Malformed, cut, depth, merge, read

texts = st.text(st.characters(codec="utf-8"), max_size=8)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | texts | st.sampled_from([":", '":', '\\":', "a:b:c"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=12,
)


@given(values, st.booleans(), st.sampled_from([None, 1, "\t"]))
def test_what_has_no_duplicate_is_read_however_it_is_spelled(value, escaped, indent):
    raw = json.dumps(value, ensure_ascii=escaped, indent=indent).encode()
    assert read(raw)[0] == value


@given(values, values, texts, st.booleans())
def test_a_member_that_is_there_twice_is_refused_at_any_depth(first, second, name, nested):
    key = json.dumps(name)
    raw = f"{{{key}: {json.dumps(first)}, {key}:{json.dumps(second)}}}"
    raw = f'{{"outer": [{{"x": 1}}, {raw}]}}' if nested else raw
    with pytest.raises(Malformed):
        read(raw.encode())


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\xef\xbb\xbf{}",
        b'{"a":"\xff"}',
        b'{"a":"\\ud800"}',
        b'{"a":NaN}',
        b'{"a":1e999}',
        b'{"a":01}',
        b'{"a":1} {"b":2}',
        b'{"a":1,}',
        b"[" * 5000 + b"]" * 5000,
        b'{"a\\u003a":1,"a:":2,"a\\u003A":3}',
    ],
)
def test_what_two_readers_could_read_differently_is_refused(raw):
    with pytest.raises(Malformed):
        read(raw)


def test_an_escaped_colon_is_no_duplicate():
    assert read(b'{"a\\u003a":"x\\u003ay"}')[0] == {"a:": "x:y"}


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_and_nothing_else(raw):
    with contextlib.suppress(Malformed):
        read(raw)


def test_depth_is_counted_and_counting_is_bounded():
    assert depth(1) == 1
    assert depth({"a": [{}]}) == 3
    deep: list = []
    for _ in range(500):
        deep = [deep]
    assert depth(deep) == MAX_DEPTH + 1


def test_what_is_not_cut_keeps_its_bytes():
    raw = b'{"a": 0.40, "b":[ {"c":1, "d":2.50e1},{"c":2,"e":-0} ], "f":"\\u00e9"}'
    assert cut(raw, {"b": {0: {"c": REMOVE}}, "x": REMOVE}) == (
        b'{"a":0.40,"b":[{"d":2.50e1},{"c":2,"e":-0}],"f":"\\u00e9"}'
    )


def test_what_becomes_empty_goes_with_its_content():
    raw = b'{"a":1,"b":[{"c":1},{"c":2}],"d":{"e":{"f":1}}}'
    where = {"b": {0: {"c": REMOVE}, 1: {"c": REMOVE}}, "d": {"e": {"f": REMOVE}}}
    assert cut(raw, where) == b'{"a":1}'
    assert cut(b'{"c":1}', {"c": REMOVE}) is None


def test_a_place_that_names_nothing_changes_nothing():
    assert orjson.loads(cut(b'{"a": [1, 2]}', {"a": {0: {}, 1: {}}})) == {"a": [1, 2]}


def test_merging_cuts_what_either_cuts():
    assert merge({"a": {0: {"b": REMOVE}}}, {"a": {0: {"c": REMOVE}, 1: REMOVE}}) == {
        "a": {0: {"b": REMOVE, "c": REMOVE}, 1: REMOVE}
    }
    assert merge({"a": REMOVE}, {"a": {"b": REMOVE}}) == {"a": REMOVE}
