"""Going through a condition tree: its children, and all of its nodes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any

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

__all__ = ["children", "nodes"]

_CHILDREN: Mapping[type, Callable[[Any], tuple[Condition, ...]]] = MappingProxyType(
    {
        Literal: lambda node: (),
        Attribute: lambda node: (),
        Variable: lambda node: (),
        Select: lambda node: (node.operand,),
        Index: lambda node: (node.operand, node.key),
        ListOf: lambda node: node.items,
        MapOf: lambda node: tuple(part for entry in node.entries for part in entry),
        Has: lambda node: (node.operand,),
        Not: lambda node: (node.item,),
        And: lambda node: node.items,
        Or: lambda node: node.items,
        Compare: lambda node: (node.left, node.right),
        Arithmetic: lambda node: (node.left, node.right),
        Negate: lambda node: (node.item,),
        Conditional: lambda node: (node.test, node.yes, node.no),
        Call: lambda node: node.arguments,
        Comprehension: lambda node: (node.over, node.body, *(() if node.result is None else (node.result,))),
        Definitely: lambda node: (node.item,),
    }
)


def children(node: Condition) -> tuple[Condition, ...]:
    """The nodes directly below, in the order they are written."""
    return _CHILDREN[type(node)](node)


def nodes(condition: Condition) -> Iterator[Condition]:
    """The condition and everything below it, parents first. Safe at any depth."""
    waiting = [condition]
    while waiting:
        node = waiting.pop()
        yield node
        waiting.extend(reversed(children(node)))
