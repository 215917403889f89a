"""What checks say, against what the engine decides on random requests: nothing false, and nothing left out."""

from __future__ import annotations

from datetime import datetime
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from spir.assurance.finding import Finding, Severity
from spir.assurance.report import Report
from spir.assurance.validator import validate
from spir.embed import default_vocabulary
from spir.engine.attributes import NoFacts
from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet
from spir.language.document import Documents, read_documents
from spir.model.decision import Decision
from spir.model.policy import Kind, Layer, PolicySet
from spir.model.request import Request
from tests.core.assurance.checks.given_policies import SITE, RandomPolicies
from tests.given import NOON

CHECKED = ("dead", "conflict", "weakening", "subsumption", "obligations")
QUESTIONS = 40
SEEDS = st.integers(0, 2**32)


@cache
def words() -> Documents:
    return read_documents({}, vocabulary_text=default_vocabulary())


def drawn(seed: int) -> tuple[RuleSet, list[tuple[Request, datetime]]]:
    """Rules, and requests about them."""
    made = RandomPolicies(seed)
    return made.rules(), [made.question() for _ in range(QUESTIONS)]


def examined(rules: RuleSet) -> Report:
    return validate(words(), rules, at=NOON, only=CHECKED)


def answer(rules: RuleSet, asked: tuple[Request, datetime]) -> Decision:
    return decide(rules, asked[0], NoFacts(), asked[1])


def about(found: Report, check: str, *ids: str) -> list[Finding]:
    return [one for one in found.findings if one.check == check and set(ids) <= {p.id for p in one.policies}]


def stopping(decision: Decision) -> set[str]:
    return {reason.policy for reason in decision.reasons if reason.code != "not-delegated"}


@given(SEEDS)
@settings(max_examples=60)
def test_what_is_shown_is_what_the_reference_decides(seed: int):
    rules, _ = drawn(seed)
    for finding in examined(rules).findings:
        shown = finding.counterexample
        if shown is not None:
            request = Request.from_json(shown.to_json()["request"])
            assert decide(rules, request, NoFacts(), shown.at).effect.value == shown.effect


@given(SEEDS)
@settings(max_examples=60)
def test_a_permit_that_can_never_grant_never_does(seed: int):
    rules, asked = drawn(seed)
    found = examined(rules)
    for decision in (answer(rules, one) for one in asked):
        for finding in found.at_least(Severity.ERROR):
            upper, *permits = (policy.id for policy in finding.policies)
            if finding.check in ("conflict", "weakening") and "can never grant: `" in finding.text:
                assert upper in stopping(decision) or not set(permits) & set(decision.matched)
            if finding.check == "dead":
                kind = rules.policy(upper).kind  # type: ignore[union-attr]
                assert kind not in (Kind.PERMIT, Kind.DELEGATE) or upper not in decision.matched


@given(SEEDS)
@settings(max_examples=80)
def test_whatever_stops_a_permit_is_found(seed: int):
    rules, asked = drawn(seed)
    found = examined(rules)
    where = {rule.policy.id: rule for rule in rules.every}
    for decision in (answer(rules, one) for one in asked):
        permits = [id for id in decision.matched if where[id].policy.kind is Kind.PERMIT]
        for stop in stopping(decision) & where.keys():
            for permit in permits:
                expected = _expected(where[stop].layer, where[permit].layer, where[stop].policy.kind)
                if expected and not about(found, "dead", stop):
                    assert about(found, expected, stop, permit) or _left_out(found, expected), (stop, permit)
        for reason in decision.reasons:
            if reason.code == "not-delegated":
                lacking = [
                    one for one in about(found, "weakening", reason.policy) if f"the {reason.layer} layer" in one.text
                ]
                assert lacking or _left_out(found, "weakening")


def _expected(stop: Layer, permit: Layer, kind: Kind) -> str:
    """The check that must find it; a require narrows what its own layer grants, and nobody minds."""
    if stop > permit:
        return ""
    if stop < permit:
        return "weakening"
    return "conflict" if kind is Kind.DENY else ""


def _left_out(found: Report, check: str) -> bool:
    """Whether the check says that it could not show everything."""
    return any(not one.decided for one in found.findings if one.check in (check, "dead"))


@given(SEEDS)
@settings(max_examples=60)
def test_without_policies_of_no_effect_all_is_decided_as_before(seed: int):
    rules, asked = drawn(seed)
    found = [one for one in examined(rules).findings if one.check == "subsumption"]
    idle = {policy.id for one in found for policy in one.policies[1:]}
    fewer = RuleSet.of(
        (
            PolicySet(s.name, s.layer, s.jurisdiction, s.version, tuple(p for p in s.policies if p.id not in idle))
            for s in rules.sets
        ),
        rules.fingerprint,
        SITE,
    )
    for one in asked:
        before, after = answer(rules, one), answer(fewer, one)
        assert before.effect is after.effect
        assert [(o.type, dict(o.properties)) for o in before.obligations] == [
            (o.type, dict(o.properties)) for o in after.obligations
        ]


@given(SEEDS)
@settings(max_examples=60)
def test_obligations_that_deny_are_found(seed: int):
    rules, asked = drawn(seed)
    decisions = [answer(rules, one) for one in asked]
    if any(reason.code == "obligations-conflict" for decision in decisions for reason in decision.reasons):
        found = examined(rules)
        assert about(found, "obligations") or _left_out(found, "obligations")
