"""`spir test` from outside."""

from __future__ import annotations

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from adapters.cli import main

ROOT = Path(__file__).resolve().parents[2]
STORY = ROOT / "fixtures" / "policies" / "story_test.yaml"
LANGUAGE = ROOT / "fixtures" / "policies" / "language"
HEAD = 'spir: "1"\nkind: PolicyTest\nname: t\n'
CASE = (
    "cases:\n  - name: one\n    request: {subject: {type: person, id: a}, action: {name: read},"
    " resource: {type: patient}}\n    expect: {effect: deny}\n"
)


def test_the_policies_of_the_story_pass_and_every_policy_and_atom_is_tried(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    junit = tmp_path / "junit.xml"
    assert main(["test", str(STORY), "--json", "--fail-under", "100", "--junit", str(junit)]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["coverage"]["percent"] == 100.0 and all(one["held"] for one in said["coverage"]["policies"])
    cases = said["tests"][0]["cases"]
    assert all(case["passed"] for case in cases)
    assert len(ElementTree.parse(junit).getroot()[0]) == len(cases)


def test_a_folder_is_tested_with_the_policies_in_it(capsys: pytest.CaptureFixture[str]):
    assert main(["test", str(LANGUAGE)]) == 0
    said = capsys.readouterr().out
    assert "1 passed, 0 failed" in said and "is in no case" in said


def test_low_coverage_and_failing_cases_are_findings(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["test", str(LANGUAGE), "--fail-under", "90"]) == 1
    assert "below 90 %" in capsys.readouterr().out
    text = STORY.read_text("utf-8").replace("../hl7v2/", f"{ROOT}/fixtures/hl7v2/")
    text = text.replace("[story/", f"[{ROOT}/fixtures/policies/story/").replace(", story/", f", {STORY.parent}/story/")
    text = text.replace("staff.yaml", str(STORY.parent / "staff.yaml")).replace("effect: permit", "effect: deny", 1)
    (tmp_path / "story_test.yaml").write_text(text, "utf-8")
    assert main(["test", str(tmp_path)]) == 1
    said = capsys.readouterr().out
    assert 'effect: expected "deny", found "permit"' in said and "story_test.yaml:" in said


def test_messages_may_stand_in_the_test_itself(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    message = (ROOT / "fixtures/hl7v2/adt_a01.hl7").read_text("utf-8").replace("\r", "\n")
    block = "".join(f"      {line}\n" for line in message.splitlines())
    given = f"given:\n  documents: [{STORY.parent}/story]\n  now: 2026-11-21T09:00:00+08:00\n  messages:\n    - |\n"
    case = CASE.replace("id: a}", 'id: dr.li, properties: {role: physician, license: "x"}}').replace(
        "{type: patient}", '{type: patient, properties: {patient: {id: "HIS|P001"}}}'
    )
    (tmp_path / "a_test.yaml").write_text(HEAD + given + block + case.replace("deny", "permit"), "utf-8")
    assert main(["test", str(tmp_path), "--directory", str(STORY.parent / "staff.yaml")]) == 0
    assert "1 passed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (HEAD + CASE, "there are no policies to test"),
        (HEAD + "given: {documents: [none.yaml]}\n" + CASE, "does not exist"),
        (HEAD + f"given: {{documents: [{LANGUAGE}], messages: [none.hl7]}}\n" + CASE, "a_test.yaml:6:5"),
        (HEAD + f"given: {{documents: [{LANGUAGE}], messages: [MSHx]}}\n" + CASE, "a_test.yaml:6:5"),
        (HEAD + f"given: {{documents: [{LANGUAGE}], timezone: Mars/Olympus}}\n" + CASE, "time zone"),
        (HEAD + f"given: {{documents: [{LANGUAGE}]}}\n" + CASE.replace("effect", "efect"), "a_test.yaml:6:5"),
        (HEAD + "cases: []\n", "a_test.yaml:4:8"),
    ],
)
def test_bad_tests_end_in_one_line(text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "a_test.yaml").write_text(text, "utf-8")
    assert main(["test", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert said in error and error.count("\n") == 1 and "Traceback" not in error


def test_a_folder_without_tests_is_wrong_usage(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    assert main(["test", str(tmp_path)]) == 2
    assert "no policy tests" in capsys.readouterr().err
