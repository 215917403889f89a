"""What several policies do together: two ways of finding it agree, and what is found is so."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from functools import cache

import pytest

from spir.assurance.checks import unions
from spir.assurance.checks.examination import Examination
from spir.assurance.checks.registry import CHECKS
from spir.assurance.difference import difference
from spir.assurance.finding import Finding
from spir.assurance.proof import zone as zones
from spir.assurance.proof.solver import Solver, Undecided
from spir.assurance.proof.zone import STEPS, Question, Reasoner, Region, left_over, zone
from spir.assurance.sides import says
from spir.assurance.survey import Survey
from spir.engine.attributes import NoFacts
from spir.engine.compiler import compile_rules
from spir.engine.reference import decide
from spir.engine.ruleset import Rule, RuleSet
from spir.model.condition import And, Attribute, Call, Compare, Literal
from spir.model.decision import Decision, Effect
from spir.model.facts import View
from spir.model.policy import Kind, Layer, OperationPattern, Policy, PolicySet
from spir.model.request import Request
from tests.core.assurance.drawn_versions import Drawn, version
from tests.core.assurance.proof.worlds import MOMENTS, VOCABULARY, many, world

READ = (OperationPattern("read", "report"),)


def rules(*policies: Policy, layer: Layer = Layer.INSTITUTION) -> RuleSet:
    return RuleSet.of((PolicySet("s", layer, "cn", "1.0.0", policies),), "sha256:given", world().site)


def examined(found: RuleSet, check: str) -> list[Finding]:
    examination = Examination(Survey.of(found, VOCABULARY), compile_rules(found).decide, MOMENTS[0])
    examination.check = check
    return list(CHECKS[check].run(examination))


def drawn_rules(seed: int) -> RuleSet:
    """More than a few policies about one operation, of one layer mostly: so that unions matter."""
    drawn = Drawn(seed)
    policies = [replace(drawn.policy(f"p{number}"), operations=READ) for number in range(9)]
    upper = [replace(drawn.policy(f"u{number}"), operations=READ) for number in range(3)]
    sets = (
        PolicySet("a", Layer.PROVINCIAL, "cn", "1.0.0", tuple(upper)),
        PolicySet("b", Layer.INSTITUTION, "cn", "1.0.0", tuple(policies)),
    )
    return RuleSet.of(sets[drawn.choose((0, 1, 1)) :], "sha256:drawn", world().site)


@cache
def samples() -> tuple[tuple[Request, datetime], ...]:
    drawn = Drawn(1)
    found = [(drawn.request(), drawn.moment()) for _ in range(2500)]
    return tuple((request, at) for request, at in found if request.operation.startswith("read:report"))


# -- two ways of finding it ------------------------------------------------------------------


@pytest.mark.parametrize("start", range(0, 60, 20))
def test_boxes_and_the_solver_agree_about_what_unions_leave(start: int) -> None:
    covered = 0
    for seed in range(start, start + 20):
        here = world()
        solver = Solver(here)
        one, *others = (Region(says(rule, here), here) for rule in drawn_rules(seed).every)
        found = solver.find([one.statement], [other.statement for other in others])
        boxes = [box for box in one.boxes for box in left_over(box, [b for other in others for b in other.boxes])]
        covered += not boxes
        assert (found is None) is (not boxes), f"seed {seed}"
    assert covered


def test_one_request_in_each_of_several_unions() -> None:
    here = world()
    one, two, three = (
        Region(says(rule, here), here)
        for rule in rules(
            Policy("a", Kind.PERMIT, READ, Compare("==", Attribute("subject.role"), Literal("nurse"))),
            Policy("b", Kind.PERMIT, READ, Compare("<=", Attribute("resource.sensitivity"), Literal(3))),
            Policy("c", Kind.PERMIT, READ, Compare(">=", Attribute("resource.sensitivity"), Literal(3))),
        ).every
    )
    reasoner = Reasoner(here)
    (both,) = reasoner.answers(Question(zone(one), ((zone(two),), (zone(three),))))
    assert "sensitivity is 3" in both.words() and "role is nurse" in both.words()
    assert list(reasoner.answers(Question(zone(two), ((zone(three),),), (zone(one), zone(three))))) == []


def test_what_takes_too_many_steps_is_not_decided(monkeypatch: pytest.MonkeyPatch) -> None:
    here = world()
    wide, *others = (Region(says(rule, here), here) for rule in rules(*checkered()).every)
    question = Question(zone(wide), (), tuple(zone(other) for other in others))
    monkeypatch.setattr(zones, "STEPS", 20)
    with pytest.raises(Undecided, match="more than 20 steps"):
        list(Reasoner(here, solver=False).answers(question))
    assert next(iter(Reasoner(here).answers(question))).is_empty is False
    assert STEPS > 20


def checkered() -> Iterator[Policy]:
    """A permit, and denies that each take another part of it away."""
    yield Policy("all", Kind.PERMIT, READ)
    paths = ("subject.role", "subject.department", "resource.author", "resource.modality")
    for number, path in enumerate(paths):
        for other in paths[:number]:
            when = Compare("==", Attribute(path), Attribute(other))
            yield Policy(f"{path}-{other}", Kind.DENY, READ, And((when, Literal(True))))


def test_as_many_others_as_there_are_policies_are_taken_off_one_after_the_other() -> None:
    paths = ("subject.role", "subject.department", "resource.author")
    named = [
        Policy(f"{path}-{number}", Kind.DENY, READ, Compare("==", Attribute(path), Literal(str(number))))
        for path in paths
        for number in range(350)
    ]
    here = world()
    whole, *others = (Region(says(rule, here), here) for rule in rules(Policy("all", Kind.PERMIT, READ), *named).every)
    (left,) = left_over(whole.boxes[0], [box for other in others for box in other.boxes])
    assert not left.is_empty


# -- what is found is so ---------------------------------------------------------------------


@pytest.mark.parametrize("start", range(0, 90, 30))
def test_a_permit_that_is_said_to_be_shadowed_never_grants(start: int) -> None:
    found = 0
    for seed in range(start, start + 30):
        drawn = drawn_rules(seed)
        for finding in examined(drawn, "shadowing"):
            found += 1
            permit = finding.policies[-1].id
            engine = compile_rules(drawn)
            for request, at in samples():
                decision = engine.decide(request, NoFacts(), at)
                assert not (decision.permitted and permit in decision.matched), f"seed {seed}"
    assert found


@pytest.mark.parametrize("start", range(0, 90, 30))
def test_taking_out_what_is_said_to_be_redundant_changes_nothing(start: int) -> None:
    found = 0
    for seed in range(start, start + 30):
        drawn = drawn_rules(seed)
        for finding in examined(drawn, "redundancy"):
            found += 1
            name = finding.policies[-1].id
            left = tuple(replace(s, policies=tuple(p for p in s.policies if p.id != name)) for s in drawn.sets)
            assert difference(version(drawn.sets), version(left)).proved_equal, f"seed {seed}: {name}"
    assert found


def test_what_is_missing_is_what_denies() -> None:
    sensitive = Compare(">=", Attribute("resource.sensitivity"), Literal(4))
    found = rules(Policy("read", Kind.PERMIT, READ), Policy("sensitive", Kind.DENY, READ, sensitive))
    (finding,) = examined(found, "indeterminate")
    assert finding.text.startswith("a request without `resource.sensitivity` is denied: `sensitive`")
    shown = finding.counterexample
    assert shown is not None
    assert "sensitivity" not in shown.request.resource.properties
    assert decide(found, shown.request, NoFacts(), shown.at).denied
    assert decide(found, shown.request.completed({"sensitivity": 3}), NoFacts(), shown.at).permitted


def test_of_an_engine_that_permits_everything_the_layers_are_not_kept() -> None:
    low = Compare("<=", Attribute("resource.sensitivity"), Literal(3))
    sets = (
        PolicySet("above", Layer.NATIONAL, "cn", "1.0.0", (Policy("may", Kind.DELEGATE, READ, low),)),
        PolicySet("below", Layer.INSTITUTION, "cn", "1.0.0", (Policy("read", Kind.PERMIT, READ),)),
    )
    found = RuleSet.of(sets, "sha256:given", world().site)

    def everything(request: Request, view: View, at: datetime) -> Decision:
        return Decision(Effect.PERMIT, request.operation)

    examination = Examination(Survey.of(found, VOCABULARY), everything, MOMENTS[0])
    findings = list(CHECKS["layers"].run(examination))
    assert findings and all("the engine permits what `read` grants" in finding.text for finding in findings)
    assert examined(found, "layers") == []


# -- what is not decided ---------------------------------------------------------------------


def test_without_the_solver_what_boxes_do_not_decide_is_a_note(monkeypatch: pytest.MonkeyPatch) -> None:
    low = Compare("<=", Attribute("resource.sensitivity"), Literal(2))
    high = Compare(">", Attribute("resource.sensitivity"), Literal(2))
    found = rules(
        Policy("odd", Kind.PERMIT, READ, many()),
        Policy("low", Kind.DENY, READ, low),
        Policy("high", Kind.DENY, READ, high),
    )
    unsure = [finding for finding in examined(found, "shadowing") if not finding.decided]
    assert unsure == []
    for module in (zones, unions):
        monkeypatch.setattr(module, "installed", lambda: False)
    (note,) = examined(found, "shadowing")
    assert not note.decided and [policy.id for policy in note.policies] == ["odd"]
    assert "extra `analysis`" in note.mend


def test_near_are_rules_of_which_the_boxes_are_not_known() -> None:
    found = rules(Policy("plain", Kind.PERMIT, READ), Policy("odd", Kind.DENY, READ, many()))
    survey = Survey.of(found, VOCABULARY)
    plain, odd = found.every
    near = [survey.near(plain, survey.acts(plain), Kind.DENY), survey.near(odd, survey.acts(odd), Kind.PERMIT)]
    assert list(map(names, near)) == [["odd"], ["plain"]]


def names(found: list[Rule]) -> list[str]:
    return [rule.policy.id for rule in found]


def test_functions_without_an_exact_reading_are_no_obstacle() -> None:
    """The same call on both sides is the same part."""
    ends = Call("endsWith", (Attribute("resource.author"), Literal("li")))
    found = rules(
        Policy("read", Kind.PERMIT, READ, ends),
        Policy("low", Kind.DENY, READ, And((ends, Compare("<=", Attribute("resource.sensitivity"), Literal(3))))),
        Policy("high", Kind.DENY, READ, And((ends, Compare(">", Attribute("resource.sensitivity"), Literal(3))))),
    )
    (finding,) = examined(found, "shadowing")
    assert [policy.id for policy in finding.policies] == ["low", "high", "read"]
