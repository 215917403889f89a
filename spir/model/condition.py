"""The condition tree: one tree, whatever language it was written in.

Nodes are values: frozen, hashable, compared by content. A node knows nothing
of how it is evaluated, printed or pushed down; those are functions elsewhere.

Truth is three-valued (strong Kleene). `Definitely` is the one node people
cannot write: it turns unknown into false once no data is left to come, which
is how "unknown does not grant" and "unknown in a deny denies" are expressed
inside one formula (see `spir.engine.formula`).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from operator import attrgetter
from types import MappingProxyType
from typing import TypeAlias, get_args

from spir.model.value import Value

__all__ = [
    "FALSE",
    "TRUE",
    "And",
    "Arithmetic",
    "Attribute",
    "Call",
    "Compare",
    "Comprehension",
    "Condition",
    "Conditional",
    "Definitely",
    "Has",
    "Index",
    "ListOf",
    "Literal",
    "MapOf",
    "Negate",
    "Not",
    "Or",
    "Select",
    "Variable",
    "both",
    "either",
    "negated",
]


class _Node:
    """Hashes are worked out once: trees are joined, compared and looked up far more often than built."""

    __slots__ = ("_hash",)
    __match_args__: tuple[str, ...] = ()

    _hash: int

    def _content(self) -> object:
        return _PARTS[type(self)](self)

    def _hash_once(self) -> int:
        try:
            return self._hash
        except AttributeError:
            object.__setattr__(self, "_hash", hash((type(self), self._content())))
            return self._hash


_SCALARS: Mapping[type, str] = MappingProxyType(
    {kind: kind.__name__ for kind in (bool, int, float, str, bytes, type(None))}
)


def _kind(value: Value) -> str:
    if isinstance(value, tuple):
        return f"({','.join([_SCALARS.get(item.__class__) or _kind(item) for item in value])})"
    if isinstance(value, Mapping):
        return f"{{{','.join(f'{key!r}:{_kind(value[key])}' for key in sorted(value))}}}"
    return type(value).__name__


@dataclass(frozen=True, slots=True)
class Literal(_Node):
    """A constant. Lists and maps of constants are folded into one literal by the parsers.

    `kind` keeps values apart that Python holds equal: True == 1 == 1.0.
    """

    value: Value
    kind: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "kind", _SCALARS.get(self.value.__class__) or _kind(self.value))

    def _content(self) -> object:
        # INVARIANT: equal literals hash alike; a map has no hash of its own, its kind has
        return self.kind if "{" in self.kind else (self.kind, self.value)

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Attribute(_Node):
    """An attribute of the request by its full dotted path: `resource.patient.care_team`.

    The first name is one of subject, resource, action, context.
    """

    path: str

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Variable(_Node):
    """A name bound by an enclosing comprehension."""

    name: str

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Select(_Node):
    """`operand.field` where the operand is not an attribute path (a variable, a map)."""

    operand: Condition
    field: str

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Index(_Node):
    """`operand[key]`: a list by position or a map by key."""

    operand: Condition
    key: Condition

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class ListOf(_Node):
    items: tuple[Condition, ...]

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class MapOf(_Node):
    entries: tuple[tuple[Condition, Condition], ...]

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Has(_Node):
    """`has(x)`: always decided unless deferred. The operand is Attribute, Select or Index."""

    operand: Condition

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Not(_Node):
    item: Condition

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class And(_Node):
    items: tuple[Condition, ...]

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Or(_Node):
    items: tuple[Condition, ...]

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Compare(_Node):
    """`op` is one of == != < <= > >= in."""

    op: str
    left: Condition
    right: Condition

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Arithmetic(_Node):
    """`op` is one of + - * / %; + also joins text, bytes and lists."""

    op: str
    left: Condition
    right: Condition

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Negate(_Node):
    """Unary minus."""

    item: Condition

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Conditional(_Node):
    """`test ? yes : no`."""

    test: Condition
    yes: Condition
    no: Condition

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Call(_Node):
    """A function by its canonical name (`size`, `startsWith`, `time.between`, `within` ...).

    The receiver of a method call is the first argument.
    """

    function: str
    arguments: tuple[Condition, ...]

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Comprehension(_Node):
    """`over.kind(variable, body[, result])`; kind is one of exists all exists_one filter map."""

    kind: str
    over: Condition
    variable: str
    body: Condition
    result: Condition | None = None

    __hash__ = _Node._hash_once


@dataclass(frozen=True, slots=True)
class Definitely(_Node):
    """True where the item is surely true; unknown while deferred data could make it so; else false."""

    item: Condition

    __hash__ = _Node._hash_once


Condition: TypeAlias = (
    Literal
    | Attribute
    | Variable
    | Select
    | Index
    | ListOf
    | MapOf
    | Has
    | Not
    | And
    | Or
    | Compare
    | Arithmetic
    | Negate
    | Conditional
    | Call
    | Comprehension
    | Definitely
)

_PARTS: Mapping[type, Callable[[_Node], object]] = MappingProxyType(
    {kind: attrgetter(*kind.__match_args__) for kind in get_args(Condition)}
)

TRUE = Literal(True)
FALSE = Literal(False)


def both(*items: Condition) -> Condition:
    """Conjunction, flattened, without the neutral element and without repeats; `TRUE` for none."""
    return _join(items, And, neutral=TRUE, absorbing=FALSE)


def either(*items: Condition) -> Condition:
    """Disjunction, flattened, without the neutral element and without repeats; `FALSE` for none."""
    return _join(items, Or, neutral=FALSE, absorbing=TRUE)


def negated(item: Condition) -> Condition:
    """Negation; constants are folded and double negation is removed (both hold for Kleene logic)."""
    if item == TRUE:
        return FALSE
    if item == FALSE:
        return TRUE
    return item.item if isinstance(item, Not) else Not(item)


def _join(items: tuple[Condition, ...], node: type[And] | type[Or], neutral: Literal, absorbing: Literal) -> Condition:
    flat: dict[Condition, None] = {}
    for item in items:
        for part in item.items if isinstance(item, node) else (item,):
            if part.__class__ is Literal:  # the neutral and the absorbing element are; most parts are not
                if part == absorbing:
                    return absorbing
                if part == neutral:
                    continue
            flat[part] = None
    parts = tuple(flat)
    if not parts:
        return neutral
    return parts[0] if len(parts) == 1 else node(parts)
