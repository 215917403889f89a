"""One message on its way through a session: what is known of it by now, and what is written down about it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from adapters.hl7v2 import charset
from adapters.hl7v2.header import Header
from adapters.hl7v2.intake import Arrival, Desk
from adapters.hl7v2.message import Message
from adapters.hl7v2.reading import Matter
from adapters.hl7v2.source import Source
from spir.exchange import Keep, Notification, Ruling, notification
from spir.model.obligation import Obligation
from spir.record.event import AuditEvent, EventKind, Outcome

__all__ = ["Case", "Ruled"]

_EVENT = re.compile(r"[A-Z][A-Z0-9]{2}(\^[A-Z][A-Z0-9]{2})?")
_UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Ruled:
    """A matter, what was ruled, and the obligations to carry out (None: it is denied)."""

    matter: Matter
    ruling: Ruling
    obligations: tuple[Obligation, ...] | None

    @property
    def duties(self) -> tuple[Obligation, ...]:
        """Those that reach a third party."""
        return tuple(item for item in self.obligations or () if item.type in ("notify", "trigger"))


@dataclass(slots=True)
class Case:
    """`source` and `message` are None until they are known; `subject` is the sender's id.

    `event` is message code and trigger event, a fixed word if the sender wrote
    anything else; `serial` our own id of the message, and of its acknowledgement.
    """

    arrival: Arrival
    desk: Desk
    header: Header
    digest: bytes
    source: Source | None = None
    subject: str = _UNKNOWN
    message: Message | None = None
    warnings: tuple[str, ...] = ()
    event: str = _UNKNOWN
    serial: str = ""

    def __post_init__(self) -> None:
        self.serial = self.digest.hex()[:16]
        named = self.header.event
        if _EVENT.fullmatch(named):
            self.event = named

    @property
    def sender(self) -> str:
        """The source's name; a fixed word if it is none of ours."""
        return self.source.name if self.source else _UNKNOWN

    @property
    def pin(self) -> str:
        """The codec that the source is pinned to; "" if it is not. Raises MessageError."""
        tables = self.desk.reader.tables
        named = self.source.charset if self.source else ""
        return charset.pinned(named, tables.charsets, tables.pins) if named else ""

    def keep(self, state: str) -> Keep:
        """The message as it came."""
        return Keep(self.sender, self.header.control_id, self.event, self.arrival.body, state)

    def happened(self, kind: EventKind, outcome: Outcome, **detail: Any) -> AuditEvent:
        """The audit event of a message about which nothing was decided."""
        return self._audit(kind, self.event, outcome, (), None, detail)

    def decided(self, item: Ruled, outcome: Outcome, **detail: Any) -> AuditEvent:
        """The audit event of one decision about the message."""
        kind = EventKind.DECISION if outcome is Outcome.REFUSED else EventKind.MESSAGE
        levels = [str(duty.properties["level"]) for duty in item.obligations or () if "level" in duty.properties]
        if levels:
            detail["audit"] = levels
        patients = tuple(name for name in (item.matter.patient, *item.matter.merged) if name)
        return self._audit(kind, item.matter.operation, outcome, patients, item.ruling, detail)

    def notice(self, matter: Matter, duty: Obligation) -> Notification:
        """What a third party is told: who, what and when, codes and order numbers; no names, values or texts."""
        about = {
            "kind": "workflow" if duty.type == "trigger" else "alert",
            "operation": matter.operation,
            "patient": matter.patient,
            "message": self.header.control_id,
            "source": self.sender,
            "time": self.arrival.received.isoformat(),
        }
        return notification(duty, about | dict(matter.content))

    def _audit(
        self,
        kind: EventKind,
        operation: str,
        outcome: Outcome,
        patients: tuple[str, ...],
        ruling: Ruling | None,
        detail: dict[str, Any],
    ) -> AuditEvent:
        """`detail` holds our own ids, codes and counts, and nothing the message says."""
        told: dict[str, Any] = {"event": self.event, "source": self.sender, "message": self.serial} | detail
        if self.warnings:
            told["warnings"] = list(self.warnings)
        return AuditEvent(
            self.arrival.received,
            kind,
            "hl7v2",
            operation,
            self.subject,
            outcome,
            patients,
            ruling.decision if ruling else None,
            ruling.request if ruling else None,
            told,
        )
