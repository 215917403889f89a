"""Attempts leave a trail: whom a request was about is recorded even where nothing is shown."""

from __future__ import annotations

import pytest

from spir.model.decision import Decision, Effect
from spir.model.request import Request
from spir.record.event import Outcome
from tests.fhir.given_fhir import Desk, GivenUpstream, mask, observation, patient, ward
from tests.given import GivenRuling


def desk(ruler=None) -> Desk:
    upstream = GivenUpstream().put(
        patient("p1", "P001"),
        patient("p2", "P002"),
        observation("o1", "p1"),
        observation("o2", "p2"),
    )
    return Desk(ruler or ward(), upstream)


def test_a_read_that_is_withheld_is_recorded_with_its_patient_and_can_be_explained() -> None:
    played = desk().play("GET", "/Observation/o2")
    (event,) = played.events
    assert (played.status, event.outcome, event.patients) == (404, Outcome.REFUSED, ("HIS|P002",))
    assert event.request.resource.properties["patient"] == {"id": "HIS|P002"}
    assert not event.request.deferred
    assert event.request.operation.startswith(event.operation)
    assert event.decision.operation == event.operation


def test_what_is_not_there_is_about_nobody() -> None:
    (event,) = desk().play("GET", "/Observation/never").events
    assert (event.patients, event.detail["unseen"]) == ((), "absent")


def test_a_version_that_is_withheld_is_recorded_with_the_patients_of_both() -> None:
    at = desk()
    at.upstream.put(observation("o2", "p1"))
    (event,) = at.play("GET", "/Observation/o2/_history/1").events
    assert sorted(event.patients) == ["HIS|P001", "HIS|P002"]
    at.upstream.held["Observation", "o2"].append({})
    (event,) = at.play("GET", "/Observation/o2/_history/1").events
    assert event.patients == ("HIS|P002",)


def test_what_cannot_be_masked_is_recorded_with_its_patient() -> None:
    masks = (mask("patient.shoe_size"),)

    def tied(request: Request) -> GivenRuling:
        return GivenRuling(Decision(Effect.PERMIT, request.operation), request, obligations=masks)

    (event,) = desk(tied).play("GET", "/Patient/p2").events
    assert (event.outcome, event.patients) == (Outcome.REFUSED, ("HIS|P002",))


@pytest.mark.parametrize(
    ("method", "url", "body"),
    [
        ("DELETE", "/Observation/o2", None),
        ("PUT", "/Observation/o2", observation("o2", "p2")),
        ("POST", "/Observation", observation("x", "p2")),
        ("PUT", "/Observation/o1", observation("o1", "p2")),
    ],
)
def test_a_write_that_is_refused_is_recorded_with_its_patient(method: str, url: str, body: object) -> None:
    played = desk().play(method, url, body)
    assert played.status in (403, 404)
    assert "HIS|P002" in played.events[-1].patients


@pytest.mark.parametrize(
    "url",
    [
        "/Observation?patient=p2",
        "/Observation?patient=Patient/p2",
        "/Observation?_id=o2",
        "/Patient?_id=p2",
        "/Patient?identifier=urn:oid:1.2.3|P002",
    ],
)
def test_a_search_for_somebody_who_may_not_be_seen_is_found_by_that_patient(url: str) -> None:
    played = desk().play("GET", url)
    (event,) = played.events
    assert played.ids == []
    if "o2" not in url:  # narrowed to others, the upstream does not say whose this is
        assert event.patients == ("HIS|P002",)


def test_a_search_that_names_nobody_is_about_those_whom_it_shows() -> None:
    (event,) = desk().play("GET", "/Observation").events
    assert event.patients == ("HIS|P001",)
