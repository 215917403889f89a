"""Boxes: for each variable a domain, and relations between variables; statements as unions of boxes, if few suffice.

A box is what a conjunctive policy is about. Boxes meet, and one is taken off
another, exactly; a statement with disjunctions becomes as many boxes as its
disjunctive normal form has, and is not decided beyond a bound.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from spir.assurance.proof.assign import Assignment, assign, coupled
from spir.assurance.proof.domain import ABSENT, PRESENT, Domain, Point, Spans, interval, one_of
from spir.assurance.proof.relations import apart
from spir.assurance.proof.terms import All, Any, Related, Statement, Test, Variable, opposite
from spir.assurance.proof.world import World
from spir.engine.evaluate import free_attributes
from spir.language.printer import to_cel

__all__ = ["LIMIT", "Box", "Coverage", "boxes", "covered"]

LIMIT = 64
# Boxes that lie within another one are looked for among so many.
FEW = 16

Domains: TypeAlias = dict[Variable, Domain]
Parts: TypeAlias = tuple[Domains, frozenset[Related]]

_NONE: frozenset[Related] = frozenset()


@dataclass(frozen=True, slots=True)
class Box:
    """The requests whose variables lie in these domains and keep to these relations; others can have any value.

    INVARIANT: domains lie within the world's universe, and of a related variable the domain is there.
    """

    world: World = field(repr=False, compare=False)
    domains: Mapping[Variable, Domain] = field(default_factory=dict)
    relations: frozenset[Related] = _NONE

    def __hash__(self) -> int:
        return hash((frozenset(self.domains.items()), self.relations))

    def domain(self, variable: Variable) -> Domain:
        found = self.domains.get(variable)
        return self.world.universe(variable) if found is None else found

    def __and__(self, other: Box) -> Box:
        domains = dict(self.domains)
        for variable, domain in other.domains.items():
            known = domains.get(variable)
            domains[variable] = domain if known is None else known & domain
        return Box(self.world, domains, self.relations | other.relations)

    @property
    def is_empty(self) -> bool:
        """Whether no request lies in it. Many variables that must all differ may leave it unnoticed."""
        return any(domain.is_empty for domain in self.domains.values()) or not self.fits

    @property
    def fits(self) -> bool:
        """Whether some request lies in it, if it is known already that no domain is empty."""
        if coupled(self.domains, self.world):
            return self.example() is not None
        if not self.relations:
            return True
        quickly = apart(self.relations, self.domain)
        return self.example() is not None if quickly is None else quickly

    def example(self) -> Assignment | None:
        """A value for each variable that it says something about."""
        return assign(self.domains, self.relations, self.world)

    def spot(self) -> Box | None:
        """One request of it, as far as its variables tell requests apart; None if there is none. It is not empty."""
        if not self.relations and not coupled(self.domains, self.world):
            return Box(
                self.world, {variable: _only(domain.pick(), domain) for variable, domain in self.domains.items()}
            )
        found = self.example()
        if found is None:
            return None
        return Box(self.world, {variable: _only(point, self.domain(variable)) for variable, point in found.items()})

    def meets(self, other: Box) -> bool:
        """Whether some request lies in both; cheaper than making the common box."""
        for variable, domain in self.domains.items():
            known = other.domains.get(variable)
            if known is not None and known is not domain and (known & domain).is_empty:
                return False
        return self.meets_further(other)

    def meets_further(self, other: Box) -> bool:
        """`meets`, if it is known already that no variable alone is in the way."""
        if coupled({**self.domains, **other.domains}, self.world):
            return not (self & other).is_empty
        relations = self.relations | other.relations
        if not relations:
            return True
        quickly = apart(relations, lambda variable: self.domain(variable) & other.domain(variable))
        return not (self & other).is_empty if quickly is None else quickly

    def __le__(self, other: Box) -> bool:
        """Whether every request of this box lies in the other one."""
        within = all(self.domain(variable) <= domain for variable, domain in other.domains.items())
        if within and other.relations <= self.relations:
            return True
        if not within and not self.relations and not coupled({**self.domains, **other.domains}, self.world):
            return any(domain.is_empty for domain in self.domains.values())
        return next(self._outside(other), None) is None

    def minus(self, other: Box) -> tuple[Box, ...]:
        """Boxes that do not overlap, of the requests in this box and not in the other one."""
        if not self.meets(other):
            return () if self.is_empty else (self,)
        return tuple(self._outside(other))

    def _outside(self, other: Box) -> Iterator[Box]:
        """What fails the first demand of the other box, then what meets that and fails the second, and so on."""
        domains, relations = dict(self.domains), self.relations
        for variable, domain in other.domains.items():
            have = self.domain(variable)
            out = have & domain.complement()
            if not out.is_empty:
                piece = Box(self.world, {**domains, variable: out}, relations)
                if not piece.is_empty:
                    yield piece
                domains[variable] = have & domain
        for relation in other.relations - self.relations:
            piece = Box(self.world, dict(domains), relations | {opposite(relation)})
            if not piece.is_empty:
                yield piece
            relations |= {relation}

    def words(self) -> str:
        """What it means to a person, the narrowest demand first; "" for every request."""
        return ", ".join(_words(self))


def _only(point: Point | None, domain: Domain) -> Domain:
    """This value of the domain."""
    if point is None:
        return ABSENT
    return interval(domain.line, point, point) if isinstance(domain, Spans) else one_of((point,))


# -- statements as boxes ---------------------------------------------------------------------


class _TooMany(Exception):
    pass


def boxes(statement: Statement, world: World, limit: int = LIMIT) -> tuple[Box, ...] | None:
    """Boxes that together hold the statement's requests, none empty; () for no request, None for "not decided"."""
    try:
        found = [Box(world, *parts) for parts in _expanded(statement, [({}, _NONE)], world, limit)]
    except _TooMany:
        return None
    return _without_inner([box for box in found if box.fits])


def _without_inner(found: list[Box]) -> tuple[Box, ...]:
    if not 1 < len(found) <= FEW:
        return tuple(found)
    kept: list[Box] = []
    for at, box in enumerate(found):
        said = box.domains.keys()
        wider = (other for other in (*kept, *found[at + 1 :]) if other.domains.keys() <= said)
        if not any(box <= other for other in wider):
            kept.append(box)
    return tuple(kept)


def _expanded(statement: Statement, bases: list[Parts], world: World, limit: int) -> list[Parts]:
    """Each base narrowed by the statement."""
    match statement:
        case Test():
            return _tested(bases, (statement,))
        case Related(_, left, right):
            there = [world.there(side.path) for side in (left, right)]
            bases = _tested(bases, [test for test in there if isinstance(test, Test)])
            return [(domains, relations | {statement}) for domains, relations in bases]
        case All(items):
            bases = _tested(bases, [item for item in items if isinstance(item, Test)])
            # what branches comes last, when there is less left of it
            rest = [item for item in items if not isinstance(item, Test)]
            for part in sorted(rest, key=lambda each: isinstance(each, Any)):
                bases = _expanded(part, bases, world, limit)
            return bases
    found: list[Parts] = []
    for item in statement.items:
        found += _expanded(item, bases, world, limit)
        if len(found) > limit:
            raise _TooMany
    return found


def _tested(bases: list[Parts], tests: Sequence[Test]) -> list[Parts]:
    found = []
    for base in bases:
        domains = dict(base[0])
        for test in tests:
            before = domains.get(test.variable)
            domain = domains[test.variable] = test.domain if before is None else before & test.domain
            if domain.is_empty:
                break
        else:
            found.append((domains, base[1]))
    return found


# -- unions of boxes -------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Coverage:
    """`whole` is None where it was not decided within the bound; `rest` is a box that is left over."""

    whole: bool | None
    rest: Box | None = None


def covered(box: Box, others: Sequence[Box], limit: int = 1000) -> Coverage:
    """Whether the others together hold every request of the box, by taking them off it one after the other."""
    near = [other for other in others if box.meets(other)]
    waiting = [(box, 0)]
    for _ in range(limit):
        if not waiting:
            return Coverage(True)
        piece, at = waiting.pop()
        while at < len(near) and not piece.meets(near[at]):
            at += 1
        if at == len(near):
            if not piece.is_empty:
                return Coverage(False, piece)
            continue
        waiting += ((left, at + 1) for left in piece.minus(near[at]))
    return Coverage(None) if waiting else Coverage(True)


# -- in words --------------------------------------------------------------------------------


def _words(box: Box) -> Iterator[str]:
    said = [variable for variable in box.domains if not _goes_without_saying(box, variable)]
    named = {*said, *(side for relation in box.relations for side in (relation.left, relation.right))}
    names = _short_names(named)
    relations = sorted(box.relations, key=lambda each: (each.left.path, each.right.path))
    for variable in sorted(said, key=lambda each: (_width(box.domains[each]), not each.path, each.path)):
        yield _said(variable, box.domains[variable], names[variable])
    for relation in relations:
        yield f"{names[relation.left]} {_RELATED[relation.op]} {names[relation.right]}"


_RELATED = {"==": "is", "!=": "is not", "<": "below", "<=": "at most"}


def _said(variable: Variable, domain: Domain, name: str) -> str:
    if variable.node is None or isinstance(domain, Spans):
        return domain.words(name)
    values = {True: f"`{to_cel(variable.node)}`", False: f"not `{to_cel(variable.node)}`"}
    words = [values[value] for value in (True, False) if value in domain]
    return " or ".join([*words, *([f"`{to_cel(variable.node)}` unknown"] if None in domain else [])])


def _goes_without_saying(box: Box, variable: Variable) -> bool:
    """That an attribute is there, where something else that is said about it needs it."""
    domain = box.domains[variable]
    if domain == box.world.universe(variable):
        return True
    if variable.node is not None or domain != box.world.universe(variable) & PRESENT:
        return False
    related = (relation.left == variable or relation.right == variable for relation in box.relations)
    parts = (other.node for other in box.domains if other.node is not None)
    return any(related) or any(variable.path in free_attributes(node) for node in parts)


def _short_names(variables: set[Variable]) -> dict[Variable, str]:
    """The last part of the path, the whole of it where two would have the same."""
    last = {variable: variable.path.rpartition(".")[2] for variable in variables}
    many = [name for variable, name in last.items() if variable.node is None]
    return {
        variable: variable.path if many.count(name) > 1 or name in ("id", "organization") else name
        for variable, name in last.items()
    }


def _width(domain: Domain) -> int:
    """How much it leaves open, roughly: one value, a few, an interval, all but some, no more than presence."""
    if isinstance(domain, Spans):
        return 100 + len(domain.cuts)
    if not domain.others:
        return (len(domain.values) or 500) + (50 if domain.absent else 0)
    return 1000 - len(domain.values) + (500 if domain.absent else 0)
