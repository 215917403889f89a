"""What the DICOM proxy costs, against direct connections, haproxy, socat's place, and a pynetdicom forwarder.

    python bench/dicom.py [--quick] [--json]

Everything runs on this machine over loopback, one client at a time. dcmtk and
Orthanc run twice where it matters: with TCP_NODELAY, which shows what the proxy
costs, and as they come out of the box, which is what users have. Ratios below
1.3 mean "equal". A peer that is not installed is said to be missing.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adapters.dicom.connection import Connection  # noqa: E402
from adapters.dicom.dataset import encode  # noqa: E402
from adapters.dicom.dimse import CFindRq, CMoveRq, CommandArrived  # noqa: E402
from adapters.dicom.negotiation import own_user  # noqa: E402
from adapters.dicom.pdu import AssociateRequest, PresentationContextItem  # noqa: E402
from adapters.dicom.proxy import Peer, Proxy, ProxyConfig  # noqa: E402
from adapters.dicom.requestor import connect  # noqa: E402
from bench._report import Report  # noqa: E402

FIND, MOVE, ECHO = "1.2.840.10008.5.1.4.1.2.2.1", "1.2.840.10008.5.1.4.1.2.2.2", "1.2.840.10008.1.1"
CT, CR, EXPLICIT = "1.2.840.10008.5.1.4.1.1.2", "1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.1.2.1"
LEVEL, STUDY_UID, MODALITIES, PATIENT_ID, PATIENT_NAME = 0x00080052, 0x0020000D, 0x00080061, 0x00100020, 0x00100010
STUDIES = 401
FEW_KEYS = ("PatientID", "PatientName", "ModalitiesInStudy")


POLICY = """\
spir: "1"
kind: PolicySet
name: bench
layer: institution
jurisdiction: cn/zj/hospital-a
version: 1.0.0
policies:
  - id: images
    effect: permit
    operations: ["search:imaging", "retrieve:imaging", "create:imaging"]
    when: resource.modality in ["CR", "CT", "DX"]
"""
STAFF = """\
- {id: bench, properties: {role: physician}, ae_titles: [BENCH]}
"""
SETTINGS = """\
[site]
organization = "cn/zj/hospital-a"
assigning_authority = "HIS"
[policy]
documents = ["policy.yaml"]
[directory]
file = "staff.yaml"
[dicom]
listen = "127.0.0.1:{port}"
pacs = {{address = "127.0.0.1:{pacs}", ae_title = "SINK"}}
peers = [{{ae_title = "BENCH", addresses = ["127.0.0.1"]}}]
destinations = [{{ae_title = "SINK", address = "127.0.0.1:104"}}]
"""


# -- programs ---------------------------------------------------------------------------------------


def program(name: str) -> str | None:
    return shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin", "/usr/local/sbin")))


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def listening(port: int, within: float = 20.0) -> None:
    end = time.monotonic() + within
    while time.monotonic() < end:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.02)
    raise SystemExit(f"nothing listens on port {port}")


@contextlib.contextmanager
def running(command: list[str], port: int, no_delay: bool = True) -> Iterator[subprocess.Popen[bytes]]:
    environment = {**os.environ, "TCP_NODELAY": "1" if no_delay else "0"}
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
    try:
        listening(port)
        yield process
    finally:
        process.kill()
        process.wait(10)


@contextlib.contextmanager
def storescp(no_delay: bool = True, *options: str) -> Iterator[int]:
    port = free_port()
    command = [program("storescp") or "", *options, "--ignore", "-pdu", "131072", "-aet", "SINK", str(port)]
    with running(command, port, no_delay):
        yield port


@contextlib.contextmanager
def proxy(pacs: int, *destinations: str, issuers: bool = True) -> Iterator[tuple[int, int]]:
    """(port, process id) of a proxy in a process of its own."""
    port = free_port()
    kind = "proxy" if issuers else "proxy-of-one-issuer"
    command = [sys.executable, __file__, "--serve", kind, str(port), str(pacs), *destinations]
    with running(command, port) as process:
        yield port, process.pid


@contextlib.contextmanager
def served(kind: str, pacs: int) -> Iterator[tuple[int, int]]:
    port = free_port()
    with running([sys.executable, __file__, "--serve", kind, str(port), str(pacs)], port) as process:
        yield port, process.pid


@contextlib.contextmanager
def haproxy(target: int, folder: Path) -> Iterator[int]:
    port = free_port()
    config = folder / "haproxy.cfg"
    config.write_text(
        "defaults\n mode tcp\n timeout connect 5s\n timeout client 60s\n timeout server 60s\n"
        f"listen relay\n bind 127.0.0.1:{port}\n server one 127.0.0.1:{target}\n"
    )
    with running([program("haproxy") or "", "-f", str(config)], port):
        yield port


class Orthanc:
    def __init__(self, folder: Path, no_delay: bool) -> None:
        self.port, self.http, self.no_delay = free_port(), free_port(), no_delay
        self.folder = folder / f"orthanc-{self.port}"
        self.folder.mkdir()

    @contextlib.contextmanager
    def running(self) -> Iterator[Orthanc]:
        allowed = {f"DicomAlwaysAllow{verb}": True for verb in ("Echo", "Find", "Get", "Move", "Store")}
        config = {
            "DicomPort": self.port,
            "HttpPort": self.http,
            "AuthenticationEnabled": False,
            "Plugins": [],
            **allowed,
        }
        config |= {
            "StorageDirectory": str(self.folder),
            "IndexDirectory": str(self.folder),
            "DicomCheckCalledAet": False,
        }
        path = self.folder / "orthanc.json"
        path.write_text(json.dumps(config))
        with running([program("Orthanc") or "", str(path)], self.port, self.no_delay):
            listening(self.http)
            yield self

    def know(self, name: str, port: int) -> None:
        body = json.dumps({"AET": name, "Host": "127.0.0.1", "Port": port}).encode()
        url = f"http://127.0.0.1:{self.http}/modalities/{name}"
        urllib.request.urlopen(urllib.request.Request(url, body, method="PUT"), timeout=10).close()


# -- the servers that are measured, in processes of their own -----------------------------------------


def serve(kind: str, port: int, pacs: int, destinations: list[str]) -> None:
    if kind.startswith("proxy"):
        _serve_proxy(port, pacs, destinations, issuers=kind == "proxy")
    else:
        _serve_pynetdicom(port, pacs, forward=kind == "forwarder")


def _serve_proxy(port: int, pacs: int, destinations: list[str], issuers: bool) -> None:
    """The gateway with its engine and its durable audit trail; a policy that permits CR, CT and DX of everybody."""
    import uvloop

    from adapters.compose import Gateway
    from adapters.settings import load

    async def main(folder: Path) -> None:
        (folder / "policy.yaml").write_text(POLICY)
        (folder / "staff.yaml").write_text(STAFF)
        (folder / "spir.toml").write_text(SETTINGS.format(pacs=pacs, port=port if issuers else 0))
        gateway = await Gateway.open(load(folder / "spir.toml"))
        await gateway.start(frozenset(("dicom",)))
        config = ProxyConfig(
            "127.0.0.1",
            pacs,
            "SINK",
            (Peer("BENCH", ("127.0.0.1",)),),
            port=0 if issuers else port,
            issuers=issuers,
        )
        await Proxy(config, gateway).start()
        await asyncio.Event().wait()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner, tempfile.TemporaryDirectory() as name:
        runner.run(main(Path(name)))


def _serve_pynetdicom(port: int, pacs: int, forward: bool) -> None:
    """A store-and-forward proxy, or a plain SCP, as pynetdicom's own examples make them."""
    import logging

    from pynetdicom import AE, AllStoragePresentationContexts, evt
    from pynetdicom.sop_class import Verification

    logging.disable(logging.CRITICAL)
    upstream: list[Any] = []

    def on_store(event: Any) -> int:
        if not upstream or not upstream[0].is_established:
            sender = AE("FORWARD")
            sender.add_requested_context(CT, EXPLICIT)
            sender.add_requested_context(CR, EXPLICIT)
            upstream[:] = [sender.associate("127.0.0.1", pacs, ae_title="SINK", max_pdu=131072)]
        dataset = event.dataset
        dataset.file_meta = event.file_meta
        return int(upstream[0].send_c_store(dataset).Status)

    entity = AE("SINK")
    entity.maximum_associations = 1000
    entity.maximum_pdu_size = 131072
    entity.supported_contexts = AllStoragePresentationContexts
    entity.add_supported_context(Verification)
    entity.start_server(("127.0.0.1", port), block=True, evt_handlers=[(evt.EVT_C_STORE, on_store)] if forward else [])


# -- data -----------------------------------------------------------------------------------------------


def write_instances(folder: Path, number: int, pixels: int, modality: str = "CT", studies: int = 1) -> Path:
    """Part 10 files of invented patients."""
    from pydicom.dataset import FileDataset, FileMetaDataset

    folder.mkdir()
    for one in range(number):
        study, uid = one % studies, f"2.25.{pixels}{ord(modality[0])}{one + 1:06}"
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = (CT if modality == "CT" else CR), uid
        meta.TransferSyntaxUID = EXPLICIT
        made = FileDataset("", {}, file_meta=meta, preamble=bytes(128))
        made.SOPClassUID, made.SOPInstanceUID, made.Modality = meta.MediaStorageSOPClassUID, uid, modality
        made.StudyDate, made.StudyTime, made.AccessionNumber, made.StudyID = "20261121", "120000", f"B{study}", "1"
        made.PatientName, made.PatientID = f"Bench^Nobody{study}", f"B{study:04}"
        made.PatientBirthDate, made.PatientSex = "19700101", "O"
        made.StudyInstanceUID = f"2.25.{pixels}{ord(modality[0])}{study + 1}"
        made.SeriesInstanceUID = f"{made.StudyInstanceUID}.{1 + one % 5 if studies == 1 else 1}"
        side = max(1, int((pixels / 2) ** 0.5))
        made.Rows = made.Columns = side
        made.BitsAllocated = made.BitsStored = 16
        made.HighBit, made.PixelRepresentation, made.SamplesPerPixel = 15, 0, 1
        made.PhotometricInterpretation = "MONOCHROME2"
        made.PixelData = bytes(2 * side * side)
        made["PixelData"].VR = "OW"
        made.save_as(folder / f"{one:05}.dcm", enforce_file_format=True)
    return folder


# -- clients ----------------------------------------------------------------------------------------------


def store_rate(port: int, folder: Path, no_delay: bool = True, runs: int = 3) -> float:
    """Instances a second that storescu sends, the median of `runs`. Its start is in the time."""
    number = len(list(folder.iterdir()))
    command = [
        program("storescu") or "",
        "-pdu",
        "131072",
        "-aet",
        "BENCH",
        "-aec",
        "SPIR",
        "+sd",
        "127.0.0.1",
        str(port),
    ]
    environment = {**os.environ, "TCP_NODELAY": "1" if no_delay else "0"}

    def once() -> float:
        begin = time.perf_counter()
        subprocess.run([*command, str(folder)], check=True, capture_output=True, env=environment, timeout=300)
        return number / (time.perf_counter() - begin)

    return statistics.median(once() for _ in range(runs))


def asking(*contexts: str) -> AssociateRequest:
    items = tuple(PresentationContextItem(2 * n + 1, name, (EXPLICIT,)) for n, name in enumerate(contexts))
    return AssociateRequest("SPIR", "BENCH", items, own_user())


async def ask(connection: Connection, context: int, request: Any, keys: Mapping[int, bytes]) -> int:
    """Run one operation to its end; returns how many responses came."""
    connection.send(context, request, encode(keys, explicit=True) if keys else None)
    responses = 0
    while True:
        event = await connection.next(120)
        assert isinstance(event, CommandArrived)
        if event.command.has_data:
            await connection.read_data()
        responses += 1
        status = event.command.status  # type: ignore[union-attr]
        if status not in (0xFF00, 0xFF01):
            assert status == 0, f"status {status:04X}"
            return responses


async def find_ms(port: int, keys: Mapping[int, bytes], number: int) -> float:
    """Milliseconds of a query, the median of `number` on one association."""
    connection = await connect("127.0.0.1", port, asking(FIND))
    times = []
    for one in range(1, number + 1):
        begin = time.perf_counter()
        await ask(connection, 1, CFindRq(one, FIND), {LEVEL: b"STUDY", **keys})
        times.append(1000 * (time.perf_counter() - begin))
    await connection.release()
    return statistics.median(times)


async def associate_ms(port: int, contexts: int, number: int) -> float:
    """Milliseconds to associate and release, the median."""
    names = [ECHO, *(f"{CT}.{n}" for n in range(contexts - 1))]
    times = []
    for _ in range(number):
        begin = time.perf_counter()
        connection = await connect("127.0.0.1", port, asking(*names))
        await connection.release()
        times.append(1000 * (time.perf_counter() - begin))
    return statistics.median(times)


async def idle_cost(port: int, pid: int, number: int, seconds: float) -> tuple[float, float, float]:
    """CPU in percent and resident MB of a process with `number` idle associations; ms for one more."""
    held = [await connect("127.0.0.1", port, asking(ECHO)) for _ in range(number)]
    await asyncio.sleep(0.5)
    before = _cpu_seconds(pid)
    await asyncio.sleep(seconds)
    used = 100 * (_cpu_seconds(pid) - before) / seconds
    one_more = await associate_ms(port, 1, 5)
    memory = _resident_mb(pid)
    for connection in held:
        connection.kill()
    return used, memory, one_more


async def move_seconds(port: int, study: str, destination: str) -> float:
    connection = await connect("127.0.0.1", port, asking(MOVE))
    begin = time.perf_counter()
    await ask(connection, 1, CMoveRq(1, MOVE, destination), {LEVEL: b"STUDY", STUDY_UID: study.encode()})
    taken = time.perf_counter() - begin
    await connection.release()
    return taken


def _cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _resident_mb(pid: int) -> float:
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * resource.getpagesize() / 1e6


# -- cases ---------------------------------------------------------------------------------------------------


def stores(results: Report, folder: Path, quick: bool) -> None:
    big = write_instances(folder / "big", 60 if quick else 200, 524_288)
    small = write_instances(folder / "small", 150 if quick else 600, 9_800)
    few = write_instances(folder / "few", 8 if quick else 20, 524_288)
    few_small = write_instances(folder / "few-small", 8 if quick else 20, 9_800)
    runs = 3 if quick else 7
    with storescp() as sink, proxy(sink) as (port, _):
        ours_big, ours_small = store_rate(port, big, runs=runs), store_rate(port, small, runs=runs)
        direct = store_rate(sink, big, runs=runs)
        results.add("C-STORE 526 kB", ours_big, "inst/s", "direct", direct, "informative", None, tcp_nodelay=True)
        if program("haproxy"):
            with haproxy(sink, folder) as other:
                value = store_rate(other, big, runs=runs)
                met = ours_big >= 0.8 * value
                results.add("C-STORE 526 kB", ours_big, "inst/s", "haproxy", value, ">= 0.8x", met, tcp_nodelay=True)
        else:
            results.absent("C-STORE 526 kB", "haproxy", ">= 0.8x")
        with served("forwarder", sink) as (other, _):
            value, tiny = store_rate(other, few, runs=1), store_rate(other, few_small, runs=1)
        results.add("C-STORE 526 kB", ours_big, "inst/s", "pynetdicom forwarder", value, ">= 8x", ours_big >= 8 * value)
        results.add(
            "C-STORE 10 kB", ours_small, "inst/s", "pynetdicom forwarder", tiny, ">= 50x", ours_small >= 50 * tiny
        )
    with storescp(no_delay=False) as sink, proxy(sink) as (port, _):
        ours, value = store_rate(port, few, no_delay=False), store_rate(sink, few, no_delay=False, runs=1)
        results.add(
            "C-STORE 526 kB, default peers",
            ours,
            "inst/s",
            "direct",
            value,
            ">= 8x",
            ours >= 8 * value,
            tcp_nodelay=False,
        )


def queries(results: Report, folder: Path, quick: bool) -> None:
    studies = write_instances(folder / "studies", STUDIES, 32, "CR", STUDIES)
    one = {PATIENT_ID: b"B0001", STUDY_UID: b"", MODALITIES: b"", PATIENT_NAME: b""}
    number = 30 if quick else 200
    with Orthanc(folder, no_delay=True).running() as pacs, proxy(pacs.port) as (port, _):
        store_rate(pacs.port, studies, runs=1)
        direct, ours = asyncio.run(find_ms(pacs.port, one, number)), asyncio.run(find_ms(port, one, number))
        added = ours - direct
        results.add(
            "C-FIND, added by the proxy",
            added,
            "ms",
            "Orthanc's own",
            direct,
            "<= 2 ms, <= 1x",
            added <= min(2, direct),
        )
        rows(results, pacs.port, port)
        moves(results, folder, pacs)
    with Orthanc(folder, no_delay=False).running() as pacs, proxy(pacs.port) as (port, _):
        store_rate(pacs.port, folder / "few", runs=1)
        ours, value = findscu_ms(port, (), no_delay=False), findscu_ms(pacs.port, (), no_delay=False)
        results.add(
            "C-FIND, default peers", ours, "ms", "direct", value, "<= 0.1x", ours <= 0.1 * value, tcp_nodelay=False
        )


def rows(results: Report, pacs: int, port: int) -> None:
    """Like against like: the proxy asks for the issuer of each patient unless it is told that there is only one."""

    def compare(case: str, ours: int, keys: tuple[str, ...]) -> None:
        judged, plain = findscu_ms(ours, keys, 5), findscu_ms(pacs, keys, 5)
        rate, value = 1000 * STUDIES / judged, 1000 * STUDIES / plain
        results.add(case, rate, "rows/s", "direct", value, ">= 0.8x", rate >= 0.8 * value, rows=STUDIES)

    compare("C-FIND, rows judged", port, (*FEW_KEYS, "IssuerOfPatientID"))
    with proxy(pacs, issuers=False) as (other, _):
        compare("C-FIND, rows of one issuer", other, FEW_KEYS)


def findscu_ms(port: int, keys: Iterable[str], number: int = 20, no_delay: bool = True) -> float:
    """Milliseconds of a STUDY query of findscu, its start left out; the median of three runs of `number`."""
    command = [program("findscu") or "", "-S", "-aet", "BENCH", "-aec", "SPIR", "-k", "QueryRetrieveLevel=STUDY"]
    for key in ("StudyInstanceUID", *keys):
        command += ["-k", key]
    environment = {**os.environ, "TCP_NODELAY": "1" if no_delay else "0"}

    def once(repeat: int) -> float:
        begin = time.perf_counter()
        done = [*command, "--repeat", str(repeat), "127.0.0.1", str(port)]
        subprocess.run(done, check=True, capture_output=True, env=environment, timeout=60)
        return time.perf_counter() - begin

    return statistics.median(1000 * (once(number + 1) - once(1)) / number for _ in range(3))


def moves(results: Report, folder: Path, pacs: Orthanc) -> None:
    study = "2.25.524288671"
    store_rate(pacs.port, folder / "big", runs=1)
    with storescp() as sink, proxy(pacs.port, "SINK") as (port, _):
        pacs.know("SINK", sink)
        asyncio.run(move_seconds(pacs.port, study, "SINK"))
        value = statistics.median(asyncio.run(move_seconds(pacs.port, study, "SINK")) for _ in range(3))
        ours = statistics.median(asyncio.run(move_seconds(port, study, "SINK")) for _ in range(3))
        results.add(
            "C-MOVE of 5 series, judged", ours, "s", "direct study C-MOVE", value, "<= 1.3x", ours <= 1.3 * value
        )


def associations(results: Report, quick: bool) -> None:
    number, idle = (40, 100) if quick else (200, 200)
    with storescp() as sink, proxy(sink) as (port, _), served("scp", sink) as (other, _):
        ours, value = asyncio.run(associate_ms(port, 1, number)), asyncio.run(associate_ms(other, 1, 20))
        results.add("associate and release", ours, "ms", "pynetdicom SCP", value, "<= 0.2x", ours <= 0.2 * value)
        many = asyncio.run(associate_ms(port, 128, 10))
        results.add("associate, 128 contexts", many, "ms", "", None, "<= 10 ms", many <= 10)
    with storescp(True, "--fork") as sink, proxy(sink) as (port, pid), served("scp", sink) as (other, other_pid):
        before = asyncio.run(associate_ms(port, 1, 10))
        used, memory, more = asyncio.run(idle_cost(port, pid, idle, 2.0))
        theirs = asyncio.run(idle_cost(other, other_pid, idle, 2.0))
        results.add(f"{idle} idle: CPU", used, "%", "pynetdicom SCP", theirs[0], "< 2 %", used < 2)
        results.add(f"{idle} idle: memory", memory, "MB", "pynetdicom SCP", theirs[1], "< 100 MB", memory < 100)
        met = more <= 2 * before
        results.add(f"{idle} idle: one more", more, "ms", "pynetdicom SCP", theirs[2], "<= 2x unloaded", met)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer instances and runs: under 45 seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--serve", nargs="*", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        kind, port, pacs, *destinations = options.serve
        serve(kind, int(port), int(pacs), destinations)
        return 0
    results = Report("dicom", options.json)
    cases: list[tuple[str, str, Callable[[Path], None]]] = [
        ("storescp", "C-STORE", lambda folder: stores(results, folder, options.quick)),
        ("Orthanc", "C-FIND and C-MOVE", lambda folder: queries(results, folder, options.quick)),
        ("storescp", "associations", lambda folder: associations(results, options.quick)),
    ]
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        for peer, case, run in cases:
            if program(peer):
                run(Path(name))
            else:
                results.absent(case, peer, "")
    return 1 if results.missed else 0


if __name__ == "__main__":
    sys.exit(main())
