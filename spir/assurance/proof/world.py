"""What can be at all: the values that every variable of a request can have at this site.

The vocabulary says which types, enums and intervals there are and what is never
absent. Requests that break it (a text where a number is declared, a verb that
nobody knows) are outside of this world: nothing is proved about them.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cached_property
from typing import Any

from spir.assurance.proof.domain import (
    ABSENT,
    PRESENT,
    V6,
    Domain,
    Line,
    interval,
    micros,
    one_of,
)
from spir.assurance.proof.terms import (
    ALWAYS,
    CLOCK,
    NEVER,
    ORGANIZATION,
    Related,
    Statement,
    Test,
    Variable,
    every,
    opposite,
    some,
)
from spir.assurance.proof.terms import All as AllOf
from spir.assurance.proof.whole import total
from spir.engine.ruleset import Site
from spir.language.typecheck import Kind
from spir.language.values.operators import MAX_INT, MIN_INT
from spir.language.vocabulary import Vocabulary
from spir.model.condition import Attribute, Call

__all__ = ["DAY", "World", "negation"]

DAY = 24 * 3_600_000_000
NOW = Variable("context.now")

# What a complete request always has, whether or not the vocabulary says so.
_CERTAIN = frozenset(("action.name", "resource.type", "subject.id", "subject.type", "context.now"))
# An empty text counts as absence there (`Attributes`).
_NEVER_EMPTY = frozenset(("subject.id", "subject.type", "resource.id", "resource.type"))

_MOMENTS = interval(Line.MOMENT, micros(datetime(2, 1, 1, tzinfo=UTC)), micros(datetime(9998, 12, 31, tzinfo=UTC)))
_CLOCKS = interval(Line.CLOCK, 0, DAY, below=True)
_SOME_TEXT = one_of(("",)).complement() & PRESENT
# Version 4 inside of version 6 is read as version 4, so no address lies there.
_MAPPED = interval(Line.ADDRESS, V6 + (0xFFFF << 32), V6 + (0x10000 << 32), below=True)
_ADDRESSES = interval(Line.ADDRESS, 0, V6 + (1 << 128), below=True) & _MAPPED.complement()


@dataclass(frozen=True)
class World:
    """`now` is a moment that witnesses prefer."""

    vocabulary: Vocabulary
    site: Site = field(default_factory=Site)
    now: datetime = datetime(2026, 1, 1, 12, tzinfo=UTC)
    # what was worked out once: universes here, readings of conditions by `spir.assurance.proof.truth`
    _universes: dict[Variable, Domain] = field(default_factory=dict, repr=False, compare=False)
    _attributes: dict[str, Variable] = field(default_factory=dict, repr=False, compare=False)
    readings: dict[Any, Any] = field(default_factory=dict, repr=False, compare=False)

    def attribute(self, path: str) -> Variable:
        """Always the same object: variables are looked up far more often than made."""
        return self._attributes.setdefault(path, Variable(path))

    def universe(self, variable: Variable) -> Domain:
        """Every value that the variable can have, absence included."""
        found = self._universes.get(variable)
        if found is None:
            found = self._universes[variable] = self._derived(variable) if variable.node else self._plain(variable)
        return found

    def test(self, variable: Variable, domain: Domain) -> Statement:
        """The test that the value is within the domain; always or never where it cannot be otherwise."""
        universe = self.universe(variable)
        found = domain & universe
        return NEVER if found.is_empty else ALWAYS if found == universe else Test(variable, found)

    def there(self, path: str) -> Statement:
        """The attribute is not absent."""
        return self.test(self.attribute(path), PRESENT)

    def kind(self, path: str) -> Kind:
        return self.vocabulary.kind(path) or Kind("")

    @cached_property
    def certain(self) -> frozenset[str]:
        """The attributes that no complete request lacks."""
        declared = self.vocabulary.attributes.items()
        return _CERTAIN | {path for path, declaration in declared if declaration.required}

    @cached_property
    def maps(self) -> frozenset[str]:
        """The attributes that have attributes of their own below them."""
        paths = self.vocabulary.attributes
        return frozenset(path.rpartition(".")[0] for path in paths if path.rpartition(".")[0] in paths)

    def _derived(self, variable: Variable) -> Domain:
        match variable.node:
            case Call("ip.in", (Attribute(),)):
                return _ADDRESSES | ABSENT
            case None:
                return PRESENT
            case node:
                both = one_of((True, False))
                return both if total(node, self.vocabulary) else both | ABSENT

    def _plain(self, variable: Variable) -> Domain:
        if variable == CLOCK:
            return _CLOCKS
        if variable == ORGANIZATION:
            return _SOME_TEXT
        values = self._values(variable.path, self.kind(variable.path))
        return values if variable.path in self.certain else values | ABSENT

    def _values(self, path: str, kind: Kind) -> Domain:
        """What is declared of the values that are there."""
        names = {"action.name": self.vocabulary.verbs, "resource.type": self.vocabulary.types}.get(path)
        if names:
            return one_of(names)
        match kind.type:
            case "string" if kind.enum:
                return one_of(kind.enum)
            case "bool":
                return one_of((True, False))
            case "int":
                low = MIN_INT if kind.least is None else math.ceil(kind.least)
                return interval(Line.INT, low, MAX_INT if kind.most is None else math.floor(kind.most))
            case "double":
                most = sys.float_info.max
                ends = (-most if kind.least is None else kind.least, most if kind.most is None else kind.most)
                return interval(Line.DOUBLE, float(ends[0]), float(ends[1]))
            case "timestamp":
                return _MOMENTS
        return _SOME_TEXT if path in _NEVER_EMPTY else PRESENT


def negation(statement: Statement, world: World) -> Statement:
    """The statement that is true for exactly the other requests."""
    match statement:
        case Test(variable, domain):
            return world.test(variable, domain.complement())
        case Related(_, left, right):
            return some((world.test(left, ABSENT), world.test(right, ABSENT), opposite(statement)))
        case AllOf(items):
            return some(negation(item, world) for item in items)
        case _:
            return every(negation(item, world) for item in statement.items)
