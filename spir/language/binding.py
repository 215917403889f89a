"""Parameters inside a condition: `parameters.dept` is one node of the tree, and a value takes its place.

Never text: what a person gives for a parameter becomes a literal after the
template was parsed, so no quote or operator in it can mean anything. What the
parser works out of constants (lists, times, the form of a function's
arguments) is worked out here once more, for constants that came later.

A parameter cannot name an attribute (`resource.patient[parameters.x]`): which
attributes a template reads is for its author alone to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from types import MappingProxyType
from typing import Protocol

from spir.errors import ConditionError, Location
from spir.language.nearest import suggestion
from spir.language.typecheck import Kind, Where, check_types
from spir.language.values.functions import FUNCTIONS, call
from spir.language.values.operators import COMPARISONS, Invalid
from spir.language.values.scalars import EPOCH
from spir.language.walk import nodes, transformed
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
    Has,
    Index,
    ListOf,
    Literal,
    MapOf,
    Not,
    Or,
    Select,
    Variable,
    both,
    either,
)
from spir.model.value import Value

__all__ = ["PARAMETERS", "Names", "Scope", "bound", "lifted", "named"]

PARAMETERS = "parameters"
_PREFIX = f"{PARAMETERS}."


class Names(Protocol):
    """What a vocabulary knows of the names in conditions."""

    @property
    def short(self) -> Mapping[str, str]: ...

    def kind(self, path: str) -> Kind | None: ...

    def hint(self, path: str) -> str: ...

    def similar(self, name: str) -> str | None: ...


@dataclass(frozen=True, slots=True)
class Scope:
    """The vocabulary of a template: the site's, and its parameters with their types. For the parsers."""

    vocabulary: Names
    parameters: Mapping[str, Kind]

    @property
    def short(self) -> Mapping[str, str]:
        return self.vocabulary.short

    def kind(self, path: str) -> Kind | None:
        if path.startswith(_PREFIX):
            return self.parameters.get(path.removeprefix(_PREFIX))
        return self.vocabulary.kind(path)

    def hint(self, path: str) -> str:
        if path.startswith(_PREFIX):
            return suggestion(path.removeprefix(_PREFIX), self.parameters) or "the template has no `parameters`"
        return self.vocabulary.hint(path)

    def similar(self, name: str) -> str | None:
        return f"{_PREFIX}{name}" if name in self.parameters else self.vocabulary.similar(name)

    def check(self, condition: Condition, where: Where = lambda node: None) -> None:
        """Raises ConditionError for what is not declared, what never goes together, and parameters used as names."""
        places: dict[int, tuple[Condition, Condition]] = {}

        def note(made: Condition, before: Condition) -> None:
            places[id(made)] = made, before

        def place(node: Condition) -> Location | None:
            return where(places[id(node)][1] if id(node) in places else node)

        tree = _lifted(condition, note)
        for node in nodes(tree):
            _check_use(node, self, place)
        check_types(tree, self, place)


def lifted(condition: Condition) -> Condition:
    """The condition as the parser gives it, with one node for each mention of a parameter."""
    return _lifted(condition, lambda made, before: None)


def named(condition: Condition) -> frozenset[str]:
    """The parameters that a lifted condition mentions."""
    paths = (node.path for node in nodes(condition) if isinstance(node, Attribute))
    return frozenset(path.removeprefix(_PREFIX) for path in paths if path.startswith(_PREFIX))


def _lifted(condition: Condition, note: Callable[[Condition, Condition], None]) -> Condition:
    def change(node: Condition, before: Condition) -> Condition:
        if isinstance(node, Select) and node.operand == Variable(PARAMETERS):
            node = Attribute(f"{_PREFIX}{node.field}")
        if node is not before:
            note(node, before)
        return node

    return transformed(condition, change)


def _check_use(node: Condition, scope: Scope, place: Where) -> None:
    match node:
        case Variable(name) if name == PARAMETERS:
            problem, hint = "`parameters` is not a value itself", "write parameters. and the name of one"
        case Attribute(path) if path.startswith(_PREFIX) and scope.kind(path) is None:
            problem, hint = f"there is no parameter `{path.removeprefix(_PREFIX)[:60]}`", scope.hint(path)
        case Has(Attribute(path)) if path.startswith(_PREFIX):
            problem, hint = "a parameter always has a value", "give it a default, and compare with that"
        case Comprehension(variable=name) if name == PARAMETERS:
            problem, hint = "`parameters` cannot name what a loop goes through", "take another name"
        case Index(operand, key) if _is_attribute(operand) and _may_name(key, scope):
            problem, hint = "a parameter cannot name an attribute", "write the attribute's name"
        case _:
            return
    raise ConditionError(problem, hint=hint, location=place(node))


def _is_attribute(node: Condition) -> bool:
    return isinstance(node, Attribute) and not node.path.startswith(_PREFIX)


def _may_name(key: Condition, scope: Scope) -> bool:
    return any(scope.kind(f"{_PREFIX}{name}") not in (None, Kind("int")) for name in named(key))


# -- values in their places ------------------------------------------------------------------


def bound(condition: Condition, values: Mapping[str, Literal], place: Where = lambda node: None) -> Condition:
    """A lifted condition with a literal for each parameter, and constants worked out as the parser would.

    `place` gives the place of one of these literals. Raises ConditionError where
    a function cannot take a value.
    """

    def change(node: Condition, before: Condition) -> Condition:
        if isinstance(node, Attribute) and node.path.startswith(_PREFIX):
            return values[node.path.removeprefix(_PREFIX)]
        return node if node is before else _FOLDS.get(type(node), _itself)(node, place)

    return transformed(condition, change)


def _itself(node: Condition, place: Where) -> Condition:
    return node


def _list(node: ListOf, place: Where) -> Condition:
    values = tuple(item.value for item in node.items if isinstance(item, Literal))
    return Literal(values) if len(values) == len(node.items) else node


def _map(node: MapOf, place: Where) -> Condition:
    entries: dict[str, Value] = {}
    for key, value in node.entries:
        if isinstance(key, Literal) and isinstance(key.value, str) and isinstance(value, Literal):
            entries[key.value] = value.value
    return Literal(MappingProxyType(entries)) if len(entries) == len(node.entries) else node


def _call(node: Call, place: Where) -> Condition:
    """A time or a duration becomes a literal; of other functions only the form of the arguments is looked at."""
    function = FUNCTIONS[node.function]
    for parameter, argument in zip(function.parameters, node.arguments, strict=False):
        if isinstance(argument, Literal) and not parameter.accepts(argument.value):
            form = parameter.form or f"of type {' or '.join(parameter.types)}"
            problem = f"`{parameter.name}` of `{function.name}` must be {form}"
            raise ConditionError(problem, location=place(argument))
    values = [argument.value for argument in node.arguments if isinstance(argument, Literal)]
    if len(values) < len(node.arguments):
        return node
    try:
        value = call(node.function, values, EPOCH, UTC)
    except Invalid as error:
        problem = f"this `{function.name}` never has a value"
        raise ConditionError(problem, location=place(node.arguments[-1])) from error
    return Literal(value) if node.function in ("timestamp", "duration") else node


def _compare(node: Compare, place: Where) -> Condition:
    """Constants against each other, as in `parameters.mode == "strict"`."""
    if isinstance(node.left, Literal) and isinstance(node.right, Literal):
        try:
            return TRUE if COMPARISONS[node.op](node.left.value, node.right.value) else FALSE
        except Invalid:
            return node  # the types are checked afterwards, with a place
    return node


def _not(node: Not, place: Where) -> Condition:
    return {TRUE: FALSE, FALSE: TRUE}.get(node.item, node) if isinstance(node.item, Literal) else node


def _logic(node: And | Or, place: Where) -> Condition:
    return (both if isinstance(node, And) else either)(*node.items)


def _conditional(node: Conditional, place: Where) -> Condition:
    match node.test:
        case Literal(True):
            return node.yes
        case Literal(False):
            return node.no
        case _:
            return node


_FOLDS: Mapping[type, Callable[..., Condition]] = MappingProxyType(
    {
        ListOf: _list,
        MapOf: _map,
        Call: _call,
        Compare: _compare,
        Not: _not,
        And: _logic,
        Or: _logic,
        Conditional: _conditional,
    }
)
