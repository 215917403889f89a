"""What several rules do together: whether they leave anything of one rule's requests, and which of them it takes."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from spir.assurance.checks.examination import Examination
from spir.assurance.checks.extent import within
from spir.assurance.checks.grouping import names
from spir.assurance.finding import Finding, Named, Severity
from spir.assurance.proof.solver import Undecided, installed
from spir.assurance.proof.zone import Question, Reasoner, Region, zone
from spir.assurance.sides import may_meet, says
from spir.engine.ruleset import Rule
from spir.model.policy import Kind

__all__ = ["Unions"]

# Of a union of so many rules at most, it is worked out which of them it takes.
FEW = 24


@dataclass(slots=True)
class Unions:
    """Questions about unions of rules in one examination. `doubts` are the rules for which there was no answer."""

    examined: Examination
    reasoner: Reasoner
    doubts: list[Rule]
    _regions: dict[int, Region]

    @classmethod
    def of(cls, examined: Examination) -> Unions:
        return cls(examined, Reasoner(examined.world), [], {})

    def region(self, rule: Rule) -> Region:
        found = self._regions.get(id(rule))
        if found is None:
            world = self.examined.world
            found = self._regions[id(rule)] = Region(says(rule, world), world, self.examined.acts(rule))
        return found

    def near(self, rule: Rule, *kinds: Kind) -> list[Rule]:
        """The other rules of these kinds that may have something in common with it, in the order of the documents."""
        rules, index = self.examined.index(*kinds)
        own = self.examined.acts(rule)
        if own is not None:
            found = set(index.meeting(own))
            return [r for at, r in enumerate(rules) if r is not rule and (at in found or self._blurred(r, rule))]
        return [other for other in rules if other is not rule and may_meet(other, rule)]

    def _blurred(self, rule: Rule, other: Rule) -> bool:
        """Whether its boxes are not known, and it may be about the same requests."""
        return self.examined.acts(rule) is None and may_meet(rule, other)

    def cover(self, rule: Rule, others: Sequence[Rule]) -> tuple[Rule, ...]:
        """Those of the others that together do all that the rule does; none if they leave something, or nobody knows.

        As few as can be found by leaving out one after the other. One alone is no union: none, then, too.
        """
        if len(others) < 2 or self.examined.acts(rule) == ():
            return ()
        try:
            if self._leaves(rule, others):
                return ()
        except Undecided:
            self.doubts.append(rule)
            return ()
        if any(within(self.examined.acts(rule), self.examined.acts(other)) for other in others):
            return ()
        needed = self._needed(rule, others)
        return needed if len(needed) > 1 else ()

    def _leaves(self, rule: Rule, others: Iterable[Rule]) -> bool:
        outside = tuple(zone(self.region(other)) for other in others)
        return next(self.reasoner.answers(Question(zone(self.region(rule)), (), outside)), None) is not None

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
