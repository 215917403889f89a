"""A decision together with the facts it was made on: rows are judged by it, one by one.

The rows of one answer are judged on one snapshot and one moment, those of the
decision itself. What a row says about something the request had already
stated differently is not a completion but a contradiction; such a row is
decided anew as a whole.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property, lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from spir.engine import reference
from spir.engine.attributes import Attributes
from spir.engine.compiled.facts import Facts
from spir.engine.compiled.parts import Part
from spir.engine.compiled.question import Ask, asking
from spir.engine.evaluate import Scope, evaluate, free_attributes
from spir.engine.ruleset import RuleSet
from spir.model.condition import TRUE, Condition
from spir.model.decision import Admission, Decision, Effect
from spir.model.facts import View
from spir.model.obligation import Incomparable, Obligation, joined
from spir.model.request import Entity, Request
from spir.model.value import Value, freeze

__all__ = ["Decide", "Judged", "rule"]

REFUSED = Admission(False)

# Rows that agree in what the residual asks about share one judgement; the memory of them is bounded.
MAX_REMEMBERED = 1024

Decide: TypeAlias = Callable[[Request, View, datetime], Decision]


def rule(rules: RuleSet, request: Request, view: View, at: datetime, decide: Decide | None = None) -> Judged:
    """Decide, and keep what is needed to judge rows (`spir.exchange.Ruling`).

    `decide` is how: `Compiled.decide` of these rules, or by default the reference interpreter.
    """
    if decide is None:
        return Judged(rules, request, reference.decide(rules, request, view, at), view, at)
    return Judged(rules, request, decide(request, view, at), view, at, decide)


@dataclass(frozen=True)
class Judged:
    """See `spir.exchange.Ruling`."""

    rules: RuleSet
    request: Request
    decision: Decision
    view: View
    at: datetime
    decide: Decide | None = field(default=None, compare=False)
    _asked: tuple[str, ...] = field(default=(), init=False, compare=False)
    _given: tuple[tuple[str, Value], ...] = field(default=(), init=False, compare=False)
    _remembered: dict[Any, Admission] = field(default_factory=dict, init=False, compare=False)

    def __post_init__(self) -> None:
        conditions = (self.decision.residual.condition, *(tied.condition for tied in self.decision.tied))
        object.__setattr__(self, "_asked", _asked(conditions))
        object.__setattr__(self, "_given", tuple(self.request.resource.properties.items()))

    def admit(self, row: Mapping[str, Any], id: str | None = None) -> Admission:
        """Judge one row. What is missing in it does not admit."""
        if self.decision.denied:
            return REFUSED
        if self._contradicts(row, id):
            return self._anew(self.request.completed(row, id))
        key = (id if "id" in self._asked else None, *[_key(row.get(name)) for name in self._asked])
        admission = self._remembered.get(key)
        if admission is None:
            admission = self._judged(row, id)
            if len(self._remembered) < MAX_REMEMBERED:
                self._remembered[key] = admission
        return admission

    def _judged(self, row: Mapping[str, Any], id: str | None) -> Admission:
        request = self._completed(row, id)
        ask = self._interpreted if self.decide is None else self._compiled
        condition = self.decision.residual.condition
        if condition != TRUE and ask(condition, request) is not True:
            return REFUSED
        bound = tuple([one.obligation for one in self.decision.tied if ask(one.condition, request) is not False])
        return self._unbound if not bound else _admitted((*self.decision.obligations, *bound))

    @cached_property
    def _unbound(self) -> Admission:
        """The admission of a row that no obligation is tied to."""
        return _admitted(self.decision.obligations)

    def _interpreted(self, condition: Condition, request: Request) -> Any:
        return evaluate(condition, Attributes(request, self.view, self.at), Scope(self.at, self.rules.site.timezone))

    def _compiled(self, condition: Condition, request: Request) -> Any:
        return _asked_of_rows(condition, self.rules.site.timezone)(request, self.view, self.at)

    def _completed(self, row: Mapping[str, Any], id: str | None) -> Request:
        """The request with as much of the row as is asked about."""
        given = self.request.resource
        properties = dict(self._given)
        for name in self._asked:
            value = row.get(name)
            if value is not None:
                properties[name] = freeze(value)
        resource = Entity(given.type, given.id if id is None else id, MappingProxyType(properties))
        return Request(self.request.subject, self.request.action, resource, self.request.context)

    def _anew(self, request: Request) -> Admission:
        if self.decide is None:
            decision = reference.decide(self.rules, request, self.view, self.at)
        else:
            decision = self.decide(request, self.view, self.at)
        if decision.effect is not Effect.PERMIT:
            return REFUSED
        return _admitted(decision.obligations)

    def _contradicts(self, row: Mapping[str, Any], id: str | None) -> bool:
        given = self.request.resource.id
        if id is not None and given and id != given:
            return True
        # The organisation chooses which policies apply at all: a row that names one is decided as a whole.
        if row.get("organization") is not None:
            return True
        for name, value in self._given:
            said = row.get(name)
            if said is not None and freeze(said) != value:
                return True
        return False


def _admitted(obligations: tuple[Obligation, ...]) -> Admission:
    try:
        return Admission(True, joined(obligations))
    except Incomparable:
        return REFUSED


_FACTS = Facts()


@lru_cache(maxsize=256)
def _asked_of_rows(condition: Condition, zone: ZoneInfo) -> Ask:
    """What is left to ask of rows, as a function: many rows are asked the same, by many who ask for such rows."""
    return asking(Part(condition), _FACTS, zone)


@lru_cache(maxsize=1024)
def _asked(conditions: tuple[Condition, ...]) -> tuple[str, ...]:
    """The names of a row's properties that the conditions look at: `patient` for `resource.patient.vip`."""
    paths = frozenset().union(*(free_attributes(condition) for condition in conditions))
    return tuple(sorted({path.split(".")[1] for path in paths if path.startswith("resource.")}))


def _key(value: Any) -> Any:
    """Something hashable that keeps True, 1 and 1.0 apart. Texts, and ids of patients, are most of it."""
    kind = type(value)
    if kind is str or value is None:
        return value
    if kind is int or kind is bool:
        return kind, value
    if kind is dict and len(value) == 1:
        ident = value.get("id")
        if type(ident) is str:
            return dict, ident
    return kind, repr(value)
