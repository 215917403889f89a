"""The story, played: one policy from an HL7 event to a DICOM retrieve and a FHIR search.

The gateway is the real one, on loopback; the systems around it are embedded
stand-ins: a small PACS, a FHIR store, a webhook receiver, a doctor's viewer.
Each step shows what went over the wire and what came back, and checks it.
"""

from __future__ import annotations

import asyncio
import io
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from adapters.audit.keys import verify
from adapters.audit.search import Query, find
from adapters.audit.trail import export, from_database
from adapters.audit.verify import verify_trail
from adapters.compose import Gateway
from adapters.demo_site import Sandbox, fixture, lay_out, token
from adapters.hl7v2.sender import send
from adapters.parts import recorded
from adapters.sandbox.viewer import Found, Retrieved
from adapters.settings import load
from spir.engine.attributes import NoFacts
from spir.engine.explain import explain
from spir.model.value import thaw
from spir.record.event import Outcome

__all__ = ["play"]

PATIENT = "HIS|P001"
DENIED = 0x0124  # Refused: not authorised (PS3.7 Annex C)


class NotAsExpected(AssertionError):
    """A step of the story did not come out as it should."""


@dataclass
class Stage:
    """Where the story is played: the gateway, the systems around it, and the doctor's ways to ask."""

    sandbox: Sandbox
    gateway: Gateway
    http: aiohttp.ClientSession
    bearer: str
    failures: int = 0
    refused: int = 0  # the audit event of the refused CT
    out: Callable[[str], None] = field(default=lambda line: print(line, flush=True))

    # -- saying things -----------------------------------------------------------------------

    def note(self, text: str) -> None:
        self.out(f"     {text}")

    def sent(self, text: str) -> None:
        self.out(f"  -> {text}")

    def came(self, text: str) -> None:
        self.out(f"  <- {text}")

    def expect(self, what: str, holds: bool) -> None:
        self.out(f"  {_mark(holds)} {what}")
        if not holds:
            self.failures += 1

    # -- asking ------------------------------------------------------------------------------

    async def hl7(self, name: str) -> str:
        """Send a message over MLLP; the code of its acknowledgement (MSA-1)."""
        body = fixture(f"hl7v2/{name}.hl7")
        for segment in body.decode("utf-8").split("\r"):
            if segment:
                self.sent(_clipped(segment))
        started = time.perf_counter()
        [answer] = await send("127.0.0.1", self.gateway.ports["hl7v2"], [body])
        took = (time.perf_counter() - started) * 1000
        text = answer.decode("utf-8")
        for segment in text.strip("\r").split("\r"):
            self.came(_clipped(segment))
        self.note(f"durable, learnt and acknowledged in {took:.1f} ms")
        code = next((s.split("|")[1] for s in text.split("\r") if s.startswith("MSA")), "")
        self.expect("the message is accepted (AA)", code == "AA")
        return code

    async def find(self, **keys: str) -> Found:
        asked = {"PatientID": "P001", "StudyDescription": "", "ModalitiesInStudy": "", "StudyInstanceUID": "", **keys}
        shown = " ".join(f"{name}={value or '*'}" for name, value in asked.items())
        self.sent(f"C-FIND-RQ STUDY {shown}   (VIEWER1 -> SPIR -> PACS)")
        found = await asyncio.to_thread(self.sandbox.viewer.find, **asked)
        for row in found.rows:
            self.came(f"Pending 0xFF00  {_text(row['ModalitiesInStudy']):6} {_text(row['StudyDescription'])}")
        self.came(f"C-FIND-RSP 0x{found.status:04X}, {len(found.rows)} studies")
        return found

    async def retrieve(self, verb: str, study: str, label: str) -> tuple[Retrieved, Counter[str]]:
        """C-MOVE or C-GET one study; the final response, and what arrived by modality."""
        viewer = self.sandbox.viewer
        before = viewer.counts()
        self.sent(f"C-{verb.upper()}-RQ STUDY {label} {study[:30]}...   (VIEWER1 -> SPIR -> PACS)")
        result = await asyncio.to_thread(getattr(viewer, verb), StudyInstanceUID=study)
        arrived = viewer.counts() - before
        images = ", ".join(f"{number} {name}" for name, number in sorted(arrived.items())) or "no images"
        self.came(f"C-{verb.upper()}-RSP 0x{result.status:04X}, completed {result.completed}; arrived: {images}")
        return result, arrived

    async def fhir(self, path: str) -> tuple[int, Any]:
        """GET from the facade as the doctor; status and decoded body."""
        self.sent(f"GET /{path}   (dr.li -> SPIR -> FHIR server)")
        url = f"http://127.0.0.1:{self.gateway.ports['fhir']}/{path}"
        async with self.http.get(url, headers={"Authorization": f"Bearer {self.bearer}"}) as response:
            body = await response.json(content_type=None)
            self.came(f"{response.status} {response.reason}  {_resource(body)}")
            return response.status, body


# -- the steps -------------------------------------------------------------------------------


async def before_admission(stage: Stage) -> None:
    found = await stage.find()
    stage.expect("the doctor sees no study", not found.rows and found.status == 0)
    status, _ = await stage.fhir(f"Patient/{stage.sandbox.patient}")
    stage.expect("the chart does not exist for her (404, the same as for an unknown id)", status == 404)
    _, bundle = await stage.fhir(f"Observation?patient={stage.sandbox.patient}")
    stage.expect("a search finds nothing", not _entries(bundle))


async def admission(stage: Stage) -> None:
    await stage.hl7("adt_a01")
    for fact in stage.gateway.facts(("patient", PATIENT)):
        stage.note(f"fact: {fact.attribute} = {thaw(fact.value)}")


async def query(stage: Stage) -> None:
    found = await stage.find()
    seen = {_text(row["ModalitiesInStudy"]) for row in found.rows}
    stage.note("the PACS holds CR, DX, CT, MR and US studies of this patient")
    stage.expect("CR and DX are shown, and nothing else", seen == {"CR", "DX"})


async def images(stage: Stage) -> None:
    studies = stage.sandbox.studies
    result, arrived = await stage.retrieve("move", studies["CR"], "CR")
    stage.expect("C-MOVE delivers the CR study", result.status == 0 and set(arrived) == {"CR"})
    result, arrived = await stage.retrieve("get", studies["DX"], "DX")
    stage.expect("C-GET delivers the DX study", result.status == 0 and set(arrived) == {"DX"})
    result, arrived = await stage.retrieve("move", studies["CT"], "CT")
    stage.expect("the CT study is refused (0x0124, not authorised)", result.status == DENIED and not arrived)
    result, arrived = await stage.retrieve("get", studies["CT"], "CT")
    stage.expect("by C-GET too", result.status == DENIED and not arrived)


async def chart(stage: Stage) -> None:
    status, patient = await stage.fhir(f"Patient/{stage.sandbox.patient}")
    masked = status == 200 and "telecom" not in patient and "address" not in patient and "birthDate" in patient
    stage.expect("the patient is readable, telephone and address are masked", masked)
    for kind in ("AllergyIntolerance", "Observation", "MedicationRequest", "ServiceRequest"):
        status, bundle = await stage.fhir(f"{kind}?patient={stage.sandbox.patient}")
        subjects = {_subject(resource) for resource in _entries(bundle)}
        stage.expect(f"{kind}: only this patient's", status == 200 and subjects == {stage.sandbox.patient})
    status, bundle = await stage.fhir("ImagingStudy")
    modalities = {m["code"] for r in _entries(bundle) for m in r.get("modality", ())}
    stage.expect("ImagingStudy shows what DICOM shows: CR and DX", status == 200 and modalities == {"CR", "DX"})
    status, _ = await stage.fhir("Patient?phone=13800000001")
    stage.expect("searching by a masked element is refused (403)", status == 403)


async def critical_result(stage: Stage) -> None:
    await stage.hl7("oru_r01_critical")
    arrived = await asyncio.to_thread(stage.sandbox.hook.wait, 1)
    for delivery in stage.sandbox.hook.deliveries:
        stage.came(f"webhook POST {delivery.path} {_clipped(json.dumps(delivery.body, ensure_ascii=False))}")
    bodies = [delivery.body for delivery in stage.sandbox.hook.deliveries]
    stage.expect("a signed alert of high priority was delivered", arrived and "high" in json.dumps(bodies))


async def stat_order(stage: Stage) -> None:
    await stage.hl7("orm_o01_stat")
    tasks = await stage.sandbox.resources(stage.http, "Task", 1)
    for task in tasks:
        stage.came(f"FHIR server has Task/{task['id']}: {task['status']}, intent {task['intent']}, {task['priority']}")
    stage.expect("a FHIR Task with priority stat exists", [t["priority"] for t in tasks] == ["stat"])


async def discharge(stage: Stage) -> None:
    await stage.hl7("adt_a03")
    found = await stage.find()
    stage.expect("no study is shown any more", not found.rows)
    result, arrived = await stage.retrieve("move", stage.sandbox.studies["CR"], "CR")
    stage.expect("nothing can be retrieved any more", result.status == DENIED and not arrived)
    status, _ = await stage.fhir(f"Patient/{stage.sandbox.patient}")
    stage.expect("the chart is closed", status == 404)


async def audit(stage: Stage) -> None:
    gateway = stage.gateway
    await gateway.notary.seal()
    key, digest = gateway.notary.key, gateway.journal.names.digest
    report = await gateway.store.read(lambda connection: verify_trail(from_database(connection), key, verify))
    stage.note(
        f"{report.records} records, {report.signed} confirmed by a signed checkpoint, root {report.root.hex()[:16]}"
    )
    stage.expect("the trail verifies", report.ok and report.signed == report.records)
    asked = Query(operation="retrieve:imaging", outcome=Outcome.REFUSED)
    page = await gateway.store.read(lambda connection: find(connection, asked, digest))
    stage.refused = refused = page.records[-1].sequence
    stage.note(f"event {refused}, the CT that was refused, layer by layer:")
    request, at, _ = recorded(gateway.settings, refused)
    for line in explain(gateway.rules, request, NoFacts(), at).lines():
        stage.note(line)
    exported = io.BytesIO()
    await gateway.store.read(lambda connection: export(connection, exported))
    stage.expect("no patient id is in the trail in clear", b"P001" not in exported.getvalue())


STEPS: tuple[tuple[str, str, Callable[[Stage], Awaitable[None]]], ...] = (
    ("Before admission", "dr.li treats nobody yet. Nothing exists for her.", before_admission),
    ("ADT^A01", "The HIS admits the patient; dr.li is the attending doctor.", admission),
    ("C-FIND", "The same query as before.", query),
    ("C-MOVE and C-GET", "Permitted series are delivered, the rest is refused.", images),
    ("FHIR", "The same policy, the other protocol.", chart),
    ("ORU^R01, critical", "view:result:critical -> notify:alert:priority=high", critical_result),
    ("ORM^O01, STAT", "update:order:stat -> trigger:workflow:urgency=immediate", stat_order),
    ("ADT^A03", "Discharge closes both protocols at once.", discharge),
    ("Audit", "Every answer above is in the trail: verified, and one of them explained.", audit),
)


async def play(folder: Path, once: bool, out: Callable[[str], None] | None = None) -> int:
    """Play the story; the number of checks that failed. Without `once` the gateway then runs until cancelled."""
    shutil.rmtree(folder, ignore_errors=True)
    async with _stage(folder) as stage:
        if out is not None:
            stage.out = out
        _introduce(stage)
        for number, (title, why, step) in enumerate(STEPS, 1):
            stage.out("")
            stage.out(f"{number}. {title}: {why}")
            await step(stage)
        stage.out("")
        if stage.failures:
            stage.out(f"{stage.failures} checks were not as expected.")
        else:
            stage.out("Everything was as expected. One policy, three protocols.")
        _farewell(stage, folder)
        if not once:
            stage.out("The gateway goes on running. Ctrl-C stops it.")
            await asyncio.Event().wait()
        return stage.failures


@asynccontextmanager
async def _stage(folder: Path) -> AsyncIterator[Stage]:
    with Sandbox.running() as sandbox:
        gateway = await Gateway.open(load(lay_out(folder, sandbox.surroundings), {}))
        try:
            await gateway.start()
            sandbox.connect(gateway.ports["dicom"])
            async with aiohttp.ClientSession() as http:
                yield Stage(sandbox, gateway, http, token(folder, "dr.li"))
        finally:
            await gateway.stop()


def _introduce(stage: Stage) -> None:
    ports = stage.gateway.ports
    stage.out("SPIR: one access policy for HL7 v2, DICOM and FHIR.")
    stage.out("")
    stage.out("  HIS --HL7 v2--> +------+ --DICOM--> PACS (sandbox)")
    stage.out("  viewer -DICOM-> | SPIR |")
    stage.out("  app ----FHIR--> +------+ --FHIR---> FHIR server (sandbox)")
    stage.out("")
    stage.out(
        f"MLLP {ports['hl7v2']}, DICOM {ports['dicom']}, FHIR {ports['fhir']}, all on 127.0.0.1. Patients are invented."
    )


def _farewell(stage: Stage, folder: Path) -> None:
    config = folder / "spir.toml"
    command = os.path.relpath(sys.argv[0]) if Path(sys.argv[0]).name == "spir" else "spir"
    stage.out("")
    stage.out("Try next (in a second terminal, while this runs):" if sys.stdout.isatty() else "Try next:")
    for words, why in (
        (f"audit search -c {config} --patient '{PATIENT}'", "what was decided about this patient"),
        (f"explain -c {config} --event {stage.refused}", "why the CT was refused"),
        (f"facts get -c {config} '{PATIENT}'", "what is known about the patient, and from where"),
    ):
        stage.out(f"  {command} {words}   # {why}")


# -- showing ---------------------------------------------------------------------------------


def _mark(holds: bool) -> str:
    return "ok:" if holds else "NOT AS EXPECTED:"


def _clipped(text: str, length: int = 150) -> str:
    return text if len(text) <= length else f"{text[:length]}..."


def _text(value: Any) -> str:
    return "\\".join(value) if isinstance(value, tuple) else str(value)


def _entries(bundle: Any) -> list[Any]:
    return [entry["resource"] for entry in bundle.get("entry", ())] if isinstance(bundle, dict) else []


def _subject(resource: Any) -> str:
    reference = (resource.get("subject") or resource.get("patient") or {}).get("reference", "")
    return str(reference).rpartition("/")[2]


def _resource(body: Any) -> str:
    """A resource in one line: a Bundle by its entries, others as they are."""
    if not isinstance(body, dict):
        return ""
    if body.get("resourceType") == "Bundle":
        return f"Bundle with {len(_entries(body))} entries: {', '.join(_names(body))}"
    return _clipped(json.dumps(body, ensure_ascii=False, separators=(",", ":")), 200)


def _names(bundle: Any) -> Iterator[str]:
    yield from (f"{r['resourceType']}/{r['id']}" for r in _entries(bundle)[:4])
    if len(_entries(bundle)) > 4:
        yield "..."
