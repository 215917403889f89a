"""Policies in their own language and the real engine: a query shows what a check of each row permits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from adapters.dicom.dataset import DataSet
from adapters.dicom.find import find
from adapters.dicom.query import request_for
from adapters.dicom.tables import Service
from spir.embed import Engine
from spir.model.facts import Assert, Fact, FactStore
from tests.dicom.scenes import (
    CALLER,
    MODALITIES,
    MODALITY,
    PATIENT_ID,
    SITE,
    STUDY_UID,
    Pacs,
    data,
    finding,
    instance,
    query,
    texts,
)
from tests.given import DR_LI, NOON

POLICY = """\
spir: "1"
kind: PolicySet
name: radiology
layer: institution
jurisdiction: cn/zj/hospital-a
version: 1.0.0
policies:
  - id: the-rule
    effect: permit
    operations: ["search:imaging"]
    when: {when}
"""
CONDITIONS = [
    "subject.id in resource.patient.care_team && resource.modality in ['CR', 'DX']",
    "resource.patient.id == 'HIS|P002' || resource.modality == 'CT'",
    "!(resource.modality in ['SR', 'CT'])",
    "resource.modality == 'CR' && resource.study != '1.0'",
    "resource.created > timestamp('2026-11-01T00:00:00Z')",
    "has(resource.patient) && size(resource.modality) == 2 && resource.modality < 'D'",
    "subject.role == 'nurse'",
    "true",
]
STUDY_DATE = 0x00080020
FACTS = FactStore()
FACTS.apply([Assert(Fact(("patient", "HIS|P001"), "care_team", ("dr.li",), "test", NOON))])
WARDS = st.lists(
    st.tuples(
        st.sampled_from(["P001", "P002", "P003"]),
        st.sampled_from(["CR", "DX", "CT", "SR"]),
        st.integers(0, 3),
        st.sampled_from(["20261001", "20261115", ""]),
    ),
    max_size=8,
)


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Engine]:
    folder = tmp_path_factory.mktemp("policies")

    def load(when: str) -> Engine:
        path: Path = folder / f"{abs(hash(when))}.yaml"
        path.write_text(POLICY.format(when=f'"{when}"'), "utf-8")
        return Engine.load(path)

    return load


@pytest.mark.parametrize("when", CONDITIONS)
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None, max_examples=25)
@given(made=WARDS)
def test_rows_shown_are_those_that_a_check_permits(
    engine: Callable[[str], Engine], when: str, made: list[tuple[str, str, int, str]]
) -> None:
    rules, request = engine(when), request_for(DR_LI, Service.FIND, CALLER.context)
    dates = {(patient, study): date for patient, _, study, date in made}
    pacs = Pacs(
        [
            instance(n, patient, modality, f"{patient[3]}.{study}", f"{patient[3]}.{study}.{n}")
            | {STUDY_DATE: dates[patient, study]}
            for n, (patient, modality, study, _) in enumerate(made)
        ]
    )
    session = find(SITE, CALLER, finding(data({STUDY_UID: "", MODALITIES: "", PATIENT_ID: ""}, "STUDY")))
    answers, _ = query(session, pacs, lambda asked: rules.rule(asked, FACTS.snapshot, NOON))
    shown = {}
    for message in answers[:-1]:
        row = texts(message.data)
        shown[row[STUDY_UID]] = set((row[MODALITIES] or "").split("\\"))

    expected: dict[str, set[str]] = {}
    for one in pacs.instances:
        row = SITE.reading().study(DataSet.parse(data(one), True)) | {"modality": one[MODALITY]}
        if rules.decide(request.completed(row), FACTS.snapshot, NOON).permitted:
            expected.setdefault(one[STUDY_UID], set()).add(one[MODALITY])
    assert shown == expected
