"""What is known of one version of the policies, and how much of it still holds for the next.

A survey knows for each rule the requests it is about, as boxes, and which rules
meet, that is, have a request in common; and it keeps what checks have found out
about single rules. Of the version that follows, only what a change can have
altered is worked out again. What depends on what:

    the boxes of a rule       the rule, the vocabulary and the site
    an answer about a rule    the rule; and rules of the kinds that the answer names, as far as they meet it
                              (or lie within it, or meet a part of it, where the answer says so)
    the same                  for which organisations each layer has documents
    what is made of answers   everything: findings are grouped, put into words and replayed in the engine
                              anew each time, which is quick where there is little to find

A question about a rule and its neighbours (is it overlapped, covered, left
nothing of?) is about the requests of that rule. A rule that has no request in
common with it can neither give nor take any of them, and that is decided by the
boxes, which are exact about "do not meet" (`spir.assurance.proof`); of a rule
with too many boxes it is decided by operations and jurisdiction alone. So an
answer holds for as long as the rule is there and no rule that it depends on has
come or gone. A rule that says something else is one that has gone and one that
has come; it is the same only if its policy is the very same object, as readers
give it back for a file that has not changed.

Where the vocabulary, the site, the layers' organisations or the order of the
rules is another one, where one policy stands in two places, or where much has
changed, nothing is carried over. Neither are
answers that a bound common to many questions had a part in (`Reasoner`), for
they depend on all of them.

A survey says nothing of time or of the engine, and is not altered by the one
that follows: whatever becomes of that one, this one can be followed again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import cached_property
from itertools import pairwise
from typing import Any, TypeAlias

from spir.assurance.proof.box import Box, boxes
from spir.assurance.proof.pairs import ALL, Index
from spir.assurance.proof.scope import region
from spir.assurance.proof.world import World
from spir.assurance.sides import may_meet, says
from spir.engine.ruleset import Rule, RuleSet, Site
from spir.language.vocabulary import Vocabulary
from spir.model.policy import Kind, Layer

__all__ = ["EVERY_KIND", "Answer", "Boxes", "Reach", "Survey"]

# The requests of a statement; None where they are too many boxes, and nothing is decided.
Boxes: TypeAlias = tuple[Box, ...] | None

EVERY_KIND = frozenset(Kind)

# If more than this share of the rules has changed, all is surveyed anew; and so is the map of which rules meet, once
# so many have changed since it was drawn.
MUCH, WORN = 1 / 4, 1 / 8

_UNKNOWN: Any = object()
_NONE: set[int] = set()


class Reach(Enum):
    """Which changes an answer about a rule is sensitive to: rules that meet it, or only those that lie within it."""

    MEETING = "meeting"
    WITHIN = "within"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found out about a rule. It holds until a rule of these kinds comes or goes, there where it matters."""

    value: Any
    kinds: frozenset[Kind] = EVERY_KIND
    where: Reach | Box = Reach.MEETING
    steps: int = 0  # of the reasoner
    lasting: bool = True  # not what z3 chose: it might choose otherwise

    @property
    def says_nothing(self) -> bool:
        """Whether whoever asks could as well have left it; no answer at all (None) is not nothing."""
        return not self.value and self.value is not None and not self.steps


@dataclass(slots=True, eq=False)
class _Known:
    rule: Rule
    acts: Boxes = _UNKNOWN
    region: Boxes = _UNKNOWN
    spot: Box | None = _UNKNOWN
    answers: dict[str, Answer] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, eq=False)
class _Sheet:
    """A part of the map of which rules meet. Of its rules some may have gone: `left` are the boxes of the others."""

    rules: tuple[Rule, ...]
    index: Index
    places: Mapping[int, int]
    kinds: Mapping[Kind, int]
    left: int = ALL

    @classmethod
    def of(cls, rules: Iterable[Rule], acts: Callable[[Rule], Boxes]) -> _Sheet:
        rules = tuple(rules)
        index = Index.of(map(acts, rules))
        kinds: dict[Kind, list[int]] = {}
        for place, rule in enumerate(rules):
            kinds.setdefault(rule.policy.kind, []).append(place)
        masks = {kind: index.owned(places) for kind, places in kinds.items()}
        return cls(rules, index, {id(rule): place for place, rule in enumerate(rules)}, masks)

    def without(self, rules: Iterable[Rule]) -> _Sheet:
        gone = self.index.owned(self.places[id(rule)] for rule in rules if id(rule) in self.places)
        return replace(self, left=self.left & ~gone)

    def meeting(self, region: Sequence[Box], kinds: Iterable[Kind]) -> list[Rule]:
        return [self.rules[place] for place in self.index.meeting(region, self._among(kinds))]

    def inside(self, region: Sequence[Box], kinds: Iterable[Kind]) -> list[Rule]:
        return [self.rules[place] for place in self.index.inside(region, self._among(kinds))]

    def _among(self, kinds: Iterable[Kind]) -> int:
        found = 0
        for kind in kinds:
            found |= self.kinds.get(kind, 0)
        return found & self.left


class Survey:
    """One version. `every` are its rules in the order of the documents; one that was in the version before, too, is
    the same object. Build with `of` and `then`."""

    def __init__(self, rules: RuleSet, vocabulary: Vocabulary, known: Sequence[_Known]) -> None:
        self.rules = rules
        self.vocabulary = vocabulary
        self.world = World(vocabulary, rules.site)
        self.every = tuple(one.rule for one in known)
        self._ground = _ground(rules, vocabulary)
        self._place = {id(rule): place for place, rule in enumerate(self.every)}
        self._known = {id(one.rule): one for one in known}
        self._of: dict[tuple[Kind, ...], tuple[Rule, ...]] = {}
        self._silent: dict[str, set[int]] = {}  # by question the rules of which the answer says nothing

    @classmethod
    def of(cls, rules: RuleSet, vocabulary: Vocabulary) -> Survey:
        """Of a version that follows none."""
        return cls(rules, vocabulary, [_Known(rule) for rule in rules.every])

    def then(self, rules: RuleSet, vocabulary: Vocabulary) -> Survey:
        """Of the version that follows this one, with all that still holds."""
        left = {id(rule.policy): known for rule, known in zip(self.every, self._known.values(), strict=True)}
        if self._ground != _ground(rules, vocabulary) or len(left) < len(self.every):
            return Survey.of(rules, vocabulary)
        known = [_taken(left, rule) or _Known(rule) for rule in rules.every]
        come = [one.rule for one in known if id(one.rule) not in self._place]
        gone = [one.rule for one in left.values()]
        if len(come) + len(gone) > MUCH * len(known) or not self._in_order(one.rule for one in known):
            return Survey.of(rules, vocabulary)
        found = Survey(rules, vocabulary, known)
        found._take_over(self, come, gone)
        return found

    def _in_order(self, every: Iterable[Rule]) -> bool:
        """Whether the rules that both versions have follow each other as they did."""
        places = [place for rule in every if (place := self._place.get(id(rule))) is not None]
        return all(one < other for one, other in pairwise(places))

    def _take_over(self, before: Survey, come: Sequence[Rule], gone: Sequence[Rule]) -> None:
        self._silent = {question: rules.difference(map(id, gone)) for question, rules in before._silent.items()}
        own: set[int] = set()
        for rule in come:
            self._forget(before, rule, self.acts(rule), own)
        for rule in gone:
            self._forget(before, rule, before.acts(rule), own)
        kept = (rule for rule in before._blurred if self.has(rule))
        self._blurred = (*kept, *(rule for rule in come if self.acts(rule) is None))
        first, *rest = before._sheets
        later = [rule for sheet in rest for rule in sheet.rules if id(rule) in self._place]
        # the rules of the first sheet that have gone, and those that have come since it was drawn
        worn = len(first.rules) - len(self.every) + 2 * (len(later) + len(come))
        if worn <= WORN * len(self.every):
            among = {id(rule) for rule in (*later, *come)}
            drawn = _Sheet.of((rule for rule in self.every if id(rule) in among), self.acts)
            self._sheets = (first.without(gone), drawn)

    def _forget(self, before: Survey, rule: Rule, acts: Boxes, own: set[int]) -> None:
        """The answers that this rule, which comes or goes, may have a part in. What `before` knows stays as it is.

        `own` are the rules of which this version does not share with `before` what is known.
        """
        # whatever it lies within has each of its requests: so it need only be looked for where one of them is
        spot = _spot(acts)
        around = {id(other) for other in before.near(rule, (spot,), *Kind)} if spot else None
        for other in before.near(rule, acts, *Kind):
            known = self._known.get(id(other))
            if known is None:
                continue
            if id(other) not in own:
                # INVARIANT: versions share what is known of a rule only if none that it meets has come or gone
                # between them, for what one of them finds out, the other will take for its own
                own.add(id(other))
                known = self._known[id(other)] = replace(known, answers=dict(known.answers))
            within = around is None or id(other) in around
            for name in [name for name, one in known.answers.items() if _matters(rule, acts, within, one)]:
                del known.answers[name]
                self._silent.get(name, _NONE).discard(id(other))

    def rest(self) -> None:
        """Let go of what helps to read conditions, once all are read: one by one, for others may be waiting."""
        while self.world.readings:
            self.world.readings.popitem()

    # -- rules --

    def of_kind(self, *kinds: Kind) -> tuple[Rule, ...]:
        """The rules of these kinds, in the order of the documents."""
        found = self._of.get(kinds)
        if found is None:
            found = self._of[kinds] = tuple(rule for rule in self.every if rule.policy.kind in kinds)
        return found

    def has(self, rule: Rule) -> bool:
        return id(rule) in self._place

    def place(self, rule: Rule) -> int:
        """Its place in the order of the documents."""
        return self._place[id(rule)]

    @cached_property
    def above(self) -> Mapping[Layer, tuple[Layer, ...]]:
        """Of each layer those above it that have any document, highest first."""
        stated = sorted({layer for layer, _ in self._ground[2]})
        return {layer: tuple(one for one in stated if one < layer) for layer in Layer}

    def jurisdictions(self, layer: Layer) -> tuple[str, ...]:
        """Those that the layer has documents for."""
        return tuple(sorted(path for stated, path in self._ground[2] if stated is layer))

    def acts(self, rule: Rule) -> Boxes:
        """The requests for which it does what it is for: grants, stops or obliges, what it cannot decide included."""
        known = self._known[id(rule)]
        if known.acts is _UNKNOWN:
            known.acts = boxes(says(rule, self.world), self.world)
        return known.acts

    def spot(self, rule: Rule) -> Box | None:
        """One request that it acts on; None if there is none, or they are not known."""
        known = self._known[id(rule)]
        if known.spot is _UNKNOWN:
            known.spot = _spot(self.acts(rule))
        return known.spot

    def region(self, rule: Rule) -> Boxes:
        """The requests that it applies to and for which its condition is true."""
        if rule.policy.kind in (Kind.PERMIT, Kind.DELEGATE):
            return self.acts(rule)
        known = self._known[id(rule)]
        if known.region is _UNKNOWN:
            known.region = boxes(region(rule, self.world), self.world)
        return known.region

    # -- which of them meet --

    def meeting(self, region: Boxes, *kinds: Kind) -> list[Rule]:
        """The rules of these kinds that act on a request of the region, in order."""
        return self._ordered([rule for sheet in self._sheets for rule in sheet.meeting(region or (), kinds)])

    def inside(self, region: Boxes, *kinds: Kind) -> list[Rule]:
        """The rules of these kinds that surely act on requests of the region only, in order."""
        return self._ordered([rule for sheet in self._sheets for rule in sheet.inside(region or (), kinds)])

    def near(self, rule: Rule, acts: Boxes, *kinds: Kind) -> list[Rule]:
        """The other rules of these kinds that may have a request in common with one that acts so, in order.

        It need not be of this version.
        """
        if acts is None:
            return [other for other in self.of_kind(*kinds) if other is not rule and may_meet(other, rule)]
        found = [other for other in self.meeting(acts, *kinds) if other is not rule]
        blurred = [other for other in self.blurred(*kinds) if other is not rule and may_meet(other, rule)]
        return self._ordered([*found, *blurred]) if blurred else found

    def around(self, rule: Rule, acts: Boxes = _UNKNOWN) -> list[Rule]:
        """The rules that may have a request in common with this one, in order; itself, if it is of this version."""
        near = self.near(rule, self.acts(rule) if acts is _UNKNOWN else acts, *Kind)
        return self._ordered([rule, *near]) if self.has(rule) else near

    def _ordered(self, rules: list[Rule]) -> list[Rule]:
        return sorted(rules, key=self.place) if len(rules) > 1 else rules

    @cached_property
    def _sheets(self) -> tuple[_Sheet, ...]:
        return (_Sheet.of(self.every, self.acts),)

    def blurred(self, *kinds: Kind) -> list[Rule]:
        """The rules of these kinds of which the requests are not known as boxes."""
        return [rule for rule in self._blurred if rule.policy.kind in kinds]

    @cached_property
    def _blurred(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.every if self.acts(rule) is None)

    # -- answers --

    def known(self, question: str, rule: Rule) -> Answer | None:
        """What was found out about the rule, in this version or an earlier one."""
        return self._known[id(rule)].answers.get(question)

    def keep(self, question: str, rule: Rule, answer: Answer) -> None:
        if answer.lasting:
            self._known[id(rule)].answers[question] = answer
        if answer.lasting and answer.says_nothing:
            self._silent.setdefault(question, set()).add(id(rule))

    def unsettled(self, question: str, rules: Iterable[Rule]) -> list[Rule]:
        """Those of the rules about which it is not known that there is nothing to say."""
        silent = self._silent.get(question, _NONE)
        return [rule for rule in rules if id(rule) not in silent]


def _ground(rules: RuleSet, vocabulary: Vocabulary) -> tuple[Vocabulary, Site, frozenset[tuple[Layer, str]]]:
    """What every answer depends on."""
    return vocabulary, rules.site, frozenset((found.layer, found.jurisdiction) for found in rules.sets)


def _matters(rule: Rule, acts: Boxes, within: bool, answer: Answer) -> bool:
    """Whether that this rule comes or goes may change the answer about one that it meets, and may lie `within`."""
    if rule.policy.kind not in answer.kinds:
        return False
    if acts is None or answer.where is Reach.MEETING:
        return True
    if answer.where is Reach.WITHIN:
        return within
    return any(box.meets(answer.where) for box in acts)


def _spot(acts: Boxes) -> Box | None:
    return acts[0].spot() if acts else None


def _taken(left: dict[int, _Known], rule: Rule) -> _Known | None:
    """What is known of the same rule, which is out of what is left then."""
    found = left.get(id(rule.policy))
    if found is None or (found.rule.layer, found.rule.jurisdiction) != (rule.layer, rule.jurisdiction):
        return None
    return left.pop(id(rule.policy))
