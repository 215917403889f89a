"""A decision together with the facts it was made on: rows are judged by it, one by one.

The rows of one answer are judged on one snapshot and one moment, those of the
decision itself. What a row says about something the request had already
stated differently is not a completion but a contradiction; such a row is
decided anew as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from spir.engine.attributes import Attributes
from spir.engine.evaluate import Scope, evaluate, free_attributes
from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet
from spir.model.condition import TRUE
from spir.model.decision import Admission, Decision, Effect
from spir.model.facts import View
from spir.model.obligation import Incomparable, Obligation, joined
from spir.model.request import Request
from spir.model.value import Unknown, Value, freeze

__all__ = ["Judged", "rule"]

REFUSED = Admission(False)

# Rows that agree in what the residual asks about share one judgement; the memory of them is bounded.
MAX_REMEMBERED = 1024


def rule(rules: RuleSet, request: Request, view: View, at: datetime) -> Judged:
    """Decide, and keep what is needed to judge rows (`spir.exchange.Ruling`)."""
    return Judged(rules, request, decide(rules, request, view, at), view, at)


@dataclass(frozen=True)
class Judged:
    """See `spir.exchange.Ruling`."""

    rules: RuleSet
    request: Request
    decision: Decision
    view: View
    at: datetime
    _asked: tuple[str, ...] = field(default=(), init=False, compare=False)
    _remembered: dict[tuple[Any, ...], Admission] = field(default_factory=dict, init=False, compare=False)

    def __post_init__(self) -> None:
        conditions = (self.decision.residual.condition, *(tied.condition for tied in self.decision.tied))
        asked = frozenset().union(*(free_attributes(condition) for condition in conditions))
        object.__setattr__(self, "_asked", tuple(sorted(asked)))

    def admit(self, row: Mapping[str, Any], id: str | None = None) -> Admission:
        """Judge one row. What is missing in it does not admit."""
        if self.decision.denied:
            return REFUSED
        request = self.request.completed(row, id)
        if self._contradicts(row, id):
            return self._anew(request)
        lookup = Attributes(request, self.view, self.at)
        key = tuple(_key(lookup(path)) for path in self._asked)
        admission = self._remembered.get(key)
        if admission is None:
            admission = self._judged(lookup)
            if len(self._remembered) < MAX_REMEMBERED:
                self._remembered[key] = admission
        return admission

    def _judged(self, lookup: Attributes) -> Admission:
        scope = Scope(self.at, self.rules.site.timezone)
        condition = self.decision.residual.condition
        if condition != TRUE and evaluate(condition, lookup, scope) is not True:
            return REFUSED
        bound = [t.obligation for t in self.decision.tied if evaluate(t.condition, lookup, scope) is not False]
        return _admitted((*self.decision.obligations, *bound))

    def _anew(self, request: Request) -> Admission:
        decision = decide(self.rules, request, self.view, self.at)
        if decision.effect is not Effect.PERMIT:
            return REFUSED
        return _admitted(decision.obligations)

    def _contradicts(self, row: Mapping[str, Any], id: str | None) -> bool:
        given = self.request.resource
        if id is not None and given.id and id != given.id:
            return True
        # The organisation chooses which policies apply at all: a row that names one is decided as a whole.
        if row.get("organization") is not None:
            return True
        return any(
            name in given.properties and freeze(value) != given.properties[name]
            for name, value in row.items()
            if value is not None
        )


def _admitted(obligations: tuple[Obligation, ...]) -> Admission:
    try:
        return Admission(True, joined(obligations))
    except Incomparable:
        return REFUSED


def _key(value: Value | Unknown) -> Any:
    """Something hashable that keeps True, 1 and 1.0 apart."""
    return (type(value).__name__, repr(value) if isinstance(value, (Mapping, tuple)) else value)
