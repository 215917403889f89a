"""What of an event may be written down: patients become keyed digests, and only listed attributes stay.

A digest is HMAC-SHA-256 under the site's key: whoever knows the patient and
holds the key finds the records, nobody else can tell or guess who it is.
Studies, series and objects are digested likewise. What policies decide on
(roles, departments, modalities, the resolved facts of the patient) stays, so
that a decision can be explained and decided again from the trail. What is on
no list is dropped and counted: a new attribute is a leak until somebody has
looked at it.

Pure: the key is given.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from spir.model.decision import Atom, Clause, Decision
from spir.model.request import Request
from spir.model.value import Value
from spir.record.canonical import body, encode, pack
from spir.record.event import AuditEvent

__all__ = ["ATTRIBUTES", "DETAILS", "DIGESTED", "Pseudonyms"]

DIGESTED = frozenset(
    {"resource.id", "resource.patient.id", "resource.study", "resource.series", "context.patient_session"}
)


def _named(text: str, prefix: str = "") -> list[str]:
    return [prefix + name for name in text.split()]


ATTRIBUTES = frozenset(
    _named(
        "role roles department organization license clearance certificate spiffe scopes permissions device secondments"
        " purpose trust",
        "subject.",
    )
    + _named(
        "type category organization department owner modality sensitivity classification labels status priority created"
        " author sop_class",
        "resource.",
    )
    + _named(
        "care_team encounter_status encounter_class location risk_level vip protection labels organization",
        "resource.patient.",
    )
    + _named(
        "now ip protocol organization location device_trusted trust risk purpose session emergency destination",
        "context.",
    )
)

# Keys of `detail`: counts, codes and ids of our own. Nothing that a peer words freely.
DETAILS = frozenset(
    _named(
        "ack address admitted ae_title answered application association attempts bundle bytes changes channel code"
        " completed control_id count destination duplicate error event facility facts failed filter fingerprint format"
        " hidden instances interaction kind layer level listener masked matched message messages method narrowed"
        " notification obligations outcome peer policy port previous priority protocol received records reason refused"
        " remaining removed results returned revision rows seconds segments sent sequence series service shown size"
        " stage state status step studies suboperations trace trigger type unmet unseen version warnings withheld"
    )
)

LONGEST_TEXT = 256
MOST_ITEMS = 64


@dataclass(frozen=True, slots=True)
class Pseudonyms:
    """The site's key (32 bytes) and its lists: attribute paths and keys of `detail` that may be kept."""

    key: bytes = field(repr=False)
    attributes: frozenset[str] = ATTRIBUTES
    details: frozenset[str] = DETAILS

    def digest(self, text: str) -> str:
        """What stands for `text`: the same for the same site, 128 bits."""
        return f"hmac:{hmac.digest(self.key, text.encode('utf-8', 'backslashreplace'), 'sha256').hex()[:32]}"

    def sealed(self, event: AuditEvent) -> tuple[AuditEvent, bytes]:
        """The event as it may be kept, and its canonical bytes; their `dropped` counts what was left out."""
        ids = _clear_ids(event)
        sieve = _Sieve(self)
        kept = replace(
            event,
            operation=self._without(event.operation[:LONGEST_TEXT], ids),
            subject=self._without(event.subject[:LONGEST_TEXT], ids),
            patients=tuple(dict.fromkeys(self.digest(patient) for patient in event.patients)),
            decision=event.decision and sieve.decision(event.decision),
            request=event.request and sieve.request(event.request),
            detail=sieve.detail(event.detail),
        )
        given = body(kept)
        if sieve.dropped:
            given["dropped"] = sieve.dropped
        return kept, self._scrubbed(encode(given), ids)

    def _without(self, text: str, ids: Iterable[str]) -> str:
        for id in ids:
            text = text.replace(id, self.digest(id))
        return text

    def _scrubbed(self, data: bytes, ids: Iterable[str]) -> bytes:
        """The bytes without any clear id, wherever somebody may have put it: a reason's text, say."""
        for id in ids:
            needle = encode(id)[1:-1]
            if needle in data:
                data = data.replace(needle, self.digest(id).encode())
        return data


def _clear_ids(event: AuditEvent) -> set[str]:
    """Canonical patient ids (`authority|value`) that this event is about."""
    found = set(event.patients)
    if event.request is not None:
        patient = event.request.resource.properties.get("patient")
        held = patient.get("id") if isinstance(patient, Mapping) else None
        found.update(id for id in (held, event.request.resource.id) if isinstance(id, str))
    return {id for id in found if "|" in id.strip("|")}


class _Sieve:
    """One event's passage: what it lets through, and how much it dropped."""

    def __init__(self, names: Pseudonyms) -> None:
        self.names = names
        self.dropped = 0

    def request(self, request: Request) -> Request:
        subject, resource = request.subject, request.resource
        return Request(
            replace(subject, properties=self._properties("subject", subject.properties)),
            replace(request.action, properties=self._properties("action", request.action.properties)),
            replace(
                resource,
                id=self.names.digest(resource.id) if resource.id else "",
                properties=self._properties("resource", resource.properties),
            ),
            self._properties("context", request.context),
            request.deferred,
        )

    def decision(self, decision: Decision) -> Decision:
        if not decision.residual.clauses:
            return decision
        clauses = tuple(
            Clause(tuple(self._atom(atom) for atom in clause.atoms), clause.policies, clause.exact)
            for clause in decision.residual.clauses
        )
        return replace(decision, residual=replace(decision.residual, clauses=clauses))

    def detail(self, detail: Mapping[str, Any]) -> dict[str, Any]:
        kept = {key: value for key, value in detail.items() if key in self.names.details and _is_code(value)}
        self.dropped += len(detail) - len(kept)
        return kept

    def _properties(self, prefix: str, properties: Mapping[str, Value]) -> dict[str, Value]:
        kept: dict[str, Value] = {}
        for key, value in properties.items():
            path = f"{prefix}.{key}"
            if path in DIGESTED:
                kept[key] = self._digested(value)
            elif path == "resource.patient" and isinstance(value, Mapping):
                kept[key] = self._properties(path, value)
            elif path in self.names.attributes and _is_short(value):
                kept[key] = value
            else:
                self.dropped += 1
        return kept

    def _atom(self, atom: Atom) -> Atom:
        """Its value as it is where the attribute may be kept; else digested, so that equal still shows as equal."""
        clear = atom.attribute in self.names.attributes or atom.op == "has"
        value = atom.value if clear else self._digested(atom.value)
        if isinstance(value, tuple) and len(value) > MOST_ITEMS:
            value = {"count": len(value), "digest": self._digested(encode(pack(value)).decode())}
        return replace(atom, value=value)

    def _digested(self, value: Value) -> Value:
        if isinstance(value, tuple):
            return tuple(self._digested(item) for item in value)
        text = value if isinstance(value, str) else encode(pack(value)).decode()
        return self.names.digest(text)


def _is_short(value: Value) -> bool:
    """Whether a value is of a size that a policy would compare with; others are content."""
    match value:
        case str() | bytes():
            return len(value) <= LONGEST_TEXT
        case tuple():
            return len(value) <= MOST_ITEMS and all(_is_short(item) for item in value)
        case Mapping():
            return len(value) <= MOST_ITEMS and all(len(key) <= 64 and _is_short(item) for key, item in value.items())
        case _:
            return True


def _is_code(value: Any) -> bool:
    """Whether a detail is a number, a short text of one line, or a few of these."""
    match value:
        case str():
            return len(value) <= 128 and value.isprintable()
        case None | int() | float():
            return True
        case tuple() | list():
            return len(value) <= MOST_ITEMS and all(_is_code(item) for item in value)
        case Mapping():
            return len(value) <= MOST_ITEMS and all(_is_code(key) and _is_code(item) for key, item in value.items())
        case _:
            return False
