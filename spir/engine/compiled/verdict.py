"""From sets of policies to a decision: what the formula of `spir.engine.formula` comes to.

The same steps as in `spir.engine.reference`, on sets instead of conditions. A
condition is built only for what is left open.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from spir.engine.attributes import NoFacts
from spir.engine.compiled.bucket import Item
from spir.engine.compiled.marks import Doubt
from spir.engine.compiled.masks import positions
from spir.engine.compiled.parts import Outcome, Part
from spir.engine.compiled.place import Place
from spir.engine.evaluate import free_attributes
from spir.engine.residual import Relations, clauses
from spir.model.condition import TRUE, Condition, both, either, negated
from spir.model.decision import ADMIT_ALL, ADMIT_NONE, Decision, Effect, Reason, Residual, Tied
from spir.model.facts import View
from spir.model.obligation import Incomparable, Obligation, joined
from spir.model.policy import Layer
from spir.model.value import Lack, Why

__all__ = ["Standing", "Verdict", "verdict"]


@dataclass(frozen=True, slots=True)
class Standing:
    """Where the items stand: those that apply, those not out, those left open, those not known to be false."""

    applies: int
    alive: int
    open: int
    candidates: int
    doubts: tuple[Doubt, ...]


NOBODY: tuple[tuple[str, Condition], ...] = ()


@dataclass(frozen=True, slots=True)
class Verdict:
    """A decision but for the facts' revision and the moment. `terms` and `common` are those of a
    residual whose clauses ask for relations, and so have to be read anew each time."""

    decision: Decision
    terms: tuple[tuple[str, Condition], ...] = NOBODY
    common: Condition = TRUE

    def at(self, view: View, at: datetime, until: datetime | None) -> Decision:
        """The decision on these facts at this moment."""
        held = self.decision
        residual = held.residual
        if self.terms:
            relations = Relations(view, at)
            residual = Residual(residual.condition, clauses(self.terms, self.common, relations))
            until = relations.until(until)
        return Decision(
            held.effect,
            held.operation,
            residual,
            held.obligations,
            held.tied,
            held.advice,
            held.matched,
            held.reasons,
            held.unknowns,
            held.bundle,
            view.revision,
            until,
            held.labels,
        )


def verdict(place: Place, standing: Standing, bundle: str) -> Verdict:
    return _Judge(place, standing).verdict(bundle)


class _Judge:
    """One verdict in the making."""

    def __init__(self, place: Place, standing: Standing) -> None:
        self.place = place
        self.items = place.bucket.items
        self.standing = standing
        self.alive = standing.alive
        self.sure = standing.alive & ~standing.open
        self.outcomes: dict[Part, Outcome] = {}
        for doubt in standing.doubts if standing.open else ():
            self.outcomes.update(doubt.outcomes)
        self.settled: dict[int, Condition] = {}

    def verdict(self, bundle: str) -> Verdict:
        place = self.place
        stopped = (self.sure & place.denies) | (self.standing.applies & place.requires & ~self.alive)
        possible, certain = self.granted(self.alive), self.granted(self.sure)
        if stopped or not possible:
            return Verdict(self.decision(bundle, Effect.DENY, ADMIT_NONE, reasons=self.reasons(stopped)))
        duties, tied, conflict = self.duties(possible, certain)
        if conflict is not None:
            return Verdict(self.decision(bundle, Effect.DENY, ADMIT_NONE, reasons=(conflict,)))
        if certain and not self.alive & self.standing.open & (place.denies | place.requires):
            return Verdict(self.decision(bundle, Effect.PERMIT, ADMIT_ALL, duties, tied))
        return self.conditional(bundle, possible, duties, tied)

    def conditional(
        self, bundle: str, possible: int, duties: tuple[Obligation, ...], tied: tuple[Tied, ...]
    ) -> Verdict:
        terms = tuple((self.items[n].rule.policy.id, self.grant(n)) for n in positions(possible))
        limits = self.alive & self.standing.open & (self.place.denies | self.place.requires)
        common = both(*map(self.left, positions(limits)))
        condition = both(either(*(term for _, term in terms)), common)
        # A term that the condition no longer needs may still have clauses.
        read = (free_attributes(part) for part in (common, *(term for _, term in terms)))
        relational = any(_is_relation(path) for paths in read for path in paths)
        residual = Residual(condition, () if relational else clauses(terms, common, NO_RELATIONS))
        decision = self.decision(bundle, Effect.CONDITIONAL, residual, duties, tied)
        return Verdict(decision, terms, common) if relational else Verdict(decision)

    def decision(
        self,
        bundle: str,
        effect: Effect,
        residual: Residual,
        duties: tuple[Obligation, ...] = (),
        tied: tuple[Tied, ...] = (),
        reasons: tuple[Reason, ...] = (),
    ) -> Decision:
        matched = self.standing.applies & (self.alive | self.place.requires)
        ids = tuple(self.items[n].rule.policy.id for n in positions(matched))
        lacks = tuple(sorted(self.lacks(), key=lambda lack: (lack.attribute, lack.why.value)))
        operation = self.place.operation
        return Decision(effect, operation, residual, duties, tied, (), ids, reasons, lacks, bundle)

    # -- sets --------------------------------------------------------------------------------

    def granted(self, members: int) -> int:
        """The permits among `members` that every layer above them covers by one of `members`."""
        found = 0
        for _, permits, covers in self.place.layers:
            found |= members & permits
            if not members & covers:
                break
        return found

    def lacks(self) -> set[Lack]:
        """What was missing, failed or had no meaning for conditions that could not be decided."""
        found = {
            lack
            for doubt in self.standing.doubts
            for mask, lacks in doubt.lacking
            if mask & self.standing.candidates
            for lack in lacks
        }
        return {lack for lack in found if lack.why is not Why.DEFERRED}

    def reasons(self, stopped: int) -> tuple[Reason, ...]:
        found = [self.stopped(n) for n in positions(stopped)]
        granted = self.alive & self.place.permits
        if not granted:
            found.append(Reason("no-permit", f"no policy permits `{self.place.operation}`"))
        below = granted
        for layer, permits, covers in self.place.layers:
            below &= ~permits
            if below and not self.alive & covers:
                found.append(self.not_delegated(layer, below))
        return tuple(found)

    def not_delegated(self, layer: Layer, below: int) -> Reason:
        first = self.items[next(positions(below))].rule.policy.id
        return Reason("not-delegated", f"the {layer.label} layer neither permits nor delegates it", first, layer.label)

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

    def duties(self, possible: int, certain: int) -> tuple[tuple[Obligation, ...], tuple[Tied, ...], Reason | None]:
        """Obligations that bind for certain (joined), those that depend on the row, or why they conflict."""
        bound: list[Obligation] = []
        tied: list[Tied] = []
        for number, sure, left in self.burdens(possible, certain):
            obligations = self.items[number].rule.policy.obligations
            if sure:
                bound += obligations
            else:
                tied += [Tied(left, obligation) for obligation in obligations]
        try:
            return joined(bound), tuple(tied), None
        except Incomparable as error:
            return (), (), Reason("obligations-conflict", str(error))

    def burdens(self, possible: int, certain: int) -> Iterator[tuple[int, bool, Condition]]:
        """Items with obligations that may bind: whether they surely do, and the condition otherwise."""
        burdened = self.place.bucket.burdened
        for n in positions(possible & burdened):
            sure = bool(certain >> n & 1)
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


def _is_relation(path: str) -> bool:
    """Whether a clause about the attribute is made by asking which patients have it."""
    prefix, _, name = path.rpartition(".")
    return prefix == "resource.patient" and name != "id"
