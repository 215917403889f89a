"""The two statements of a condition against the interpreter, on random conditions and complete requests."""

from __future__ import annotations

import pytest

from spir.assurance.proof.box import boxes
from spir.assurance.proof.scope import reach, region, stopped
from spir.assurance.proof.terms import NEVER, every
from spir.assurance.proof.truth import surely, surely_not
from spir.assurance.proof.whole import total
from spir.assurance.proof.witness import holds
from spir.assurance.proof.world import World, negation
from spir.engine.attributes import Attributes, NoFacts
from spir.engine.evaluate import Scope, evaluate
from spir.engine.formula import applicable
from spir.engine.ruleset import RuleSet, Site
from spir.language.cel import parse
from spir.model.condition import Condition, Definitely, negated
from spir.model.policy import Kind, PolicySet
from spir.model.request import Request
from tests.core.assurance.proof.worlds import NOON, SHANGHAI, VOCABULARY, Cases, world

SEEDS = range(40)
EACH = 60


def evaluated(condition: Condition, request: Request, at: object, within: World) -> object:
    found = evaluate(condition, Attributes(request, NoFacts(), at), Scope(at, within.site.timezone))  # type: ignore[arg-type]
    return found if isinstance(found, bool) else None


@pytest.mark.parametrize("seed", SEEDS)
def test_the_statements_are_what_the_interpreter_says(seed: int) -> None:
    cases, here = Cases(seed), world()
    seen = {True: 0, False: 0, None: 0}
    for _ in range(EACH):
        condition = cases.condition()
        true, false = surely(condition, here), surely_not(condition, here)
        other = negation(true, here)
        for _ in range(6):
            request, at = cases.request(), cases.moment()
            truth = evaluated(condition, request, at, here)
            seen[truth] += 1  # type: ignore[index]
            assert holds(true, here, request, at) == (truth is True), (condition, request, at)
            assert holds(false, here, request, at) == (truth is False), (condition, request, at)
            assert holds(other, here, request, at) == (truth is not True), (condition, request, at)
    assert min(seen.values()) > EACH // 4, "each truth was met"


@pytest.mark.parametrize("seed", SEEDS)
def test_no_request_makes_a_condition_true_and_false(seed: int) -> None:
    cases, here = Cases(seed, plain=True), world()
    for _ in range(EACH // 4):
        condition = cases.condition()
        found = boxes(every((surely(condition, here), surely_not(condition, here))), here, 400)
        assert found in ((), None), condition


@pytest.mark.parametrize("seed", SEEDS)
def test_a_total_part_is_known_wherever_what_it_needs_is_there(seed: int) -> None:
    cases, here = Cases(seed), world()
    for _ in range(EACH):
        part = cases.odd()
        request, at = cases.request(), cases.moment()
        if total(part, VOCABULARY):
            needs = holds(every((surely(part, here),)), here, request, at) or holds(
                surely_not(part, here), here, request, at
            )
            assert (evaluated(part, request, at, here) is not None) == needs


@pytest.mark.parametrize("seed", SEEDS)
def test_a_rule_reaches_what_the_engine_applies_it_to(seed: int) -> None:
    cases, here = Cases(seed), world(organization="cn/zj/hospital-a" if seed % 2 else "us")
    for _ in range(EACH // 2):
        rule = cases.rule()
        rules = RuleSet.of([PolicySet("one", rule.layer, rule.jurisdiction, "1.0.0", (rule.policy,))], site=here.site)
        for _ in range(6):
            request, at = cases.request(), cases.moment()
            found = applicable(rules, request, at)
            assert holds(reach(rule, here), here, request, at) == bool(found)
            sure = bool(found) and evaluated(found[0].condition, request, at, here) is True
            assert holds(region(rule, here), here, request, at) == sure
            if rule.policy.kind in (Kind.DENY, Kind.REQUIRE):
                stands = bool(found) and evaluated(found[0].holds(), request, at, here) is not True
                assert holds(stopped(rule, here), here, request, at) == stands


@pytest.mark.parametrize(
    ("text", "never"),
    [
        ('subject.role == "a" && subject.role == "b"', True),
        ("subject.clearance > 3 && subject.clearance < 4", True),
        ("subject.clearance > 3 && subject.clearance < 5", False),
        ("context.risk > 3.0 && context.risk < 4.0", False),
        ("resource.sensitivity > 5", True),
        ("resource.sensitivity > 4.5 && resource.sensitivity != 5", True),
        ("context.trust > 1", True),
        ('resource.status != "planned" && resource.status != "active" && resource.status != "finished"', True),
        ("!has(resource.status)", True),
        ("!has(subject.role) && subject.role != 'a'", True),
        ("!has(context.now)", True),
        ('subject.id == ""', True),
        ('action.name == "fly"', True),
        ('resource.author.startsWith("dr.") && resource.author.startsWith("nurse.")', True),
        ('resource.author.startsWith("dr.") && resource.author.startsWith("d")', False),
        ('resource.author.startsWith("dr.") && resource.author < "dr"', True),
        ("org.under(subject.organization, 'cn/zj') && org.under(subject.organization, 'cn/js')", True),
        ("org.under(subject.organization, 'cn/zj') && subject.organization == 'cn/zjx'", True),
        ("ip.in(context.ip, '10.1.0.0/16') && ip.in(context.ip, '10.2.0.0/16')", True),
        ("ip.in(context.ip, '10.1.0.0/16') && !ip.in(context.ip, '10.0.0.0/8')", True),
        ("ip.in(context.ip, '10.1.0.0/16') && ip.in(context.ip, '10.0.0.0/8')", False),
        ("ip.in(context.ip, '10.1.0.0/16') && context.ip == '10.2.0.1'", True),
        ("ip.in(context.ip, '10.1.0.0/16') && context.ip == '10.1.0.1'", False),
        ("time.between('08:00', '12:00') && time.between('12:00', '20:00')", True),
        ("time.between('22:00', '06:00') && time.between('05:00', '20:00')", False),
        ("time.between('08:00', '09:00') && context.now.getHours('Asia/Shanghai') == 9", True),
        ("subject.id == resource.author && subject.id != resource.author", True),
        ('subject.id == resource.author && subject.id == "a" && resource.author == "b"', True),
        ("subject.clearance < resource.sensitivity && resource.sensitivity < subject.clearance", True),
        ("subject.clearance <= resource.sensitivity && resource.sensitivity <= subject.clearance", False),
        ("subject.clearance > resource.sensitivity && subject.clearance < 2", True),
        ("subject.clearance > resource.sensitivity && subject.clearance < 3", False),
        (
            "resource.created < resource.updated && resource.updated < context.now && context.now < resource.created",
            True,
        ),
        ("'a' in resource.labels && !has(resource.labels)", True),
        ("'a' in resource.labels && !('a' in resource.labels)", True),
        ("'a' in resource.labels && resource.labels.all(l, l != 'a')", True),
        ("resource.labels.exists(l, l in ['a', 'b']) && !('a' in resource.labels) && !('b' in resource.labels)", True),
        ("resource.labels.exists(l, l in ['a', 'b']) && !('a' in resource.labels)", False),
        ("has(resource.patient.vip) && !has(resource.patient)", True),
        ("context.trusted && context.trusted == resource.patient.vip && !resource.patient.vip", True),
        (
            "context.now >= timestamp('2026-11-21T12:00:00Z') && context.now < timestamp('2026-11-21T13:00:00Z')"
            " && time.between('08:00', '12:00')",
            True,  # noon is 20:00 there
        ),
        (
            "context.now >= timestamp('2026-11-21T12:00:00Z') && context.now < timestamp('2026-11-21T13:00:00Z')"
            " && time.between('20:59', '22:00')",
            False,
        ),
    ],
)
def test_what_can_never_be(text: str, never: bool) -> None:
    here = world()
    found = boxes(surely(parse(text), here), here)
    assert (found == ()) == never


def test_a_definite_condition_is_never_unknown() -> None:
    here = world()
    condition = Definitely(parse("subject.role == 'a'"))
    assert negation(surely(condition, here), here) == surely_not(condition, here)
    assert surely(negated(condition), here) == surely_not(condition, here)


def test_what_is_of_another_type_is_neither_true_nor_false() -> None:
    here = World(VOCABULARY, Site("", SHANGHAI), NOON)
    for text in ("subject.role == 3", "subject.clearance != 'a'", "subject.role < subject.clearance"):
        assert surely(parse(text), here) == NEVER == surely_not(parse(text), here)
