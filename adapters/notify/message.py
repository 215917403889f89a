"""Write a notification as the HTTP request that delivers it.

Pure. A webhook's body is signed, and everything that its receiver may rely on
is inside the body: the id by which it knows what it has had before, and the
moment of the attempt, which bounds how long a captured request stays good.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from adapters.notify.channel import Channel, FhirCommunication, FhirTask, Webhook
from adapters.notify.port import Parcel
from adapters.notify.resources import communication, task
from spir.errors import RequestError
from spir.model.identity import PatientIdentifiers
from spir.model.value import thaw
from spir.record.canonical import timestamp

__all__ = ["ID", "SIGNATURE", "TIMESTAMP", "Message", "signature", "write"]

SIGNATURE = "x-spir-signature"
TIMESTAMP = "x-spir-timestamp"
ID = "x-spir-id"

_FHIR_JSON = "application/fhir+json"


@dataclass(frozen=True, slots=True)
class Message:
    """An HTTP request. `probe` is the URL that answers 200 or 410 if an earlier attempt arrived; "" for none.

    `present` are statuses that say the receiver has it already.
    """

    method: str
    url: str = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)
    body: bytes = field(repr=False)
    probe: str = field(default="", repr=False)
    present: frozenset[int] = frozenset()


def write(channel: Channel, parcel: Parcel, identifiers: PatientIdentifiers, now: datetime) -> Message:
    """The request for a parcel. Raises RequestError for what cannot be said on this channel."""
    match channel:
        case Webhook():
            return _webhook(channel, parcel, now)
        case FhirTask(base, headers):
            return _fhir(base, headers, task(parcel, identifiers))
        case FhirCommunication(base, headers):
            return _fhir(base, headers, communication(parcel, identifiers))


def signature(secret: bytes, body: bytes) -> str:
    """`sha256=` and the HMAC-SHA-256 (RFC 2104) of the body in hexadecimal."""
    return f"sha256={hmac.new(secret, body, hashlib.sha256).hexdigest()}"


def _webhook(channel: Webhook, parcel: Parcel, now: datetime) -> Message:
    moment = timestamp(now)
    notification = parcel.notification
    body = _json(
        {
            "id": parcel.id,
            "timestamp": moment,
            "channel": notification.channel,
            "kind": notification.kind,
            "priority": notification.priority,
            "created": timestamp(parcel.created),
            "attempt": parcel.attempts + 1,
            "body": thaw(notification.body),
        }
    )
    headers = {
        "Content-Type": "application/json",
        ID: parcel.id,
        "Idempotency-Key": parcel.id,
        TIMESTAMP: moment,
        SIGNATURE: signature(channel.secret, body),
    }
    return Message("POST", channel.url, headers, body)


def _fhir(base: str, headers: Mapping[str, str], resource: dict[str, Any]) -> Message:
    """An update as create (FHIR R4 http.html#upsert): a second attempt meets the first one's resource.

    INVARIANT: it never overwrites. Whoever works on a Task changes it, and a
    late repetition must not set it back: hence If-None-Match, and the probe
    for servers that do not heed it.
    """
    url = f"{base.rstrip('/')}/{resource['resourceType']}/{resource['id']}"
    ours = {"Content-Type": _FHIR_JSON, "Accept": _FHIR_JSON, "Prefer": "return=minimal", "If-None-Match": "*"}
    taken = {name.lower() for name in ours}
    theirs = {name: value for name, value in headers.items() if name.lower() not in taken}
    return Message("PUT", url, {**theirs, **ours}, _json(resource), probe=url, present=frozenset({412}))


def _json(data: Any) -> bytes:
    """ASCII only: lone surrogates, which UTF-8 cannot hold, stay escapes."""
    try:
        return json.dumps(data, allow_nan=False, separators=(",", ":")).encode("ascii")
    except (TypeError, ValueError, RecursionError) as error:
        raise RequestError("the body of a notification is not JSON") from error
