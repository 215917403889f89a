"""Permits against the denies and requires that stand in their way: what `conflict` and `weakening` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from spir.assurance.checks.examination import Claim, Examination
from spir.assurance.checks.extent import within
from spir.assurance.checks.grouping import Pair
from spir.assurance.survey import Answer
from spir.engine.ruleset import Rule
from spir.model.decision import Decision
from spir.model.policy import Kind

__all__ = ["Restraint", "restraints", "stops"]


@dataclass(frozen=True, slots=True)
class Restraint:
    """`pair.upper` stops what `pair.lower` grants: all of it, if `whole`; if `exception`, a deny all within it."""

    pair: Pair
    whole: bool
    exception: bool

    @property
    def by(self) -> Kind:
        return self.pair.upper.policy.kind


def restraints(examined: Examination, concerns: Callable[[Rule, Rule], bool]) -> Iterator[Restraint]:
    """Of the denies and requires and the permits that `concerns` says, those that meet."""
    for rule in examined.open("restraint", Kind.DENY, Kind.REQUIRE):
        met = examined.recall("restraint", rule, partial(_met, examined, rule))
        yield from (one for one in met if concerns(rule, one.pair.lower))


def _met(examined: Examination, rule: Rule) -> Answer:
    """The permits of the rule's own layer and of those below that it stops anything of."""
    acts, survey = examined.acts(rule), examined.survey
    if not examined.region(rule):
        return Answer((), frozenset())  # it can never hold: the check `dead` says so
    met = [permit for permit in survey.meeting(acts, Kind.PERMIT) if rule.layer <= permit.layer]
    inside = {id(permit) for permit in survey.inside(acts, Kind.PERMIT)} if met else set()
    return Answer(
        tuple(Restraint(Pair(rule, one), id(one) in inside, _excepts(examined, rule, one)) for one in met),
        frozenset((Kind.PERMIT,)),
    )


def _excepts(examined: Examination, rule: Rule, permit: Rule) -> bool:
    same = rule.policy.kind is Kind.DENY and rule.layer is permit.layer
    return same and within(examined.region(rule), examined.region(permit))


def stops(pair: Pair) -> Claim:
    """The permit matches, and the request is denied by the other."""

    def claim(decision: Decision) -> bool:
        because = any(reason.policy == pair.upper.policy.id for reason in decision.reasons)
        return decision.denied and because and pair.lower.policy.id in decision.matched

    return claim
