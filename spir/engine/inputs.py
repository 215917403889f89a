"""A request with the facts written into it: what the audit trail keeps, so that a decision can be
explained and replayed later, when the facts have moved on.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from types import MappingProxyType

from spir.engine.attributes import patient_id
from spir.engine.ruleset import RuleSet
from spir.model.facts import Held, Key, Snapshot, View
from spir.model.request import Entity, Request
from spir.model.value import Value

__all__ = ["with_facts"]

NOTHING: Mapping[str, Value] = MappingProxyType({})


def with_facts(rules: RuleSet, request: Request, view: View, at: datetime) -> Request:
    """The same request with every fact that its rules can ask about as a plain property."""
    used = rules.asked(request.action.name, request.resource.type)
    subject, resource = request.subject, request.resource
    patient = patient_id(request)
    if patient:
        given = resource.properties.get("patient")
        known = given if isinstance(given, (MappingProxyType, dict, Mapping)) else {"id": patient}
        held = _held(view, ("patient", patient), _names(used, "resource.patient."), at)
        if known is not given or not held.keys() <= known.keys():
            resource = _extended(resource, {"patient": MappingProxyType({**held, **known})})
    held = _held(view, ("staff", subject.id), _names(used, "subject."), at)
    if missing := {name: value for name, value in held.items() if name not in subject.properties}:
        subject = _extended(subject, missing)
    if subject is request.subject and resource is request.resource:
        return request
    return Request(subject, request.action, resource, request.context, request.deferred)


@lru_cache(maxsize=1024)
def _names(used: frozenset[str], prefix: str) -> tuple[str, ...]:
    return tuple(sorted(path.removeprefix(prefix) for path in used if path.startswith(prefix)))


def _held(view: View, key: Key, names: tuple[str, ...], at: datetime) -> Mapping[str, Value]:
    if isinstance(view, Snapshot):
        stored = {attribute for attribute, _ in view.rows(view.resolve(key))}
        names = tuple([name for name in names if name in stored])
    found = ((name, view.get(key, name, at)) for name in names)
    return {name: held.value for name, held in found if isinstance(held, Held)} if names else NOTHING


def _extended(entity: Entity, more: Mapping[str, Value]) -> Entity:
    return Entity(entity.type, entity.id, MappingProxyType({**entity.properties, **more}))
