"""What the site knows goes before what a caller says."""

from __future__ import annotations

from dataclasses import replace

from adapters.authzen.ground import Ground, fact_names
from spir.embed import default_vocabulary
from spir.language.document import read_documents
from spir.model.facts import Assert, Doubt, Fact, FactStore, Merge, Retract
from spir.model.request import Action, Entity, Request
from tests.given import NOON

VOCABULARY = read_documents({}, vocabulary_text=default_vocabulary()).vocabulary
DR_LI = Entity("person", "dr.li", {"role": "physician"})
KNOWN = ("patient", "HIS|P001")


def ground(*changes, resources=None):
    store = FactStore()
    store.apply(changes)
    return Ground({"dr.li": DR_LI}, resources or {}, store.snapshot, fact_names(VOCABULARY), {"user": "person"})


def about(patient):
    return Entity("result", "r1", {"patient": patient, "modality": "CT"})


def admitted(key=KNOWN):
    return Assert(Fact(key, "encounter_status", "in-progress", "HIS", NOON))


def test_the_facts_of_a_patient_are_those_that_the_vocabulary_says_come_from_facts():
    names = fact_names(VOCABULARY)
    assert {"care_team", "encounter_status", "vip", "labels"} <= names and "id" not in names


def test_a_person_of_the_directory_has_the_properties_that_stand_there():
    claimed = Entity("person", "dr.li", {"role": "director", "purpose": "TREAT"})
    assert ground().subject(claimed) == Entity("person", "dr.li", {"role": "physician", "purpose": "TREAT"})
    assert ground().subject(Entity("person", "dr.li")) == DR_LI


def test_another_name_of_a_subject_type_finds_the_person():
    assert ground().subject(Entity("user", "dr.li")) == DR_LI


def test_somebody_of_another_type_is_somebody_else():
    claimed = Entity("system", "dr.li", {"role": "robot"})
    assert ground().subject(claimed) == claimed


def test_facts_about_a_patient_who_is_known_are_not_stated_by_callers():
    claimed = about({"id": "HIS|P001", "care_team": ["mallory"], "encounter_status": "in-progress", "nickname": "x"})
    assert ground(admitted()).resource(claimed) == about({"id": "HIS|P001", "nickname": "x"})


def test_a_patient_who_is_gone_in_doubt_or_merged_is_known_all_the_same():
    claimed = about({"id": "HIS|P001", "care_team": ["mallory"]})
    bare = about({"id": "HIS|P001"})
    gone = Retract(KNOWN, "encounter_status", "", "HIS", NOON)
    merged = Merge(KNOWN, ("patient", "HIS|P002"), "HIS", NOON)
    assert ground(admitted(), gone).resource(claimed) == bare
    assert ground(Doubt(KNOWN, "HIS", NOON)).resource(claimed) == bare
    assert ground(merged).resource(claimed) == bare


def test_facts_about_a_patient_nobody_has_heard_of_are_taken_from_the_caller():
    claimed = about({"id": "HIS|P009", "care_team": ["dr.li"]})
    assert ground(admitted()).resource(claimed) == claimed


def test_a_patient_is_about_itself():
    claimed = Entity("patient", "HIS|P001")
    assert ground().resource(claimed) == Entity("patient", "HIS|P001", {"patient": {"id": "HIS|P001"}})
    assert ground().resource(Entity("patient", "123")) == Entity("patient", "123")


def test_a_resource_that_the_site_knows_has_the_properties_it_knows():
    known = Entity("record", "1", {"status": "archived"})
    claimed = Entity("record", "1", {"status": "active", "owner": "bob"})
    found = ground(resources={"record": {"1": known}})
    assert found.resource(claimed) == Entity("record", "1", {"status": "archived", "owner": "bob"})
    assert found.resource(replace(claimed, id="2")) == replace(claimed, id="2")


def test_a_request_that_needs_nothing_is_left_as_it_is():
    request = Request(Entity("person", "who"), Action("read"), Entity("result", "r1"))
    assert ground().settled(request) is request
