"""Partial evaluation: what is left of a formula when a part of the attributes is known.

Three steps, each exact for strong Kleene logic:

1. `Definitely` is pushed to the leaves: a conjunction is surely true when all
   parts are, a disjunction when one is, a negation is pushed inwards first.
2. A leaf that does not depend on deferred data is decided; the known parts of
   the others are replaced by their values (`settle`).
3. The rest is read as a disjunction of conjunctions of atoms, for adapters to
   push into their queries (`clauses`). Conditions on facts of a deferred
   patient become lists of patient ids by reverse look-up. Where a leaf has no
   atom, or there would be too many clauses, a clause says less than the
   condition and is marked inexact; it never says more.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import product
from types import MappingProxyType
from typing import Any, TypeAlias

from spir.engine.clauses import simplified
from spir.engine.evaluate import Scope, evaluate
from spir.model.condition import (
    FALSE,
    TRUE,
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
    both,
    either,
    negated,
)
from spir.model.decision import Atom, Clause
from spir.model.facts import View
from spir.model.value import Unknown, Value

__all__ = ["MAX_CLAUSES", "clauses", "settle"]

MAX_CLAUSES = 64

Lookup: TypeAlias = Callable[[str], Value | Unknown]

FLIPPED = {"==": "==", "!=": "!=", "<": ">", "<=": ">=", ">": "<", ">=": "<="}
OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


# -- partial evaluation ----------------------------------------------------------------------


def settle(formula: Condition, lookup: Lookup, scope: Scope) -> Condition:
    """`formula` with everything decided that can be. `TRUE` or `FALSE` if nothing is left.

    The formula is two-valued but for deferred data: a tree of And, Or, Not over `Definitely`.
    """
    match formula:
        case And(items):
            return both(*(settle(item, lookup, scope) for item in items))
        case Or(items):
            return either(*(settle(item, lookup, scope) for item in items))
        case Not(item):
            return negated(settle(item, lookup, scope))
        case Definitely(item):
            return _surely(item, True, lookup, scope)
        case _:
            return _leaf(formula, lookup, scope)


def _surely(item: Condition, positive: bool, lookup: Lookup, scope: Scope) -> Condition:
    """`Definitely(item)` if positive, else `Definitely(not item)`, with Definitely pushed to the leaves."""
    match item:
        case Not(inner):
            return _surely(inner, not positive, lookup, scope)
        case And(items) | Or(items):
            join = both if isinstance(item, And) == positive else either
            return join(*(_surely(part, positive, lookup, scope) for part in items))
        case Conditional(test, yes, no):
            chosen = both(_surely(test, True, lookup, scope), _surely(yes, positive, lookup, scope))
            other = both(_surely(test, False, lookup, scope), _surely(no, positive, lookup, scope))
            # Whatever the test is, if both branches agree so does the whole.
            agreed = both(_surely(yes, positive, lookup, scope), _surely(no, positive, lookup, scope))
            return either(chosen, other, agreed)
        case _:
            return _leaf(Definitely(item if positive else Not(item)), lookup, scope)


def _leaf(leaf: Condition, lookup: Lookup, scope: Scope) -> Condition:
    value = evaluate(leaf, lookup, scope)
    if value is True:
        return TRUE
    if not isinstance(value, Unknown):
        return FALSE
    return _folded(leaf, lookup, scope)


def _folded(node: Condition, lookup: Lookup, scope: Scope) -> Condition:
    """The same node with known sub-expressions replaced by their values.

    What stays unknown stays as it was written: the row may still decide it.
    Nothing is folded inside a comprehension's body, where names are bound.
    """
    if isinstance(node, (Literal, Comprehension)):
        return node if isinstance(node, Literal) else _folded_range(node, lookup, scope)
    if not isinstance(node, (Definitely, Not, And, Or)):
        value = evaluate(node, lookup, scope)
        if not isinstance(value, Unknown) and value is not None:
            return Literal(value)
    return _rebuilt(node, lambda part: _folded(part, lookup, scope))


def _folded_range(node: Comprehension, lookup: Lookup, scope: Scope) -> Condition:
    return Comprehension(node.kind, _folded(node.over, lookup, scope), node.variable, node.body, node.result)


def _rebuilt(node: Condition, fold: Callable[[Condition], Condition]) -> Condition:
    rebuild = _REBUILD.get(type(node))
    return node if rebuild is None else rebuild(node, fold)


# What is not here has nothing inside to fold: Attribute, Variable, and Has, whose operand is a name.
_REBUILD: Mapping[type, Callable[[Any, Callable[[Condition], Condition]], Condition]] = MappingProxyType(
    {
        Definitely: lambda node, fold: Definitely(fold(node.item)),
        Not: lambda node, fold: Not(fold(node.item)),
        Negate: lambda node, fold: Negate(fold(node.item)),
        And: lambda node, fold: And(tuple(map(fold, node.items))),
        Or: lambda node, fold: Or(tuple(map(fold, node.items))),
        ListOf: lambda node, fold: ListOf(tuple(map(fold, node.items))),
        MapOf: lambda node, fold: MapOf(tuple((fold(key), fold(value)) for key, value in node.entries)),
        Compare: lambda node, fold: Compare(node.op, fold(node.left), fold(node.right)),
        Arithmetic: lambda node, fold: Arithmetic(node.op, fold(node.left), fold(node.right)),
        Conditional: lambda node, fold: Conditional(fold(node.test), fold(node.yes), fold(node.no)),
        Call: lambda node, fold: Call(node.function, tuple(map(fold, node.arguments))),
        Index: lambda node, fold: Index(fold(node.operand), fold(node.key)),
        Select: lambda node, fold: Select(fold(node.operand), node.field),
    }
)


# -- clauses ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Relations:
    """Reverse look-up: which patients have this value, at this moment. It remembers what it was asked,
    and answers the same question once."""

    view: View
    at: datetime
    asked: dict[tuple[str, Literal], frozenset[str]] = field(default_factory=dict, compare=False)

    def patients(self, attribute: str, values: Iterable[Value]) -> tuple[str, ...]:
        found = (self._with(attribute, value) for value in values)
        return tuple(sorted(frozenset().union(*found)))

    def _with(self, attribute: str, value: Value) -> frozenset[str]:
        question = (attribute, Literal(value))
        if question not in self.asked:
            self.asked[question] = self.view.who("patient", attribute, value, self.at)
        return self.asked[question]

    def until(self, end: datetime | None) -> datetime | None:
        """The end of a decision that was given these answers: `end`, or when one of them changes before."""
        edges = [self.view.next_who("patient", name, asked.value, self.at) for name, asked in self.asked]
        return min((edge for edge in (end, *edges) if edge is not None), default=None)


# A conjunction in the making: its atoms, and whether they say all of it.
Draft: TypeAlias = tuple[tuple[Atom, ...], bool]


def clauses(terms: Iterable[tuple[str, Condition]], common: Condition, relations: Relations) -> tuple[Clause, ...]:
    """The disjunction of the terms (policy id, settled condition), each together with `common`.

    Nothing at all is the empty tuple. Too many: one clause that bounds nothing.
    """
    found: list[Clause] = []
    for policy, term in terms:
        drafts = _drafts(both(term, common), relations)
        if drafts is None:
            return (Clause((), exact=False),)
        found += (Clause(atoms, (policy,), exact) for atoms, exact in drafts)
        if len(found) > 2 * MAX_CLAUSES:
            found = list(simplified(found))
            if len(found) > MAX_CLAUSES:
                return (Clause((), exact=False),)
    short = simplified(found)
    return short if len(short) <= MAX_CLAUSES else (Clause((), exact=False),)


def _drafts(condition: Condition, relations: Relations) -> list[Draft] | None:
    """Disjunctive normal form; None if it would have more than MAX_CLAUSES conjunctions."""
    match condition:
        case Or(items):
            parts = [_drafts(item, relations) for item in items]
            merged = [draft for part in parts if part is not None for draft in part]
            return None if None in parts or len(merged) > MAX_CLAUSES else merged
        case And(items):
            return _conjoined([_drafts(item, relations) for item in items])
        case _ if condition == TRUE:
            return [((), True)]
        case _ if condition == FALSE:
            return []
        case _:
            return [_atom(condition, relations)]


def _conjoined(parts: list[list[Draft] | None]) -> list[Draft] | None:
    # A part that has too many alternatives bounds nothing here; the rest of the conjunction still does.
    known: list[list[Draft]] = [[((), False)] if part is None else part for part in parts]
    size = 1
    for part in known:
        size *= len(part)
    if size > MAX_CLAUSES:
        return None
    return [_merged(choice) for choice in product(*known)]


def _merged(choice: tuple[Draft, ...]) -> Draft:
    return tuple(atom for draft in choice for atom in draft[0]), all(exact for _, exact in choice)


def _atom(leaf: Condition, relations: Relations) -> Draft:
    """The leaf as one atom; no atom and inexact if it has none."""
    atom = next(_readings(leaf), None)
    if atom is None or not _plain(atom.value):
        return (), False
    prefix, _, name = atom.attribute.rpartition(".")
    if prefix != "resource.patient" or name == "id":
        return ((atom,), True)
    if atom.op in ("==", "in", "holds"):
        values = atom.value if atom.op == "in" and isinstance(atom.value, tuple) else (atom.value,)
        return ((Atom("resource.patient.id", "in", relations.patients(name, values)),), True)
    return (), False


def _plain(value: Value) -> bool:
    """A scalar or a list of scalars: what a query key can hold."""
    members = value if isinstance(value, tuple) else (value,)
    return all(isinstance(member, (bool, int, float, str, datetime, timedelta)) for member in members)


def _readings(leaf: Condition) -> Iterator[Atom]:
    """At most one. `holds` (a list attribute holds the value) is inner: only relations can use it."""
    match leaf:
        case Definitely(Compare("in", Attribute(path), Literal(value))) if isinstance(value, tuple):
            yield Atom(path, "in", value)
        case Definitely(Compare("in", Literal(value), Attribute(path))) if path.startswith("resource.patient."):
            yield Atom(path, "holds", value)
        case Definitely(Compare(op, Attribute(path), Literal(value))) if op in FLIPPED:
            yield Atom(path, op, value)
        case Definitely(Compare(op, Literal(value), Attribute(path))) if op in FLIPPED:
            yield Atom(path, FLIPPED[op], value)
        case Definitely(Not(Compare(op, Attribute(path), Literal(value)))) if op in OPPOSITE:
            yield Atom(path, OPPOSITE[op], value)
        case Definitely(Not(Compare(op, Literal(value), Attribute(path)))) if op in OPPOSITE:
            yield Atom(path, FLIPPED[OPPOSITE[op]], value)
        case Definitely(Attribute(path)):
            yield Atom(path, "==", True)
        case Definitely(Not(Attribute(path))):
            yield Atom(path, "==", False)
        case Definitely(Has(Attribute(path))):
            yield Atom(path, "has", True)
        case Definitely(Not(Has(Attribute(path)))):
            yield Atom(path, "has", False)
