"""A policy is edited under a running `spir serve`: the next C-FIND, FHIR read and HL7 message are decided by it."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from adapters.demo_site import fixture
from adapters.sandbox import chart
from adapters.sandbox.fhir_store import SandboxFhir
from adapters.sandbox.pacs import SandboxPacs
from adapters.sandbox.patients import person
from adapters.sandbox.viewer import Viewer, ViewerConfig
from tests.wire.peers import free_port, wait_for
from tests.wire.served import Served

pytestmark = pytest.mark.wire

PATIENT = chart.patient_id(person("P001"))
CR_AND_DX, CR = "modality=CR,DX", "modality=CR"


class Site:
    """A gateway in a process of its own, and what can be asked of it through each protocol."""

    def __init__(self, served: Served, viewer: Viewer) -> None:
        self.served = served
        self._viewer = viewer
        self._sent = 0

    @property
    def policies(self) -> Path:
        return self.served.folder / "policies"

    def modalities(self) -> set[str]:
        found = self._viewer.find(PatientID="P001", StudyInstanceUID="", ModalitiesInStudy="")
        assert found.status == 0
        return {str(row["ModalitiesInStudy"]) for row in found.rows}

    def reads_patient(self) -> bool:
        status, _ = self.served.get(f"Patient/{PATIENT}")
        assert status in (200, 403, 404)
        return status == 200

    def send(self, name: str) -> str:
        """MSA-1 of the answer to a message, sent under a control id of its own."""
        self._sent += 1
        segments = fixture(f"hl7v2/{name}.hl7").strip().split(b"\r")
        fields = segments[0].split(b"|")
        fields[9] = b"RELOAD%d" % self._sent
        segments[0] = b"|".join(fields)
        with socket.create_connection(("127.0.0.1", self.served.hl7v2), timeout=20) as connection:
            connection.sendall(b"\x0b" + b"\r".join(segments) + b"\r\x1c\r")
            answer = b""
            while not answer.endswith(b"\x1c\r"):
                more = connection.recv(4096)
                assert more, "the gateway closed the connection"
                answer += more
        return answer.partition(b"\rMSA|")[2][:2].decode()

    def edit(self, name: str, before: str, after: str) -> None:
        """In place, as an editor that does not know better."""
        path = self.policies / name
        text = path.read_text("utf-8")
        assert before in text
        path.write_text(text.replace(before, after), "utf-8")

    def configure(self, before: str, after: str) -> None:
        text = self.served.config.read_text("utf-8")
        assert before in text
        self.served.config.write_text(text.replace(before, after), "utf-8")

    def spir(self, *words: str, code: int = 0) -> Any:
        command = [sys.executable, "-m", "adapters.cli", *words, "--json"]
        done = subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=self.served.folder)
        assert done.returncode == code, done.stderr
        return json.loads(done.stdout) if code != 2 else done.stderr

    def recorded(self, operation: str) -> list[Any]:
        return list(self.spir("audit", "search", "--operation", operation, "-c", str(self.served.config)))


@pytest.fixture
def site(tmp_path: Path, sandbox_pacs: SandboxPacs, sandbox_fhir: SandboxFhir) -> Iterator[Site]:
    nobody = "http://127.0.0.1:9"
    served = Served(tmp_path, sandbox_pacs.port, "SANDBOXPACS", free_port(), sandbox_fhir.base, nobody)
    viewer = Viewer(ViewerConfig(("127.0.0.1", served.dicom, "SPIR")), sandbox=True)
    viewer.start()
    site = Site(served, viewer)
    # what the edits of these tests leave behind is not what a validator lets pass
    site.configure('documents = ["policies"]', 'documents = ["policies"]\nvalidate = "warn"')
    try:
        yield site
    finally:
        viewer.stop()
        served.stop()


def admitted(site: Site) -> None:
    site.served.start()
    assert site.send("adt_a01") == "AA"
    assert site.modalities() == {"CR", "DX"} and site.reads_patient()


def test_an_edited_file_changes_the_next_decision_in_each_protocol(site: Site) -> None:
    admitted(site)
    site.edit("permission_map.yaml", CR_AND_DX, CR)
    wait_for(lambda: site.modalities() == {"CR"}, "the C-FIND to be narrowed")
    assert site.reads_patient()
    site.edit("institution.yaml", 'role == "physician"', 'role == "surgeon"')
    wait_for(lambda: not site.reads_patient(), "the FHIR read to be denied")
    assert site.send("oru_r01_normal") == "AA"
    site.edit("institution.yaml", '"view:result"]', '"view:report"]')
    wait_for(lambda: site.send("oru_r01_normal") != "AA", "the HL7 message to be refused")
    found = site.recorded("policies")
    assert len(found) == 3 and len({event["detail"]["bundle"] for event in found}) == 3


def test_what_cannot_be_read_changes_nothing_and_is_recorded(site: Site) -> None:
    admitted(site)
    site.edit("permission_map.yaml", "rules:", "rulez:")
    wait_for(lambda: "policies not reloaded" in site.served.log, "the file to be refused")
    assert site.modalities() == {"CR", "DX"} and site.reads_patient()
    (site.served.folder / "staff.yaml").write_text("- {id: dr.li, role: physician}", "utf-8")
    wait_for(lambda: "directory not reloaded" in site.served.log, "the directory to be refused")
    assert site.modalities() == {"CR", "DX"}
    [refused] = site.recorded("policies-refused")[:1]
    assert "permission_map.yaml:5" in refused["detail"]["problem"] and refused["outcome"] == "error"
    assert site.recorded("directory-refused")


def test_a_change_of_the_directory_is_seen_by_the_next_request(site: Site) -> None:
    admitted(site)
    path = site.served.folder / "staff.yaml"
    path.write_text(path.read_text("utf-8").replace('["read:patient:allergy"]', "[]", 1), "utf-8")
    wait_for(lambda: site.modalities() == set(), "the doctor to be without the permission")
    assert site.reads_patient()
    assert len(site.recorded("directory")) == 1


def test_sighup_reads_again_where_nobody_watches(site: Site) -> None:
    site.configure('documents = ["policies"]', 'documents = ["policies"]\nwatch = false')
    admitted(site)
    site.edit("permission_map.yaml", CR_AND_DX, CR)
    os.kill(site.served.pid, signal.SIGHUP)
    wait_for(lambda: site.modalities() == {"CR"}, "the policies to be read again")


def bundle(site: Site, generation: int, key: str = "policy.pem") -> Path:
    path = site.served.folder / f"{generation}.bundle"
    site.spir("bundle", "build", "policies", "-o", str(path), "--generation", str(generation))
    site.spir("bundle", "sign", str(path), "--key", key)
    return path


def test_signed_bundles_come_into_force_in_order_and_can_be_rolled_back(site: Site) -> None:
    wanted = 'documents = ["site.bundle"]\ntrusted_keys = ["policy.pub"]\nrequire_signature = true'
    site.configure('documents = ["policies"]', wanted)
    first = bundle(site, 1)
    site.spir("bundle", "push", str(first))
    admitted(site)

    site.edit("permission_map.yaml", CR_AND_DX, CR)
    site.spir("bundle", "push", str(bundle(site, 2)))
    wait_for(lambda: site.modalities() == {"CR"}, "the second bundle to come into force")

    (site.served.folder / "site.bundle").write_bytes(first.read_bytes())
    wait_for(lambda: "is not newer than 2" in site.served.log, "the old bundle to be refused")
    stranger = bundle(site, 3, "stranger.pem")
    (site.served.folder / "site.bundle").write_bytes(stranger.read_bytes())
    wait_for(lambda: "no trusted key has signed" in site.served.log, "the stranger's bundle to be refused")
    assert site.modalities() == {"CR"}

    site.served.kill()
    site.served.start()  # with what may not come into force lying there
    assert site.modalities() == {"CR"}

    site.spir("bundle", "rollback")
    (site.served.folder / "site.bundle").write_bytes(first.read_bytes())
    wait_for(lambda: site.modalities() == {"CR", "DX"}, "the first bundle to be in force again")
    assert "is not newer than 2" in site.spir("bundle", "push", str(first), code=2)
    generations = [event["detail"].get("generation") for event in site.recorded("policies")]
    assert sorted(generations) == [1, 2]
