"""SHELL: what the gates remember from one version of the policies to the next.

Two surveys at most: of what is in force, and of what came to the gates last. A
survey is never altered by the one that follows it (`spir.assurance.survey`), so
that a candidate that is refused leaves what is known of the rules in force as it
was, and whatever comes next is compared with what is in force, be it newer or
older. Where that is not known (the first start, a restart), the last candidate
will do, and else everything is surveyed.
"""

from __future__ import annotations

from adapters.gates.candidate import Candidate
from adapters.retire import held, let_go
from spir.assurance.survey import Survey
from spir.engine.ruleset import RuleSet

__all__ = ["Surveys"]


class Surveys:
    """For one thread at a time."""

    def __init__(self) -> None:
        self._known: list[Survey] = []

    def of(self, candidate: Candidate) -> Survey:
        """Of the candidate, with what still holds of what is known already."""
        found = self._find(candidate.rules)
        if found is None:
            before = self.in_force(candidate) or (self._known[-1] if self._known else None)
            for one in self._known:
                one.rest()
            rules, vocabulary = candidate.rules, candidate.documents.vocabulary
            found = before.then(rules, vocabulary) if before else Survey.of(rules, vocabulary)
            self._keep(found, self.in_force(candidate))
        return found

    def in_force(self, candidate: Candidate) -> Survey | None:
        """Of what is in force now, if that is known."""
        return self._find(candidate.before.rules) if candidate.before else None

    def _find(self, rules: RuleSet) -> Survey | None:
        return next((one for one in self._known if one.rules is rules), None)

    def _keep(self, found: Survey, in_force: Survey | None) -> None:
        """These, and nothing else."""
        kept = [one for one in (in_force, found) if one is not None]
        dropped = [one for one in self._known if one not in kept]
        self._known = kept
        while dropped:
            if any(one.has(rule) for one in kept for rule in dropped[-1].every):
                dropped.pop()  # they have most of it in common
            else:
                let_go(held(dropped.pop(), iter(())))
