"""The `spir` command from outside: what it prints, and its exit codes."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.cli import main, parser

ROOT = Path(__file__).resolve().parents[2]
STORY = ROOT / "fixtures" / "policies" / "story"
POLICIES = [f"-p{STORY / name}.yaml" for name in ("national", "provincial", "institution", "permission_map")]


@pytest.fixture
def request_file(tmp_path: Path) -> Path:
    body = {
        "subject": {
            "type": "person",
            "id": "dr.li",
            "properties": {"role": "physician", "license": "x", "permissions": ["read:patient:allergy"]},
        },
        "action": {"name": "search"},
        "resource": {"type": "imaging", "id": "", "properties": {"modality": "CR", "patient": {"id": "HIS|P001"}}},
    }
    path = tmp_path / "request.json"
    path.write_text(json.dumps(body), "utf-8")
    return path


def staff() -> str:
    return str(next(ROOT.glob("fixtures/**/staff.yaml")))


def test_eval_denies_before_the_admission_and_permits_after_it(
    request_file: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = ["eval", *POLICIES, "-r", str(request_file), "--json"]
    assert main(asked) == 1
    assert json.loads(capsys.readouterr().out)["effect"] == "deny"
    admitted = ["--facts", str(ROOT / "fixtures/hl7v2/adt_a01.hl7"), "--directory", staff()]
    assert main([*asked, *admitted]) == 0
    said = json.loads(capsys.readouterr().out)
    assert (said["effect"], "permission-map-1" in said["matched"]) == ("permit", True)


def test_explain_goes_layer_by_layer(request_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explain", *POLICIES, "-r", str(request_file)]) == 1
    said = capsys.readouterr().out
    assert [layer for layer in ("national:", "provincial:", "institution:") if layer in said] != []
    assert "stands in the way (cannot be decided)" in said and "resource.patient.care_team" in said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["eval", "-p", "no/such/folder", "-r", "-"], "does not exist"),
        (["eval", *POLICIES], "no request is given"),
        (["eval", *POLICIES, "-r", "no-such.json"], "cannot be read"),
        (["audit", "verify", "-c", "no/spir.toml"], "cannot be read"),
        (["serve", "-c", "no/spir.toml"], "cannot be read"),
        (["facts", "get", "-c", "no/spir.toml"], "cannot be read"),
        (["hl7", "send", "no.hl7", "--to", "nowhere"], "is not an address"),
    ],
)
def test_bad_input_ends_in_one_line_and_exit_code_two(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert said in error and "Traceback" not in error and error.count("\n") == 1


def test_config_check_names_file_line_and_cure(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "a.yaml").write_text(
        'spir: "1"\nkind: PolicySet\nname: a\nlayer: institution\njurisdiction: cn\nversion: 1.0.0\npolicies:\n'
        '  - {id: p, effect: permit, operations: ["read:result"], when: subject.rolle == "x"}\n',
        "utf-8",
    )
    (tmp_path / "spir.toml").write_text('[site]\norganization = "cn"\n', "utf-8")
    assert main(["config", "check", "-c", str(tmp_path / "spir.toml")]) == 2
    said = capsys.readouterr().err
    assert "a.yaml:8:" in said and "subject.role" in said


def test_every_command_answers_help_and_json() -> None:
    found = parser()
    for words in (["eval"], ["audit", "search"], ["facts", "watch"], ["hl7", "list"], ["doctor"], ["config", "check"]):
        extra = ["-r", "-"] if words == ["eval"] else []
        assert found.parse_args([*words, *extra, "--json"]).json is True
