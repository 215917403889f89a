"""For which requests a condition is true, and for which it is false: the three values as two statements.

What is in neither is unknown. The readings are exact for comparisons with
constants and between attributes, membership in constants, prefixes, paths of
organisations, networks, times of day and `has`; anything else becomes a
variable of its own (`Variable.node`), which is exact only about whether the
attributes it needs are there.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from ipaddress import IPv4Network
from types import MappingProxyType
from typing import Any, NamedTuple

from spir.assurance.proof.domain import (
    ABSENT,
    NOTHING,
    PRESENT,
    V6,
    Domain,
    Line,
    Point,
    interval,
    micros,
    one_of,
    prefix,
    under,
)
from spir.assurance.proof.terms import (
    ALWAYS,
    CLOCK,
    NEVER,
    Related,
    Statement,
    Variable,
    address,
    every,
    opposite,
    some,
)
from spir.assurance.proof.whole import needed
from spir.assurance.proof.world import NOW, World, negation
from spir.engine.evaluate import Scope, evaluate
from spir.engine.ruleset import UTC
from spir.language.timing import looks_at_clock
from spir.language.typecheck import element
from spir.language.values.functions import FUNCTIONS, read_arguments
from spir.language.values.operators import COMPARISONS, Invalid, instant
from spir.language.values.scalars import EPOCH
from spir.language.walk import nodes
from spir.model.condition import (
    FALSE,
    TRUE,
    And,
    Attribute,
    Call,
    Compare,
    Comprehension,
    Condition,
    Conditional,
    Definitely,
    Has,
    ListOf,
    Literal,
    Not,
    Or,
)
from spir.model.condition import Variable as Bound
from spir.model.value import Unknown, Value, Why

__all__ = ["Truth", "reading", "surely", "surely_not"]

# Beyond it, whole numbers and doubles are compared less exactly than the intervals would.
EXACT = 2.0**53
MICROSECONDS = 1_000_000

_SCALARS = frozenset(("string", "int", "double", "bool", "timestamp"))
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


class Truth(NamedTuple):
    """The requests for which a condition is true, and those for which it is false."""

    true: Statement
    false: Statement

    def swapped(self) -> Truth:
        return Truth(self.false, self.true)


UNKNOWN = Truth(NEVER, NEVER)


def surely(condition: Condition, world: World) -> Statement:
    """The requests of this world for which the condition is true."""
    return _statement(condition, world, True)


def surely_not(condition: Condition, world: World) -> Statement:
    """The requests of this world for which the condition is false."""
    return _statement(condition, world, False)


def reading(condition: Condition, world: World) -> Truth:
    """Both at once."""
    return Truth(_statement(condition, world, True), _statement(condition, world, False))


def _statement(node: Condition, world: World, true: bool) -> Statement:
    """One of the two: of a rule seldom both are asked for."""
    kind = node.__class__
    if kind is And or kind is Or:
        parts = [_statement(item, world, true) for item in node.items]  # type: ignore[union-attr]
        return every(parts) if (kind is And) is true else some(parts)
    if kind is Not:
        return _statement(node.item, world, not true)  # type: ignore[union-attr]
    found: Truth | None = world.readings.get(node)
    if found is None:
        found = world.readings[node] = _RULES.get(kind, _whole)(node, world)
    return found.true if true else found.false


# -- logic -----------------------------------------------------------------------------------


def _literal(node: Literal, world: World) -> Truth:
    return Truth(ALWAYS, NEVER) if node == TRUE else Truth(NEVER, ALWAYS) if node == FALSE else UNKNOWN


def _attribute(node: Attribute, world: World) -> Truth:
    kind = world.kind(node.path).type
    if kind == "bool":
        return _within(node.path, one_of((True,)), world)
    return UNKNOWN if kind else _whole(node, world)


def _definitely(node: Definitely, world: World) -> Truth:
    true = reading(node.item, world).true
    return Truth(true, negation(true, world))


def _conditional(node: Conditional, world: World) -> Truth:
    """Where the test is unknown, what both sides agree in stands; where it is neither true nor false, nothing."""
    if not _is_truth(node.test, world):
        return _whole(node, world)
    test, yes, no = reading(node.test, world), reading(node.yes, world), reading(node.no, world)

    def sides(one: Statement, other: Statement) -> Statement:
        return some((every((test.true, one)), every((test.false, other)), every((one, other))))

    return Truth(sides(yes.true, no.true), sides(yes.false, no.false))


def _is_truth(node: Condition, world: World) -> bool:
    """Whether its value, if it has one, is true or false."""
    match node:
        case Literal(value):
            return isinstance(value, bool)
        case Attribute(path):
            return world.kind(path).type == "bool"
        case Call(name):
            return FUNCTIONS[name].result == "bool" if name in FUNCTIONS else False
        case Comprehension(kind):
            return kind in ("exists", "all", "exists_one")
        case Conditional(_, yes, no):
            return _is_truth(yes, world) and _is_truth(no, world)
    return isinstance(node, And | Or | Not | Compare | Has | Definitely)


def _has(node: Has, world: World) -> Truth:
    if not isinstance(node.operand, Attribute):
        return _whole(node, world)
    variable = world.attribute(node.operand.path)
    return Truth(world.test(variable, PRESENT), world.test(variable, ABSENT))


def _whole(node: Condition, world: World) -> Truth:
    """A part of which only this is known: without the attributes it needs it is neither true nor false."""
    if _is_closed(node):
        return _literal(_constant(node) or Literal(None), world)
    variable = Variable("", node)
    there = [world.there(path) for path in sorted(needed(node))]
    return Truth(
        every((*there, world.test(variable, one_of((True,))))), every((*there, world.test(variable, one_of((False,)))))
    )


# -- comparisons -----------------------------------------------------------------------------


def _compare(node: Compare, world: World) -> Truth:
    left, right = _folded(node.left), _folded(node.right)
    if node.op == "!=":
        return reading(Compare("==", left, right), world).swapped()
    if node.op == "in":
        return _member(node, left, right, world)
    if isinstance(right, Literal):
        return _against(node, left, node.op, right.value, world)
    if isinstance(left, Literal):
        return _against(node, right, _MIRRORED[node.op], left.value, world)
    if isinstance(left, Attribute) and isinstance(right, Attribute):
        if node.op in (">", ">="):
            return _related(node, _MIRRORED[node.op], right, left, world)
        return _related(node, node.op, left, right, world)
    return _whole(node, world)


def _against(node: Compare, side: Condition, op: str, value: Value, world: World) -> Truth:
    """One side is a constant."""
    match side:
        case Literal():
            return _whole(node, world)
        case Attribute(path):
            kind = world.kind(path).type
            try:
                found = _DOMAINS[kind](op, value) if kind in _DOMAINS else None
            except Invalid:
                return UNKNOWN
            return _whole(node, world) if found is None else _within(path, found, world)
        case Call("getHours", (Attribute("context.now"), *zone)) if _is_site_clock(zone, world):
            return _hours(op, value, world)
    if op == "==" and isinstance(value, bool) and isinstance(side, And | Or | Not | Compare | Has):
        return reading(side, world) if value else reading(side, world).swapped()
    return _whole(node, world)


def _within(path: str, domain: Domain, world: World) -> Truth:
    """True for the values of the domain, false for all others, unknown for none."""
    variable = world.attribute(path)
    return Truth(world.test(variable, domain & PRESENT), world.test(variable, domain.complement() & PRESENT))


def _related(node: Compare, op: str, left: Attribute, right: Attribute, world: World) -> Truth:
    there = (world.there(left.path), world.there(right.path))
    one, other = world.kind(left.path).type, world.kind(right.path).type
    if left == right and one in _SCALARS:
        return Truth(NEVER, every(there)) if op == "<" else Truth(every(there), NEVER)
    if one in _SCALARS and other in _SCALARS and one != other and {one, other} != {"int", "double"}:
        return UNKNOWN
    if one not in _SCALARS or one != other:
        return _whole(node, world)
    if one == "bool" and op != "==":
        return _rising(op, left.path, right.path, world)
    found = Related(op, *_ordered(op, world.attribute(left.path), world.attribute(right.path)))
    return Truth(every((*there, found)), every((*there, opposite(found))))


def _rising(op: str, left: str, right: str, world: World) -> Truth:
    """Of two bools: false is less than true."""
    one, other = _within(left, one_of((True,)), world), _within(right, one_of((True,)), world)
    if op == "<":
        return Truth(
            every((one.false, other.true)),
            every((world.there(left), world.there(right), some((one.true, other.false)))),
        )
    return _rising("<", right, left, world).swapped()


def _ordered(op: str, left: Variable, right: Variable) -> tuple[Variable, Variable]:
    """Equality has no direction: one spelling for both."""
    return (right, left) if op == "==" and right.path < left.path else (left, right)


def _member(node: Compare, left: Condition, right: Condition, world: World) -> Truth:
    match right:
        case Literal(tuple() as members):
            return _among(node, left, members, world)
        case Literal(Mapping() as keys):
            return _among(node, left, tuple(keys), world)
        case ListOf(items) if all(isinstance(item, Literal | Attribute) for item in items):
            # a list needs all of its members, also where one decides
            there = [world.there(item.path) for item in items if isinstance(item, Attribute)]
            equal = [reading(Compare("==", left, item), world) for item in items]
            false = every((*there, *(one.false for one in equal)))
            return Truth(every((*there, some(one.true for one in equal))), false)
    return _whole(node, world)


def _among(node: Compare, left: Condition, members: tuple[Value, ...], world: World) -> Truth:
    """A member of another type leaves it undecided whether the value is among them, unless it is."""
    if not isinstance(left, Attribute):
        return _whole(node, world)
    if not members:
        return Truth(NEVER, world.there(left.path))
    kind = world.kind(left.path).type
    if kind not in _DOMAINS:
        return _whole(node, world)
    domain: Domain = NOTHING
    undecided = False
    for member in members:
        try:
            found = _DOMAINS[kind]("==", member)
        except Invalid:
            undecided = True
            continue
        if found is None:
            return _whole(node, world)
        domain = domain | found
    truth = _within(left.path, domain, world)
    return Truth(truth.true, NEVER) if undecided else truth


# -- the values that compare so with a constant ----------------------------------------------

# For an operator and a constant; None where it is not known exactly. Raises Invalid for a constant of another type.
Domains = Callable[[str, Value], Domain | None]


def _on(line: Line, op: str, value: Point) -> Domain:
    match op:
        case "==":
            return interval(line, value, value)
        case "<" | "<=":
            return interval(line, None, value, below=op == "<") & PRESENT
        case _:
            return interval(line, value, None, above=op == ">") & PRESENT


def _texts(op: str, value: Value) -> Domain:
    if not isinstance(value, str):
        raise Invalid
    return one_of((value,)) if op == "==" else _on(Line.TEXT, op, value)


def _number(value: Value) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid
    return value


def _ints(op: str, value: Value) -> Domain | None:
    number = _number(value)
    if isinstance(number, int):
        return _on(Line.INT, op, number)
    if not abs(number) < EXACT:  # nor for what is no number
        return None
    if number.is_integer():
        return _on(Line.INT, op, int(number))
    if op == "==":
        return NOTHING
    return _on(Line.INT, "<=" if op in ("<", "<=") else ">", math.floor(number))


def _doubles(op: str, value: Value) -> Domain | None:
    number = _number(value)
    if not abs(number) < (EXACT if isinstance(number, int) else math.inf):
        return None
    return _on(Line.DOUBLE, op, float(number) + 0.0)


def _bools(op: str, value: Value) -> Domain:
    return one_of(each for each in (True, False) if COMPARISONS[op](each, value))


def _moments(op: str, value: Value) -> Domain:
    if not isinstance(value, datetime):
        raise Invalid
    return _on(Line.MOMENT, op, micros(instant(value)))


_DOMAINS: Mapping[str, Domains] = MappingProxyType(
    {"string": _texts, "int": _ints, "double": _doubles, "bool": _bools, "timestamp": _moments}
)


# -- the clock -------------------------------------------------------------------------------


def _is_site_clock(zone: Iterable[Condition], world: World) -> bool:
    """Whether the call names the site's own zone; none is UTC."""
    match tuple(zone):
        case (Literal(str() as name),):
            return name == world.site.timezone.key
        case ():
            return world.site.timezone.key == "UTC"
    return False


def _hours(op: str, value: Value, world: World) -> Truth:
    try:
        found = [hour for hour in range(24) if COMPARISONS[op](hour, value)]
    except Invalid:
        return UNKNOWN
    domain: Domain = NOTHING
    for hour in found:
        domain = domain | _clock(hour * 3600, (hour + 1) * 3600)
    return _by(CLOCK, domain, world)


def _clock(start: float, end: float) -> Domain:
    """From and until so many seconds since midnight."""
    return interval(Line.CLOCK, round(start * MICROSECONDS), round(end * MICROSECONDS), below=True)


def _by(variable: Variable, domain: Domain, world: World) -> Truth:
    return Truth(world.test(variable, domain & PRESENT), world.test(variable, domain.complement() & PRESENT))


# -- functions -------------------------------------------------------------------------------


def _call(node: Call, world: World) -> Truth:
    rule = _CALLS.get(node.function)
    arguments = [_folded(argument) for argument in node.arguments]
    if rule is None or not all(isinstance(argument, Literal | Attribute) for argument in arguments):
        return _whole(node, world)
    found = rule([a.value if isinstance(a, Literal) else a for a in arguments], world)
    return _whole(node, world) if found is None else found


def _starts_with(arguments: list[Any], world: World) -> Truth | None:
    return _of_text(arguments, world, prefix)


def _org_under(arguments: list[Any], world: World) -> Truth | None:
    return _of_text(arguments, world, under)


def _of_text(arguments: list[Any], world: World, domain: Callable[[str], Domain]) -> Truth | None:
    match arguments:
        case [Attribute(path), str() as constant] if world.kind(path).type == "string":
            return _within(path, domain(constant), world)
    return None


def _ip_in(arguments: list[Any], world: World) -> Truth | None:
    match arguments:
        case [Attribute(path), str() as text] if world.kind(path).type == "string":
            try:
                network = read_arguments("ip.in", ["::", text])[1]
            except Invalid:
                return UNKNOWN
            base = 0 if isinstance(network, IPv4Network) else V6
            first, last = int(network.network_address), int(network.broadcast_address)
            truth = _by(address(path), interval(Line.ADDRESS, base + first, base + last), world)
            there = world.there(path)
            return Truth(every((there, truth.true)), every((there, truth.false)))
    return None


def _time_between(arguments: list[Any], world: World) -> Truth | None:
    if any(isinstance(argument, Attribute) for argument in arguments):
        return None
    try:
        start, end = read_arguments("time.between", arguments)
    except Invalid:
        return UNKNOWN
    if start == end:
        return UNKNOWN
    day = _clock(min(start, end).total_seconds(), max(start, end).total_seconds())
    return _by(CLOCK, day if start < end else day.complement() & PRESENT, world)


def _within_window(arguments: list[Any], world: World) -> Truth | None:
    """`within(at, before, after)` of a constant moment is an interval of the request's own."""
    if any(isinstance(argument, Attribute) for argument in arguments):
        return None
    try:
        at, before, after = read_arguments("within", arguments)
        middle = micros(instant(at))
    except Invalid:
        return UNKNOWN
    ends = (middle - round(before.total_seconds() * MICROSECONDS), middle + round(after.total_seconds() * MICROSECONDS))
    return _by(NOW, interval(Line.MOMENT, *ends), world)


def _terminology(arguments: list[Any], world: World) -> Truth | None:
    match arguments:
        case [Attribute(path), str() as concept, int() | float() as threshold] if world.kind(path).type == "string":
            if isinstance(threshold, bool) or not 0.0 <= threshold <= 1.0:
                return UNKNOWN
            return _within(path, one_of((concept,)) if threshold > 0 else PRESENT, world)
    return None


_CALLS: Mapping[str, Callable[[list[Any], World], Truth | None]] = MappingProxyType(
    {
        "startsWith": _starts_with,
        "org.under": _org_under,
        "ip.in": _ip_in,
        "time.between": _time_between,
        "within": _within_window,
        "terminology.matches": _terminology,
    }
)


# -- members of lists ------------------------------------------------------------------------


def _comprehension(node: Comprehension, world: World) -> Truth:
    """`labels.exists(l, l == "x")` is `"x" in labels`, and so is `!labels.all(l, l != "x")`."""
    match node.kind, node.body:
        case "exists", Compare("==" | "in" as op, Bound(name), Literal(value)):
            found = _members(node, name, op, value, world)
            return found or _whole(node, world)
        case "all", Compare("!=", Bound(name), Literal(value)):
            found = _members(node, name, "==", value, world)
            return found.swapped() if found else _whole(node, world)
        case "all", Not(Compare("==" | "in" as op, Bound(name), Literal(value))):
            found = _members(node, name, op, value, world)
            return found.swapped() if found else _whole(node, world)
    return _whole(node, world)


def _members(node: Comprehension, name: str, op: str, value: Value, world: World) -> Truth | None:
    """Whether the list has one of these members; None where that is not what it says."""
    wanted = value if op == "in" else (value,)
    if name != node.variable or not isinstance(node.over, Attribute) or not isinstance(wanted, tuple):
        return None
    texts = all(isinstance(each, str) for each in wanted)
    if not wanted or not texts or element(world.kind(node.over.path).type) != "string":
        return None
    found = [reading(Compare("in", Literal(each), node.over), world) for each in wanted]
    return Truth(some(one.true for one in found), every(one.false for one in found))


# -- constants -------------------------------------------------------------------------------


def _folded(node: Condition) -> Condition:
    """A constant where the part is one: `timestamp("2026-01-01T00:00:00Z")`."""
    if isinstance(node, Attribute | Literal):
        return node
    return _constant(node) or node


def _is_closed(node: Condition) -> bool:
    """Whether it reads nothing at all."""
    return not looks_at_clock(node) and not any(isinstance(part, Attribute | Bound) for part in nodes(node))


def _constant(node: Condition) -> Literal | None:
    """The value that the part always has; None for what is not constant or never has a value."""
    if not _is_closed(node):
        return None
    value = evaluate(node, lambda path: Unknown.of(path, Why.MISSING), Scope(EPOCH, UTC))
    return None if isinstance(value, Unknown) else Literal(value)


_RULES: Mapping[type, Callable[[Any, World], Truth]] = MappingProxyType(
    {
        Literal: _literal,
        Attribute: _attribute,
        Definitely: _definitely,
        Conditional: _conditional,
        Has: _has,
        Compare: _compare,
        Call: _call,
        Comprehension: _comprehension,
    }
)
