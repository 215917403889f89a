"""What a change of policies changes: which requests are newly permitted, which newly denied, which owe something else.

Two versions are compared by what they decide, not by how they are written. Every
change that is reported comes with one complete request that both engines, the
compiled one and the reference, decide as it says. Where nothing is reported and
nothing was left undecided, no request that keeps to the vocabularies is decided
otherwise by the new version.

How: what one version permits and the other does not lies where something stops
it that the other does not have, or it is granted by something that the other
does not have (`spir.assurance.sides`). So only the rules that meet a difference
are looked at, and both directions are the same question with the sides swapped.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from itertools import islice

from spir.assurance.change import Change, Difference, Direction, Version
from spir.assurance.checks.wording import words
from spir.assurance.duties import duties_of
from spir.assurance.finding import Named
from spir.assurance.proof.box import Box
from spir.assurance.proof.domain import Domain, Line, interval, micros
from spir.assurance.proof.solver import Undecided
from spir.assurance.proof.terms import Statement
from spir.assurance.proof.witness import holds, witness
from spir.assurance.proof.world import NOW
from spir.assurance.proof.zone import Question, Reasoner, Region, Zone, zone
from spir.assurance.replay import Outcome, Replay
from spir.assurance.sides import STOPPERS, Near, Owner, Regions, Side, Slice
from spir.assurance.survey import Boxes, Survey
from spir.assurance.versions import Edit, common_world, jurisdictions, paired, remarks
from spir.engine.ruleset import Rule
from spir.model.policy import Kind, Layer

__all__ = ["Bounds", "Change", "Difference", "Direction", "Version", "difference"]


@dataclass(frozen=True, slots=True)
class Bounds:
    """`regions`: so many are shown for one cause and direction. `tries`: so many requests are replayed to show one.

    `go_on` says whether there is more time; what is not looked at any more is undecided.
    """

    regions: int = 4
    tries: int = 6
    go_on: Callable[[], bool] = lambda: True


def difference(
    old: Version, new: Version, *, at: datetime | None = None, bounds: Bounds = Bounds(), solver: bool = True
) -> Difference:
    """What is decided otherwise by `new`, at any moment.

    `at` is the moment at which requests are shown where it does not matter. `solver` False leaves z3 out,
    where it is installed.
    """
    known = _Known(old.survey, new.survey) if old.survey and new.survey and _alike_grounds(old, new) else None
    pairing = paired(known.old.every, known.new.every) if known else paired(old.rules.every, new.rules.every)
    world, doubts = common_world(old, new, at)
    regions = Regions(world, known.boxes if known else None)
    before = Side(pairing.old, old.rules, regions, known.before if known else None)
    after = Side(pairing.new, new.rules, regions, known.after(pairing.twins) if known else None)
    replay, places = Replay(old, new), jurisdictions(world, (*old.rules.sets, *new.rules.sets))
    found = _Comparison(before, after, pairing.edits, Reasoner(world, solver), replay, places, bounds)
    found.compare()
    return Difference(tuple(found.changes), (*doubts, *found.undecided), (*remarks(old, new), *found.remarks))


def _alike_grounds(old: Version, new: Version) -> bool:
    """Whether the boxes of both are of one world."""
    return old.vocabulary == new.vocabulary and old.rules.site == new.rules.site


@dataclass(frozen=True, slots=True)
class _Known:
    """Both versions' surveys: boxes that need not be made, and which rules meet."""

    old: Survey
    new: Survey

    def boxes(self, rule: Rule) -> Boxes:
        return self.old.acts(rule) if self.old.has(rule) else self.new.acts(rule)

    def before(self, rule: Rule) -> Iterable[Rule]:
        return self.old.around(rule, self.boxes(rule))

    def after(self, twins: Mapping[int, Rule]) -> Near:
        return lambda rule: [twins[id(other)] for other in self.new.around(rule, self.boxes(rule))]


@dataclass(frozen=True, slots=True)
class _Suspect:
    """Requests that may be decided otherwise; `cause` is why, in words. `parts` are the rules near, of each version."""

    question: Question
    cause: str
    parts: tuple[Slice, Slice]


@dataclass(slots=True)
class _Comparison:
    before: Side
    after: Side
    edits: tuple[Edit, ...]
    reasoner: Reasoner
    replay: Replay
    places: Mapping[Domain, str]
    bounds: Bounds
    changes: list[Change] = field(default_factory=list)
    undecided: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    def compare(self) -> None:
        self._show(Direction.PERMIT, _gained(self.before, self.after))
        self._show(Direction.DENY, _gained(self.after, self.before))
        self._show(Direction.OBLIGE, (*_owed(self.before, self.after), *_owed(self.after, self.before)))

    def _show(self, direction: Direction, suspects: Iterable[_Suspect]) -> None:
        shown: Counter[str] = Counter()
        for suspect in suspects:
            if not self.bounds.go_on():
                self._note(self.undecided, f"whether {_WHETHER[direction]}: there was no more time")
                return
            if shown[suspect.cause] == self.bounds.regions:
                self._note(self.remarks, f"{_MAYBE[direction]} because of {suspect.cause} than are shown")
                continue
            found = self._decided(direction, suspect)
            if found is not None and not any(_alike(found, each) for each in self.changes):
                self.changes.append(found)
                shown[suspect.cause] += 1

    def _note(self, notes: list[str], text: str) -> None:
        if text not in notes:
            notes.append(text)

    def _decided(self, direction: Direction, suspect: _Suspect) -> Change | None:
        """The first request that shows it; what cannot be told is noted."""
        why = ""
        try:
            for box in islice(self.reasoner.answers(suspect.question), self.bounds.tries):
                found = self._shown(direction, box, suspect.parts)
                if found is not None:
                    return found
                why = "no request was found that shows it, nor a proof that there is none"
        except Undecided as error:
            why = f"{error.message}{f'; {error.hint}' if error.hint else ''}"
        if why:
            self._note(self.undecided, f"whether {_WHETHER[direction]} because of {suspect.cause}: {why}")
        return None

    def _shown(self, direction: Direction, box: Box, parts: tuple[Slice, Slice]) -> Change | None:
        box = replace(box, world=self.reasoner.world)  # a survey knows no moment
        found = witness(_now(box)) or witness(box)
        if found is None:
            return None
        old, new = parts if parts[0].side is self.before else reversed(parts)
        here = old.meeting((box,)).rules, new.meeting((box,)).rules
        outcome = self.replay.outcome(found.request, found.at, *here)
        if outcome is None or outcome.direction is not direction:
            return None
        near = {id(rule) for rules in here for rule in rules}
        edits = [edit for edit in self.edits if edit.is_among(near) and self._has_say(edit, outcome)]
        return Change(
            direction,
            words(box, self.places),
            outcome.request,
            outcome.at,
            outcome.before,
            outcome.after,
            tuple(Named.of(edit.rule) for edit in edits),
            "; ".join(map(str, edits)) or LAYERS,
        )

    def _has_say(self, edit: Edit, outcome: Outcome) -> bool:
        """Whether the policy speaks of this request, and not in the same way in both versions."""
        said = [
            rule is not None and holds(self._statement(rule), self.reasoner.world, outcome.request, outcome.at)
            for rule in (edit.old, edit.new)
        ]
        return said[0] is not said[1] or (said[0] and bool({*edit.parts} - {"condition", "operations", "validity"}))

    def _statement(self, rule: Rule) -> Statement:
        return self.before.regions.of(rule).statement


def _now(box: Box) -> Box:
    """The part of the box that lies at the world's own moment: the likeable one, if there is a choice."""
    place = micros(box.world.now)
    return Box(box.world, {**box.domains, NOW: box.domain(NOW) & interval(Line.MOMENT, place, place)}, box.relations)


def _alike(one: Change, other: Change) -> bool:
    """Whether they show the same thing."""
    return one.direction is other.direction and one.request == other.request and one.at == other.at


LAYERS = "the layers that have documents"
_WHETHER = {
    Direction.PERMIT: "requests are newly permitted",
    Direction.DENY: "requests are newly denied",
    Direction.OBLIGE: "requests owe other obligations",
}
_MAYBE = {
    Direction.PERMIT: "more may be newly permitted",
    Direction.DENY: "more may be newly denied",
    Direction.OBLIGE: "more may owe other obligations",
}


# -- where the versions may differ -----------------------------------------------------------


def _gained(before: Side, after: Side) -> Iterator[_Suspect]:
    """Where `after` may permit what `before` does not: nothing stops it any more, or something grants it now."""
    for rule in _only(before, after):
        was, now = before.near(rule), after.near(rule)
        yield from _let_through(was, now, _stops(was, rule), f"`{rule.policy.id}`")
    for rule in _only(after, before):
        was, now = before.near(rule), after.near(rule)
        yield from _granted(was, now, now.using(rule), f"`{rule.policy.id}`")
    for _, gap in _gaps(before, after):
        yield from _let_through(before.everything, after.everything, before.everything.conflicting(gap), LAYERS)
    for layer, gap in _gaps(after, before):
        yield from _granted(before.everything, after.everything, after.everything.through(layer, gap), LAYERS)


def _only(side: Side, other: Side) -> Iterator[Rule]:
    return iter(side.but(other))


def _gaps(side: Side, other: Side) -> Iterator[tuple[Layer, Region]]:
    for layer in Layer:
        known = set(map(id, other.gaps[layer]))
        yield from ((layer, gap) for gap in side.gaps[layer] if id(gap) not in known)


def _stops(part: Slice, rule: Rule) -> Iterator[Zone]:
    region = part.side.regions.of(rule)
    if rule.policy.kind in STOPPERS:
        yield zone(region)
    else:
        yield from part.conflicting(region)


def _let_through(was: Slice, now: Slice, stops: Iterable[Zone], cause: str) -> Iterator[_Suspect]:
    for start in stops if now.permits else ():
        part = now.about(start)
        for grant in part.grants:
            question = Question(start, ((grant,),), (*part.stoppers, *part.conflicts))
            yield _Suspect(question, cause, (was, now))


def _granted(was: Slice, now: Slice, grants: Iterable[Zone], cause: str) -> Iterator[_Suspect]:
    for start in grants:
        old, new = was.about(start), now.about(start)
        yield _Suspect(Question(start, (), (*new.stoppers, *new.conflicts, *old.grants)), cause, (was, now))


def _owed(before: Side, after: Side) -> Iterator[_Suspect]:
    """Where both permit and `after` may demand what `before` does not."""
    for rule in _only(after, before):
        was, now = before.near(rule), after.near(rule)
        for owner in now.owners_by(rule):
            yield from _demanded(was, now, owner, f"`{rule.policy.id}`")
    for layer, gap in _gaps(after, before):
        was, now = before.everything, after.everything
        for owner in now.owners_through(layer, gap):
            yield from _demanded(was, now, owner, LAYERS)


def _demanded(was: Slice, now: Slice, owner: Owner, cause: str) -> Iterator[_Suspect]:
    old, new = was.about(owner.zone), now.about(owner.zone)
    outside = (*old.stoppers, *old.conflicts, *new.stoppers, *new.conflicts)
    # a permit owes where it grants, so it need not be asked whether something does
    inside = (old.grants,) if owner.rule.policy.kind is Kind.PERMIT else (old.grants, new.grants)
    for duty in sorted({duty for o in owner.obligations for duty in duties_of(o)}, key=str):
        question = Question(owner.zone, inside, (*outside, *old.owing(duty)))
        yield _Suspect(question, cause, (was, now))
