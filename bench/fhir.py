"""What the FHIR facade costs, against a plain Python proxy, nginx, and a proxy that validates with fhir.resources.

    python bench/fhir.py [--quick] [--json]

Upstream, proxy and client are three processes on this machine over loopback;
every proxy gets the same requests in the same run. CPU is that of the proxy's
process, per request. The facade decides with the real engine, on facts about
twenty patients ("decided"), and again with decisions that were made
before ("decided before"), which shows what is its own work. What it would
write to the audit trail is counted but not stored, for that is another
benchmark's. A peer that is not installed is said to be missing.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[0] = str(ROOT)  # not this folder: a package of the peers has this file's name

from bench._report import Report  # noqa: E402

PATIENTS, ENTRIES, MINE = 20, 100, 17  # 15 of 100 entries are of patients who are not in the care team
TOKEN = {"open": "dr.open", "plain": "dr.li", "masked": "dr.wu"}

POLICY = """
spir: "1"
kind: PolicySet
name: bench
layer: institution
jurisdiction: cn/bench
version: 1.0.0
policies:
  - id: research-sees-all
    effect: permit
    operations: ["read:*:*", "search:*:*"]
    when: subject.role == "researcher"
  - id: care-team
    effect: permit
    operations: ["read:*:*", "search:*:*"]
    when: subject.role == "physician" && subject.id in resource.patient.care_team
  - id: care-team-masked
    effect: permit
    operations: ["read:*:*", "search:*:*"]
    when: subject.role == "consultant" && subject.id in resource.patient.care_team
    obligations:
      - id: three-paths
        type: mask
        paths: [patient.telecom, Observation.interpretation, Observation.referenceRange.low]
  - id: never-restricted
    effect: deny
    operations: ["read:*:*", "search:*:*"]
    when: '"very-restricted" in resource.labels'
"""


# -- what is served -----------------------------------------------------------------------------


def patient(number: int) -> dict[str, Any]:
    """A Patient of about 2.4 kB."""
    contacts = [
        {
            "relationship": [{"coding": [{"system": "http://terminology.hl7.org/CodeSystem/v2-0131", "code": "N"}]}],
            "name": {"family": f"Invented-{number}", "given": ["Kin", str(index)]},
            "telecom": [{"system": "phone", "value": f"+86 (571) 5550 {index:04}"}],
            "address": {"use": "home", "line": ["534 Invented St"], "city": "Nowhere", "postalCode": "310000"},
        }
        for index in range(5)
    ]
    return {
        "resourceType": "Patient",
        "id": f"p{number:03}",
        "meta": {"versionId": "1", "lastUpdated": "2026-11-21T10:00:00.000Z"},
        "text": {"status": "generated", "div": f'<div xmlns="http://www.w3.org/1999/xhtml">{"Invented " * 20}</div>'},
        "identifier": [{"use": "usual", "system": "urn:oid:1.2.3", "value": f"P{number:03}"}],
        "active": True,
        "name": [{"use": "official", "family": "Invented", "given": ["Peter", "James"]}],
        "telecom": [{"system": "phone", "value": "+86 (571) 5555 6473", "use": "work", "rank": 1}] * 3,
        "gender": "male",
        "birthDate": "1974-12-25",
        "address": [{"use": "home", "line": ["534 Invented St"], "city": "Nowhere", "postalCode": "310000"}],
        "contact": contacts,
    }


def observation(number: int) -> dict[str, Any]:
    """An Observation of about 0.9 kB."""
    return {
        "resourceType": "Observation",
        "id": f"o{number:03}",
        "meta": {"versionId": "1", "lastUpdated": "2026-11-21T10:00:00.000Z"},
        "identifier": [{"use": "official", "system": "urn:invented:observations", "value": str(6323 + number)}],
        "status": "final",
        "code": {"coding": [{"system": "http://loinc.org", "code": "15074-8", "display": "Glucose in Blood"}]},
        "subject": {"reference": f"Patient/p{number % PATIENTS:03}"},
        "effectiveDateTime": "2026-11-02T09:30:10+08:00",
        "issued": "2026-11-03T15:30:10+08:00",
        "performer": [{"reference": "Practitioner/f005"}],
        "valueQuantity": {"value": 6.30, "unit": "mmol/l", "system": "http://unitsofmeasure.org", "code": "mmol/L"},
        "interpretation": [
            {
                "coding": [
                    {
                        "system": "http://terminology.hl7.org/CodeSystem/v3-ObservationInterpretation",
                        "code": "H",
                        "display": "High",
                    }
                ]
            }
        ],
        "referenceRange": [
            {
                "low": {"value": 3.10, "unit": "mmol/l", "system": "http://unitsofmeasure.org", "code": "mmol/L"},
                "high": {"value": 6.20, "unit": "mmol/l", "system": "http://unitsofmeasure.org", "code": "mmol/L"},
            }
        ],
    }


def bundle(resources: list[dict[str, Any]]) -> bytes:
    entry = [
        {
            "fullUrl": f"http://upstream/{item['resourceType']}/{item['id']}",
            "resource": item,
            "search": {"mode": "match"},
        }
        for item in resources
    ]
    body = {"resourceType": "Bundle", "type": "searchset", "total": len(entry), "entry": entry}
    return json.dumps(body, separators=(",", ":")).encode()


# -- the programs that run as children ------------------------------------------------------------


class Upstream:
    """Answers from memory, whatever the parameters say."""

    def __init__(self) -> None:
        compact = (",", ":")
        self.patient = json.dumps(patient(1), separators=compact).encode()
        self.patients = bundle([patient(number) for number in range(PATIENTS)])
        self.observations = bundle([observation(number) for number in range(ENTRIES)])

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        path = scope["path"]
        body = self.observations if path == "/Observation" else self.patients if path == "/Patient" else self.patient
        await answer(send, body)


class PassThrough:
    """The least a Python proxy does: a client pool behind raw ASGI. `check` sees every body."""

    def __init__(self, upstream: str, check: Callable[[bytes], bytes] = bytes) -> None:
        self._upstream, self._check, self._session = upstream, check, None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        import aiohttp
        from yarl import URL

        if self._session is None:
            self._session = aiohttp.ClientSession(auto_decompress=False)
        query = scope["query_string"].decode()
        url = f"{self._upstream}{scope['raw_path'].decode()}{'?' if query else ''}{query}"
        async with self._session.get(URL(url, encoded=True), allow_redirects=False) as response:
            await answer(send, self._check(await response.read()))


def validated(body: bytes) -> bytes:
    """What the obvious design does with every answer: parse it into models, and write it out again."""
    from importlib import import_module

    type = json.loads(body)["resourceType"]
    model = getattr(import_module(f"fhir.resources.R4B.{type.lower()}"), type)
    return model.model_validate_json(body).model_dump_json().encode()


@dataclass
class BenchServices:
    """The gateway without a disk: the real engine on real facts."""

    identifiers: Any = None
    recorded: int = 0
    engine: Any = None
    store: Any = None
    people: dict[str, Any] = field(default_factory=dict)
    remember: bool = False  # whether a decision is made once: what is left is the facade's own work
    remembered: dict[Any, Any] = field(default_factory=dict)

    @classmethod
    def build(cls, folder: Path) -> BenchServices:
        from spir.embed import Engine
        from spir.model.facts import Assert, Fact, FactStore
        from spir.model.identity import PatientIdentifiers
        from spir.model.request import Entity

        (folder / "policy.yaml").write_text(POLICY, "utf-8")
        store = FactStore()
        team = ("dr.li", "dr.wu")
        now = datetime(2026, 11, 21, tzinfo=UTC)
        keys = [("patient", f"HIS|P{number:03}") for number in range(MINE)]
        store.apply([Assert(Fact(key, "care_team", team, "bench", now)) for key in keys])
        roles = {"dr.open": "researcher", "dr.li": "physician", "dr.wu": "consultant"}
        people = {name: Entity("person", name, {"role": role}) for name, role in roles.items()}
        engine = Engine.load(folder, organization="cn/bench")
        return cls(PatientIdentifiers({"HIS": "urn:oid:1.2.3"}, "HIS"), 0, engine, store, people)

    def now(self) -> datetime:
        return datetime.now(UTC)

    def identify(self, credentials: Any) -> Any:
        from spir.exchange import Identity

        return Identity(self.people[credentials.bearer], "bench")

    def staff(self, authority: str, value: str) -> str | None:
        return None

    def rule(self, request: Any) -> Any:
        key = (request.subject.id, request.operation, request.resource.id)
        held = self.remembered.get(key) if self.remember else None
        if held is None:
            held = self.remembered[key] = self.engine.rule(request, self.store.snapshot, self.now())
        return held

    async def commit(self, *items: Any) -> int:
        self.recorded += len(items)
        return self.store.snapshot.revision


async def answer(send: Any, body: bytes) -> None:
    headers = [(b"content-type", b"application/fhir+json"), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def metered(app: Any) -> Any:
    """The application, which also says how much CPU its process has used: at `/-/cpu`, in nanoseconds."""

    async def serve(scope: Any, receive: Any, send: Any) -> None:
        if scope["path"] == "/-/cpu":
            await answer(send, str(time.process_time_ns()).encode())
        else:
            await app(scope, receive, send)

    return serve


async def child(role: str, upstream: str) -> None:
    from adapters.fhir.facade import Facade, FacadeConfig
    from adapters.fhir.server import BOUNDS, plain
    from adapters.fhir.upstream import UpstreamConfig
    from adapters.web.server import HttpServer

    if role == "upstream":
        app: Any = Upstream()
    elif role in ("facade", "remembering"):
        with tempfile.TemporaryDirectory() as folder:
            services = BenchServices.build(Path(folder))
        services.remember = role == "remembering"
        app = Facade(FacadeConfig(UpstreamConfig(upstream), base="http://gateway"), services)
        await app.open()
    else:
        app = PassThrough(upstream, validated if role == "models" else bytes)
    server = HttpServer(metered(app), plain, bounds=BOUNDS)
    port = server.bind("127.0.0.1", 0)
    await server.start()
    print(port, flush=True)
    await asyncio.Event().wait()


# -- measuring ----------------------------------------------------------------------------------


@contextmanager
def started(role: str, upstream: str = "") -> Iterator[int]:
    """A child process in this role; its port."""
    command = [sys.executable, __file__, "--role", role, "--upstream", upstream]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.wait(10)


NGINX = """
daemon off; pid {folder}/pid; error_log stderr crit; worker_processes 1;
events {{ worker_connections 256; }}
http {{
  access_log off; keepalive_requests 1000000;
  client_body_temp_path {folder}/a; proxy_temp_path {folder}/b; fastcgi_temp_path {folder}/c;
  uwsgi_temp_path {folder}/d; scgi_temp_path {folder}/e;
  upstream up {{ server 127.0.0.1:{upstream}; keepalive 32; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://up; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_buffers 32 16k; }}
  }}
}}
"""


@contextmanager
def nginx(upstream: int) -> Iterator[int | None]:
    """nginx as a plain reverse proxy; None where it is not installed."""
    found = shutil.which("nginx", path=os.pathsep.join((os.environ.get("PATH", ""), "/usr/sbin")))
    if found is None:
        yield None
        return
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "nginx.conf"
        config.write_text(NGINX.format(folder=folder, upstream=upstream, port=port), "utf-8")
        process = subprocess.Popen([found, "-p", folder, "-c", str(config)], stderr=subprocess.DEVNULL)
        try:
            asyncio.run(listening(port))
            yield port
        finally:
            process.terminate()
            process.wait(10)


async def listening(port: int) -> None:
    for _ in range(500):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            return
        except OSError:
            await asyncio.sleep(0.01)
    raise SystemExit(f"nothing listens on port {port}")


@dataclass(frozen=True)
class Measured:
    """Microseconds: the median time to answer, and the proxy's CPU per request (0 where it does not say)."""

    p50: float
    cpu: float


async def measure(port: int, path: str, token: str, clients: int, requests: int, expect: int, cpu: bool) -> Measured:
    """`requests` over `clients` connections; every answer must have `expect` bytes, if that is known."""
    message = f"GET {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode()
    links = [await asyncio.open_connection("127.0.0.1", port) for _ in range(clients)]
    for link in links:
        await exchange(link, message)  # warm: connections upstream, caches
    before = await used(port) if cpu else 0
    times: list[int] = []

    async def drive(link: Any, count: int) -> None:
        for _ in range(count):
            start = time.perf_counter_ns()
            body = await exchange(link, message)
            times.append(time.perf_counter_ns() - start)
            if expect and len(body) != expect:
                raise SystemExit(f"port {port} answered {len(body)} bytes, not {expect}")

    await asyncio.gather(*(drive(link, requests // clients) for link in links))
    after = await used(port) if cpu else 0
    for _, writer in links:
        writer.close()
    return Measured(statistics.median(times) / 1000, (after - before) / 1000 / len(times))


async def exchange(link: Any, message: bytes) -> bytes:
    reader, writer = link
    writer.write(message)
    head = await reader.readuntil(b"\r\n\r\n")
    if b" 200 " not in head[:16]:
        raise SystemExit(f"unexpected answer: {head[:60]!r}")
    length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
    return await reader.readexactly(length)


async def used(port: int) -> int:
    link = await asyncio.open_connection("127.0.0.1", port)
    text = await exchange(link, b"GET /-/cpu HTTP/1.1\r\nHost: x\r\n\r\n")
    link[1].close()
    return int(text)


def best_of(rounds: int, once: Callable[[], Awaitable[Measured]]) -> Measured:
    """The median of several rounds."""
    found = [asyncio.run(_run(once)) for _ in range(rounds)]
    return Measured(statistics.median(item.p50 for item in found), statistics.median(item.cpu for item in found))


async def _run(once: Callable[[], Awaitable[Measured]]) -> Measured:
    return await once()


# -- cases --------------------------------------------------------------------------------------


PATHS = {"patient": "/Patient/p001", "bundle": f"/Observation?_count={ENTRIES}"}


def judged(
    report: Report, case: str, ours: float, peer: str, theirs: float | None, times: float, most: bool = True
) -> None:
    """Ours at most `times` theirs; or theirs at least `times` ours."""
    bound = times if most else 1 / times
    met = None if theirs is None else ours <= bound * theirs
    report.add(case, ours, "us", peer, theirs, f"<= {times:g}x" if most else f"<= 1/{times:g}", met)


def run(report: Report, quick: bool) -> None:
    rounds = 3
    with (
        started("upstream") as upstream,
        started("passthrough", f"http://127.0.0.1:{upstream}") as plain,
        started("models", f"http://127.0.0.1:{upstream}") as models,
        started("facade", f"http://127.0.0.1:{upstream}") as deciding,
        started("remembering", f"http://127.0.0.1:{upstream}") as remembering,
        nginx(upstream) as web,
    ):

        def take(
            port: int, what: str, token: str = "", clients: int = 1, share: float = 1.0, cpu: bool = True
        ) -> Measured:
            full = {"patient": 150, "bundle": 32}[what] * (1 if quick else 8)
            count = max(4 * clients, int(full * share))
            return best_of(rounds, lambda: measure(port, PATHS[what], token, clients, count, 0, cpu))

        for clients in (1, 16):
            for what, goals in (("patient", (1.4, 1.6)), ("bundle", (3, 6))):
                base = take(plain, what, share=4, clients=clients)
                for variant, goal in zip(("plain", "masked"), goals, strict=True):
                    for name, port in (("decided", deciding), ("decided before", remembering)):
                        found = take(port, what, TOKEN[variant], clients)
                        case = f"{what} {variant} {name} c={clients} CPU"
                        judged(report, case, found.cpu, "aiohttp behind raw ASGI", base.cpu, goal)
        for what, limit, least in (("patient", 3, 5), ("bundle", 4, 20)):
            found = take(deciding, what, TOKEN["plain"])
            proxied = take(web, what, share=4, cpu=False).p50 if web else None
            peer = "nginx" if web else "nginx (not installed)"
            judged(report, f"{what} plain c=1 p50", found.p50, peer, proxied, limit)
            share = 0.5 if what == "patient" else 0.15
            parsed = take(models, what, share=share).cpu if has_models() else None
            peer = "fhir.resources in the path" + ("" if parsed else " (not installed)")
            judged(report, f"{what} plain c=1 CPU", found.cpu, peer, parsed, least, most=False)


def has_models() -> bool:
    from importlib.util import find_spec

    return find_spec("fhir") is not None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="fewer requests: under 45 seconds")
    parser.add_argument("--json", action="store_true", help="one JSON object a line")
    parser.add_argument("--role", help=argparse.SUPPRESS)
    parser.add_argument("--upstream", default="", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.role:
        import uvloop

        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(child(given.role, given.upstream))
        return 0
    settings = {"quick": given.quick, "patients": PATIENTS, "entries": ENTRIES, "removed": 15, "audit": "not stored"}
    report = Report("fhir", given.json, **settings)
    run(report, given.quick)
    return 1 if report.missed else 0


if __name__ == "__main__":
    sys.exit(main())
