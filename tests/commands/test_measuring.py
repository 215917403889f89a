"""`spir bench` and `spir schema` from outside."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from adapters.cli import main
from adapters.commands import measuring
from spir.language.document import KINDS


def test_the_small_measure_names_what_it_measured():
    found = measuring.measure(20, 0.01)
    assert found["policies"] == 20 and all(value > 0 for value in found.values())


def test_outside_of_a_checkout_the_small_measure_is_taken(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setattr(measuring, "SCRIPT", tmp_path / "engine.py")
    monkeypatch.setattr(measuring, "POLICIES", 10)
    monkeypatch.setattr(measuring, "SECONDS", 0.01)
    assert main(["bench", "--peers", "--json"]) == 0
    said = capsys.readouterr()
    assert json.loads(said.out)["policies"] == 10 and "in a checkout only" in said.err


def test_in_a_checkout_its_benchmark_is_run(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
):
    script = tmp_path / "bench" / "engine.py"
    script.parent.mkdir()
    script.write_text("import sys\nprint(sys.argv[1:])\nsys.exit(1)\n", "utf-8")
    monkeypatch.setattr(measuring, "SCRIPT", script)
    assert main(["bench", "--json"]) == 1
    assert capfd.readouterr().out == "['--quick', '--json']\n"


def test_schema_lists_every_kind_with_its_purpose(capsys: pytest.CaptureFixture[str]):
    assert main(["schema"]) == 0
    said = capsys.readouterr().out
    assert all(f"{kind} " in said for kind in KINDS) and said.count("\n") == len(KINDS)
    assert main(["schema", "--json"]) == 0
    assert json.loads(capsys.readouterr().out).keys() == KINDS.keys()
    assert main(["schema", "PolicySet"]) == 0
    assert json.loads(capsys.readouterr().out)["title"] == "PolicySet"
    assert main(["schema", "PolicySett"]) == 2
    assert "did you mean `PolicySet`" in capsys.readouterr().err
