"""What every check is given: the rules, the words, the engine that replays, and what is known of the site.

One examination is one look at one set of rules at one moment. What is known of
the rules is in the survey; what did not hold up when the engine was asked is
counted here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from spir.assurance.checks.wording import words
from spir.assurance.finding import Counterexample
from spir.assurance.proof.box import Box, boxes
from spir.assurance.proof.domain import Domain, Line, interval, micros, under
from spir.assurance.proof.terms import CLOCK, ORGANIZATION, Statement, some
from spir.assurance.proof.witness import witness
from spir.assurance.proof.world import NOW, World
from spir.assurance.proof.zone import STEPS, Reasoner
from spir.assurance.sides import Regions, Side
from spir.assurance.survey import Answer, Boxes, Survey
from spir.engine.attributes import NoFacts
from spir.engine.ruleset import Rule, RuleSet
from spir.engine.ruling import Decide
from spir.language.vocabulary import Vocabulary
from spir.model.decision import Decision
from spir.model.policy import Kind, Layer, OperationPattern
from spir.model.request import Entity, Request

__all__ = ["SOURCES", "Boxes", "Claim", "Examination", "Step", "Surroundings", "Unfinished"]

T = TypeVar("T")

# check, done, total -> whether to go on
Step: TypeAlias = Callable[[str, int, int], bool]
# What the engine must say to a request for it to show a finding.
Claim: TypeAlias = Callable[[Decision], bool]

# Who can know an attribute (`source` in vocabularies): see mappings/vocabulary.yaml.
SOURCES = frozenset(("request", "identity", "directory", "adapter", "facts", "engine"))

# How often `step` is asked.
EVERY = 16


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

    survey: Survey
    decide: Decide
    at: datetime
    surroundings: Surroundings = Surroundings()
    step: Step = lambda check, done, total: True
    check: str = ""
    dropped: int = 0
    world: World = field(init=False)
    _jurisdictions: dict[Domain, str] = field(default_factory=dict)
    _stated: dict[Layer, tuple[Box, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = replace(self.survey.world, now=self.at)
        universe = self.world.universe(ORGANIZATION)
        paths = {found.jurisdiction for found in self.rules.sets} - {""}
        self._jurisdictions = {under(path) & universe: path for path in sorted(paths)}

    # -- rules --

    @property
    def rules(self) -> RuleSet:
        return self.survey.rules

    @property
    def vocabulary(self) -> Vocabulary:
        return self.survey.vocabulary

    def of(self, *kinds: Kind) -> tuple[Rule, ...]:
        """The rules of these kinds, in the order of the documents."""
        return self.survey.of_kind(*kinds)

    def region(self, rule: Rule) -> Boxes:
        """The requests that it applies to and for which its condition is true."""
        return self.survey.region(rule)

    def acts(self, rule: Rule) -> Boxes:
        """The requests for which it does what it is for: grants, stops or obliges, what it cannot decide included."""
        return self.survey.acts(rule)

    def side(self) -> Side:
        """The rules as zones of requests."""
        survey = self.survey
        return Side(survey.every, survey.rules, Regions(self.world, survey.acts), survey.around)

    def boxes(self, statement: Statement) -> Boxes:
        return boxes(statement, self.world)

    def layers_above(self, rule: Rule) -> tuple[Layer, ...]:
        """Layers above the rule's own that have any document, highest first."""
        return self.survey.above[rule.layer]

    def stated(self, layer: Layer) -> tuple[Box, ...]:
        """The organisations that the layer has any document for."""
        found = self._stated.get(layer)
        if found is None:
            tests = (self.world.test(ORGANIZATION, under(path)) for path in self.survey.jurisdictions(layer))
            found = self._stated[layer] = self.boxes(some(tests)) or ()
        return found

    def words(self, box: Box) -> str:
        """The requests of a box, for people."""
        return words(box, self._jurisdictions)

    # -- what was found out before --

    def recall(self, question: str, rule: Rule, find: Callable[[], Answer]) -> Any:
        """The answer to a question about the rule: as it was, where it still holds (`spir.assurance.survey`)."""
        answer = self.survey.known(question, rule)
        if answer is None:
            answer = find()
            self.survey.keep(question, rule, answer)
        return answer.value

    def reasoned(self, question: str, rule: Rule, reasoner: Reasoner, find: Callable[[], Answer]) -> Any:
        """`recall` for what takes reasoning.

        All questions together have so many steps. They count alike whether they are taken now or were before,
        and where there are too few left for any question, nothing is recalled and nothing kept.
        """
        known = self.survey.known(question, rule)
        if known is not None and reasoner.left - known.steps >= STEPS:
            reasoner.charge(known.steps)
            return known.value
        before = reasoner.left
        answer = find()
        if reasoner.left >= STEPS:
            self.survey.keep(question, rule, replace(answer, steps=before - reasoner.left))
        return answer.value

    def open(self, question: str, *kinds: Kind) -> Iterator[Rule]:
        """The rules of these kinds, for as long as there is time, that there may be something to say about."""
        return self.each(self.survey.unsettled(question, self.of(*kinds)))

    # -- time --

    def each(self, items: Sequence[T]) -> Iterator[T]:
        """The items, one after the other, for as long as there is time. Raises Unfinished."""
        for done, item in enumerate(items):
            if done % EVERY == 0 and not self.step(self.check, done, len(items)):
                raise Unfinished
            yield item

    # -- replay --

    def first(self, boxes: Sequence[Box], claim: Claim) -> Counterexample | None:
        """The first of the boxes that can be shown; None, and counted, if there are requests and none of them shows."""
        for box in boxes:
            shown = self.shown(box, claim)
            if shown is not None:
                return shown
        self.dropped += any(not box.is_empty for box in boxes)
        return None

    def shown(self, box: Box, claim: Claim) -> Counterexample | None:
        """A request of the box for which the engine says what the claim says; None if none was found."""
        somewhere = Box(self.world, {ORGANIZATION: self.world.universe(ORGANIZATION), **box.domains}, box.relations)
        found = witness(self._now(somewhere)) or witness(somewhere)
        return None if found is None else self.replayed(found.request, found.at, claim)

    def _now(self, box: Box) -> Box:
        """Asked at the moment of this examination, unless the box says something about time."""
        if NOW in box.domains or CLOCK in box.domains:
            return box
        place = micros(self.at)
        return Box(box.world, {**box.domains, NOW: interval(Line.MOMENT, place, place)}, box.relations)

    def replayed(self, request: Request, at: datetime, claim: Claim) -> Counterexample | None:
        """The request with the engine's own answer, if that answer bears the claim out."""
        decision = self.decide(request, NoFacts(), at)
        return Counterexample(request, at, decision.effect.value) if claim(decision) else None
