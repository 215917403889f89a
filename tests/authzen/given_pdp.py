"""What tests of the decision point are given: a port in memory with the real engine, and calls without sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Any

import apsw

from adapters.audit.journal import Journal
from adapters.audit.pseudonym import Pseudonyms
from adapters.authzen.port import Measure
from adapters.authzen.service import Pdp, PdpConfig
from adapters.web.guarded import UNIX
from spir.embed import default_vocabulary
from spir.engine.explain import Explanation, explain
from spir.engine.ruleset import RuleSet, Site
from spir.engine.ruling import rule
from spir.errors import Unauthenticated, Unavailable
from spir.exchange import Credentials, Durable, Identity, Record, Ruling
from spir.language.document import read_documents
from spir.language.vocabulary import Vocabulary
from spir.model.decision import Decision
from spir.model.facts import Assert, Fact, FactStore, Snapshot
from spir.model.request import Entity, Request
from spir.record.event import AuditEvent
from tests.given import NOON

PEP = Entity("system", "pep", {"role": "enforcement"})
OPS = Entity("system", "ops", {"role": "operator"})
GUEST = Entity("system", "guest")
DR_LI = Entity("person", "dr.li", {"role": "physician", "department": "cardiology"})
DR_WU = Entity("person", "dr.wu", {"role": "physician"})

POLICIES = """\
spir: "1"
kind: PolicySet
name: hospital
layer: institution
jurisdiction: cn/test
version: 1.0.0
policies:
  - id: enforcement-points-may-ask
    effect: permit
    operations: ["execute:policy", "read:policy:metrics"]
    when: subject.type == "system" && subject.role == "enforcement"
  - id: operators-reload
    effect: permit
    operations: ["update:policy:reload"]
    when: subject.type == "system" && subject.role == "operator"
  - id: care-team-reads
    effect: permit
    operations: ["read:result", "read:patient"]
    when: subject.role == "physician" && subject.id in resource.patient.care_team
    obligations:
      - {id: hide-phone, type: mask, paths: ["patient.telecom"]}
  - id: physicians-see-plain-images
    effect: permit
    operations: ["search:imaging"]
    when: subject.role == "physician" && resource.modality in ["CR", "DX"]
  - id: office-hours
    effect: permit
    operations: ["view:report"]
    when: time.between("08:00", "18:00")
  - id: nobody-deletes-the-trail
    effect: deny
    operations: ["delete:audit"]
"""


@dataclass
class GivenPdp:
    """`adapters.authzen.port.PdpPort` in memory. `broken`: commits fail. `asked`: every request that was ruled on."""

    documents: tuple[str, ...] = (POLICIES,)
    organization: str = "cn/test"
    entities: Mapping[str, Entity] = field(
        default_factory=lambda: {one.id: one for one in (PEP, OPS, GUEST, DR_LI, DR_WU)}
    )
    resources: Mapping[str, Mapping[str, Entity]] = field(default_factory=dict)
    clock: datetime = NOON
    store: FactStore = field(default_factory=FactStore)
    problems: Mapping[str, str] = field(default_factory=dict)
    broken: bool = False
    asked: list[Request] = field(default_factory=list)
    coming: tuple[str, ...] | None = None
    refusing: Mapping[str, str] = field(default_factory=dict)
    generation: int = 0
    shown: list[Credentials] = field(default_factory=list)
    commits: list[tuple[Durable, ...]] = field(default_factory=list)

    @cached_property
    def _read(self) -> Any:
        files = {f"{number}.yaml": text for number, text in enumerate(self.documents)}
        return read_documents(files, vocabulary_text=default_vocabulary())

    @cached_property
    def rules(self) -> RuleSet:
        return RuleSet.of(self._read.policy_sets, self._read.fingerprint, Site(self.organization))

    @property
    def bundle(self) -> str:
        return self.rules.fingerprint

    @property
    def vocabulary(self) -> Vocabulary:
        return self._read.vocabulary

    @property
    def snapshot(self) -> Snapshot:
        return self.store.snapshot

    def now(self) -> datetime:
        return self.clock

    def identify(self, credentials: Credentials) -> Identity:
        """A token is the id of an entry of the directory."""
        self.shown.append(credentials)
        if credentials.bearer not in self.entities:
            raise Unauthenticated("the token's subject is not in the directory")
        return Identity(self.entities[credentials.bearer], "given")

    def decide(self, request: Request) -> Decision:
        return self.rule(request).decision

    def rule(self, request: Request) -> Ruling:
        self.asked.append(request)
        return rule(self.rules, request, self.snapshot, self.clock)

    def explain(self, request: Request, over: Callable[[], bool]) -> Explanation:
        return explain(self.rules, request, self.snapshot, self.clock)

    async def reload(self) -> bool:
        """Other rules, if there are any that wait; what is wrong with them stays in `problems`."""
        await asyncio.sleep(0)
        if self.coming is None:
            return False
        documents, self.problems = self.coming, dict(self.refusing)
        if not self.problems:
            self.documents, self.generation = documents, self.generation + 1
            vars(self).pop("_read", None), vars(self).pop("rules", None)
        return not self.problems

    @cached_property
    def trail(self) -> tuple[apsw.Connection, Journal]:
        """What is recorded is really written: whatever can be asked must be fit for that."""
        connection, journal = apsw.Connection(":memory:"), Journal(Pseudonyms(bytes(32)))
        journal.prepare(connection)
        return connection, journal

    async def commit(self, *items: Durable) -> int:
        await asyncio.sleep(0)
        if self.broken:
            raise Unavailable("the database cannot be written")
        connection, journal = self.trail
        journal.append(connection, *[item.event for item in items if isinstance(item, Record)])
        self.commits.append(items)
        return self.snapshot.revision

    def health(self) -> Mapping[str, str]:
        return self.problems

    def measures(self) -> Iterable[Measure]:
        return [Measure("spir_outbox_waiting", 3, {"channel": "alert"}, help="notifications that wait")]

    # -- for tests -----------------------------------------------------------------------------

    @property
    def events(self) -> list[AuditEvent]:
        """What the audit trail was told, in order."""
        return [item.event for items in self.commits for item in items if isinstance(item, Record)]

    def learn(self, patient: str, **attributes: Any) -> None:
        self.store.apply(
            Assert(Fact(("patient", patient), name, value, "test", NOON)) for name, value in attributes.items()
        )


@dataclass(frozen=True)
class Reply:
    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def pdp(port: GivenPdp | None = None, **config: Any) -> Pdp:
    return Pdp(PdpConfig(**{"page_key": bytes(32), **config}), port or GivenPdp())


async def ask(
    app: Pdp,
    method: str,
    path: str,
    body: Any = None,
    *,
    bearer: str = "pep",
    headers: Iterable[tuple[str, str]] = (),
    client: str = "127.0.0.1",
    type: str = "application/json",
) -> Reply:
    """One HTTP call, without a socket. A body that is not bytes is sent as JSON; no `bearer`, no token."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    given = [("content-type", type)] if type and method == "POST" else []
    given += [("authorization", f"Bearer {bearer}")] if bearer else []
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "client": (client, 40000) if client else None,
        "state": {UNIX: not client},
        "headers": [(name.lower().encode(), text.encode("latin-1")) for name, text in (*given, *headers)],
    }
    halves = [raw[: len(raw) // 2], raw[len(raw) // 2 :]]
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "http.request", "body": halves.pop(0), "more_body": bool(halves)}

    async def send(message: Any) -> None:
        sent.append(message)

    await app(scope, receive, send)
    start, end = sent
    return Reply(start["status"], {n.decode(): t.decode("latin-1") for n, t in start["headers"]}, end["body"])


def call(app: Pdp, *args: Any, **more: Any) -> Reply:
    return asyncio.run(ask(app, *args, **more))


def evaluation(subject: str = "dr.li", action: str = "read", resource: str = "result", **properties: Any) -> Any:
    """An evaluation about the patient HIS|P001, unless `patient` says otherwise."""
    patient = properties.pop("patient", {"id": "HIS|P001"})
    return {
        "subject": {"type": "person", "id": subject},
        "action": {"name": action},
        "resource": {"type": resource, "id": "r1", "properties": {"patient": patient, **properties}},
    }
