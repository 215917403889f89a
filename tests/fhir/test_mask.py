from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fhir.document import REMOVE, Malformed, cut
from adapters.fhir.mask import NOTHING, Unmaskable, compile_mask, covers, locate, mask_paths, written
from spir.model.obligation import Obligation
from tests.fhir.given_fhir import TABLES


def masked(resource, *paths):
    raw = json.dumps(resource).encode()
    left = cut(raw, locate(compile_mask(frozenset(paths), TABLES), resource, raw))
    return None if left is None else json.loads(left)


def test_a_neutral_path_and_its_native_one_hide_the_same():
    resource = {"resourceType": "Patient", "telecom": [{"value": "555"}], "_telecom": [None], "gender": "male"}
    assert masked(resource, "patient.telecom") == {"resourceType": "Patient", "gender": "male"}
    assert masked(resource, "Patient.telecom") == {"resourceType": "Patient", "gender": "male"}


def test_a_path_goes_through_arrays_at_any_depth():
    resource = {
        "resourceType": "ImagingStudy",
        "series": [
            {"uid": "1", "performer": [{"actor": {"reference": "Practitioner/a"}, "function": {"text": "f"}}]},
            {"uid": "2"},
        ],
    }
    assert masked(resource, "ImagingStudy.series.performer.actor") == {
        "resourceType": "ImagingStudy",
        "series": [{"uid": "1", "performer": [{"function": {"text": "f"}}]}, {"uid": "2"}],
    }


def test_what_is_left_without_content_goes_too():
    resource = {"resourceType": "Patient", "contact": [{"telecom": [{"value": "1"}]}], "active": True}
    assert masked(resource, "Patient.contact.telecom") == {"resourceType": "Patient", "active": True}


@pytest.mark.parametrize("path", ["Observation.value[x]", "Observation.value", "Observation.valueQuantity"])
@pytest.mark.parametrize(
    "form",
    [
        {"valueQuantity": {"value": 1}},
        {"valueString": "positive", "_valueString": {"id": "1"}},
        {"_valueBoolean": {"extension": [{"url": "u", "valueString": "x"}]}},
        {"valueCodeableConcept": {"text": "t"}, "valueInteger": 3},
    ],
)
def test_a_choice_is_hidden_in_all_its_forms(path, form):
    assert masked({"resourceType": "Observation", "status": "final", **form}, path) == {
        "resourceType": "Observation",
        "status": "final",
    }


def test_a_choice_does_not_hide_what_only_begins_alike():
    resource = {"resourceType": "Encounter", "class": {"code": "IMP"}, "classHistory": [{"class": {"code": "AMB"}}]}
    assert "classHistory" in masked(resource, "Encounter.class")


def test_contained_resources_are_masked_as_what_they_are():
    resource = {
        "resourceType": "Observation",
        "contained": [
            {"resourceType": "Patient", "id": "p", "telecom": [{"value": "555"}], "text": {"div": "555"}},
            {"resourceType": "Device", "id": "d"},
        ],
        "status": "final",
    }
    assert masked(resource, "patient.telecom") == {
        "resourceType": "Observation",
        "contained": [{"resourceType": "Patient", "id": "p"}, {"resourceType": "Device", "id": "d"}],
        "status": "final",
    }


def test_the_narrative_goes_whenever_a_mask_applies():
    resource = {"resourceType": "Observation", "text": {"div": "<div>Mrs Lin, 555</div>"}, "status": "final"}
    assert masked(resource, "patient.telecom") == {"resourceType": "Observation", "status": "final"}
    assert masked(resource, "patient.comment") == {"resourceType": "Observation", "status": "final"}
    assert masked(resource) == resource


def test_displays_and_extensions_that_repeat_what_is_hidden_go():
    resource = {
        "resourceType": "Patient",
        "name": [{"family": "Lindqvist", "use": "official"}],
        "extension": [
            {"url": "http://x/alias", "valueString": "formerly LINDQVIST"},
            {"url": "http://x/other", "valueCode": "official"},
        ],
        "generalPractitioner": [{"reference": "Practitioner/1", "display": "Dr Lindqvist"}],
        "managingOrganization": {"display": "Ward 7"},
    }
    assert masked(resource, "Patient.name") == {
        "resourceType": "Patient",
        "extension": [{"url": "http://x/other", "valueCode": "official"}],
        "generalPractitioner": [{"reference": "Practitioner/1"}],
        "managingOrganization": {"display": "Ward 7"},
    }


def test_a_repetition_is_found_however_it_is_spelled():
    resource = {"resourceType": "Patient", "name": [{"family": "Müller"}], "link": [{"x": 1, "display": "MÜLLER"}]}
    for escaped in (True, False):
        raw = json.dumps(resource, ensure_ascii=escaped).encode()
        left = cut(raw, locate(compile_mask(frozenset({"Patient.name"}), TABLES), resource, raw))
        assert json.loads(left) == {"resourceType": "Patient", "link": [{"x": 1}]}


@pytest.mark.parametrize(
    ("reference", "hidden"),
    [
        ({"reference": "Patient/1", "display": "Lin"}, True),
        ({"reference": "http://elsewhere/fhir/Patient/1", "display": "Lin"}, True),
        ({"type": "Patient", "identifier": {"value": "1"}, "display": "Lin"}, True),
        ({"display": "Lin"}, True),
        ({"reference": "#p", "display": "Lin"}, True),
        ({"reference": "#d", "display": "Pump"}, False),
        ({"reference": "Practitioner/1", "display": "Dr Who"}, False),
        ({"type": "Device", "identifier": {"value": "1"}, "display": "Pump"}, False),
        ({"system": "http://loinc.org", "code": "1", "display": "Glucose"}, False),
    ],
)
def test_the_name_of_a_patient_is_hidden_in_every_reference_to_one(reference, hidden):
    contained = [{"resourceType": "Patient", "id": "p"}, {"resourceType": "Device", "id": "d"}]
    resource = {"resourceType": "Observation", "contained": contained, "focus": [{"x": 1, "y": reference}]}
    assert ("display" not in masked(resource, "patient.name")["focus"][0].get("y", {})) is hidden


def test_a_logical_reference_loses_its_identifier_with_the_patient():
    resource = {"resourceType": "Observation", "status": "final", "subject": {"identifier": {"value": "P001"}}}
    assert masked(resource, "patient.identifier") == {"resourceType": "Observation", "status": "final"}


@pytest.mark.parametrize(
    "path",
    [
        "patient.shoe_size",
        "Patient",
        "Patient.",
        "Patient.telcom",
        "Patient.id",
        "Patient.resourceType",
        "Patient.name.where(use='official')",
        "Patient..name",
        "Person.name",
        "Observation.name",
        "",
        "*",
    ],
)
def test_a_path_that_is_in_no_table_is_not_skipped(path):
    with pytest.raises(Unmaskable):
        compile_mask(frozenset({path}), TABLES)


def test_a_mask_without_paths_is_not_skipped():
    for paths in (None, (), "patient.telecom"):
        with pytest.raises(Unmaskable):
            mask_paths([Obligation("m", "mask", {"paths": paths})])


def test_every_row_of_the_field_table_compiles():
    for path in TABLES.fields:
        assert compile_mask(frozenset({path}), TABLES)


def test_a_shorter_path_swallows_a_longer_one_in_either_order():
    resource = {"resourceType": "Patient", "name": [{"family": "Lin"}], "active": True}
    for paths in (("Patient.name", "Patient.name.family"), ("Patient.name.family", "Patient.name")):
        assert masked(resource, *paths) == {"resourceType": "Patient", "active": True}


@pytest.mark.parametrize(
    ("paths", "type", "read", "told"),
    [
        (["patient.name"], "Patient", "name.family", True),
        (["Patient.name.family"], "Patient", "name", True),
        (["Patient.name.family"], "Patient", "name.given", False),
        (["Patient.contact.telecom"], "Patient", "telecom", False),
        (["Observation.valueQuantity"], "Observation", "value[x]", True),
        (["Observation.component.value"], "Observation", "component.value[x]", True),
        (["patient.telecom"], "Observation", "subject", False),
        (["Observation.meta"], "Observation", "meta.security", True),
    ],
)
def test_reading_at_above_or_below_what_is_hidden_tells_of_it(paths, type, read, told):
    assert covers(compile_mask(frozenset(paths), TABLES), type, tuple(read.split(".")), TABLES) is told


def test_items_on_the_way_of_a_mask_are_named_whether_or_not_they_hide_something():
    resource = {"resourceType": "Patient", "contact": [{"name": {}}, {"telecom": [{}]}]}
    where = written(compile_mask(frozenset({"Patient.contact.telecom"}), TABLES), resource)
    assert where == {"contact": {0: {}, 1: {"telecom": REMOVE}}}


def test_arrays_in_arrays_hide_nothing():
    resource = {"resourceType": "Patient", "active": True, "contact": [[{"telecom": [{"value": "5"}]}]]}
    assert masked(resource, "Patient.contact.telecom") == {"resourceType": "Patient", "active": True}


def test_without_a_mask_nothing_is_looked_for():
    assert compile_mask(frozenset(), TABLES) is NOTHING
    assert locate(NOTHING, {"resourceType": "Patient", "text": {}}, b"") == {}


def test_nesting_without_end_is_refused():
    node: dict = {}
    for _ in range(200):
        node = {"extension": [node]}
    with pytest.raises(Malformed):
        locate(compile_mask(frozenset({"patient.name"}), TABLES), {"resourceType": "Patient", **node}, b"")


secrets = st.text("abcdefghij", min_size=6, max_size=10).map(lambda text: f"zz{text}zz")


@given(
    secrets, st.lists(st.sampled_from(["telecom", "contact", "name", "extension", "text", "gp", "link"]), unique=True)
)
def test_a_hidden_text_is_nowhere_in_what_goes_out(secret, places):
    parts = {
        "telecom": {"telecom": [{"system": "phone", "value": secret}]},
        "contact": {"contact": [{"telecom": [{"value": secret}], "name": {"text": "kin"}}]},
        "name": {"name": [{"family": secret, "_family": {"extension": [{"url": "u", "valueString": secret}]}}]},
        "extension": {"extension": [{"url": "u", "extension": [{"url": "v", "valueString": f"was {secret}"}]}]},
        "text": {"text": {"div": f"<div>{secret}</div>"}},
        "gp": {"generalPractitioner": [{"reference": "Practitioner/1", "display": f"friend of {secret}"}]},
        "link": {"link": [{"other": {"reference": "Patient/2", "display": secret}}]},
    }
    resource = {"resourceType": "Patient", "id": "1", "telecom": [{"value": secret}]}
    for place in places:
        resource.update(parts[place])
    left = masked(resource, "patient.telecom", "Patient.contact.telecom", "patient.name")
    assert secret not in json.dumps(left)
    assert left["id"] == "1"
