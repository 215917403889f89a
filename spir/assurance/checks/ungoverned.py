"""The check `ungoverned`: permits for organisations about which no layer above says anything."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from spir.assurance.checks.examination import Examination
from spir.assurance.checks.extent import commons
from spir.assurance.checks.granted import granted
from spir.assurance.checks.grouping import names
from spir.assurance.finding import Finding, Named, Severity
from spir.assurance.proof.box import Box
from spir.assurance.proof.domain import under
from spir.assurance.proof.terms import ORGANIZATION
from spir.engine.ruleset import Rule
from spir.model.decision import Decision
from spir.model.policy import Kind, Layer

__all__ = ["ungoverned"]

MEND = "give the document the jurisdiction that it is meant for"
TRIED = 8  # so many of the permits of a document are followed up until one of them is shown


def ungoverned(examined: Examination) -> Iterator[Finding]:
    """Permits for organisations about which no layer above says anything.

    A layer that has no document for an organisation does not limit what is granted there.

    - **warning**: there are layers above, but the permit's document is for organisations that none
      of their documents is for, as one without a `jurisdiction` is. There it grants by itself what it
      cannot grant elsewhere without the layers above.

    *Mend:* give the document the jurisdiction that it is meant for, as a rule that of your own organisation.
    """
    found: dict[tuple[Layer, str], list[Rule]] = {}
    for permit in examined.of(Kind.PERMIT):
        found.setdefault((permit.layer, permit.jurisdiction), []).append(permit)
    for permits in found.values():
        beyond = _beyond(examined, permits[0]) if examined.layers_above(permits[0]) else ()
        reaching = [permit for permit in examined.each(permits) if any(commons(examined.region(permit), beyond))]
        if reaching:
            yield from _finding(examined, reaching, beyond)


def _beyond(examined: Examination, permit: Rule) -> tuple[Box, ...]:
    """The organisations that the permit's document is for and no document of a layer above is."""
    test = examined.world.test(ORGANIZATION, under(permit.jurisdiction) & examined.world.universe(ORGANIZATION))
    left = examined.boxes(test) or ()
    for layer in examined.layers_above(permit):
        for stated in examined.stated(layer):
            left = tuple(part for piece in left for part in piece.minus(stated))
    return left


def _finding(examined: Examination, permits: Sequence[Rule], beyond: tuple[Box, ...]) -> Iterator[Finding]:
    """Shown by a request that is granted."""
    first = permits[0]
    for permit in permits[:TRIED]:
        boxes = (piece for box in commons(examined.region(permit), beyond) for piece in granted(examined, permit, box))
        shown = examined.first(list(islice(boxes, TRIED)), _granted)
        if shown is not None:
            document = f"for `{first.jurisdiction}`" if first.jurisdiction else "without a jurisdiction"
            text = f"a document {document} grants where no layer above says anything: {names(permits)}"
            stated = {path for layer in examined.layers_above(first) for path in examined.survey.jurisdictions(layer)}
            region = f"organizations outside of {', '.join(sorted(stated))}"
            policies = tuple(map(Named.of, permits))
            yield Finding("ungoverned", Severity.WARNING, text, policies, region, shown, MEND, len(permits))
            return


def _granted(decision: Decision) -> bool:
    return decision.permitted
