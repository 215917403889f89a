"""What the audit trail is told of a call. Pure: time is passed in.

`detail` holds the caller's id, the service, counts and the trace id; nothing
that a caller words freely, for it could name a patient.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spir.engine.attributes import patient_id
from spir.exchange import Record
from spir.model.decision import Decision
from spir.model.request import Request
from spir.record.event import AuditEvent, EventKind, Outcome

__all__ = ["Call", "evaluated", "refused", "searched"]

PROTOCOL = "pdp"


@dataclass(frozen=True, slots=True)
class Call:
    """One call as the trail sees it. `trace`: the W3C trace id, 32 hexadecimal digits."""

    service: str
    peer: str = ""
    address: str = ""
    trace: str = ""

    def detail(self, more: Mapping[str, Any]) -> dict[str, Any]:
        said = {"service": self.service, "peer": self.peer, "address": self.address, "trace": self.trace}
        return {**{name: text for name, text in said.items() if text}, **more}


def evaluated(call: Call, request: Request, decision: Decision, permitted: bool, now: datetime) -> Record:
    """One decision was asked for and given."""
    outcome = Outcome.SUCCESS if permitted else Outcome.REFUSED
    patient = patient_id(request)
    return Record(
        AuditEvent(
            now,
            EventKind.DECISION,
            PROTOCOL,
            request.operation,
            request.subject.id,
            outcome,
            (patient,) if patient else (),
            decision,
            request,
            call.detail({}),
        )
    )


def searched(call: Call, request: Request, counts: Mapping[str, int], now: datetime) -> Record:
    """A page of a search was given: `counts` says how many were looked at and how many are in it."""
    patient = patient_id(request)
    return Record(
        AuditEvent(
            now,
            EventKind.DECISION,
            PROTOCOL,
            request.operation,
            request.subject.id,
            Outcome.SUCCESS,
            (patient,) if patient else (),
            None,
            request,
            call.detail(counts),
        )
    )


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
            call.detail({"status": status}),
        )
    )
