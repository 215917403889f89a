"""What FHIR tests are given: a small upstream in memory, resources, and a way to run a session without sockets."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

from adapters.fhir import interaction
from adapters.fhir.facade import load_tables
from adapters.fhir.outcome import Response
from adapters.fhir.paging import Sealer
from adapters.fhir.peer import Ask, Heard
from adapters.fhir.rows import Reading
from adapters.fhir.session import serve
from adapters.fhir.steps import Call, Site
from spir.exchange import Answer, AskPeer, Commit, Decide
from spir.model.condition import And, Attribute, Condition, Has
from spir.model.decision import ADMIT_ALL, Atom, Clause, Decision, Effect, Residual
from spir.model.obligation import Obligation
from spir.model.request import Entity, Request
from tests.given import DR_LI, HIS, NOON, GivenRuling

TABLES = load_tables()
UPSTREAM = "http://upstream.test/fhir"
OURS = "https://gateway.test"
JSON = {"content-type": "application/fhir+json"}


# What a ruling looks at: the rows of its judge have these properties and no others.
ASKED: Condition = And(tuple(Has(Attribute(f"resource.{name}")) for name in ("patient.id", "status", "labels")))


def patient(id: str, value: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, "identifier": [{"system": "urn:oid:1.2.3", "value": value}], **more}


def observation(id: str, subject: str, **more: Any) -> dict[str, Any]:
    body = {"status": "final", "code": {"text": "glucose"}, "subject": {"reference": f"Patient/{subject}"}}
    return {"resourceType": "Observation", "id": id, **body, **more}


def mask(*paths: str) -> Obligation:
    return Obligation("mask", "mask", {"paths": paths})


def ward(
    patients: Iterable[str] = ("HIS|P001",),
    *obligations: Obligation,
    kinds: Mapping[str, str] | None = None,
    bundle: str = "b1",
) -> Callable[[Request], GivenRuling]:
    """A ruler: rows of these patients are admitted; `kinds` maps operations that are denied to a reason."""
    allowed = tuple(patients)
    residual = Residual(ASKED, (Clause((Atom("resource.patient.id", "in", allowed),)),))

    def rule(request: Request) -> GivenRuling:
        if kinds and request.operation in kinds:
            return GivenRuling(Decision(Effect.DENY, request.operation, bundle=bundle), request)
        decision = Decision(Effect.CONDITIONAL, request.operation, residual, obligations, bundle=bundle)
        return GivenRuling(decision, request, lambda row: (row.get("patient") or {}).get("id") in allowed)

    return rule


def everything(*obligations: Obligation) -> Callable[[Request], GivenRuling]:
    def rule(request: Request) -> GivenRuling:
        decision = Decision(Effect.PERMIT, request.operation, ADMIT_ALL, obligations, bundle="b1")
        return GivenRuling(decision, request)

    return rule


@dataclass
class GivenUpstream:
    """An R4 server as far as sessions ask for it: versions, simple search, paging, If-Match."""

    held: dict[tuple[str, str], list[dict[str, Any]]] = field(default_factory=dict)
    asked: list[Ask] = field(default_factory=list)
    meanwhile: Callable[[], None] = lambda: None  # what happens while it thinks
    page: int = 1000  # the most it puts on one page

    def put(self, *resources: dict[str, Any]) -> GivenUpstream:
        for resource in resources:
            versions = self.held.setdefault((resource["resourceType"], resource["id"]), [])
            stored = copy.deepcopy(resource)
            stored.setdefault("meta", {})["versionId"] = str(len(versions) + 1)
            stored["meta"]["lastUpdated"] = "2026-11-21T10:00:00.000Z"
            versions.append(stored)
        return self

    def current(self, type: str, id: str) -> dict[str, Any] | None:
        versions = self.held.get((type, id), [])
        return versions[-1] if versions and versions[-1] else None

    def answer(self, ask: Ask) -> Heard:
        self.asked.append(ask)
        self.meanwhile()
        path, _, query = ask.target.partition("?")
        steps = path.split("/")
        match (ask.method, steps):
            case ("GET", [type]):
                return self._search(type, parse_qsl(query))
            case ("GET", [type, id]):
                return _found(self.current(type, id))
            case ("GET", [type, id, "_history", version]):
                versions = self.held.get((type, id), [])
                return _found(next((v for v in versions if v and v["meta"]["versionId"] == version), None))
            case ("POST", [type]):
                made = {**json.loads(ask.body), "id": f"new-{len(self.asked)}"}
                self.put(made)
                return Heard(201, json.dumps(self.current(type, made["id"])).encode())
            case ("PUT", [type, id]):
                if self.current(type, id)["meta"]["versionId"] != ask.if_match:
                    return Heard(412)
                self.put(json.loads(ask.body))
                return _found(self.current(type, id))
            case ("DELETE", [type, id]):
                self.held[type, id].append({})
                return Heard(204)
        raise AssertionError(f"the upstream was asked for {ask}")

    def _search(self, type: str, query: list[tuple[str, str]]) -> Heard:
        found = [self.current(*key) for key in self.held if key[0] == type and self.current(*key)]
        count, offset = self.page, 0
        for name, value in query:
            if name == "_count":
                count = min(count, int(value))
            elif name == "_offset":
                offset = int(value)
            else:
                found = [resource for resource in found if _matches(resource, name, value.split(","))]
        link = []
        if offset + count < len(found):
            link = [{"relation": "next", "url": f"{UPSTREAM}/{type}?{_again(query)}_offset={offset + count}"}]
        entry = [{"fullUrl": f"{UPSTREAM}/x", "resource": item} for item in found[offset : offset + count]]
        body = {"resourceType": "Bundle", "type": "searchset", "total": len(found), "link": link, "entry": entry}
        return Heard(200, json.dumps(body).encode())


@dataclass
class Played:
    """A session that has ended: its answer, what was committed, and what was decided."""

    response: Response
    committed: list[Any]
    decided: list[Request]

    @property
    def status(self) -> int:
        return self.response.status

    @property
    def json(self) -> Any:
        return json.loads(self.response.body)

    @property
    def header(self) -> dict[str, str]:
        return dict(self.response.headers)

    @property
    def events(self) -> list[Any]:
        return [item.event for item in self.committed if hasattr(item, "event")]

    @property
    def ids(self) -> list[str]:
        return [entry["resource"]["id"] for entry in self.json.get("entry", [])]


@dataclass
class Desk:
    """The facade's sessions with everything around them given."""

    ruler: Callable[[Request], Any]
    upstream: GivenUpstream
    site: Site = field(default_factory=lambda: given_site())
    now: Any = NOON

    def play(
        self,
        method: str,
        url: str,
        body: Any = None,
        headers: Mapping[str, str] | None = None,
        subject: Entity = DR_LI,
        fail: Mapping[type, Exception] | None = None,
    ) -> Played:
        """One request; `fail`: what the shell raises at a command of that kind."""
        path, _, query = url.partition("?")
        found = interaction.read(method, path.encode(), query.encode(), TABLES.types)
        raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        call = Call(found, subject, {"protocol": "fhir"}, self.now, {**(JSON if raw else {}), **(headers or {})}, raw)
        return self._run(serve(call, self.site), fail or {})

    def _run(self, session: Any, fail: Mapping[type, Exception]) -> Played:
        answers, committed, decided, event = [], [], [], None
        command = next(session)
        while True:
            try:
                if type(command) in fail:
                    command = session.throw(fail[type(command)])
                    continue
                match command:
                    case Decide(request):
                        decided.append(request)
                        event = self.ruler(request)
                    case AskPeer(message):
                        event = self.upstream.answer(message)
                    case Commit(items):
                        committed.extend(items)
                        event = 1
                    case Answer(message):
                        answers.append(message)
                        event = None
                command = session.send(event)
            except StopIteration:
                break
        assert len(answers) == 1
        return Played(answers[0], committed, decided)


def given_site(**more: Any) -> Site:
    counter = iter(range(1, 1000))
    reading = Reading(TABLES, HIS, UPSTREAM, lambda reference: {"Practitioner/li": "dr.li"}.get(reference))
    return Site(reading, OURS, Sealer(b"k" * 32, lambda: next(counter).to_bytes(12, "big")), **more)


def _found(resource: dict[str, Any] | None) -> Heard:
    return (
        Heard(404, b'{"resourceType":"OperationOutcome"}')
        if not resource
        else Heard(200, json.dumps(resource).encode())
    )


def _matches(resource: dict[str, Any], name: str, values: list[str]) -> bool:
    match name:
        case "_id":
            return resource["id"] in values
        case "identifier":
            return any(f"{i.get('system')}|{i.get('value')}" in values for i in resource.get("identifier", []))
        case "patient":
            return resource.get("subject", {}).get("reference") in values
        case "status":
            return resource.get("status") in values
    return True  # a lenient server: it ignores what it does not know


def _again(query: list[tuple[str, str]]) -> str:
    return "".join(f"{name}={value}&" for name, value in query if name != "_offset")
