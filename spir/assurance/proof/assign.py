"""One value for every variable of a box, if there is any: what makes a box empty or not.

Each variable alone is easy; this is about the variables that hang together:

    ==            one value for all of a class
    < <=          no cycle with a < in it; then the least values fit, if any do
    !=            a bounded search: n variables that must differ need n + 1 candidates each
    organisation  the resource's, else the context's, else the site's
    time of day   a moment that the site's clock shows so
    address       a text that stands for it
    a map         absent with all that lies in it
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, time, timedelta
from ipaddress import IPv4Address, IPv6Address
from itertools import islice
from typing import TypeAlias

from spir.assurance.proof.domain import (
    ABSENT,
    PRESENT,
    V6,
    Choice,
    Domain,
    Line,
    Point,
    Spans,
    interval,
    micros,
    moment,
    one_of,
)
from spir.assurance.proof.terms import CLOCK, ORGANIZATION, Related, Variable
from spir.assurance.proof.world import DAY, NOW, World
from spir.language.values.operators import Invalid
from spir.language.values.scalars import clock_of, read_address

__all__ = ["Assignment", "apart", "assign", "coupled", "partners"]

Assignment: TypeAlias = dict[Variable, Point | None]
Domains: TypeAlias = dict[Variable, Domain]

MAX_TRIES = 2000
# The clock shows every time of day within so many days, a change of the clocks included.
DAYS = 4

OWN, AROUND = Variable("resource.organization"), Variable("context.organization")
_LINES = {"int": Line.INT, "double": Line.DOUBLE, "timestamp": Line.MOMENT, "string": Line.TEXT}


def coupled(domains: Mapping[Variable, Domain], world: World) -> bool:
    """Whether some of these variables hang together by what they are."""
    if ORGANIZATION in domains and (OWN in domains or AROUND in domains):
        return True
    if CLOCK in domains and NOW in domains:
        return True
    return any(
        variable.path in world.maps
        if variable.node is None
        else _is_address(variable) and Variable(variable.path) in domains
        for variable in domains
    )


def partners(variable: Variable, among: Iterable[Variable], world: World) -> Iterator[Variable]:
    """Of these variables, those that it hangs together with, by what they are."""
    if variable.path:
        yield from (other for other in among if other.path and _hangs_on(variable, other, world))


def _hangs_on(one: Variable, other: Variable, world: World) -> bool:
    pair = {one, other}
    if ORGANIZATION in pair:
        return OWN in pair or AROUND in pair
    if CLOCK in pair:
        return NOW in pair
    if _is_address(one) or _is_address(other):
        return one.path == other.path
    outer, inner = sorted((one.path, other.path), key=len)
    return outer in world.maps and inner.startswith(f"{outer}.")


def assign(domains: Mapping[Variable, Domain], relations: frozenset[Related], world: World) -> Assignment | None:
    """A value for each variable, None for absence; None for the whole if there is none, or none was found."""
    if any(domain.is_empty for domain in domains.values()):
        return None
    for narrowed in _narrowed(dict(domains), world):
        found = _related(narrowed, relations, world)
        if found is not None:
            rest = {variable: domain.pick() for variable, domain in narrowed.items() if variable not in found}
            return {**rest, **found}
    return None


# -- variables that hang together ------------------------------------------------------------


def _narrowed(domains: Domains, world: World) -> Iterator[Domains]:
    """Alternatives in which the worked-out variables agree with what they are worked out of."""
    for path in world.maps:
        if domains.get(Variable(path)) == ABSENT:
            for variable in domains:
                if variable.path.startswith(f"{path}."):
                    domains[variable] = domains[variable] & ABSENT
    for alternative in _organizations(domains, world):
        found = _moments(_addresses(alternative), world)
        if found is not None and not any(domain.is_empty for domain in found.values()):
            yield found


def _organizations(domains: Domains, world: World) -> Iterator[Domains]:
    wanted = domains.get(ORGANIZATION)
    if wanted is None:
        yield domains
        return
    own = domains.get(OWN, world.universe(OWN))
    around = domains.get(AROUND, world.universe(AROUND))
    yield {**domains, OWN: own & wanted}
    yield {**domains, OWN: _named_by_none(own), AROUND: around & wanted}
    if world.site.organization in wanted:
        yield {**domains, OWN: _named_by_none(own), AROUND: _named_by_none(around)}


def _named_by_none(domain: Domain) -> Domain:
    return ABSENT if domain.absent else domain & one_of(("",))


def _is_address(variable: Variable) -> bool:
    return variable.path != "" and variable.node is not None


def _addresses(domains: Domains) -> Domains:
    """Texts that stand for a wanted address: all of those that are named, else one of them."""
    found = dict(domains)
    for variable, wanted in domains.items():
        if _is_address(variable):
            text = Variable(variable.path)
            found[text] = _standing_for(found.get(text, PRESENT), wanted)
    return found


def _standing_for(texts: Domain, wanted: Domain) -> Domain:
    if isinstance(texts, Choice) and not texts.others:
        stand = one_of(text for text in texts.values if _address(text) in wanted)
        return stand | ABSENT if texts.absent and None in wanted else stand
    for text in _address_texts(wanted):
        if text in texts and _address(text) in wanted:
            return one_of((text,))
    return texts  # none was found, which proves nothing


def _address_texts(wanted: Domain) -> Iterator[str]:
    """The first few of every interval; then texts that stand for none."""
    for span in wanted.spans if isinstance(wanted, Spans) else ():
        assert not isinstance(span.low, str)
        for place in range(int(span.low or 0), int(span.low or 0) + 8):
            yield str(IPv4Address(place) if place < V6 else IPv6Address(place - V6))
    yield from ("nowhere", "none", "")


def _address(text: Point) -> int | None:
    try:
        found = read_address(str(text))
    except Invalid:
        return None
    return int(found) + (V6 if isinstance(found, IPv6Address) else 0)


def _moments(domains: Domains, world: World) -> Domains | None:
    """A single moment, if a time of day is asked for; else one near the world's own."""
    now = domains.get(NOW, world.universe(NOW))
    place = _moment(now, domains.get(CLOCK), world)
    if place is None:
        return None
    return {**domains, NOW: interval(Line.MOMENT, place, place)} if CLOCK in domains else domains


def _moment(now: Domain, clock: Domain | None, world: World) -> int | None:
    return next((place for place in _candidates(now, clock, world) if place in now), None)


def _candidates(now: Domain, clock: Domain | None, world: World) -> Iterator[int]:
    """Moments in or about each interval: its begin, and when the wall clock next shows the begin of a wanted time."""
    preferred = micros(world.now)
    starts = [preferred] if preferred in now else []
    for span in now.spans if isinstance(now, Spans) else ():
        low, high = span.low, span.high
        assert not isinstance(low, str) and not isinstance(high, str)
        starts += [int(low)] if low is not None else []
        starts += [int(high) - DAYS * DAY, int(high) - 1] if high is not None else []
    for start in starts:
        if clock is None or _clock_at(start, world) in clock:
            yield start
        yield from _shown(start, clock, world) if isinstance(clock, Spans) else ()


def _clock_at(place: int, world: World) -> int:
    return clock_of(moment(place), world.site.timezone) // timedelta(microseconds=1)


def _shown(start: int, clock: Spans, world: World) -> Iterator[int]:
    """From the day before on, when the wall clock shows the begin of a wanted time."""
    first = moment(start).astimezone(world.site.timezone).date()
    for days in range(-1, DAYS + 1):
        for span in clock.spans:
            assert not isinstance(span.low, str)
            wall = datetime.combine(first + timedelta(days=days), time(), world.site.timezone)
            shown = wall + timedelta(microseconds=int(span.low or 0))
            for fold in (0, 1):
                place = micros(shown.replace(fold=fold).astimezone(UTC))
                if _clock_at(place, world) in clock:  # a clock that is changed may not show it at all
                    yield place


# -- relations -------------------------------------------------------------------------------


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

    domains: Domains
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


def _related(domains: Domains, relations: frozenset[Related], world: World) -> Assignment | None:
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
