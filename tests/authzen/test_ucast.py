"""Residuals as condition trees."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from adapters.authzen.ucast import condition_tree, is_exact
from spir.model.condition import TRUE
from spir.model.decision import Atom, Clause, Residual


def field(operator, name, value):
    return {"type": "field", "operator": operator, "field": name, "value": value}


def test_clauses_are_alternatives_of_conjunctions_with_their_policies():
    residual = Residual(
        TRUE,
        (
            Clause((Atom("resource.modality", "in", ("CR", "DX")), Atom("resource.sensitivity", "<=", 2)), ("p1",)),
            Clause((), ("p2",), exact=False),
        ),
    )
    conjunctions = [
        {
            "type": "compound",
            "operator": "and",
            "value": [field("in", "resource.modality", ["CR", "DX"]), field("lte", "resource.sensitivity", 2)],
            "policies": ["p1"],
            "exact": True,
        },
        {"type": "compound", "operator": "and", "value": [], "policies": ["p2"], "exact": False},
    ]
    assert condition_tree(residual) == {"type": "compound", "operator": "or", "value": conjunctions}
    assert not is_exact(residual)


def test_no_clause_admits_nothing():
    assert condition_tree(Residual(TRUE, ())) == {"type": "compound", "operator": "or", "value": []}


MOMENT = datetime(2026, 1, 2, tzinfo=UTC)


@pytest.mark.parametrize(
    ("atom", "fields"),
    [
        (Atom("a", "==", "x"), [field("eq", "a", "x")]),
        (Atom("a", "!=", "x"), [field("ne", "a", "x")]),
        (Atom("a", "<", 1), [field("lt", "a", 1)]),
        (Atom("a", ">", 1), [field("gt", "a", 1)]),
        (Atom("a", ">=", MOMENT), [field("gte", "a", "2026-01-02T00:00:00+00:00")]),
        (Atom("a", "between", (1, 5)), [field("gte", "a", 1), field("lte", "a", 5)]),
        (Atom("a", "has", False), [field("exists", "a", False)]),
    ],
)
def test_each_operator_of_an_atom_has_a_field(atom, fields):
    [conjunction] = condition_tree(Residual(TRUE, (Clause((atom,)),)))["value"]
    assert conjunction["value"] == fields
