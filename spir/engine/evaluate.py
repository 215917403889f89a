"""The value of a condition: strong Kleene logic over whatever is known.

The plain interpreter: what it says is right, however slow. It never raises,
whatever the tree and the values are: what cannot be known comes back as
`Unknown` and says why.

    deferred   will be known row by row
    missing    a source answered: no value
    failed     the source is down or stale
    invalid    the values are there, the operation has no meaning for them

An operation that needs all of its operands (a comparison, a call) is settled
by one operand that will never be known: no later data can give it a value, so
its unknown is no longer deferred.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from types import MappingProxyType
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from spir.language.values.functions import call
from spir.language.values.operators import ARITHMETIC, COMPARISONS, Invalid, equal, negate, type_of
from spir.language.walk import nodes
from spir.model.condition import (
    And,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Comprehension,
    Condition,
    Conditional,
    Definitely,
    Has,
    Index,
    ListOf,
    Literal,
    MapOf,
    Negate,
    Not,
    Or,
    Select,
    Variable,
)
from spir.model.value import Lack, Unknown, Value, Why

__all__ = ["Lookup", "Result", "Scope", "evaluate", "free_attributes"]

Result: TypeAlias = Value | Unknown
Lookup: TypeAlias = Callable[[str], Value | Unknown]

_NO_VARIABLES: Mapping[str, Value | Unknown] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Scope:
    """What a condition can see beside the request: the clock, the site's zone, names bound by comprehensions."""

    now: datetime
    timezone: ZoneInfo
    variables: Mapping[str, Value | Unknown] = field(default_factory=lambda: _NO_VARIABLES)

    def bind(self, name: str, value: Result) -> Scope:
        return Scope(self.now, self.timezone, {**self.variables, name: value})


def evaluate(condition: Condition, lookup: Lookup, scope: Scope) -> Result:
    """The value, or why there is none. `lookup` is given full attribute paths, maps resolved by it."""
    return _RULES[type(condition)](condition, lookup, scope)


def free_attributes(condition: Condition) -> frozenset[str]:
    """The paths of all attributes it reads."""
    return frozenset(node.path for node in nodes(condition) if isinstance(node, Attribute))


# -- leaves ----------------------------------------------------------------------------------


def _literal(node: Literal, lookup: Lookup, scope: Scope) -> Result:
    return node.value


def _attribute(node: Attribute, lookup: Lookup, scope: Scope) -> Result:
    value = lookup(node.path)
    return Unknown.of(node.path, Why.MISSING) if value is None else value


def _variable(node: Variable, lookup: Lookup, scope: Scope) -> Result:
    if node.name in scope.variables:
        return scope.variables[node.name]
    return Unknown.of(node.name, Why.INVALID)


# -- logic -----------------------------------------------------------------------------------


def _doubt(value: Result, what: str) -> Unknown:
    """An operand of a logical operator that is neither true nor false."""
    return value if isinstance(value, Unknown) else Unknown.of(what, Why.INVALID)


def _and(node: And, lookup: Lookup, scope: Scope) -> Result:
    unknown: Unknown | None = None
    for item in node.items:
        value = _RULES[type(item)](item, lookup, scope)
        if value is False:
            return False
        if value is not True:
            doubt = _doubt(value, "&&")
            unknown = doubt if unknown is None else unknown | doubt
    return True if unknown is None else unknown


def _or(node: Or, lookup: Lookup, scope: Scope) -> Result:
    unknown: Unknown | None = None
    for item in node.items:
        value = _RULES[type(item)](item, lookup, scope)
        if value is True:
            return True
        if value is not False:
            doubt = _doubt(value, "||")
            unknown = doubt if unknown is None else unknown | doubt
    return False if unknown is None else unknown


def _not(node: Not, lookup: Lookup, scope: Scope) -> Result:
    value = evaluate(node.item, lookup, scope)
    return not value if isinstance(value, bool) else _doubt(value, "!")


def _definitely(node: Definitely, lookup: Lookup, scope: Scope) -> Result:
    value = evaluate(node.item, lookup, scope)
    if isinstance(value, Unknown) and value.deferred:
        return value
    return value is True


def _conditional(node: Conditional, lookup: Lookup, scope: Scope) -> Result:
    test = evaluate(node.test, lookup, scope)
    if isinstance(test, bool):
        return evaluate(node.yes if test else node.no, lookup, scope)
    if not isinstance(test, Unknown):
        return Unknown.of("?:", Why.INVALID)
    yes, no = evaluate(node.yes, lookup, scope), evaluate(node.no, lookup, scope)
    return yes if _identical(yes, no) else _joined(test, yes, no)


def _identical(left: Result, right: Result) -> bool:
    """The same value of the same type, so that it does not matter which of the two it is."""
    if isinstance(left, Unknown) or isinstance(right, Unknown):
        return False
    try:
        return type_of(left) == type_of(right) and equal(left, right)
    except Invalid:
        return False


def _joined(first: Unknown, *rest: Result) -> Unknown:
    for value in rest:
        if isinstance(value, Unknown):
            first = first | value
    return first


def _has(node: Has, lookup: Lookup, scope: Scope) -> Result:
    value = evaluate(node.operand, lookup, scope)
    if not isinstance(value, Unknown):
        return value is not None
    # Only "a source answered: no value" is an answer to `has`.
    return False if all(lack.why is Why.MISSING for lack in value.lacks) else value


# -- operations that need every operand ------------------------------------------------------


def _strict(values: Sequence[Result]) -> Unknown | None:
    """Why an operation on these values has none itself; None if all are known."""
    unknowns = [value for value in values if isinstance(value, Unknown)]
    if not unknowns:
        return None
    hopeless = [value for value in unknowns if not value.deferred]
    return _joined(*(hopeless or unknowns))


def _invalid(what: str, *operands: Condition) -> Unknown:
    """No meaning: named after the attributes that it was tried on, or after the operation."""
    paths = [operand.path for operand in operands if isinstance(operand, Attribute)]
    return Unknown(frozenset(Lack(name, Why.INVALID) for name in paths or (what,)))


def _compare(node: Compare, lookup: Lookup, scope: Scope) -> Result:
    left = _RULES[type(node.left)](node.left, lookup, scope)
    right = _RULES[type(node.right)](node.right, lookup, scope)
    if isinstance(left, Unknown) or isinstance(right, Unknown):
        return _strict((left, right))
    try:
        return COMPARISONS[node.op](left, right)
    except Invalid:
        return _invalid(node.op, node.left, node.right)


def _arithmetic(node: Arithmetic, lookup: Lookup, scope: Scope) -> Result:
    left, right = evaluate(node.left, lookup, scope), evaluate(node.right, lookup, scope)
    if isinstance(left, Unknown) or isinstance(right, Unknown):
        return _strict((left, right))
    try:
        return ARITHMETIC[node.op](left, right)
    except Invalid:
        return _invalid(node.op, node.left, node.right)


def _negate(node: Negate, lookup: Lookup, scope: Scope) -> Result:
    value = evaluate(node.item, lookup, scope)
    if isinstance(value, Unknown):
        return value
    try:
        return negate(value)
    except Invalid:
        return _invalid("-", node.item)


def _call(node: Call, lookup: Lookup, scope: Scope) -> Result:
    arguments = [evaluate(argument, lookup, scope) for argument in node.arguments]
    known = [value for value in arguments if not isinstance(value, Unknown)]
    if len(known) < len(arguments):
        return _strict(arguments)
    try:
        return call(node.function, known, scope.now, scope.timezone)
    except Invalid:
        return _invalid(node.function, *node.arguments)


# -- lists and maps --------------------------------------------------------------------------


def _list(node: ListOf, lookup: Lookup, scope: Scope) -> Result:
    items = [evaluate(item, lookup, scope) for item in node.items]
    return _strict(items) or tuple(items)


def _map(node: MapOf, lookup: Lookup, scope: Scope) -> Result:
    keys = [evaluate(key, lookup, scope) for key, _ in node.entries]
    values = [evaluate(value, lookup, scope) for _, value in node.entries]
    unknown = _strict(keys + values)
    if unknown is not None:
        return unknown
    made = {key: value for key, value in zip(keys, values, strict=True) if isinstance(key, str)}
    return MappingProxyType(made) if len(made) == len(keys) else Unknown.of("{}", Why.INVALID)


def _select(node: Select, lookup: Lookup, scope: Scope) -> Result:
    operand = evaluate(node.operand, lookup, scope)
    if isinstance(operand, Unknown):
        return operand
    if not isinstance(operand, Mapping):
        return Unknown.of(node.field, Why.INVALID)
    value: Result = operand.get(node.field)
    return Unknown.of(node.field, Why.MISSING) if value is None else value


def _index(node: Index, lookup: Lookup, scope: Scope) -> Result:
    operand, key = evaluate(node.operand, lookup, scope), evaluate(node.key, lookup, scope)
    unknown = _strict((operand, key))
    if unknown is not None:
        return unknown
    if isinstance(operand, Mapping) and isinstance(key, str):
        return operand[key] if key in operand else Unknown.of(f"[{key}]", Why.MISSING)
    if isinstance(operand, tuple) and isinstance(key, (int, float)) and not isinstance(key, bool):
        return _item(operand, key)
    return _invalid("[]", node.operand)


def _item(items: tuple[Any, ...], position: float) -> Result:
    if 0 <= position < len(items) and position == int(position):
        found: Result = items[int(position)]
        return found
    return Unknown.of("[]", Why.INVALID)


# -- comprehensions --------------------------------------------------------------------------


def _comprehension(node: Comprehension, lookup: Lookup, scope: Scope) -> Result:
    """Over the members of a list, or the keys of a map."""
    over = evaluate(node.over, lookup, scope)
    if isinstance(over, Unknown):
        return over
    if not isinstance(over, (tuple, Mapping)):
        return _invalid(node.kind, node.over)
    scopes = [scope.bind(node.variable, item) for item in over]
    return _KINDS[node.kind](node, lookup, scopes)


def _quantified(node: Comprehension, lookup: Lookup, scopes: list[Scope], decides: bool) -> Result:
    unknown: Unknown | None = None
    for inner in scopes:
        value = evaluate(node.body, lookup, inner)
        if value is decides:
            return decides
        if not isinstance(value, bool):
            doubt = _doubt(value, node.kind)
            unknown = doubt if unknown is None else unknown | doubt
    return not decides if unknown is None else unknown


def _exists(node: Comprehension, lookup: Lookup, scopes: list[Scope]) -> Result:
    return _quantified(node, lookup, scopes, decides=True)


def _all(node: Comprehension, lookup: Lookup, scopes: list[Scope]) -> Result:
    return _quantified(node, lookup, scopes, decides=False)


def _exists_one(node: Comprehension, lookup: Lookup, scopes: list[Scope]) -> Result:
    chosen, doubts = _chosen(node, lookup, scopes)
    return _strict(doubts) or len(chosen) == 1  # one doubt leaves it open, as in CEL


def _chosen(node: Comprehension, lookup: Lookup, scopes: list[Scope]) -> tuple[list[Scope], list[Unknown]]:
    """The scopes for which the body is true, and why others are undecided."""
    chosen: list[Scope] = []
    doubts: list[Unknown] = []
    for inner in scopes:
        value = evaluate(node.body, lookup, inner)
        if value is True:
            chosen.append(inner)
        elif value is not False:
            doubts.append(_doubt(value, node.kind))
    return chosen, doubts


def _filter(node: Comprehension, lookup: Lookup, scopes: list[Scope]) -> Result:
    chosen, doubts = _chosen(node, lookup, scopes)
    return _strict(doubts) or tuple(inner.variables[node.variable] for inner in chosen)


def _mapped(node: Comprehension, lookup: Lookup, scopes: list[Scope]) -> Result:
    """`map(x, result)`, or `map(x, condition, result)`."""
    if node.result is None:
        values = [evaluate(node.body, lookup, inner) for inner in scopes]
        return _strict(values) or tuple(values)
    chosen, doubts = _chosen(node, lookup, scopes)
    values = [evaluate(node.result, lookup, inner) for inner in chosen]
    return _strict([*values, *doubts]) or tuple(values)


_KINDS: Mapping[str, Callable[[Comprehension, Lookup, list[Scope]], Result]] = MappingProxyType(
    {"exists": _exists, "all": _all, "exists_one": _exists_one, "filter": _filter, "map": _mapped}
)

_RULES: dict[type, Callable[[Any, Lookup, Scope], Result]] = {
    Literal: _literal,
    Attribute: _attribute,
    Variable: _variable,
    Select: _select,
    Index: _index,
    ListOf: _list,
    MapOf: _map,
    Has: _has,
    Not: _not,
    And: _and,
    Or: _or,
    Compare: _compare,
    Arithmetic: _arithmetic,
    Negate: _negate,
    Conditional: _conditional,
    Call: _call,
    Comprehension: _comprehension,
    Definitely: _definitely,
}
