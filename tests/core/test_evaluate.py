"""The plain evaluator: three-valued logic, and unknown instead of an exception, always."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.engine.evaluate import Result, Scope, evaluate, free_attributes
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
    Definitely,
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
from spir.model.value import Lack, Unknown, Value, Why, freeze

NOW = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)  # noon in Shanghai
SCOPE = Scope(NOW, ZoneInfo("Asia/Shanghai"))
ROLE, LATER, GONE, DOWN = (Attribute(f"resource.{name}") for name in ("role", "later", "gone", "down"))
KNOWN: dict[str, Value | Unknown] = {
    "resource.role": "physician",
    "resource.level": 3,
    "resource.later": Unknown.of("resource.later", Why.DEFERRED),
    "resource.down": Unknown.of("resource.down", Why.FAILED),
    "resource.labels": ("VIP", "N"),
    "resource.null": None,
    "resource.entries": freeze([{"code": "A"}, {"other": 1}]),
}
ZERO = Arithmetic("/", Literal(1), Literal(0))
YES, NO = Literal(True), Literal(False)


def lookup(path: str) -> Value | Unknown:
    return KNOWN.get(path, Unknown.of(path, Why.MISSING))


def value(condition: Condition) -> Result:
    return evaluate(condition, lookup, SCOPE)


def lacks(*found: tuple[str, Why]) -> Unknown:
    return Unknown(frozenset(Lack(*one) for one in found))


MISSING = lacks(("resource.gone", Why.MISSING))
DEFERRED = lacks(("resource.later", Why.DEFERRED))
INVALID = lacks(("/", Why.INVALID))


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (And((GONE, NO)), False),
        (And((NO, ZERO)), False),
        (And((YES, GONE)), MISSING),
        (And((GONE, LATER)), MISSING | DEFERRED),
        (And((YES, Literal(1))), lacks(("&&", Why.INVALID))),
        (Or((GONE, YES)), True),
        (Or((NO, GONE)), MISSING),
        (Or((ZERO, Literal("a"))), INVALID | lacks(("||", Why.INVALID))),
        (Not(GONE), MISSING),
        (Not(NO), True),
        (Not(Literal(0)), lacks(("!", Why.INVALID))),
        (Conditional(YES, Literal(1), ZERO), 1),
        (Conditional(GONE, Literal(1), Literal(1)), 1),
        (Conditional(GONE, Literal(1), Literal(2)), MISSING),
        (Conditional(GONE, Literal(1), Literal(True)), MISSING),
        (Conditional(Literal("x"), YES, YES), lacks(("?:", Why.INVALID))),
    ],
)
def test_logic_is_strong_kleene(condition: Condition, expected: Result):
    assert value(condition) == expected


@pytest.mark.parametrize("op", ["==", "!=", "<", "<=", ">", ">=", "in"])
def test_a_missing_operand_is_unknown_whatever_the_comparison(op: str):
    assert value(Compare(op, GONE, Literal(("a",)))) == MISSING


@pytest.mark.parametrize(
    ("left", "right"),
    [(1, "1"), (True, 1), (1.0, True), ("a", b"a"), (None, 0), (NOW, "2026-01-01T00:00:00Z"), ((), "")],
)
@pytest.mark.parametrize("op", ["==", "!="])
def test_another_type_is_unknown_and_never_merely_unequal(op: str, left: Value, right: Value):
    assert value(Compare(op, Literal(left), Literal(right))) == lacks((op, Why.INVALID))


def test_a_comparison_without_meaning_names_the_attribute():
    assert value(Compare("!=", ROLE, Literal(4))) == lacks(("resource.role", Why.INVALID))


@pytest.mark.parametrize(
    ("op", "left", "right", "expected"),
    [
        ("==", 1, 1.0, True),
        ("<", 9223372036854775807, 9223372036854775808.0, False),
        ("==", ("a", 1), ("a", 1.0), True),
        ("==", ("a", 1), ("b", "x"), False),
        ("==", ("a",), ("a", "b"), False),
        ("in", "b", ("a", "b"), True),
        ("in", "b", (1, "b"), True),
        ("in", "k", {"k": 1}, True),
        ("in", {}, {}, False),
        ("in", 7, (), False),
        ("==", {"k": (1,)}, {"k": (1,)}, True),
        ("!=", {"k": 1}, {"j": 1}, True),
        ("<", False, True, True),
        ("==", None, None, True),
        ("==", float("nan"), float("nan"), False),
    ],
)
def test_comparing_values(op: str, left: Any, right: Any, expected: bool):
    assert value(Compare(op, Literal(freeze(left)), Literal(freeze(right)))) is expected


def test_membership_is_unknown_if_only_members_of_another_type_are_left():
    assert value(Compare("in", Literal("b"), Literal((1, "a")))) == lacks(("in", Why.INVALID))


def test_times_are_compared_as_moments_even_across_a_change_of_the_clocks():
    zone = ZoneInfo("Europe/Berlin")
    first, second = datetime(2026, 10, 25, 2, 30, tzinfo=zone), datetime(2026, 10, 25, 2, 30, fold=1, tzinfo=zone)
    assert value(Compare("<", Literal(first), Literal(second))) is True
    assert value(Arithmetic("-", Literal(second), Literal(first))) == timedelta(hours=1)


def test_a_time_without_a_zone_is_no_moment():
    naive = Literal(datetime(2026, 1, 1))
    assert value(Compare("==", naive, Literal(NOW))) == lacks(("==", Why.INVALID))


@pytest.mark.parametrize(
    ("op", "left", "right"),
    [
        ("/", 1, 0),
        ("%", 1, 0),
        ("+", 2**63 - 1, 1),
        ("/", -(2**63), -1),
        ("%", -(2**63), -1),
        ("+", 1, 1.0),
        ("+", "a", 1),
        ("+", datetime.max.replace(tzinfo=UTC), timedelta(days=1)),
    ],
)
def test_calculating_without_meaning_is_unknown(op: str, left: Value, right: Value):
    assert value(Arithmetic(op, Literal(left), Literal(right))) == lacks((op, Why.INVALID))


def test_whole_numbers_divide_towards_zero():
    assert value(Arithmetic("/", Literal(-7), Literal(2))) == -3
    assert value(Arithmetic("%", Literal(-7), Literal(2))) == -1


def test_has_is_decided_unless_the_data_is_to_come_or_its_source_is_down():
    assert value(Has(ROLE)) is True
    assert value(Has(GONE)) is False
    assert value(Has(Attribute("resource.null"))) is False
    assert value(Has(LATER)) == DEFERRED
    assert value(Has(DOWN)) == lacks(("resource.down", Why.FAILED))


def test_has_of_a_field_of_a_map():
    entry = Index(Attribute("resource.entries"), Literal(1))
    assert value(Has(Select(entry, "other"))) is True
    assert value(Has(Select(entry, "code"))) is False


def test_an_attribute_whose_value_is_null_is_missing():
    assert value(Attribute("resource.null")) == lacks(("resource.null", Why.MISSING))


def test_definitely_waits_only_for_deferred_data():
    assert value(Definitely(YES)) is True
    assert value(Definitely(NO)) is False
    assert value(Definitely(GONE)) is False
    assert value(Definitely(Literal("text"))) is False
    assert value(Definitely(LATER)) == DEFERRED
    assert value(Definitely(And((LATER, GONE)))) == DEFERRED | MISSING


def test_an_operation_on_what_will_never_be_known_does_not_wait_for_deferred_data():
    assert value(Compare("==", LATER, GONE)) == MISSING
    assert value(Definitely(Compare("==", LATER, GONE))) is False


LABELS = Attribute("resource.labels")
X = Variable("x")


def over(kind: str, body: Condition, result: Condition | None = None, source: Condition = LABELS) -> Comprehension:
    return Comprehension(kind, source, "x", body, result)


@pytest.mark.parametrize(
    ("condition", "expected"),
    [
        (over("exists", Compare("==", X, Literal("N"))), True),
        (over("exists", Or((Compare("==", X, Literal("N")), GONE))), True),
        (over("exists", GONE), MISSING),
        (over("all", Compare("!=", X, Literal("R"))), True),
        (over("all", And((Compare("==", X, Literal("N")), GONE))), False),
        (over("exists_one", Compare("==", X, Literal("N"))), True),
        (over("exists_one", YES), False),
        (over("exists_one", Compare("==", X, GONE)), MISSING),
        (over("filter", Compare("==", X, Literal("N"))), ("N",)),
        (over("filter", GONE), MISSING),
        (over("map", Arithmetic("+", X, Literal("!"))), ("VIP!", "N!")),
        (over("map", Compare("==", X, Literal("N")), Call("size", (X,))), (1,)),
        (over("exists", YES, source=GONE), MISSING),
        (over("exists", YES, source=ROLE), lacks(("resource.role", Why.INVALID))),
        (over("exists", Compare("==", X, Literal("k")), source=Literal(freeze({"k": 1}))), True),
    ],
)
def test_comprehensions(condition: Condition, expected: Result):
    assert value(condition) == expected


def test_variables_end_with_their_comprehension():
    assert value(X) == lacks(("x", Why.INVALID))


def test_indexing():
    assert value(Index(LABELS, Literal(0))) == "VIP"
    assert value(Index(LABELS, Literal(2))) == lacks(("[]", Why.INVALID))
    assert value(Index(LABELS, Literal(-1))) == lacks(("[]", Why.INVALID))
    assert value(Index(LABELS, Literal(True))) == lacks(("resource.labels", Why.INVALID))
    assert value(Index(Literal(freeze({"a": 1})), Literal("b"))) == lacks(("[b]", Why.MISSING))


def test_lists_and_maps_are_made_of_values():
    assert value(ListOf((ROLE, Literal(1)))) == ("physician", 1)
    assert value(ListOf((ROLE, GONE))) == MISSING
    assert value(MapOf(((Literal("k"), ROLE),))) == {"k": "physician"}
    assert value(MapOf(((Literal("k"), ROLE), (Literal("k"), ROLE)))) == lacks(("{}", Why.INVALID))
    assert value(MapOf(((Literal(1), ROLE),))) == lacks(("{}", Why.INVALID))


def test_the_free_attributes_are_all_that_it_reads():
    condition = over("exists", Compare("==", X, Has(Attribute("resource.a.b"))), source=Attribute("subject.roles"))
    assert free_attributes(condition) == {"subject.roles", "resource.a.b"}


# -- it never raises -------------------------------------------------------------------------

scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=5),
    st.binary(max_size=3),
    st.datetimes(),
    st.datetimes(timezones=st.just(ZoneInfo("Europe/Berlin"))),
    st.timedeltas(),
    st.sampled_from(["08:00", "15m", "2026-01-01T00:00:00Z", "10.0.0.0/8", "10.1.2.3", "(a", "UTC", "-1"]),
)
values = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3)
).map(freeze)
attributes = st.sampled_from([*KNOWN, "resource.gone"]).map(Attribute)


def nodes(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(inner, min_size=2, max_size=3).map(tuple)
    return st.one_of(
        st.builds(Not, inner),
        st.builds(And, several),
        st.builds(Or, several),
        st.builds(Compare, st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in"]), inner, inner),
        st.builds(Arithmetic, st.sampled_from("+-*/%"), inner, inner),
        st.builds(Negate, inner),
        st.builds(Definitely, inner),
        st.builds(Has, inner),
        st.builds(Conditional, inner, inner, inner),
        st.builds(Index, inner, inner),
        st.builds(Select, inner, st.sampled_from(["code", "x"])),
        st.builds(ListOf, several),
        st.builds(MapOf, st.lists(st.tuples(inner, inner), max_size=2).map(tuple)),
        st.builds(Call, st.sampled_from([*FUNCTIONS, "nothing"]), several),
        st.builds(Call, st.sampled_from([*FUNCTIONS]), st.tuples(inner)),
        st.builds(
            Comprehension,
            st.sampled_from(["exists", "all", "exists_one", "filter", "map"]),
            inner,
            st.just("x"),
            inner,
            st.none() | inner,
        ),
    )


conditions = st.recursive(st.one_of(values.map(Literal), attributes, st.just(X)), nodes, max_leaves=8)


@given(conditions)
@settings(max_examples=400, deadline=None)
def test_no_tree_and_no_values_make_it_raise(condition: Condition):
    value(condition)


@given(conditions, values)
@settings(max_examples=300, deadline=None)
def test_more_knowledge_never_changes_what_was_decided(condition: Condition, later: Value):
    before = value(condition)
    known = {**KNOWN, "resource.later": later if later is not None else lacks(("resource.later", Why.MISSING))}
    after = evaluate(condition, lambda path: known.get(path, Unknown.of(path, Why.MISSING)), SCOPE)
    if not isinstance(before, Unknown) or not before.deferred:
        assert repr(after) == repr(before) or isinstance(before, Unknown)
        assert isinstance(after, Unknown) == isinstance(before, Unknown)
