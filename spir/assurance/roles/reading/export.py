"""What an export says: people, the roles they hold, what roles allow and deny, and which roles inherit from which.

A row says what its cells say together. A user and a role: an assignment. A role
and a permission: a grant. A role and a parent: an inheritance. A user and a
permission: a grant to the person. All three, as a joined export has them: that
this person has this permission through this role; a person who has fewer of a
role's permissions than others have through it keeps the fewer.

`active` is about the most that the row names: a user, a role, an assignment, a
grant or an inheritance. Grants and inheritances that are over are as if they
were not there; roles and assignments that are over are kept, to see what of
them is left. People who are blocked are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

from spir.assurance.roles.reading.cells import active_in, allows, permission_in
from spir.assurance.roles.reading.columns import Columns
from spir.assurance.roles.reading.rows import Row, rows_of
from spir.errors import DocumentError, Location
from spir.language.vocabulary import Vocabulary

__all__ = ["Export", "Grants", "Person", "Role", "Value", "read_export"]

Value: TypeAlias = str | int
Grants: TypeAlias = tuple[frozenset[str], frozenset[str]]  # permissions that are allowed, and that are denied

NOTHING: Grants = (frozenset(), frozenset())


@dataclass(frozen=True, slots=True)
class Role:
    """`grants` are its own; what it inherits is not among them."""

    name: str
    active: bool
    grants: Grants
    parents: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Person:
    """`roles` are held now, `former` ones no longer. `partial`: roles that give this person only these grants."""

    id: str
    roles: tuple[str, ...]
    former: tuple[str, ...]
    grants: Grants
    attributes: Mapping[str, Value]
    partial: Mapping[str, Grants]
    at: Location


@dataclass(frozen=True, slots=True)
class Export:
    """`permissions` are in the order in which they are first named, with that place. `blocked` counts people."""

    roles: Mapping[str, Role]
    people: Mapping[str, Person]
    permissions: Mapping[str, Location]
    blocked: int = 0


def read_export(texts: Mapping[str, str], vocabulary: Vocabulary, passed_over: Iterable[str] = ()) -> Export:
    """One export from the texts of its files. Raises DocumentError with file and line for what cannot be read."""
    columns = Columns(vocabulary, passed_over)
    reader = _Reader(vocabulary)
    for file, text in texts.items():
        for row in rows_of(text, file, columns):
            reader.take(row, Location(file, row.line))
    if not reader.roles and not reader.people:
        raise DocumentError("the export names nobody and no role", location=Location(next(iter(texts), "")))
    return reader.export()


# What is told of a thing, and where, so that a second telling can be compared.
Flags: TypeAlias = "dict[str, tuple[bool, Location]]"


@dataclass(slots=True)
class _Given:
    """Permissions by effect, while they are gathered."""

    allowed: set[str] = field(default_factory=set)
    denied: set[str] = field(default_factory=set)

    def add(self, permission: str, allow: bool) -> None:
        (self.allowed if allow else self.denied).add(permission)

    def join(self, other: _Given) -> None:
        self.allowed |= other.allowed
        self.denied |= other.denied

    def frozen(self) -> Grants:
        return (frozenset(self.allowed), frozenset(self.denied))


@dataclass(slots=True)
class _Held:
    """An assignment: whether it is said to hold, and the joined grants that it is seen to give, or gave."""

    said: bool | None = None
    now: _Given | None = None
    once: _Given | None = None

    @property
    def active(self) -> bool:
        return self.said if self.said is not None else self.now is not None or self.once is None


@dataclass(slots=True)
class _Body:
    """A role or a person, while they are gathered."""

    at: Location
    active: bool | None = None
    own: _Given = field(default_factory=_Given)
    parents: dict[str, Location] = field(default_factory=dict)
    held: dict[str, _Held] = field(default_factory=dict)
    attributes: dict[str, Value] = field(default_factory=dict)


class _Reader:
    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary
        self.roles: dict[str, _Body] = {}
        self.people: dict[str, _Body] = {}
        self.permissions: dict[str, Location] = {}

    def take(self, row: Row, at: Location) -> None:
        cells = row.cells
        user, role, parent = cells.get("user"), cells.get("role"), cells.get("parent")
        permission, active = permission_in(cells, at), active_in(cells, at)
        if permission is not None:
            self.permissions.setdefault(permission, at)
        elif cells.get("effect") or cells.get("denied"):
            raise DocumentError("this row allows or denies, and names no permission", location=at)
        if not (user or role or permission):
            raise DocumentError("this row names no user, no role and no permission", location=at)
        if parent is not None:
            self._inherit(role, parent, active if not (user or permission) else True, at)
        if user is not None:
            person = self.people.setdefault(user, _Body(at))
            self._describe(user, person, cells, at)
        if role is not None:
            self.roles.setdefault(role, _Body(at))
        if permission is not None:
            self._grant(user, role, permission, allows(cells, at), active is not False)
        elif user is not None and role is not None:
            self._assign(user, role, active, at)
        elif parent is None and active is not None:
            self._flag(user, role, active, at)

    def _inherit(self, role: str | None, parent: str, active: bool | None, at: Location) -> None:
        if role is None:
            raise DocumentError("this row names a parent, and no role that inherits from it", location=at)
        self.roles.setdefault(parent, _Body(at))
        if active is not False:
            self.roles.setdefault(role, _Body(at)).parents.setdefault(parent, at)

    def _grant(self, user: str | None, role: str | None, permission: str, allow: bool, active: bool) -> None:
        if user is not None and role is not None:
            held = self.people[user].held.setdefault(role, _Held())
            if active:
                held.now = held.now or _Given()
                held.now.add(permission, allow)
            else:
                held.once = held.once or _Given()
                held.once.add(permission, allow)
        elif active and (user is not None or role is not None):
            body = self.people[user] if user is not None else self.roles[str(role)]
            body.own.add(permission, allow)

    def _assign(self, user: str, role: str, active: bool | None, at: Location) -> None:
        held = self.people[user].held.setdefault(role, _Held())
        now = active is not False
        if held.said is not None and held.said is not now:
            raise DocumentError(f"`{user}` holds the role `{role}` by one row and does not by another", location=at)
        held.said = now

    def _flag(self, user: str | None, role: str | None, active: bool, at: Location) -> None:
        body, name = (self.people[user], user) if user is not None else (self.roles[str(role)], role)
        if body.active is not None and body.active is not active:
            raise DocumentError(f"`{name}` is active by one row and is not by another", location=at)
        body.active = active

    def _describe(self, user: str, person: _Body, cells: Mapping[str, str], at: Location) -> None:
        for path, text in cells.items():
            if not path.startswith("subject."):
                continue
            value = self._value(path, text, at)
            if person.attributes.setdefault(path, value) != value:
                hint = "one value each; pass the column over with --ignore if there are several"
                raise DocumentError(f"`{user}` has another `{path}` in another row", hint=hint, location=at)

    def _value(self, path: str, text: str, at: Location) -> Value:
        declared = self.vocabulary.attributes.get(path)
        if declared is None or declared.kind.type != "int":
            return text
        try:
            return int(text)
        except ValueError as error:
            raise DocumentError(f"`{path}` must be a whole number", location=at) from error

    # -- all of it --

    def export(self) -> Export:
        joined = self._joined()
        roles = {name: self._role(name, body, joined) for name, body in self.roles.items()}
        _refuse_rings({name: body.parents for name, body in self.roles.items()})
        people = {id: self._person(id, body, joined) for id, body in self.people.items() if body.active is not False}
        return Export(roles, people, self.permissions, len(self.people) - len(people))

    def _joined(self) -> dict[str, _Given]:
        """By role, what anybody is seen to have through it."""
        found: dict[str, _Given] = {}
        for body in self.people.values():
            for role, held in body.held.items():
                for given in (held.now, None if held.active else held.once):
                    if given is not None:
                        found.setdefault(role, _Given()).join(given)
        return found

    def _role(self, name: str, body: _Body, joined: Mapping[str, _Given]) -> Role:
        whole = _Given(set(body.own.allowed), set(body.own.denied))
        whole.join(joined.get(name, _Given()))
        return Role(name, body.active is not False, whole.frozen(), tuple(body.parents))

    def _person(self, id: str, body: _Body, joined: Mapping[str, _Given]) -> Person:
        roles = tuple(role for role, held in body.held.items() if held.active)
        former = tuple(role for role, held in body.held.items() if not held.active)
        partial: dict[str, Grants] = {}
        for role in roles:
            now = body.held[role].now
            if now is not None and now != joined[role]:
                now.join(self.roles[role].own)
                partial[role] = now.frozen()
        return Person(id, roles, former, body.own.frozen(), dict(body.attributes), partial, body.at)


def _refuse_rings(parents: Mapping[str, Mapping[str, Location]]) -> None:
    """A role that inherits from itself is a mistake of the export; what it would mean is anybody's guess."""
    done: set[str] = set()
    for start in parents:
        path: dict[str, None] = {}
        waiting = [(start, iter(parents[start]))] if start not in done else []
        path.update(dict.fromkeys((start,) if waiting else ()))
        while waiting:
            role, rest = waiting[-1]
            parent = next(rest, None)
            if parent is None:
                waiting.pop()
                path.pop(role)
                done.add(role)
            elif parent in path:
                raise DocumentError(
                    f"the role `{parent}` inherits from itself, by way of `{role}`", location=parents[role][parent]
                )
            elif parent not in done:
                path[parent] = None
                waiting.append((parent, iter(parents[parent])))
