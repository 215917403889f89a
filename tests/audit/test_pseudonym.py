"""No patient, study or unlisted word is written down; what policies decide on is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.audit.pseudonym import ATTRIBUTES, DIGESTED, Pseudonyms, Sealing
from spir.embed import default_vocabulary
from spir.language.document import read_documents
from spir.model.condition import TRUE
from spir.model.decision import Atom, Clause, Decision, Effect, Reason, Residual
from spir.model.request import Action, Entity, Request
from spir.record.canonical import decode, request_of
from spir.record.event import AuditEvent, EventKind, Outcome
from tests.given import DR_LI, NOON

NAMES = Pseudonyms(bytes(range(32)))
REQUEST = Request.build(
    DR_LI,
    "read:patient",
    {
        "patient": {"id": "HIS|P001", "care_team": ["dr.li"], "vip": True, "name": "Wang Wei"},
        "modality": "CT",
        "study": "1.2.840.1",
        "title": "brain of Wang Wei",
        "sensitivity": "x" * 300,
    },
    id="HIS|P001",
    context={"protocol": "fhir", "ip": "10.0.0.1", "patient_session": "HIS|P001", "note": "Wang Wei"},
)
RESIDUAL = Residual(
    TRUE,
    (
        Clause(
            (
                Atom("resource.patient.id", "in", ("HIS|P001", "HIS|P002")),
                Atom("resource.modality", "in", ("CR", "DX")),
                Atom("resource.title", "==", "Wang Wei"),
                Atom("resource.study", "has", True),
            ),
            ("p1",),
        ),
    ),
)
EVENT = AuditEvent(
    NOON,
    EventKind.DECISION,
    "fhir",
    "read:patient",
    "dr.li",
    Outcome.SUCCESS,
    ("HIS|P001", "HIS|P001"),
    Decision(
        Effect.CONDITIONAL,
        "read:patient",
        RESIDUAL,
        reasons=(Reason("x", "the patient HIS|P001 has no care team"),),
    ),
    REQUEST,
    {"rows": 3, "status": "0124", "patient_name": "Wang Wei", "reason": "two\nlines"},
)


def written(event: AuditEvent, names: Pseudonyms = NAMES) -> dict[str, Any]:
    found = decode(names.sealed(event)[1])
    assert isinstance(found, dict)
    return found


def test_a_whole_event_as_it_is_kept():
    p1, p2 = NAMES.digest("HIS|P001"), NAMES.digest("HIS|P002")
    assert written(EVENT) == {
        "v": 1,
        "time": "2026-11-21T12:00:00.000000Z",
        "kind": "decision",
        "protocol": "fhir",
        "operation": "read:patient",
        "subject": "dr.li",
        "outcome": "success",
        "patients": [p1],
        "dropped": 6,
        "detail": {"rows": 3, "status": "0124"},
        "decision": {
            "effect": "conditional",
            "operation": "read:patient",
            "facts": 0,
            "reasons": [{"code": "x", "text": f"the patient {p1} has no care team"}],
            "residual": [
                {
                    "all": [
                        {"attribute": "resource.patient.id", "op": "in", "value": [p1, p2]},
                        {"attribute": "resource.modality", "op": "in", "value": ["CR", "DX"]},
                        {"attribute": "resource.title", "op": "==", "value": NAMES.digest("Wang Wei")},
                        {"attribute": "resource.study", "op": "has", "value": True},
                    ],
                    "policies": ["p1"],
                    "exact": True,
                }
            ],
        },
        "request": {
            "subject": {
                "type": "person",
                "id": "dr.li",
                "properties": {"role": "physician", "department": "cardiology"},
            },
            "action": {"name": "read"},
            "resource": {
                "type": "patient",
                "id": p1,
                "properties": {
                    "patient": {"id": p1, "care_team": ["dr.li"], "vip": True},
                    "modality": "CT",
                    "study": NAMES.digest("1.2.840.1"),
                },
            },
            "context": {"protocol": "fhir", "ip": "10.0.0.1", "patient_session": p1},
        },
    }


def test_events_that_are_written_together_are_kept_as_each_is_alone():
    other = Entity("person", "HIS|P001", {"role": "patient", "hobby": "chess"})
    own = Request.build(other, "read:patient", {"patient": {"id": "HIS|P001"}}, context={"mood": "good"})
    events = [
        EVENT,
        replace(EVENT, request=own),
        replace(EVENT, request=replace(own, resource=REQUEST.resource, context=REQUEST.context), patients=()),
        replace(EVENT, request=replace(own, resource=Entity("patient", "HIS|P009"))),
        replace(EVENT, patients=("HIS|P002",), request=replace(own, resource=Entity("patient", "HIS|P002"))),
    ]
    for several in (events, events[::-1], events + events[::-1]):
        together = Sealing(NAMES)
        assert [together.sealed(event) for event in several] == [NAMES.sealed(event) for event in several]


@pytest.mark.parametrize("given", [5, None, True, "Wang Wei", ("Wang Wei",), {"a": 1}, 10**40, 0.5])
def test_a_property_with_the_name_of_an_id_is_no_id(given: Any):
    """A caller's `subject.properties.id` is nothing that a policy could ask about."""
    subject = Entity("person", "dr.li", {"id": given, "type": given})
    event = replace(EVENT, request=Request(subject, Action("read"), Entity("result", "r")))
    assert written(event)["request"]["subject"] == {"type": "person", "id": "dr.li"}


def test_an_id_inside_of_another_and_one_that_looks_like_an_escape():
    long, odd = "A|12", "n|1"
    for id, text in ((long, "about A|12"), (odd, "first\n|1"), (odd, "n|1\n|1")):
        reasons = (Reason("x", text),)
        event = replace(EVENT, patients=("A|1", id), decision=Decision(Effect.DENY, "read:patient", reasons=reasons))
        said = written(event)["decision"]["reasons"][0]["text"]
        assert said == text.replace(id, NAMES.digest(id))


def test_what_is_kept_can_be_decided_again():
    again = request_of(written(EVENT))
    assert again is not None
    assert again.resource.properties["patient"]["care_team"] == ("dr.li",)  # type: ignore[index, call-overload]
    assert again.operation == "read:patient"


def test_another_site_makes_other_digests():
    assert NAMES.digest("HIS|P001") == NAMES.digest("HIS|P001")
    assert NAMES.digest("HIS|P001") != Pseudonyms(bytes(32)).digest("HIS|P001")
    assert NAMES.digest("HIS|P001") != NAMES.digest("HIS|P002")


def test_the_key_does_not_show():
    assert "key" not in repr(NAMES)


def test_a_patient_who_asks_for_the_own_record_is_digested_as_a_subject_too():
    event = replace(EVENT, subject="HIS|P001", request=None, decision=None)
    kept, data = NAMES.sealed(event)
    assert kept["subject"] == NAMES.digest("HIS|P001")
    assert b"P001" not in data


def test_every_attribute_that_policies_know_is_kept_or_digested():
    words = read_documents({}, vocabulary_text=default_vocabulary()).vocabulary.attributes
    elsewhere = {"action.name", "subject.id", "subject.type", "resource.type", "resource.patient"}
    assert set(words) - elsewhere <= ATTRIBUTES | DIGESTED


def test_a_site_may_list_attributes_of_its_own():
    names = Pseudonyms(bytes(32), ATTRIBUTES | {"resource.title"})
    kept = written(EVENT, names)["request"]["resource"]["properties"]
    assert kept["title"] == "brain of Wang Wei"


def test_a_long_set_of_patients_is_kept_as_its_number_and_digest():
    many = tuple(f"HIS|{n}" for n in range(100))
    residual = Residual(TRUE, (Clause((Atom("resource.patient.id", "in", many),)),))
    event = replace(EVENT, decision=Decision(Effect.CONDITIONAL, "read:patient", residual))
    value = written(event)["decision"]["residual"][0]["all"][0]["value"]
    assert (value["count"], value["digest"][:5]) == (100, "hmac:")


words = st.text(min_size=1, max_size=8)
ids = st.builds(lambda a, v: f"{a}|{v}", st.text("ABC", min_size=1), st.text(min_size=6).filter(lambda v: "|" not in v))
properties = st.dictionaries(words | st.sampled_from(["study", "series", "note", "name"]), words | st.lists(words))


@given(ids, properties, properties)
def test_no_patient_id_is_written_wherever_it_was_put(id: str, given_properties: Any, detail: Any):
    spread = {key: [id, f"about {id}"] for key in given_properties}
    request = Request.build(
        Entity("person", "dr.li"), "read:result", {**spread, "labels": (id,), "patient": {"id": id}}, id=id
    )
    reasons = (Reason("x", f"because of {id}"),)
    event = AuditEvent(
        NOON,
        EventKind.DECISION,
        "fhir",
        f"read {id}",
        "dr.li",
        Outcome.SUCCESS,
        (id,),
        Decision(Effect.DENY, "read:result", reasons=reasons),
        request,
        {**detail, "reason": id},
    )
    kept = written(event)
    assert id not in str(kept)
    assert id.encode("utf-8", "backslashreplace") not in NAMES.sealed(event)[1]
