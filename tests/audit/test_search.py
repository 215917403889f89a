"""Finding records, page by page."""

from __future__ import annotations

from datetime import timedelta

import apsw
import pytest

from adapters.audit.search import Query, find, read_event
from spir.errors import RequestError
from spir.model.decision import Effect
from spir.record.event import EventKind, Outcome
from tests.audit.trails import NAMES, PATIENTS, decided, filled
from tests.given import NOON


@pytest.fixture(scope="module")
def trail() -> apsw.Connection:
    connection, journal = filled(count=6)
    journal.append(connection, decided(6, Effect.DENY, "dr.wu", "fhir"))
    journal.append(connection, decided(7, Effect.DENY, "dr.wu", "fhir"))
    return connection


def sequences(connection: apsw.Connection, query: Query) -> list[int]:
    return [record.sequence for record in find(connection, query, NAMES.digest).records]


@pytest.mark.parametrize(
    ("query", "expected"),
    [
        (Query(), [8, 7, 6, 5, 4, 3, 2, 1]),
        (Query(subject="dr.wu"), [8, 7]),
        (Query(patient=PATIENTS[0]), [7, 5, 3]),
        (Query(patient="HIS|nobody"), []),
        (Query(effect=Effect.DENY, patient=PATIENTS[0]), [7]),
        (Query(outcome=Outcome.REFUSED), [8, 7]),
        (Query(protocol="fhir"), [8, 7]),
        (Query(kind=EventKind.LIFECYCLE), [1]),
        (Query(operation="search:*"), [8, 7, 6, 5, 4, 3, 2]),
        (Query(operation="*:imaging", subject="dr.li"), [6, 5, 4, 3, 2]),
        (Query(operation="s?arch:imaging"), []),
        (Query(operation="[s]earch:imaging"), []),
        (Query(sequence=3), [3]),
        (Query(since=NOON + timedelta(minutes=5)), [8, 7, 6]),
        (Query(until=NOON + timedelta(minutes=2)), [2, 1]),
        (Query(since=NOON + timedelta(minutes=2), until=NOON + timedelta(minutes=4)), [4, 3]),
        (Query(subject="' or 1=1 --"), []),
    ],
)
def test_a_query_finds_what_it_says(trail: apsw.Connection, query: Query, expected: list[int]):
    assert sequences(trail, query) == expected


def test_pages_follow_one_another_without_gap(trail: apsw.Connection):
    seen, before = [], None
    while True:
        page = find(trail, Query(), NAMES.digest, before=before, limit=3)
        seen.append([record.sequence for record in page.records])
        before = page.next
        if before is None:
            break
    assert seen == [[8, 7, 6], [5, 4, 3], [2, 1]]


def test_a_record_comes_with_its_body(trail: apsw.Connection):
    [record] = find(trail, Query(sequence=8), NAMES.digest).records
    assert (record.body["subject"], record.body["patients"]) == ("dr.wu", [NAMES.digest(PATIENTS[1])])


@pytest.mark.parametrize("limit", [0, -1, 1001])
def test_a_page_has_a_size(trail: apsw.Connection, limit: int):
    with pytest.raises(RequestError):
        find(trail, Query(), NAMES.digest, limit=limit)


def test_reading_the_trail_is_an_event_itself():
    event = read_event(Query(patient="HIS|P001"), "officer", 3, NOON)
    assert (event.kind, event.subject, event.patients, event.detail) == (
        EventKind.AUDIT_READ,
        "officer",
        ("HIS|P001",),
        {"records": 3},
    )
