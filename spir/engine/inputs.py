"""A request with the facts written into it: what the audit trail keeps, so that a decision can be
explained and replayed later, when the facts have moved on.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from types import MappingProxyType

from spir.engine.attributes import patient_id
from spir.engine.ruleset import RuleSet
from spir.model.facts import Held, Key, View
from spir.model.request import Entity, Request
from spir.model.value import Value

__all__ = ["with_facts"]


def with_facts(rules: RuleSet, request: Request, view: View, at: datetime) -> Request:
    """The same request with every fact that its rules can ask about as a plain property."""
    used = rules.asked(request.action.name, request.resource.type)
    patient = patient_id(request)
    resource = request.resource
    if patient:
        names = _names(used, "resource.patient.")
        given = resource.properties.get("patient")
        known = given if isinstance(given, Mapping) else {"id": patient}
        held = _held(view, ("patient", patient), names, at)
        resource = _extended(resource, {"patient": MappingProxyType({**held, **known})})
    subject = request.subject
    held = _held(view, ("staff", subject.id), _names(used, "subject."), at)
    missing = {name: value for name, value in held.items() if name not in subject.properties}
    return replace(request, resource=resource, subject=_extended(subject, missing) if missing else subject)


def _names(used: frozenset[str], prefix: str) -> list[str]:
    return sorted(path.removeprefix(prefix) for path in used if path.startswith(prefix))


def _held(view: View, key: Key, names: list[str], at: datetime) -> dict[str, Value]:
    found = ((name, view.get(key, name, at)) for name in names)
    return {name: held.value for name, held in found if isinstance(held, Held)}


def _extended(entity: Entity, more: Mapping[str, Value]) -> Entity:
    return replace(entity, properties=MappingProxyType({**entity.properties, **more}))
