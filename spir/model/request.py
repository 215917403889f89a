"""The request: who (subject) wants to do what (action) to what (resource), and in what context.

On the wire it is exactly an OpenID AuthZEN 1.0 evaluation request. Beside
that it knows which attributes are *deferred*: not known yet, but known later,
row by row, when a peer's answers arrive.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any

from spir.errors import RequestError
from spir.model.swift import swift
from spir.model.value import Value, freeze, thaw

__all__ = ["EMPTY", "Action", "Entity", "Request"]

EMPTY: Mapping[str, Value] = MappingProxyType({})


@swift
@dataclass(frozen=True, slots=True)
class Entity:
    """A subject or a resource: `type`, `id` ("" when it has none yet), `properties`."""

    type: str
    id: str
    properties: Mapping[str, Value] = field(default_factory=lambda: EMPTY)


@dataclass(frozen=True, slots=True)
class Action:
    name: str
    properties: Mapping[str, Value] = field(default_factory=lambda: EMPTY)


@swift
@dataclass(frozen=True, slots=True)
class Request:
    """`deferred` holds attribute paths or their prefixes: {"resource"}, {"resource.patient"}.

    A path is deferred when it lies under one of them and the request has no
    value for it. `resource.type` and `resource.id` are never deferred if set.
    """

    subject: Entity
    action: Action
    resource: Entity
    context: Mapping[str, Value] = field(default_factory=lambda: EMPTY)
    deferred: frozenset[str] = field(default=frozenset())

    @classmethod
    def build(
        cls,
        subject: Entity,
        operation: str,
        properties: Mapping[str, Any] | None = None,
        *,
        id: str = "",
        context: Mapping[str, Any] | None = None,
        deferred: Iterable[str] = (),
    ) -> Request:
        """A request from an operation code `verb:type[:category]` and the resource's properties.

        Keys of `properties` and `context` with the value None are left out.
        """
        verb, _, rest = operation.partition(":")
        kind, _, category = rest.partition(":")
        if not verb or not kind:
            raise RequestError(f"`{operation}` is not an operation code", hint="write verb:type[:category]")
        given = {key: value for key, value in (properties or {}).items() if value is not None}
        if category:
            given["category"] = category
        around = {key: value for key, value in (context or {}).items() if value is not None}
        return cls(
            subject,
            Action(verb),
            Entity(kind, id, _properties(given)),
            _properties(around),
            frozenset(deferred),
        )

    @property
    def operation(self) -> str:
        """The operation code `verb:type[:category]`."""
        category = self.resource.properties.get("category")
        code = f"{self.action.name}:{self.resource.type}"
        return f"{code}:{category}" if isinstance(category, str) and category else code

    def completed(self, row: Mapping[str, Any], id: str | None = None) -> Request:
        """This request about one row: its properties added, and nothing deferred any more."""
        merged = {**self.resource.properties, **{k: freeze(v) for k, v in row.items() if v is not None}}
        resource = replace(
            self.resource, id=self.resource.id if id is None else id, properties=MappingProxyType(merged)
        )
        return replace(self, resource=resource, deferred=frozenset())

    @classmethod
    def from_json(cls, data: Any) -> Request:
        """Read an AuthZEN 1.0 evaluation request (decoded JSON). Raises RequestError."""
        body = _object(data, "request")
        deferred = body.get("deferred", ())
        if not isinstance(deferred, (list, tuple)) or not all(isinstance(p, str) for p in deferred):
            raise RequestError("`deferred` must be a list of attribute paths")
        return cls(
            _entity(body.get("subject"), "subject"),
            _action(body.get("action")),
            _entity(body.get("resource"), "resource"),
            _properties(_object(body.get("context", {}), "context")),
            frozenset(deferred),
        )

    def to_json(self) -> dict[str, Any]:
        """Decoded JSON of the AuthZEN request; `deferred` only if there is any."""
        body: dict[str, Any] = {
            "subject": _entity_json(self.subject),
            "action": {"name": self.action.name},
            "resource": _entity_json(self.resource),
        }
        if self.action.properties:
            body["action"]["properties"] = thaw(self.action.properties)
        if self.context:
            body["context"] = thaw(self.context)
        if self.deferred:
            body["deferred"] = sorted(self.deferred)
        return body


def _entity_json(entity: Entity) -> dict[str, Any]:
    body: dict[str, Any] = {"type": entity.type, "id": entity.id}
    if entity.properties:
        body["properties"] = thaw(entity.properties)
    return body


def _entity(data: Any, name: str) -> Entity:
    body = _object(data, name)
    return Entity(
        _text(body, "type", name),
        _text(body, "id", name, optional=name == "resource"),
        _properties(_object(body.get("properties", {}), f"{name}.properties")),
    )


def _action(data: Any) -> Action:
    body = _object(data, "action")
    return Action(_text(body, "name", "action"), _properties(_object(body.get("properties", {}), "action.properties")))


def _properties(data: Mapping[str, Any]) -> Mapping[str, Value]:
    frozen = freeze(data)
    assert isinstance(frozen, Mapping)
    return frozen


def _object(data: Any, name: str) -> Mapping[str, Any]:
    if not isinstance(data, Mapping):
        raise RequestError(f"`{name}` must be an object")
    return data


def _text(body: Mapping[str, Any], key: str, name: str, optional: bool = False) -> str:
    value = body.get(key, "" if optional else None)
    if not isinstance(value, str) or not (value or optional):
        raise RequestError(f"`{name}.{key}` must be text")
    return value
