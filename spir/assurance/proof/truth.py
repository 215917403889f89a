"""For which requests a condition is true, and for which it is false: the three values as two statements.

What is in neither is unknown. The readings are exact for comparisons with
constants and between attributes, membership in constants, prefixes, paths of
organisations, networks, times of day and `has`; anything else becomes a
variable of its own (`Variable.node`), which is exact only about whether the
attributes it needs are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any

from spir.assurance.proof.calls import CALLS, hours
from spir.assurance.proof.constants import DOMAINS
from spir.assurance.proof.domain import ABSENT, NOTHING, PRESENT, Domain, one_of
from spir.assurance.proof.leaves import UNKNOWN, Truth, among, constant, folded, taken_whole
from spir.assurance.proof.terms import NEVER, Related, Statement, Variable, every, opposite, some
from spir.assurance.proof.world import World, negation
from spir.language.typecheck import element
from spir.language.values.functions import FUNCTIONS
from spir.language.values.operators import Invalid
from spir.model.condition import (
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
from spir.model.value import Value

__all__ = ["Truth", "conjuncts", "reading", "surely", "surely_not"]

_SCALARS = frozenset(("string", "int", "double", "bool", "timestamp"))
_MIRRORED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}


def surely(condition: Condition, world: World) -> Statement:
    """The requests of this world for which the condition is true."""
    return _statement(condition, world, True)


def conjuncts(condition: Condition, world: World) -> list[Statement]:
    """`surely` in parts, all of which must hold: for those who join them with more."""
    if isinstance(condition, And):
        return [part for item in condition.items for part in conjuncts(item, world)]
    return [_statement(condition, world, True)]


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
        found = world.readings[node] = _RULES.get(kind, taken_whole)(node, world)
    return found.true if true else found.false


# -- logic -----------------------------------------------------------------------------------


def _attribute(node: Attribute, world: World) -> Truth:
    kind = world.kind(node.path).type
    if kind == "bool":
        return among(node.path, one_of((True,)), world)
    return UNKNOWN if kind else taken_whole(node, world)


def _definitely(node: Definitely, world: World) -> Truth:
    true = reading(node.item, world).true
    return Truth(true, negation(true, world))


def _conditional(node: Conditional, world: World) -> Truth:
    """Where the test is unknown, what both sides agree in stands; where it is neither true nor false, nothing."""
    if not _is_truth(node.test, world):
        return taken_whole(node, world)
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
        return taken_whole(node, world)
    variable = world.attribute(node.operand.path)
    return Truth(world.test(variable, PRESENT), world.test(variable, ABSENT))


# -- comparisons -----------------------------------------------------------------------------


def _compare(node: Compare, world: World) -> Truth:
    left, right = folded(node.left), folded(node.right)
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
    return taken_whole(node, world)


def _against(node: Compare, side: Condition, op: str, value: Value, world: World) -> Truth:
    """One side is a constant."""
    match side:
        case Literal():
            return taken_whole(node, world)
        case Attribute(path):
            kind = world.kind(path).type
            try:
                found = DOMAINS[kind](op, value) if kind in DOMAINS else None
            except Invalid:
                return UNKNOWN
            return taken_whole(node, world) if found is None else among(path, found, world)
        case Call("getHours", (Attribute("context.now"), *zone)) if _is_site_clock(zone, world):
            return hours(op, value, world)
    if op == "==" and isinstance(value, bool) and isinstance(side, And | Or | Not | Compare | Has):
        return reading(side, world) if value else reading(side, world).swapped()
    return taken_whole(node, world)


def _related(node: Compare, op: str, left: Attribute, right: Attribute, world: World) -> Truth:
    there = (world.there(left.path), world.there(right.path))
    one, other = world.kind(left.path).type, world.kind(right.path).type
    if left == right and one in _SCALARS:
        return Truth(NEVER, every(there)) if op == "<" else Truth(every(there), NEVER)
    if one in _SCALARS and other in _SCALARS and one != other and {one, other} != {"int", "double"}:
        return UNKNOWN
    if one not in _SCALARS or one != other:
        return taken_whole(node, world)
    if one == "bool" and op != "==":
        return _rising(op, left.path, right.path, world)
    found = Related(op, *_ordered(op, world.attribute(left.path), world.attribute(right.path)))
    return Truth(every((*there, found)), every((*there, opposite(found))))


def _rising(op: str, left: str, right: str, world: World) -> Truth:
    """Of two bools: false is less than true."""
    one, other = among(left, one_of((True,)), world), among(right, one_of((True,)), world)
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
    return taken_whole(node, world)


def _among(node: Compare, left: Condition, members: tuple[Value, ...], world: World) -> Truth:
    """A member of another type leaves it undecided whether the value is among them, unless it is."""
    if not isinstance(left, Attribute):
        return taken_whole(node, world)
    if not members:
        return Truth(NEVER, world.there(left.path))
    kind = world.kind(left.path).type
    if kind not in DOMAINS:
        return taken_whole(node, world)
    domain: Domain = NOTHING
    undecided = False
    for member in members:
        try:
            found = DOMAINS[kind]("==", member)
        except Invalid:
            undecided = True
            continue
        if found is None:
            return taken_whole(node, world)
        domain = domain | found
    truth = among(left.path, domain, world)
    return Truth(truth.true, NEVER) if undecided else truth


def _is_site_clock(zone: Iterable[Condition], world: World) -> bool:
    """Whether the call names the site's own zone; none is UTC."""
    match tuple(zone):
        case (Literal(str() as name),):
            return name == world.site.timezone.key
        case ():
            return world.site.timezone.key == "UTC"
    return False


# -- functions and members of lists ----------------------------------------------------------


def _call(node: Call, world: World) -> Truth:
    rule = CALLS.get(node.function)
    arguments = [folded(argument) for argument in node.arguments]
    if rule is None or not all(isinstance(argument, Literal | Attribute) for argument in arguments):
        return taken_whole(node, world)
    found = rule([a.value if isinstance(a, Literal) else a for a in arguments], world)
    return taken_whole(node, world) if found is None else found


def _comprehension(node: Comprehension, world: World) -> Truth:
    """`labels.exists(l, l == "x")` is `"x" in labels`, and so is `!labels.all(l, l != "x")`."""
    match node.kind, node.body:
        case "exists", Compare("==" | "in" as op, Bound(name), Literal(value)):
            found = _members(node, name, op, value, world)
            return found or taken_whole(node, world)
        case "all", Compare("!=", Bound(name), Literal(value)):
            found = _members(node, name, "==", value, world)
            return found.swapped() if found else taken_whole(node, world)
        case "all", Not(Compare("==" | "in" as op, Bound(name), Literal(value))):
            found = _members(node, name, op, value, world)
            return found.swapped() if found else taken_whole(node, world)
    return taken_whole(node, world)


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


_RULES: Mapping[type, Callable[[Any, World], Truth]] = MappingProxyType(
    {
        Literal: constant,
        Attribute: _attribute,
        Definitely: _definitely,
        Conditional: _conditional,
        Has: _has,
        Compare: _compare,
        Call: _call,
        Comprehension: _comprehension,
    }
)
