"""The invented patients are the same each time, are nobody, and have what the story needs."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from fhir.resources.R4B import get_fhir_model_class

from adapters.sandbox import chart
from adapters.sandbox.images import everything, instances
from adapters.sandbox.patients import PEOPLE, person, uid
from adapters.sandbox.write import main, write_dicom, write_fhir
from tests.wire.peers import require

FIXTURES = Path(__file__).parents[2] / "fixtures"


def test_there_are_a_dozen_patients_with_ids_of_one_authority():
    assert [one.id for one in PEOPLE] == [f"P{number:03}" for number in range(1, 13)]
    assert person("P001").key == "HIS|P001"


def test_the_patient_of_the_story_has_one_study_of_each_kind():
    assert [plan.modalities for plan in person("P001").studies] == [("CR",), ("DX",), ("CT",), ("MR",), ("US",)]


def test_some_studies_mix_images_with_a_report():
    mixed = {plan.modalities for one in PEOPLE for plan in one.studies if len(plan.modalities) > 1}
    assert mixed == {("CT", "SR"), ("DX", "SR"), ("US", "SR")}


def test_some_studies_have_several_series():
    assert max(len(plan.series) for one in PEOPLE for plan in one.studies) == 3


def test_a_uid_depends_on_its_names_only_and_fits_its_value_representation():
    made = uid("study", "A0001")
    assert made == uid("study", "A0001") != uid("study", "A0002")
    assert made.startswith("2.25.") and len(made) <= 64


def test_no_two_instances_share_a_uid_and_no_two_studies_an_accession_number():
    uids = [made.SOPInstanceUID for made in everything()]
    accessions = [plan.accession for one in PEOPLE for plan in one.studies]
    assert len(set(uids)) == len(uids) and len(set(accessions)) == len(accessions)


def test_a_name_in_two_scripts_keeps_both_groups():
    assert person("P001").dicom_name == "Wang^Xiaoming=王^小明"
    assert person("P004").dicom_name == "Phantom^Peter"


def test_two_runs_make_the_same_instances():
    one = person("P001")
    assert list(instances(one)) == list(instances(one))


def test_pixels_are_as_long_as_the_image_says():
    images = [made for made in everything() if made.Modality != "SR"]
    assert {(made.Rows * made.Columns * made.BitsAllocated // 8) - len(made.PixelData) for made in images} == {0}


def test_every_resource_of_every_chart_is_valid_r4():
    for resource in chart.everything():
        get_fhir_model_class(resource["resourceType"]).model_validate(resource)


def test_logical_ids_are_unique_and_differ_from_identifiers():
    keys = [(resource["resourceType"], resource["id"]) for resource in chart.everything()]
    assert len(set(keys)) == len(keys)
    assert ("Patient", "P001") not in keys and ("Patient", "pat-p001") in keys


def test_every_reference_in_a_chart_has_its_target():
    resources = list(chart.everything())
    held = {f"{resource['resourceType']}/{resource['id']}" for resource in resources}
    assert {target for resource in resources for target in _references(resource)} <= held


def test_imaging_studies_carry_the_uids_of_the_dicom_studies():
    one = person("P001")
    in_chart = {r["identifier"][0]["value"] for r in chart.of(one) if r["resourceType"] == "ImagingStudy"}
    assert in_chart == {f"urn:oid:{made.StudyInstanceUID}" for made in instances(one)}


def test_writing_makes_a_file_for_each_instance_and_a_bundle_for_each_patient(tmp_path, capsys):
    assert main([str(tmp_path)]) == 0
    assert len(list(tmp_path.glob("dicom/*/*.dcm"))) == len(list(everything()))
    assert len(list(tmp_path.glob("fhir/*.json"))) == len(PEOPLE) + 1
    assert "89 DICOM files and 13 FHIR bundles" in capsys.readouterr().out


def test_the_bundles_in_the_fixtures_are_those_that_are_made(tmp_path):
    made = {path.name: path for path in write_fhir(tmp_path)}
    for name in ("hospital.json", "P001.json"):
        assert made[name].read_bytes() == (FIXTURES / "fhir" / name).read_bytes()


def test_the_instances_in_the_fixtures_are_those_that_are_made(tmp_path):
    held = {path.read_bytes() for path in (FIXTURES / "dicom").glob("*.dcm")}
    made = {path.read_bytes() for path in write_dicom(tmp_path)}
    assert len(held) == 3 and held <= made


@pytest.mark.peer("dicom3tools")
def test_an_independent_validator_finds_no_fault_in_any_instance(tmp_path):
    validator = require("dicom3tools")
    faults = []
    for path in write_dicom(tmp_path):
        said = subprocess.run([validator, "-new", path], capture_output=True, text=True).stderr
        faults += [line for line in said.splitlines() if line.startswith(("Error", "Warning"))]
    assert faults == []


def _references(value):
    if isinstance(value, dict):
        if isinstance(value.get("reference"), str):
            yield value["reference"]
        for item in value.values():
            yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
