"""How much roles have in common.

**Overlap rate of a role**: the share of what it allows that at least one other
role allows, too. **Average overlap rate**: the mean of that over the roles in
force that allow anything. It answers what an administrator asks when the number
of roles grows: how much of a role is said elsewhere already? Two roles with
nothing in common have 0 %, two equal ones 100 %; a further role never lowers
the rate of the others. What is inherited counts like what is granted: whoever
holds the role has it. The mean of the pairs (Jaccard: what both allow, by what
either allows) is given beside it; it says how much alike any two roles are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from spir.assurance.roles.access import Access, Rights

__all__ = ["Containment", "Overlap", "contained", "equal", "overlap"]


@dataclass(frozen=True, slots=True)
class Overlap:
    """Rates from 0 to 1. `rates` has those of the single roles."""

    roles: int
    average: float
    pairwise: float
    rates: Mapping[str, float]

    def to_json(self) -> dict[str, Any]:
        rounded = {name: round(rate, 4) for name, rate in self.rates.items()}
        return {
            "roles": self.roles,
            "average": round(self.average, 4),
            "pairwise": round(self.pairwise, 4),
            "rates": rounded,
        }


@dataclass(frozen=True, slots=True)
class Containment:
    """`larger` allows all that `smaller` allows, and `more` things beside; both deny the same."""

    smaller: str
    larger: str
    more: int


def overlap(access: Access) -> Overlap:
    """Of the roles in force that allow anything."""
    given = {name: rights.allowed for name, rights in _in_force(access) if rights.allowed}
    once, twice = 0, 0
    for points in given.values():
        twice |= once & points
        once |= points
    rates = {name: (points & twice).bit_count() / points.bit_count() for name, points in given.items()}
    pairs = [(a & b).bit_count() / (a | b).bit_count() for a, b in combinations(given.values(), 2)]
    return Overlap(len(given), _mean(list(rates.values())), _mean(pairs), rates)


def equal(access: Access) -> tuple[tuple[str, ...], ...]:
    """Groups of roles in force that allow and deny the same, and something at all."""
    groups: dict[Rights, list[str]] = {}
    for name, rights in _in_force(access):
        if rights:
            groups.setdefault(rights, []).append(name)
    return tuple(tuple(names) for names in groups.values() if len(names) > 1)


def contained(access: Access) -> tuple[Containment, ...]:
    """For each role in force the least role that allows all it does and more; inheritance, which says so, left out."""
    roles = sorted(_in_force(access), key=lambda item: item[1].allowed.bit_count())
    found = []
    for place, (name, rights) in enumerate(roles):
        larger = next(
            (
                (other, wider)
                for other, wider in roles[place + 1 :]
                if rights.allowed
                and rights.allowed & ~wider.allowed == 0
                and rights != wider
                and rights.denied == wider.denied
                and name not in access.above(other)
            ),
            None,
        )
        if larger is not None:
            other, wider = larger
            found.append(Containment(name, other, (wider.allowed & ~rights.allowed).bit_count()))
    return tuple(found)


def _in_force(access: Access) -> Iterator[tuple[str, Rights]]:
    return ((name, access.role(name)) for name, role in access.export.roles.items() if role.active)


def _mean(values: list[float]) -> float:
    return sum(values) / len(values) if values else 0.0
