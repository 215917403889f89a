"""A policy that the validator refuses is written under a running `spir serve`: nothing changes, and it is said."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.sandbox import chart
from adapters.sandbox.fhir_store import SandboxFhir
from adapters.sandbox.patients import person
from tests.wire.peers import free_port, wait_for
from tests.wire.served import Served

pytestmark = pytest.mark.wire

PATIENT = chart.patient_id(person("P001"))


@pytest.fixture
def served(tmp_path: Path, sandbox_fhir: SandboxFhir) -> Iterator[Served]:
    nobody = "http://127.0.0.1:9"
    made = Served(tmp_path, free_port(), "NOBODY", free_port(), sandbox_fhir.base, nobody)
    made.start("fhir")
    try:
        yield made
    finally:
        made.stop()


def edit(served: Served, before: str, after: str) -> None:
    path = served.folder / "policies" / "institution.yaml"
    text = path.read_text("utf-8")
    assert before in text
    path.write_text(text.replace(before, after, 1), "utf-8")


def recorded(served: Served, operation: str) -> list[Any]:
    command = [sys.executable, "-m", "adapters.cli", "audit", "search", "--operation", operation, "--json"]
    done = subprocess.run([*command, "-c", str(served.config)], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return list(json.loads(done.stdout))


def test_an_error_is_refused_and_what_opens_is_recorded(served: Served) -> None:
    status, _ = served.get(f"Patient/{PATIENT}")
    edit(served, 'operations: ["read:imaging"]', 'operations: ["create:imaging"]')
    wait_for(lambda: "the validator finds 2 errors" in served.log, "the policies to be refused")
    assert served.get(f"Patient/{PATIENT}")[0] == status
    [refused] = recorded(served, "policies-refused")
    assert refused["outcome"] == "error" and "institution.yaml" in refused["detail"]["problem"]
    assert "care-team-physicians-read-imaging-records" in refused["detail"]["validation"]["findings"][0]
    edit(served, 'operations: ["create:imaging"]', 'operations: ["read:imaging"]')
    edit(served, 'resource.modality in ["CR", "DX"]', 'resource.modality in ["CR", "DX", "MR"]')
    wait_for(lambda: "newly permit" in served.log, "the policies to be in force")
    wait_for(lambda: bool(recorded(served, "policies")), "the change to be recorded")
    [change, *_] = recorded(served, "policies")[0]["detail"]["newly_permits"]
    assert change["policies"] == ["care-team-physicians-read-imaging-records"] and "MR" in " ".join(change["region"])
    [line] = [line for line in served.log.splitlines() if "newly permit" in line]
    assert "care-team-physicians-read-imaging-records" in line and "MR" not in line
