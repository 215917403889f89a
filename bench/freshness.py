"""How fresh the answers are: from an ADT acknowledged to a changed C-FIND and a changed FHIR search.

    python bench/freshness.py [--quick] [--json]

`spir serve` runs as a process of its own between Orthanc and a small FHIR
store; a client of ours sends ADT^A01 and ADT^A03 in turn over one MLLP
connection and asks at once, over open connections, until the answer has
changed. The time is from the last byte of the acknowledgement to the last byte
of the changed answer, so it holds the whole query too; `asked again` counts
answers that had not changed yet. Beside it: C-FIND through the proxy against
Orthanc alone, and C-STORE bytes through it against a plain asyncio TCP relay.
Peers run with TCP_NODELAY, unless a line says otherwise.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adapters.demo_site import token  # noqa: E402
from adapters.dicom.dataset import encode  # noqa: E402
from adapters.dicom.requestor import STUDY_ROOT_FIND, PacsClient, PacsConfig  # noqa: E402
from adapters.sandbox import chart  # noqa: E402
from adapters.sandbox.fhir_store import SandboxFhir  # noqa: E402
from adapters.sandbox.hook import SandboxHook  # noqa: E402
from adapters.sandbox.patients import person  # noqa: E402
from adapters.sandbox.write import write_dicom  # noqa: E402
from bench._report import Report, percentile  # noqa: E402
from tests.wire.orthanc import Orthanc  # noqa: E402
from tests.wire.peers import Child, find, free_port  # noqa: E402
from tests.wire.served import Served  # noqa: E402

PATIENT = chart.patient_id(person("P001"))
ZONE = ZoneInfo("Asia/Shanghai")
MLLP_END = b"\x1c\r"
STUDY = {0x00080052: b"STUDY", 0x00100020: b"P001", 0x0020000D: b"", 0x00080061: b""}
ADMITS = """spir: "1"
kind: PolicySet
name: bench-modalities-store
layer: {layer}
jurisdiction: {jurisdiction}
version: 1.0.0
policies:
  - {{id: bench-store-{layer}, effect: {effect}, operations: ["create:imaging"]}}
"""


@dataclass
class Hospital:
    """The HIS's connection, and the doctor's two ways to ask."""

    served: Served
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    viewer: PacsClient
    http: aiohttp.ClientSession
    clock: datetime = datetime.now(ZONE) - timedelta(days=2)
    number: int = 0

    async def event(self, trigger: str) -> None:
        """Send an ADT about the patient and wait for its AA."""
        self.number += 1
        self.clock += timedelta(seconds=1)
        at = self.clock.strftime("%Y%m%d%H%M%S%z")
        segments = (
            f"MSH|^~\\&|HIS|H1|SPIR|H1|{at}||ADT^{trigger}^ADT_{trigger}|F{self.number}|P|2.5.1",
            f"EVN|{trigger}|{at}||||{at}",
            "PID|1||P001^^^HIS^MR||Invented^Person",
            f"PV1|1|I|CARD^301^1^H1||||1001^Li^Min||||||||||||V{(self.number + 1) // 2}^^^HIS^VN",
        )
        self.writer.write(b"\x0b" + "\r".join(segments).encode() + b"\r" + MLLP_END)
        answer = await self.reader.readuntil(MLLP_END)
        if b"MSA|AA|" not in answer:
            raise SystemExit(f"{trigger} was not accepted: {answer!r}")

    async def studies(self) -> int:
        return len([row async for row in self.viewer.find(STUDY_ROOT_FIND, encode(STUDY, False))])

    async def entries(self) -> int:
        url = f"http://127.0.0.1:{self.served.facade}/Observation?patient={PATIENT}"
        async with self.http.get(url) as response:
            return len((await response.json(content_type=None)).get("entry", ()))


async def freshness(report: Report, hospital: Hospital, rounds: int) -> None:
    ways: dict[str, Callable[[], Awaitable[int]]] = {"C-FIND": hospital.studies, "FHIR": hospital.entries}
    for name, ask in ways.items():
        await hospital.event("A01")
        await ask()  # the first question opens connections
        times, again = [], 0
        for turn in range(rounds):
            opens = bool(turn % 2)
            await hospital.event("A01" if opens else "A03")
            started = time.perf_counter()
            while bool(await ask()) is not opens:
                again += 1
            times.append((time.perf_counter() - started) * 1000)
        await hospital.event("A03")
        p50, p99 = percentile(times, 0.5), percentile(times, 0.99)
        report.add(f"ADT acknowledged to changed {name}, p50", p50, "ms", rounds=rounds, asked_again=again)
        report.add(f"ADT acknowledged to changed {name}, p99", p99, "ms", goal="p99 <= 10 ms", met=p99 <= 10.0)


async def queries(report: Report, hospital: Hospital, orthanc: Orthanc, rounds: int) -> None:
    """One query, two rows: through the proxy and straight, in turns, so that the machine's moods meet both."""
    await hospital.event("A01")
    direct = PacsClient(PacsConfig("127.0.0.1", orthanc.port, orthanc.ae_title, "BENCH"))
    ours: list[float] = []
    theirs: list[float] = []
    for _ in range(rounds):
        for client, times in ((hospital.viewer, ours), (direct, theirs)):
            started = time.perf_counter()
            assert [row async for row in client.find(STUDY_ROOT_FIND, encode(STUDY, False))]
            times.append((time.perf_counter() - started) * 1000)
    await direct.close()
    for share in (0.5, 0.99):
        mine, peer = percentile(ours, share), percentile(theirs, share)
        met = mine - peer <= 2.0 if share == 0.5 else None
        goal = "+2 ms at most" if share == 0.5 else ""
        report.add(f"C-FIND, p{round(share * 100)}", mine, "ms", peer="Orthanc alone", value=peer, goal=goal, met=met)


async def bytes_relayed(report: Report, folder: Path, images: Path, runs: int) -> None:
    """The same files by storescu, to storescp behind the proxy, behind a plain relay, and straight."""
    sink = free_port()
    command = [find("storescp") or "storescp", "--ignore", "-pdu", "131072", "-aet", "SINK", str(sink)]
    environment = {"TCP_NODELAY": "1"}
    storescp = Child(command, folder / "storescp.log", environment)
    served = Served(folder / "store", sink, "SINK", free_port(), "http://127.0.0.1:9", "http://127.0.0.1:9")
    for layer, jurisdiction in (("national", "cn"), ("provincial", "cn/zj"), ("institution", "cn/zj/hospital-a")):
        path = served.folder / "policies" / f"bench_{layer}.yaml"
        effect = "permit" if layer == "institution" else "delegate"
        path.write_text(ADMITS.format(layer=layer, jurisdiction=jurisdiction, effect=effect), "utf-8")
    with ExitStack() as stack:
        stack.callback(storescp.kill)
        storescp.wait_port(sink)
        served.start("dicom")
        stack.callback(served.kill)
        async with plain_relay(sink) as relay:
            size = sum(path.stat().st_size for path in images.rglob("*") if path.is_file())
            rates: dict[str, list[float]] = {}
            for _ in range(runs):
                for name, port in (("ours", served.dicom), ("relay", relay), ("direct", sink)):
                    took = await asyncio.to_thread(store, port, images, environment)
                    rates.setdefault(name, []).append(size / took / 1e6)
    ours, other = percentile(rates["ours"], 0.5), percentile(rates["relay"], 0.5)
    report.add("C-STORE of 526 kB images", ours, "MB/s", peer="plain asyncio TCP relay", value=other, runs=runs)
    report.add(
        "C-STORE of 526 kB images", ours, "MB/s", peer="storescu to storescp", value=percentile(rates["direct"], 0.5)
    )


def store(port: int, images: Path, environment: dict[str, str]) -> float:
    command = [find("storescu") or "storescu", "+sd", "+r", "-pdu", "131072", "-aet", "VIEWER1", "-aec", "SPIR"]
    started = time.perf_counter()
    done = subprocess.run(
        [*command, "127.0.0.1", str(port), str(images)], capture_output=True, env={**os.environ, **environment}
    )
    if done.returncode:
        raise SystemExit(f"storescu failed: {done.stderr.decode()[-500:]}")
    return time.perf_counter() - started


@asynccontextmanager
async def plain_relay(target: int) -> AsyncIterator[int]:
    """Bytes from one socket to the other and back, and nothing else."""

    async def pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(262144):
            writer.write(data)
            await writer.drain()
        writer.close()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", target)
        await asyncio.gather(pump(reader, far_writer), pump(far_reader, writer), return_exceptions=True)

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    async with server:
        yield server.sockets[0].getsockname()[1]


def big_images(folder: Path, count: int) -> Path:
    """`count` CT images of 512 x 512 x 16 bit, in one series."""
    from adapters.sandbox.images import instances

    made = next(one for one in instances(person("P001")) if one.Modality == "CT")
    made.Rows = made.Columns = 512
    made.PixelData = bytes(512 * 512 * 2)
    folder.mkdir()
    uid = str(made.SOPInstanceUID)
    for number in range(count):
        made.SOPInstanceUID = made.file_meta.MediaStorageSOPInstanceUID = f"{uid[:50]}.{number}"
        made.save_as(folder / f"{number}.dcm")
    return folder


async def run(report: Report, quick: bool) -> None:
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        for part in ("orthanc", "site", "store", "files"):
            (folder / part).mkdir()
        assert list(write_dicom(folder / "files"))
        orthanc = Orthanc(folder / "orthanc").start()
        stack.callback(orthanc.stop)
        orthanc.load(folder / "files")
        fhir, hook = SandboxFhir(sandbox=True), SandboxHook(sandbox=True)
        for system in (fhir, hook):
            system.start()
            stack.callback(system.stop)
        served = Served(folder / "site", orthanc.port, orthanc.ae_title, free_port(), fhir.base, hook.base)
        served.start()
        stack.callback(served.stop)
        reader, writer = await asyncio.open_connection("127.0.0.1", served.hl7v2)
        viewer = PacsClient(PacsConfig("127.0.0.1", served.dicom, "SPIR", "VIEWER1"))
        headers = {"Authorization": f"Bearer {token(served.folder, 'dr.li', 3600)}"}
        async with aiohttp.ClientSession(headers=headers) as http:
            hospital = Hospital(served, reader, writer, viewer, http)
            await freshness(report, hospital, 100 if quick else 600)
            await queries(report, hospital, orthanc, 100 if quick else 500)
        await viewer.close()
        writer.close()
        served.stop()
        await bytes_relayed(report, folder, big_images(folder / "big", 40 if quick else 200), 3 if quick else 5)


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    words.add_argument("--quick", action="store_true", help="fewer rounds: under 45 seconds")
    words.add_argument("--json", action="store_true", help="one JSON object a line")
    given = words.parse_args()
    report = Report("freshness", given.json)
    if find("Orthanc") is None or find("storescu") is None:
        report.absent("all cases", "Orthanc or dcmtk")
        return 0
    asyncio.run(run(report, given.quick))
    return 0


if __name__ == "__main__":
    sys.exit(main())
