"""Simplified clauses admit the same rows, and say it in fewer words."""

from __future__ import annotations

from datetime import timedelta
from random import Random
from typing import Any

import pytest

from spir.engine.clauses import simplified
from spir.engine.evaluate import Scope, evaluate
from spir.engine.residual import Relations, clauses
from spir.engine.ruleset import UTC
from spir.model.condition import And, Attribute, Compare, Condition, Definitely, Has, Literal
from spir.model.decision import Atom, Clause
from spir.model.facts import empty_snapshot
from spir.model.value import Unknown, Value, Why
from tests.given import NOON

M, S, C = "resource.modality", "resource.sensitivity", "resource.category"
CT, CR = Atom(M, "==", "CT"), Atom(M, "==", "CR")


def clause(*atoms: Atom, policies: str = "p", exact: bool = True) -> Clause:
    return Clause(atoms, tuple(policies), exact)


# -- one clause ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "left"),
    (
        ((CT, Atom(M, "in", ("CT", "CR"))), (CT,)),
        ((Atom(M, "in", ("CT", "CR")), Atom(M, "!=", "DX")), (Atom(M, "in", ("CT", "CR")),)),
        ((Atom(M, "has", True), CT), (CT,)),
        ((Atom(M, "has", True), Atom(M, "!=", "CT")), (Atom(M, "!=", "CT"),)),
        ((Atom(S, "<", 3), Atom(S, "<=", 3), Atom(S, "<", 4)), (Atom(S, "<", 3),)),
        ((Atom(S, ">=", 3), Atom(S, ">", 2)), (Atom(S, ">=", 3),)),
        ((Atom(S, ">", 3), Atom(S, "!=", 2)), (Atom(S, ">", 3),)),
        ((Atom(S, "between", (1, 3)), Atom(S, "<=", 4)), (Atom(S, "between", (1, 3)),)),
        ((Atom(S, "==", 1), Atom(S, "in", (1,))), (Atom(S, "in", (1,)),)),
        ((CT, CT, Atom(S, "<", 3)), (CT, Atom(S, "<", 3))),
        ((CT, Atom(S, "<", 3)), (CT, Atom(S, "<", 3))),
    ),
)
def test_an_atom_that_others_imply_is_left_out(given: tuple[Atom, ...], left: tuple[Atom, ...]) -> None:
    assert simplified([clause(*given)]) == (clause(*left),)


@pytest.mark.parametrize(
    "atoms",
    (
        (CT, CR),
        (Atom(M, "in", ()),),
        (CT, Atom(M, "!=", "CT")),
        (Atom(M, "has", False), CT),
        (Atom(M, "has", False), Atom(M, "has", True)),
        (Atom(S, "<", 3), Atom(S, ">=", 3)),
        (Atom(S, "between", (1, 3)), Atom(S, ">", 3)),
        (Atom(S, "==", True), Atom(S, "==", 1)),
        (Atom(S, "in", (1, 2)), Atom(S, ">", 2)),
    ),
)
def test_a_clause_that_no_row_can_meet_is_dropped(atoms: tuple[Atom, ...]) -> None:
    assert simplified([clause(*atoms)]) == ()


# -- several ---------------------------------------------------------------------------------


def test_equal_clauses_become_one_of_all_their_policies() -> None:
    one, other = clause(CT, Atom(S, "<", 3), policies="b"), clause(Atom(S, "<", 3), CT, policies="a", exact=False)
    assert simplified([one, other]) == (clause(CT, Atom(S, "<", 3), policies="ab"),)


def test_a_clause_that_another_includes_is_dropped() -> None:
    wide = clause(Atom(M, "in", ("CT", "CR")), policies="w")
    assert simplified([clause(CT, Atom(S, "<", 3)), wide, clause(CR)]) == (wide,)


def test_a_clause_that_bounds_nothing_is_all_that_is_left() -> None:
    assert simplified([clause(CT), clause(exact=False), clause(CR)]) == (clause(exact=False),)


def test_clauses_that_overlap_both_stay() -> None:
    both = (clause(Atom(S, "<", 3)), clause(Atom(S, ">", 1)))
    assert simplified(both) == both


def test_of_clauses_that_include_each_other_one_stays() -> None:
    assert simplified([clause(Atom(S, "==", 1)), clause(Atom(S, "in", (1.0,)))]) == (clause(Atom(S, "in", (1.0,))),)


def test_one_and_true_are_not_the_same() -> None:
    both = (clause(Atom(S, "==", 1)), clause(Atom(S, "==", True)))
    assert simplified(both) == both


def test_the_residual_keeps_clauses_apart_that_python_holds_equal() -> None:
    one, true = (Definitely(Compare("==", Attribute(S), Literal(value))) for value in (1, True))
    nothing = Relations(empty_snapshot(), NOON)
    found = clauses([("a", one), ("b", true)], Literal(True), nothing)
    assert [(c.atoms[0].value is True, c.policies) for c in found] == [(False, ("a",)), (True, ("b",))]
    assert clauses([("a", And((one, true)))], Literal(True), nothing) == ()


def test_the_residual_is_simplified() -> None:
    wide = Definitely(Compare("in", Attribute(M), Literal(("CT", "CR"))))
    narrow = Definitely(Compare("==", Attribute(M), Literal("CT")))
    found = clauses([("n", narrow), ("w", wide)], Literal(True), Relations(empty_snapshot(), NOON))
    assert found == (clause(Atom(M, "in", ("CT", "CR")), policies="w"),)


# -- the property ----------------------------------------------------------------------------

VALUES: tuple[Value, ...] = ("a", "b", 0, 1, 2, 1.0, 1.5, True, False, NOON, NOON + timedelta(1), 2**60, 2.0**60)
NAMES = ("x", "y")
PLAIN = ("==", "!=", "<", "<=", ">", ">=")


def test_simplified_clauses_admit_the_very_same_rows() -> None:
    """1,500 random disjunctions, each on every row of two attributes."""
    values = (None, *VALUES)
    rows = [{"x": x, "y": y} for x in values for y in values]
    shorter = 0
    for seed in range(1500):
        random = Random(seed)
        given = tuple(random_clause(random) for _ in range(random.randint(1, 4)))
        found = simplified(given)
        for row in random.sample(rows, 30):
            assert admits(given, row) is admits(found, row), (seed, row, given, found)
        assert sum(len(c.atoms) for c in found) <= sum(len(c.atoms) for c in given), seed
        assert len(found) <= len(given) and simplified(found) == found, seed
        assert all(c.exact for c in found) or not all(c.exact for c in given)
        shorter += found != given
    assert shorter > 500


def random_clause(random: Random) -> Clause:
    atoms = tuple(random_atom(random) for _ in range(random.randint(0, 3)))
    return Clause(atoms, (random.choice("pqr"),), random.random() < 0.8)


def random_atom(random: Random) -> Atom:
    name, kind = random.choice(NAMES), random.random()
    if kind < 0.15:
        return Atom(name, "has", random.random() < 0.7)
    if kind < 0.45:
        return Atom(name, "in", tuple(random.sample(VALUES, random.randint(0, 4))))
    if kind < 0.55:
        return Atom(name, "between", tuple(random.choice((0, 1, 2, 1.5)) for _ in range(2)))
    return Atom(name, random.choice(PLAIN), random.choice(VALUES))


def admits(found: tuple[Clause, ...], row: dict[str, Any]) -> bool:
    return any(all(meets(atom, row) for atom in clause.atoms) for clause in found)


def meets(atom: Atom, row: dict[str, Any]) -> bool:
    """As a row is judged: the atom is surely true of it."""

    def lookup(path: str) -> Value | Unknown:
        return Unknown.of(path, Why.MISSING) if row[path] is None else row[path]

    return all(evaluate(part, lookup, Scope(NOON, UTC)) is True for part in conditions(atom))


def conditions(atom: Atom) -> tuple[Condition, ...]:
    attribute = Attribute(atom.attribute)
    if atom.op == "has":
        return (Has(attribute),) if atom.value else (Compare("==", Literal(False), Has(attribute)),)
    if atom.op == "between":
        assert isinstance(atom.value, tuple)
        return tuple(Compare(op, attribute, Literal(v)) for op, v in zip((">=", "<="), atom.value, strict=True))
    return (Compare(atom.op, attribute, Literal(atom.value)),)
