"""What several rules do together: whether they leave anything of one rule's requests, and which of them it takes."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from spir.assurance.checks.examination import Examination
from spir.assurance.checks.extent import within
from spir.assurance.checks.grouping import names
from spir.assurance.finding import Finding, Named, Severity
from spir.assurance.proof.solver import Undecided, installed
from spir.assurance.proof.zone import Question, Reasoner, zone
from spir.assurance.sides import Regions
from spir.assurance.survey import Answer
from spir.engine.ruleset import Rule
from spir.model.policy import Kind

__all__ = ["Unions"]

# Of the rule in question and another one, whether that one counts.
Counts: TypeAlias = Callable[[Rule, Rule], bool]

# Of a union of so many rules at most, it is worked out which of them it takes.
FEW = 24


@dataclass(slots=True)
class Unions:
    """Questions about unions of rules in one examination. `doubts` are the rules for which there was no answer."""

    examined: Examination
    reasoner: Reasoner
    regions: Regions
    doubts: list[Rule]

    @classmethod
    def of(cls, examined: Examination) -> Unions:
        return cls(examined, Reasoner(examined.world), Regions(examined.world, examined.acts), [])

    def cover(self, rule: Rule, kinds: frozenset[Kind], counts: Counts) -> tuple[Rule, ...]:
        """Those of the other rules of these kinds, if they count, that together do all that the rule does.

        None if they leave something, or nobody knows. As few as can be found by leaving out one after the
        other. One alone is no union: none, then, too.
        """
        examined = self.examined
        found = examined.reasoned(examined.check, rule, self.reasoner, lambda: self._answered(rule, kinds, counts))
        if found is None:
            self.doubts.append(rule)
        return found or ()

    def _answered(self, rule: Rule, kinds: frozenset[Kind], counts: Counts) -> Answer:
        survey, acts = self.examined.survey, self.examined.acts(rule)
        if acts == ():
            return Answer((), frozenset())
        # if one request of the rule is no other's, they leave that: which most rules show at once
        spot = survey.spot(rule)
        if spot is not None and not any(counts(rule, other) for other in survey.near(rule, (spot,), *kinds)):
            return Answer((), kinds, spot)
        others = [other for other in survey.near(rule, acts, *kinds) if counts(rule, other)]
        try:
            return Answer(self._covering(rule, others), kinds)
        except Undecided:
            return Answer(None, kinds)

    def _covering(self, rule: Rule, others: Sequence[Rule]) -> tuple[Rule, ...]:
        if len(others) < 2 or self._leaves(rule, others):
            return ()
        if any(within(self.examined.acts(rule), self.examined.acts(other)) for other in others):
            return ()
        needed = self._needed(rule, others)
        return needed if len(needed) > 1 else ()

    def _leaves(self, rule: Rule, others: Iterable[Rule]) -> bool:
        outside = tuple(zone(self.regions.of(other)) for other in others)
        return next(self.reasoner.answers(Question(zone(self.regions.of(rule)), (), outside)), None) is not None

    def _needed(self, rule: Rule, others: Sequence[Rule]) -> tuple[Rule, ...]:
        needed = list(others)
        for other in others if len(others) <= FEW else ():
            rest = [each for each in needed if each is not other]
            try:
                needed = needed if self._leaves(rule, rest) else rest
            except Undecided:
                continue
        return tuple(needed)

    def undecided(self, what: str) -> Iterator[Finding]:
        """One note for all rules without an answer."""
        if self.doubts:
            hint = "" if installed() else "install the extra `analysis`, which may decide it"
            text = f"it was not decided {what} {names(self.doubts)}"
            policies = tuple(map(Named.of, self.doubts))
            yield Finding(self.examined.check, Severity.NOTE, text, policies, mend=hint, decided=False)
