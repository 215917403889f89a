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
from functools import lru_cache
from typing import Any

from adapters.audit.swift import dumps
from spir.model.value import Value
from spir.record.canonical import DROPPED, body, encode, pack
from spir.record.event import AuditEvent

__all__ = ["ATTRIBUTES", "DETAILS", "DIGESTED", "Pseudonyms"]

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
LONGEST_TEXT = 256
MOST_ITEMS = 64


class Pseudonyms:
    """The site's key (32 bytes) and its lists: attribute paths and keys of `detail` that may be kept."""

    def __init__(self, key: bytes, attributes: frozenset[str] = ATTRIBUTES, details: frozenset[str] = DETAILS) -> None:
        self._key = key
        self.attributes = attributes
        self.details = details
        self.digest = lru_cache(maxsize=8192)(self._digest)

    def _digest(self, text: str) -> str:
        """What stands for `text`: the same for the same site, 128 bits."""
        return f"hmac:{hmac.digest(self._key, text.encode('utf-8', 'backslashreplace'), 'sha256').hex()[:32]}"

    def sealed(self, event: AuditEvent) -> tuple[dict[str, Any], bytes]:
        """The body that may be kept, and its canonical bytes; its `dropped` counts what was left out."""
        ids = _clear_ids(event)
        sieve = _Sieve(self, ids)
        given = body(event, sieve)
        if sieve.dropped:
            given["dropped"] = sieve.dropped
        return given, self._scrubbed(dumps(given), ids)

    def without(self, text: str, ids: Iterable[str]) -> str:
        for id in ids:
            if id in text:
                text = text.replace(id, self.digest(id))
        return text

    def _scrubbed(self, data: bytes, ids: Iterable[str]) -> bytes:
        """The bytes without any clear id, wherever somebody may have put it: a reason's text, say."""
        for id in ids:
            needle = dumps(id)[1:-1]
            if needle in data:
                data = data.replace(needle, self.digest(id).encode())
        return data


def _clear_ids(event: AuditEvent) -> set[str]:
    """Canonical patient ids (`authority|value`) that this event is about."""
    found: set[Any] = set(event.patients)
    if event.request is not None:
        resource = event.request.resource
        patient = resource.properties.get("patient")
        held = patient.get("id") if isinstance(patient, Mapping) else None
        found.update(id for id in (held, resource.id) if isinstance(id, str))
    return {id for id in found if "|" in id.strip("|")}


class _Sieve:
    """One event's passage (a `canonical.Veil`): what it lets through, and how much it dropped."""

    def __init__(self, names: Pseudonyms, ids: Iterable[str]) -> None:
        self.names = names
        self.attributes, self.details = names.attributes, names.details
        self.ids = ids
        self.dropped = 0

    def __call__(self, path: str, value: Any) -> Any:
        if path in self.attributes and _is_short(value):
            return value
        if path in DIGESTED:
            return self._digested(value)
        if path.startswith("="):
            return self._constant(path[1:], value)
        if path in ("operation", "subject.id"):
            return self.names.without(value[:LONGEST_TEXT], self.ids)
        if path.startswith("detail.") and path[7:] in self.details and _is_code(value):
            return value
        self.dropped += 1
        return DROPPED

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
