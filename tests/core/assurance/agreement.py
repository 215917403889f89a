"""Pairs of random rules, and what the two reasoners say of each: the boxes, exactly, and z3.

Two questions to a pair: is there a request that both speak of (of a deny or a
require: that it stops), and is there one that only the first speaks of. Half of the second rules are
made from the first by a change, so that containment is no rare thing.

z3 is not told that a moment shows a time of day or a text an address; what it
finds is then a cell of requests that may hold none. Such an answer is no
answer, and counted apart (`untold`), as is what the boxes do not decide.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from spir.assurance.proof.box import Box, boxes, covered
from spir.assurance.proof.scope import region, stopped
from spir.assurance.proof.solver import Solver
from spir.assurance.proof.terms import Statement
from spir.assurance.proof.world import World
from spir.engine.ruleset import Rule
from spir.model.condition import And, Condition, Or
from spir.model.policy import Kind, Validity
from tests.core.assurance.proof.worlds import Cases, world

__all__ = ["Agreement", "agreement", "pairs"]

# So many pairs share one solver: it remembers what it was told of variables.
BATCH = 50


@dataclass
class Agreement:
    """`differences` name the pair (seed and number), the question, and who said that there is such a request."""

    asked: int = 0
    there: int = 0
    undecided: int = 0
    untold: int = 0
    differences: list[str] = field(default_factory=list)

    def add(self, name: str, exact: bool | None, found: Box | None) -> None:
        self.asked += 1
        if exact is None:
            self.undecided += 1
        elif found is not None and found.is_empty:
            self.untold += 1
        else:
            self.there += exact
            if exact is not (found is not None):
                self.differences.append(f"{name}: {'the boxes' if exact else 'z3'}")


def agreement(count: int, seed: int = 0) -> Agreement:
    """Ask both about so many pairs."""
    found = Agreement()
    for start in range(0, count, BATCH):
        here = world()
        solver = Solver(here)
        for number, (one, other) in enumerate(pairs(seed + start, min(BATCH, count - start))):
            name = f"seed {seed + start} pair {number}"
            left, right = _reach(one, here), _reach(other, here)
            found.add(f"{name}, both", *_both(left, right, here, solver))
            found.add(f"{name}, only the first", *_only(left, right, here, solver))
    return found


def pairs(seed: int, count: int) -> Iterator[tuple[Rule, Rule]]:
    cases = Cases(seed)
    for _ in range(count):
        one = cases.rule(cases.conjunction() if cases.chance(0.5) else None)
        yield (one, _changed(one, cases)) if cases.chance(0.5) else (one, cases.rule())


def _changed(rule: Rule, cases: Cases) -> Rule:
    """A little more or a little less, or the same."""
    when, policy = rule.policy.when, rule.policy
    changes: list[Condition] = [when, Or((when, cases.atom())), And((when, cases.atom()))]
    if isinstance(when, And) and len(when.items) > 1:
        changes.append(And(when.items[1:]))
    changed = replace(policy, when=cases.choose(changes), valid=cases.choose((policy.valid, policy.valid, Validity())))
    return replace(rule, policy=changed, jurisdiction=cases.choose((rule.jurisdiction, rule.jurisdiction, "")))


def _reach(rule: Rule, here: World) -> Statement:
    """What it stops, for those that stop; else the requests it speaks of."""
    return stopped(rule, here) if rule.policy.kind in (Kind.DENY, Kind.REQUIRE) else region(rule, here)


def _both(left: Statement, right: Statement, here: World, solver: Solver) -> tuple[bool | None, Box | None]:
    ones, others = boxes(left, here), boxes(right, here)
    found = solver.find((left, right))
    if ones is None or others is None:
        return None, found
    return any(one.meets(other) for one in ones for other in others), found


def _only(left: Statement, right: Statement, here: World, solver: Solver) -> tuple[bool | None, Box | None]:
    ones, others = boxes(left, here), boxes(right, here)
    found = solver.find((left,), (right,))
    if ones is None or others is None:
        return None, found
    whole = [covered(one, others).whole for one in ones]
    return (True if False in whole else None if None in whole else False), found
