"""The check `layers`: whether the engine keeps to what policies are for, that a layer only tightens."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import replace
from itertools import islice

from spir.assurance.checks.examination import Examination
from spir.assurance.finding import Counterexample, Finding, Named, Severity
from spir.assurance.proof.box import Box
from spir.assurance.proof.solver import Undecided
from spir.assurance.proof.witness import Witness, holds, witness
from spir.assurance.proof.zone import Question, Reasoner, Region, zone
from spir.assurance.survey import Answer
from spir.engine.attributes import NoFacts
from spir.engine.ruleset import Rule
from spir.model.decision import Effect
from spir.model.policy import Kind, Layer

__all__ = ["layers"]

# So many permits are asked about, and so many requests of each.
ASKED, TRIED = 200, 2


def layers(examined: Examination) -> Iterator[Finding]:
    """Requests that are permitted although a layer above neither permits nor delegates them.

    - **error**: the engine permitted such a request, or the reasoning of these checks allows for one.
      That a lower layer can only tighten holds by construction, whatever the policies say: a
      finding here is an error of this program, and no decision can be relied upon before it is mended.

    Requests of the permits of lower layers that no upper layer covers are made and decided, and it is proved
    that what grants lies within what covers. It is a test of the program on your own policies.

    *Mend:* report it, with the request; do not activate these policies.
    """
    asked = _Asked(examined)
    lower = [rule for rule in examined.of(Kind.PERMIT) if examined.layers_above(rule)]
    for permit in examined.each(lower[:ASKED]):
        yield from asked.broken(permit)


class _Asked:
    """Permits and what covers them, in one examination."""

    def __init__(self, examined: Examination) -> None:
        self.examined = examined
        self.reasoner = Reasoner(examined.world)
        self.side = examined.side()

    def broken(self, permit: Rule) -> Iterator[Finding]:
        examined = self.examined
        gaps = examined.reasoned(examined.check, permit, self.reasoner, lambda: self._answered(permit))
        for layer, uncovered, allowed in gaps:
            for found in self._requests(uncovered):
                shown = self._shown(found)
                if shown.effect == Effect.PERMIT.value and not self._granted(permit, found):
                    yield _finding(examined, permit, layer, "the engine permits", shown)
            for found in self._requests(allowed):
                yield _finding(examined, permit, layer, "the reasoning of the checks allows for", self._shown(found))

    def _answered(self, permit: Rule) -> Answer:
        """By layer: what of the permit nothing of the layer covers; and what of it is granted all the same."""
        solved, part = self.reasoner.solved, self.side.near(permit)
        gaps = []
        for layer in self.examined.layers_above(permit):
            covers = tuple(zone(cover) for cover in part.covers(layer))
            starts = (zone(self.side.regions.of(permit)), part.grant(permit))
            gaps.append((layer, *(self._boxes(Question(start, (), covers)) for start in starts)))
        kinds = frozenset((Kind.PERMIT, Kind.DELEGATE))
        return Answer(tuple(gaps), kinds, lasting=self.reasoner.solved == solved)

    def _boxes(self, question: Question) -> tuple[Box, ...]:
        try:
            return tuple(islice(self.reasoner.answers(question), TRIED))
        except Undecided:
            return ()

    def _requests(self, boxes: Iterable[Box]) -> Iterator[Witness]:
        here = (replace(box, world=self.examined.world) for box in boxes)
        return (found for box in here if (found := witness(box)) is not None)

    def _shown(self, found: Witness) -> Counterexample:
        decision = self.examined.decide(found.request, NoFacts(), found.at)
        return Counterexample(found.request, found.at, decision.effect.value)

    def _granted(self, permit: Rule, found: Witness) -> bool:
        """Whether some permit holds that every layer above it covers, by what the conditions say one by one."""

        def met(region: Region) -> bool:
            return holds(region.statement, self.examined.world, found.request, found.at)

        return any(all(any(map(met, group)) for group in grant) for grant in self.side.near(permit).grants)


def _finding(examined: Examination, permit: Rule, layer: Layer, who: str, shown: Counterexample) -> Finding:
    text = f"{who} what `{permit.policy.id}` grants and the {layer.label} layer does not cover"
    mend = "report it with this request, and do not activate these policies"
    return Finding(examined.check, Severity.ERROR, text, (Named.of(permit),), "", shown, mend)
