"""The smallest readings: one variable in a domain, a constant, and a part that is taken as a whole."""

from __future__ import annotations

from typing import NamedTuple

from spir.assurance.proof.domain import PRESENT, Domain, one_of
from spir.assurance.proof.terms import ALWAYS, NEVER, Statement, Variable, every
from spir.assurance.proof.whole import needed
from spir.assurance.proof.world import World
from spir.engine.evaluate import Scope, evaluate
from spir.engine.ruleset import UTC
from spir.language.timing import looks_at_clock
from spir.language.values.scalars import EPOCH
from spir.language.walk import nodes
from spir.model.condition import FALSE, TRUE, Attribute, Condition, Literal
from spir.model.condition import Variable as Bound
from spir.model.value import Unknown, Why

__all__ = ["UNKNOWN", "Truth", "among", "constant", "folded", "of", "taken_whole"]


class Truth(NamedTuple):
    """The requests for which a condition is true, and those for which it is false."""

    true: Statement
    false: Statement

    def swapped(self) -> Truth:
        return Truth(self.false, self.true)


UNKNOWN = Truth(NEVER, NEVER)


def of(variable: Variable, domain: Domain, world: World) -> Truth:
    """True for the values of the domain, false for all others, unknown for none."""
    return Truth(world.test(variable, domain & PRESENT), world.test(variable, domain.complement() & PRESENT))


def among(path: str, domain: Domain, world: World) -> Truth:
    """The same, of an attribute."""
    return of(world.attribute(path), domain, world)


def constant(node: Literal, world: World) -> Truth:
    """A condition is true or false, or it says nothing."""
    return Truth(ALWAYS, NEVER) if node == TRUE else Truth(NEVER, ALWAYS) if node == FALSE else UNKNOWN


def taken_whole(node: Condition, world: World) -> Truth:
    """A part of which only this is known: without the attributes it needs it is neither true nor false."""
    if _closed(node):
        return constant(_value(node) or Literal(None), world)
    variable = Variable("", node)
    there = [world.there(path) for path in sorted(needed(node))]
    return Truth(
        every((*there, world.test(variable, one_of((True,))))), every((*there, world.test(variable, one_of((False,)))))
    )


def folded(node: Condition) -> Condition:
    """A constant where the part is one: `timestamp("2026-01-01T00:00:00Z")`."""
    if isinstance(node, Attribute | Literal):
        return node
    return _value(node) or node


def _closed(node: Condition) -> bool:
    """Whether it reads nothing at all."""
    return not looks_at_clock(node) and not any(isinstance(part, Attribute | Bound) for part in nodes(node))


def _value(node: Condition) -> Literal | None:
    """The value that the part always has; None for what is not constant or never has a value."""
    if not _closed(node):
        return None
    value = evaluate(node, lambda path: Unknown.of(path, Why.MISSING), Scope(EPOCH, UTC))
    return None if isinstance(value, Unknown) else Literal(value)
