"""What everybody may do by an export: what each role gives, inheritance included, and what comes together in a person.

Where one role allows and another denies, the denial wins, unless the exporting
system says otherwise (`allow_wins`). A role that is over gives nothing to those
who held it; what inherits from it still has what it inherited. That is how
revoked rights survive, and it is reported (`residual`); `clean` is the access
that is left when it is taken away.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from spir.assurance.roles.reading.export import Export, Grants, Person
from spir.assurance.roles.reading.permissions import Catalogue

__all__ = ["Access", "Rights", "union"]


@dataclass(frozen=True, slots=True)
class Rights:
    """Sets of points."""

    allowed: int = 0
    denied: int = 0

    def __or__(self, other: Rights) -> Rights:
        return Rights(self.allowed | other.allowed, self.denied | other.denied)

    def __bool__(self) -> bool:
        return bool(self.allowed or self.denied)


NONE = Rights()


@dataclass(slots=True)
class Access:
    """One reading of an export. `clean` leaves out what revoked roles still give, by inheritance or directly."""

    export: Export
    catalogue: Catalogue
    allow_wins: bool = False
    clean: bool = False
    _roles: dict[str, Rights] = field(init=False, default_factory=dict)
    _above: dict[str, frozenset[str]] = field(init=False, default_factory=dict)
    _people: dict[str, Rights] = field(init=False, default_factory=dict)

    def role(self, name: str) -> Rights:
        """What a role gives, with what it inherits."""
        if name not in self._roles:
            self._roles[name] = self.own(name) | self._inherited(name)
        return self._roles[name]

    def own(self, name: str) -> Rights:
        return self._rights(self.export.roles[name].grants)

    def above(self, name: str) -> frozenset[str]:
        """All roles that a role inherits from, near and far."""
        if name not in self._above:
            self._above[name] = frozenset(self._reached(name, past_revoked=True))
        return self._above[name]

    def held(self, person: Person) -> tuple[str, ...]:
        """The roles that give this person anything: held now, and not over."""
        return tuple(name for name in person.roles if self.export.roles[name].active)

    def lost(self, person: Person) -> tuple[str, ...]:
        """Roles that this person holds no longer, or that are over."""
        over = (name for name in person.roles if not self.export.roles[name].active)
        return tuple(dict.fromkeys((*person.former, *over)))

    def through(self, person: Person, name: str) -> Rights:
        """What a role gives to one person."""
        if name not in person.partial:
            return self.role(name)
        return self._rights(person.partial[name]) | self._inherited(name)

    def direct(self, person: Person) -> Rights:
        found = self._rights(person.grants)
        if self.clean:
            gone = union(self.role(name).allowed for name in self.lost(person))
            found = Rights(found.allowed & ~gone, found.denied)
        return found

    def person(self, person: Person) -> Rights:
        """All that is allowed and denied to a person, before one wins over the other."""
        if person.id not in self._people:
            found = self.direct(person)
            for name in self.held(person):
                found = found | self.through(person, name)
            self._people[person.id] = found
        return self._people[person.id]

    def decided(self, person: Person) -> int:
        """What the person may do in the end."""
        found = self.person(person)
        return found.allowed if self.allow_wins else found.allowed & ~found.denied

    def _inherited(self, name: str) -> Rights:
        """Denials are inherited in any case: to take away what is left over must not permit anything."""
        denied = union(self.own(above).denied for above in self.above(name))
        giving = self._reached(name, past_revoked=False) if self.clean else self.above(name)
        return Rights(union(self.own(above).allowed for above in giving), denied)

    def _reached(self, name: str, past_revoked: bool) -> set[str]:
        found: set[str] = set()
        waiting = list(self.export.roles[name].parents)
        while waiting:
            parent = waiting.pop()
            if parent not in found and (past_revoked or self.export.roles[parent].active):
                found.add(parent)
                waiting.extend(self.export.roles[parent].parents)
        return found

    def _rights(self, grants: Grants) -> Rights:
        allowed, denied = grants
        return Rights(self.catalogue.of(allowed), self.catalogue.of(denied)) if allowed or denied else NONE


def union(sets: Iterable[int]) -> int:
    found = 0
    for one in sets:
        found |= one
    return found
