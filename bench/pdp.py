"""What a decision over HTTP costs, against an application on the same server that decides nothing, and FastAPI.

    python bench/pdp.py [--quick] [--json] [--policies 1000] [--rounds 15]

Server and load are two processes on this machine over loopback, each on a core
of its own where there are two; all servers get their turns in the same run, and
each case is the median of the rounds. CPU is that of the server's process, per
call. The decision point identifies its caller, asks the engine, makes the audit
record and waits for its commit; "on disk" really commits, into SQLite with a
sync per transaction, the other lines count what would be stored. The load comes
from wrk where it is installed, so that measuring does not cost what is measured.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import importlib.util
import json
import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # not this folder: its modules have the names of packages

import msgspec  # noqa: E402

from bench._report import Report, percentile  # noqa: E402

PATH = "/access/v1/evaluation"
BATCHES = ((50, 1), (20, 2), (50, 4))  # items, connections
DIFFERENT = 19_200  # requests: a multiple of all of them and of 64
KINDS = [
    "result",
    "vitals",
    "order",
    "report",
    "imaging",
    "prescription",
    "document",
    "allergy",
    "patient",
    "encounter",
]
VERBS = ["read", "search", "view", "update"]

HEAD = """\
spir: "1"
kind: PolicySet
name: bench
layer: institution
jurisdiction: cn/bench
version: 1.0.0
policies:
  - id: enforcement-points-may-ask
    effect: permit
    operations: ["execute:policy"]
    when: subject.role == "enforcement"
  - id: care-team-reads-results
    effect: permit
    operations: ["read:result"]
    when: subject.role == "physician" && subject.id in resource.patient.care_team && resource.sensitivity <= 3
    obligations:
      - {id: hide-phone, type: mask, paths: ["patient.telecom"]}
"""


def policies(count: int) -> str:
    """So many policies, spread over forty operations; most are about a department or a label of their own."""
    lines = [HEAD]
    for number in range(count - 2):
        verb, kind = VERBS[number % 4], KINDS[number // 4 % 10]
        effect = "deny" if number % 10 == 9 else "permit"
        condition = f'"label-{number}" in resource.labels' if effect == "deny" else f'subject.department == "d{number}"'
        lines.append(f"  - {{id: p{number}, effect: {effect}, operations: [\"{verb}:{kind}\"], when: '{condition}'}}\n")
    return "".join(lines)


def asked(number: int) -> dict[str, Any]:
    """An evaluation of about 400 bytes; dr.li treats every second patient."""
    return {
        "subject": {"type": "person", "id": "dr.li", "properties": {"role": "physician", "department": "cardiology"}},
        "action": {"name": "read"},
        "resource": {
            "type": "result",
            "id": f"r{number:08}",
            "properties": {
                "patient": {"id": f"HIS|P{number % 1000:03}"},
                "category": "routine",
                "sensitivity": 2,
                "labels": ["blood", "fasting"],
                "status": "final",
            },
        },
        "context": {"ip": "10.0.0.1", "protocol": "fhir", "purpose": "TREAT", "session": f"s{number:08}"},
    }


# -- what runs as a child ------------------------------------------------------------------------


@dataclass
class BenchPort:
    """The gateway with the real engine. Commits are counted, or stored if there is a `store`."""

    engine: Any
    facts: Any
    entities: dict[str, Any]
    store: Any = None
    resources: dict[str, Any] = field(default_factory=dict)
    recorded: int = 0

    @classmethod
    def build(cls, count: int, folder: Path) -> BenchPort:
        from spir.embed import Engine
        from spir.model.facts import Assert, Fact, FactStore
        from spir.model.request import Entity

        (folder / "policy.yaml").write_text(policies(count), "utf-8")
        store = FactStore()
        now = datetime(2026, 11, 21, tzinfo=UTC)
        keys = [("patient", f"HIS|P{number:03}") for number in range(1000)]
        store.apply(Assert(Fact(key, "care_team", ("dr.li", "dr.wu"), "bench", now)) for key in keys[::2])
        entities = {"pep": Entity("system", "pep", {"role": "enforcement"})}
        return cls(Engine.load(folder / "policy.yaml", organization="cn/bench"), store, entities)

    @property
    def bundle(self) -> str:
        return self.engine.rules.fingerprint

    @property
    def vocabulary(self) -> Any:
        return self.engine.documents.vocabulary

    @property
    def snapshot(self) -> Any:
        return self.facts.snapshot

    def now(self) -> datetime:
        return datetime.now(UTC)

    def identify(self, credentials: Any) -> Any:
        from spir.exchange import Identity

        return Identity(self.entities[credentials.bearer], "bench")

    def decide(self, request: Any) -> Any:
        return self.engine.compiled.decide(request, self.facts.snapshot, self.now())

    async def commit(self, *items: Any) -> int:
        self.recorded += len(items)
        return 0 if self.store is None else await self.store.commit(items)

    def health(self) -> dict[str, str]:
        return {}

    def measures(self) -> tuple[()]:
        return ()


def on_disk(port: BenchPort, folder: Path) -> BenchPort:
    from adapters.audit.journal import Journal
    from adapters.backbone.embedded import Embedded

    journal = Journal.open(folder)
    port.store = Embedded.open(folder / "spir.db", journal.append, prepare=(journal.prepare,))
    return port


def without_engine(port: BenchPort) -> None:
    """Let the engine cost nothing, but for the callers themselves: what is left is the service's own cost."""
    from spir.model.decision import ADMIT_ALL, Decision, Effect

    decide, entity = port.decide, port.entities["pep"]

    def permitted(request: Any) -> Any:
        if request.subject is entity:
            return decide(request)
        facts = port.snapshot.revision
        return Decision(Effect.PERMIT, request.operation, ADMIT_ALL, bundle=port.bundle, facts=facts)

    port.decide = permitted  # type: ignore[method-assign]


async def nothing(scope: Any, receive: Any, send: Any) -> None:
    """The least that an application does: take the body, answer with a constant."""
    await receive()
    await answer(send, b'{"decision":true}')


async def answer(send: Any, body: bytes) -> None:
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def fastapi_nothing() -> Any:
    """The same in FastAPI, with models, as its manual writes it."""
    from fastapi import FastAPI
    from pydantic import BaseModel

    class Party(BaseModel):
        type: str
        id: str
        properties: dict[str, Any] = {}

    class Action(BaseModel):
        name: str

    class Evaluation(BaseModel):
        subject: Party
        action: Action
        resource: Party
        context: dict[str, Any] = {}

    class Decision(BaseModel):
        decision: bool

    # local names in annotations cannot be found by name later
    async def evaluate(body: Any) -> Any:
        return Decision(decision=True)

    evaluate.__annotations__ = {"body": Evaluation, "return": Decision}
    app = FastAPI()
    app.post(PATH)(evaluate)
    return app


def metered(app: Any) -> Any:
    """The application, which also says how much CPU its process has used: at `/-/cpu`, in nanoseconds."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "http" and scope["path"] == "/-/cpu":
            await answer(send, str(time.process_time_ns()).encode())
        else:
            await app(scope, receive, send)

    return serve


async def plain_uvicorn(app: Any) -> None:
    """uvicorn as it comes, with httptools and uvloop, its access log off."""
    import uvicorn

    bound = socket.create_server(("127.0.0.1", 0), backlog=1024)
    print(bound.getsockname()[1], "-", flush=True)
    config = uvicorn.Config(
        metered(app), http="httptools", ws="none", lifespan="off", access_log=False, log_config=None
    )
    await uvicorn.Server(config).serve(sockets=[bound])


async def decision_point(role: str, count: int, folder: Path) -> Any:
    """The service in one role, with its pipelined endpoint at `folder`/pipe."""
    from adapters.authzen.pipelined import PipelinedServer
    from adapters.authzen.service import Pdp, PdpConfig

    port = BenchPort.build(count, folder)
    if role == "disk":
        on_disk(port, folder)
    if role == "free":
        without_engine(port)
    app = Pdp(PdpConfig(), port)
    app.many = PipelinedServer(app._desk())
    await app.many.start(str(folder / "pipe"), 0o600)
    return app


async def child(role: str, count: int, folder: Path) -> None:
    """Serve in one role; prints the port and the path of the pipelined socket, and stays until it is killed."""
    from adapters.web.server import HttpServer
    from adapters.yielding import SWITCH

    if role in ("nothing", "fastapi"):
        await plain_uvicorn(nothing if role == "nothing" else fastapi_nothing())
        return
    app = nothing if role == "bare" else await decision_point(role, count, folder)
    server = HttpServer(metered(app), lambda status: b"", quick=getattr(app, "quick", None))
    bound = server.bind("127.0.0.1", 0)
    await server.start()
    sys.setswitchinterval(SWITCH)
    gc.freeze()  # both as `spir serve` does
    print(bound, folder / "pipe", flush=True)
    await asyncio.Event().wait()


# -- measuring -----------------------------------------------------------------------------------


def pinned(core: int) -> None:
    """Keep this process on one core, where there are several and the system lets us."""
    with suppress(AttributeError, OSError, IndexError):
        os.sched_setaffinity(0, {sorted(os.sched_getaffinity(0))[core]})


@dataclass(frozen=True)
class Server:
    port: int
    pipe: str

    def cpu(self) -> float:
        """Microseconds that the process has used."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/-/cpu", timeout=10) as reply:
            return int(reply.read()) / 1000


@contextmanager
def started(roles: list[str], count: int) -> Iterator[dict[str, Server]]:
    """One child in each role; they start side by side."""
    with ExitStack() as running:
        children = {role: running.enter_context(process(role, count)) for role in roles}
        found = {}
        for role, child in children.items():
            assert child.stdout is not None
            port, pipe = child.stdout.readline().split()
            found[role] = Server(int(port), pipe)
        yield found


@contextmanager
def process(role: str, count: int) -> Iterator[subprocess.Popen[str]]:
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, __file__, "--role", role, "--policies", str(count), "--folder", folder]
        child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, preexec_fn=partial(pinned, 0))
        try:
            yield child
        finally:
            child.kill()
            child.wait(10)


@dataclass(frozen=True)
class Load:
    """One run: calls a second, milliseconds, and microseconds of the server's CPU a call."""

    rate: float
    p50: float
    p99: float
    cpu: float


LUA = """
local bodies = {{ {bodies} }}
local n = 0
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["Authorization"] = "Bearer pep"
request = function()
  n = n % #bodies + 1
  return wrk.format(nil, "{path}", nil, bodies[n])
end
"""
UNITS = {"us": 0.001, "ms": 1.0, "s": 1000.0}


class Wrk:
    """Load by wrk. `bodies` are sent in turn."""

    def __init__(self, program: str, path: str, bodies: list[bytes], connections: int, seconds: float) -> None:
        self.connections, self.seconds, self.program = connections, seconds, program
        text = ", ".join("[==[" + body.decode() + "]==]" for body in bodies)
        self._file = tempfile.NamedTemporaryFile("w", suffix=".lua")  # noqa: SIM115
        self._file.write(LUA.format(bodies=text, path=path))
        self._file.flush()

    def __call__(self, server: Server) -> Load:
        seconds = f"{max(1, round(self.seconds))}s"
        command = [self.program, "-t1", f"-c{self.connections}", f"-d{seconds}", "--latency", "-s", self._file.name]
        before = server.cpu()
        done = subprocess.run(
            [*command, f"http://127.0.0.1:{server.port}"],
            capture_output=True,
            text=True,
            check=True,
            preexec_fn=partial(pinned, -1),
        )
        used = server.cpu() - before
        said = done.stdout
        if "Non-2xx" in said or "Socket errors" in said:
            raise SystemExit(f"the server refused: {said}")
        total = int(re.search(r"(\d+) requests in", said)[1])
        rate = float(re.search(r"Requests/sec:\s+([\d.]+)", said)[1])
        p50, p99 = (_milliseconds(said, share) for share in ("50", "99"))
        return Load(rate, p50, p99, used / total)


def _milliseconds(said: str, share: str) -> float:
    value, unit = re.search(rf"\s{share}%\s+([\d.]+)(us|ms|s)", said).groups()
    return float(value) * UNITS[unit]


def pipelined(server: Server, bodies: list[bytes], outstanding: int, seconds: float) -> Load:
    """Load over the Unix socket: so many frames are under way, in two halves, so that the server need not wait for us
    to read its answers; a single one is sent when the one before has been answered. Frames are made beforehand.
    """
    each = max(1, outstanding // 2)
    frames = [len(body).to_bytes(4, "big") + body for body in bodies]
    rounds = [b"".join(frames[start : start + each]) for start in range(0, len(frames), each)]
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as peer:
        peer.connect(server.pipe)
        hello = msgspec.msgpack.encode({"bearer": "pep"})
        peer.sendall(len(hello).to_bytes(4, "big") + hello)
        left = _answers(peer, 1, b"")
        before, times, count = server.cpu(), [], 0
        sent: deque[float] = deque()
        start = time.perf_counter()
        while True:
            while len(sent) * each < outstanding and time.perf_counter() - start < seconds:
                sent.append(time.perf_counter())
                peer.sendall(rounds[count % len(rounds)])
                count += 1
            if not sent:  # the time is over, and so is all that was under way
                break
            left = _answers(peer, each, left)
            times.append((time.perf_counter() - sent.popleft()) * 1000)
        elapsed = time.perf_counter() - start
        used = server.cpu() - before
    total = len(times) * each
    return Load(total / elapsed, percentile(times, 0.5), percentile(times, 0.99), used / total)


def _answers(peer: socket.socket, count: int, data: bytes) -> bytes:
    """Read so many answers; what came beyond them. Answers are not decoded: that is the client's cost."""
    place = 0
    while count:
        if len(data) - place >= 4 and len(data) - place >= 4 + (size := int.from_bytes(data[place : place + 4], "big")):
            place += 4 + size
            count -= 1
            continue
        data, place = data[place:] + peer.recv(262144), 0
    return data[place:]


def medians(runs: list[Load]) -> Load:
    return Load(*(statistics.median(getattr(run, name) for run in runs) for name in ("rate", "p50", "p99", "cpu")))


Case = tuple[str, Server, Callable[[Server], Load]]


def measured(cases: list[Case], rounds: int, warm: bool) -> dict[str, Load]:
    """Each case once a round, so that the machine's moods meet them all. `warm`: a round before that does not count."""
    found: dict[str, list[Load]] = {name: [] for name, _, _ in cases}
    for turn in range(rounds + warm):
        for name, server, run in cases:
            load = run(server)
            if turn >= warm:
                found[name].append(load)
    return {name: medians(runs) for name, runs in found.items()}


NO_OP = "raw ASGI no-op on uvicorn"
FASTAPI = "FastAPI no-op"
SINGLE = {
    "remembered": "asked before",
    "free": "engine costs nothing",
    "fresh": "decided anew",
    "disk": "decided anew, on disk",
}


def report_single(report: Report, found: dict[str, Load], settings: dict[str, Any]) -> None:
    base, bare = found["nothing"], found["bare"]
    report.add("no-op on our server: CPU", bare.cpu, "us", peer=NO_OP, value=base.cpu, **settings)
    for name, label in SINGLE.items():
        load, goal = found[name], "<= 1.6x CPU" if name == "fresh" else ""
        met = load.cpu <= 1.6 * base.cpu if goal else None
        report.add(f"{label}: CPU", load.cpu, "us", peer=NO_OP, value=base.cpu, goal=goal, met=met, **settings)
        for what, unit in (("rate", "1/s"), ("p50", "ms"), ("p99", "ms")):
            report.add(f"{label}: {what}", getattr(load, what), unit, peer=NO_OP, value=getattr(base, what))
    if "fastapi" in found:
        for name, label in (("fresh", "decided anew"), ("nothing", "no-op on uvicorn")):
            report.add(f"{label}: rate", found[name].rate, "1/s", peer=FASTAPI, value=found["fastapi"].rate)


def report_many(report: Report, found: dict[str, Load]) -> None:
    best = 0.0
    for name, load in found.items():
        if name.startswith(("batch", "pipelined")):
            each = int(name.split()[2].rstrip(",")) if name.startswith("batch") else 1
            rate = load.rate * each
            report.add(f"{name}: decisions", rate, "1/s", p50_ms=load.p50, p99_ms=load.p99)
            report.add(
                f"{name}: CPU a decision", load.cpu / each, "us", peer=f"{NO_OP}, a call", value=found["nothing"].cpu
            )
            report.add(f"{name}: p99", load.p99, "ms")
            best = max(best, rate if load.p99 <= 1.8 and "before" not in name else 0.0)
    peer = "source, in the gateway"
    report.add("best of these within 1.8 ms", best, "1/s", peer=peer, value=42_600, goal=">= 1x", met=best >= 42_600)
    if "fastapi" not in found:
        report.absent("best of these within 1.8 ms", FASTAPI, ">= 5x")
        return
    # A call at 1.6 times the CPU of a raw no-op cannot be five times FastAPI's no-op, which costs four to six raw ones:
    # the goal is one for batches, as the rate is.
    other = found["fastapi"].rate
    report.add(
        "best of these within 1.8 ms", best, "1/s", peer=FASTAPI, value=other, goal=">= 5x", met=best >= 5 * other
    )


def main() -> int:
    parser = argparse.ArgumentParser(description="The decision point against applications that decide nothing.")
    parser.add_argument("--quick", action="store_true", help="under 45 seconds")
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--policies", type=int, default=1000)
    parser.add_argument("--rounds", type=int, default=0, help="default: 15, or 2 if quick")
    parser.add_argument("--role", default="", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.role:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(child(arguments.role, arguments.policies, arguments.folder))
        return 0
    report = Report("pdp", arguments.json)
    wrk = shutil.which("wrk")
    if wrk is None:
        report.absent("decided anew: CPU", "wrk", "<= 1.6x CPU")
        return 0
    quick = arguments.quick
    rounds = arguments.rounds or (2 if quick else 15)
    settings = {"policies": arguments.policies, "rounds": rounds, "connections": 16, "cores": os.cpu_count()}
    found = run(wrk, arguments.policies, rounds, quick)
    report_single(report, found, settings)
    report_many(report, found)
    return 1 if report.missed else 0


def batches(size: int) -> list[bytes]:
    """Batches of different questions about the same subject."""
    starts = range(0, DIFFERENT, size)
    items = ([{"resource": asked(start + n)["resource"]} for n in range(size)] for start in starts)
    return [json.dumps({**asked(0), "evaluations": several}).encode() for several in items]


def run(wrk: str, count: int, rounds: int, quick: bool) -> dict[str, Load]:
    seconds = 1.0  # short turns, so that the machine's moods meet all alike
    one = [json.dumps(asked(1)).encode()]
    # far more than are remembered: nearly every question is a new one
    several = [json.dumps(asked(number)).encode() for number in range(DIFFERENT)]
    packed = [msgspec.msgpack.encode(asked(number)) for number in range(DIFFERENT)]
    single, fresh = Wrk(wrk, PATH, one, 16, seconds), Wrk(wrk, PATH, several, 16, seconds)
    roles = ["nothing", "bare", *SINGLE] + (["fastapi"] if importlib.util.find_spec("fastapi") else [])
    with started(roles, count) as servers:
        cases: list[Case] = [(role, servers[role], single if role == "remembered" else fresh) for role in roles]
        for size, connections in BATCHES:
            load = Wrk(wrk, f"{PATH}s", batches(size), connections, seconds)
            name = f"batch of {size}, {connections} at once"
            cases.append((name, servers["fresh"], load))
        cases.append((f"{name}, on disk", servers["disk"], load))
        piped = partial(pipelined, seconds=0.4)
        for outstanding in (1, 8, 32, 64):
            frames = partial(piped, bodies=packed, outstanding=outstanding)
            cases.append((f"pipelined, {outstanding} under way", servers["fresh"], frames))
        cases.append(("pipelined, 64, on disk", servers["disk"], partial(piped, bodies=packed, outstanding=64)))
        same = partial(piped, bodies=packed[:64], outstanding=64)
        cases.append(("pipelined, 64, asked before", servers["remembered"], same))
        return measured(cases, rounds, not quick)


if __name__ == "__main__":
    sys.exit(main())
