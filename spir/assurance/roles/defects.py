"""What is wrong with an export's roles: contradictions, rights that outlived their role, and what is of no use.

A **conflict**: something allows a person what something else denies; what
happens depends on the exporting system's order of things. A **residue**: a role
is over, or a person holds it no longer, and what it allowed can still be done:
by a grant to the person (`direct`), by a role in force that inherits from it
(`inherited`), or because another role allows the same (`another role`). A role
is **unused** if nobody gets anything by it, and **empty** if it says nothing.
An **uneven** assignment gives one person less than others get by the same role.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, Generic, TypeVar

from spir.assurance.roles.access import Access, Rights
from spir.assurance.roles.reading.export import Person
from spir.assurance.roles.reading.permissions import Catalogue

__all__ = ["DIRECT", "Conflict", "Residue", "conflicts", "empty", "residues", "uneven", "unused"]

DIRECT = "(granted to the person)"

Key = TypeVar("Key", bound=tuple[str, ...])

SHOWN = 5  # people and permissions in a line of a report


@dataclass(frozen=True, slots=True)
class Conflict:
    """`allowing` and `denying` are roles, or DIRECT; they may be one role, which inherits both."""

    allowing: str
    denying: str
    points: int
    people: tuple[str, ...]

    def to_json(self, catalogue: Catalogue) -> dict[str, Any]:
        return {
            "allowing": self.allowing,
            "denying": self.denying,
            "permissions": list(catalogue.named(self.points)),
            "people": list(self.people),
        }

    def line(self, catalogue: Catalogue) -> str:
        return f"{self.allowing} allows and {self.denying} denies {_told(catalogue, self.points)}: {_some(self.people)}"


@dataclass(frozen=True, slots=True)
class Residue:
    """`how` is direct, inherited or another role; `by` the role that still gives it."""

    role: str
    how: str
    by: str
    points: int
    people: tuple[str, ...]

    def to_json(self, catalogue: Catalogue) -> dict[str, Any]:
        return {
            "role": self.role,
            "how": self.how,
            "by": self.by,
            "permissions": list(catalogue.named(self.points)),
            "people": list(self.people),
        }

    def line(self, catalogue: Catalogue) -> str:
        way = self.how if self.how == "direct" else f"{self.how} {self.by}"
        return f"{self.role}: {_told(catalogue, self.points)} by {way}: {_some(self.people)}"


def conflicts(access: Access) -> tuple[Conflict, ...]:
    """Grouped by what allows and what denies, those that concern most people first."""

    @cache
    def between(one: Rights, other: Rights) -> int:
        return one.allowed & other.denied

    found: _Gathered[tuple[str, str]] = _Gathered()
    for person in access.export.people.values():
        whole = access.person(person)
        if not whole.allowed & whole.denied:
            continue
        sources = [(DIRECT, access.direct(person)), *((r, access.through(person, r)) for r in access.held(person))]
        for allowing, one in sources:
            for denying, other in sources:
                found.add((allowing, denying), between(one, other), person)
    made = (Conflict(allowing, denying, points, people) for (allowing, denying), points, people in found)
    return tuple(sorted(made, key=lambda one: (-len(one.people), one.allowing, one.denying)))


def residues(access: Access) -> tuple[Residue, ...]:
    """Those by inheritance and by direct grants first: they are the ones that nobody sees."""
    clean = Access(access.export, access.catalogue, access.allow_wins, clean=True)
    found: _Gathered[tuple[str, str, str]] = _Gathered()
    for person in access.export.people.values():
        decided = access.decided(person)
        for key, points in _left(access, clean, person):
            found.add(key, points & decided, person)
    order = {"inherited": 0, "direct": 1, "another role": 2}
    made = (Residue(role, how, by, points, people) for (role, how, by), points, people in found)
    return tuple(sorted(made, key=lambda one: (order[one.how], one.role, -len(one.people), one.by)))


def _left(access: Access, clean: Access, person: Person) -> Iterator[tuple[tuple[str, str, str], int]]:
    """(role that is over, how, by what), and the points of it that are still there."""
    held = access.held(person)
    for name in held:
        only_inherited = access.through(person, name).allowed & ~clean.through(person, name).allowed
        for above in sorted(access.above(name)):
            if not access.export.roles[above].active:
                yield (above, "inherited", name), access.role(above).allowed & only_inherited
    for role in access.lost(person):
        gone = access.role(role).allowed
        yield (role, "direct", ""), gone & access.direct(person).allowed
        for name in held:
            yield (role, "another role", name), gone & clean.through(person, name).allowed


def unused(access: Access) -> tuple[str, ...]:
    """Roles in force through which nobody has anything, not even by inheritance."""
    roles = access.export.roles
    held = {name for person in access.export.people.values() for name in access.held(person)}
    reached = held.union(*(access.above(name) for name in held))
    return tuple(name for name, role in roles.items() if role.active and name not in reached)


def empty(access: Access) -> tuple[str, ...]:
    return tuple(name for name, role in access.export.roles.items() if role.active and not access.role(name))


def uneven(access: Access) -> tuple[tuple[str, tuple[str, ...], int], ...]:
    """Role, the people who have less of it than others, and how many permissions they lack altogether."""
    found: _Gathered[tuple[str]] = _Gathered()
    for person in access.export.people.values():
        for name in person.partial:
            whole, part = access.role(name), access.through(person, name)
            lacking = (whole.allowed & ~part.allowed) | (whole.denied & ~part.denied)
            found.add((name,), lacking, person)
    return tuple((key[0], people, points.bit_count()) for key, points, people in found)


class _Gathered(Generic[Key]):
    """Points and people by what they have in common."""

    def __init__(self) -> None:
        self._points: dict[Key, int] = {}
        self._people: dict[Key, dict[str, None]] = {}

    def add(self, key: Key, points: int, person: Person) -> None:
        if points:
            self._points[key] = self._points.get(key, 0) | points
            self._people.setdefault(key, {})[person.id] = None

    def __iter__(self) -> Iterator[tuple[Key, int, tuple[str, ...]]]:
        return ((key, points, tuple(self._people[key])) for key, points in self._points.items())


def _told(catalogue: Catalogue, points: int) -> str:
    named = catalogue.named(points)
    return _some(tuple(f"`{name}`" for name in named))


def _some(names: tuple[str, ...]) -> str:
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")
