"""Going through a condition tree: its children, all of its nodes, and the same tree with some of them changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from operator import is_not
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

__all__ = ["children", "nodes", "transformed"]

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


def transformed(node: Condition, change: Callable[[Condition, Condition], Condition]) -> Condition:
    """The tree with `change(rebuilt, before)` in the place of every node, children first.

    Where nothing below has changed, `rebuilt` is the very node that was there before.
    """
    before = children(node)
    if not before:
        return change(node, node)
    parts = tuple([transformed(part, change) for part in before])
    changed = any(map(is_not, parts, before))
    return change(_REBUILT[type(node)](node, parts) if changed else node, node)


# What has no children cannot have changed ones.
_REBUILT: Mapping[type, Callable[[Any, tuple[Condition, ...]], Condition]] = MappingProxyType(
    {
        Select: lambda node, parts: Select(parts[0], node.field),
        Index: lambda node, parts: Index(*parts),
        ListOf: lambda node, parts: ListOf(parts),
        MapOf: lambda node, parts: MapOf(tuple(zip(parts[::2], parts[1::2], strict=True))),
        Has: lambda node, parts: Has(parts[0]),
        Not: lambda node, parts: Not(parts[0]),
        And: lambda node, parts: And(parts),
        Or: lambda node, parts: Or(parts),
        Compare: lambda node, parts: Compare(node.op, *parts),
        Arithmetic: lambda node, parts: Arithmetic(node.op, *parts),
        Negate: lambda node, parts: Negate(parts[0]),
        Conditional: lambda node, parts: Conditional(*parts),
        Call: lambda node, parts: Call(node.function, parts),
        Comprehension: lambda node, parts: Comprehension(node.kind, parts[0], node.variable, *parts[1:]),
        Definitely: lambda node, parts: Definitely(parts[0]),
    }
)
