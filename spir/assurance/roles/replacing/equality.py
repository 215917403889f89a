"""Proof by exhaustion: a document decides for everybody in the export, on everything in it, as the export says.

Every person and every point is compared. What the compiled engine is asked is
less: people whom no condition of the document can tell apart are asked for
once, and so are points that the very same policies are about, with the same
values. Nothing else of a request is read, so nothing else can change the answer.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from types import MappingProxyType
from typing import TypeAlias

from spir.assurance.roles.access import Access, union
from spir.assurance.roles.reading.export import Person
from spir.assurance.roles.reading.permissions import OTHER, Catalogue, Point, bits
from spir.assurance.roles.replacing.crowd import ID, ROLES
from spir.engine.attributes import NoFacts
from spir.engine.compiler import Compiled, compile_rules
from spir.engine.evaluate import free_attributes
from spir.engine.ruleset import Rule, RuleSet
from spir.language.walk import nodes
from spir.model.condition import Attribute, Compare, Condition, Literal
from spir.model.request import Action, Entity, Request
from spir.model.value import Value, freeze

__all__ = ["Equality", "Mismatch", "compare", "entity_of"]

KEPT = 20  # mismatches that are shown

Key: TypeAlias = tuple[object, ...]


@dataclass(frozen=True, slots=True)
class Mismatch:
    person: str
    operation: str
    permitted: bool  # by the document; the export says otherwise


@dataclass(frozen=True, slots=True)
class Equality:
    """`pairs` were compared, by so many `decisions`; `differing` of them differ, some of which are `mismatches`."""

    pairs: int
    decisions: int
    differing: int = 0
    mismatches: tuple[Mismatch, ...] = ()

    @property
    def holds(self) -> bool:
        return not self.differing


def compare(access: Access, rules: RuleSet, at: datetime) -> Equality:
    """What `access` says against what `rules` decide. Permissions that are not known here are left out."""
    engine = compile_rules(rules)
    reads = _reads(rules)
    points = _alike(access.catalogue, rules)
    people: dict[Key, list[Person]] = {}
    for person in access.export.people.values():
        people.setdefault(reads.key(access, person), []).append(person)
    known = union(mask for _, mask in points)
    differing = 0
    shown: list[Mismatch] = []
    for alike in people.values():
        permitted = _permitted(engine, entity_of(access, alike[0]), points, at)
        for person in alike:
            wrong = (permitted ^ access.decided(person)) & known
            differing += wrong.bit_count()
            for number in bits(wrong) if len(shown) < KEPT else ():
                operation = str(access.catalogue.points[number])
                shown.append(Mismatch(person.id, operation, bool(permitted >> number & 1)))
    pairs = len(access.export.people) * known.bit_count()
    return Equality(pairs, len(people) * len(points), differing, tuple(shown[:KEPT]))


def entity_of(access: Access, person: Person) -> Entity:
    """The person as the directory is to know them: what the export says of them, and the roles they hold."""
    properties: dict[str, Value] = {
        path.removeprefix("subject."): value for path, value in sorted(person.attributes.items())
    }
    frozen = freeze({**properties, "roles": list(access.held(person))})
    assert isinstance(frozen, Mapping)
    return Entity("person", person.id, frozen)


def _permitted(engine: Compiled, subject: Entity, points: list[tuple[Point, int]], at: datetime) -> int:
    found = 0
    view = NoFacts()
    for point, mask in points:
        if engine.decide(_request(subject, point), view, at).permitted:
            found |= mask
    return found


def _request(subject: Entity, point: Point) -> Request:
    properties: dict[str, Value] = {"category": point.category} if point.category else {}
    for path, value in point.values:
        properties[path.removeprefix("resource.")] = value if value != OTHER else "none-of-these"
    return Request(subject, Action(point.verb), Entity(point.type, "", MappingProxyType(properties)))


# -- who and what is alike -------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Reads:
    """What the conditions read of a person: attributes, and which roles and people they name (None: any)."""

    paths: tuple[str, ...]
    roles: frozenset[str] | None
    people: frozenset[str] | None

    def key(self, access: Access, person: Person) -> Key:
        values = tuple(person.attributes.get(path) for path in self.paths)
        held = frozenset(access.held(person))
        roles = held if self.roles is None else held & self.roles
        return (values, roles, person.id if self.people is None or person.id in self.people else "")


def _reads(rules: RuleSet) -> _Reads:
    conditions = tuple({rule.policy.when: None for rule in rules.every})
    paths = frozenset().union(*map(free_attributes, conditions)) - {ID, ROLES, "subject.type"}
    personal = tuple(sorted(path for path in paths if path.startswith("subject.")))
    return _Reads(personal, _named(conditions, ROLES), _named(conditions, ID))


def _named(conditions: Iterable[Condition], path: str) -> frozenset[str] | None:
    """The texts that an attribute is compared with; None where something else is made of it."""
    found: set[str] = set()
    uses = 0
    for node in (node for condition in conditions for node in nodes(condition)):
        match node:
            case Attribute(name) if name == path:
                uses += 1
            case Compare(_, Literal(value), Attribute(name)) | Compare(_, Attribute(name), Literal(value)) if (
                name == path
            ):
                uses -= 1
                found.update(map(str, value if isinstance(value, tuple) else (value,)))
    return None if uses else frozenset(found)


def _alike(catalogue: Catalogue, rules: RuleSet) -> list[tuple[Point, int]]:
    """A point of each kind, with all that are of its kind."""
    masks: dict[Key, int] = {}
    for number, point in enumerate(catalogue.points):
        if not point.unknown:
            about = rules.rules(point.verb, point.type)
            key = (tuple(id(rule) for rule in about if _covers(rule, point)), point.values)
            masks[key] = masks.get(key, 0) | 1 << number
    return [(catalogue.points[next(bits(mask))], mask) for mask in masks.values()]


def _covers(rule: Rule, point: Point) -> bool:
    categories = rule.category_of(point.verb, point.type)
    return categories is not None and bool(categories & {"*", point.category})
