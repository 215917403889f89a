"""Roles collapsed: for everything that can be asked, the shortest conditions found that hold for the very people.

Points that the same people have are one question: which terms lie within those
people and cover them? General ones are taken first (one attribute, then
several), roles for what attributes do not explain, and single people for the
rest. What is allowed and what is denied are each covered exactly, so that to
take a prohibition back means what it meant. The terms are chosen by what they
cover, the most first; what the others make needless is dropped. The result is
exact for the people of the export; it is a proposal for everybody else.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from spir.assurance.roles.access import Access
from spir.assurance.roles.reading.permissions import Catalogue, Point, bits
from spir.assurance.roles.replacing.crowd import Crowd, Extent
from spir.model.policy import Kind

__all__ = ["Grant", "collapsed"]


@dataclass(frozen=True, slots=True)
class Grant:
    """What a permit or a deny says: who, by any of these terms, and what."""

    kind: Kind
    extents: tuple[Extent, ...]
    points: int

    @property
    def people(self) -> int:
        found = 0
        for extent in self.extents:
            found |= extent.surely if self.kind is Kind.PERMIT else extent.maybe
        return found


def collapsed(access: Access, crowd: Crowd) -> tuple[Grant, ...]:
    """The grants that decide as `access` does, for everybody in the crowd and everything in the catalogue."""
    people = access.export.people.values()
    allowed = crowd.holders({one.id: access.person(one).allowed for one in people})
    denied = {} if access.allow_wins else crowd.holders({one.id: access.person(one).denied for one in people})
    permits = _by_term(crowd, Kind.PERMIT, allowed)
    _widen(access.catalogue, permits, allowed)
    denies = _by_term(crowd, Kind.DENY, denied)
    return (*_grants(Kind.PERMIT, permits), *_grants(Kind.DENY, denies))


def _by_term(crowd: Crowd, kind: Kind, meant: Mapping[int, int]) -> dict[Extent, int]:
    """Extent -> points. `meant` has the people for each point."""
    alike: dict[int, int] = {}
    for point, people in meant.items():
        alike[people] = alike.get(people, 0) | 1 << point
    found: dict[Extent, int] = {}
    for people, points in alike.items():
        for extent in _cover(crowd, kind, people):
            found[extent] = found.get(extent, 0) | points
    return found


def _cover(crowd: Crowd, kind: Kind, need: int) -> list[Extent]:
    """Terms that cover these people and nobody else."""
    chosen: list[tuple[int, Extent]] = []
    left = need
    for extents in (crowd.by_attributes, crowd.by_role):
        fitting = [(reach, one) for one in extents if (reach := _reach(one, kind)) & left and not reach & ~need]
        while left and fitting:
            # the first of the best: the fewest tests
            reach, best = max(fitting, key=lambda item: (item[0] & left).bit_count())
            if not reach & left:
                break
            chosen.append((reach, best))
            left &= ~reach
            fitting = [item for item in fitting if item[0] & left]
    chosen += [(1 << number, crowd.one(number)) for number in bits(left)]
    return _without_needless(chosen, need)


def _reach(extent: Extent, kind: Kind) -> int:
    """Whom a permit surely reaches; whom a deny may deny."""
    return extent.surely if kind is Kind.PERMIT else extent.maybe


def _without_needless(chosen: list[tuple[int, Extent]], need: int) -> list[Extent]:
    kept = list(chosen)
    for item in sorted(chosen, key=lambda item: item[0].bit_count()):
        others = 0
        for reach, extent in kept:
            others |= reach if extent is not item[1] else 0
        if others == need:
            kept.remove(item)
    return [extent for _, extent in kept]


def _widen(catalogue: Catalogue, permits: dict[Extent, int], allowed: Mapping[int, int]) -> None:
    """Drop a bound where what lies beyond it is allowed to the same people by another way: it bounds nothing."""
    siblings: dict[tuple[str, str, str], list[int]] = {}
    bounded = 0
    for number, point in enumerate(catalogue.points):
        siblings.setdefault(_operation(point), []).append(number)
        bounded |= bool(point.values) << number
    for extent, points in permits.items():
        for number in bits(points & bounded):
            for other in siblings[_operation(catalogue.points[number])]:
                if not extent.surely & ~allowed.get(other, 0):
                    permits[extent] |= 1 << other


def _operation(point: Point) -> tuple[str, str, str]:
    return point.verb, point.type, point.category or point.unknown


def _grants(kind: Kind, by_term: dict[Extent, int]) -> Iterable[Grant]:
    """One for each set of points: whoever has the same has it by one policy."""
    together: dict[int, list[Extent]] = {}
    for extent, points in by_term.items():
        together.setdefault(points, []).append(extent)
    grants = (Grant(kind, tuple(extents), points) for points, extents in together.items())
    return sorted(grants, key=lambda one: (-one.people.bit_count(), -one.points.bit_count(), one.points))
