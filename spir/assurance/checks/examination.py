"""What every check is given: the rules, the words, the engine that replays, and what is known of the site.

One examination is one look at one set of rules. It remembers what several
checks need (the requests that a rule is about), and counts what did not hold
up when the engine was asked.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TypeAlias, TypeVar

from spir.assurance.checks.wording import words
from spir.assurance.finding import Counterexample
from spir.assurance.proof.box import Box, boxes
from spir.assurance.proof.domain import Domain, Line, interval, micros, under
from spir.assurance.proof.pairs import Index
from spir.assurance.proof.scope import reach, region, stopped
from spir.assurance.proof.terms import CLOCK, ORGANIZATION, Statement, every
from spir.assurance.proof.truth import reading
from spir.assurance.proof.witness import witness
from spir.assurance.proof.world import NOW, World, negation
from spir.engine.attributes import NoFacts
from spir.engine.ruleset import Rule, RuleSet
from spir.engine.ruling import Decide
from spir.language.vocabulary import Vocabulary
from spir.model.decision import Decision
from spir.model.policy import Kind, Layer, OnMissing, OperationPattern
from spir.model.request import Entity, Request

__all__ = ["SOURCES", "Boxes", "Claim", "Examination", "Step", "Surroundings", "Unfinished"]

T = TypeVar("T")

# The requests of a statement; None where they are too many boxes, and nothing is decided.
Boxes: TypeAlias = tuple[Box, ...] | None
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

    rules: RuleSet
    vocabulary: Vocabulary
    decide: Decide
    at: datetime
    surroundings: Surroundings = Surroundings()
    step: Step = lambda check, done, total: True
    check: str = ""
    dropped: int = 0
    world: World = field(init=False)
    _jurisdictions: dict[Domain, str] = field(default_factory=dict)
    _regions: dict[int, Boxes] = field(default_factory=dict)
    _acts: dict[int, Boxes] = field(default_factory=dict)
    _indexes: dict[tuple[Kind, ...], tuple[list[Rule], Index]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.world = World(self.vocabulary, self.rules.site, self.at)
        universe = self.world.universe(ORGANIZATION)
        paths = {found.jurisdiction for found in self.rules.sets} - {""}
        self._jurisdictions = {under(path) & universe: path for path in sorted(paths)}

    # -- rules --

    def of(self, *kinds: Kind) -> list[Rule]:
        """The rules of these kinds, in the order of the documents."""
        return [rule for rule in self.rules.every if rule.policy.kind in kinds]

    def region(self, rule: Rule) -> Boxes:
        """The requests that it applies to and for which its condition is true."""
        found = self._regions.get(id(rule), ())
        if not found and id(rule) not in self._regions:
            found = self._regions[id(rule)] = self.boxes(region(rule, self.world))
        return found

    def acts(self, rule: Rule) -> Boxes:
        """The requests for which it does what it is for: grants, stops or obliges, what it cannot decide included."""
        found = self._acts.get(id(rule), ())
        if not found and id(rule) not in self._acts:
            found = self._acts[id(rule)] = self._acting(rule)
        return found

    def _acting(self, rule: Rule) -> Boxes:
        kind = rule.policy.kind
        if kind in (Kind.DENY, Kind.REQUIRE):
            return self.boxes(stopped(rule, self.world))
        if kind is Kind.OBLIGE and rule.policy.on_missing is OnMissing.DENY:
            unless = negation(reading(rule.policy.when, self.world).false, self.world)
            return self.boxes(every((reach(rule, self.world), unless)))
        return self.region(rule)

    def index(self, *kinds: Kind) -> tuple[list[Rule], Index]:
        """The rules of these kinds, and by their places what they do (`acts`)."""
        found = self._indexes.get(kinds)
        if found is None:
            rules = self.of(*kinds)
            found = self._indexes[kinds] = (rules, Index.of([self.acts(rule) for rule in rules]))
        return found

    def boxes(self, statement: Statement) -> Boxes:
        return boxes(statement, self.world)

    def layers_above(self, rule: Rule) -> Iterator[Layer]:
        """Layers above the rule's own that have any document, highest first."""
        stated = {found.layer for found in self.rules.sets}
        yield from (layer for layer in Layer if layer < rule.layer and layer in stated)

    def words(self, box: Box) -> str:
        """The requests of a box, for people."""
        return words(box, self._jurisdictions)

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
        somewhere = Box(box.world, {ORGANIZATION: self.world.universe(ORGANIZATION), **box.domains}, box.relations)
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
