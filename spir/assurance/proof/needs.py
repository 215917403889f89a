"""Which attributes a part of a condition cannot be decided without.

An operation that needs all of its operands is unknown where one of them is
absent (`spir.engine.evaluate`). A part that is taken as a whole is therefore
present only where its operands are; where these are compared and nothing else
is done to them, it is present exactly there.
"""

from __future__ import annotations

from spir.language.walk import children
from spir.model.condition import (
    Arithmetic,
    Attribute,
    Call,
    Compare,
    Comprehension,
    Condition,
    Index,
    ListOf,
    Literal,
    MapOf,
    Negate,
    Not,
    Select,
)

__all__ = ["needs"]

# Unknown where an operand is. `Not` is of one operand; `&&` and `||` can be decided by the other.
_STRICT = (Compare, Arithmetic, Negate, Not, Call, ListOf, MapOf, Index, Select)


def needs(node: Condition) -> tuple[frozenset[str], bool]:
    """Paths without any of which it is unknown; True if, for values of the declared types, it is known with them."""
    return frozenset(_paths(node)), _always_known(node)


def _paths(node: Condition) -> set[str]:
    if isinstance(node, Attribute):
        return {node.path}
    if isinstance(node, Comprehension):
        return _paths(node.over)
    if isinstance(node, _STRICT):
        return {path for child in children(node) for path in _paths(child)}
    return set()


def _always_known(node: Condition) -> bool:
    match node:
        case Not(item):
            return _always_known(item)
        case Compare("==" | "!=" | "in", left, right):
            return all(isinstance(side, (Attribute, Literal)) for side in (left, right))
    return isinstance(node, Attribute)
