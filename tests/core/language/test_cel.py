"""Reading CEL: what becomes of a condition, and what an author is told about a wrong one."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.errors import ConditionError, Location
from spir.language.cel import LOOPS, MAX_DEPTH, MAX_NESTING, RESERVED, ROOTS, parse
from spir.language.values.functions import FUNCTIONS
from spir.model.condition import (
    And,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Comprehension,
    Condition,
    Conditional,
    Has,
    Index,
    ListOf,
    Literal,
    MapOf,
    Negate,
    Not,
    Or,
    Select,
    Variable,
)

ROLE, LEVEL = Attribute("subject.role"), Attribute("resource.level")
ONE, TWO, THREE = Literal(1), Literal(2), Literal(3)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("subject.role == 'physician'", Compare("==", ROLE, Literal("physician"))),
        ("subject.role in ['a', 'b']", Compare("in", ROLE, Literal(("a", "b")))),
        ("a && b && (c && d)", And(tuple(map(Variable, "abcd")))),
        ("a || b && c", Or((Variable("a"), And((Variable("b"), Variable("c")))))),
        ("1 + 2 * 3", Arithmetic("+", ONE, Arithmetic("*", TWO, THREE))),
        ("1 - 2 - 3", Arithmetic("-", Arithmetic("-", ONE, TWO), THREE)),
        ("a ? 1 : b ? 2 : 3", Conditional(Variable("a"), ONE, Conditional(Variable("b"), TWO, THREE))),
        ("!a == b", Compare("==", Not(Variable("a")), Variable("b"))),
        ("-1", Literal(-1)),
        ("-(1)", Negate(ONE)),
        ("--1", Negate(Literal(-1))),
        ("-9223372036854775808", Literal(-(2**63))),
        ("has(resource.level)", Has(LEVEL)),
        ("object.level", LEVEL),
        ("environment.ip", Attribute("context.ip")),
        ("operation.name", Attribute("action.name")),
        ("resource['patient']['id']", Attribute("resource.patient.id")),
        ("resource.patient['a b']", Index(Attribute("resource.patient"), Literal("a b"))),
        ("resource.labels[0].code", Select(Index(Attribute("resource.labels"), Literal(0)), "code")),
        ("subject.role.startsWith('p')", Call("startsWith", (ROLE, Literal("p")))),
        ("matches(subject.role, '^p')", Call("matches", (ROLE, Literal("^p")))),
        ("ip.in('10.0.0.0/8')", Call("ip.in", (Attribute("context.ip"), Literal("10.0.0.0/8")))),
        ("org.under(subject.role, 'cn')", Call("org.under", (ROLE, Literal("cn")))),
        ("timestamp('2026-01-01T08:00:00+08:00')", Literal(datetime(2026, 1, 1, tzinfo=UTC))),
        ("duration('1h30m')", Literal(timedelta(minutes=90))),
        ("[1, [2, 3,]]", Literal((1, (2, 3)))),
        ("[1, a]", ListOf((ONE, Variable("a")))),
        ("{'k': [1]}", Literal(MappingProxyType({"k": (1,)}))),
        ("{'k': a}", MapOf(((Literal("k"), Variable("a")),))),
        ("dyn(a)", Variable("a")),
        (
            "[1].exists(x, x == a)",
            Comprehension("exists", Literal((1,)), "x", Compare("==", Variable("x"), Variable("a"))),
        ),
        ("[1].map(x, true, x)", Comprehension("map", Literal((1,)), "x", Literal(True), Variable("x"))),
        ("[a].exists(a, [a].all(b, b == a))[0] // why", None),
        ("\ttrue // yes\n", Literal(True)),
        ("r'\\d' + b'\\xff' + '''it's\n''' + '\\u00e9\\101'", None),
    ],
)
def test_reading(text: str, expected: Condition | None):
    found = parse(text, variables=("a", "b", "c", "d"))
    assert expected is None or found == expected


@pytest.mark.parametrize(
    ("text", "line", "column", "says"),
    [
        ("subject.role = 'x'", 1, 14, "equality is `==`"),
        ("subject.role ==\n  subjet.id", 2, 3, "`subjet` is not known; did you mean `subject`?"),
        ("subject", 1, 1, "`subject` is a dimension, not an attribute; write `subject.` and a name"),
        ("1 +", 1, 4, "the condition ends too early"),
        ("(1", 1, 3, "`)` is expected here"),
        ("1 2", 1, 3, "`2` is not expected here"),
        ("'abc\n'", 1, 1, "does not end; close it with `'`"),
        ("'a\\q'", 1, 3, "`\\q` is no escape"),
        ("'\\ud800'", 1, 2, "is no character"),
        ("b'\\u0061'", 1, 1, "no escape in bytes"),
        ("1u", 1, 1, "unsigned"),
        ("9223372036854775808", 1, 1, "out of range"),
        ("1e999", 1, 1, "too large"),
        ("subject.role.startWith('a')", 1, 14, "did you mean `startsWith`?"),
        ("startsWith('a', 'b')", 1, 1, "write `text.startsWith(prefix)`"),
        ("siez('a')", 1, 1, "did you mean `size`?"),
        ("time.betwen('08:00', '17:00')", 1, 1, "did you mean `time.between`?"),
        ("time.between('8:00', '17:00')", 1, 14, "`from` of `time.between` must be a time of day as `08:00`"),
        ("time.between('08:00', '08:00')", 1, 1, "never has a value"),
        ("subject.role.matches('(')", 1, 22, "an RE2 expression"),
        ("ip.in('10.0.0.1/8')", 1, 7, "a network"),
        ("within(resource.created, '1 hour', '2h')", 1, 26, "a duration"),
        ("size(1)", 1, 6, "must be of type string or bytes or list or map"),
        ("size()", 1, 1, "does not take 0 arguments; write `size(value)`"),
        ("timestamp('2026-02-30T00:00:00Z')", 1, 11, "a time"),
        ("has(1)", 1, 1, "as in `has(resource.modality)`"),
        ("[1].exists(1, true)", 1, 12, "take a plain name"),
        ("[1].exists(subject, true)", 1, 12, "take a plain name"),
        ("[1].exists(x)", 1, 13, "`,` is expected here"),
        ("[1].all(x, true, 1)", 1, 5, "takes a name and a condition"),
        ("{'a': 1, 'a': 2}", 1, 10, "`a` is there twice"),
        ("{1: 2}", 1, 2, "keys of a map are texts"),
        ("resource.a{b: 1}", 1, 11, "messages are not part of the language"),
        ("resource.?a", 1, 10, "optional fields"),
        ("if (true)", 1, 1, "reserved word"),
        ("", 1, 1, "ends too early"),
    ],
)
def test_a_wrong_condition_is_told_where_and_how(text: str, line: int, column: int, says: str):
    with pytest.raises(ConditionError) as caught:
        parse(text)
    assert caught.value.location == Location("condition", line, column)
    assert says in str(caught.value)


def test_places_count_from_where_the_text_begins_in_its_document():
    with pytest.raises(ConditionError) as caught:
        parse("true &&\nfoo", location=Location("a.yaml", 10, 7))
    assert caught.value.location == Location("a.yaml", 11, 7)


@pytest.mark.parametrize(
    "text",
    [
        "(" * 5000 + "1" + ")" * 5000,
        "[" * 5000,
        "!" * 5000 + "true",
        "-" * 5000 + "a",
        "1" + "+1" * 5000,
        "a" + ".b" * 5000,
        "a" + "[0]" * 5000,
        "true?1:" * 5000 + "1",
        "{'a':" * 5000,
        "a.exists(x, " * 5000,
        "true" + "&&true" * 9000,
        "1" * 60000,
        "'" + "x" * 70000 + "'",
        "[1].all(a,[1].all(b,[1].all(c,[1].all(d,[1].all(e,true)))))",
    ],
)
def test_size_and_depth_are_bounded(text: str):
    with pytest.raises(ConditionError):
        parse(text, variables="a")


def test_the_bounds_leave_room_for_what_cel_promises():
    assert parse("(" * 32 + "7" + ")" * 32) == Literal(7)
    assert parse("!" * 32 + "true")
    assert parse("1" + " + 1" * 24)
    assert len(parse(" && ".join(["true"] * 1000)).items) == 1000  # type: ignore[union-attr]
    assert MAX_NESTING < MAX_DEPTH


SIGNS = [*"()[]{},.:?!<>+-*/%'\"`\\\n= &|#@é\x00", "==", "!=", "<=", "&&", "||", "r'", "'''", " in ", "//"]
VALUES = ["1", "1.5", "0x1F", "1u", "x", "'a'", "b'a'", "subject.role"]
PIECES = st.sampled_from([*FUNCTIONS, *LOOPS, *RESERVED, *ROOTS, *SIGNS, *VALUES])


@given(st.lists(PIECES, max_size=25).map("".join) | st.text(max_size=60))
@settings(max_examples=1500, deadline=None)
def test_any_text_is_accepted_or_refused_with_our_error(text: str):
    try:
        parse(text, variables="x")
    except ConditionError as error:
        assert error.location is not None


GOOD = (
    "subject.role == 'physician' && [1, 2].exists(x, x > -1) ? has(resource.a.b) : within(context.now, '15m', \"2h\")"
)


@given(st.integers(0, len(GOOD)), st.integers(0, 4), st.text(max_size=4))
@settings(max_examples=800, deadline=None)
def test_a_mutated_condition_is_accepted_or_refused_with_our_error(at: int, cut: int, put: str):
    try:
        parse(GOOD[:at] + put + GOOD[at + cut :])
    except ConditionError:
        return
