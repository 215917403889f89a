from __future__ import annotations

from datetime import timedelta

import pytest

from adapters.fhir.patients import Known, Referred, canonical_ids, local_reference, referred
from spir.model.identity import PatientIdentifiers
from tests.fhir.given_fhir import TABLES, UPSTREAM, observation, patient
from tests.given import HIS, NOON

TWO = PatientIdentifiers({"LAB": "urn:lab", "HIS": "urn:oid:1.2.3"}, default="HIS")


def identified(*pairs, **more):
    return {"resourceType": "Patient", "identifier": [{"system": s, "value": v, **more} for s, v in pairs]}


@pytest.mark.parametrize(
    ("resource", "ids"),
    [
        (identified(("urn:oid:1.2.3", "P1")), {"HIS|P1"}),
        (identified(("urn:lab", "7"), ("urn:oid:1.2.3", "P1")), {"HIS|P1"}),
        (identified(("urn:lab", "7")), {"LAB|7"}),
        (identified(("urn:oid:1.2.3", "P1"), ("urn:oid:1.2.3", "P2")), {"HIS|P1", "HIS|P2"}),
        (identified(("urn:other", "P1")), set()),
        (identified(("", "P1")), set()),
        (identified(("urn:oid:1.2.3", "")), set()),
        (identified(("urn:oid:1.2.3", "P|1")), set()),
        (identified(("urn:oid:1.2.3", "P1"), use="old"), set()),
        ({"resourceType": "Patient", "identifier": [{"value": "P1"}, "P1", None]}, set()),
        ({"resourceType": "Patient"}, set()),
    ],
)
def test_a_patient_is_who_its_identifiers_say(resource, ids):
    assert canonical_ids(resource, TWO) == ids


def of(resource):
    return referred(resource, TABLES.types[resource["resourceType"]], HIS, UPSTREAM)


@pytest.mark.parametrize(
    ("subject", "expected"),
    [
        ({"reference": "Patient/a"}, Referred(logical=frozenset({"a"}))),
        ({"reference": f"{UPSTREAM}/Patient/a"}, Referred(logical=frozenset({"a"}))),
        ({"reference": "Patient/a/_history/3"}, Referred(logical=frozenset({"a"}))),
        ({"identifier": {"system": "urn:oid:1.2.3", "value": "P1"}}, Referred(ids=frozenset({"HIS|P1"}))),
        ({"identifier": {"value": "P1"}}, Referred(lost=True)),
        ({"reference": "Group/a"}, Referred()),
        ({"reference": "#p"}, Referred(ids=frozenset({"HIS|P9"}))),
        ({"reference": "#d"}, Referred()),
        ({"reference": "#nobody"}, Referred(lost=True)),
        ({"reference": "http://elsewhere/fhir/Patient/a"}, Referred(lost=True)),
        ({"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}, Referred(lost=True)),
        ({"reference": "Patient/.."}, Referred(lost=True)),
        ({"reference": "Patient?identifier=1"}, Referred(lost=True)),
        ({"display": "somebody"}, Referred(lost=True)),
        ("Patient/a", Referred(lost=True)),
    ],
)
def test_a_subject_is_a_patient_to_look_up_or_nobody(subject, expected):
    contained = [patient("p", "P9"), {"resourceType": "Device", "id": "d"}]
    assert of({**observation("o", "x"), "subject": subject, "contained": contained}) == expected


def test_a_resource_may_have_several_patients():
    entities = [{"what": {"reference": f"Patient/{id}"}} for id in "ab"]
    agents = [{"who": {"reference": "Practitioner/li"}}]
    assert of({"resourceType": "AuditEvent", "agent": agents, "entity": entities}) == Referred(
        logical=frozenset({"a", "b"})
    )


def test_what_nobody_answered_for_is_nobody():
    asked = Referred(ids=frozenset({"HIS|P1"}), logical=frozenset({"a", "b", "c"}))
    known = {"a": frozenset({"HIS|P2"}), "b": frozenset()}
    assert asked.resolved(known) == ("HIS|P1", "HIS|P2", None)
    assert Referred().resolved({}) == (None,)


def test_references_of_other_servers_and_shapes_are_not_local():
    assert local_reference("Observation/1", UPSTREAM) == ("Observation", "1")
    for text in ("observation/1", "Observation", "a/Observation/1", "Observation/1/x", "Observation/1/_history", "#1"):
        assert local_reference(text, UPSTREAM) is None


def test_what_is_known_is_known_for_a_while_and_until_somebody_writes():
    known = Known(timedelta(seconds=30))
    known.learn({"a": frozenset({"HIS|P1"})}, NOON, 0)
    known.learn_logical({"HIS|P1": frozenset({"a"})}, NOON, 0)
    assert known.ids(["a", "b"], NOON + timedelta(seconds=29)) == {"a": frozenset({"HIS|P1"})}
    assert known.logical(["HIS|P1"], NOON) == {"HIS|P1": frozenset({"a"})}
    assert known.ids(["a"], NOON + timedelta(seconds=30)) == {}
    known.clear()
    assert known.ids(["a"], NOON) == {}


def test_an_answer_from_before_a_write_is_not_learned_after_it():
    known = Known()
    generation = known.generation
    known.clear()
    known.learn({"a": frozenset({"HIS|P1"})}, NOON, generation)
    assert known.ids(["a"], NOON) == {}


def test_memory_is_bounded_and_forgets_the_oldest():
    known = Known(capacity=2)
    for id in "abc":
        known.learn({id: frozenset()}, NOON, 0)
    assert known.ids("abc", NOON).keys() == {"b", "c"}
