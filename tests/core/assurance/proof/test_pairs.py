"""The index of regions says what asking every pair says."""

from __future__ import annotations

import pytest

from spir.assurance.proof.box import Box, boxes, covered
from spir.assurance.proof.pairs import PIECES, Index
from spir.assurance.proof.scope import region, stopped
from spir.model.policy import Kind
from tests.core.assurance.proof.worlds import Cases, world

SEEDS = range(40)


def regions(seed: int, count: int = 30) -> list[tuple[Box, ...] | None]:
    """Of random rules: conjunctions, trees, and what denies stop; with some that hold others."""
    cases, here = Cases(seed), world()
    found: list[tuple[Box, ...] | None] = []
    while len(found) < count:
        rule = cases.rule(cases.conjunction(2) if cases.chance(0.7) else None)
        statement = stopped(rule, here) if rule.policy.kind is Kind.DENY else region(rule, here)
        found.append(boxes(statement, here, 12))
    for one in found[: count // 3]:
        if one:
            found.append((one[0] & (found[-1] or one)[0],))
    return [None if one is None else tuple(box for box in one if not box.is_empty) for one in found]


@pytest.mark.parametrize("seed", SEEDS)
def test_regions_that_meet(seed: int) -> None:
    found = regions(seed)
    index = Index.of(found)
    met = 0
    for one in found:
        slowly = [at for at, other in enumerate(found) if any(a.meets(b) for a in one or () for b in other or ())]
        assert index.meeting(one) == slowly
        met += len(slowly)
    assert met > len(found) // 2


@pytest.mark.parametrize("seed", SEEDS)
def test_regions_that_lie_within_one(seed: int) -> None:
    found = regions(seed)
    index = Index.of(found)
    for outer in found:
        slowly = [
            at
            for at, inner in enumerate(found)
            if inner and outer and all(covered(box, outer, PIECES).whole for box in inner)
        ]
        assert index.inside(outer) == slowly
        if outer:
            assert found.index(outer) in slowly


def test_an_empty_index_and_what_is_not_decided_meet_nothing() -> None:
    here = world()
    assert Index.of([]).meeting((Box(here),)) == []
    index = Index.of([None, (), (Box(here),)])
    assert index.meeting((Box(here),)) == [2] == index.inside((Box(here),))
    assert index.meeting(None) == [] == index.inside(()) == index.inside(None)
