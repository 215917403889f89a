"""Write a condition as CEL: what a parser reads back as the same tree.

`Definitely`, which people cannot write, is printed as a call of that name so
that explanations can show it; it does not read back.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from types import MappingProxyType
from typing import Any

from spir.language.values.functions import FUNCTIONS
from spir.language.values.scalars import duration_text, timestamp_text
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

__all__ = ["conjunct_to_cel", "literal_text", "to_cel"]

# How tightly each kind of node binds; an operand that binds less tightly is put in brackets.
_TERNARY, _OR, _AND, _RELATION, _SUM, _PRODUCT, _UNARY, _MEMBER = range(8)


def to_cel(condition: Condition) -> str:
    """One line of CEL."""
    return _PRINTERS[type(condition)](condition)


def conjunct_to_cel(condition: Condition) -> str:
    """As it stands between two `&&`."""
    return _operand(condition, _RELATION)


def literal_text(value: Value) -> str:
    """A constant as CEL writes it. Times and durations become calls that read back as constants."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case int():
            return str(value)
        case float():
            return _double(value)
        case str():
            return _quoted(value)
        case bytes():
            return "b'" + "".join(f"\\x{byte:02x}" for byte in value) + "'"
        case datetime():
            return f'timestamp("{timestamp_text(value)}")'
        case timedelta():
            return f'duration("{duration_text(value)}")'
        case tuple():
            return f"[{', '.join(map(literal_text, value))}]"
        case _:
            entries = (f"{_quoted(str(key))}: {literal_text(item)}" for key, item in value.items())
            return "{" + ", ".join(entries) + "}"


def _double(value: float) -> str:
    """Digits that read back as the same number; what CEL has no digits for becomes a conversion."""
    if math.isnan(value) or math.isinf(value):
        return f'double("{value}")'
    text = repr(value)
    return text if re.search(r"[.e]", text) else f"{text}.0"


_ESCAPES: Mapping[str, str] = MappingProxyType({"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t"})


_PLAIN = re.compile(r"[ !#-\[\]-~]*")


def _quoted(text: str) -> str:
    if _PLAIN.fullmatch(text):
        return f'"{text}"'
    return '"' + "".join(_ESCAPES.get(letter) or _visible(letter) for letter in text) + '"'


def _visible(letter: str) -> str:
    return letter if letter.isprintable() else f"\\U{ord(letter):08x}"


# -- nodes -----------------------------------------------------------------------------------


_RANKS: Mapping[type, int] = MappingProxyType(
    {Conditional: _TERNARY, Or: _OR, And: _AND, Compare: _RELATION, Not: _UNARY, Negate: _UNARY, Attribute: _MEMBER}
)


def _rank(node: Condition) -> int:
    found = _RANKS.get(type(node))
    if found is not None:
        return found
    if isinstance(node, Arithmetic):
        return _SUM if node.op in "+-" else _PRODUCT
    if isinstance(node, Literal) and isinstance(node.value, (int, float)) and str(node.value).startswith("-"):
        return _UNARY  # a sign and a number
    return _MEMBER


def _operand(node: Condition, least: int) -> str:
    text = to_cel(node)
    return text if _rank(node) >= least else f"({text})"


def _binary(node: Compare | Arithmetic) -> str:
    rank = _rank(node)
    # Operators group to the left: an equal on the right needs brackets.
    return f"{_operand(node.left, rank)} {node.op} {_operand(node.right, rank + 1)}"


def _conditional(node: Conditional) -> str:
    yes = _operand(node.yes, _OR)
    return f"{_operand(node.test, _OR)} ? {yes} : {_operand(node.no, _TERNARY)}"


def _negate(node: Negate) -> str:
    # a sign before digits belongs to the number: what begins with digits needs brackets
    inner = _operand(node.item, _MEMBER)
    return f"-({inner})" if inner[:1].isdigit() else f"-{inner}"


_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*", re.ASCII)


def _select(node: Select) -> str:
    field = node.field if _NAME.fullmatch(node.field) else f"`{node.field}`"
    return f"{_operand(node.operand, _MEMBER)}.{field}"


def _call(node: Call) -> str:
    function = FUNCTIONS.get(node.function)
    if function is not None and function.receiver and node.arguments:
        receiver, *rest = node.arguments
        return f"{_operand(receiver, _MEMBER)}.{node.function}({_listed(rest)})"
    return f"{node.function}({_listed(node.arguments)})"


def _comprehension(node: Comprehension) -> str:
    parts = [node.variable, to_cel(node.body), *([] if node.result is None else [to_cel(node.result)])]
    return f"{_operand(node.over, _MEMBER)}.{node.kind}({', '.join(parts)})"


def _listed(items: list[Condition] | tuple[Condition, ...]) -> str:
    return ", ".join(map(to_cel, items))


def _map(node: MapOf) -> str:
    return "{" + ", ".join(f"{to_cel(key)}: {to_cel(value)}" for key, value in node.entries) + "}"


_PRINTERS: Mapping[type, Callable[[Any], str]] = MappingProxyType(
    {
        Literal: lambda node: literal_text(node.value),
        Attribute: lambda node: node.path,
        Variable: lambda node: node.name,
        Select: _select,
        Index: lambda node: f"{_operand(node.operand, _MEMBER)}[{to_cel(node.key)}]",
        ListOf: lambda node: f"[{_listed(node.items)}]",
        MapOf: _map,
        Has: lambda node: f"has({to_cel(node.operand)})",
        Not: lambda node: f"!{_operand(node.item, _UNARY)}",
        And: lambda node: " && ".join(map(conjunct_to_cel, node.items)),
        Or: lambda node: " || ".join([_operand(item, _AND) for item in node.items]),
        Compare: _binary,
        Arithmetic: _binary,
        Negate: _negate,
        Conditional: _conditional,
        Call: _call,
        Comprehension: _comprehension,
        Definitely: lambda node: f"definitely({to_cel(node.item)})",
    }
)
