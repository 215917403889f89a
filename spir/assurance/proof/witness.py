"""A complete request out of a box, and the moment at which to ask it; and whether a request lies in a box.

What has an exact reading is satisfied exactly. The parts that are taken as a
whole are satisfied by trying: lists with the member or without it, the constants
they are written with, moments about now. A witness that is returned does lie in
its box; what the engine decides on it is another question, for the engine.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import islice, product
from typing import Any as AnyValue

from spir.assurance.proof.assign import Assignment
from spir.assurance.proof.box import Box
from spir.assurance.proof.domain import Point, micros, moment
from spir.assurance.proof.line import address_place
from spir.assurance.proof.terms import CLOCK, ORGANIZATION, All, Any, Related, Statement, Test, Variable
from spir.assurance.proof.world import NOW, World
from spir.engine.attributes import Attributes, NoFacts, organization_of
from spir.engine.evaluate import Scope, evaluate, free_attributes
from spir.language.typecheck import element
from spir.language.values.operators import COMPARISONS
from spir.language.values.scalars import clock_of
from spir.language.walk import nodes
from spir.model.condition import Attribute, Compare, Condition, Literal
from spir.model.request import Action, Entity, Request
from spir.model.value import Unknown, Value, freeze

__all__ = ["Witness", "holds", "lies_in", "witness"]

MAX_TRIES = 400
MAX_CHOICES = 8  # values that are tried for one attribute

Values = dict[str, Value]


@dataclass(frozen=True, slots=True)
class Witness:
    """A request, and when it is asked."""

    request: Request
    at: datetime


# -- whether a request is one of them --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Asked:
    """The variables of one request."""

    world: World
    request: Request
    at: datetime
    lookup: Attributes

    @classmethod
    def of(cls, world: World, request: Request, at: datetime) -> _Asked:
        return cls(world, request, at, Attributes(request, NoFacts(), at))

    def value(self, variable: Variable) -> Point | None:
        if variable == ORGANIZATION:
            return organization_of(self.request, self.world.site.organization) or None
        if variable == CLOCK:
            return clock_of(self.at, self.world.site.timezone) // timedelta(microseconds=1)
        if variable.node is None:
            return _point(self.lookup(variable.path))
        return self.address(variable.path) if variable.path else self.part(variable)

    def address(self, path: str) -> int | None:
        text = self.lookup(path)
        return address_place(text) if isinstance(text, str) else None

    def part(self, variable: Variable) -> bool | None:
        """Where a part has no value that counts, any of its values will do."""
        assert variable.node is not None
        value = evaluate(variable.node, self.lookup, Scope(self.at, self.world.site.timezone))
        if isinstance(value, bool):
            return value
        return None if None in self.world.universe(variable) else False

    def related(self, relation: Related) -> bool:
        left, right = self.value(relation.left), self.value(relation.right)
        return left is not None and right is not None and COMPARISONS[relation.op](left, right)


def _point(value: Value | Unknown) -> Point | None:
    if isinstance(value, datetime):
        return micros(value)
    if isinstance(value, str | bool | int | float):
        return value
    return None if value is None or isinstance(value, Unknown) else "there"


def holds(statement: Statement, world: World, request: Request, at: datetime) -> bool:
    """Whether the statement is true for this request; facts are those that the request brings itself."""
    return _holds(statement, _Asked.of(world, request, at))


def _holds(statement: Statement, asked: _Asked) -> bool:
    match statement:
        case Test(variable, domain):
            return asked.value(variable) in domain
        case Related():
            return asked.related(statement)
        case All(items):
            return all(_holds(item, asked) for item in items)
        case Any(items):
            return any(_holds(item, asked) for item in items)


def lies_in(box: Box, request: Request, at: datetime) -> bool:
    asked = _Asked.of(box.world, request, at)
    domains = all(asked.value(variable) in domain for variable, domain in box.domains.items())
    return domains and all(asked.related(relation) for relation in box.relations)


# -- making one ------------------------------------------------------------------------------


def witness(box: Box, also: Iterable[str] = ()) -> Witness | None:
    """A request in the box, with the attributes of `also` as well where they may be there; None if none was found."""
    found = box.example()
    if found is None:
        return None
    base = _given(box, found, also)
    wanted = [variable.node for variable in box.domains if variable.node is not None and not variable.path]
    for values in islice(_tried(box, base, wanted), MAX_TRIES):
        made = _made(values, box.world)
        if lies_in(box, made.request, made.at):
            return made
    return None


def _given(box: Box, found: Assignment, also: Iterable[str]) -> Values:
    """Values by path: those that were found, and what is never absent."""
    world, values = box.world, {}
    for variable, point in found.items():
        if variable.node is None and variable not in (CLOCK, ORGANIZATION) and point is not None:
            values[variable.path] = _value(variable.path, point, world)
    certain = (path for path in world.certain if path not in values)
    for path in (*certain, *(path for path in also if path not in values)):
        point = box.domain(Variable(path)).pick()
        if point is not None and Variable(path) not in found:
            values[path] = _value(path, point, world)
    values.setdefault(NOW.path, world.now)
    return values


def _value(path: str, point: Point, world: World) -> Value:
    kind = world.kind(path).type
    if path == NOW.path or kind == "timestamp":
        assert not isinstance(point, str)
        return moment(int(point))
    if kind.startswith("list"):
        return ()
    return freeze({}) if kind == "map" else point


def _made(values: Mapping[str, Value], world: World) -> Witness:
    """The request that says all this."""
    tree: dict[str, AnyValue] = {}
    for path, value in sorted(values.items()):  # a map comes before what lies in it
        *above, name = path.split(".")
        place = tree
        for each in above:
            if not isinstance(place.get(each), dict):
                place[each] = {}
            place = place[each]
        place[name] = dict(value) if isinstance(value, Mapping) else value
    at = tree.get("context", {}).pop("now", world.now)
    subject, resource = dict(tree.get("subject", {})), dict(tree.get("resource", {}))
    action = dict(tree.get("action", {}))
    request = Request(
        Entity(subject.pop("type", ""), subject.pop("id", ""), _frozen(subject)),
        Action(action.pop("name", ""), _frozen(action)),
        Entity(resource.pop("type", ""), resource.pop("id", ""), _frozen(resource)),
        _frozen(tree.get("context", {})),
    )
    return Witness(request, at)


def _frozen(properties: Mapping[str, AnyValue]) -> Mapping[str, Value]:
    found = freeze(properties)
    assert isinstance(found, Mapping)
    return found


# -- persuading the parts that are taken as a whole ------------------------------------------


def _tried(box: Box, base: Values, wanted: list[Condition]) -> Iterator[Values]:
    """The values as they are; with lists that have the members they should; then others for what the parts read."""
    yield base
    if not wanted:
        return
    listed = {**base, **_lists(box, base)}
    yield listed
    paths = sorted({path for node in wanted for path in free_attributes(node)} & {*base, *_open(box, wanted)})
    choices = [_choices(box, path, listed, wanted) for path in paths]
    for chosen in product(*choices):
        values = {**listed, **{path: value for path, value in zip(paths, chosen, strict=True) if value is not None}}
        yield values
        yield {**values, **_lists(box, values)}


def _open(box: Box, wanted: list[Condition]) -> set[str]:
    """What the parts read that may be there."""
    paths = {path for node in wanted for path in free_attributes(node)}
    return {path for path in paths if not box.domain(Variable(path)).present.is_empty}


def _lists(box: Box, values: Values) -> Values:
    """Every list with the members that it is said to have."""
    found: dict[str, list[Value]] = {}
    for variable, domain in box.domains.items():
        match variable.node:
            case Compare("in", member, Attribute(path)) if box.world.kind(path).type.startswith("list"):
                members = found.setdefault(path, [])
                value = _said(member, values)
                if False not in domain and value is not None:
                    members.append(value)
    return {path: tuple(members) for path, members in found.items() if path in values or members}


def _said(node: Condition, values: Values) -> Value:
    match node:
        case Literal(value):
            return value
        case Attribute(path):
            return values.get(path)
    return None


def _choices(box: Box, path: str, values: Values, wanted: list[Condition]) -> list[Value]:
    """Values to try for an attribute, that the box allows; what it has now first."""
    domain = box.domain(Variable(path))
    about = [part.value for node in wanted for part in nodes(node) if isinstance(part, Literal)]
    flat = [each for value in about for each in (value if isinstance(value, tuple) else (value,))]
    tried = _alike(box.world.kind(path).type, flat, values.get(NOW.path))
    kept = [value for value in tried if _point(value) in domain]
    unique = {(type(value), value): value for value in [values.get(path), *kept]}
    return list(unique.values())[:MAX_CHOICES]


def _alike(kind: str, constants: list[Value], now: Value) -> Iterator[Value]:
    """Values of a type that the constants suggest."""
    match kind:
        case "bool":
            yield from (True, False)
        case "int" | "double":
            numbers = [each for each in constants if isinstance(each, int | float) and abs(each) < math.inf]
            cast = int if kind == "int" else float
            yield from (cast(number + by) for number in (*numbers, 0) for by in (0, 1, -1))
        case "timestamp":
            spans = [each for each in constants if isinstance(each, timedelta)]
            assert isinstance(now, datetime)
            yield from (
                now + by * span for span in (*spans, timedelta(), timedelta(days=365)) for by in (0, -1, 1, -2, 2)
            )
        case "string":
            # of a pattern, what is left of it without its signs may match it
            texts = [each.strip("^$") for each in constants if isinstance(each, str)]
            yield from (
                f"{before}{text}{after}" for text in texts for before, after in (("", ""), ("", "-x"), ("x-", ""))
            )
            yield from ("other", "other-2", "")
        case _ if kind.startswith("list"):
            members = [each for each in constants if _of(each, element(kind))]
            several = ("other", "other-2", "other-3") if element(kind) == "string" else ()
            yield from ((), tuple(members), *((each,) for each in members), several)
        case "map":
            yield freeze({})
        case _:
            yield from constants


def _of(value: Value, kind: str) -> bool:
    return {"string": isinstance(value, str), "int": isinstance(value, int)}.get(kind, True)
