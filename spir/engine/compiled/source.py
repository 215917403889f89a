"""Conditions as Python functions.

The text of a function says only how a condition is built: its operators and
the number of its constants. Constants, names of attributes and functions come
in as members of an argument, so nothing that an author or a stranger has
written is ever a part of what Python compiles, and conditions of one build
are compiled once.

The functions are optimistic. What they say is right; where a value that they
come upon is unknown, or of a type that the operator is not meant for, they
raise `Invalid`, and the caller asks the interpreter, which knows what else it
can mean. What `has` guards, or an operand before it decides, they do not come
upon.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import tzinfo
from functools import lru_cache
from types import CodeType, FunctionType, MappingProxyType
from typing import Any, TypeAlias, TypeGuard

from spir.engine.evaluate import free_attributes
from spir.language.values.functions import FUNCTIONS, call
from spir.language.values.operators import ARITHMETIC, COMPARISONS, Invalid, negate
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
    ListOf,
    Literal,
    Negate,
    Not,
    Or,
    Variable,
)
from spir.model.value import Unknown, Value, Why

__all__ = ["Draft", "Unwritable", "made", "written"]

# All that generated source can name beside its own arguments. They are globals, and there are no builtins behind them:
# Python finds what stands in a plain dict ten times faster than what it has to ask a proxy for.
_GLOBALS: dict[str, Any] = {
    "__builtins__": MappingProxyType({}),
    **{name: getattr(builtins, name) for name in ("all", "any", "bool", "bytes", "float", "int", "str", "tuple")},
}

# Nobody may wait for long while a function is compiled: a junction with more in it becomes functions of so much each,
# and those that are built alike are compiled once.
MAX_NODES = 48

# Python's own parser takes fewer nested brackets than our trees may have levels.
MAX_DEPTH = 24


class Unwritable(Exception):
    """The condition has a node that has no source here. Never leaves the compiler."""


class Draft:
    """The constants of a function in the making: the members of `K`, its last argument."""

    def __init__(self) -> None:
        self.constants: list[Any] = []

    def constant(self, value: Any) -> str:
        self.constants.append(value)
        return f"K[{len(self.constants) - 1}]"


def made(arguments: str, lines: Iterable[str], constants: Iterable[Any]) -> Callable[..., Any]:
    """The function of these arguments and lines, with K[0], K[1] ... standing for the constants.

    All functions of one build share its code, so that it is where the processor looks for it.
    """
    body = "\n".join(f"    {line}" for line in lines)
    head = f"{arguments}, K" if arguments else "K"
    return FunctionType(_code(f"def made({head}):\n{body}"), _GLOBALS, argdefs=(tuple(constants),))


@lru_cache(maxsize=4096)
def _code(source: str) -> CodeType:
    module = compile(source, "<condition>", "exec")
    return next(found for found in module.co_consts if isinstance(found, CodeType))


def written(condition: Condition, names: Mapping[str, str], draft: Draft, clock: Clock | None = None) -> str:
    """An expression that is True or False, or raises Invalid. Raises Unwritable.

    `names` maps each attribute path to the Python name that holds its value, or
    the Unknown that stands for it. Without a `clock`, functions that look at one
    cannot be written.
    """
    return _Writer(names, draft, clock).truth(condition, 0)


Clock: TypeAlias = tuple[str, tzinfo]  # the name of the moment of decision, and the site's zone
Written: TypeAlias = tuple[str, bool]  # the expression, and whether it is surely True or False


class _Writer:
    def __init__(self, names: Mapping[str, str], draft: Draft, clock: Clock | None) -> None:
        self.names = names
        self.draft = draft
        self.clock = clock
        self.variables: dict[str, str] = {}
        self.bound = 0

    def truth(self, node: Condition, depth: int) -> str:
        text, sure = self.write(node, depth)
        return text if sure else f"{self.draft.constant(_truth)}({text})"

    def write(self, node: Condition, depth: int) -> Written:
        rule = _RULES.get(type(node))
        if rule is None or depth > MAX_DEPTH:
            raise Unwritable
        return rule(self, node, depth + 1)

    def text(self, node: Condition, depth: int) -> str:
        """For Python's own operators, under a test of types that no Unknown passes."""
        return self.write(node, depth)[0]

    def known(self, node: Condition, depth: int) -> str:
        """For functions, which take values only."""
        return self.sure(node, self.text(node, depth))

    def sure(self, node: Condition, text: str) -> str:
        return f"{self.draft.constant(_known)}({text})" if isinstance(node, Attribute) else text

    def literal(self, node: Literal, depth: int) -> Written:
        if node.value is True or node.value is False:
            return repr(node.value), True
        return self.draft.constant(node.value), False

    def attribute(self, node: Attribute, depth: int) -> Written:
        return self.names[node.path], False

    def variable(self, node: Variable, depth: int) -> Written:
        if node.name not in self.variables:
            raise Unwritable
        return self.variables[node.name], False

    def has(self, node: Has, depth: int) -> Written:
        if not isinstance(node.operand, Attribute):
            raise Unwritable
        return self.is_known(self.names[node.operand.path], _is_there), True

    def is_known(self, name: str, otherwise: Callable[[Unknown], bool]) -> str:
        return f"({name}.__class__ is not {self.draft.constant(Unknown)} or {self.draft.constant(otherwise)}({name}))"

    def negation(self, node: Not, depth: int) -> Written:
        return f"(not {self.truth(node.item, depth)})", True

    def definitely(self, node: Definitely, depth: int) -> Written:
        """An atom is surely not true while what it looks at has no value: no need to find that out by an error."""
        truth = self.truth(node.item, depth)
        if not _is_atom(node.item):
            return truth, True
        known = (self.is_known(self.names[path], _is_sure) for path in sorted(free_attributes(node.item)))
        return f"({' and '.join((*known, truth))})", True

    def conjunction(self, node: And, depth: int) -> Written:
        return f"({' and '.join(self.members(node, depth)) or 'True'})", True

    def disjunction(self, node: Or, depth: int) -> Written:
        return f"({' or '.join(self.members(node, depth)) or 'False'})", True

    def members(self, node: And | Or, depth: int) -> list[str]:
        """The members, or, where there are too many, groups of them."""
        if _size(node) <= MAX_NODES:
            return [self.truth(item, depth) for item in node.items]
        return [self.apart(group, depth) for group in _groups(node)]

    def apart(self, node: Condition, depth: int) -> str:
        """A call of a function of its own, which is given the values that the node looks at."""
        names = {path: f"a{number}" for number, path in enumerate(sorted(free_attributes(node)))}
        writer = _Writer(names, Draft(), self.clock)
        writer.variables, writer.bound = self.variables, self.bound
        answer = writer.truth(node, depth)
        around = (*self.variables.values(), *(self.clock or ())[:1])
        function = made(", ".join((*names.values(), *around)), [f"return {answer}"], writer.draft.constants)
        return f"{self.draft.constant(function)}({', '.join((*map(self.names.__getitem__, names), *around))})"

    def conditional(self, node: Conditional, depth: int) -> Written:
        test = self.truth(node.test, depth)
        (yes, sure), (no, also) = self.write(node.yes, depth), self.write(node.no, depth)
        # INVARIANT: what comes out of it is a value, as of all nodes but an attribute itself
        return f"({self.sure(node.yes, yes)} if {test} else {self.sure(node.no, no)})", sure and also

    def compare(self, node: Compare, depth: int) -> Written:
        if node.op not in COMPARISONS:
            raise Unwritable
        left, right = self.text(node.left, depth), self.text(node.right, depth)
        values = f"{self.sure(node.left, left)}, {self.sure(node.right, right)}"
        slow = f"{self.draft.constant(COMPARISONS[node.op])}({values})"
        fast = self.membership(node, left, right) if node.op == "in" else self.comparison(node, left, right)
        return (f"({fast} else {slow})" if fast else slow), True

    def comparison(self, node: Compare, left: str, right: str) -> str | None:
        """Python's own operator under a test of types that makes it mean the same; None if there is none as cheap."""
        match node.left, node.right:
            case ((Attribute() | Variable()), (Attribute() | Variable())):
                test = f"{left}.__class__ is {right}.__class__ is str"
            case ((Attribute() | Variable()), Literal(value)) if type(value) in _PLAIN:
                test = f"{left}.__class__ is {type(value).__name__}"
            case (Literal(value), (Attribute() | Variable())) if type(value) in _PLAIN:
                test = f"{right}.__class__ is {type(value).__name__}"
            case _:
                return None
        return f"{left} {node.op} {right} if {test}"

    def membership(self, node: Compare, left: str, right: str) -> str | None:
        """The same for `in`. What is not found in a list may still be of a type that cannot be compared."""
        match node.left, node.right:
            case ((Attribute() | Variable()), Literal(value)) if _all_text(value):
                return f"{left} in {self.draft.constant(frozenset(value))} if {left}.__class__ is str"
            case ((Attribute() | Variable()), (Attribute() | Variable())):
                test = f"{left}.__class__ is str and {right}.__class__ is tuple"
            case Literal(str()), (Attribute() | Variable()):
                test = f"{right}.__class__ is tuple"
            case _:
                return None
        return f"True if {test} and {left} in {right}"

    def arithmetic(self, node: Arithmetic, depth: int) -> Written:
        left, right = self.known(node.left, depth), self.known(node.right, depth)
        return f"{self.draft.constant(ARITHMETIC[node.op])}({left}, {right})", False

    def minus(self, node: Negate, depth: int) -> Written:
        return f"{self.draft.constant(negate)}({self.known(node.item, depth)})", False

    def list_of(self, node: ListOf, depth: int) -> Written:
        return f"({''.join(f'{self.known(item, depth)}, ' for item in node.items)})", False

    def call(self, node: Call, depth: int) -> Written:
        function = FUNCTIONS.get(node.function)
        if function is None or (function.clock and self.clock is None):
            raise Unwritable
        now, zone = self.clock or ("None", None)
        arguments = "".join(f"{self.known(argument, depth)}, " for argument in node.arguments)
        constant = self.draft.constant
        called = f"{constant(call)}({constant(node.function)}, ({arguments}), {now}, {constant(zone)})"
        return called, function.result == "bool"

    def comprehension(self, node: Comprehension, depth: int) -> Written:
        if node.kind not in ("exists", "all"):
            raise Unwritable
        over = f"{self.draft.constant(_members)}({self.known(node.over, depth)})"
        outer, name = self.variables, f"x{self.bound}"
        self.bound += 1
        self.variables = {**outer, node.variable: name}
        body = self.truth(node.body, depth)
        self.variables = outer
        return f"{'any' if node.kind == 'exists' else 'all'}({body} for {name} in {over})", True


def _size(node: Condition) -> int:
    return sum(1 for _ in nodes(node))


def _groups(node: And | Or) -> Iterator[Condition]:
    """The members in groups, each of them small unless a single member is large."""
    group: list[Condition] = []
    total = 0
    for item in node.items:
        size = _size(item)
        if group and total + size > MAX_NODES:
            yield _together(node, group)
            group, total = [], 0
        group.append(item)
        total += size
    yield _together(node, group)


def _together(node: And | Or, group: list[Condition]) -> Condition:
    return group[0] if len(group) == 1 else type(node)(tuple(group))


_PLAIN = frozenset((bool, int, float, str))


def _all_text(value: Value) -> TypeGuard[tuple[str, ...]]:
    return isinstance(value, tuple) and all(type(member) is str for member in value)


def _is_atom(node: Condition) -> bool:
    match node:
        case Not(item):
            return _is_atom(item)
        case Compare(_, left, right):
            return all(isinstance(side, (Attribute, Literal)) for side in (left, right))
    return isinstance(node, Attribute)


def _known(value: Value | Unknown) -> Value:
    if isinstance(value, Unknown):
        raise Invalid
    return value


def _is_there(unknown: Unknown) -> bool:
    """`has` of what has no value."""
    for lack in unknown.lacks:
        if lack.why is not Why.MISSING:
            raise Invalid
    return False


def _is_sure(unknown: Unknown) -> bool:
    """`definitely` of an atom whose attribute has no value."""
    if unknown.deferred:
        raise Invalid
    return False


def _truth(value: Value) -> bool:
    if value is True or value is False:
        return value
    raise Invalid


def _members(value: Value) -> Any:
    if isinstance(value, (tuple, Mapping)):
        return value
    raise Invalid


_RULES: Mapping[type, Callable[[_Writer, Any, int], Written]] = MappingProxyType(
    {
        Literal: _Writer.literal,
        Attribute: _Writer.attribute,
        Variable: _Writer.variable,
        Has: _Writer.has,
        Not: _Writer.negation,
        Definitely: _Writer.definitely,
        And: _Writer.conjunction,
        Or: _Writer.disjunction,
        Conditional: _Writer.conditional,
        Compare: _Writer.compare,
        Arithmetic: _Writer.arithmetic,
        Negate: _Writer.minus,
        ListOf: _Writer.list_of,
        Call: _Writer.call,
        Comprehension: _Writer.comprehension,
    }
)
