"""The story on real systems: Orthanc, dcmtk, a FHIR server from npm, python-hl7 and hl7apy; `spir serve` between them.

Nothing of ours but the gateway is on the wire, save for the webhook receiver.
hl7apy has no client, but writes MLLP: its bytes go over a plain socket.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hl7.client
import pytest
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.parser import parse_message

from adapters.demo_site import SECRET, fixture
from adapters.sandbox import chart
from adapters.sandbox.hook import SandboxHook
from adapters.sandbox.patients import person
from tests.wire.dcmtk import Dcmtk, StoreScp
from tests.wire.npm_fhir import NpmFhir
from tests.wire.orthanc import Orthanc
from tests.wire.peers import wait_for
from tests.wire.served import Served

pytestmark = [pytest.mark.wire, pytest.mark.peer("orthanc", "dcmtk", "npm")]

PATIENT = chart.patient_id(person("P001"))
STUDIES = {plan.modalities[0]: plan.uid for plan in person("P001").studies}
DENIED = 0x0124
ASKED = ("PatientID=P001", "StudyInstanceUID", "ModalitiesInStudy", "NumberOfStudyRelatedSeries")


class Scene:
    """The systems, and the doctor's ways to ask."""

    def __init__(self, served: Served, viewer: Dcmtk, storage: StoreScp, hook: SandboxHook, fhir: NpmFhir) -> None:
        self.served, self.viewer, self.storage, self.hook, self.fhir = served, viewer, storage, hook, fhir

    def modalities(self) -> set[str]:
        answer = self.viewer.find(*ASKED)
        assert answer.status == 0
        return {str(row["ModalitiesInStudy"]) for row in answer.rows}

    def by_python_hl7(self, name: str) -> str:
        """Send with python-hl7's client; MSA-1 of the answer."""
        with hl7.client.MLLPClient("127.0.0.1", self.served.hl7v2, encoding="utf-8") as client:
            return _code(client.send_message(fixture(f"hl7v2/{name}.hl7")))

    def by_hl7apy(self, name: str) -> str:
        """Send what hl7apy makes of the message; MSA-1 of the answer, read by hl7apy."""
        text = fixture(f"hl7v2/{name}.hl7").decode("utf-8")
        message = parse_message(text, validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=False)
        with socket.create_connection(("127.0.0.1", self.served.hl7v2), timeout=20) as connection:
            connection.sendall(message.to_mllp().encode("utf-8"))
            received = b""
            while not received.endswith(b"\x1c\r"):
                more = connection.recv(4096)
                assert more, "the gateway closed the connection"
                received += more
        answer = parse_message(received.strip(b"\x0b\x1c\r").decode("utf-8"), find_groups=False)
        return str(answer.msa.msa_1.value)

    def entries(self, path: str) -> list[Any]:
        status, bundle = self.served.get(path)
        assert status == 200
        return [entry["resource"] for entry in bundle.get("entry", ())]


@pytest.fixture
def scene(
    tmp_path: Path,
    orthanc: Orthanc,
    empty_npm_fhir: NpmFhir,
    dcmtk: Callable[..., Dcmtk],
    storescp: Callable[..., StoreScp],
) -> Iterator[Scene]:
    hook = SandboxHook(sandbox=True, secret=SECRET)
    hook.start()
    empty_npm_fhir.fill(chart.everything())
    storage = storescp(ae_title="WS1")
    orthanc.know("WS1", storage.port)
    served = Served(tmp_path, orthanc.port, orthanc.ae_title, storage.port, empty_npm_fhir.base, hook.base)
    try:
        served.start()
        yield Scene(served, dcmtk(served.dicom), storage, hook, empty_npm_fhir)
    finally:
        served.stop()
        hook.stop()


def test_one_policy_from_an_hl7_event_to_a_dicom_retrieve_and_a_fhir_search(scene: Scene) -> None:
    before_admission(scene)
    assert scene.by_python_hl7("adt_a01") == "AA"
    images_of_the_permitted_kinds(scene)
    chart_with_masks(scene)
    critical_result_and_stat_order(scene)
    assert scene.by_hl7apy("adt_a03") == "AA"
    after_discharge(scene)
    trail_that_proves_itself(scene)


def before_admission(scene: Scene) -> None:
    assert scene.viewer.echo().status == 0
    assert scene.modalities() == set()
    assert scene.served.get(f"Patient/{PATIENT}")[0] == 404
    assert scene.served.get("Patient/nobody")[1] == scene.served.get(f"Patient/{PATIENT}")[1]
    assert scene.entries(f"Observation?patient={PATIENT}") == []


def images_of_the_permitted_kinds(scene: Scene) -> None:
    assert scene.modalities() == {"CR", "DX"}
    moved = scene.viewer.move(f"StudyInstanceUID={STUDIES['CR']}", destination="WS1")
    assert (moved.status, moved.failed) == (0, 0)
    wait_for(lambda: set(scene.storage.counts()) == {"CR"}, "the CR images to arrive")
    assert sum(scene.storage.counts().values()) == moved.completed > 0
    got = scene.viewer.get(f"StudyInstanceUID={STUDIES['DX']}")
    assert set(got.received) == {"DX"}
    for modality in ("CT", "MR", "US"):
        assert scene.viewer.move(f"StudyInstanceUID={STUDIES[modality]}", destination="WS1").status == DENIED
        assert not scene.viewer.get(f"StudyInstanceUID={STUDIES[modality]}").received
    assert scene.viewer.move(f"StudyInstanceUID={STUDIES['CR']}", destination="ELSEWHERE").status == 0xA801
    assert set(scene.storage.counts()) == {"CR"}


def chart_with_masks(scene: Scene) -> None:
    status, patient = scene.served.get(f"Patient/{PATIENT}")
    assert status == 200
    assert patient["birthDate"] and "telecom" not in patient and "address" not in patient
    for kind in ("AllergyIntolerance", "Observation", "MedicationRequest", "ServiceRequest"):
        found = scene.entries(f"{kind}?patient={PATIENT}")
        assert found, kind
        assert {_subject(resource) for resource in found} == {PATIENT}
    images = scene.entries(f"ImagingStudy?patient={PATIENT}")
    assert {coding["code"] for image in images for coding in image["modality"]} == {"CR", "DX"}
    assert scene.served.get("Patient?phone=1")[0] == 403
    assert scene.served.get(f"Patient/{PATIENT}", subject="dr.chen")[0] == 404
    assert scene.served.get(f"Patient/{PATIENT}", bearer="forged.to.ken")[0] == 401


def critical_result_and_stat_order(scene: Scene) -> None:
    assert scene.by_hl7apy("oru_r01_normal") == "AA"
    assert scene.by_hl7apy("oru_r01_critical") == "AA"
    assert scene.hook.wait(1)
    [delivery] = scene.hook.deliveries
    assert delivery.body["priority"] == "high"
    assert scene.by_python_hl7("orm_o01_routine") == "AA"
    assert scene.by_python_hl7("orm_o01_stat") == "AA"
    wait_for(lambda: len(_tasks(scene)) == 1, "the Task to be created")
    [task] = _tasks(scene)
    assert (task["status"], task["intent"], task["priority"]) == ("requested", "order", "stat")


def after_discharge(scene: Scene) -> None:
    assert scene.modalities() == set()
    assert scene.viewer.move(f"StudyInstanceUID={STUDIES['CR']}", destination="WS1").status == DENIED
    assert scene.served.get(f"Patient/{PATIENT}")[0] == 404


def trail_that_proves_itself(scene: Scene) -> None:
    found = _spir(scene, "audit", "search", "--patient", "HIS|P001", "--limit", "500")
    assert {event["protocol"] for event in found} >= {"hl7v2", "dicom", "fhir"}
    scene.served.stop()  # the last checkpoint is signed at the end
    report = _spir(scene, "audit", "verify")
    assert report["ok"] is True and report["signed"] >= len(found)
    refused = next(
        event for event in found if event["operation"] == "retrieve:imaging" and event["outcome"] == "refused"
    )
    explained = _spir(scene, "explain", "--event", str(refused["event"]), code=1)
    assert [layer["layer"] for layer in explained["layers"]] == ["national", "provincial", "institution"]
    stored = (scene.served.folder / "var" / "gateway.db").read_bytes()
    exported = scene.served.folder / "trail.ndjson"
    _spir(scene, "audit", "export", str(exported))
    assert stored and b"P001" not in exported.read_bytes()
    assert "P001" not in scene.served.log and "1380000" not in scene.served.log


def _spir(scene: Scene, *words: str, code: int = 0) -> Any:
    command = [sys.executable, "-m", "adapters.cli", *words, "-c", str(scene.served.config), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == code, done.stderr
    return json.loads(done.stdout)


def _tasks(scene: Scene) -> list[Any]:
    return [entry["resource"] for entry in scene.fhir.request("GET", "/Task").get("entry", ())]


def _subject(resource: Any) -> str:
    reference = (resource.get("subject") or resource.get("patient"))["reference"]
    return str(reference).rpartition("/")[2]


def _code(answer: bytes) -> str:
    return str(hl7.parse(answer.strip(b"\x0b\x1c\r").decode("utf-8")).segment("MSA")[1])
