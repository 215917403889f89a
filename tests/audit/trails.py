"""Trails for the tests: a database, a journal with a known key, and events of every kind."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import TypeVar

import apsw

from adapters.audit.journal import Journal
from adapters.audit.pseudonym import Pseudonyms
from spir.model.condition import TRUE
from spir.model.decision import Atom, Clause, Decision, Effect, Residual
from spir.model.request import Request
from spir.record.event import AuditEvent, EventKind, Outcome
from tests.given import DR_LI, NOON

T = TypeVar("T")
NAMES = Pseudonyms(bytes(range(32)))
PATIENTS = ("HIS|P001", "HIS|P002")


def decided(n: int, effect: Effect = Effect.PERMIT, subject: str = "dr.li", protocol: str = "dicom") -> AuditEvent:
    patient = PATIENTS[n % 2]
    request = Request.build(DR_LI, "search:imaging", {"patient": {"id": patient, "care_team": ["dr.li"]}})
    residual = Residual(TRUE, (Clause((Atom("resource.patient.id", "in", PATIENTS),)),))
    decision = Decision(effect, "search:imaging", residual)
    outcome = Outcome.REFUSED if effect is Effect.DENY else Outcome.SUCCESS
    moment = NOON + timedelta(minutes=n)
    return AuditEvent(
        moment, EventKind.DECISION, protocol, "search:imaging", subject, outcome, (patient,), decision, request
    )


def started() -> AuditEvent:
    return AuditEvent(NOON, EventKind.LIFECYCLE, "spir", "start", "spir", Outcome.SUCCESS, detail={"version": "1"})


def opened(path: Path | str = ":memory:") -> tuple[apsw.Connection, Journal]:
    connection, journal = apsw.Connection(str(path)), Journal(NAMES)
    journal.prepare(connection)
    return connection, journal


def filled(path: Path | str = ":memory:", count: int = 10) -> tuple[apsw.Connection, Journal]:
    connection, journal = opened(path)
    for n in range(count):
        journal.append(connection, started() if n == 0 else decided(n))
    return connection, journal


class Written:
    """`Write` on one connection, without threads."""

    def __init__(self, connection: apsw.Connection) -> None:
        self.connection = connection

    async def __call__(self, work: Callable[[apsw.Connection], T]) -> T:
        with self.connection:
            return work(self.connection)
