"""`spir check` from outside."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path

import pytest

from adapters.cli import main
from adapters.commands import checking
from spir.assurance.checks.registry import CHECKS, manual

ROOT = Path(__file__).resolve().parents[2]
STORY = ROOT / "fixtures" / "policies" / "story"
LANGUAGE = ROOT / "fixtures" / "policies" / "language"
EXAMPLES = ROOT / "fixtures" / "policies" / "checks"
MANUAL = ROOT / "docs" / "checks.md"

HEAD = 'spir: "1"\nkind: PolicySet\nname: ward\nlayer: institution\njurisdiction: cn\nversion: 1.0.0\npolicies:\n'
# Nothing tells a gateway who is on which shift.
WORDS = 'spir: "1"\nkind: Vocabulary\nname: v\nattributes:\n  subject.shift: {type: string, source: roster}\n'
PERMIT = (
    '  - {id: night-shift-reads, effect: permit, operations: ["read:report"], when: "subject.shift == \'night\'"}\n'
)


def written(folder: Path, **files: str) -> str:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text, "utf-8")
    return str(folder)


@pytest.fixture
def found(tmp_path: Path) -> str:
    """Policies with one warning."""
    return written(tmp_path, words=WORDS, ward=HEAD + PERMIT)


def test_the_story_has_nothing_to_acknowledge(capsys: pytest.CaptureFixture[str]):
    staff = str(STORY.parent / "staff.yaml")
    assert main(["check", str(STORY), "--directory", staff]) == 0
    assert capsys.readouterr().out.splitlines()[-1].startswith("0 errors, 0 warnings, ")


def test_a_warning_is_a_finding_and_a_note_is_not(found: str, capsys: pytest.CaptureFixture[str]):
    assert main(["check", found]) == 1
    said = capsys.readouterr().out
    assert "warning source: nothing provides `subject.shift`: its source `roster` is not known" in said
    assert main(["check", found, "--fail-on", "error"]) == 0
    assert main(["check", found, "--only", "gap"]) == 0
    assert main(["check", found, "--only", "gap", "--fail-on", "note"]) == 1


def test_json_and_sarif_say_the_same(found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    sarif = tmp_path / "out.sarif"
    at = ["--at", "2026-11-22T08:00:00Z"]
    assert main(["check", found, *at, "--json", "--sarif", str(sarif)]) == 1
    said = json.loads(capsys.readouterr().out)
    results = json.loads(sarif.read_text("utf-8"))["runs"][0]["results"]
    assert [one["mark"] for one in said["findings"]] == [one["partialFingerprints"]["mark/v1"] for one in results]
    assert said["checks"] == list(CHECKS)
    assert main(["check", found, *at, "--sarif", "-"]) == 1
    assert json.loads(capsys.readouterr().out)["runs"][0]["results"] == results


@pytest.mark.parametrize("check", ["conflict", "weakening", "obligations", "gap", "shadowing"])
def test_eval_takes_every_counterexample_as_it_is(check: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    policies = str(EXAMPLES / check / "trips.yaml")
    assert main(["check", policies, "--json", "--only", check, "--fail-on", "note"]) == 1
    found = json.loads(capsys.readouterr().out)["findings"]
    assert found
    for shown in (one["counterexample"] for one in found):
        request = tmp_path / "request.json"
        request.write_text(json.dumps(shown["request"]), "utf-8")
        main(["eval", "-p", policies, "-r", str(request), "--at", shown["at"], "--json"])
        assert json.loads(capsys.readouterr().out)["effect"] == shown["effect"]


def test_eval_decides_at_the_site_that_the_findings_are_about(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    """Half past eight in Shanghai is half past midnight in UTC."""
    toml = tmp_path / "spir.toml"
    toml.write_text('[site]\norganization = "cn"\ntimezone = "Asia/Shanghai"\n', "utf-8")
    day = "\"time.between('08:00', '09:00')\""
    ward = tmp_path / "ward.yaml"
    ward.write_text(
        f'{HEAD}  - {{id: by-day, effect: permit, operations: ["read:report"], when: {day}}}\n'
        '  - {id: never, effect: deny, operations: ["read:report"]}\n',
        "utf-8",
    )
    assert main(["check", str(ward), "-c", str(toml), "--only", "conflict", "--at", "2026-11-21T20:00:00Z"]) == 1
    line = next(line for line in capsys.readouterr().out.splitlines() if "as in:" in line)
    _, request, _, *command, _ = shlex.split(line.partition("as in:")[2])
    (tmp_path / "r.json").write_text(request, "utf-8")
    main([*command[1:], str(tmp_path / "r.json"), "--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["matched"] == ["by-day", "never"] and said["effect"] == "deny"


def test_progress_is_shown_on_a_terminal_and_wiped_away(
    found: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(checking, "QUIET", 0.0)
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert main(["check", found, "--only", "source"]) == 1
    said = capsys.readouterr().err
    assert "] source 0/1" in said and said.endswith("\r\x1b[K")


def test_what_is_suggested_acknowledges_once_it_is_filled_in(
    found: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    assert main(["check", found, "--suggest"]) == 1
    text = capsys.readouterr().out
    name = str(tmp_path / "known.yaml")  # it may lie among the policies
    Path(name).write_text(text, "utf-8")
    assert main(["check", found, "--suppressions", name]) == 2
    assert "`reason` must be text" in capsys.readouterr().err
    for key, value in (("reason", "the roster comes in May"), ("by", "a.reviewer"), ("until", "2026-12-31")):
        text = text.replace(f'{key}: ""', f"{key}: {value}")
    Path(name).write_text(text, "utf-8")
    assert main(["check", found, "--suppressions", name, "--at", "2026-12-31T23:59:00Z"]) == 0
    assert "1 acknowledged" in capsys.readouterr().out
    assert main(["check", found, "--suppressions", name, "--at", "2027-01-01T00:00:00Z"]) == 1
    assert "has expired: the roster comes in May" in capsys.readouterr().out


def test_every_broken_file_is_named_with_its_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    bad = "when: \"subject.rloe == 'x'\"}"
    files = {name: HEAD + PERMIT.replace("night-shift-reads", name).partition("when:")[0] + bad for name in "ab"}
    folder = written(tmp_path, **files, good=HEAD + PERMIT.partition(", when")[0] + "}")
    assert main(["check", folder]) == 2
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(": ")[2].partition(":")[0] for line in said] == [f"{folder}/a.yaml", f"{folder}/b.yaml"]
    assert all("did you mean `subject.role`" in line and ".yaml:8:" in line for line in said)


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (["--only", "gapp"], "there is no check `gapp`; did you mean `gap`?"),
        (["--suppressions", "nowhere.yaml"], "`nowhere.yaml` cannot be read as UTF-8 text"),
        (["--directory", "nowhere.yaml"], "`nowhere.yaml` cannot be read as UTF-8 text"),
        (["--at", "noon"], "`noon` is not a time"),
        (["-c", "nowhere.toml"], "nowhere.toml"),
        (["--sarif", "nowhere/there/out.sarif"], "`nowhere/there/out.sarif` cannot be written"),
    ],
)
def test_wrong_usage_is_said_in_one_line(
    arguments: list[str],
    problem: str,
    capsys: pytest.CaptureFixture[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
):
    monkeypatch.chdir(tmp_path)
    assert main(["check", str(LANGUAGE), *arguments]) == 2
    said = capsys.readouterr().err
    assert problem in said and said.count("\n") == 1


def test_policies_and_site_come_from_the_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    written(tmp_path, staff=(STORY.parent / "staff.yaml").read_text("utf-8"))
    text = f'[site]\norganization = "cn/zj/hospital-a"\n[policy]\ndocuments = ["{STORY}"]\n'
    text += '[directory]\nfile = "staff.yaml"\n'
    (tmp_path / "spir.toml").write_text(text, "utf-8")
    assert main(["check", "-c", str(tmp_path / "spir.toml"), "--json", "--fail-on", "error"]) == 0
    assert json.loads(capsys.readouterr().out)["policies"] == 16


def test_without_time_the_checks_say_that_they_are_not_finished(found: str, capsys: pytest.CaptureFixture[str]):
    assert main(["check", found, "--within", "0", "--only", "source"]) == 1
    assert "warning source: not finished" in capsys.readouterr().out


def test_the_manual_has_a_page_for_every_check(capsys: pytest.CaptureFixture[str]):
    assert main(["check", "--manual"]) == 0
    assert capsys.readouterr().out == manual()
    assert all(f"\n## {id}\n" in f"\n{manual()}" and check.title for id, check in CHECKS.items())
    assert main(["check", "--manual", "gap,source"]) == 0
    assert capsys.readouterr().out.count("\n## ") == 1


def test_the_manual_in_the_repository_is_the_one_that_is_printed():
    assert MANUAL.read_text("utf-8") == manual(), "write it anew: spir check --manual > docs/checks.md"
