"""The check `dead`: policies whose condition can never be true."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from itertools import combinations

from spir.assurance.checks.examination import Claim, Examination
from spir.assurance.checks.grouping import names
from spir.assurance.finding import Finding, Named, Severity
from spir.assurance.proof.terms import every
from spir.assurance.proof.truth import reading
from spir.assurance.survey import Answer
from spir.engine.ruleset import Rule
from spir.language.printer import to_cel
from spir.model.condition import And, Condition
from spir.model.policy import Kind

__all__ = ["dead"]

LONGEST = 80


def dead(examined: Examination) -> Iterator[Finding]:
    """Policies that can never do what they say.

    - **error**: no request makes the condition true: two parts of it exclude each other, or
      ask for what the vocabulary rules out. A permit of that kind never grants; a deny denies
      only where an attribute is missing; a require is never met.
    - **warning**: a require whose condition is true for every request: it requires nothing.
    - **note**: the time of the policy is over (`valid.until`); or its condition has so many
      alternatives that this and the checks of pairs cannot decide it.

    *Mend:* correct the condition, or take the policy out.
    """
    too_many: list[Rule] = []
    for rule in examined.open("dead", *Kind):
        if not examined.recall("dead", rule, partial(_doubtful, examined, rule)):
            continue
        region, acts = examined.region(rule), examined.acts(rule)
        if region is None or acts is None:
            too_many.append(rule)
        elif _is_over(examined, rule):
            yield _said(rule, Severity.NOTE, f"the time of `{rule.policy.id}` is over", "take it out")
        elif not region:
            yield from _never_true(examined, rule)
        elif not acts:
            text = f"`{rule.policy.id}` requires nothing: its condition is always true"
            yield _said(rule, Severity.WARNING, text, "say what is required, or take it out")
    if too_many:
        text = (
            f"the conditions of {names(too_many)} have too many alternatives: not decided here nor in checks of pairs"
        )
        policies = tuple(map(Named.of, too_many))
        mend = "write them as several policies"
        yield Finding("dead", Severity.NOTE, text, policies, mend=mend, pairs=len(too_many), decided=False)


def _doubtful(examined: Examination, rule: Rule) -> Answer:
    """Whether the check may have to say something about it, now or at another moment."""
    does = examined.region(rule) and examined.acts(rule) and rule.policy.valid.end is None
    return Answer(not does, frozenset())


def _is_over(examined: Examination, rule: Rule) -> bool:
    end = rule.policy.valid.end
    return end is not None and end <= examined.at


def _said(rule: Rule, severity: Severity, text: str, mend: str) -> Finding:
    return Finding("dead", severity, text, (Named.of(rule),), mend=mend)


def _never_true(examined: Examination, rule: Rule) -> Iterator[Finding]:
    policy = rule.policy
    text = f"`{policy.id}` {_CONSEQUENCES[policy.kind]}: {_why(examined, policy.when)}"
    boxes = examined.acts(rule) if policy.kind is Kind.REQUIRE else ()
    if not boxes:
        yield _said(rule, Severity.ERROR, text, "correct the condition, or take the policy out")
        return
    shown = examined.first(boxes, _fails(rule))
    if shown is not None:
        mend = "correct the condition, or say deny if nobody may"
        yield Finding("dead", Severity.ERROR, text, (Named.of(rule),), examined.words(boxes[0]), shown, mend)


_CONSEQUENCES = {
    Kind.PERMIT: "never grants",
    Kind.DELEGATE: "never delegates",
    Kind.DENY: "denies at most where an attribute is missing",
    Kind.REQUIRE: "can never be met",
    Kind.OBLIGE: "obliges at most where an attribute is missing",
}


def _fails(rule: Rule) -> Claim:
    return lambda decision: any(reason.policy == rule.policy.id for reason in decision.reasons)


def _why(examined: Examination, condition: Condition) -> str:
    """The part, or the two parts, of a conjunction that leave nothing."""
    parts = condition.items if isinstance(condition, And) else (condition,)
    for part in parts:
        if examined.boxes(reading(part, examined.world).true) == ():
            return f"{_text(part)} is never true"
    for one, other in combinations(parts, 2):
        true = (reading(part, examined.world).true for part in (one, other))
        if examined.boxes(every(true)) == ():
            return f"{_text(one)} and {_text(other)} exclude each other"
    return "its parts exclude each other"


def _text(condition: Condition) -> str:
    text = to_cel(condition)
    return f"`{text}`" if len(text) <= LONGEST else f"`{text[: LONGEST - 3]}...`"
