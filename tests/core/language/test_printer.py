"""What is printed reads back as the same tree."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import MappingProxyType

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.language.cel import LOOPS, RESERVED, parse
from spir.language.printer import to_cel
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


@pytest.mark.parametrize(
    "text",
    [
        'subject.role == "physician" && (resource.vip || !has(resource.owner))',
        "(1 + 2) * 3 - (4 - 5)",
        "(true ? false : true) ? 1 : true ? 2 : 3",
        'resource.labels.exists(x, x.startsWith("a") && resource.level != 1)',
        '-(1) < -1 && "a\\n\\"b\\\\" != "\\U00000000"',
        'context.now < timestamp("2026-01-01T00:00:00.5Z") + duration("-1.5s")',
        'time.between("22:00", "06:00") && ip.in(context.ip, "10.0.0.0/8")',
        '{"a": [1, 2.0, null, true, b\'\\x00\']}["a"].map(x, x != 1, [x])',
    ],
)
def test_a_printed_condition_is_how_a_person_writes_it(text: str):
    assert to_cel(parse(text)) == text


def test_what_people_cannot_write_is_printed_for_explanations():
    assert to_cel(Definitely(Attribute("subject.role"))) == "definitely(subject.role)"


names = st.from_regex(r"[a-z_][a-z0-9_]{0,3}", fullmatch=True).filter(lambda name: name not in RESERVED)
attributes = st.builds(
    lambda root, rest: Attribute(".".join([root, *rest])),
    st.sampled_from(["subject", "resource", "action", "context"]),
    st.lists(names, min_size=1, max_size=2),
)
scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(2**63), 2**63 - 1),
    st.floats(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=5),
    st.binary(max_size=4),
    st.datetimes(timezones=st.just(UTC)),
    st.timedeltas(timedelta(days=-9000), timedelta(days=9000)),
)
values = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=3).map(tuple)
        | st.dictionaries(st.text(max_size=3), inner, max_size=2).map(MappingProxyType)
    ),
    max_leaves=4,
)
leaves = values.map(Literal) | attributes | st.just(Variable("x"))


def _flat(kind: type[And] | type[Or], items: list[Condition]) -> Condition:
    parts: list[Condition] = []
    for item in items:
        parts.extend(item.items if isinstance(item, kind) else (item,))
    return kind(tuple(parts))


def _list(items: list[Condition]) -> Condition:
    constant = [item.value for item in items if isinstance(item, Literal)]
    return Literal(tuple(constant)) if len(constant) == len(items) else ListOf(tuple(items))


def _index(operand: Condition, key: Condition) -> Condition:
    return Index(Variable("x") if isinstance(operand, Attribute) else operand, key)


def nodes(inner: st.SearchStrategy[Condition]) -> st.SearchStrategy[Condition]:
    several = st.lists(inner, min_size=2, max_size=3)
    free = inner.filter(lambda node: not isinstance(node, Literal))
    select = st.builds(Select, inner.filter(lambda node: not isinstance(node, Attribute)), names)
    loops = st.sampled_from([kind for kind in LOOPS if kind != "map"])
    return st.one_of(
        several.map(lambda items: _flat(And, items)),
        several.map(lambda items: _flat(Or, items)),
        several.map(_list),
        select,
        st.builds(Has, attributes | select),
        st.builds(Not, inner),
        st.builds(Negate, inner),
        st.builds(_index, inner, inner),
        st.builds(Compare, st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "in"]), inner, inner),
        st.builds(Arithmetic, st.sampled_from(list("+-*/%")), inner, inner),
        st.builds(Conditional, inner, inner, inner),
        st.builds(lambda key, value: MapOf(((Literal(key), value),)), st.text(max_size=3), free),
        st.builds(lambda a: Call("size", (a,)), free),
        st.builds(lambda a, b: Call("startsWith", (a, b)), free, free),
        st.builds(lambda a, b: Call("org.under", (a, b)), free, free),
        st.builds(lambda over, body: Comprehension("exists", over, "x", body), inner, inner),
        st.builds(lambda kind, over, body: Comprehension(kind, over, "x", body), loops, inner, inner),
        st.builds(lambda over, a, b: Comprehension("map", over, "y", a, b), inner, inner, inner | st.none()),
    )


@given(st.recursive(leaves, nodes, max_leaves=10))
@settings(max_examples=1000, deadline=None)
def test_a_printed_condition_reads_back_as_the_same(condition: Condition):
    assert parse(to_cel(condition), variables=("x", "y")) == condition


@pytest.mark.parametrize(
    "inner", [Literal(0), Index(Literal(0), Variable("x")), Literal(-1), Literal(0.5), Literal("a")]
)
def test_the_negation_of_what_begins_with_digits_reads_back_as_a_negation(inner: Condition):
    assert parse(to_cel(Negate(inner)), variables="x") == Negate(inner)


def test_a_time_in_another_zone_reads_back_as_the_same_moment():
    moment = datetime.fromisoformat("2026-01-01T08:00:00+08:00")
    assert parse(to_cel(Literal(moment))) == Literal(moment)
