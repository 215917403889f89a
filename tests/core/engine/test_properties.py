"""The three properties of policy.md, and that the engine means what policy.md says."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet
from spir.engine.ruling import rule
from spir.model.decision import Atom, Effect
from spir.model.facts import Snapshot
from spir.model.policy import Kind, Layer
from spir.model.request import Request
from tests.core.engine.oracle import expected
from tests.core.engine.strategies import requests, rows, rule_sets, snapshots
from tests.given import NOON

many = settings(max_examples=100, deadline=None)


@many
@given(rule_sets(), requests(), snapshots(), rows())
def test_a_decision_is_what_the_document_says(
    rules: RuleSet, request: Request, facts: Snapshot, row: dict[str, Any]
) -> None:
    complete = request.completed(row)
    decision = decide(rules, complete, facts, NOON)
    permitted, obligations = expected(rules, complete, facts)
    assert (decision.effect is Effect.PERMIT, decision.obligations) == (permitted, obligations)
    assert decision.effect is not Effect.CONDITIONAL
    assert decision.reasons or permitted


@many
@given(rule_sets(), requests(), snapshots(), rows())
def test_plan_equals_check(rules: RuleSet, request: Request, facts: Snapshot, row: dict[str, Any]) -> None:
    admission = rule(rules, request, facts, NOON).admit(row)
    assert (admission.admitted, admission.obligations) == expected(rules, request.completed(row), facts)


@many
@given(rule_sets(), requests(), snapshots(), rows(), st.data())
def test_plan_equals_check_when_a_part_was_known_before(
    rules: RuleSet, request: Request, facts: Snapshot, row: dict[str, Any], data: st.DataObject
) -> None:
    partly = _knowing(request, row, data)
    admission = rule(rules, partly, facts, NOON).admit(row)
    assert (admission.admitted, admission.obligations) == expected(rules, request.completed(row), facts)


@many
@given(rule_sets(), requests(), snapshots(), rows())
def test_clauses_never_say_more_than_the_residual(
    rules: RuleSet, request: Request, facts: Snapshot, row: dict[str, Any]
) -> None:
    ruling = rule(rules, request, facts, NOON)
    clauses = ruling.decision.residual.clauses
    fits = any(all(_fits(atom, row) for atom in clause.atoms) for clause in clauses)
    permitted, _ = expected(rules, request.completed(row), facts)
    assert fits or not permitted
    if fits and all(clause.exact for clause in clauses) and not ruling.decision.tied:
        assert permitted


@many
@given(rule_sets(), requests(), snapshots(), rows(), st.data())
def test_more_knowledge_never_makes_a_decision_conditional_again(
    rules: RuleSet, request: Request, facts: Snapshot, row: dict[str, Any], data: st.DataObject
) -> None:
    less = _knowing(request, row, data)
    more = _knowing(less, row, data)
    before, after = decide(rules, less, facts, NOON), decide(rules, more, facts, NOON)
    if before.effect is not Effect.CONDITIONAL:
        assert after.effect is before.effect or (before.permitted and after.denied and _conflicts(after))


@many
@given(rule_sets(), requests(), snapshots(), rows())
def test_a_lower_layer_never_permits_what_a_layer_above_does_not_cover(
    rules: RuleSet, request: Request, facts: Snapshot, row: dict[str, Any]
) -> None:
    complete = request.completed(row)
    for layer in (Layer.NATIONAL, Layer.PROVINCIAL):
        above = tuple(found for found in rules.sets if found.layer <= layer)
        ceiling = RuleSet.of((*map(_as_permits, above),), "", rules.site)
        if rules.layers(rules.site.organization)[:1] != (layer,):
            continue
        if decide(rules, complete, facts, NOON).permitted:
            assert decide(ceiling, complete, facts, NOON).permitted


def _as_permits(found: Any) -> Any:
    """The same set with its delegates as permits and without duties: all that it would let pass."""
    from dataclasses import replace

    kinds = {Kind.DELEGATE: Kind.PERMIT}
    policies = tuple(replace(p, kind=kinds.get(p.kind, p.kind), obligations=()) for p in found.policies)
    return replace(found, policies=policies)


def _knowing(request: Request, row: dict[str, Any], data: st.DataObject) -> Request:
    """The request with a part of the row already in it; the rest stays deferred."""
    from dataclasses import replace

    names = data.draw(st.sets(st.sampled_from(sorted(row)))) if row else set()
    known = request.completed({name: row[name] for name in names})
    return replace(known, deferred=request.deferred)


def _conflicts(decision: Any) -> bool:
    return any(reason.code == "obligations-conflict" for reason in decision.reasons)


def _fits(atom: Atom, row: dict[str, Any]) -> bool:
    """The atom on a row, three-valued logic's true as True and all else as False."""
    name = atom.attribute.removeprefix("resource.")
    value = row.get("patient", {}).get("id") if name == "patient.id" else row.get(name)
    if atom.op == "has":
        return (value is not None) is atom.value
    if value is None or isinstance(value, bool) != isinstance(atom.value, bool):
        return value is not None and atom.op == "in" and value in atom.value  # type: ignore[operator]
    match atom.op:
        case "in":
            return value in atom.value  # type: ignore[operator]
        case "==":
            return bool(value == atom.value)
        case "!=":
            return type(value) is type(atom.value) and value != atom.value
    if type(value) is not type(atom.value):
        return False
    return bool(
        {"<": value < atom.value, "<=": value <= atom.value, ">": value > atom.value, ">=": value >= atom.value}[
            atom.op
        ]
    )
