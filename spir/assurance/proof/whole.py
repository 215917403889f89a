"""Parts of conditions that are taken as a whole: which attributes they cannot do without, and when they are unknown.

A part that is `total` is true or false whenever the attributes it needs are
there with values of their declared types. Of any other part one must expect
that it is unknown even then: an overflow, a missing key, a text that is no time.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from spir.engine.evaluate import free_attributes
from spir.language.typecheck import element
from spir.language.values.functions import FUNCTIONS
from spir.language.values.operators import type_of
from spir.language.vocabulary import Vocabulary
from spir.language.walk import children
from spir.model.condition import (
    And,
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Comprehension,
    Condition,
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
from spir.model.value import Value

__all__ = ["needed", "total"]

Types = Mapping[str, str]

_NO_NAMES: Types = MappingProxyType({})
_STRICT = (Compare, Arithmetic, Negate, Call, ListOf, MapOf, Select, Index)
_NUMBERS = ("int", "double")
_SCALARS = ("string", "int", "double", "bool", "timestamp", "bytes", "duration")

# Functions that answer whatever values of the right types they get; `read` parameters must be good constants.
_TOTAL = frozenset(
    (
        *("size", "startsWith", "endsWith", "contains", "matches", "time.between", "within", "org.under"),
        *("terminology.matches", "getFullYear", "getMonth", "getDate", "getDayOfMonth", "getDayOfWeek"),
        *("getDayOfYear", "getHours", "getMinutes", "getSeconds", "getMilliseconds"),
    )
)


def needed(node: Condition) -> frozenset[str]:
    """The attributes without which it is surely unknown."""
    match node:
        case Attribute(path):
            return frozenset((path,))
        case Comprehension():
            return needed(node.over)
        case _ if isinstance(node, _STRICT):
            return frozenset().union(*map(needed, children(node)))
    return frozenset()


def total(node: Condition, vocabulary: Vocabulary) -> bool:
    """Whether it is true or false for all values of the attributes that it needs."""
    return _Sure(vocabulary).type(node, _NO_NAMES) == "bool"


def _constant(value: Value) -> str:
    if not isinstance(value, tuple):
        return type_of(value)
    members = {type_of(member) for member in value}
    return f"list<{members.pop()}>" if len(members) == 1 else ""


def _comparable(one: str, other: str) -> bool:
    return one in _SCALARS and (one == other or (one in _NUMBERS and other in _NUMBERS))


class _Sure:
    """Types of parts that always have a value of that type; "" for any other part."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        self.vocabulary = vocabulary

    def type(self, node: Condition, names: Types) -> str:
        rule = _RULES.get(type(node))
        return rule(self, node, names) if rule else ""

    def attribute(self, node: Attribute, names: Types) -> str:
        kind = self.vocabulary.kind(node.path)
        return kind.type if kind else ""

    def logic(self, node: And | Or | Not, names: Types) -> str:
        # an attribute that one side needs may be absent and the whole be decided by the other: no part to be sure of
        if free_attributes(node):
            return ""
        return "bool" if all(self.type(part, names) == "bool" for part in children(node)) else ""

    def compare(self, node: Compare, names: Types) -> str:
        left, right = self.type(node.left, names), self.type(node.right, names)
        if node.op == "in":
            among = _comparable(left, element(right)) or (left == "string" and right == "map")
            return "bool" if among else ""
        lists = element(left), element(right)
        alike = _comparable(left, right) or (node.op in ("==", "!=") and "" not in lists and _comparable(*lists))
        return "bool" if alike else ""

    def call(self, node: Call, names: Types) -> str:
        if node.function not in _TOTAL:
            return ""
        function = FUNCTIONS[node.function]
        for parameter, argument in zip(function.parameters, node.arguments, strict=False):
            found = self.type(argument, names).partition("<")[0]
            if not found or (parameter.types and found not in parameter.types):
                return ""
            good = isinstance(argument, Literal) and parameter.accepts(argument.value)
            if parameter.read and found != "timestamp" and not good:
                return ""
        return function.result

    def comprehension(self, node: Comprehension, names: Types) -> str:
        over = self.type(node.over, names)
        if not element(over) or node.kind not in ("exists", "all", "exists_one") or free_attributes(node.body):
            return ""
        return self.type(node.body, {**names, node.variable: element(over)})


_RULES: Mapping[type, Callable[[_Sure, Any, Types], str]] = MappingProxyType(
    {
        Literal: lambda sure, node, names: _constant(node.value),
        Attribute: _Sure.attribute,
        Variable: lambda sure, node, names: names.get(node.name, ""),
        And: _Sure.logic,
        Or: _Sure.logic,
        Not: _Sure.logic,
        Has: lambda sure, node, names: "bool" if isinstance(node.operand, Attribute) else "",
        Compare: _Sure.compare,
        Call: _Sure.call,
        Comprehension: _Sure.comprehension,
    }
)
