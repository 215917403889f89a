"""Write a notification as a FHIR R4 Task or Communication.

Pure. Patients are named by identifier (FHIR R4 references.html#logical), never
by name; texts hold the operation and codes only. The same notification gives
the same resource at every attempt, under an id made of its own.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Any

from adapters.notify.notice import Coded, Notice, Order, read
from adapters.notify.port import Parcel
from spir.errors import RequestError
from spir.model.identity import PatientIdentifiers

__all__ = ["NOTIFICATION", "OPERATION", "communication", "resource_id", "task"]

OPERATION = "urn:spir:operation"  # the code system of operation codes
NOTIFICATION = "urn:spir:notification"  # the identifier system of notifications
_CATEGORY = "http://terminology.hl7.org/CodeSystem/communication-category"
_NUMBER = "http://terminology.hl7.org/CodeSystem/v2-0203"  # types of identifiers

MOST_NAMED = 8  # codes in a text; the others are counted

# FHIR R4 datatypes.html#id allows 64 characters of these; the prefix takes five.
_ID = re.compile(r"[A-Za-z0-9.-]{1,59}", re.ASCII)


def resource_id(parcel: Parcel) -> str:
    """The id that a notification's resource has on every server. Raises RequestError."""
    if not _ID.fullmatch(parcel.id):
        raise RequestError("the notification's id cannot be the id of a FHIR resource")
    return f"spir-{parcel.id}"


def task(parcel: Parcel, identifiers: PatientIdentifiers) -> dict[str, Any]:
    """A Task that asks for the work a `trigger` starts (FHIR R4 task.html).

    One patient is `for`, several are inputs; the first order is the focus.
    Raises RequestError: a patient whose authority has no FHIR identifier system.
    """
    notice = read(parcel.notification)
    patients = _patients(notice, identifiers)
    orders = [_ordered(one) for one in notice.orders]
    made: dict[str, Any] = {
        **_head("Task", parcel),
        "status": "requested",
        "intent": "order",
        "priority": notice.priority,
        "code": _topic(notice, parcel),
        "description": _words(notice, parcel),
        "authoredOn": _moment(parcel.created),
    }
    if orders:
        made |= {"basedOn": orders, "focus": orders[0]}
    if len(patients) == 1:
        made["for"] = patients.pop()
    inputs = [{"type": {"text": "patient"}, "valueReference": one} for one in patients]
    inputs += [{"type": {"text": "code"}, "valueCodeableConcept": _concept(one)} for one in notice.codes]
    if inputs:
        made["input"] = inputs
    return made


def communication(parcel: Parcel, identifiers: PatientIdentifiers) -> dict[str, Any]:
    """A Communication that says what a `notify` tells (FHIR R4 communication.html).

    `completed` is the status of the transmission, which is over once the
    server has it; that somebody has read it would be `received`. One patient is
    the subject, several are what it is about. Raises RequestError as `task`.
    """
    notice = read(parcel.notification)
    patients = _patients(notice, identifiers)
    category = "notification" if notice.priority == "routine" else "alert"
    made: dict[str, Any] = {
        **_head("Communication", parcel),
        "status": "completed",
        "category": [{"coding": [{"system": _CATEGORY, "code": category}]}],
        "priority": notice.priority,
        "topic": _topic(notice, parcel),
        "sent": _moment(parcel.created),
        "payload": [{"contentString": _words(notice, parcel)}],
    }
    if len(patients) == 1:
        made["subject"] = patients.pop()
    several = {
        "about": patients,
        "basedOn": [_ordered(one) for one in notice.orders],
        "reasonCode": [_concept(one) for one in notice.codes],
    }
    return made | {name: items for name, items in several.items() if items}


# -- parts of both ---------------------------------------------------------------------------


def _head(kind: str, parcel: Parcel) -> dict[str, Any]:
    return {
        "resourceType": kind,
        "id": resource_id(parcel),
        "identifier": [{"system": NOTIFICATION, "value": parcel.id}],
    }


def _patients(notice: Notice, identifiers: PatientIdentifiers) -> list[dict[str, Any]]:
    return [_patient(id, identifiers) for id in notice.patients]


def _patient(canonical: str, identifiers: PatientIdentifiers) -> dict[str, Any]:
    """INVARIANT: never a value without its system: another authority's patient may have the same value."""
    known = identifiers.system(canonical)
    if known is None:
        raise RequestError(
            "a patient's assigning authority has no FHIR identifier system", hint="name it in identifier_systems"
        )
    system, value = known
    return {"type": "Patient", "identifier": {"system": system, "value": value}}


def _topic(notice: Notice, parcel: Parcel) -> dict[str, Any]:
    if not notice.operation:
        return {"text": parcel.notification.kind}
    return {"coding": [{"system": OPERATION, "code": notice.operation}]}


def _words(notice: Notice, parcel: Parcel) -> str:
    """For people: `notify (stat): view:result:critical, code 2823-3`."""
    codes = [f"code {one.code}" for one in notice.codes[:MOST_NAMED]]
    more = len(notice.codes) - len(codes)
    what = [notice.operation or "no operation named", *codes, *([f"{more} more"] if more else [])]
    return f"{parcel.notification.kind} ({notice.priority}): {', '.join(what)}"


def _concept(one: Coded) -> dict[str, Any]:
    return {"coding": [{**_system(one.system), "code": one.code}]}


def _ordered(one: Order) -> dict[str, Any]:
    kind = {"type": {"coding": [{"system": _NUMBER, "code": one.type}]}} if one.type else {}
    return {"type": "ServiceRequest", "identifier": {**kind, **_system(one.system), "value": one.number}}


def _system(system: str) -> dict[str, str]:
    return {"system": system} if system else {}


def _moment(moment: datetime) -> str:
    """A FHIR dateTime in UTC, to the millisecond."""
    return f"{moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec='milliseconds')}Z"
