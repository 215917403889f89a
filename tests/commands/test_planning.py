"""`spir plan` from outside: the residual, and what each protocol pushes down."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.cli import main

ROOT = Path(__file__).resolve().parents[2]
POLICIES = [f"-p{ROOT / 'fixtures/policies/story' / name}.yaml" for name in ("national", "provincial", "institution")]
POLICIES.append(f"-p{ROOT / 'fixtures/policies/story/permission_map.yaml'}")
ADMITTED = ["--facts", str(ROOT / "fixtures/hl7v2/adt_a01.hl7")]
ADMITTED += ["--directory", str(ROOT / "fixtures/policies/staff.yaml")]
ALSO = ["--at", "2026-11-21T09:00:00+08:00"]
DR_LI = {"role": "physician", "license": "x", "permissions": ["read:patient:allergy"]}


def asked(folder: Path, verb: str, type: str) -> list[str]:
    subject = {"type": "person", "id": "dr.li", "properties": DR_LI}
    body = {"subject": subject, "action": {"name": verb}, "resource": {"type": type, "id": ""}}
    (folder / "request.json").write_text(json.dumps(body), "utf-8")
    return ["plan", *POLICIES, "-r", str(folder / "request.json"), *ALSO]


def test_a_query_for_images_is_pushed_into_both_protocols(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*asked(tmp_path, "search", "imaging"), *ADMITTED, "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["effect"], said["exact"]) == ("conditional", True)
    ((clause),) = said["residual"]["value"]
    assert {(one["field"], one["operator"], json.dumps(one["value"])) for one in clause["value"]} == {
        ("resource.modality", "in", '["CR", "DX"]'),
        ("resource.patient.id", "in", '["HIS|P001"]'),
    }
    assert said["pushed"] == {
        "dicom": [{"ModalitiesInStudy": "CR\\DX", "PatientID": "P001"}],
        "fhir": {"ImagingStudy": {"patient": "Patient/{HIS|P001}", "modality": "CR,DX"}},
    }


def test_the_plan_in_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*asked(tmp_path, "search", "imaging"), *ADMITTED]) == 0
    said = capsys.readouterr().out
    assert said.startswith("search:imaging: CONDITIONAL\n  clause 1, by permission-map-1\n")
    assert "resource.modality in ['CR', 'DX']" in said and "GET ImagingStudy?patient=Patient/{HIS|P001}" in said
    assert "C-FIND at STUDY level: ModalitiesInStudy=CR\\DX PatientID=P001" in said


def test_who_treats_nobody_asks_nobody(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    code = main(asked(tmp_path, "search", "imaging"))
    said = capsys.readouterr().out
    assert "nothing can match; the PACS is not asked" in said
    assert "ImagingStudy: nothing can match; the server is not asked" in said
    assert code == (1 if "DENY" in said else 0)


def test_other_operations_push_nothing_down(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*asked(tmp_path, "read", "patient"), *ADMITTED]) == 0
    said = capsys.readouterr().out
    assert "DICOM: no query" in said and "FHIR: no search" in said and "mask" in said


def test_with_everything_known_nothing_is_left(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*asked(tmp_path, "search", "imaging"), *ADMITTED, "--unknown", ""]) == 1
    assert "DENY" in capsys.readouterr().out


def test_an_unknown_that_is_none_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main([*asked(tmp_path, "search", "imaging"), "--unknown", "patient"]) == 2
    assert "`patient` is no attribute" in capsys.readouterr().err
