"""The audit event: what is remembered of one decision, one message, one refusal.

Patients appear in two places only: in `patients`, and inside `request` and
`decision`. The journal replaces each of them by a keyed digest before
anything is written, so that the trail can be searched by a person who knows
the patient, and tells nothing to one who does not. `detail` never holds an
identifier of a patient, a study or a message's content: counts, codes, our
own ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import Any

from spir.model.decision import Decision
from spir.model.request import EMPTY, Request
from spir.model.swift import swift

__all__ = ["AuditEvent", "EventKind", "Outcome"]


class EventKind(Enum):
    DECISION = "decision"  # an access was decided, and carried out or refused
    MESSAGE = "message"  # an HL7 v2 message arrived and became facts
    REFUSAL = "refusal"  # refused before a decision: identity, framing, unknown service
    NOTIFICATION = "notification"  # an obligation was carried out towards a third party
    LIFECYCLE = "lifecycle"  # start, stop, bundle activated, checkpoint
    AUDIT_READ = "audit-read"  # somebody read this trail


class Outcome(Enum):
    """Of the access, as its requester saw it."""

    SUCCESS = "success"
    PARTIAL = "partial"  # something was withheld or masked
    REFUSED = "refused"
    ERROR = "error"


@swift
@dataclass(frozen=True, slots=True)
class AuditEvent:
    """`protocol`: dicom, hl7v2, fhir, pdp or spir. `operation`: an operation code, or the native verb."""

    time: datetime
    kind: EventKind
    protocol: str
    operation: str
    subject: str
    outcome: Outcome
    patients: tuple[str, ...] = ()
    decision: Decision | None = None
    request: Request | None = None
    detail: Mapping[str, Any] = field(default_factory=lambda: EMPTY)
