"""YAML 1.2: what a scalar is, what is refused, and where a text begins."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.errors import DocumentError, Location
from spir.language.nodes import Fields, Scalar, plain, read_nodes


def one(text: str, file: str = "a.yaml") -> Any:
    (node,) = read_nodes(text, file)
    return plain(node)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("yes", "yes"),
        ("no", "no"),
        ("on", "on"),
        ("off", "off"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("12", 12),
        ("-0x1F", "-0x1F"),
        ("0x1F", 31),
        ("0o17", 15),
        ("017", 17),
        ("1_000", "1_000"),
        ("1.5", 1.5),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.2.0", "1.2.0"),
        ("12:30", "12:30"),
        ("2026-01-01", "2026-01-01"),
        ("'12'", "12"),
        ('"true"', "true"),
        ("=", "="),
        ("<<", "<<"),
    ],
)
def test_a_plain_scalar_is_what_the_core_schema_says(text: str, expected: Any):
    found = one(f"[{text}]")
    assert [(type(item), item) for item in found] == [(type(expected), expected)]


@pytest.mark.parametrize("text", ["~", "null", "Null", "''"])
def test_nothing_is_null_and_an_empty_text_is_not(text: str):
    assert one(f"a: {text}") == {"a": "" if text == "''" else None}


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("a: 1\nb: 2\na: 3", 3, 1, "the key `a` is there twice"),
        ("a: &x 1\nb: *x", 1, 4, "anchors and aliases are not read"),
        ("a: !!python/object:os.system x", 1, 4, "tags are not read"),
        ("a: !!str x", 1, 4, "tags are not read"),
        ("1: a", 1, 1, "keys must be text"),
        ("[a]: b", 1, 1, "keys must be text"),
        ("a: .inf", 1, 4, "must be finite"),
        ("a: 1e999", 1, 4, "must be finite"),
        ("a: .nan", 1, 4, "must be finite"),
        ("a: [1, 2", 2, 1, "the text is no YAML"),
        ("\ta: 1", 1, 1, "the text is no YAML"),
        ("a: 1\nb: \x07", 2, 4, "may not be in a document"),
        ("a: \ud800", 1, 4, "may not be in a document"),
        ("[" * 40, 1, 34, "too deep"),
    ],
)
def test_what_is_refused_is_refused_with_its_place(text: str, line: int, column: int, says: str):
    with pytest.raises(DocumentError) as caught:
        read_nodes(text, "a.yaml")
    assert says in str(caught.value)
    assert caught.value.location == Location("a.yaml", line, column)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: |\n  x\n", Location("f", 2, 3)),
        ("a: |  # why\n\n\n      x\n", Location("f", 2, 7)),
        ("a: |2\n    x\n", Location("f", 2, 3)),
        ("a: |-\n  x\r\n", Location("f", 2, 3)),
        ("a: |\n", Location("f", 2, 1)),
        ("a: >\n  x\n", Location("f", 2, 0)),
        ("a: x", Location("f", 1, 4)),
        ("a: 'x'", Location("f", 1, 5)),
        ("a: x\n  y", Location("f", 1, 0)),
        ("中文: x", Location("f", 1, 5)),
        ("a: |\r  x\r", Location("f", 2, 3)),
        ("\r\ra: |\r\r   x\r", Location("f", 4, 4)),
        ("# \u2028 \x85\na: |\r\n\u2029\x85    x", Location("f", 5, 5)),
        ("\ufeffa: |\n  x", Location("f", 2, 3)),
    ],
)
def test_where_a_text_begins(text: str, expected: Location):
    (node,) = read_nodes(text, "f")
    assert isinstance(node, Fields)
    (value,) = node.entries.values()
    assert isinstance(value, Scalar)
    assert value.content == expected


@pytest.mark.parametrize("text", ["|-\n  x", "\n|-\n  x", "\ufeff\n|-\n  x", "\ufeff\ufeff\r|\n  x", "---\r\n|\r\n  x"])
def test_where_a_text_begins_that_is_all_of_a_document(text: str):
    (value,) = read_nodes(text, "f")
    assert isinstance(value, Scalar) and value.content.column == 3


def test_json_is_read_as_it_is():
    assert one('{\t"a": "\\ud83d\\ude00\\/\\\\ud83d", "b": [1, 2.5, null, true]}', "a.json") == {
        "a": "\U0001f600/\\ud83d",
        "b": [1, 2.5, None, True],
    }


def test_many_small_documents_and_none():
    assert [plain(node) for node in read_nodes("---\na: 1\n---\n---\nb: 2\n", "a")] == [{"a": 1}, {"b": 2}]
    assert read_nodes("# nothing\n", "a") == []


@given(
    st.text(max_size=80)
    | st.lists(st.sampled_from([*"-:[]{}|>'\"#&*! \n\r\t\x85\u2028ab1,?%@`"]), max_size=30).map("".join)
)
@settings(max_examples=800, deadline=None)
def test_any_text_is_read_or_refused_with_our_error(text: str):
    for file in ("a.yaml", "a.json"):
        try:
            read_nodes(text, file)
        except DocumentError as error:
            assert error.location is not None
