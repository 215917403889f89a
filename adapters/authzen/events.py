"""What the audit trail is told of a call. Pure: time is passed in.

`detail` holds the caller's id, the service, counts and the trace id; nothing
that a caller words freely, for it could name a patient.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import msgspec

from adapters.authzen.deciding import BAD_REQUEST, Evaluated
from spir.engine.attributes import patient_id
from spir.exchange import Record
from spir.model.decision import Decision
from spir.model.request import Request
from spir.record.event import AuditEvent, EventKind, Outcome

__all__ = ["Call", "evaluated", "refused", "reloaded", "searched", "told"]

PROTOCOL = "pdp"
DECIDED, PERMITTED, DENIED = EventKind.DECISION, Outcome.SUCCESS, Outcome.REFUSED
UNREAD = "unread"  # in the place of an operation: what was asked could not be read


class Call(msgspec.Struct, frozen=True):
    """One call as the trail sees it. `trace`: the W3C trace id, 32 hexadecimal digits."""

    service: str
    peer: str = ""
    address: str = ""
    trace: str = ""

    def detail(self) -> dict[str, Any]:
        said = {"service": self.service}
        if self.peer:
            said["peer"] = self.peer
        if self.address:
            said["address"] = self.address
        if self.trace:
            said["trace"] = self.trace
        return said


def evaluated(call: Call, several: Iterable[Evaluated], now: datetime) -> list[Record]:
    """Decisions were asked for and given; or a request could not be read."""
    detail, records = call.detail(), []
    for done in several:
        request = done.request
        if request is None:
            records.append(refused(call, UNREAD, BAD_REQUEST, now))
            continue
        outcome = PERMITTED if done.permitted else DENIED
        subject, patients, decision = request.subject.id, done.patients, done.decision
        event = AuditEvent(
            now, DECIDED, PROTOCOL, done.operation, subject, outcome, patients, decision, request, detail
        )
        records.append(Record(event))
    return records


def told(call: Call, request: Request, decision: Decision, now: datetime) -> Record:
    """A plan or an explanation was given."""
    outcome = Outcome.REFUSED if decision.denied else Outcome.SUCCESS
    patient = patient_id(request)
    return Record(
        AuditEvent(
            now,
            DECIDED,
            PROTOCOL,
            request.operation,
            request.subject.id,
            outcome,
            (patient,) if patient else (),
            decision,
            request,
            call.detail(),
        )
    )


def searched(call: Call, request: Request, counts: Mapping[str, int], now: datetime) -> Record:
    """A page of a search was given: `counts` says how many were looked at and how many are in it."""
    patient = patient_id(request)
    return Record(
        AuditEvent(
            now,
            DECIDED,
            PROTOCOL,
            request.operation,
            request.subject.id,
            Outcome.SUCCESS,
            (patient,) if patient else (),
            None,
            request,
            {**call.detail(), **counts},
        )
    )


def reloaded(call: Call, operation: str, detail: Mapping[str, Any], sound: bool, now: datetime) -> Record:
    """A caller had the policies read again. What came into force is an event of its own, of the gateway's."""
    outcome = Outcome.SUCCESS if sound else Outcome.ERROR
    given = {**call.detail(), **detail}
    return Record(AuditEvent(now, EventKind.LIFECYCLE, PROTOCOL, operation, call.peer, outcome, (), None, None, given))


def refused(
    call: Call,
    operation: str,
    status: int,
    now: datetime,
    gate: tuple[Request, Decision] | None = None,
) -> Record:
    """A call was refused before anything was decided for it. `gate`: the decision on the caller, if it came to that."""
    outcome = Outcome.ERROR if status >= 500 else Outcome.REFUSED
    request, decision = gate or (None, None)
    return Record(
        AuditEvent(
            now,
            EventKind.REFUSAL,
            PROTOCOL,
            operation,
            call.peer,
            outcome,
            (),
            decision,
            request,
            {**call.detail(), "status": status},
        )
    )
