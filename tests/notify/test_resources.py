"""Tasks and Communications: right by the models, the same at every attempt, and silent on names."""

from __future__ import annotations

import json

import pytest
from fhir.resources.R4B.communication import Communication
from fhir.resources.R4B.task import Task
from hypothesis import given, settings
from hypothesis import strategies as st

from adapters.notify.resources import communication, resource_id, task
from spir.errors import RequestError, SpirError
from tests.given import HIS
from tests.notify.parcels import ALERT, parcel
from tests.notify.test_notice import BODIES

P001 = {"type": "Patient", "identifier": {"system": "urn:oid:1.2.3", "value": "P001"}}
PLACER = {"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0203", "code": "PLAC"}]}
WORKFLOW = {
    "patient": "HIS|P001",
    "operation": "update:order:stat",
    "orders": [{"placer": "ORD1", "code": "24323-8", "system": "LN"}],
}


def test_a_trigger_becomes_a_task():
    given = parcel(WORKFLOW, channel="workflow", kind="trigger", priority="immediate")
    order = {"type": "ServiceRequest", "identifier": {"type": PLACER, "value": "ORD1"}}
    service = {"coding": [{"system": "http://loinc.org", "code": "24323-8"}]}
    assert task(given, HIS) == {
        "resourceType": "Task",
        "id": "spir-a1b2",
        "identifier": [{"system": "urn:spir:notification", "value": "a1b2"}],
        "status": "requested",
        "intent": "order",
        "priority": "stat",
        "code": {"coding": [{"system": "urn:spir:operation", "code": "update:order:stat"}]},
        "description": "trigger (stat): update:order:stat, code 24323-8",
        "authoredOn": "2026-11-21T12:00:00.000Z",
        "for": P001,
        "basedOn": [order],
        "focus": order,
        "input": [{"type": {"text": "code"}, "valueCodeableConcept": service}],
    }


def test_an_alert_becomes_a_communication():
    category = {"system": "http://terminology.hl7.org/CodeSystem/communication-category", "code": "alert"}
    assert communication(parcel(), HIS) == {
        "resourceType": "Communication",
        "id": "spir-a1b2",
        "identifier": [{"system": "urn:spir:notification", "value": "a1b2"}],
        "status": "completed",
        "category": [{"coding": [category]}],
        "priority": "stat",
        "topic": {"coding": [{"system": "urn:spir:operation", "code": "view:result:critical"}]},
        "sent": "2026-11-21T12:00:00.000Z",
        "payload": [{"contentString": "notify (stat): view:result:critical, code 2823-3"}],
        "subject": P001,
        "reasonCode": [{"coding": [{"code": "2823-3"}]}],
    }


def test_a_routine_notice_is_no_alert():
    made = communication(parcel(priority="routine"), HIS)
    assert (made["priority"], made["category"][0]["coding"][0]["code"]) == ("routine", "notification")


def test_several_patients_are_all_named():
    body = {"patients": ["HIS|P001", "HIS|P002"]}
    made, told = task(parcel(body), HIS), communication(parcel(body), HIS)
    assert "for" not in made and "subject" not in told
    assert [one["valueReference"]["identifier"]["value"] for one in made["input"]] == ["P001", "P002"]
    assert [one["identifier"]["value"] for one in told["about"]] == ["P001", "P002"]


def test_a_text_names_a_few_codes_and_counts_the_others():
    made = communication(parcel({"operation": "view:result:critical", "codes": [f"c{n}" for n in range(11)]}), HIS)
    [said] = [one["contentString"] for one in made["payload"]]
    assert said.endswith("code c6, code c7, 3 more") and len(made["reasonCode"]) == 11


def test_a_notice_without_a_patient_names_none():
    made = task(parcel({"operation": "search:imaging"}), HIS)
    assert not {"for", "input", "focus", "basedOn", "reasonCode"} & made.keys()


@pytest.mark.parametrize("write", [task, communication])
@pytest.mark.parametrize("patient", ["LAB|P001", "P001", "|P001", "HIS|"])
def test_a_patient_without_a_system_is_not_guessed(write, patient):
    with pytest.raises(RequestError) as caught:
        write(parcel({"patient": patient}), HIS)
    assert "P001" not in str(caught.value)


@pytest.mark.parametrize("id", ["", "a/b", "a?b", "x" * 60, "é", "a\n"])
def test_an_id_that_would_lead_elsewhere_is_refused(id):
    with pytest.raises(RequestError):
        resource_id(parcel(id=id))


def test_another_attempt_says_the_same():
    assert task(parcel(), HIS) == task(parcel(attempts=7), HIS)


def test_texts_name_nobody():
    told = json.dumps(communication(parcel({**ALERT, "message": "Doe^John", "source": "LAB", "name": "Doe"}), HIS))
    assert "Doe" not in told and told.count("P001") == 1


@settings(max_examples=60)
@given(BODIES, st.sampled_from(["notify", "trigger"]), st.sampled_from(["immediate", "urgent", "routine", ""]))
def test_any_body_becomes_a_valid_resource_or_our_error(body, kind, priority):
    given = parcel(body, kind=kind, priority=priority)
    try:
        made = task(given, HIS), communication(given, HIS)
    except SpirError:
        return
    Task.model_validate_json(json.dumps(made[0]))
    Communication.model_validate_json(json.dumps(made[1]))
