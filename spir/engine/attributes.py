"""Looking up attributes of one request at one moment: what it says, and what the facts say.

A path is resolved in this order: the request's own properties; for
`resource.patient.*` and `subject.*` the facts about that patient or member of
staff; then *deferred* if the request says that the attribute comes row by
row; then *missing*. A property whose value is null has no value.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from types import MappingProxyType
from typing import TypeGuard

from spir.model.facts import Held, Key, View
from spir.model.request import Request
from spir.model.value import Unknown, Value, Why

__all__ = ["Attributes", "NoFacts", "organization_of"]


class NoFacts:
    """A view without facts: for requests that bring all they need."""

    revision = 0

    def get(self, key: Key, attribute: str, at: datetime) -> Held | Unknown:
        return Unknown.of(f"{key[0]}.{attribute}", Why.MISSING)

    def who(self, kind: str, attribute: str, value: Value, at: datetime) -> frozenset[str]:
        return frozenset()

    def next_change(self, key: Key, attribute: str, at: datetime) -> datetime | None:
        return None

    def next_who(self, kind: str, attribute: str, value: Value, at: datetime) -> datetime | None:
        return None


class Attributes:
    """Callable: path -> value or Unknown. Remembers what it looked up, since one request asks often."""

    __slots__ = ("at", "found", "request", "view")

    def __init__(self, request: Request, view: View, at: datetime) -> None:
        self.request = request
        self.view = view
        self.at = at
        self.found: dict[str, Value | Unknown] = {}

    def __call__(self, path: str) -> Value | Unknown:
        value = self.found.get(path, self)
        if value is self:
            value = self.found[path] = self._lookup(path)
        assert not isinstance(value, Attributes)
        return value

    def edge(self, path: str) -> datetime | None:
        """When the facts behind a path change by themselves next: a fact begins or ends."""
        source = self._fact_source(path.split("."))
        if source is None:
            return None
        key, attribute = source
        return self.view.next_change(key, attribute, self.at)

    def _lookup(self, path: str) -> Value | Unknown:
        names = path.split(".")
        said = self._said(names)
        if said is not None:
            return said
        source = self._fact_source(names)
        if source is not None:
            held = self.view.get(*source, self.at)
            if isinstance(held, Held):
                return held.value
            if any(lack.why is Why.FAILED for lack in held.lacks):
                return Unknown.of(path, Why.FAILED)
        return Unknown.of(path, Why.DEFERRED if is_deferred(path, self.request.deferred) else Why.MISSING)

    def _said(self, names: list[str]) -> Value:
        """What the request itself says; None for nothing."""
        request = self.request
        match names:
            case ["context", "now"]:
                return self.at
            case ["action", "name"]:
                return request.action.name
            case ["resource", "patient", "id"]:
                return patient_id(request)
            case ["subject" | "resource" as side, "id" | "type" as name]:
                return getattr(request.subject if side == "subject" else request.resource, name) or None
            case [dimension, *rest] if rest:
                return _inside(self._properties(dimension), rest)
        return None

    def _properties(self, dimension: str) -> Mapping[str, Value]:
        request = self.request
        match dimension:
            case "subject":
                return request.subject.properties
            case "resource":
                return request.resource.properties
            case "action":
                return request.action.properties
            case _:
                return request.context

    def _fact_source(self, names: list[str]) -> tuple[Key, str] | None:
        match names:
            case ["resource", "patient", name] if name != "id":
                patient = patient_id(self.request)
                return (("patient", patient), name) if patient else None
            case ["subject", name] if name not in ("id", "type"):
                return ("staff", self.request.subject.id), name
        return None


def patient_id(request: Request) -> str | None:
    """The canonical id of the patient a request is about: `resource.patient`, or a patient resource itself."""
    found = request.resource.properties.get("patient")
    if found is None:
        return None
    if found.__class__ is dict or is_map(found):
        found = found.get("id")
    return found if isinstance(found, str) and found else None


def organization_of(request: Request, default: str) -> str:
    """`resource.organization`, else `context.organization`, else the site's; "" if there is none."""
    for place in (request.resource.properties, request.context):
        given = place.get("organization")
        if isinstance(given, str) and given:
            return given
    return default


def is_deferred(path: str, deferred: Iterable[str]) -> bool:
    return any(path == prefix or path.startswith(f"{prefix}.") for prefix in deferred)


def _inside(properties: Mapping[str, Value], names: list[str]) -> Value:
    value: Value = properties
    for name in names:
        if not is_map(value):
            return None
        value = value.get(name)
    return value


def is_map(value: Value) -> TypeGuard[Mapping[str, Value]]:
    """Asked of every request: what maps are made of is quicker to tell than any Mapping."""
    kind = value.__class__
    return kind is MappingProxyType or kind is dict or (kind is not str and isinstance(value, Mapping))
