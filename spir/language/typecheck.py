"""Whether a condition can mean anything: declared names, and operands of types that go together.

A type is written as in a vocabulary: string int double bool bytes timestamp
duration null map, `list<string>`; "" is a type that is not known, which goes
with everything. What is refused here would be unknown for every request.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Protocol

from spir.errors import ConditionError, Location
from spir.language.nearest import nearest
from spir.language.values.functions import FUNCTIONS
from spir.language.values.operators import type_of
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
from spir.model.value import Value

__all__ = ["Kind", "Where", "check_types", "element"]

Where = Callable[[Condition], Location | None]
Types = Mapping[str, str]

_NUMBERS = ("int", "double")
_NO_NAMES: Types = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class Kind:
    """What is declared of an attribute's values. `least` and `most` bound numbers, both inclusive."""

    type: str
    enum: tuple[str, ...] = ()
    least: float | None = None
    most: float | None = None


class Attributes(Protocol):
    def kind(self, path: str) -> Kind | None:
        """None if the attribute is not declared."""

    def hint(self, path: str) -> str:
        """What may have been meant."""


def check_types(condition: Condition, attributes: Attributes, where: Where) -> None:
    """Raises ConditionError if the condition names what is not declared, or can never be true or false."""
    found = _Checker(attributes, where).infer(condition, _NO_NAMES)
    if found not in ("", "bool"):
        raise ConditionError(
            f"a condition must be true or false, this is of type {found}",
            hint="compare it with something",
            location=where(condition),
        )


def element(type: str) -> str:
    """The type of a list's members, of a map's keys; "" if it is not known."""
    if type.startswith("list<"):
        return type[5:-1]
    return "string" if type == "map" else ""


def _together(one: str, other: str) -> bool:
    """Whether values of these types can be compared."""
    if not one or not other or one == other or (one in _NUMBERS and other in _NUMBERS):
        return True
    if one.startswith("list") and other.startswith("list"):
        return _together(element(one), element(other))
    return False


def _type_of(value: Value) -> str:
    if not isinstance(value, tuple):
        return type_of(value)
    members = {_type_of(member) for member in value}
    return f"list<{members.pop()}>" if len(members) == 1 else "list"


@dataclass(frozen=True, slots=True)
class _Checker:
    attributes: Attributes
    where: Where

    def refuse(self, node: Condition, message: str, hint: str = "") -> ConditionError:
        return ConditionError(message, hint=hint, location=self.where(node))

    def infer(self, node: Condition, names: Types) -> str:
        return _RULES[type(node)](self, node, names)

    # -- leaves --

    def literal(self, node: Literal, names: Types) -> str:
        return _type_of(node.value)

    def attribute(self, node: Attribute, names: Types) -> str:
        kind = self.attributes.kind(node.path)
        if kind is None:
            raise self.refuse(
                node, f"the attribute `{node.path[:80]}` is not declared", self.attributes.hint(node.path)
            )
        return kind.type

    def variable(self, node: Variable, names: Types) -> str:
        return names.get(node.name, "")

    # -- logic --

    def truth(self, node: Condition, names: Types, what: str) -> str:
        found = self.infer(node, names)
        if found not in ("", "bool"):
            raise self.refuse(node, f"{what} takes true or false, this is of type {found}")
        return "bool"

    def logic(self, node: And | Or, names: Types) -> str:
        for item in node.items:
            self.truth(item, names, "`&&`" if isinstance(node, And) else "`||`")
        return "bool"

    def negation(self, node: Not | Definitely, names: Types) -> str:
        return self.truth(node.item, names, "`!`")

    def conditional(self, node: Conditional, names: Types) -> str:
        self.truth(node.test, names, "`?`")
        yes, no = self.infer(node.yes, names), self.infer(node.no, names)
        return yes if yes == no else ""

    def has(self, node: Has, names: Types) -> str:
        self.infer(node.operand, names)
        return "bool"

    # -- comparing --

    def compare(self, node: Compare, names: Types) -> str:
        left, right = self.infer(node.left, names), self.infer(node.right, names)
        if node.op == "in":
            self.membership(node, left, right)
        else:
            self.comparison(node, left, right)
        if isinstance(node.left, Attribute) and isinstance(node.right, Literal):
            self.constants(node, node.left, node.right.value)
        elif isinstance(node.left, Literal) and isinstance(node.right, Attribute):
            self.constants(node, node.right, node.left.value)
        return "bool"

    def membership(self, node: Compare, left: str, right: str) -> None:
        if right and not right.startswith("list") and right != "map":
            raise self.refuse(node, f"`in` needs a list on its right, this is of type {right}", "write [a, b]")
        if not _together(left, element(right)):
            raise self.refuse(node, f"a {left} is never in a {right}")

    def comparison(self, node: Compare, left: str, right: str) -> None:
        if not _together(left, right):
            hint = ""
            for one, other in ((left, right), (right, left)):
                if one.startswith("list") and _together(element(one), other):
                    hint = "membership is written `value in list`"
            raise self.refuse(node, f"`{node.op}` cannot compare a {left} with a {right}", hint)
        if node.op not in ("==", "!=") and any(t.startswith("list") or t in ("map", "null") for t in (left, right)):
            raise self.refuse(node, f"`{node.op}` has no meaning for a {left or right}")

    def constants(self, node: Compare, attribute: Attribute, value: Value) -> None:
        """Constants that the attribute can never have."""
        kind = self.attributes.kind(attribute.path)
        if kind is None or node.op not in ("==", "!=", "in"):
            return
        for constant in value if isinstance(value, tuple) else (value,):
            if isinstance(constant, str) and kind.enum and constant not in kind.enum:
                near = nearest(constant, kind.enum)
                hint = f"did you mean `{near}`?" if near else f"known: {', '.join(kind.enum)}"
                raise self.refuse(node, f"`{attribute.path}` is never `{constant[:60]}`", hint)
            if isinstance(constant, (int, float)) and not isinstance(constant, bool) and not _inside(constant, kind):
                hint = f"it lies from {kind.least} to {kind.most}"
                raise self.refuse(node, f"`{attribute.path}` is never {constant}", hint)

    # -- calculating and calling --

    def arithmetic(self, node: Arithmetic, names: Types) -> str:
        left, right = self.infer(node.left, names), self.infer(node.right, names)
        if left in ("bool", "null", "map") or right in ("bool", "null", "map"):
            raise self.refuse(node, f"`{node.op}` has no meaning for a {left} and a {right}")
        return left if left == right and node.op != "-" else ""

    def negate(self, node: Negate, names: Types) -> str:
        return self.infer(node.item, names)

    def call(self, node: Call, names: Types) -> str:
        function = FUNCTIONS.get(node.function)
        if function is None:
            raise self.refuse(node, f"`{node.function[:60]}` is no function")
        for parameter, argument in zip(function.parameters, node.arguments, strict=False):
            found = self.infer(argument, names)
            if found and parameter.types and found.partition("<")[0] not in parameter.types:
                takes = " or ".join(parameter.types)
                raise self.refuse(
                    argument, f"`{parameter.name}` of `{function.name}` must be of type {takes}, this is a {found}"
                )
        return function.result

    # -- lists and maps --

    def list(self, node: ListOf, names: Types) -> str:
        members = {self.infer(item, names) for item in node.items}
        return f"list<{members.pop()}>" if len(members) == 1 and "" not in members else "list"

    def map(self, node: MapOf, names: Types) -> str:
        for key, value in node.entries:
            self.infer(key, names)
            self.infer(value, names)
        return "map"

    def select(self, node: Select, names: Types) -> str:
        found = self.infer(node.operand, names)
        if found not in ("", "map"):
            raise self.refuse(node, f"a {found} has no field `{node.field[:60]}`")
        return ""

    def index(self, node: Index, names: Types) -> str:
        operand = self.infer(node.operand, names)
        self.infer(node.key, names)
        if operand and operand != "map" and not operand.startswith("list"):
            raise self.refuse(node, f"a {operand} has no members")
        return element(operand) if operand.startswith("list") else ""

    def comprehension(self, node: Comprehension, names: Types) -> str:
        over = self.infer(node.over, names)
        if over and over != "map" and not over.startswith("list"):
            raise self.refuse(node, f"`{node.kind}` goes through a list, this is a {over}")
        inner = {**names, node.variable: element(over)}
        if node.kind == "map":
            return self.mapped(node, inner)
        self.truth(node.body, inner, f"`{node.kind}`")
        return over if node.kind == "filter" else "bool"

    def mapped(self, node: Comprehension, names: Types) -> str:
        if node.result is not None:
            self.truth(node.body, names, "`map`")
        found = self.infer(node.body if node.result is None else node.result, names)
        return f"list<{found}>" if found else "list"


def _inside(number: float, kind: Kind) -> bool:
    return (kind.least is None or kind.least <= number) and (kind.most is None or number <= kind.most)


_RULES: Mapping[type, Callable[[_Checker, Any, Types], str]] = MappingProxyType(
    {
        Literal: _Checker.literal,
        Attribute: _Checker.attribute,
        Variable: _Checker.variable,
        Select: _Checker.select,
        Index: _Checker.index,
        ListOf: _Checker.list,
        MapOf: _Checker.map,
        Has: _Checker.has,
        Not: _Checker.negation,
        And: _Checker.logic,
        Or: _Checker.logic,
        Compare: _Checker.compare,
        Arithmetic: _Checker.arithmetic,
        Negate: _Checker.negate,
        Conditional: _Checker.conditional,
        Call: _Checker.call,
        Comprehension: _Checker.comprehension,
        Definitely: _Checker.negation,
    }
)
