"""From terms to conditions, and from points to operations: what a policy of a proposal says.

Conditions that differ in one value only become one condition with a list. An
operation without a category is about all categories, so those that are named
beside it are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeAlias

from spir.assurance.roles.reading.export import Value
from spir.assurance.roles.reading.permissions import OTHER, Catalogue, Point, bits
from spir.assurance.roles.replacing.crowd import ROLES, Term
from spir.model.condition import Attribute, Compare, Condition, Literal, Not, both, either

__all__ = ["Operations", "condition", "operations"]

# path -> the values of which one must be there
Box: TypeAlias = Mapping[str, frozenset[Value]]


@dataclass(frozen=True, slots=True)
class Operations:
    """Operation codes that share a bound; TRUE where there is none."""

    codes: tuple[str, ...]
    bound: tuple[Condition, ...] = ()


def condition(terms: Iterable[Term]) -> Condition:
    """Whoever is in any of the terms."""
    boxes = _merged([{path: frozenset((value,)) for path, value in term} for term in terms])
    return either(*(both(*(_test(path, values) for path, values in box.items())) for box in boxes))


def _merged(boxes: list[Box]) -> list[Box]:
    """Boxes that differ in the values of one path become one, path by path."""
    for path in sorted({path for box in boxes for path in box}):
        alike: dict[object, dict[str, frozenset[Value]]] = {}
        for box in boxes:
            rest = (path in box, frozenset((other, values) for other, values in box.items() if other != path))
            known = alike.get(rest)
            if known is None:
                alike[rest] = dict(box)
            elif path in box:
                known[path] |= box[path]
        boxes = list(alike.values())
    return boxes


def _test(path: str, values: frozenset[Value]) -> Condition:
    ordered = sorted(values, key=str)
    if path == ROLES:
        return either(*(Compare("in", Literal(value), Attribute(ROLES)) for value in ordered))
    if len(ordered) == 1:
        return Compare("==", Attribute(path), Literal(ordered[0]))
    return Compare("in", Attribute(path), Literal(tuple(ordered)))


def operations(catalogue: Catalogue, points: int) -> tuple[Operations, ...]:
    """The operations of these points, those without a bound first."""
    every: dict[str, list[Point]] = {}
    for point in catalogue.points:
        every.setdefault(_code(point), []).append(point)
    chosen: dict[str, list[Point]] = {}
    for number in bits(points):
        point = catalogue.points[number]
        chosen.setdefault(_code(point), []).append(point)
    by_bound: dict[tuple[Condition, ...], list[str]] = {}
    for code, found in chosen.items():
        for bound in _bounds(found, every[code]):
            by_bound.setdefault(bound, []).append(code)
    return tuple(
        Operations(tuple(_without_named(codes)), bound)
        for bound, codes in sorted(by_bound.items(), key=lambda item: len(item[0]))
    )


def _code(point: Point) -> str:
    return ":".join(part for part in (point.verb, point.type, point.category) if part)


def _bounds(found: list[Point], every: list[Point]) -> Iterable[tuple[Condition, ...]]:
    """What keeps an operation to the points that are found; () for nothing, where all are."""
    if len(found) == len(every):
        return ((),)
    if len(found[0].values) == 1:
        path = found[0].values[0][0]
        return ((_bound(path, [p.values[0][1] for p in found], [p.values[0][1] for p in every]),),)
    known = {path: list(dict.fromkeys(dict(p.values)[path] for p in every)) for path, _ in found[0].values}
    return tuple(tuple(_bound(path, [value], known[path]) for path, value in point.values) for point in found)


def _bound(path: str, values: list[str], every: list[str]) -> Condition:
    """One of `values`; OTHER is whatever is none of the others."""
    if OTHER in values:
        rest = tuple(sorted(value for value in every if value not in values))
        return Not(Compare("in", Attribute(path), Literal(rest)))
    return Compare("in", Attribute(path), Literal(tuple(sorted(values))))


def _without_named(codes: list[str]) -> Iterable[str]:
    whole = {code for code in codes if code.count(":") == 1}
    return sorted(code for code in codes if code in whole or code.rpartition(":")[0] not in whole)
