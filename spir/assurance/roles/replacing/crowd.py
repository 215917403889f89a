"""The people of an export as sets, and the tests that tell them apart. A set of people is an integer, a bit for each.

A test is about an attribute (`subject.department == "cardiology"`), a role held
(`"infection team" in subject.roles`) or a person. A term is some tests, all of
which must hold. There is no term for everybody: that everybody in an export may
do something is no reason to let strangers and patients do it. Whoever lacks an
attribute is not surely in a term about it, and not surely out of it either: a
permission needs the one, a prohibition the other (what is unknown does not
grant, and denies).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import TypeAlias

from spir.assurance.roles.access import Access, union
from spir.assurance.roles.reading.columns import PERSONAL
from spir.assurance.roles.reading.export import Person, Value
from spir.assurance.roles.reading.permissions import bits

__all__ = ["ID", "ROLES", "Crowd", "Extent", "Term"]

ID, ROLES = "subject.id", "subject.roles"

DEPTH = 3  # tests in a term
FEWEST = 2  # people in a term of attributes: about one alone it would say nothing but who it is
MOST_TERMS = 20_000

Test: TypeAlias = tuple[str, Value]
Term: TypeAlias = tuple[Test, ...]


@dataclass(frozen=True, slots=True)
class Extent:
    """A term with the people who are surely in it, and those who may be."""

    term: Term
    surely: int
    maybe: int


class Crowd:
    """The people of `access`, in the order of the export."""

    def __init__(self, access: Access) -> None:
        self.people: tuple[Person, ...] = tuple(access.export.people.values())
        self.everybody = (1 << len(self.people)) - 1
        self.members: dict[str, int] = {}
        self._having: dict[str, dict[Value, int]] = {}
        for number, person in enumerate(self.people):
            for role in access.held(person):
                self.members[role] = self.members.get(role, 0) | 1 << number
            for path, value in person.attributes.items():
                if path not in PERSONAL:
                    values = self._having.setdefault(path, {})
                    values[value] = values.get(value, 0) | 1 << number
        self._lacking = {path: self.everybody & ~union(values.values()) for path, values in self._having.items()}
        self.by_attributes: tuple[Extent, ...] = tuple(self._terms())
        self.by_role: tuple[Extent, ...] = tuple(
            Extent(((ROLES, role),), people, people) for role, people in self.members.items()
        )

    def one(self, number: int) -> Extent:
        return Extent(((ID, self.people[number].id),), 1 << number, 1 << number)

    def _terms(self) -> Iterator[Extent]:
        """Each combination of values that several people have, the fewest tests first."""
        left = MOST_TERMS
        for depth in range(1, DEPTH + 1):
            for paths in combinations(sorted(self._having), depth):
                for extent in self._combined(paths):
                    left -= 1
                    if left < 0:
                        return
                    yield extent

    def _combined(self, paths: tuple[str, ...]) -> Iterator[Extent]:
        found = [Extent((), self.everybody, self.everybody)]
        for path in paths:
            found = [
                Extent((*one.term, (path, value)), one.surely & people, one.maybe & (people | self._lacking[path]))
                for one in found
                for value, people in self._having[path].items()
                if (one.surely & people).bit_count() >= FEWEST
            ]
        return iter(found)

    def holders(self, sets: Mapping[str, int]) -> dict[int, int]:
        """From a set of things by person to the set of people by thing."""
        alike: dict[int, int] = {}
        for number, person in enumerate(self.people):
            alike[sets[person.id]] = alike.get(sets[person.id], 0) | 1 << number
        found: dict[int, int] = {}
        for things, people in alike.items():
            for thing in bits(things):
                found[thing] = found.get(thing, 0) | people
        return found
