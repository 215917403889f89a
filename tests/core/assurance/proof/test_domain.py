"""Domains are sets: the laws of sets hold as equality, and membership is what the operators say it is."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spir.assurance.proof.domain import (
    ABSENT,
    ANYTHING,
    NOTHING,
    PRESENT,
    V6,
    Choice,
    Domain,
    Line,
    Point,
    Spans,
    interval,
    micros,
    moment,
    one_of,
    prefix,
    under,
)
from spir.model.policy import lies_under

TEXTS = (
    "",
    "\0",
    "a",
    "a\0",
    "ab",
    "abc",
    "b",
    "cn",
    "cn/zj",
    "cn/zj/h",
    "cn0",
    "cnx",
    "dr.",
    "dr.li",
    "\U0010ffff",
    "é",
)
INTS = tuple(range(-3, 9))
DOUBLES = (-1.0, 0.0, 0.1, 0.25, 0.5, math.nextafter(0.5, 1), math.nextafter(0.5, 0), 1.0, 1e300)


def numbers(line: Line, values: tuple[Point, ...]) -> st.SearchStrategy[Domain]:
    ends = st.one_of(st.none(), st.sampled_from(values))
    return st.builds(
        lambda low, high, a, b: interval(line, low, high, above=a, below=b), ends, ends, st.booleans(), st.booleans()
    )


def closed(leaves: st.SearchStrategy[Domain]) -> st.SearchStrategy[Domain]:
    """Everything that the operators make of these."""
    leaves = leaves | st.sampled_from((NOTHING, ABSENT, PRESENT, ANYTHING))
    return st.recursive(
        leaves,
        lambda inner: (
            st.builds(lambda a, b: a & b, inner, inner)
            | st.builds(lambda a, b: a | b, inner, inner)
            | inner.map(lambda a: a.complement())
        ),
        max_leaves=6,
    )


choices = st.frozensets(st.sampled_from(TEXTS), max_size=4).map(one_of)
texts = choices | st.sampled_from(TEXTS).map(prefix) | st.sampled_from(TEXTS).map(under) | numbers(Line.TEXT, TEXTS)
KINDS: tuple[tuple[st.SearchStrategy[Domain], tuple[Point, ...]], ...] = (
    (closed(texts), TEXTS),
    (closed(numbers(Line.INT, INTS)), INTS),
    (closed(numbers(Line.DOUBLE, DOUBLES)), DOUBLES),
    (closed(st.frozensets(st.booleans()).map(one_of)), (True, False)),
)
pairs = st.one_of(*(st.tuples(domains, domains, domains, st.just((*values, None))) for domains, values in KINDS))


@given(pairs)
def test_the_operators_are_those_of_sets(drawn: tuple[Domain, Domain, Domain, tuple[Point | None, ...]]) -> None:
    one, other, _, values = drawn
    for value in values:
        assert (value in (one & other)) == (value in one and value in other)
        assert (value in (one | other)) == (value in one or value in other)
        assert (value in one.complement()) == (value not in one)
        assert (value in one.present) == (value in one and value is not None)


@given(pairs)
def test_the_laws_of_sets_hold_as_equality(drawn: tuple[Domain, Domain, Domain, tuple[Point | None, ...]]) -> None:
    a, b, c, _ = drawn
    assert a & b == b & a and a | b == b | a
    assert (a & b) & c == a & (b & c) and (a | b) | c == a | (b | c)
    assert a & (b | c) == (a & b) | (a & c)
    assert (a & b).complement() == a.complement() | b.complement()
    assert a.complement().complement() == a
    assert a & a.complement() == NOTHING and a | a.complement() == ANYTHING
    assert a & ANYTHING == a == a | NOTHING
    assert hash(a & b) == hash(b & a)


@given(pairs)
def test_one_lies_within_another_exactly_if_joining_them_adds_nothing(
    drawn: tuple[Domain, Domain, Domain, tuple[Point | None, ...]],
) -> None:
    one, other, _, values = drawn
    assert (one <= other) == (one | other == other)
    assert one & other <= one <= one | other
    if one <= other:
        assert all(value in other for value in values if value in one)


@given(pairs)
def test_what_is_picked_is_a_value_of_it(drawn: tuple[Domain, Domain, Domain, tuple[Point | None, ...]]) -> None:
    one, _, _, values = drawn
    if one.is_empty:
        assert one == NOTHING and not any(value in one for value in values)
    else:
        assert one.pick() in one
        assert one.pick() == one.pick()
        assert (one.pick() is None) == (one == ABSENT)


@given(pairs)
def test_everything_can_be_said(drawn: tuple[Domain, Domain, Domain, tuple[Point | None, ...]]) -> None:
    assert drawn[0].words("risk").startswith("risk ")


@given(st.sampled_from(TEXTS), st.sampled_from(TEXTS))
def test_a_prefix_holds_what_starts_with_it(start: str, text: str) -> None:
    assert (text in prefix(start)) == text.startswith(start)
    assert (text in under(start)) == lies_under(text, start)


@given(st.floats(0, 1), st.floats(0, 1), st.booleans(), st.booleans())
def test_ends_belong_to_an_interval_unless_it_is_said_otherwise(
    low: float, high: float, above: bool, below: bool
) -> None:
    found = interval(Line.DOUBLE, low, high, above=above, below=below)
    assert (low in found) == (low <= high and not above and (low < high or not below))
    assert (high in found) == (low <= high and not below and (low < high or not above))


def test_no_whole_number_lies_between_three_and_four() -> None:
    assert interval(Line.INT, 3, 4, above=True, below=True) == NOTHING
    assert interval(Line.INT, 3, 5, above=True, below=True) == interval(Line.INT, 4, 4)
    assert interval(Line.DOUBLE, 3.0, 4.0, above=True, below=True) != NOTHING


def test_intervals_that_touch_are_one() -> None:
    assert interval(Line.INT, 1, 2) | interval(Line.INT, 3, 5) == interval(Line.INT, 1, 5)
    assert (interval(Line.INT, 1, 1) | interval(Line.INT, 3, 5)).spans[1].low == 3  # type: ignore[union-attr]


def test_true_is_not_one() -> None:
    assert 1 not in one_of((True,)) and True in one_of((True,))
    assert True not in interval(Line.INT, 0, 5)
    assert 1 in one_of((True,)).complement()


def test_single_texts_are_a_choice_however_they_were_found() -> None:
    found = interval(Line.TEXT, "a", "a") | one_of(("a\0", "cn"))
    assert found == one_of(("a", "a\0", "cn")) and isinstance(found, Choice)
    assert isinstance(found.complement(), Choice)
    assert isinstance(prefix("a") & one_of(("a",)).complement(), Spans)


def test_moments_have_a_place_to_the_microsecond() -> None:
    at = datetime(2026, 11, 21, 12, 0, 0, 1, tzinfo=UTC)
    assert moment(micros(at)) == at
    assert moment(micros(datetime.min.replace(tzinfo=UTC))) == datetime.min.replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("domain", "words"),
    [
        (one_of(("physician",)), "risk is physician"),
        (one_of(("DX", "CR")), "risk CR or DX"),
        (one_of(("DX", "CR")) | ABSENT, "risk CR or DX or absent"),
        (one_of(("DX",)).complement() & PRESENT, "risk is not DX"),
        (one_of(("DX",)).complement(), "risk is not DX or absent"),
        (one_of((True,)), "risk is true"),
        (ABSENT, "risk absent"),
        (PRESENT, "risk present"),
        (ANYTHING, "risk anything"),
        (NOTHING, "risk never"),
        (interval(Line.INT, 4, 5), "risk 4 to 5"),
        (interval(Line.INT, 4, 4), "risk is 4"),
        (interval(Line.INT, None, 4), "risk up to 4"),
        (interval(Line.INT, 1, 2) | interval(Line.INT, 4, None), "risk 1 to 2 or from 4"),
        (interval(Line.DOUBLE, 0.5, None, above=True), "risk above 0.5"),
        (interval(Line.DOUBLE, 0.25, 0.5), "risk 0.25 to 0.5"),
        (interval(Line.DOUBLE, 0.25, 0.5, below=True), "risk 0.25 to below 0.5"),
        (interval(Line.DOUBLE, None, 0.5), "risk up to 0.5"),
        (interval(Line.DOUBLE, 0.5, 0.5), "risk is 0.5"),
        (interval(Line.DOUBLE, 0.123456789, None), "risk from 0.123456789"),
        (interval(Line.CLOCK, 8 * 3_600_000_000, 17 * 3_600_000_000, below=True), "risk 08:00 to 17:00"),
        (interval(Line.ADDRESS, 10 << 24, (11 << 24) - 1), "risk 10.0.0.0 to 10.255.255.255"),
        (interval(Line.ADDRESS, V6 + 1, V6 + 1), "risk is ::1"),
        (interval(Line.MOMENT, 0, None), "risk from 1970-01-01T00:00:00Z"),
        (interval(Line.MOMENT, 0, 1_000_000, below=True), "risk from 1970-01-01T00:00:00Z until 1970-01-01T00:00:01Z"),
        (prefix("dr."), "risk starting with dr."),
        (under("cn/zj"), "risk cn/zj or starting with cn/zj/"),
        (interval(Line.TEXT, "b", "m"), "risk from 'b' up to 'm'"),
    ],
)
def test_words(domain: Domain, words: str) -> None:
    assert domain.words("risk") == words
