"""z3 and plain evaluation agree about statements: what it finds holds, and where it finds nothing nothing holds."""

from __future__ import annotations

import operator
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spir.assurance.proof.box import Box
from spir.assurance.proof.domain import Choice, Domain, Line, Point, interval, prefix
from spir.assurance.proof.places import Places
from spir.assurance.proof.solver import Solver, Undecided
from spir.assurance.proof.terms import ALWAYS, NEVER, All, Any, Related, Statement, Variable
from spir.assurance.proof.terms import Test as Within
from spir.assurance.proof.world import World
from spir.language.typecheck import Kind
from spir.language.vocabulary import Declaration, Vocabulary
from spir.model.condition import Attribute, Compare

Values = Mapping[Variable, Point | None]

ROLE, OWNER = Variable("subject.role"), Variable("resource.owner")
LEVEL, RISK = Variable("resource.sensitivity"), Variable("context.risk")
WHOLE = Variable("", Compare("in", Attribute("subject.role"), Attribute("subject.roles")))
WORLD = World(
    Vocabulary(
        attributes={
            path: Declaration(path, kind)
            for path, kind in {
                "subject.role": Kind("string"),
                "subject.roles": Kind("list<string>"),
                "resource.owner": Kind("string"),
                "resource.sensitivity": Kind("int", (), 0, 7),
                "context.risk": Kind("double"),
            }.items()
        }
    )
)

TEXTS = ("", "a", "ab", "b", "dr.", "dr.li", "dr.wang", "x")
OPS = {"==": operator.eq, "!=": operator.ne, "<": operator.lt, "<=": operator.le}


def holds(statement: Statement, values: Values) -> bool:
    match statement:
        case Within(variable, domain):
            return values[variable] in domain
        case Related(op, left, right):
            one, other = values[left], values[right]
            return one is not None and other is not None and OPS[op](one, other)
        case All(items):
            return all(holds(item, values) for item in items)
        case Any(items):
            return any(holds(item, values) for item in items)


def assigned(found: Box) -> Values:
    """A request of the cell that was found; what it says nothing about is absent."""
    named = found.example()
    assert named is not None
    return {variable: named.get(variable) for variable in (ROLE, OWNER, LEVEL, RISK, WHOLE)}


def texts() -> st.SearchStrategy[Domain]:
    some = st.frozensets(st.sampled_from(TEXTS), max_size=3)
    choices = st.builds(Choice, some, st.booleans(), st.booleans())
    return st.one_of(choices, st.sampled_from(("dr.", "a", "b")).map(prefix))


def numbers(line: Line) -> st.SearchStrategy[Domain]:
    ends = st.integers(0, 6) if line is Line.INT else st.sampled_from((0.0, 0.1, 0.25, 0.5, 1.0))
    spans = st.builds(
        lambda low, high, above, below: interval(line, low, high, above=above, below=below),
        *(st.none() | ends for _ in "lh"),
        *(st.booleans() for _ in "ab"),
    )
    return st.one_of(spans, spans.map(lambda domain: domain.complement()))


def parts() -> st.SearchStrategy[Statement]:
    return st.one_of(
        st.builds(Within, st.sampled_from((ROLE, OWNER)), texts()),
        st.builds(Within, st.just(LEVEL), numbers(Line.INT)),
        st.builds(Within, st.just(RISK), numbers(Line.DOUBLE)),
        st.builds(
            Within, st.just(WHOLE), st.builds(Choice, st.frozensets(st.booleans()), st.booleans(), st.booleans())
        ),
        st.builds(Related, st.sampled_from(sorted(OPS)), *[st.sampled_from((ROLE, OWNER))] * 2),
        st.builds(Related, st.sampled_from(sorted(OPS)), st.just(RISK), st.just(RISK)),
        st.sampled_from((ALWAYS, NEVER)),
    )


def statements() -> st.SearchStrategy[Statement]:
    def several(inner: st.SearchStrategy[Statement]) -> st.SearchStrategy[Statement]:
        items = st.lists(inner, min_size=1, max_size=3).map(tuple)
        return st.one_of(items.map(All), items.map(Any))

    return st.recursive(parts(), several, max_leaves=6)


def values() -> st.SearchStrategy[Values]:
    return st.fixed_dictionaries(
        {
            ROLE: st.none() | st.sampled_from((*TEXTS, "dr", "zz")),
            OWNER: st.none() | st.sampled_from((*TEXTS, "dr", "zz")),
            LEVEL: st.none() | st.integers(0, 7),
            RISK: st.none() | st.sampled_from((-1.0, 0.0, 0.1, 0.2, 0.25, 0.5, 0.75, 1.0, 2.0)),
            WHOLE: st.booleans(),
        }
    )


@given(statements(), statements(), st.lists(values(), min_size=5, max_size=20))
def test_what_is_found_holds_and_where_nothing_is_found_nothing_holds(
    wanted: Statement, unwanted: Statement, samples: list[Values]
) -> None:
    found = Solver(WORLD).find([wanted], [unwanted])
    if found is None:
        assert not any(holds(wanted, each) and not holds(unwanted, each) for each in samples)
    else:
        point = assigned(found)
        assert holds(wanted, point) and not holds(unwanted, point)


@given(statements(), statements())
def test_what_is_given_for_a_while_is_forgotten_afterwards(first: Statement, second: Statement) -> None:
    solver = Solver(WORLD)
    with solver.given(first):
        together = solver.find([second])
    assert (together is None) is (Solver(WORLD).find([first, second]) is None)
    assert (solver.find([second]) is None) is (Solver(WORLD).find([second]) is None)


def test_what_cannot_be_at_all_is_not_found() -> None:
    assert Solver(WORLD).find([Within(LEVEL, interval(Line.INT, 8, None))]) is None
    assert Solver(WORLD).find([Within(LEVEL, interval(Line.INT, 7, None))]) is not None


def test_a_question_beyond_its_bounds_is_not_decided() -> None:
    levels = [Variable(f"resource.level-{number}") for number in range(12)]
    world = World(Vocabulary(attributes={one.path: Declaration(one.path, Kind("int")) for one in levels}))
    different = [Related("!=", one, other) for at, one in enumerate(levels) for other in levels[:at]]
    few = [Within(level, interval(Line.INT, 1, 11)) for level in levels]
    with pytest.raises(Undecided, match="z3 did not decide"):
        Solver(world, effort=1000).find([*different, *few])


@given(st.lists(st.text("ab\0", max_size=3), min_size=1, max_size=8))
def test_texts_keep_their_order_as_places(named: list[str]) -> None:
    places = Places()
    found = {text: places.of(text) for text in named}
    assert sorted(found, key=found.__getitem__) == sorted(found)
    assert all(places.of(text) == place for text, place in found.items())
