"""How far one set of requests lies within another: the two questions that checks of pairs ask."""

from __future__ import annotations

from collections.abc import Iterator

from spir.assurance.proof.box import Box, covered
from spir.assurance.survey import Boxes

__all__ = ["commons", "within"]


def commons(one: Boxes, other: Boxes) -> Iterator[Box]:
    """Boxes of what lies in both, none empty. None where either is not decided."""
    for left in one or ():
        for right in other or ():
            if left.meets(right):
                yield left & right


def within(inner: Boxes, outer: Boxes) -> bool:
    """Whether all of the one surely lies in the other. False where that is not decided."""
    if inner is None or outer is None:
        return False
    if len(outer) == 1:
        return all(box <= outer[0] for box in inner)
    return all(covered(box, outer).whole for box in inner)
