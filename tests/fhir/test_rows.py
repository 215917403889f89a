from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import pytest

from adapters.fhir.document import REMOVE
from adapters.fhir.rows import Judge, Reading, Verdict
from spir.model.condition import And, Attribute, Condition, Has
from spir.model.decision import Decision, Effect, Residual
from spir.model.obligation import Obligation
from spir.model.request import Request
from tests.fhir.given_fhir import TABLES, UPSTREAM, mask, observation, patient
from tests.given import DR_LI, HIS, GivenRuling, deny, permit

READING = Reading(TABLES, HIS, UPSTREAM, lambda reference: {"Practitioner/li": "dr.li"}.get(reference))
NAMES = [
    "category",
    "status",
    "priority",
    "created",
    "author",
    "labels",
    "sensitivity",
    "study",
    "modality",
    "id",
    "patient.id",
]
ALL: Condition = And(tuple(Has(Attribute(f"resource.{name}")) for name in NAMES))
KNOWN = {"p1": frozenset({"HIS|P001"}), "p2": frozenset({"HIS|P002"})}


def asked(kind: str) -> Request:
    return Request.build(DR_LI, f"read:{kind}")


def judge(resource: Any, rulings: Mapping[str, Any]) -> Verdict:
    return Judge(READING, rulings, KNOWN).verdict(READING.parts(resource))


def types_of(resource: Any) -> tuple[str, ...]:
    return READING.parts(resource)[0].kinds


def rows_of(resource: Any, kind: str) -> list[Mapping[str, Any]]:
    seen: list[Mapping[str, Any]] = []

    def look(row: Mapping[str, Any]) -> bool:
        seen.append({name: value for name, value in row.items() if value is not None})
        return True

    ruling = GivenRuling(Decision(Effect.CONDITIONAL, "read", Residual(ALL, ())), asked(kind), look)
    judge(resource, dict.fromkeys(types_of(resource), ruling))
    return seen


def test_an_observation_is_a_row_of_its_patient():
    resource = observation(
        "o",
        "p1",
        effectiveDateTime="2026-11-20T08:00:00+08:00",
        performer=[{"reference": "Practitioner/li"}],
        interpretation=[{"coding": [{"code": "HH"}]}],
        meta={
            "security": [
                {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "N"},
                {"system": "http://terminology.hl7.org/CodeSystem/v3-Confidentiality", "code": "R"},
                {"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"},
            ]
        },
    )
    assert rows_of(resource, "result") == [
        {
            "category": "critical",
            "status": "final",
            "created": datetime(2026, 11, 20, 0, 0, tzinfo=UTC),
            "author": "dr.li",
            "labels": ["N", "R", "restricted", "PSY", "psychiatry"],
            "sensitivity": 4,
            "patient": {"id": "HIS|P001"},
        }
    ]


def test_a_confidentiality_that_no_table_knows_is_the_strictest():
    system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    resource = observation("o", "p1", meta={"security": [{"system": system, "code": "X"}, {"code": "HOME"}, "R", {}]})
    (row,) = rows_of(resource, "result")
    assert (row["labels"], row["sensitivity"]) == (["X", "HOME"], 5)


def test_no_label_is_the_empty_list_and_no_patient_is_missing():
    resource = {"resourceType": "Observation", "id": "o", "status": "final"}
    assert rows_of(resource, "result") == [{"category": "routine", "status": "final", "labels": []}]


def test_a_date_without_a_time_is_no_moment():
    assert "created" not in rows_of(observation("o", "p1", effectiveDateTime="2026-11-20"), "result")[0]
    assert "created" not in rows_of(observation("o", "p1", effectiveDateTime="yesterday"), "result")[0]


def test_an_unknown_or_ambiguous_author_is_missing():
    two = [{"reference": "Practitioner/li"}, {"reference": "Practitioner/wu"}]
    for performer in ([{"reference": "Practitioner/wu"}], two, [{"display": "Li"}]):
        assert "author" not in rows_of(observation("o", "p1", performer=performer), "result")[0]


def test_a_study_is_a_row_for_every_modality_and_patient():
    study = {
        "resourceType": "ImagingStudy",
        "id": "s",
        "status": "available",
        "subject": {"reference": "Patient/p1"},
        "identifier": [{"system": "urn:dicom:uid", "value": "urn:oid:1.2.840.1"}],
        "modality": [{"code": "CT"}],
        "series": [{"uid": "1", "modality": {"code": "CT"}}, {"uid": "2", "modality": {"code": "SR"}}],
    }
    found = rows_of(study, "imaging")
    assert [row["modality"] for row in found] == ["CT", "SR"]
    assert {row["study"] for row in found} == {"1.2.840.1"}


def categorised(*codes: str) -> dict[str, Any]:
    return observation("o", "p1", category=[{"coding": [{"code": code}]} for code in codes])


@pytest.mark.parametrize(
    ("codes", "kinds"),
    [
        ([], {"result"}),
        (["laboratory"], {"result"}),
        (["vital-signs"], {"vitals"}),
        (["vital-signs", "laboratory"], {"vitals", "result"}),
    ],
)
def test_what_is_two_things_must_be_admitted_as_both(codes, kinds):
    resource = categorised(*codes)
    assert set(types_of(resource)) == kinds
    for missing in kinds:
        rulings = {kind: permit(asked(kind)) for kind in kinds if kind != missing}
        assert not judge(resource, rulings).admitted
    assert judge(resource, {kind: permit(asked(kind)) for kind in kinds}).admitted


def test_a_denied_ruling_admits_nothing():
    assert not judge(observation("o", "p1"), {"result": deny(asked("result"))}).admitted


def test_every_patient_of_a_resource_must_be_admitted():
    resource = {
        "resourceType": "Appointment",
        "participant": [{"actor": {"reference": "Patient/p1"}}, {"actor": {"reference": "Patient/p2"}}],
    }

    def only(*ids: str) -> GivenRuling:
        return GivenRuling(
            permit(asked("appointment")).decision,
            asked("appointment"),
            lambda row: (row["patient"] or {}).get("id") in ids,
        )

    assert not judge(resource, {"appointment": only("HIS|P001")}).admitted
    verdict = judge(resource, {"appointment": only("HIS|P001", "HIS|P002")})
    assert verdict.admitted and verdict.patients == ("HIS|P001", "HIS|P002")


def test_a_type_that_is_not_served_is_not_admitted():
    for resource in ({"resourceType": "Person"}, {"resourceType": 3}, [], None, {}):
        assert not judge(resource, {"patient": permit(asked("patient"))}).admitted


def test_contained_resources_are_judged_as_what_they_are_and_belong_to_their_container():
    seen = []

    def look(row: Mapping[str, Any]) -> bool:
        seen.append(row["patient"])
        return True

    inner = [{"resourceType": "Medication", "id": "m"}, {"resourceType": "Person"}, None, patient("q", "P002")]
    resource = {"resourceType": "MedicationRequest", "subject": {"reference": "Patient/p1"}, "contained": inner}
    rulings = {
        "prescription": GivenRuling(permit(asked("prescription")).decision, asked("prescription"), look),
        "patient": deny(asked("patient")),
    }
    verdict = judge(resource, rulings)
    assert verdict.where == {"contained": {1: REMOVE, 2: REMOVE, 3: REMOVE}}
    assert seen == [{"id": "HIS|P001"}, {"id": "HIS|P001"}]


def test_contained_that_is_no_list_is_not_admitted():
    resource = {**observation("o", "p1"), "contained": {"resourceType": "Patient"}}
    assert not judge(resource, {"result": permit(asked("result"))}).admitted


def ruled(*obligations: Obligation, bound: tuple[Obligation, ...] = ()) -> dict[str, GivenRuling]:
    decision = permit(asked("result"), obligations=obligations).decision
    return {"result": GivenRuling(decision, asked("result"), lambda row: True, bound)}


def test_obligations_of_the_decision_and_of_the_row_are_united():
    verdict = judge(observation("o", "p1"), ruled(mask("a"), bound=(mask("b"),)))
    assert verdict.obligations == (mask("a"), mask("b"))


@pytest.mark.parametrize(
    "obligation",
    [
        Obligation("d", "deidentify", {"profile": "basic"}),
        Obligation("x", "teleport", {}),
        Obligation("l", "limit", {"count": 0}),
        Obligation("l", "limit", {"days": 3}),
        Obligation("l", "limit", {"count": 3, "bytes": 1}),
        Obligation("l", "limit", {}),
    ],
)
def test_an_obligation_that_cannot_be_carried_out_admits_nothing(obligation):
    assert not judge(observation("o", "p1"), ruled(obligation)).admitted
    assert not judge(observation("o", "p1"), ruled(bound=(obligation,))).admitted
