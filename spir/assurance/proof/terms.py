"""Statements about complete requests, in two-valued logic: what the checks reason about.

A condition is three-valued; what a check asks is not. "Surely true" and "surely
false" of one condition are two statements here, and a request in which an
attribute is absent can satisfy neither. A statement is a tree over tests of one
variable (`Test`) and relations between two (`Related`).

Beside attributes there are variables that are worked out of them: the
organisation that a request belongs to, the time of day, the address that a text
stands for, and any part of a condition that has no exact reading of its own
(`Variable.node`). What values a variable can have is `World.universe`.

The box arithmetic (`spir.assurance.proof.box`) and the solver
(`spir.assurance.proof.solver`) both take these trees, so that one can be
checked against the other.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any as AnyThing
from typing import NamedTuple, TypeAlias

from spir.assurance.proof.domain import Domain
from spir.model.condition import Attribute, Call, Condition

__all__ = [
    "ALWAYS",
    "CLOCK",
    "NEVER",
    "ORGANIZATION",
    "All",
    "Any",
    "Related",
    "Statement",
    "Test",
    "Variable",
    "address",
    "every",
    "opposite",
    "some",
    "tests",
]


class Variable(NamedTuple):
    """An attribute by its path; or, with `node`, something worked out of the request.

    A part of a condition taken as a whole has no path and the values True and False, and is absent where
    it is unknown although the attributes it needs are there. Where they are not, its value does not count.
    (A tuple, for it is looked up in dictionaries more than anything else.)
    """

    path: str
    node: Condition | None = None


# The organisation that a request belongs to (`organization_of`); and its moment on the site's wall clock.
ORGANIZATION = Variable("organization")
CLOCK = Variable("time of day")


def address(path: str) -> Variable:
    """The IP address that the text of this attribute stands for; absent if it stands for none."""
    return Variable(path, Call("ip.in", (Attribute(path),)))


@dataclass(frozen=True, slots=True)
class Test:
    """The variable's value, or its absence, is within the domain."""

    variable: Variable
    domain: Domain


@dataclass(frozen=True, slots=True)
class Related:
    """Both variables are present and `left op right`; op is one of == != < <=."""

    op: str
    left: Variable
    right: Variable


@dataclass(frozen=True, slots=True)
class All:
    items: tuple[Statement, ...]


@dataclass(frozen=True, slots=True)
class Any:
    items: tuple[Statement, ...]


Statement: TypeAlias = Test | Related | All | Any

# Narrowed by its class, which is cheaper to ask for than by `isinstance`.
AnyPart: TypeAlias = AnyThing

ALWAYS = All(())
NEVER = Any(())


def every(items: Iterable[Statement]) -> Statement:
    """The conjunction, flat; tests of one variable become one."""
    known: dict[Variable, Test] = {}
    rest: dict[Statement, None] = {}
    for part in _parts(items, All):
        if part.__class__ is Test:
            before = known.setdefault(part.variable, part)
            if before is not part:
                found = known[part.variable] = Test(part.variable, before.domain & part.domain)
                if found.domain.is_empty:
                    return NEVER
        elif part.__class__ is Any and not part.items:
            return NEVER
        else:
            rest[part] = None
    return _joined(All, known, rest)


def some(items: Iterable[Statement]) -> Statement:
    """The disjunction, flat; tests of one variable become one."""
    known: dict[Variable, Test] = {}
    rest: dict[Statement, None] = {}
    for part in _parts(items, Any):
        if part.__class__ is Test:
            before = known.setdefault(part.variable, part)
            if before is not part:
                known[part.variable] = Test(part.variable, before.domain | part.domain)
        elif part.__class__ is All and not part.items:
            return ALWAYS
        else:
            rest[part] = None
    return _joined(Any, known, rest)


def _parts(items: Iterable[Statement], kind: type[All | Any]) -> list[AnyPart]:
    found: list[AnyPart] = []
    for item in items:
        if item.__class__ is kind:
            found += item.items
        else:
            found.append(item)
    return found


def _joined(kind: type[All | Any], known: dict[Variable, Test], rest: dict[Statement, None]) -> Statement:
    parts = (*known.values(), *rest)
    return parts[0] if len(parts) == 1 else kind(parts)


def opposite(found: Related) -> Related:
    """What holds instead, given that both are there."""
    if found.op in ("==", "!="):
        return Related("!=" if found.op == "==" else "==", found.left, found.right)
    return Related("<=" if found.op == "<" else "<", found.right, found.left)


def tests(statement: Statement) -> Iterator[Test | Related]:
    """The leaves. Safe at any depth."""
    waiting = [statement]
    while waiting:
        item = waiting.pop()
        if isinstance(item, All | Any):
            waiting.extend(reversed(item.items))
        else:
            yield item
