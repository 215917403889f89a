"""What the sandbox PACS answers, without a network."""

from __future__ import annotations

import pytest
from pydicom.dataset import Dataset

from adapters.sandbox.archive import Archive, BadIdentifier, Full
from adapters.sandbox.images import everything, instances
from adapters.sandbox.patients import person

P001 = person("P001")
P003 = person("P003")


@pytest.fixture(scope="module")
def archive() -> Archive:
    return Archive(everything())


def ask(level: str, **keys) -> Dataset:
    identifier = Dataset()
    identifier.QueryRetrieveLevel = level
    for name, value in keys.items():
        setattr(identifier, name, value)
    return identifier


def test_a_study_query_answers_one_row_for_each_study(archive):
    rows = archive.find("STUDY", ask("STUDY", PatientID="P001", StudyInstanceUID="", AccessionNumber=""))
    assert [row.AccessionNumber for row in rows] == ["A0001", "A0002", "A0003", "A0004", "A0005"]


def test_a_row_has_the_keys_that_were_asked_for_and_no_others(archive):
    (row,) = archive.find("STUDY", ask("STUDY", AccessionNumber="A0001", ModalitiesInStudy=""))
    assert [element.keyword for element in row] == [
        "SpecificCharacterSet", "AccessionNumber", "QueryRetrieveLevel", "ModalitiesInStudy",
    ]  # fmt: skip


def test_modalities_in_study_is_an_or(archive):
    rows = archive.find("STUDY", ask("STUDY", PatientID="P001", ModalitiesInStudy=["CR", "DX"]))
    assert [row.ModalitiesInStudy for row in rows] == ["CR", "DX"]


def test_a_mixed_study_shows_all_its_modalities_and_counts(archive):
    asked = ask("STUDY", StudyInstanceUID=P003.studies[0].uid, ModalitiesInStudy="DX")
    asked.NumberOfStudyRelatedSeries = asked.NumberOfStudyRelatedInstances = None
    (row,) = archive.find("STUDY", asked)
    found = (list(row.ModalitiesInStudy), row.NumberOfStudyRelatedSeries, row.NumberOfStudyRelatedInstances)
    assert found == (["DX", "SR"], 2, 3)


def test_a_patient_query_counts_studies(archive):
    asked = ask("PATIENT", PatientID="P00*", PatientName="shahe*")
    asked.NumberOfPatientRelatedStudies = None
    rows = archive.find("PATIENT", asked)
    assert [(row.PatientID, row.NumberOfPatientRelatedStudies) for row in rows] == [
        ("P003", 2), ("P005", 1), ("P007", 1), ("P009", 1),
    ]  # fmt: skip


def test_a_list_of_uids_finds_each_of_them(archive):
    uids = [plan.uid for plan in P001.studies[:3]]
    assert len(archive.find("STUDY", ask("STUDY", StudyInstanceUID=uids))) == 3


def test_an_image_query_goes_down_the_hierarchy(archive):
    plan = P001.studies[2]
    asked = ask("IMAGE", StudyInstanceUID=plan.uid, SeriesInstanceUID=plan.series_uid(1), SOPInstanceUID="")
    assert {row.SOPInstanceUID for row in archive.find("STUDY", asked)} == {plan.image_uid(1, n) for n in range(1, 5)}


@pytest.mark.parametrize(
    ("root", "identifier"),
    [
        ("STUDY", ask("PATIENT", PatientID="P001")),
        ("STUDY", ask("NONSENSE")),
        ("STUDY", Dataset()),
        ("STUDY", ask("SERIES", Modality="CT")),
        ("STUDY", ask("SERIES", StudyInstanceUID=["1.2", "1.3"])),
        ("PATIENT", ask("STUDY", StudyInstanceUID="1.2")),
        ("PATIENT", ask("STUDY", PatientID="P*")),
    ],
)
def test_an_identifier_outside_the_hierarchy_is_refused(archive, root, identifier):
    with pytest.raises(BadIdentifier):
        archive.find(root, identifier)


def test_a_retrieve_needs_the_unique_key_of_its_level(archive):
    with pytest.raises(BadIdentifier):
        archive.retrieve("STUDY", ask("STUDY", AccessionNumber="A0001"))


def test_a_retrieve_of_two_series_gives_their_instances(archive):
    plan = P001.studies[2]
    asked = ask("SERIES", StudyInstanceUID=plan.uid, SeriesInstanceUID=[plan.series_uid(1), plan.series_uid(2)])
    assert len(archive.retrieve("STUDY", asked)) == 7


def test_an_unknown_study_is_empty_and_not_an_error(archive):
    assert archive.retrieve("STUDY", ask("STUDY", StudyInstanceUID="1.2.3")) == []


def test_a_full_archive_takes_a_known_instance_and_no_new_one():
    first, second, *_ = instances(P001)
    archive = Archive([first], capacity=1)
    archive.store(first)
    with pytest.raises(Full):
        archive.store(second)
    assert len(archive) == 1
