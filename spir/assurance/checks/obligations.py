"""The check `obligations`: duties that cannot be carried out together."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from itertools import combinations

from spir.assurance.checks.examination import Examination
from spir.assurance.checks.extent import commons
from spir.assurance.checks.granted import granted
from spir.assurance.checks.grouping import Pair, findings, names
from spir.assurance.duties import clash
from spir.assurance.finding import Finding, Severity
from spir.assurance.proof.box import Box
from spir.assurance.survey import Answer
from spir.engine.ruleset import Rule
from spir.language.document import canonical
from spir.model.decision import Decision
from spir.model.obligation import Obligation
from spir.model.policy import Kind
from spir.model.value import thaw

__all__ = ["obligations"]

# Joined whatever they say: they never clash.
JOINABLE = frozenset(("mask", "limit", "deidentify"))


def obligations(examined: Examination) -> Iterator[Finding]:
    """Policies whose obligations have no common strongest, about the same requests.

    Obligations of all policies that apply are joined: masks unite, limits take the
    smaller, de-identification the stronger profile. Others have no order: one alert
    on one channel cannot be of two priorities. Where such obligations meet, the
    request is denied, although every policy says that it is permitted.

    - **error**: there are requests that are denied for this reason alone.

    *Mend:* let both ask for the same, give the obligations different channels or
    workflows, or narrow one of the policies.
    """
    yield from findings(examined, Severity.ERROR, list(_pairs(examined)), lambda pair: _conflicts, _words)


def _conflicts(decision: Decision) -> bool:
    return decision.denied and any(reason.code == "obligations-conflict" for reason in decision.reasons)


def _pairs(examined: Examination) -> Iterator[Pair]:
    """Permits and obliges that clash, in requests that nothing else stops; each two once."""
    rules = examined.of(Kind.PERMIT, Kind.OBLIGE)
    against = _against(rules)
    for place in examined.each(sorted(against)):
        others = [rules[other] for other in sorted(against[place]) if other >= place]
        yield from examined.recall("obligations", rules[place], partial(_clashing, examined, rules[place], others))


def _clashing(examined: Examination, one: Rule, others: Sequence[Rule]) -> Answer:
    """Of those that owe what clashes, the ones that meet it; itself, too, if its own obligations do."""
    met = {id(rule) for rule in examined.survey.meeting(examined.acts(one), Kind.PERMIT, Kind.OBLIGE)}
    boxes = ((other, next(_permitted(examined, one, other), None)) for other in others if id(other) in met)
    pairs = ((sorted((one, other), key=lambda rule: rule.layer), box) for other, box in boxes if box is not None)
    return Answer(tuple(Pair(upper, lower, box) for (upper, lower), box in pairs))


def _against(rules: Sequence[Rule]) -> Mapping[int, set[int]]:
    """By the place of a rule, the places of those that owe what clashes with what it owes."""
    owing: dict[str, dict[str, tuple[Obligation, set[int]]]] = {}
    for place, rule in enumerate(rules):
        for one in rule.policy.obligations:
            if one.type not in JOINABLE:
                same = owing.setdefault(f"{one.type} {_lane(one)}", {})
                same.setdefault(canonical(thaw(one.properties)), (one, set()))[1].add(place)
    found: dict[int, set[int]] = {}
    for (one, owe), (other, others) in (pair for same in owing.values() for pair in combinations(same.values(), 2)):
        if clash(replace(one, id=""), replace(other, id="")):
            for place in owe:
                found.setdefault(place, set()).update(others)
            for place in others:
                found.setdefault(place, set()).update(owe)
    return found


def _lane(one: Obligation) -> str:
    """What an alert or a workflow is for: those for different ones are kept apart."""
    return str(one.properties.get("channel", one.properties.get("workflow", "")))


def _permitted(examined: Examination, one: Rule, other: Rule) -> Iterator[Box]:
    """Where both bind: a permit does where it grants, an oblige where anything is granted."""
    grants = [rule for rule in (one, other) if rule.policy.kind is Kind.PERMIT]
    for box in commons(examined.acts(one), examined.acts(other)):
        if grants:
            # each permit for itself: the one may be covered by the layers above where the other is not
            yield from (
                last for part in granted(examined, grants[0], box) for last in granted(examined, grants[-1], part)
            )
        for permit in examined.of(Kind.PERMIT) if not grants else ():
            for part in commons((box,), examined.region(permit)):
                yield from granted(examined, permit, part)


def _words(one: Rule, others: Sequence[Rule]) -> tuple[str, str]:
    if others[0] is one:
        return f"the obligations of `{one.policy.id}` exclude each other: it never grants", "let it ask for one of them"
    text = f"`{one.policy.id}` and {names(others)} oblige to what cannot be done together: the request is denied"
    return text, "let both ask for the same, or for things apart, or narrow one of the two"
