"""Permits that a layer above neither permits nor delegates: the part of `weakening` that is about what is not there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from spir.assurance.checks.examination import Claim, Examination
from spir.assurance.checks.extent import commons
from spir.assurance.checks.grouping import names
from spir.assurance.finding import Counterexample, Finding, Named, Severity
from spir.assurance.proof.box import Box, covered
from spir.assurance.proof.domain import under
from spir.assurance.proof.scope import CATEGORY, TYPE, VERB
from spir.assurance.proof.terms import ORGANIZATION, Variable, some
from spir.engine.ruleset import Rule
from spir.model.decision import Decision
from spir.model.policy import Kind, Layer

__all__ = ["let_through", "uncovered"]

OPERATION = (VERB, TYPE, CATEGORY)


@dataclass(frozen=True, slots=True)
class Lack:
    """Requests that `permit` grants and `layer` does not. `covers` are its rules that grant a part of them."""

    permit: Rule
    layer: Layer
    covers: tuple[Rule, ...]
    box: Box
    whole: bool


def uncovered(examined: Examination) -> Iterator[Finding]:
    lacks = [lack for permit in examined.each(examined.of(Kind.PERMIT)) for lack in _lacks(examined, permit)]
    for group in examined.each(_groups(examined, lacks)):
        shown = [(lack, one) for lack in group if (one := examined.shown(lack.box, _claim(lack))) is not None]
        if shown:
            yield _finding(examined, [lack for lack, _ in shown], shown[0][1])


def _lacks(examined: Examination, permit: Rule) -> Iterator[Lack]:
    granted = examined.region(permit)
    for layer in examined.layers_above(permit) if granted else ():
        here = list(commons(granted, _stated(examined, layer)))
        near = [rule for rule in _covers(examined, layer) if any(commons(tuple(here), examined.region(rule)))]
        boxes = [box for rule in near for box in examined.region(rule) or ()]
        left = [found.rest for found in (covered(box, boxes) for box in here) if found.whole is False]
        if left and left[0] is not None:
            everywhere = all(covered(box, tuple(here)).whole for box in granted or ())
            yield Lack(permit, layer, tuple(near), left[0], everywhere and not near)


def let_through(examined: Examination, layer: Layer, box: Box) -> Iterator[Box]:
    """Parts of the box that the layer permits or delegates, or has no document for."""
    silent = [box]
    for stated in _stated(examined, layer):
        silent = [part for piece in silent for part in piece.minus(stated)]
    yield from silent
    for rule in _covers(examined, layer):
        yield from commons((box,), examined.region(rule))


def _stated(examined: Examination, layer: Layer) -> tuple[Box, ...]:
    """The organisations that the layer has any document for."""
    paths = {found.jurisdiction for found in examined.rules.sets if found.layer is layer}
    return examined.boxes(some(examined.world.test(ORGANIZATION, under(path)) for path in sorted(paths))) or ()


def _covers(examined: Examination, layer: Layer) -> list[Rule]:
    return [rule for rule in examined.of(Kind.PERMIT, Kind.DELEGATE) if rule.layer is layer]


def _claim(lack: Lack) -> Claim:
    def claim(decision: Decision) -> bool:
        because = any(one.code == "not-delegated" and one.layer == lack.layer.label for one in decision.reasons)
        return decision.denied and because and lack.permit.policy.id in decision.matched

    return claim


def _groups(examined: Examination, lacks: list[Lack]) -> list[list[Lack]]:
    """By layer, the rules that cover a part, and what of the rest these speak about."""
    found: dict[object, list[Lack]] = {}
    for lack in lacks:
        key = (lack.layer, lack.whole, tuple(map(id, lack.covers)), frozenset(_seen(examined, lack).domains.items()))
        found.setdefault(key, []).append(lack)
    return list(found.values())


def _seen(examined: Examination, lack: Lack) -> Box:
    """What is left over, as the layer sees it; the operations, where nothing of the layer is about it."""
    about: set[Variable] = {
        variable for rule in lack.covers for box in examined.acts(rule) or () for variable in box.domains
    }
    about = about.difference(OPERATION) or set(OPERATION)
    return Box(lack.box.world, {variable: domain for variable, domain in lack.box.domains.items() if variable in about})


def _finding(examined: Examination, group: list[Lack], shown: Counterexample) -> Finding:
    first, permits = group[0], [lack.permit for lack in group]
    layer = first.layer.label
    if first.whole:
        text = f"{names(permits)} can never grant: the {layer} layer neither permits nor delegates any of it"
    else:
        text = f"the {layer} layer neither permits nor delegates a part of what {names(permits)} grants"
    mend = f"narrow {names(permits)} to what the {layer} layer delegates, or have it delegate more"
    box = first.box if len(group) == 1 else _seen(examined, first)
    policies = tuple(Named.of(rule) for rule in (*first.covers, *permits))
    severity = Severity.ERROR if first.whole else Severity.WARNING
    return Finding(examined.check, severity, text, policies, examined.words(box), shown, mend, len(group))
