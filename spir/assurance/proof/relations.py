"""Values that keep to relations between variables.

==      one value for all of a class
< <=    no cycle with a < in it; then the least values fit, if any do
!=      a bounded search: n variables that must differ from one need n + 1 candidates for it
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice

from spir.assurance.proof.domain import PRESENT, Choice, Domain, Line, Point, interval, one_of
from spir.assurance.proof.terms import Related, Variable
from spir.assurance.proof.world import World

__all__ = ["apart", "related"]

MAX_TRIES = 2000

_LINES = {"int": Line.INT, "double": Line.DOUBLE, "timestamp": Line.MOMENT, "string": Line.TEXT}


def apart(relations: frozenset[Related], domain: Callable[[Variable], Domain]) -> bool | None:
    """Whether there are values that keep to the relations, if no two of them share a variable; None if they do.

    Takes the domains as they are, so the variables must not hang together otherwise.
    """
    seen: set[Variable] = set()
    for relation in relations:
        if relation.left in seen or relation.right in seen or relation.left == relation.right:
            return None
        seen |= {relation.left, relation.right}
    for relation in relations:
        fits = _fit(relation.op, domain(relation.left).present, domain(relation.right).present)
        if not fits:
            return fits
    return True


def _fit(op: str, left: Domain, right: Domain) -> bool | None:
    if left.is_empty or right.is_empty:
        return False
    if op == "==":
        return not (left & right).is_empty
    if op == "!=":
        return left != right or not _single(left)
    if isinstance(left, Choice) or isinstance(right, Choice):
        return None
    low, high = left.spans[0].low, right.spans[-1].high
    if low is None or high is None:
        return None
    return (left.line.after(low) if op == "<" else low) < high  # type: ignore[operator]


def _single(domain: Domain) -> bool:
    if isinstance(domain, Choice):
        return len(domain.values) == 1 and not domain.others
    return len(domain.cuts) == 2 and not domain.inside and domain.line.after(domain.cuts[0]) == domain.cuts[1]


@dataclass(slots=True)
class _Classes:
    """Variables that must have one value, and what holds between the classes of them."""

    domains: dict[Variable, Domain]
    lines: dict[Variable, Line | None]
    parent: dict[Variable, Variable] = field(default_factory=dict)
    below: set[tuple[Variable, Variable, bool]] = field(default_factory=set)  # strictly?
    apart: set[tuple[Variable, Variable]] = field(default_factory=set)

    def top(self, variable: Variable) -> Variable:
        while variable in self.parent:
            variable = self.parent[variable]
        return variable

    def unite(self, one: Variable, other: Variable) -> None:
        one, other = self.top(one), self.top(other)
        if one != other:
            self.parent[other] = one
            self.domains[one] = self.domains[one] & self.domains.pop(other)

    def settle(self) -> None:
        """Name every relation by the tops of its classes."""
        self.below = {(self.top(a), self.top(b), strict) for a, b, strict in self.below}
        self.apart = {(self.top(a), self.top(b)) for a, b in self.apart}


def related(
    domains: Mapping[Variable, Domain], relations: frozenset[Related], world: World
) -> dict[Variable, Point] | None:
    """Values for the variables of the relations, within the domains; None if there are none, or none was found."""
    if not relations:
        return {}
    variables = sorted({side for one in relations for side in (one.left, one.right)}, key=lambda each: each.path)
    classes = _Classes(
        {variable: domains.get(variable, world.universe(variable)) & PRESENT for variable in variables},
        {variable: _LINES.get(world.kind(variable.path).type) for variable in variables},
    )
    for one in relations:
        match one.op:
            case "==":
                classes.unite(one.left, one.right)
            case "!=":
                classes.apart.add((one.left, one.right))
            case op:
                classes.below.add((one.left, one.right, op == "<"))
    order = _in_order(classes)
    if order is None or any(domain.is_empty for domain in classes.domains.values()):
        return None
    values = _search(classes, order)
    return None if values is None else {variable: values[classes.top(variable)] for variable in variables}


def _in_order(classes: _Classes) -> list[Variable] | None:
    """The classes, lower ones first; those that are <= each other become one. None for a cycle with a <."""
    classes.settle()
    while True:
        above = _reach(classes)
        if any((one, one, True) in above for one in classes.domains):
            return None
        loops = [(a, b) for a, b, _ in above if a != b and any((b, a, s) in above for s in (True, False))]
        if not loops:
            break
        for one, other in loops:
            classes.unite(one, other)
        classes.settle()
        classes.below = {(a, b, strict) for a, b, strict in classes.below if a != b or strict}
    if any(one == other for one, other in classes.apart):
        return None
    return sorted(classes.domains, key=lambda each: (sum(b == each for _, b, _ in above), each.path))


def _reach(classes: _Classes) -> set[tuple[Variable, Variable, bool]]:
    """Everything that follows from the order relations by going along them."""
    found = set(classes.below)
    while True:
        more = {(a, d, s or t) for a, b, s in found for c, d, t in found if b == c} - found
        if not more:
            return found
        found |= more


def _search(classes: _Classes, order: list[Variable]) -> dict[Variable, Point] | None:
    """Values that keep to the order and differ where they must; by trying, the likeable ones first."""
    tries = 0
    values: dict[Variable, Point] = {}
    waiting = [_fitting(classes, order[0], values)]
    while waiting:
        tries += 1
        value = next(waiting[-1], None) if tries < MAX_TRIES else None
        at = order[len(waiting) - 1]
        values.pop(at, None)
        if value is None:
            waiting.pop()
            continue
        values[at] = value
        if len(values) == len(order):
            return values
        waiting.append(_fitting(classes, order[len(waiting)], values))
    return None


def _fitting(classes: _Classes, variable: Variable, values: Mapping[Variable, Point]) -> Iterator[Point]:
    """Candidates for one class, given the values of classes before it."""
    domain, line = classes.domains[variable], classes.lines[variable]
    for low, high, strict in classes.below:
        if high == variable and low in values and line is not None:
            domain = domain & interval(line, values[low], None, above=strict)
    neighbours = [other for pair in classes.apart if variable in pair for other in pair if other != variable]
    used = [values[other] for other in neighbours if other in values]
    for value in used:
        domain = domain & (interval(line, value, value) if line else one_of((value,))).complement()
    if domain.is_empty:
        return
    picked = domain.pick()
    assert picked is not None
    yield picked
    yield from islice(_rising(domain, line), len(neighbours) - len(used) + 1)


def _rising(domain: Domain, line: Line | None) -> Iterator[Point]:
    """The values from the least on."""
    if isinstance(domain, Choice) and not domain.others:
        yield from sorted(domain.values, key=str)
        return
    assert line is not None
    if isinstance(domain, Choice):
        value: Point | None = ""  # all texts but some
    else:
        first = domain.spans[0].low
        value = "" if first is None and line is Line.TEXT else first
    while value is not None:
        if value in domain:
            yield value
            value = line.after(value)
        else:
            value = _next_begin(domain, value, line)


def _next_begin(domain: Domain, value: Point, line: Line) -> Point | None:
    if isinstance(domain, Choice):
        return line.after(value)
    lows = [span.low for span in domain.spans if span.low is not None and span.low > value]  # type: ignore[operator]
    return lows[0] if lows else None
