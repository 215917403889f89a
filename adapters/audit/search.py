"""Finding records: who, what, when, about whom. Newest first, page by page.

A patient is asked for by the clear id; its digest is made with the site's
key, so nobody without the key can ask. Reading the trail is itself recorded:
`read_event` is the event to append.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import apsw

from adapters.audit.swift import loads
from spir.errors import RequestError
from spir.model.decision import Effect
from spir.record.canonical import timestamp
from spir.record.event import AuditEvent, EventKind, Outcome

__all__ = ["Found", "Page", "Query", "find", "read_event"]

MOST = 1000


@dataclass(frozen=True, slots=True)
class Query:
    """Empty parts match all. `since` is included, `until` is not; `operation` may hold `*`."""

    since: datetime | None = None
    until: datetime | None = None
    subject: str = ""
    operation: str = ""
    kind: EventKind | None = None
    effect: Effect | None = None
    outcome: Outcome | None = None
    protocol: str = ""
    patient: str = ""
    sequence: int | None = None


@dataclass(frozen=True, slots=True)
class Found:
    """A record's number and its body, decoded (see `spir.record.canonical`)."""

    sequence: int
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Page:
    """`next` is to be given as `before` for what follows; None at the end."""

    records: tuple[Found, ...]
    next: int | None = None


def find(
    connection: apsw.Connection,
    query: Query,
    digest: Callable[[str], str],
    *,
    before: int | None = None,
    limit: int = 50,
) -> Page:
    """A page of records; `digest` is `Pseudonyms.digest`. Raises RequestError for a limit out of range."""
    if not 1 <= limit <= MOST:
        raise RequestError(f"a page holds 1 to {MOST} records, not {limit}")
    tests, values = _tests(query, digest)
    if before is not None:
        tests.append("audit.seq < ?")
        values.append(before)
    joined = " join audit_patient on audit_patient.seq = audit.seq" if query.patient else ""
    where = f" where {' and '.join(tests)}" if tests else ""
    rows: list[Any] = connection.execute(
        f"select audit.seq, body from audit{joined}{where} order by audit.seq desc limit ?", (*values, limit + 1)
    ).fetchall()
    records = tuple(Found(sequence, loads(data)) for sequence, data in rows[:limit])
    return Page(records, records[-1].sequence if len(rows) > limit else None)


def read_event(query: Query, reader: str, found: int, now: datetime) -> AuditEvent:
    """The event that says who read the trail, and about whom."""
    return AuditEvent(
        now,
        EventKind.AUDIT_READ,
        "spir",
        "search:audit",
        reader,
        Outcome.SUCCESS,
        (query.patient,) if query.patient else (),
        detail={"records": found},
    )


def _tests(query: Query, digest: Callable[[str], str]) -> tuple[list[str], list[str | int]]:
    """Conditions in SQL, and their values."""
    given: list[tuple[str, str | int | None]] = [
        ("time >= ?", timestamp(query.since) if query.since else None),
        ("time < ?", timestamp(query.until) if query.until else None),
        ("subject = ?", query.subject),
        ("operation glob ?", query.operation.replace("[", "[[]").replace("?", "[?]")),
        ("kind = ?", query.kind and query.kind.value),
        ("effect = ?", query.effect and query.effect.value),
        ("outcome = ?", query.outcome and query.outcome.value),
        ("protocol = ?", query.protocol),
        ("audit_patient.patient = ?", digest(query.patient) if query.patient else None),
        ("audit.seq = ?", query.sequence),
    ]
    used = [(test, value) for test, value in given if value not in (None, "")]
    return [test for test, _ in used], [value for _, value in used if value is not None]
