"""What every check is given: the rules, the words, the engine that replays, and what is known of the site.

One examination is one look at one set of rules. It remembers what several
checks need (the requests that a rule is about), and counts what did not hold
up when the engine was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias, TypeVar

from spir.assurance.finding import Counterexample
from spir.engine.attributes import NoFacts
from spir.engine.ruleset import RuleSet
from spir.engine.ruling import Decide
from spir.language.vocabulary import Vocabulary
from spir.model.decision import Decision
from spir.model.policy import OperationPattern
from spir.model.request import Entity, Request

__all__ = ["SOURCES", "Claim", "Examination", "Step", "Surroundings", "Unfinished"]

T = TypeVar("T")

# check, done, total -> whether to go on
Step: TypeAlias = Callable[[str, int, int], bool]
# What the engine must say to a request for it to show a finding.
Claim: TypeAlias = Callable[[Decision], bool]

# Who can know an attribute (`source` in vocabularies): see mappings/vocabulary.yaml.
SOURCES = frozenset(("request", "identity", "directory", "adapter", "facts", "engine"))


class Unfinished(Exception):
    """There is no more time: what has been found so far is all."""


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What is known beyond the policies: the staff, and the operations that protocols ask about; None for unknown."""

    people: tuple[Entity, ...] | None = None
    asked: tuple[OperationPattern, ...] | None = None
    sources: frozenset[str] = SOURCES


@dataclass(slots=True)
class Examination:
    """`dropped` counts requests that did not show what they should have when they were replayed."""

    rules: RuleSet
    vocabulary: Vocabulary
    decide: Decide
    at: datetime
    surroundings: Surroundings = Surroundings()
    step: Step = lambda check, done, total: True
    check: str = ""
    dropped: int = 0

    def each(self, items: Iterable[T], total: int) -> Iterator[T]:
        """The items, one after the other, for as long as there is time. Raises Unfinished."""
        for done, item in enumerate(items):
            if not self.step(self.check, done, total):
                raise Unfinished
            yield item

    def replayed(self, request: Request, at: datetime, claim: Claim) -> Counterexample | None:
        """The request with the engine's own answer, if that answer bears the claim out."""
        decision = self.decide(request, NoFacts(), at)
        if claim(decision):
            return Counterexample(request, at, decision.effect.value)
        self.dropped += 1
        return None
