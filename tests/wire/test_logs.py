"""What a gateway logs at its loudest: everything goes wrong that can, and nobody is named."""

from __future__ import annotations

import asyncio
import io
import logging
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from adapters.audit.search import Query, find
from adapters.audit.trail import export
from adapters.compose import Gateway
from adapters.demo_site import Sandbox, fixture, lay_out, token
from adapters.hl7v2.sender import send
from adapters.sandbox.patients import person
from adapters.settings import load
from spir.errors import SpirError

pytestmark = pytest.mark.wire

SOMEBODY = person("P001")
ADMISSION = fixture("hl7v2/adt_a01.hl7")
BROKEN = (
    ADMISSION.replace(b"UNICODE UTF-8", b"ASCII"),
    ADMISSION.replace(b"|P|", b"|T|", 1),
    ADMISSION.replace(b"HIS|H1", b"LIS|H1", 1),
    ADMISSION[:40] + b"\r" + ADMISSION[-60:],
    b"PID|1||P001^^^HIS",
    ADMISSION.replace(b"PV1|", b"ZZ1|"),
)


class Heard(logging.Handler):
    """Every record of the gateway's own thread and loggers; the systems around it are not ours to silence."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[str] = []
        self.here = threading.get_ident()

    def emit(self, record: logging.LogRecord) -> None:
        if record.thread == self.here or record.name.startswith("spir"):
            self.lines.append(f"{record.name} {logging.Formatter().format(record)}")


@pytest.fixture
def heard() -> Any:
    root, handler = logging.getLogger(), Heard()
    level = root.level
    root.addHandler(handler)
    root.setLevel(logging.DEBUG)
    yield handler
    root.removeHandler(handler)
    root.setLevel(level)


def secrets(sandbox: Sandbox) -> list[str]:
    """What tells who somebody is, or what was done to them."""
    names = [SOMEBODY.id, SOMEBODY.family, SOMEBODY.born, SOMEBODY.phone, SOMEBODY.native[0], sandbox.patient]
    return [*names, *sandbox.studies.values()]


async def scenes(sandbox: Sandbox, gateway: Gateway, folder: Path) -> None:
    """The story's messages and questions, in order and out of order, and then with the systems gone."""
    await messages(gateway, ADMISSION, *BROKEN, fixture("hl7v2/oru_r01_critical.hl7"))
    async with aiohttp.ClientSession() as http:
        await questions(sandbox, gateway, http, token(folder, "dr.li"))
        sandbox.fhir.stop()
        sandbox.pacs.stop()
        sandbox.hook.stop()
        await messages(gateway, fixture("hl7v2/orm_o01_stat.hl7"))
        await questions(sandbox, gateway, http, token(folder, "dr.li"))
        await messages(gateway, fixture("hl7v2/adt_a03.hl7"))
        await questions(sandbox, gateway, http, "not-a-token")


async def messages(gateway: Gateway, *bodies: bytes) -> None:
    for body in bodies:
        with suppress(SpirError):  # what cannot be answered is not
            await send("127.0.0.1", gateway.ports["hl7v2"], [body], timeout=5)


async def questions(sandbox: Sandbox, gateway: Gateway, http: aiohttp.ClientSession, bearer: str) -> None:
    viewer, study = sandbox.viewer, sandbox.studies["CR"]
    for step in (
        lambda: viewer.find(PatientID="P001", StudyInstanceUID=""),
        lambda: viewer.find(PatientID="P00*", PatientName=f"{SOMEBODY.family}*", StudyInstanceUID=""),
        lambda: viewer.move(StudyInstanceUID=study),
        lambda: viewer.get(StudyInstanceUID=sandbox.studies["CT"]),
    ):
        with suppress(Exception):  # the viewer says in its own way that nobody is there
            await asyncio.to_thread(step)
    one = sandbox.patient
    for path in (
        f"Patient/{one}",
        f"Patient/{one}/_history/1",
        f"Observation?patient={one}",
        "Patient?phone=13800000001",
        f"Patient?name={SOMEBODY.family}",
        f"Patient/{one}/$everything",
        f"Nonsense/{one}?a=%zz",
    ):
        url = f"http://127.0.0.1:{gateway.ports['fhir']}/{path}"
        async with http.get(url, headers={"Authorization": f"Bearer {bearer}"}) as response:
            await response.read()


def test_no_log_and_no_record_names_anybody(tmp_path: Path, heard: Heard) -> None:
    asyncio.run(scene(tmp_path, heard))


async def scene(tmp_path: Path, heard: Heard) -> None:
    with Sandbox.running() as sandbox:
        gateway = await Gateway.open(load(lay_out(tmp_path, sandbox.surroundings), {}))
        await gateway.start()
        try:
            sandbox.connect(gateway.ports["dicom"])
            await scenes(sandbox, gateway, tmp_path)
            trail = io.BytesIO()
            await gateway.store.read(lambda connection: export(connection, trail))
            digest = gateway.journal.names.digest
            about = Query(patient="HIS|P001")
            page = await gateway.store.read(lambda connection: find(connection, about, digest, limit=1000))
            turned_away = Query(operation="A-ASSOCIATE")
            lost = await gateway.store.read(lambda connection: find(connection, turned_away, digest))
        finally:
            await gateway.stop()
    text = "\n".join(heard.lines)
    assert "spir" in text
    for secret in secrets(sandbox):
        assert secret not in text
        assert secret.encode() not in trail.getvalue()
    found = {(record.body["protocol"], record.body["operation"], record.body["outcome"]) for record in page.records}
    assert ("dicom", "search:imaging", "success") in found
    assert {protocol for protocol, _, _ in found} >= {"dicom", "fhir", "hl7v2"}
    # an association that ends because the PACS is gone leaves a trace too
    assert {record.body["outcome"] for record in lost.records} == {"error"}
