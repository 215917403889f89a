"""What is read once is what the parser reads every time: the same trees, the same errors, at the same places."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from spir.errors import ConditionError, DocumentError, Location
from spir.language.cel import MAX_DEPTH, MAX_NODES, parse
from spir.language.phrases import Conditions, divided
from spir.language.short import parse_short
from spir.model.condition import And
from tests.core.language.given_documents import FIXTURES, policy, read

VOCABULARY = read(*FIXTURES).vocabulary
PLACE = Location("a.yaml", 7, 5)
REMEMBERED = Conditions(VOCABULARY)  # for all examples, so that what one leaves behind could harm the next


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("a && b", ["a", "b"]),
        ("\n\ta  &&b\n", ["a", "b"]),
        ('a == "x && y" && b', ['a == "x && y"', "b"]),
        ('a == \'&&\' && "\'" in b && "" == c', ["a == '&&'", '"\'" in b', '"" == c']),
        ("(a && (b || c)) && f(g ? h : 1)", ["(a && (b || c))", "f(g ? h : 1)"]),
        ("a && && b", ["a", "", "b"]),
    ],
)
def test_a_condition_is_divided_at_its_outermost_ands(text: str, parts: list[str]):
    assert divided(text) == parts


@pytest.mark.parametrize(
    "text",
    [
        "a || b && c",
        "a && b ? c : d",
        "a & b",
        "a &&",
        "a && (b",
        "a && b)",
        "a && (((b)))",
        '"""a" && "b"""',
        r'"\" && \"" == a && b',
        "a // && b\n&& c",
        "a && 'b",
        "`a && b`",
        "",
    ],
)
def test_what_does_not_divide_with_certainty_is_left_whole(text: str):
    assert divided(text) == []


def outcome(read: Callable[[], object]) -> object:
    try:
        return repr(read())  # equal is not enough: 0.0 == -0.0
    except ConditionError as error:
        return str(error), error.location


GOOD = [
    'subject.role == "physician"',
    "subject.id in resource.patient.care_team",
    "!context.device_trusted",
    'resource.modality in ["CR", "DX"]',
    "resource.labels.exists(x, x == 'R' && size(x) == 1)",
    'time.between("08:00", "17:00")',
    "(subject.clearance > 2 || has(resource.owner))",
    "(subject.clearance > 2 && has(resource.owner))",
    "1 < 2",
]
BAD = [
    "subject.rol == 'x'",
    "subject.role",
    "subject.role == 1",
    "",
    "(a",
    "'",
    "a ? b : c",
    "{}",
    "`a`",
    "//",
    "x && y",
]
SIGNS = [*"()[]{}.?!&|'\"`\\\n= -\u00a0\x0b", "&&", "||", "//", "'''", '"""', "? true :", "b'"]
JOINED = st.lists(st.sampled_from([*GOOD, *GOOD, *BAD]), min_size=1, max_size=5).map(" && ".join)
TORN = st.tuples(JOINED, st.integers(0, 80), st.integers(0, 3), st.sampled_from(SIGNS) | st.text(max_size=3)).map(
    lambda given: given[0][: given[1]] + given[3] + given[0][given[1] + given[2] :]
)


@given(JOINED | TORN | st.lists(st.sampled_from([*GOOD, *SIGNS]), max_size=8).map("".join))
@example("!" * (MAX_DEPTH - 1) + "context.device_trusted && true")
@example("!" * (MAX_DEPTH - 2) + "context.device_trusted && true")
@example("true &&" * (MAX_NODES // 7) + "true")
@example("1 == 1 && " * (MAX_NODES // 4) + "true")
@settings(max_examples=1500, deadline=None)
def test_any_condition_is_what_the_parser_reads(text: str):
    def whole() -> object:
        return parse(text, vocabulary=VOCABULARY, location=PLACE)

    assert outcome(lambda: REMEMBERED.cel(text, PLACE)) == outcome(whole)


def test_what_is_written_alike_is_read_once():
    conditions = Conditions(VOCABULARY)
    one = conditions.cel('subject.role == "physician" && subject.trust > 0.0', PLACE)
    other = conditions.cel('subject.trust > -0.0 && subject.role == "physician"', PLACE)
    assert isinstance(one, And) and isinstance(other, And)
    assert one.items[0] is other.items[1]
    assert [repr(item.right.value) for item in (one.items[1], other.items[0])] == ["0.0", "-0.0"]  # type: ignore[union-attr]


def test_a_wrong_condition_is_told_at_its_own_place_each_time():
    conditions = Conditions(VOCABULARY)
    for line in (3, 9):
        with pytest.raises(ConditionError) as caught:
            conditions.cel("true &&\nsubject.rol == 'x'", Location("a.yaml", line, 5))
        assert caught.value.location == Location("a.yaml", line + 1, 13)


def test_the_short_spelling_means_what_its_dimension_says_each_time():
    conditions = Conditions(VOCABULARY)
    for dimension in ("subject", "resource", "subject"):
        expected = parse_short("organization == 'a'", VOCABULARY, dimension=dimension)
        assert conditions.short("organization == 'a'", dimension, PLACE) == expected


def test_an_operation_that_is_not_declared_is_told_each_time():
    for text in ("read:nothing", "readd:patient", "read"):
        for line in ("operations: ['read:patient', '%s']", "operations: ['%s']\ndescription: x"):
            with pytest.raises(DocumentError) as caught:
                read(policy(f"id: a\neffect: permit\n{line % text}"))
            assert caught.value.location is not None and caught.value.location.line == 10
