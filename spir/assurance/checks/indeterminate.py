"""The check `indeterminate`: attributes without which a prohibition cannot be decided, and therefore denies."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from itertools import islice

from spir.assurance.checks.examination import Claim, Examination
from spir.assurance.checks.grouping import names
from spir.assurance.finding import Counterexample, Finding, Named, Severity
from spir.assurance.proof.box import Box
from spir.assurance.proof.domain import ABSENT
from spir.assurance.proof.scope import reach
from spir.assurance.proof.solver import Undecided
from spir.assurance.proof.terms import NEVER, Statement, Variable, every
from spir.assurance.proof.truth import reading
from spir.assurance.proof.world import negation
from spir.assurance.proof.zone import Question, Reasoner, Region, zone
from spir.assurance.sides import STOPPERS
from spir.assurance.survey import Answer
from spir.engine.evaluate import free_attributes
from spir.engine.ruleset import Rule
from spir.model.decision import Decision
from spir.model.policy import Kind, OnMissing

__all__ = ["indeterminate"]

# So many requests are tried to show that one rule denies for want of an attribute.
TRIED = 3


def indeterminate(examined: Examination) -> Iterator[Finding]:
    """Requests that are denied because an attribute is missing that a deny or a require asks for.

    - **note**: a request that would be permitted lacks an attribute. The deny or require can then be
      neither true nor false, and what cannot be decided denies. That is the safe side, and the
      note says which attributes have to be there for the policies to work at all.

    All policies that ask for one attribute are one note. Requests that would be denied anyway
    do not count, nor do policies that say `on_missing: ignore`.

    *Mend:* see that the attribute's source always sends it, and declare it `required` then; ask `has(...)`
    first; or write `on_missing: ignore` where a missing value means that the policy is not about it.
    """
    gaps = _Gaps(examined)
    found: dict[str, list[tuple[Rule, Box, Counterexample]]] = {}
    for rule in examined.open(examined.check, *STOPPERS):
        if rule.policy.on_missing is OnMissing.DENY:
            for path, box, shown in gaps.of(rule):
                found.setdefault(path, []).append((rule, box, shown))
    for path, all_of_it in sorted(found.items()):
        yield _finding(examined, path, all_of_it)


def _finding(examined: Examination, path: str, found: Sequence[tuple[Rule, Box, Counterexample]]) -> Finding:
    rules = [rule for rule, _, _ in found]
    text = f"a request without `{path}` is denied: {names(rules)} cannot be decided then"
    mend = f"see that `{path}` is always there, ask has({path}) first, or write on_missing: ignore"
    _, box, shown = found[0]
    region = examined.words(box) if len(found) == 1 else f"{path} absent"
    policies = tuple(map(Named.of, rules))
    return Finding(examined.check, Severity.NOTE, text, policies, region, shown, mend, len(found))


@dataclass(frozen=True, slots=True)
class _Lack:
    """Requests without the attribute that nothing else would stop: all boxes that were tried, until one was `shown`."""

    path: str
    boxes: tuple[Box, ...]
    shown: bool


class _Gaps:
    """Requests that lack an attribute, and that nothing else would stop."""

    def __init__(self, examined: Examination) -> None:
        self.examined = examined
        self.reasoner = Reasoner(examined.world)
        self.side = examined.side()
        self._told: dict[int, tuple[Box, Counterexample | None]] = {}

    def of(self, rule: Rule) -> Iterator[tuple[str, Box, Counterexample]]:
        """The attributes without which the rule alone denies, each with requests and one of them."""
        lacks = self.examined.reasoned(self.examined.check, rule, self.reasoner, lambda: self._answered(rule))
        if any(lack.shown and self._first(rule, lack.boxes) is None for lack in lacks):
            lacks = self._answered(rule).value  # what showed it at another moment does not show it now
        for lack in lacks:
            found = self._first(rule, lack.boxes)
            if found is not None:
                yield lack.path, *found

    def _answered(self, rule: Rule) -> Answer:
        survey, solved = self.examined.survey, self.reasoner.solved
        if not survey.near(rule, survey.acts(rule), Kind.PERMIT):
            return Answer((), frozenset((Kind.PERMIT,)))
        return Answer(tuple(self._lacks(rule)), lasting=self.reasoner.solved == solved)

    def _lacks(self, rule: Rule) -> Iterator[_Lack]:
        own = zone(self.side.regions.of(rule))
        part = self.side.near(rule)
        outside = tuple(stopper for stopper in part.stoppers if stopper != own)
        for path in sorted(free_attributes(rule.policy.when)):
            lacking = self._undecided(rule, path)
            if lacking != NEVER:
                start = zone(Region(lacking, self.examined.world))
                boxes = self._tried(rule, Question(start, (part.grants,), outside))
                yield _Lack(path, boxes, self._first(rule, boxes) is not None)

    def _tried(self, rule: Rule, question: Question) -> tuple[Box, ...]:
        found: list[Box] = []
        with suppress(Undecided):
            for box in islice(self.reasoner.answers(question), TRIED):
                found.append(box)
                if self._shown(rule, box) is not None:
                    break
        return tuple(found)

    def _first(self, rule: Rule, boxes: Iterable[Box]) -> tuple[Box, Counterexample] | None:
        return next(((box, shown) for box in boxes if (shown := self._shown(rule, box)) is not None), None)

    def _shown(self, rule: Rule, box: Box) -> Counterexample | None:
        known = self._told.get(id(box))
        if known is None:
            known = self._told[id(box)] = (box, self.examined.shown(box, _because(rule)))
        return known[1]

    def _undecided(self, rule: Rule, path: str) -> Statement:
        """Requests without the attribute, for which the condition is neither true nor false."""
        world = self.examined.world
        truth = reading(rule.policy.when, world)
        absent = world.test(Variable(path), ABSENT)
        return every((reach(rule, world), absent, negation(truth.true, world), negation(truth.false, world)))


def _because(rule: Rule) -> Claim:
    def claim(decision: Decision) -> bool:
        return decision.denied and [(each.code, each.policy) for each in decision.reasons] == [
            ("indeterminate", rule.policy.id)
        ]

    return claim
