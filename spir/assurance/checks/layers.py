"""The check `layers`: whether the engine keeps to what policies are for, that a layer only tightens."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from spir.assurance.checks.examination import Examination
from spir.assurance.finding import Counterexample, Finding, Named, Severity
from spir.assurance.proof.box import Box
from spir.assurance.proof.solver import Undecided
from spir.assurance.proof.witness import Witness, holds, witness
from spir.assurance.proof.zone import Question, Reasoner, Region, Zone, zone
from spir.assurance.sides import Regions, Side, Slice
from spir.engine.attributes import NoFacts
from spir.engine.ruleset import Rule
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
    side = Side(examined.rules.every, examined.rules, Regions(examined.world))
    reasoner = Reasoner(examined.world)
    lower = [rule for rule in examined.of(Kind.PERMIT) if any(True for _ in examined.layers_above(rule))]
    for permit in examined.each(lower[:ASKED]):
        part = side.near(permit)
        for layer in examined.layers_above(permit):
            yield from _broken(examined, reasoner, part, permit, layer)


def _broken(examined: Examination, reasoner: Reasoner, part: Slice, permit: Rule, layer: Layer) -> Iterator[Finding]:
    covers = tuple(zone(cover) for cover in part.covers(layer))
    for found in _requests(reasoner, zone(part.side.regions.of(permit)), covers):
        decision = examined.decide(found.request, NoFacts(), found.at)
        if decision.permitted and not _granted(examined, part, found):
            shown = Counterexample(found.request, found.at, decision.effect.value)
            yield _finding(examined, permit, layer, "the engine permits", shown)
    for found in _requests(reasoner, part.grant(permit), covers):
        decision = examined.decide(found.request, NoFacts(), found.at)
        shown = Counterexample(found.request, found.at, decision.effect.value)
        yield _finding(examined, permit, layer, "the reasoning of the checks allows for", shown)


def _requests(reasoner: Reasoner, start: Zone, outside: tuple[Zone, ...]) -> Iterator[Witness]:
    try:
        boxes: list[Box] = list(islice(reasoner.answers(Question(start, (), outside)), TRIED))
    except Undecided:
        return
    yield from (found for box in boxes if (found := witness(box)) is not None)


def _granted(examined: Examination, part: Slice, found: Witness) -> bool:
    """Whether some permit holds that every layer above it covers, by what the conditions say one by one."""

    def met(region: Region) -> bool:
        return holds(region.statement, examined.world, found.request, found.at)

    return any(all(any(map(met, group)) for group in grant) for grant in part.grants)


def _finding(examined: Examination, permit: Rule, layer: Layer, who: str, shown: Counterexample) -> Finding:
    text = f"{who} what `{permit.policy.id}` grants and the {layer.label} layer does not cover"
    mend = "report it with this request, and do not activate these policies"
    return Finding(examined.check, Severity.ERROR, text, (Named.of(permit),), "", shown, mend)
