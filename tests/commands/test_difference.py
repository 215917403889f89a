"""`spir diff` from outside: what it says, and how it ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.cli import main

ROOT = Path(__file__).resolve().parents[2]
STORY = ROOT / "fixtures/policies/story"
NAMES = ("national", "provincial", "institution", "permission_map")
CT = ('["CR", "DX"]', '["CR", "DX", "CT"]')


def changed(folder: Path, *edits: tuple[str, str]) -> Path:
    """The story's policies with another text in the hospital's own."""
    place = folder / "new"
    place.mkdir()
    for name in NAMES:
        text = (STORY / f"{name}.yaml").read_text("utf-8")
        for before, after in edits if name == "institution" else ():
            assert before in text
            text = text.replace(before, after)
        (place / f"{name}.yaml").write_text(text, "utf-8")
    return place


def test_the_same_policies_decide_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["diff", str(STORY), str(changed(tmp_path))]) == 0
    assert capsys.readouterr().out == "no request is decided otherwise\n"


def test_what_is_newly_permitted_is_shown_by_a_request(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = changed(tmp_path, CT)
    assert main(["diff", str(STORY), str(new)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "NEWLY PERMITTED (1)"
    assert lines[1] == "  because `care-team-physicians-read-imaging-records` says something else (condition)"
    assert lines[2].startswith(f"     {new / 'institution.yaml'}:")
    assert "modality is CT" in lines[3]
    assert lines[4] == "     before: DENY: no policy permits `read:imaging`"
    assert lines[5].startswith("     after:  PERMIT: care-team-physicians-read-imaging-records")


def test_the_request_can_be_decided_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    new = changed(tmp_path, CT)
    assert main(["diff", str(STORY), str(new), "--json"]) == 1
    said = json.loads(capsys.readouterr().out)
    assert (said["equal"], said["denied"], said["obliged"], said["undecided"]) == (False, [], [], [])
    (change,) = said["permitted"]
    (tmp_path / "request.json").write_text(json.dumps(change["request"]), "utf-8")
    asked = ["-r", str(tmp_path / "request.json"), "--at", change["at"]]
    assert main(["eval", "-p", str(STORY), *asked]) == 1
    assert main(["eval", "-p", str(new), *asked]) == 0


@pytest.mark.parametrize(("on", "code"), [("permit", 1), ("deny", 0), ("any", 1)])
def test_what_counts_as_a_failure_can_be_said(tmp_path: Path, on: str, code: int) -> None:
    assert main(["diff", str(STORY), str(changed(tmp_path, CT)), "--fail-on", on]) == code


def test_what_is_newly_denied_and_owed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    nurse = ('subject.role == "nurse"', 'subject.role == "nurse" && resource.sensitivity <= 3')
    new = changed(tmp_path, nurse, ('"patient.telecom", "patient.address"', '"patient.telecom"'))
    assert main(["diff", str(STORY), str(new), "--fail-on", "permit"]) == 0
    said = capsys.readouterr().out
    assert "NEWLY DENIED (1)\n  because `care-team-nurses-do-vitals` says something else (condition)" in said
    assert "OTHER OBLIGATIONS (1)" in said and 'must mask {"paths": ["patient.telecom"]}' in said


def test_a_bundle_is_compared_with_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bundle = tmp_path / "old.bundle"
    assert main(["bundle", "build", str(STORY), "-o", str(bundle)]) == 0
    assert main(["diff", str(bundle), str(changed(tmp_path))]) == 0
    assert capsys.readouterr().out.endswith("no request is decided otherwise\n")


def test_what_cannot_be_read_is_bad_input(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "odd.yaml").write_text("kind: PolicySet\n", "utf-8")
    for path, text in (("missing", "does not exist"), ("empty", "no policies"), ("odd.yaml", "which language")):
        assert main(["diff", str(STORY), str(tmp_path / path)]) == 2
        assert text in capsys.readouterr().err
    assert main(["diff", str(STORY), str(STORY), "--timezone", "Mars/Olympus"]) == 2
    assert "no time zone" in capsys.readouterr().err
