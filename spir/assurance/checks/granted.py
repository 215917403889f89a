"""What is left of a permit once every layer has had its say: the requests that it grants indeed."""

from __future__ import annotations

from collections.abc import Iterator

from spir.assurance.checks.ceiling import let_through
from spir.assurance.checks.examination import Examination
from spir.assurance.proof.box import Box
from spir.engine.ruleset import Rule
from spir.model.policy import Kind

__all__ = ["granted"]

# So many pieces of a box are followed up.
PIECES = 200


def granted(examined: Examination, permit: Rule, box: Box) -> Iterator[Box]:
    """Parts of the box, which lies within the permit's region, that nothing stands in the way of."""
    near = examined.survey.meeting((box,), Kind.DENY, Kind.REQUIRE)
    stops = [stop for rule in near for stop in examined.acts(rule) or () if stop.meets(box)]
    waiting = [(box, tuple(examined.layers_above(permit)), 0)]
    for _ in range(PIECES):
        if not waiting:
            return
        piece, layers, at = waiting.pop()
        if layers:
            waiting += ((part, layers[1:], at) for part in let_through(examined, layers[0], piece))
        elif at < len(stops):
            waiting += ((part, layers, at + 1) for part in piece.minus(stops[at]))
        else:
            yield piece
