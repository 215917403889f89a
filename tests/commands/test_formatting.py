"""`spir fmt` from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.cli import main

UGLY = 'kind: PolicySet\nspir: "1"\nname: a   # mine\nlayer: national\njurisdiction: cn\nversion: 1.0.0\npolicies: []\n'
NEAT = 'spir: "1"\nkind: PolicySet\nname: a  # mine\nlayer: national\njurisdiction: cn\nversion: 1.0.0\npolicies: []\n'


def test_check_changes_nothing_and_finds(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "a.yaml"
    file.write_text(UGLY, "utf-8")
    assert main(["fmt", str(tmp_path), "--check"]) == 1
    assert f"would change: {file}" in capsys.readouterr().out
    assert file.read_text("utf-8") == UGLY


def test_files_are_written_in_place_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    file = tmp_path / "a.yaml"
    file.write_text(UGLY, "utf-8")
    file.chmod(0o640)
    assert main(["fmt", str(file)]) == 0
    assert file.read_text("utf-8") == NEAT and file.stat().st_mode & 0o777 == 0o640
    assert main(["fmt", str(file), "--check", "--json"]) == 0
    said = capsys.readouterr().out.split("unchanged, 0 refused\n")[-1]
    assert json.loads(said) == [{"file": str(file), "state": "unchanged"}]
    assert list(tmp_path.iterdir()) == [file]


def test_a_refused_file_stays_and_the_others_are_formatted(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    bad = UGLY.replace("[]", "[{id: p, when: 'true // why'}]")
    (tmp_path / "a.yaml").write_text(bad, "utf-8")
    (tmp_path / "b.yaml").write_text(UGLY, "utf-8")
    (tmp_path / "staff.yaml").write_text("- {id:   dr.li}\n", "utf-8")
    assert main(["fmt", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert "a.yaml:7:" in error and "a comment inside a condition" in error and error.count("\n") == 1
    assert (tmp_path / "a.yaml").read_text("utf-8") == bad
    assert (tmp_path / "b.yaml").read_text("utf-8") == NEAT
    assert (tmp_path / "staff.yaml").read_text("utf-8") == "- {id:   dr.li}\n"


def test_a_file_that_is_named_has_to_be_a_document(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    (tmp_path / "staff.yaml").write_text("- {id: dr.li}\n", "utf-8")
    assert main(["fmt", str(tmp_path / "staff.yaml")]) == 2
    assert "no document of ours" in capsys.readouterr().err
