"""The one spelling of an audit event: the bytes that are hashed, signed and kept for years.

JSON in UTF-8 with sorted keys, without spaces, of integers, text, booleans,
null, lists and maps only. What JSON has no exact word for gets one: a map
with a single key that starts with `$`. Floating-point numbers are among
these, because two programs seldom print one alike.

INVARIANT: these spellings never change. A new one gets a new `FORMAT`; what
was written under an old one is still checked as it was written.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any

from spir.errors import RequestError
from spir.model.decision import Clause, Decision, Effect
from spir.model.obligation import Obligation
from spir.model.request import Action, Entity, Request
from spir.model.value import Value
from spir.record.event import AuditEvent

__all__ = ["FORMAT", "Veil", "body", "decode", "encode", "pack", "request_of", "timestamp", "unpack"]

FORMAT = 1
LARGEST = 2**63 - 1  # beyond, JSON readers begin to differ

_encoder = json.JSONEncoder(sort_keys=True, separators=(",", ":"), ensure_ascii=False, check_circular=False)
_MICROSECOND = timedelta(microseconds=1)


def encode(packed: Any) -> bytes:
    """Canonical bytes of packed data. Lone surrogates, which UTF-8 cannot hold, stay JSON escapes."""
    return _encoder.encode(packed).encode("utf-8", "backslashreplace")


def decode(data: bytes | str) -> Any:
    """The packed data in canonical bytes. Raises RequestError for what is no JSON."""
    try:
        return json.loads(data if isinstance(data, str) else data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise RequestError("this is not the JSON of an audit record") from error


def timestamp(moment: datetime) -> str:
    """RFC 3339 in UTC with six digits of a second, so that text order is time order."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='microseconds')}Z"


def pack(value: Any) -> Any:
    """Data that `encode` takes, from a value; `unpack` brings it back. Sets come out sorted."""
    if type(value) is str or value is None or isinstance(value, str):  # most are text: the cheap test first
        return value
    if isinstance(value, int):
        return value if -LARGEST <= value <= LARGEST else {"$int": str(value)}
    if isinstance(value, (dict, MappingProxyType, Mapping)):
        return {f"${key}" if key.startswith("$") else key: pack(item) for key, item in value.items()}
    if isinstance(value, (tuple, list)):
        return [pack(item) for item in value]
    if isinstance(value, (set, frozenset)):
        return sorted((pack(item) for item in value), key=encode)
    return _word(value)


def _word(value: Any) -> dict[str, Any]:
    match value:
        case float():
            return {"$float": repr(value)}
        case datetime():
            return {"$time": value.isoformat()}
        case timedelta():
            return {"$microseconds": value // _MICROSECOND}
        case bytes():
            return {"$bytes": value.hex()}
        case _:
            raise RequestError(f"`{type(value).__name__}` cannot be put into a record")


_WORDS: Mapping[str, Callable[[Any], Value]] = MappingProxyType(
    {
        "$int": int,
        "$float": float,
        "$time": datetime.fromisoformat,
        "$microseconds": lambda count: timedelta(microseconds=count),
        "$bytes": bytes.fromhex,
    }
)


def unpack(data: Any) -> Value:
    """The value that `pack` was given; lists come back as tuples. Raises RequestError."""
    if isinstance(data, list):
        return tuple(unpack(item) for item in data)
    if not isinstance(data, Mapping):
        return data  # type: ignore[no-any-return]
    if len(data) == 1:
        [(key, inner)] = data.items()
        if key in _WORDS:
            return _read(key, inner)
    return MappingProxyType(
        {key.removeprefix("$") if key.startswith("$$") else key: unpack(item) for key, item in data.items()}
    )


def _read(word: str, inner: Any) -> Value:
    try:
        return _WORDS[word](inner)
    except (TypeError, ValueError, OverflowError) as error:
        raise RequestError(f"`{word}` holds what it cannot hold") from error


class Veil:
    """What is kept of an event: by this one, everything."""

    def value(self, path: str, value: Any) -> Any:
        """What is kept of an id (`subject.id`, `resource.id`, `patients`), of the operation, and of a constant of the
        residual (`=resource.modality`)."""
        return value

    def properties(self, prefix: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        """What is kept of the attributes or details of this prefix, packed."""
        packed: dict[str, Any] = pack(properties)
        return packed

    def subject(self, subject: Entity) -> dict[str, Any]:
        return _party("subject", subject, self)

    def decision(self, decision: Decision) -> dict[str, Any]:
        return _decision(decision, self)

    def timestamp(self, moment: datetime) -> str:
        return timestamp(moment)


def body(event: AuditEvent, veil: Veil = Veil()) -> dict[str, Any]:
    """The packed body of an event, empty parts left out; `veil` says what is kept of it."""
    given: dict[str, Any] = {
        "v": FORMAT,
        "time": veil.timestamp(event.time),
        "kind": event.kind.value,
        "protocol": event.protocol,
        "operation": veil.value("operation", event.operation),
        "subject": veil.value("subject.id", event.subject),
        "outcome": event.outcome.value,
    }
    if event.patients:
        given["patients"] = list(dict.fromkeys([veil.value("patients", patient) for patient in event.patients]))
    if event.decision is not None:
        given["decision"] = veil.decision(event.decision)
    if event.request is not None:
        given["request"] = _request(event.request, veil)
    if detail := veil.properties("detail", event.detail):
        given["detail"] = detail
    return given


def _decision(decision: Decision, veil: Veil) -> dict[str, Any]:
    given: dict[str, Any] = {"effect": decision.effect.value, "facts": decision.facts}
    if operation := veil.value("operation", decision.operation):
        given["operation"] = operation
    if decision.bundle:
        given["bundle"] = decision.bundle
    if decision.matched:
        given["matched"] = list(decision.matched)
    if decision.unknowns:
        given["unknowns"] = [str(item) for item in decision.unknowns]
    if decision.reasons:
        given["reasons"] = [item.to_json() for item in decision.reasons]
    if decision.obligations:
        given["obligations"] = [_obligation(item) for item in decision.obligations]
    if decision.advice:
        given["advice"] = [_obligation(item) for item in decision.advice]
    if decision.valid_until is not None:
        given["valid_until"] = timestamp(decision.valid_until)
    if decision.effect is Effect.CONDITIONAL and decision.residual.clauses:
        given["residual"] = [_clause(clause, veil) for clause in decision.residual.clauses]
    return given


def _obligation(item: Obligation) -> dict[str, Any]:
    return {"id": item.id, "type": item.type, "properties": pack(item.properties)}


def _clause(clause: Clause, veil: Veil) -> dict[str, Any]:
    atoms = [
        {
            "attribute": atom.attribute,
            "op": atom.op,
            "value": pack(atom.value if atom.op == "has" else veil.value(f"={atom.attribute}", atom.value)),
        }
        for atom in clause.atoms
    ]
    return {"all": atoms, "policies": list(clause.policies), "exact": clause.exact}


def _request(request: Request, veil: Veil) -> dict[str, Any]:
    given: dict[str, Any] = {
        "subject": veil.subject(request.subject),
        "action": {"name": request.action.name},
        "resource": _party("resource", request.resource, veil),
    }
    if properties := veil.properties("action", request.action.properties):
        given["action"]["properties"] = properties
    if context := veil.properties("context", request.context):
        given["context"] = context
    if request.deferred:
        given["deferred"] = sorted(request.deferred)
    return given


def _party(prefix: str, entity: Entity, veil: Veil) -> dict[str, Any]:
    given: dict[str, Any] = {"type": entity.type, "id": veil.value(f"{prefix}.id", entity.id)}
    if properties := veil.properties(prefix, entity.properties):
        given["properties"] = properties
    return given


def request_of(record: Mapping[str, Any]) -> Request | None:
    """The request that a body holds, so that it can be decided again; None if it holds none. Raises RequestError."""
    given: Any = unpack(record.get("request"))
    if given is None:
        return None
    try:
        return Request(
            _entity(given["subject"]),
            Action(given["action"]["name"], given["action"].get("properties", {})),
            _entity(given["resource"]),
            given.get("context", {}),
            frozenset(given.get("deferred", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise RequestError("the record's request is not one") from error


def _entity(given: Mapping[str, Any]) -> Entity:
    return Entity(given["type"], given["id"], given.get("properties", {}))
