"""Rows are judged by functions: each as the interpreter judges it, whatever is missing in it or of another type."""

from __future__ import annotations

from dataclasses import replace
from types import MappingProxyType

import pytest

from spir.engine.attributes import Attributes, NoFacts
from spir.engine.compiled.facts import Facts
from spir.engine.compiled.parts import Part
from spir.engine.compiled.question import asking
from spir.engine.compiler import compile_rules
from spir.engine.evaluate import Scope, evaluate
from spir.engine.ruling import rule
from spir.model.condition import And, Attribute, Compare, Condition, Definitely, Has, Literal, Not, Or
from spir.model.decision import Effect
from spir.model.facts import Assert, Doubt, Fact, FactStore, Join, Joining, empty_snapshot
from spir.model.request import Entity, Request
from tests.core.compiled.random_cases import SHANGHAI, Cases
from tests.given import DR_LI, NOON

CASES = 60
ASKED = 25  # of each rule set
ROWS = 6


def test_every_row_of_a_conditional_decision_is_judged_as_by_the_reference() -> None:
    judged = admitted = 0
    for seed in range(CASES):
        cases = Cases(f"rows {seed}")
        rules = cases.rules(most=6)
        compiled = compile_rules(rules)
        for _ in range(ASKED):
            view, at, request = cases.view(), cases.moment(), cases.request()
            unknown = replace(request.resource, properties=MappingProxyType({}))
            request = replace(request, resource=unknown, deferred=frozenset(("resource",)))
            ours = rule(rules, request, view, at, decide=compiled.decide)
            if ours.decision.effect is not Effect.CONDITIONAL:
                continue
            oracle = rule(rules, request, view, at)
            for _ in range(ROWS):
                row = cases.row()
                admission = ours.admit(row)
                assert admission == oracle.admit(row), f"seed {seed}"
                judged += 1
                admitted += admission.admitted
    assert judged > 300 and judged > admitted > judged // 20


CLEARED = Compare(">=", Attribute("subject.clearance"), Attribute("resource.sensitivity"))
IMAGE = Compare("in", Attribute("resource.modality"), Literal(("CT", "MR")))
TEAM = Compare("in", Literal("dr.li"), Attribute("resource.patient.care_team"))
VIP = Attribute("resource.patient.vip")


@pytest.mark.parametrize(
    "condition",
    [
        Definitely(IMAGE),
        Not(Definitely(IMAGE)),
        Definitely(Not(IMAGE)),
        Definitely(VIP),
        Definitely(Not(VIP)),
        Or((Definitely(TEAM), Definitely(CLEARED))),
        And((Or((Definitely(TEAM), Definitely(Not(IMAGE)))), Not(Definitely(VIP)))),
        Definitely(Or((IMAGE, CLEARED))),
        Definitely(And((IMAGE, Not(TEAM)))),
        Definitely(Has(Attribute("resource.modality"))),
        Or((Definitely(Has(Attribute("resource.modality"))), Definitely(VIP))),
        Or((Has(Attribute("resource.modality")), Definitely(CLEARED))),
    ],
    ids=str,
)
def test_what_is_left_of_a_condition_means_the_same_as_a_function(condition: Condition) -> None:
    ask = asking(Part(condition), Facts(), SHANGHAI)
    store = FactStore(empty_snapshot({"care_team": Join(Joining.UNION)}))
    view = store.apply(
        [
            Assert(Fact(("patient", "P1"), "care_team", ("dr.li",), "test", NOON)),
            Assert(Fact(("patient", "P2"), "care_team", None, "test", NOON)),
            Doubt(("patient", "P3"), "test", NOON),
        ]
    )
    some = [{"modality": m} for m in ("CT", "US", 3, ["CT"])] + [{}]
    for patient in (None, "P1", "P2", "P3", {"id": "P1", "vip": True}, {"id": "P2", "vip": "yes"}, {"vip": False}):
        for sensitivity in (None, 1, 5, "x"):
            for row in some:
                given = {**row, "patient": patient, "sensitivity": sensitivity}
                properties = {name: value for name, value in given.items() if value is not None}
                request = Request.build(Entity("person", "dr.li", {"clearance": 3}), "search:imaging", properties)
                expected = evaluate(condition, Attributes(request, view, NOON), Scope(NOON, SHANGHAI))
                found = ask(request, view, NOON)
                assert (found is True, found is False) == (expected is True, expected is False), properties


def test_a_row_without_facts_is_judged_too() -> None:
    ask = asking(Part(Definitely(TEAM)), Facts(), SHANGHAI)
    assert ask(Request.build(DR_LI, "search:imaging", {"patient": {"id": "P1"}}), NoFacts(), NOON) is False
