"""HL7 v2: what reading a message costs, and how many a listener takes that answers only after the disk has them.

    python bench/hl7v2.py [--quick] [--json]

Reading: processor time from bytes to a dozen facts, with decoding and escapes;
python-hl7 and hl7apy are given the text already decoded. Listening: `spir
serve` as a process of its own, with the story's policies, facts, audit trail
and SQLite with fsync, against python-hl7's asyncio server that parses and
acknowledges and stores nothing. One message is under way on each connection.
The server's processor time per message is from /proc: it is the figure that
another load on the machine disturbs least.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from adapters.demo_site import Surroundings, lay_out  # noqa: E402
from adapters.hl7v2 import charset, tables  # noqa: E402
from adapters.hl7v2.facts import Reader  # noqa: E402
from adapters.hl7v2.message import Path as Place  # noqa: E402
from adapters.hl7v2.message import parse  # noqa: E402
from adapters.hl7v2.session import Arrival, Desk, Identify, receive  # noqa: E402
from adapters.hl7v2.source import Source  # noqa: E402
from bench._report import Report, percentile  # noqa: E402
from spir.exchange import Answer, Decide, Identity  # noqa: E402
from spir.model.identity import PatientIdentifiers  # noqa: E402
from spir.model.request import Entity  # noqa: E402
from tests.given import permit  # noqa: E402
from tests.wire.peers import Child, free_port  # noqa: E402

END = b"\x1c\r"
START = datetime(2026, 11, 21, 0, 0)
WANTED = "MSH-9.1 MSH-9.2 MSH-10 MSH-12 PID-3[1].1 PID-3[1].4 PV1-2 PV1-3.1 PV1-7[1].1 PV1-16 PV1-19.1 PD1-12"
PLACES = [Place.of(text) for text in WANTED.split()]
FLAGS = Place.of("OBX-8")
CRITICAL = {"HH", "LL", "AA"}
ABSENT = {"hl7kit": "hl7kit", "HAPI (Terser)": "", "messagefoundry": "messagefoundry"}


# -- messages --------------------------------------------------------------------------------


def segment(name: str, **fields: str) -> str:
    """A segment from its numbered fields: segment("PV1", _2="I")."""
    known = {int(key[1:]): value for key, value in fields.items()}
    return "|".join([name, *(known.get(number, "") for number in range(1, max(known) + 1))])


def head(kind: str, number: int) -> str:
    at = stamp(number)
    return f"MSH|^~\\&|HIS|H1|SPIR|H1|{at}||{kind}|B{number}|P|2.5.1||||||UNICODE UTF-8"


def stamp(number: int) -> str:
    return (START + timedelta(seconds=number % 36_000)).strftime("%Y%m%d%H%M%S") + "+0800"


def person(number: int) -> list[str]:
    patient = f"P{number % 500:04}"
    doctor = "1001^李^敏^^^DR^^^HIS"
    return [
        f"PID|1||{patient}^^^HIS^MR||王^小明^^^^^L||19650314|M|||长安路8号^^杭州^浙江^310000^CHN||13800000001||zh|M",
        "PD1||||||||||||N",
        segment(
            "PV1", _1="1", _2="I", _3="CARD^301^1^H1", _7=doctor, _9="1003^赵^琳^^^DR^^^HIS", _10="CAR", _19=patient
        ),
    ]


def adt(number: int) -> bytes:
    """An ADT^A08 of 16 segments, about 1.3 kB."""
    pid, pd1, pv1 = person(number)
    near = [
        f"NK1|{n}|王^家属{n}^^^^^L|SPO^Spouse^HL70063|长安路8号^^杭州^浙江^310000^CHN|1380000000{n}" for n in (1, 2, 3)
    ]
    more = [f"OBX|{n}|NM|8302-2^Body height^LN||17{n}|cm|||||F" for n in (1, 2, 3)]
    allergies = [f"AL1|{n}|DA^Drug allergy^HL70127|Z88.{n}^Penicillin^I10|MO^Moderate^HL70128|rash" for n in (1, 2)]
    codes = [f"DG1|{n}|I10|I21.{n}^Acute myocardial infarction^I10||{stamp(number)}|A" for n in (1, 2)]
    cover = ["IN1|1|BASIC^Basic cover|H1|Invented insurer|||||||||||P"]
    event = f"EVN|A08|{stamp(number)}||||{stamp(number)}"
    lines = [head("ADT^A08^ADT_A01", number), event, pid, pd1, *near, pv1, *more, *allergies, *codes, *cover]
    return ("\r".join(lines) + "\r").encode()


def oru(number: int) -> bytes:
    """An ORU^R01 with 40 observations, about 3 kB."""
    pid, _, pv1 = person(number)
    obr = segment("OBR", _1="1", _2=f"{number}^HIS", _4="24323-8^Comprehensive metabolic panel^LN", _25="F")
    found = [f"OBX|{n}|NM|28{n:02}-3^Analyte {n}^LN||{n}.1|mmol/L|3.5-5.1|N|||F|||{stamp(number)}" for n in range(40)]
    return ("\r".join([head("ORU^R01^ORU_R01", number), pid, pv1, f"ORC|RE|{number}^HIS", obr, *found]) + "\r").encode()


# -- reading ---------------------------------------------------------------------------------


def ours(body: bytes) -> Callable[[], object]:
    charsets = tables.load().charsets

    def read() -> object:
        message = parse(*charset.decode(body, charsets))
        found = [message.text(place) for place in PLACES]
        return found, [at for at in message.all("OBX") if message.text(FLAGS, at) in CRITICAL]

    return read


def python_hl7(body: bytes) -> Callable[[], object]:
    import hl7

    text = body.decode()

    def read() -> object:
        message = hl7.parse(text)
        found = [_accessed(message, place) for place in PLACES]
        return found, [s for s in message if str(s[0]) == "OBX" and str(s[8]) in CRITICAL]

    def _accessed(message: hl7.Message, place: Place) -> str:
        try:
            value: str = message.extract_field(place.segment, 1, place.field, 1, place.component or 1)
        except (LookupError, KeyError):
            return ""
        return value

    return read


def hl7apy(body: bytes) -> Callable[[], object]:
    from hl7apy.parser import parse_message

    text = body.decode()
    return lambda: parse_message(text)  # its tree alone: reading a dozen values from it costs next to nothing


def cost(work: Callable[[], object], seconds: float) -> float:
    """Processor microseconds of one call: the best of five rounds."""
    work()
    rounds = []
    for _ in range(5):
        started, calls = time.process_time(), 0
        while not calls or time.process_time() - started < seconds / 5:
            for _ in range(10 if calls else 1):
                work()
            calls += 10 if calls else 1
            if calls == 1 and time.process_time() - started > seconds / 50:
                break  # so slow that one call is a round
        rounds.append((time.process_time() - started) / calls * 1e6)
    return min(rounds)


def reading(report: Report, seconds: float) -> None:
    goals = {"python-hl7": (python_hl7, 50), "hl7apy": (hl7apy, 800)}
    for name, body in (("ADT, 16 segments", adt(1)), ("ORU, 40 observations", oru(1))):
        mine = cost(ours(body), seconds)
        for peer, (make, times) in goals.items():
            theirs = cost(make(body), seconds)
            goal = f"1/{times} of it"
            report.add(
                f"facts of an {name}", mine, "us", peer=peer, value=theirs, goal=goal, met=mine * times <= theirs
            )
    for peer, package in ABSENT.items():
        if not package or importlib.util.find_spec(package) is None:
            report.absent("facts of an ADT", peer)


def handled(body: bytes) -> Callable[[], object]:
    """From the bytes to the acknowledgement: everything of ours but the engine and the disk."""
    source = Source("HIS", "H1", ("127.0.0.1",))
    reader = Reader(PatientIdentifiers({"HIS": "urn:oid:1.2.3"}), lambda kind, name: None, UTC, tables.load())
    desk, now = Desk(reader), START.replace(tzinfo=UTC) + timedelta(days=1)
    sender = Identity(Entity("system", "his"), "bench")

    def work() -> bytes:
        session = receive(Arrival(body, "127.0.0.1", (source,), now), desk)
        event: object = None
        while True:
            match session.send(event):
                case Identify():
                    event = sender
                case Decide(request):
                    event = permit(request)
                case Answer(message):
                    session.close()
                    return bytes(message)
                case _:
                    event = None

    return work


def python_hl7_acknowledged(body: bytes) -> Callable[[], object]:
    import hl7

    text = body.decode()
    return lambda: str(hl7.parse(text).create_ack())


def handling(report: Report, seconds: float) -> None:
    for name, body in (("ADT", adt(1)), ("ORU", oru(1))):
        mine, theirs = cost(handled(body), seconds), cost(python_hl7_acknowledged(body), seconds)
        case = f"{name} to acknowledgement, no disk"
        peer = "python-hl7, parse and ack"
        report.add(case, mine, "us", peer=peer, value=theirs, goal="1/5 of it", met=mine * 5 <= theirs)


# -- listening -------------------------------------------------------------------------------


@dataclass
class Load:
    """What a server did: messages a second, latencies in ms, its processor time in us per message."""

    rate: float
    latencies: list[float]
    cpu: float


class Sender(asyncio.Protocol):
    """Sends the next message when the last is acknowledged, until the time is over."""

    def __init__(self, messages: Iterator[bytes], until: float, latencies: list[float]) -> None:
        self.messages, self.until, self.latencies = messages, until, latencies
        self.done = asyncio.get_running_loop().create_future()
        self.next, self.sent, self.rest = next(messages), 0.0, b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.say()

    def say(self) -> None:
        if time.perf_counter() >= self.until:
            self.done.set_result(None)
            self.transport.close()
            return
        self.sent = time.perf_counter()
        self.transport.write(self.next)
        self.next = next(self.messages)  # made while the server works

    def data_received(self, data: bytes) -> None:
        self.rest += data
        if not self.rest.endswith(END):
            return
        if b"|AA|" not in self.rest:
            self.done.set_exception(SystemExit(f"not accepted: {self.rest!r}"))
            self.transport.close()
            return
        self.rest = b""
        self.latencies.append((time.perf_counter() - self.sent) * 1000)
        self.say()

    def connection_lost(self, error: Exception | None) -> None:
        if not self.done.done():
            self.done.set_exception(SystemExit("the server hung up"))


async def load(port: int, pid: int, make: Callable[[int], bytes], base: int, connections: int, seconds: float) -> Load:
    latencies: list[float] = []
    loop = asyncio.get_running_loop()
    before, started = processor(pid), time.perf_counter()
    lanes = [(b"\x0b" + make(base + 100_000 * lane + turn) + END for turn in count()) for lane in range(connections)]
    pairs = [
        await loop.create_connection(lambda lane=lane: Sender(lane, started + seconds, latencies), "127.0.0.1", port)
        for lane in lanes
    ]
    await asyncio.gather(*(sender.done for _, sender in pairs))
    took, used = time.perf_counter() - started, processor(pid) - before
    return Load(len(latencies) / took, latencies, used / len(latencies) * 1e6)


def processor(pid: int) -> float:
    """Seconds of processor time that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def peer_server(port: int) -> None:
    """python-hl7's asyncio server, as its documentation has it: parse, acknowledge."""
    from hl7.mllp import start_hl7_server

    async def serve(reader: object, writer: object) -> None:
        try:
            while True:
                message = await reader.readmessage()  # type: ignore[attr-defined]
                writer.writemessage(message.create_ack())  # type: ignore[attr-defined]
                await writer.drain()  # type: ignore[attr-defined]
        except asyncio.IncompleteReadError:
            writer.close()  # type: ignore[attr-defined]

    async def run() -> None:
        server = await start_hl7_server(serve, "127.0.0.1", port=port, encoding="utf-8", limit=1 << 20)
        await server.serve_forever()

    asyncio.run(run())


def listening(report: Report, seconds: float) -> None:
    cases = [
        ("ADT, 1 connection", adt, 1, 2),
        ("ADT, 16 connections", adt, 16, 10),
        ("ORU, 16 connections", oru, 16, 25),
    ]
    with tempfile.TemporaryDirectory() as name, ExitStack() as stack:
        folder = Path(name)
        nobody = "http://127.0.0.1:9"
        gate, port = free_port(), free_port()
        config = lay_out(folder, Surroundings(9, "NONE", 9, nobody, nobody, gate, free_port(), free_port()))
        command = [sys.executable, "-m", "adapters.cli", "serve", "-c", str(config), "--only", "hl7"]
        served = Child(command, folder / "gateway.log", {"PYTHONPATH": str(ROOT)})
        stack.callback(served.stop)
        served.wait_port(gate)
        peer = Child([sys.executable, __file__, "--peer", str(port)], folder / "peer.log")
        stack.callback(peer.kill)
        peer.wait_port(port)
        for at, server in ((gate, served), (port, peer)):  # what is made at the first message is not what is measured
            for make in (adt, oru):
                asyncio.run(load(at, server.pid, make, 0, 16, 1.0))
        for number, (case, make, connections, times) in enumerate(cases):
            base = 10_000_000 * (number + 1)
            mine = asyncio.run(load(gate, served.pid, make, base, connections, seconds))
            theirs = asyncio.run(load(port, peer.pid, make, base, connections, seconds))
            goal = f"{times} times it"
            met = mine.rate >= times * theirs.rate
            report.add(
                f"{case}, durable",
                mine.rate,
                "msg/s",
                peer="python-hl7, not durable",
                value=theirs.rate,
                goal=goal,
                met=met,
            )
            report.add(f"{case}, processor", mine.cpu, "us", peer="python-hl7, not durable", value=theirs.cpu)
            p99 = percentile(mine.latencies, 0.99)
            limit = {"goal": "p99 <= 10 ms", "met": p99 <= 10.0} if connections > 1 else {}
            report.add(f"{case}, p50", percentile(mine.latencies, 0.5), "ms")
            report.add(f"{case}, p99", p99, "ms", **limit)


def main() -> int:
    words = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    words.add_argument("--quick", action="store_true", help="shorter: under 45 seconds")
    words.add_argument("--json", action="store_true", help="one JSON object a line")
    words.add_argument("--peer", type=int, default=0, help=argparse.SUPPRESS)
    given = words.parse_args()
    if given.peer:
        peer_server(given.peer)
        return 0
    report = Report("hl7v2", given.json)
    reading(report, 0.3 if given.quick else 2.0)
    handling(report, 0.3 if given.quick else 2.0)
    listening(report, 3.0 if given.quick else 10.0)
    return 0


if __name__ == "__main__":
    sys.exit(main())
