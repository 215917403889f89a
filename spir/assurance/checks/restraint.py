"""Permits against the denies and requires that stand in their way: what `conflict` and `weakening` share."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from spir.assurance.checks.examination import Claim, Examination
from spir.assurance.checks.grouping import Pair
from spir.engine.ruleset import Rule
from spir.model.decision import Decision
from spir.model.policy import Kind

__all__ = ["Restraint", "restraints", "stops"]


@dataclass(frozen=True, slots=True)
class Restraint:
    """`pair.upper` stops what `pair.lower` grants: all of it, if `whole`."""

    pair: Pair
    whole: bool

    @property
    def by(self) -> Kind:
        return self.pair.upper.policy.kind


def restraints(examined: Examination, concerns: Callable[[Rule, Rule], bool]) -> Iterator[Restraint]:
    """Of the denies and requires and the permits that `concerns` says, those that meet."""
    permits, index = examined.index(Kind.PERMIT)
    for rule in examined.each(examined.of(Kind.DENY, Kind.REQUIRE)):
        acts = examined.acts(rule)
        if not examined.region(rule):
            continue  # it can never hold: the check `dead` says so
        met = [place for place in index.meeting(acts) if concerns(rule, permits[place])]
        inside = set(index.inside(acts)) if met else set()
        yield from (Restraint(Pair(rule, permits[place]), place in inside) for place in met)


def stops(pair: Pair) -> Claim:
    """The permit matches, and the request is denied by the other."""

    def claim(decision: Decision) -> bool:
        because = any(reason.policy == pair.upper.policy.id for reason in decision.reasons)
        return decision.denied and because and pair.lower.policy.id in decision.matched

    return claim
