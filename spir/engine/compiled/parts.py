"""Conditions taken apart: the members of a conjunction, each judged once for all policies that share it.

Most parts look at one attribute; what such a part comes to depends on that
attribute's value alone and is remembered by it. The others look at several, or
at the clock.

A part is plainly true, plainly false, or comes to an `Outcome`: what is
missing for it, and what is left of "surely" and "surely not" (see
`spir.engine.formula`). Only the interpreter makes outcomes, so they mean what
it means.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from spir.engine.compiled.facts import fact_of
from spir.engine.compiled.source import Draft, Unwritable, made, written
from spir.engine.evaluate import Lookup, Scope, evaluate, free_attributes
from spir.engine.residual import settle
from spir.language.timing import looks_at_clock
from spir.language.values.operators import Invalid
from spir.model.condition import FALSE, TRUE, And, Attribute, Compare, Condition, Definitely, Literal, Not
from spir.model.value import Lack, Unknown, Value, Why

__all__ = ["NOW", "Outcome", "Part", "Parts", "judged"]

NOW = "context.now"

# Where no clock is looked at, every moment is as good.
TIMELESS = Scope(datetime(1970, 1, 1, tzinfo=UTC), ZoneInfo("UTC"))


class Outcome:
    """What a part comes to that is neither true nor false. Compared by identity.

    `lacks` is empty for a value that is no truth: it is unknown only inside a conjunction.
    """

    __slots__ = ("lacks", "surely", "surely_not")

    def __init__(self, lacks: frozenset[Lack], surely: Condition, surely_not: Condition) -> None:
        self.lacks = lacks
        self.surely = surely
        self.surely_not = surely_not


def judged(condition: Condition, lookup: Lookup, scope: Scope) -> bool | Outcome:
    """What the interpreter says of a part."""
    value = evaluate(condition, lookup, scope)
    if value is True or value is False:
        return value
    surely = settle(Definitely(condition), lookup, scope)
    surely_not = settle(Definitely(Not(condition)), lookup, scope)
    return Outcome(value.lacks if isinstance(value, Unknown) else frozenset(), surely, surely_not)


class Part:
    """One member of a conjunction. `path` is the one attribute it looks at, "" for several or none.

    `facts` are those that it may ask about, as (`patient` or `staff`, attribute).
    `clock`: its value may change by the passing of time. `relational`: a residual
    may turn it into a list of the patients that have the attribute. `texts`, for
    `attribute == text`, `!= text` and `in [texts]`: the texts, and what it is for
    exactly those; no value but a text has a meaning for it.
    """

    __slots__ = ("_absent", "_ask", "clock", "condition", "facts", "path", "paths", "relational", "texts")

    def __init__(self, condition: Condition) -> None:
        self.condition = condition
        self.paths = tuple(sorted(free_attributes(condition)))
        self.clock = looks_at_clock(condition)
        self.path = self.paths[0] if len(self.paths) == 1 and not self.clock else ""
        self.facts = tuple(fact for fact in map(fact_of, self.paths) if fact is not None)
        self.relational = any(kind == "patient" for kind, _ in self.facts)
        self.texts = _texts(condition) if self.path else None
        self._ask: Callable[[Value], bool] | None = None
        self._absent: dict[Why, bool | Outcome] = {}

    @property
    def fixed(self) -> bool:
        """Whether it depends on nothing at all."""
        return not self.paths and not self.clock

    @property
    def clock_only(self) -> bool:
        return self.clock and self.paths in ((), (NOW,))

    def of(self, value: Value) -> bool | Outcome:
        """What it comes to for a value of its one attribute."""
        if self._ask is None:
            self._ask = _written(self.condition, self.path)
        try:
            return self._ask(value)
        except Invalid:
            return judged(self.condition, lambda path: value, TIMELESS)

    def constant(self) -> bool | Outcome:
        """What it comes to if it is `fixed`."""
        return judged(self.condition, lambda path: None, TIMELESS)

    def without(self, why: Why) -> bool | Outcome:
        """What it comes to while its one attribute has no value."""
        found = self._absent.get(why)
        if found is None:
            found = self._absent[why] = self._without(why)
        return found

    def _without(self, why: Why) -> bool | Outcome:
        unknown = Unknown.of(self.path, why)
        if not _is_comparison(self.condition):
            return judged(self.condition, lambda path: unknown, TIMELESS)
        if why is not Why.DEFERRED:
            return Outcome(unknown.lacks, FALSE, FALSE)
        return Outcome(unknown.lacks, Definitely(self.condition), Definitely(Not(self.condition)))


class Parts:
    """All parts of a rule set: one object for equal conditions."""

    def __init__(self) -> None:
        self._known: dict[Condition, Part] = {}

    def of(self, condition: Condition) -> tuple[Part, ...]:
        """The members of a conjunction, nested ones flattened; none for `TRUE`."""
        return tuple(self._part(member) for member in _members(condition))

    def _part(self, condition: Condition) -> Part:
        part = self._known.get(condition)
        if part is None:
            part = self._known[condition] = Part(condition)
        return part


def _members(condition: Condition) -> list[Condition]:
    if isinstance(condition, And):
        return [member for item in condition.items for member in _members(item)]
    return [] if isinstance(condition, Literal) and condition == TRUE else [condition]


def _texts(condition: Condition) -> tuple[frozenset[str], bool] | None:
    match condition:
        case Compare(("==" | "!=") as op, Attribute(), Literal(str() as text)):
            return frozenset((text,)), op == "=="
        case Compare(("==" | "!=") as op, Literal(str() as text), Attribute()):
            return frozenset((text,)), op == "=="
        case Compare("in", Attribute(), Literal(tuple() as texts)) if texts and all(type(t) is str for t in texts):
            return frozenset(texts), True
    return None


def _is_comparison(condition: Condition) -> bool:
    """An attribute against a constant: unknown, and as it is written, while the attribute is."""
    match condition:
        case Compare(_, Attribute(), Literal()) | Compare(_, Literal(), Attribute()):
            return True
    return False


def _written(condition: Condition, path: str) -> Callable[[Any], bool]:
    draft = Draft()
    try:
        answer = written(condition, {path: "a0"}, draft)
    except Unwritable:
        return _never
    return made("a0", [f"return {answer}"], draft.constants)


def _never(value: Value) -> bool:
    raise Invalid
