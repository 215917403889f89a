"""Permits that a layer above neither permits nor delegates: the part of `weakening` that is about what is not there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from spir.assurance.checks.examination import Claim, Examination
from spir.assurance.checks.extent import commons
from spir.assurance.checks.grouping import names
from spir.assurance.finding import Counterexample, Finding, Named, Severity
from spir.assurance.proof.box import Box, covered
from spir.assurance.proof.scope import CATEGORY, TYPE, VERB
from spir.assurance.proof.terms import Variable
from spir.assurance.survey import Answer
from spir.engine.ruleset import Rule
from spir.model.decision import Decision
from spir.model.policy import Kind, Layer

__all__ = ["let_through", "uncovered"]

OPERATION = (VERB, TYPE, CATEGORY)

# So many permits that lack something are told apart by what is left over.
TOLD_APART = 50
# So many are replayed, each of them; of more, so many of each finding until one is shown.
REPLAYED, TRIED = 500, 4


@dataclass(frozen=True, slots=True)
class Lack:
    """Requests that `permit` grants and `layer` does not. `covers` are its rules that grant a part of them."""

    permit: Rule
    layer: Layer
    covers: tuple[Rule, ...]
    box: Box
    whole: bool


def uncovered(examined: Examination) -> Iterator[Finding]:
    # of a layer with rules that are not decided nobody knows that it grants nothing
    doubtful = {rule.layer for rule in examined.survey.blurred(Kind.PERMIT, Kind.DELEGATE)}
    lacks = [replace(lack, whole=False) if lack.layer in doubtful else lack for lack in _every_lack(examined)]
    every = len(lacks) <= REPLAYED
    for region, group in examined.each(_groups(examined, lacks)):
        shown = list(_shown(examined, group, every))
        if shown:
            kept = [lack for lack, _ in shown] if every else group
            yield _finding(examined, kept, region if len(group) > 1 else group[0].box, shown[0][1])


def _every_lack(examined: Examination) -> Iterator[Lack]:
    left = examined.survey.unsettled("ceiling", examined.of(Kind.PERMIT))
    lower = [permit for permit in left if examined.layers_above(permit)]
    new = [permit for permit in lower if examined.survey.known("ceiling", permit) is None]
    whole = {layer: _covered_by_one(examined, layer, new) for layer in Layer}
    for permit in examined.each(lower):
        yield from examined.recall("ceiling", permit, partial(_lacking, examined, permit, whole))


def _lacking(examined: Examination, permit: Rule, whole: Mapping[Layer, frozenset[int]]) -> Answer:
    layers = [layer for layer in examined.layers_above(permit) if id(permit) not in whole[layer]]
    found = tuple(lack for layer in layers for lack in _lacks(examined, permit, layer))
    return Answer(found, frozenset((Kind.PERMIT, Kind.DELEGATE)))


def _shown(examined: Examination, group: Sequence[Lack], every: bool) -> Iterator[tuple[Lack, Counterexample]]:
    for lack in group if every else group[:TRIED]:
        shown = examined.first((lack.box,), _claim(lack))
        if shown is not None:
            yield lack, shown
            if not every:
                return


def _covered_by_one(examined: Examination, layer: Layer, permits: Sequence[Rule]) -> frozenset[int]:
    """Permits all of whose requests a single rule of the layer grants or delegates, quickly told of many at once."""
    covers = _covers(examined, layer)
    if len(permits) < len(covers) or not any(layer < permit.layer for permit in permits):
        return frozenset()
    inside = examined.survey.inside
    return frozenset(
        id(permit) for rule in examined.each(covers) for permit in inside(examined.region(rule), Kind.PERMIT)
    )


def _lacks(examined: Examination, permit: Rule, layer: Layer) -> Iterator[Lack]:
    granted = examined.region(permit) or ()
    here = tuple(commons(granted, examined.stated(layer)))
    met = examined.survey.meeting(here, Kind.PERMIT, Kind.DELEGATE)
    near = [rule for rule in met if rule.layer is layer]
    # what a layer further up permits is granted, whatever this one says: nobody misses its consent there
    above = [rule for rule in met if rule.layer < layer and rule.policy.kind is Kind.PERMIT]
    boxes = [box for rule in (*near, *above) for box in examined.region(rule) or ()]
    for box in here:
        left = covered(box, boxes)
        if left.whole is False and left.rest is not None:
            everywhere = all(covered(each, here).whole for each in granted)
            yield Lack(permit, layer, tuple(near), left.rest, everywhere and not near)
            return


def let_through(examined: Examination, layer: Layer, box: Box) -> Iterator[Box]:
    """Parts of the box that the layer permits or delegates, or has no document for."""
    silent = [box]
    for stated in examined.stated(layer):
        silent = [part for piece in silent for part in piece.minus(stated)]
    yield from silent
    for rule in examined.survey.meeting((box,), Kind.PERMIT, Kind.DELEGATE):
        if rule.layer is layer:
            yield from commons((box,), examined.region(rule))


def _covers(examined: Examination, layer: Layer) -> list[Rule]:
    return [rule for rule in examined.of(Kind.PERMIT, Kind.DELEGATE) if rule.layer is layer]


def _claim(lack: Lack) -> Claim:
    def claim(decision: Decision) -> bool:
        because = any(one.code == "not-delegated" and one.layer == lack.layer.label for one in decision.reasons)
        return decision.denied and because and lack.permit.policy.id in decision.matched

    return claim


def _groups(examined: Examination, lacks: list[Lack]) -> list[tuple[Box, list[Lack]]]:
    """By layer, and what of the rest its rules speak about; of very many by operation."""
    found: dict[object, tuple[Box, list[Lack]]] = {}
    for lack in lacks:
        seen = _by_operation(lack) if len(lacks) > TOLD_APART else _seen(examined, lack)
        covers = () if len(lacks) > TOLD_APART else tuple(map(id, lack.covers))
        found.setdefault((lack.layer, lack.whole, covers, seen), (seen, []))[1].append(lack)
    return list(found.values())


def _by_operation(lack: Lack) -> Box:
    """What is said of the operation alone."""
    return Box(lack.box.world, {name: domain for name, domain in lack.box.domains.items() if name in OPERATION})


def _seen(examined: Examination, lack: Lack) -> Box:
    """What is left over, as the layer sees it; the operations, where nothing of the layer is about it."""
    if not lack.covers:
        return _by_operation(lack)
    about: set[Variable] = {
        variable for rule in lack.covers for box in examined.acts(rule) or () for variable in box.domains
    }
    about = about.difference(OPERATION) or set(OPERATION)
    return Box(lack.box.world, {variable: domain for variable, domain in lack.box.domains.items() if variable in about})


def _finding(examined: Examination, group: Sequence[Lack], region: Box, shown: Counterexample) -> Finding:
    first, permits = group[0], [lack.permit for lack in group]
    layer = first.layer.label
    if first.whole:
        text = f"{names(permits)} can never grant: the {layer} layer neither permits nor delegates any of it"
    else:
        text = f"the {layer} layer neither permits nor delegates a part of what is granted by {names(permits)}"
    mend = f"narrow {names(permits)} to what the {layer} layer delegates, or have it delegate more"
    covers = first.covers if all(lack.covers == first.covers for lack in group) else ()
    policies = tuple(Named.of(rule) for rule in (*covers, *permits))
    severity = Severity.ERROR if first.whole else Severity.WARNING
    return Finding(examined.check, severity, text, policies, examined.words(region), shown, mend, len(group))
