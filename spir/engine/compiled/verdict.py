"""From sets of policies to a decision: what the formula of `spir.engine.formula` comes to.

The same steps as in `spir.engine.reference`, on sets instead of conditions. A
condition is built only for what is left open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import TypeAlias

from spir.engine.attributes import NoFacts
from spir.engine.compiled.bucket import Item
from spir.engine.compiled.marks import Doubt
from spir.engine.compiled.masks import positions
from spir.engine.compiled.parts import Outcome, Part
from spir.engine.compiled.place import Place, joined_or_not
from spir.engine.residual import Relations, clauses
from spir.model.condition import TRUE, Condition, both, either, negated
from spir.model.decision import ADMIT_ALL, ADMIT_NONE, Decision, Effect, Reason, Residual, Tied
from spir.model.facts import View
from spir.model.obligation import Obligation
from spir.model.value import Lack, Why

__all__ = ["Moment", "Standing", "Verdict", "certain", "doubtful"]


# What a decision carries of the moment it is made: bundle, revision of the facts, and until when it is right.
Moment: TypeAlias = tuple[str, int, datetime | None]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where items stand that are in doubt: those that apply, are not out, are left open, are not known to be false."""

    applies: int
    alive: int
    open: int
    candidates: int
    doubts: tuple[Doubt, ...]


class Verdict:
    """A decision, good for other moments too. `terms` and `common` are those of a residual whose
    clauses ask which patients have an attribute, and so have to be read anew each time."""

    __slots__ = ("common", "decision", "terms")

    def __init__(
        self, decision: Decision, terms: tuple[tuple[str, Condition], ...] = (), common: Condition = TRUE
    ) -> None:
        self.decision = decision
        self.terms = terms
        self.common = common

    def at(self, view: View, at: datetime, until: datetime | None) -> Decision:
        """The decision on these facts at this moment."""
        held = self.decision
        residual = held.residual
        if self.terms:
            relations = Relations(view, at)
            residual = Residual(residual.condition, clauses(self.terms, self.common, relations))
            until = relations.until(until)
        elif held.facts == view.revision and held.valid_until == until:
            return held
        found = (held.effect, held.operation, residual, held.obligations, held.tied, held.advice, held.matched)
        decision = Decision(*found, held.reasons, held.unknowns, held.bundle, view.revision, until, held.labels)
        if not self.terms:
            self.decision = decision
        return decision


def certain(place: Place, applies: int, alive: int, moment: Moment) -> Verdict:
    """The verdict where nothing is in doubt: of the items that apply, these are not out."""
    stopped = (alive & place.denies) | (applies & place.requires & ~alive)
    granted = 0 if stopped else _granted(place, alive)
    reasons: tuple[Reason, ...]
    if granted:
        burdened = place.burdened
        duties, conflict = place.duties(granted & burdened, alive & place.obliges & burdened)
        if conflict is None:
            return Verdict(_decision(place, moment, Effect.PERMIT, ADMIT_ALL, applies, alive, duties))
        reasons = (conflict,)
    else:
        items = place.bucket.items
        reasons = (*[items[n].reason for n in positions(stopped)], *_ungranted(place, alive))
    return Verdict(_decision(place, moment, Effect.DENY, ADMIT_NONE, applies, alive, reasons=reasons))


def doubtful(place: Place, standing: Standing, moment: Moment) -> Verdict:
    """The verdict where conditions are missing values, or wait for them."""
    return _Judge(place, standing, moment).verdict()


def _decision(
    place: Place,
    moment: Moment,
    effect: Effect,
    residual: Residual,
    applies: int,
    alive: int,
    duties: tuple[Obligation, ...] = (),
    tied: tuple[Tied, ...] = (),
    reasons: tuple[Reason, ...] = (),
    lacks: tuple[Lack, ...] = (),
) -> Decision:
    bundle, facts, until = moment
    matched = place.bucket.named(alive | (applies & place.requires))
    return Decision(effect, place.operation, residual, duties, tied, (), matched, reasons, lacks, bundle, facts, until)


def _granted(place: Place, members: int) -> int:
    """The permits among `members` that every layer above them covers by one of `members`."""
    found = 0
    for _, permits, covers in place.layers:
        found |= members & permits
        if not members & covers:
            break
    return found


def _ungranted(place: Place, alive: int) -> list[Reason]:
    """What was not granted, or not covered by the layers above."""
    below = alive & place.permits
    if not below:
        return [place.no_permit]
    found = []
    for layer, permits, covers in place.layers:
        below &= ~permits
        if below and not alive & covers:
            first = place.bucket.ids[positions(below)[0]]
            text = f"the {layer.label} layer neither permits nor delegates it"
            found.append(Reason("not-delegated", text, first, layer.label))
    return found


class _Judge:
    """A verdict on items that are in doubt, in the making."""

    def __init__(self, place: Place, standing: Standing, moment: Moment) -> None:
        self.place = place
        self.items = place.bucket.items
        self.standing = standing
        self.moment = moment
        self.alive = standing.alive
        self.sure = standing.alive & ~standing.open
        self.outcomes: dict[Part, Outcome] = {}
        for doubt in standing.doubts if standing.open else ():
            self.outcomes.update(doubt.outcomes)
        self.settled: dict[int, Condition] = {}

    def verdict(self) -> Verdict:
        place, alive, sure = self.place, self.alive, self.sure
        stopped = (sure & place.denies) | (self.standing.applies & place.requires & ~alive)
        possible, granted = _granted(place, alive), _granted(place, sure)
        if stopped or not possible:
            reasons = (*map(self.stopped, positions(stopped)), *_ungranted(place, alive))
            return Verdict(self.decision(Effect.DENY, ADMIT_NONE, reasons=reasons))
        duties, tied, conflict = self.duties(possible, granted)
        if conflict is not None:
            return Verdict(self.decision(Effect.DENY, ADMIT_NONE, reasons=(conflict,)))
        limits = self.standing.open & (place.denies | place.requires)
        if granted and not limits:
            return Verdict(self.decision(Effect.PERMIT, ADMIT_ALL, duties, tied))
        return self.conditional(possible, limits, duties, tied)

    def conditional(
        self, possible: int, limits: int, duties: tuple[Obligation, ...], tied: tuple[Tied, ...]
    ) -> Verdict:
        terms = tuple((self.place.bucket.ids[n], self.grant(n)) for n in positions(possible))
        common = both(*map(self.left, positions(limits)))
        condition = both(either(*(term for _, term in terms)), common)
        relational = any(part.relational for part in self.outcomes)
        residual = Residual(condition, () if relational else clauses(terms, common, NO_RELATIONS))
        decision = self.decision(Effect.CONDITIONAL, residual, duties, tied)
        return Verdict(decision, terms, common) if relational else Verdict(decision)

    def decision(
        self,
        effect: Effect,
        residual: Residual,
        duties: tuple[Obligation, ...] = (),
        tied: tuple[Tied, ...] = (),
        reasons: tuple[Reason, ...] = (),
    ) -> Decision:
        applies, lacks = self.standing.applies, self.lacks()
        return _decision(self.place, self.moment, effect, residual, applies, self.alive, duties, tied, reasons, lacks)

    def lacks(self) -> tuple[Lack, ...]:
        """What was missing, failed or had no meaning for conditions that could not be decided."""
        found = {
            lack
            for doubt in self.standing.doubts
            for mask, lacks in doubt.lacking
            if mask & self.standing.candidates
            for lack in lacks
            if lack.why is not Why.DEFERRED
        }
        return tuple(sorted(found, key=lambda lack: (lack.attribute, lack.why.value)))

    def stopped(self, number: int) -> Reason:
        """How this deny or require stands in the way."""
        bit = 1 << number & self.standing.candidates
        every = (lacks for doubt in self.standing.doubts for mask, lacks in doubt.lacking if mask & bit)
        named = frozenset().union(*every)
        item = self.items[number]
        if not named:
            return item.reason
        text = f"`{item.rule.policy.id}` cannot be decided: {', '.join(sorted(str(lack) for lack in named))}"
        return Reason("indeterminate", text, item.rule.policy.id, item.rule.layer.label)

    # -- conditions that are left --------------------------------------------------------------

    def duties(self, possible: int, granted: int) -> tuple[tuple[Obligation, ...], tuple[Tied, ...], Reason | None]:
        """Obligations that bind for certain (joined), those that depend on the row, or why they conflict."""
        bound: list[Obligation] = []
        tied: list[Tied] = []
        for number, sure, left in self.burdens(possible, granted):
            obligations = self.items[number].rule.policy.obligations
            if sure:
                bound += obligations
            else:
                tied += [Tied(left, obligation) for obligation in obligations]
        duties, conflict = joined_or_not(bound)
        return duties, tuple(tied) if conflict is None else (), conflict

    def burdens(self, possible: int, granted: int) -> Iterator[tuple[int, bool, Condition]]:
        """Items with obligations that may bind: whether they surely do, and the condition otherwise."""
        burdened = self.place.burdened
        for n in positions(possible & burdened):
            sure = bool(granted >> n & 1)
            yield n, sure, TRUE if sure else self.grant(n)
        for n in positions(self.alive & burdened & self.place.obliges):
            sure = bool(self.sure >> n & 1)
            yield n, sure, TRUE if sure else self.left(n)

    def left(self, number: int) -> Condition:
        """What is left of an item's part of the formula; `TRUE` if it is in."""
        found = self.settled.get(number)
        if found is None:
            found = self.settled[number] = self._left(self.items[number])
        return found

    def _left(self, item: Item) -> Condition:
        open_ = [self.outcomes[part] for part in item.parts if part in self.outcomes]
        if item.needs_not:
            found = either(*(outcome.surely_not for outcome in open_))
        else:
            found = both(*(outcome.surely for outcome in open_))
        return negated(found) if item.opposite else found

    def grant(self, number: int) -> Condition:
        """The permit's own condition, and that of the layers above it."""
        layer = self.items[number].rule.layer
        above = (covers for upper, _, covers in self.place.layers if upper < layer)
        return both(self.left(number), *(either(*map(self.left, positions(self.alive & m))) for m in above))


NO_RELATIONS = Relations(NoFacts(), datetime.max)
