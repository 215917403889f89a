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
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, TypeVar

from adapters.audit.swift import dumps
from spir.model.decision import Decision
from spir.model.request import Entity
from spir.model.value import Value
from spir.record.canonical import Veil, body, encode, pack, timestamp
from spir.record.event import AuditEvent

__all__ = ["ATTRIBUTES", "DETAILS", "DIGESTED", "Pseudonyms", "Sealing"]

T = TypeVar("T")
R = TypeVar("R")

DIGESTED = frozenset(
    {
        "patients",
        "resource.id",
        "resource.patient.id",
        "resource.study",
        "resource.series",
        "context.patient_session",
        "subject.proxies",
    }
)


def _named(text: str, prefix: str = "") -> list[str]:
    return [prefix + name for name in text.split()]


ATTRIBUTES = frozenset(
    _named(
        "role roles department organization license clearance certificate spiffe scopes permissions device secondments"
        " purpose trust specialties supervisor",
        "subject.",
    )
    + _named(
        "type category organization department owner modality sensitivity classification labels status priority created"
        " author sop_class",
        "resource.",
    )
    + _named(
        "care_team encounter_status encounter_class location risk_level vip protection labels organization age",
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
        "ack acknowledgement address admitted ae_title answered application association attempts audit bundle bytes"
        " caused_by changes channel code completed control_id count destination doubts duplicate entries error event"
        " facility facts failed filter fingerprint format generation hidden instances interaction kind layer level"
        " listener masked matched message messages method names narrowed newly_permits notification obligations outcome"
        " peer policy port previous priority problem protocol reason received records refused remaining removed"
        " repeated request results returned revision rows seconds segments sent sequence series service shown signer"
        " size source stage state status step studies suboperations trace trigger type unmet unseen validation version"
        " warnings what why withheld"
    )
)

_NUMBERS = frozenset((bool, int, float))
_DIGESTED = {
    prefix: frozenset(path.rpartition(".")[2] for path in DIGESTED if path.rpartition(".")[0] == prefix)
    for prefix in ("resource", "resource.patient", "context", "subject")
}
_SEVERAL = frozenset(("context", "detail"))  # what several events may share
LONGEST_TEXT = 256
MOST_ITEMS = 64


class Pseudonyms:
    """The site's key (32 bytes) and its lists: attribute paths and keys of `detail` that may be kept."""

    def __init__(self, key: bytes, attributes: frozenset[str] = ATTRIBUTES, details: frozenset[str] = DETAILS) -> None:
        self._key = key
        self.attributes = attributes
        self.details = details
        self.digest = lru_cache(maxsize=8192)(self._digest)
        self._kept = {"detail": dict.fromkeys(details, _is_code)}
        for path in attributes:
            prefix, _, name = path.rpartition(".")
            self._kept.setdefault(prefix, {})[name] = _is_short

    def kept(self, prefix: str) -> Mapping[str, Callable[[Any], bool]]:
        """The names that may be kept as they are, each with a test of its value."""
        return self._kept.get(prefix, {})

    def _digest(self, text: str) -> str:
        """What stands for `text`: the same for the same site, 128 bits."""
        return f"hmac:{hmac.digest(self._key, text.encode('utf-8', 'backslashreplace'), 'sha256').hex()[:32]}"

    def sealed(self, event: AuditEvent) -> tuple[dict[str, Any], bytes]:
        """The body that may be kept, and its canonical bytes; its `dropped` counts what was left out."""
        return Sealing(self).sealed(event)

    def without(self, packed: Any, ids: Sequence[str]) -> Any:
        """Packed data with these ids digested in every text."""
        if isinstance(packed, str):
            for id in ids:
                packed = packed.replace(id, self.digest(id))
        elif isinstance(packed, dict):
            return {self.without(key, ids): self.without(value, ids) for key, value in packed.items()}
        elif isinstance(packed, list):
            return [self.without(item, ids) for item in packed]
        return packed


def _clear_ids(event: AuditEvent) -> set[str]:
    """Canonical patient ids (`authority|value`) that this event is about."""
    found: set[Any] = set(event.patients)
    if event.request is not None:
        resource = event.request.resource
        patient = resource.properties.get("patient")
        held = patient.get("id") if isinstance(patient, Mapping) else None
        found.update(id for id in (held, resource.id) if isinstance(id, str))
    return {id for id in found if "|" in id.strip("|")}


class Sealing(Veil):
    """The passage of events that are written together: what of each may be kept. What several of them share, as the
    items of a batch do, is looked through once."""

    def __init__(self, names: Pseudonyms) -> None:
        self.names = names
        self.dropped = 0  # of the event at hand
        # INVARIANT: what is remembered is held, so that nothing else can have its id.
        self._seen: dict[tuple[str, int], tuple[Any, Any, int]] = {}

    def sealed(self, event: AuditEvent) -> tuple[dict[str, Any], bytes]:
        """As `Pseudonyms.sealed`."""
        self.dropped = 0
        given = body(event, self)
        if self.dropped:
            given["dropped"] = self.dropped
        data = dumps(given)
        # INVARIANT: no id of this event is written, wherever somebody may have put it: into the text of a reason, say.
        if clear := [id for id in _clear_ids(event) if dumps(id)[1:-1] in data]:
            given = self.names.without(given, sorted(clear, key=len, reverse=True))
            data = dumps(given)
        return given, data

    def properties(self, prefix: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        if prefix in _SEVERAL:
            return self._once(prefix, properties, partial(self._kept, prefix))
        return self._kept(prefix, properties)

    def subject(self, subject: Entity) -> dict[str, Any]:
        return self._once("subject", subject, super().subject)

    def decision(self, decision: Decision) -> dict[str, Any]:
        return self._once("decision", decision, super().decision)

    def timestamp(self, moment: datetime) -> str:
        return self._once("time", moment, timestamp)

    def value(self, path: str, value: Any) -> Any:
        if path in DIGESTED:
            return self._digested(value)
        if path.startswith("="):
            return self._constant(path[1:], value)
        return value[:LONGEST_TEXT]

    def _once(self, name: str, given: T, make: Callable[[T], R]) -> R:
        """What is made of this very object, which is counted as dropped each time."""
        key = (name, id(given))
        seen = self._seen.get(key)
        if seen is None:
            before = self.dropped
            made = make(given)
            self._seen[key] = (given, made, self.dropped - before)
            return made
        self.dropped += seen[2]
        return seen[1]  # type: ignore[no-any-return]

    def _kept(self, prefix: str, properties: Mapping[str, Any]) -> dict[str, Any]:
        names, kept = self.names.kept(prefix), {}
        for key, value in properties.items():
            may = names.get(key)
            if may is not None and may(value):
                kept[key] = value if value.__class__ is str else pack(value)
            elif key in _DIGESTED.get(prefix, ()):
                kept[key] = pack(self._digested(value))
            elif key == "patient" and prefix == "resource" and isinstance(value, Mapping):
                kept[key] = self._kept("resource.patient", value)
            else:
                self.dropped += 1
        return kept

    def _constant(self, attribute: str, value: Value) -> Value:
        """Of a residual: as it is where the attribute may be kept; else digested, so that equals still show."""
        value = value if attribute in self.names.attributes else self._digested(value)
        if isinstance(value, tuple) and len(value) > MOST_ITEMS:
            return {"count": len(value), "digest": self._digested(encode(pack(value)).decode())}
        return value

    def _digested(self, value: Value) -> Value:
        if isinstance(value, tuple):
            return tuple(self._digested(item) for item in value)
        if value == "":
            return ""
        return self.names.digest(value if isinstance(value, str) else encode(pack(value)).decode())


def _is_short(value: Value) -> bool:
    """Whether a value is of a size that a policy would compare with; others are content."""
    kind = value.__class__
    if kind is str or isinstance(value, (str, bytes)):
        return len(value) <= LONGEST_TEXT  # type: ignore[arg-type]
    if kind in _NUMBERS:
        return True
    if isinstance(value, tuple):
        return len(value) <= MOST_ITEMS and all(map(_is_short, value))
    if isinstance(value, Mapping):
        return len(value) <= MOST_ITEMS and all(len(key) <= 64 and _is_short(item) for key, item in value.items())
    return True


def _is_code(value: Any) -> bool:
    """Whether a detail is a number, a short text of one line, or a few of these."""
    if isinstance(value, str):
        return len(value) <= 128 and value.isprintable()
    if value is None or isinstance(value, (int, float)):
        return True
    if isinstance(value, (tuple, list)):
        return len(value) <= MOST_ITEMS and all(map(_is_code, value))
    if isinstance(value, Mapping):
        return len(value) <= MOST_ITEMS and all(_is_code(key) and _is_code(item) for key, item in value.items())
    return False
