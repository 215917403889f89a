"""The facade in front of a FHIR server that is not ours: one test for every known way of leaking.

The numbers are those of the project's list of leak vectors. `straight` sends
the same request to the upstream itself: where that tells what the facade must
not tell, it is asserted, so that no test passes because there was nothing to
leak.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import socket
import ssl
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import pytest
import trustme

from adapters.fhir.facade import Facade, FacadeConfig
from adapters.fhir.upstream import UpstreamConfig
from spir.errors import Unavailable
from spir.exchange import Record
from spir.model.condition import And, Attribute, Has
from spir.model.decision import Atom, Clause, Decision, Effect, Residual
from spir.model.obligation import Obligation
from spir.model.request import Entity, Request
from spir.record.event import EventKind, Outcome
from tests.given import DR_LI, GivenRuling, GivenServices, deny
from tests.wire.npm_fhir import NpmFhir
from tests.wire.peers import free_port

pytestmark = [pytest.mark.wire, pytest.mark.peer("node")]

CARE = {"dr.li": ("HIS|P001",), "dr.wu": ("HIS|P002",), "dr.zhao": ("HIS|P001", "HIS|P002")}
CLOSED = {"consent", "device"}  # vocabulary types that are denied to everybody
MASKED = ("patient.telecom", "Patient.contact.telecom")
# What a ruling looks at: the rows of its judge have these properties and no others.
ASKED = And(tuple(Has(Attribute(f"resource.{name}")) for name in ("patient.id", "labels", "sensitivity")))
PHONE, KIN = "555-0101-1234", "777-0101-1234"


def patient(id: str, value: str, **more: Any) -> dict[str, Any]:
    return {"resourceType": "Patient", "id": id, "identifier": [{"system": "urn:oid:1.2.3", "value": value}], **more}


def observation(id: str, subject: str, **more: Any) -> dict[str, Any]:
    body = {"status": "final", "code": {"text": "glucose"}, "subject": {"reference": f"Patient/{subject}"}}
    return {"resourceType": "Observation", "id": id, **body, **more}


CHART = [
    patient(
        "p1",
        "P001",
        name=[{"family": "Lindqvist"}],
        telecom=[{"system": "phone", "value": PHONE}],
        contact=[{"name": {"text": "mother"}, "telecom": [{"system": "phone", "value": KIN}]}],
        text={"status": "generated", "div": f"<div>{PHONE}</div>"},
        generalPractitioner=[{"reference": "Practitioner/d1", "display": f"call {PHONE}"}],
    ),
    patient("p2", "P002", name=[{"family": "Hidden"}], telecom=[{"system": "phone", "value": "555-0202-1234"}]),
    {"resourceType": "Practitioner", "id": "d1", "name": [{"family": "Who"}]},
    observation("o1", "p1", valueQuantity={"value": 6.3, "unit": "mmol/l"}),
    observation("o2", "p2", valueQuantity={"value": 9.9, "unit": "mmol/l"}),
    {"resourceType": "Consent", "id": "c1", "status": "active", "patient": {"reference": "Patient/p1"}},
    {"resourceType": "Encounter", "id": "e2", "status": "finished", "subject": {"reference": "Patient/p2"}},
    {"resourceType": "Binary", "id": "b2", "contentType": "text/plain", "data": "SGlkZGVu"},
]


@dataclass
class Reply:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def ids(self) -> list[str]:
        return [entry["resource"]["id"] for entry in self.json.get("entry") or []]

    @property
    def code(self) -> str:
        return str(self.json["issue"][0]["code"])

    @property
    def plain(self) -> tuple[Any, ...]:
        """All that an observer can compare: everything but what is new with every answer."""
        volatile = ("date", "x-request-id", "traceparent")
        return self.status, self.body, {name: text for name, text in self.headers.items() if name not in volatile}


def request(port: int, method: str, path: str, body: Any = None, headers: Mapping[str, str] | None = None) -> Reply:
    """One request with the path exactly as it is written."""
    raw = body if isinstance(body, bytes) else None if body is None else json.dumps(body).encode()
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    try:
        connection.putrequest(method, path, skip_accept_encoding=True)
        given = {"Content-Type": "application/fhir+json"} if raw is not None else {}
        given.update(headers or {})
        if raw is not None:
            given["Content-Length"] = str(len(raw))
        for name, value in given.items():
            connection.putheader(name, value)
        connection.endheaders(raw)
        answer = connection.getresponse()
        return Reply(answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read())
    finally:
        connection.close()


class Ward:
    """The ruler: the patients of one's care team, masked; closed types for nobody. Tests may set `rule` for a while."""

    def __init__(self) -> None:
        self.rule = self.care
        self.masks = MASKED
        self.asked: list[Request] = []

    def __call__(self, asked: Request) -> Any:
        self.asked.append(asked)
        return self.rule(asked)

    def care(self, asked: Request) -> Any:
        if asked.resource.type in CLOSED:
            return deny(asked, bundle="b1")
        mine = CARE[asked.subject.id]
        residual = Residual(ASKED, (Clause((Atom("resource.patient.id", "in", mine),)),))
        mask = (Obligation("mask", "mask", {"paths": self.masks}),)
        decision = Decision(Effect.CONDITIONAL, asked.operation, residual, mask, bundle="b1")
        staff = asked.resource.type == "staff"
        return GivenRuling(decision, asked, lambda row: staff or (row.get("patient") or {}).get("id") in mine)


class Running:
    """A facade in a thread of its own, with a loop of its own."""

    def __init__(
        self, upstream: str, services: GivenServices, tls: ssl.SSLContext | None = None, **config: Any
    ) -> None:
        self.services = services
        self.loop = asyncio.new_event_loop()
        self.facade = Facade(FacadeConfig(UpstreamConfig(upstream, timeout=10), port=0, **config), services, tls)
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.call(self.facade.start())

    @property
    def port(self) -> int:
        return self.facade.port

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def stop(self) -> None:
        self.call(self.facade.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()


class Place:
    """The facade, its upstream, and both ways to ask."""

    def __init__(self, upstream: NpmFhir, running: Running, ward: Ward) -> None:
        self.upstream, self.running, self.ward = upstream, running, ward
        self.base = f"http://127.0.0.1:{running.port}"

    def ask(self, method: str, path: str, body: Any = None, who: str = "dr.li", **headers: str) -> Reply:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return request(self.running.port, method, path, body, {"Authorization": f"Bearer {who}", **named})

    def straight(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        named = {name.replace("_", "-"): text for name, text in headers.items()}
        return request(self.upstream.port, method, path, body, named)

    def put(self, *resources: dict[str, Any]) -> None:
        self.upstream.fill(resources)

    def events(self) -> list[Any]:
        """What was recorded since the last time somebody asked."""
        committed = self.running.services.committed
        found = [item.event for item in committed if isinstance(item, Record)]
        committed.clear()
        return found

    def refused(self, method: str, path: str, body: Any = None, **headers: str) -> Reply:
        """A request that must be refused, recorded, and never reach the upstream."""
        self.upstream.seen()
        self.events()
        reply = self.ask(method, path, body, **headers)
        assert 400 <= reply.status < 500, reply
        assert reply.json["resourceType"] == "OperationOutcome"
        assert self.upstream.seen() == []
        assert [event.outcome for event in self.events()] == [Outcome.REFUSED]
        return reply


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    upstream = NpmFhir(tmp_path_factory.mktemp("facade")).start()
    try:
        upstream.fill(CHART)
        ward = Ward()
        people = {name: Entity("person", name, DR_LI.properties) for name in CARE}
        running = Running(upstream.base, GivenServices(ruler=ward, people=people))
        try:
            yield Place(upstream, running, ward)
        finally:
            running.stop()
    finally:
        upstream.stop()


@pytest.fixture
def place(started: Place) -> Place:
    started.ward.rule, started.ward.masks = started.ward.care, MASKED
    started.ward.asked.clear()
    started.events()
    return started


# -- reads and existence ---------------------------------------------------------------------


def test_01_a_resource_of_somebody_elses_patient_is_not_read_by_its_id(place):
    assert b"Hidden" in place.straight("GET", "/Patient/p2").body
    for path in ("/Patient/p2", "/Observation/o2", "/Encounter/e2"):
        assert place.ask("GET", path).status == 404
    assert place.ask("GET", "/Observation/o1").json["valueQuantity"]["value"] == 6.3
    assert place.ask("GET", "/Patient/p2", who="dr.wu").json["name"] == [{"family": "Hidden"}]


def test_02_invisible_deleted_and_absent_are_one_answer(place):
    place.put(observation("gone", "p1"))
    place.upstream.request("DELETE", "/Observation/gone")
    assert place.straight("GET", "/Observation/o2").status == 200
    answers = [place.ask("GET", f"/Observation/{id}") for id in ("o2", "gone", "never")]
    assert answers[0].plain == answers[1].plain == answers[2].plain
    assert not answers[0].headers.keys() & {"etag", "last-modified", "location", "content-location"}


def test_03_a_version_that_was_open_then_is_closed_with_the_current_one(place):
    place.put(observation("moved", "p1"))
    then = place.straight("GET", "/Observation/moved").json["meta"]["versionId"]
    assert place.ask("GET", f"/Observation/moved/_history/{then}").status == 200
    place.put(observation("moved", "p2"))
    assert place.straight("GET", f"/Observation/moved/_history/{then}").status == 200
    assert place.ask("GET", f"/Observation/moved/_history/{then}").plain == place.ask("GET", "/Observation/never").plain
    assert place.ask("GET", f"/Observation/moved/_history/{then}", who="dr.wu").status == 404  # it was not theirs then
    now = place.straight("GET", "/Observation/moved").json["meta"]["versionId"]
    assert place.ask("GET", f"/Observation/moved/_history/{now}", who="dr.wu").status == 200


def test_04_history_is_refused_at_every_level(place):
    assert place.straight("GET", "/Observation/o2/_history").status == 200
    for path in ("/Observation/o1/_history", "/Observation/_history", "/_history", "/Observation/o1/_history?_count=1"):
        place.refused("GET", path)


def test_05_head_and_conditional_reads_tell_nothing_of_what_is_invisible(place):
    tag = place.straight("GET", "/Observation/o2").headers["etag"]
    for conditions in (
        {},
        {"If_None_Match": tag},
        {"If_None_Match": "*"},
        {"If_Modified_Since": "Fri, 1 Jan 2100 00:00:00 GMT"},
    ):
        for method in ("HEAD", "GET"):
            hidden = place.ask(method, "/Observation/o2", **conditions)
            assert hidden.plain == place.ask(method, "/Observation/never", **conditions).plain
            assert hidden.status == 404
    seen = place.ask("GET", "/Observation/o1")
    head = place.ask("HEAD", "/Observation/o1")
    assert (head.status, head.body, head.headers["content-length"]) == (200, b"", str(len(seen.body)))
    assert place.ask("GET", "/Observation/o1", If_None_Match=seen.headers["etag"]).status == 304


def test_06_a_forbidden_type_is_403_whether_or_not_there_is_anything(place):
    assert place.straight("GET", "/Consent").ids == ["c1"]
    paths = (
        "/Consent",
        "/Consent?patient=Patient/p1",
        "/Consent?patient=Patient/never",
        "/Consent/c1",
        "/Consent/never",
    )
    answers = [place.refused("GET", path) for path in paths]
    assert all(answer.plain == answers[0].plain for answer in answers)
    assert (answers[0].status, answers[0].code) == (403, "forbidden")


def test_07_invisible_and_absent_cost_the_upstream_the_same(place):
    place.ask("GET", "/Observation/o2")  # whose it is has been asked for a moment ago
    asked = []
    for id in ("o2", "never"):
        place.upstream.seen()
        place.ask("GET", f"/Observation/{id}")
        asked.append(len(place.upstream.seen()))
    assert asked == [1, 1]


# -- search ----------------------------------------------------------------------------------


def test_08_nothing_is_included(place):
    leaking = place.straight("GET", "/Observation?_id=o2&_include=Observation:subject")
    assert "p2" in leaking.ids
    for query in (
        "_include=Observation:subject",
        "_include=*",
        "_include=*:*",
        "_revinclude=Observation:subject",
        "_revinclude:iterate=Observation:subject",
        "_include:recurse=Observation:subject",
    ):
        assert place.refused("GET", f"/Observation?_id=o1&{query}").status == 400


def test_09_nor_by_another_spelling(place):
    assert "p2" in place.straight("GET", "/Observation?_id=o2&%5Finclude=Observation:subject").ids
    for name in (
        "_include:iterate",
        "%5Finclude",
        "_INCLUDE",
        "_include%3Aiterate",
        "+_include",
        "_include%00",
        "_include.x",
    ):
        place.refused("GET", f"/Observation?_id=o1&{name}=Observation:subject")


def test_10_chains_are_refused(place):
    assert place.straight("GET", "/Observation?subject:Patient.phone=555-0202-1234").ids[0] == "o2"
    for query in (
        f"subject:Patient.phone={PHONE}",
        f"patient.phone={PHONE}",
        "subject.name=Lindqvist",
        "subject%3APatient%2Ename=a",
        "encounter.subject.name=a",
        "subject:Consent.status=active",
        "patient:identifier=urn:oid:1.2.3|P002",
    ):
        place.refused("GET", f"/Observation?{query}")


def test_11_reverse_chains_are_refused(place):
    for name in (
        "_has:Observation:patient:code",
        "_has:Consent:patient:_has:X:y:z",
        "_has",
        "%5Fhas:Observation:patient:code",
    ):
        place.refused("GET", f"/Patient?{name}=x")


def test_12_what_is_masked_is_neither_searched_nor_sorted_by(place):
    assert place.straight("GET", f"/Patient?phone={PHONE}").ids == ["p1"]
    assert place.straight("GET", "/Patient?phone=1").ids == []
    for query in (
        f"phone={PHONE}",
        "phone=1",
        "telecom:missing=false",
        "email:not=x",
        "_sort=phone",
        "_sort=family,-telecom",
    ):
        reply = place.refused("GET", f"/Patient?{query}")
        assert (reply.status, reply.code) == (403, "security")
    place.ward.masks = ("patient.birth_date",)
    for query in ("birthdate=gt1980-01-01", "birthdate=lt1980-01-01", "_sort=birthdate"):
        assert place.refused("GET", f"/Patient?{query}").status == 403


def test_13_nor_are_values_in_pieces(place):
    place.ward.masks = ("result.value",)
    for query in (
        "value-quantity=gt9",
        "combo-value-quantity=gt9",
        "value-string=x",
        "value-concept=x",
        "_sort=value-date",
    ):
        assert place.refused("GET", f"/Observation?{query}").status == 403
    for query in ("code-value-quantity=glucose$gt9", "component-code-value-quantity=x$gt9"):
        place.refused("GET", f"/Observation?{query}")


def test_14_text_filters_named_queries_and_lists_are_refused(place):
    names = ["_text", "_content", "_filter", "_query", "_list", "_in", "_type", "_has", "_contained"]
    names += ["_containedType", "_source", "_score"]
    for name in names:
        place.refused("GET", f"/Patient?{name}=x")
    place.refused("GET", "/?_type=Patient,Observation")
    place.refused("POST", "/_search", b"_type=Patient", Content_Type="application/x-www-form-urlencoded")


def test_15_counts_are_not_given(place):
    assert place.straight("GET", "/Observation?_summary=count").json["total"] >= 2
    for query in ("_summary=count", "_total=accurate", "_total=estimate", "_count=0"):
        assert place.refused("GET", f"/Observation?{query}").status == 403
    shown = place.ask("GET", "/Observation?_id=o1,o2")
    assert (shown.ids, shown.json["total"]) == (["o1"], 1)


def test_16_elements_do_not_take_the_filter_its_fields(place):
    place.upstream.seen()
    reply = place.ask("GET", "/Patient?_elements=telecom,gender")
    assert reply.ids == ["p1"] and PHONE not in reply.body.decode()
    assert "name" not in reply.json["entry"][0]["resource"]
    assert place.ask("GET", "/Observation?_elements=status").ids == ["o1"]
    assert place.ask("GET", "/Patient/p2?_elements=active").status == 404
    assert not any("_elements" in seen["url"] or "_summary" in seen["url"] for seen in place.upstream.seen())


def test_17_a_posted_search_is_read_in_its_url_and_in_its_form(place):
    form = {"Content_Type": "application/x-www-form-urlencoded"}
    assert place.ask("POST", "/Observation/_search?status=amended", b"code=glucose", **form).ids == []
    assert place.ask("POST", "/Observation/_search?_id=o1", b"status=final", **form).ids == ["o1"]
    assert place.ask("POST", "/Observation/_search", b"patient=Patient/p2", **form).ids == []
    for path, body in (
        ("/Observation/_search?_count=1", b"_count=2"),
        ("/Observation/_search?_include=x", b""),
        ("/Observation/_search", b"%5finclude=Observation:subject"),
        ("/Observation/_search", b"status=final;_include=x&_revinclude=y"),
        ("/Observation/_search", b"Status=final"),
        ("/Observation/_search", b"_id=%zz"),
        ("/Patient/_search", b"phone=" + PHONE.encode()),
    ):
        place.refused("POST", path, body, **form)
    place.refused("POST", "/Observation/_search", {"status": "final"})


def test_18_compartments_are_refused(place):
    for path in ("/Patient/p1/Observation", "/Patient/p2/*", "/Patient/p1/Observation?code=x"):
        place.refused("GET", path)


def test_19_a_list_of_values_does_not_widen_what_was_narrowed(place):
    assert {"o1", "o2"} <= set(place.straight("GET", "/Observation?patient=Patient/p1,Patient/p2").ids)
    for query in (
        "patient=Patient/p1,Patient/p2",
        "patient=Patient/p2,Patient/p1&patient=Patient/p1,Patient/p2",
        "subject=Patient/p2,Patient/p1",
        "_id=o1,o2",
    ):
        assert set(place.ask("GET", f"/Observation?{query}&_id=o1,o2").ids) == {"o1"}
    assert place.ask("GET", "/Patient?_id=p1,p2").ids == ["p1"]


def test_20_a_parameter_nobody_knows_is_not_ignored(place):
    assert place.straight("GET", "/Observation?pacient=Patient/p1").status == 200
    assert place.running.facade.upstream.lenient is True
    place.refused("GET", "/Observation?pacient=Patient/p1")


def test_21_a_next_link_is_good_for_its_owner_and_its_policy_only(place):
    place.put(*(observation(f"page{number}", "p1", status="amended") for number in range(4)))
    leaking = [link["url"] for link in place.straight("GET", "/Observation?_count=1").json["link"]]
    assert any("_offset" in url for url in leaking)
    first = place.ask("GET", "/Observation?status=amended&_count=2&_sort=_id")
    (link,) = [link["url"] for link in first.json["link"] if link["relation"] == "next"]
    assert link.startswith(f"{place.base}/Observation?_page=") and "Patient" not in link
    path = link.removeprefix(place.base)
    assert len(first.ids) == 2 and not set(place.ask("GET", path).ids) & set(first.ids)
    for spoiled in (path[:-6] + "AAAAAA", path + "&_count=100", path.replace("Observation", "Encounter"), path + "A"):
        assert place.ask("GET", spoiled).status in (400, 404)
    assert place.ask("GET", path, who="dr.wu").status == 404
    place.ward.rule = lambda asked: deny(asked, bundle="b1")
    assert place.ask("GET", path).status == 403
    changed = {"bundle": "b2"}
    place.ward.rule = lambda asked: GivenRuling(
        Decision(Effect.PERMIT, asked.operation, place.ward.care(asked).decision.residual, **changed), asked
    )
    assert place.ask("GET", path).status == 404
    for url in ("/Observation?_getpages=1", "/Observation?_offset=2", "/Observation?_cursor=1", "/?_getpages=1"):
        place.refused("GET", url)


def test_22_no_url_of_the_upstream_is_seen(place):
    theirs = place.upstream.base
    place.put(
        observation(
            "linked", "p1", derivedFrom=[{"reference": f"{theirs}/Observation/o1"}], note=[{"text": f"see {theirs}/x"}]
        )
    )
    assert theirs.encode() in place.straight("GET", "/Observation/linked").body
    answers = [
        place.ask("GET", "/Observation/linked"),
        place.ask("GET", "/Observation?_id=linked"),
        place.ask("POST", "/Observation", observation("x", "p1")),
        place.ask("GET", "/Observation/never"),
        place.ask("GET", "/metadata"),
    ]
    for answer in answers:
        assert str(place.upstream.port).encode() not in answer.body
        assert not any(str(place.upstream.port) in text for text in answer.headers.values())
    assert answers[0].json["derivedFrom"] == [{"reference": f"{place.base}/Observation/o1"}]
    assert answers[1].json["entry"][0]["fullUrl"] == f"{place.base}/Observation/linked"


def test_23_nothing_is_kept_for_the_next_one(place):
    path = "/Patient?_id=p1,p2"
    for _ in range(2):
        assert place.ask("GET", path).ids == ["p1"]
        assert place.ask("GET", path, who="dr.wu").ids == ["p2"]
        assert place.ask("GET", path, who="dr.zhao").ids == ["p1", "p2"]
    for reply in (place.ask("GET", path), place.ask("GET", "/Patient/p1"), place.ask("GET", "/Patient/p2")):
        assert reply.headers["cache-control"] == "no-store"


# -- content ---------------------------------------------------------------------------------


def test_24_contained_resources_are_decided_and_masked_as_what_they_are(place):
    inner = [
        {"resourceType": "Device", "id": "d", "serialNumber": "closed-type"},
        {"resourceType": "Person", "id": "x", "name": [{"family": "not-served"}]},
        patient("q", "P001", telecom=[{"value": PHONE}]),
    ]
    place.put(observation("boxed", "p1", contained=inner))
    for word in (b"closed-type", b"not-served", PHONE.encode()):
        assert word in place.straight("GET", "/Observation/boxed").body
        assert word not in place.ask("GET", "/Observation/boxed").body
        assert word not in place.ask("GET", "/Observation?_id=boxed").body
    assert [item["id"] for item in place.ask("GET", "/Observation/boxed").json["contained"]] == ["q"]


def test_25_narrative_displays_and_extensions_do_not_repeat_what_is_hidden(place):
    place.put(
        patient("echo", "P001", telecom=[{"value": PHONE}], extension=[{"url": "http://x", "valueString": PHONE}])
    )
    for id in ("p1", "echo"):
        assert PHONE.encode() in place.straight("GET", f"/Patient/{id}").body
        assert PHONE.encode() not in place.ask("GET", f"/Patient/{id}").body
    place.put({**observation("named", "p1"), "subject": {"reference": "Patient/p1", "display": "Lindqvist"}})
    place.ward.masks = ("patient.name",)
    assert b"Lindqvist" in place.straight("GET", "/Observation/named").body
    assert b"Lindqvist" not in place.ask("GET", "/Observation/named").body


def test_26_a_choice_is_hidden_in_every_form(place):
    place.ward.masks = ("Observation.value[x]",)
    forms = [
        {"valueQuantity": {"value": 77}},
        {"valueString": "77"},
        {"_valueString": {"id": "77"}},
        {"valueInteger": 77},
    ]
    for form in forms:
        place.put(observation("chosen", "p1", **form))
        assert b"77" in place.straight("GET", "/Observation/chosen").body
        assert not any("value" in name for name in place.ask("GET", "/Observation/chosen").json)


def test_27_a_mask_goes_through_arrays_and_makes_no_parents(place):
    assert KIN.encode() in place.straight("GET", "/Patient/p1").body
    assert place.ask("GET", "/Patient/p1").json["contact"] == [{"name": {"text": "mother"}}]
    assert "contact" not in place.ask("GET", "/Patient/echo").json


def test_28_labels_reach_the_policy_and_no_label_is_no_label(place):
    system = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
    codes = [{"system": system, "code": "N"}, {"system": system, "code": "R"}, {"code": "HOME"}]
    label = {"security": codes}
    place.put(observation("labelled", "p1", meta=label))
    rows: list[Mapping[str, Any]] = []

    def rule(asked: Request) -> Any:
        ruling = place.ward.care(asked)
        return GivenRuling(ruling.decision, asked, lambda row: rows.append(row) or row["sensitivity"] != 4)

    place.ward.rule = rule
    assert place.straight("GET", "/Observation/labelled").status == 200
    assert place.ask("GET", "/Observation/labelled").status == 404
    assert rows[-1]["labels"] == ["N", "R", "restricted", "HOME"]
    assert place.ask("GET", "/Observation/o1").status == 200
    assert (rows[-1]["labels"], rows[-1]["sensitivity"]) == ([], None)


def test_29_binaries_are_not_served(place):
    assert b"SGlkZGVu" in place.straight("GET", "/Binary/b2").body
    for path in ("/Binary/b2", "/Media/1", "/Binary"):
        place.refused("GET", path)
    place.ward.masks = ("document.content",)
    place.put(
        {
            "resourceType": "DocumentReference",
            "id": "doc",
            "status": "current",
            "subject": {"reference": "Patient/p1"},
            "content": [{"attachment": {"url": f"{place.upstream.base}/Binary/b2"}}],
        }
    )
    assert "content" not in place.ask("GET", "/DocumentReference/doc").json
    place.ward.masks = MASKED
    (content,) = place.ask("GET", "/DocumentReference/doc").json["content"]
    assert content["attachment"]["url"] == f"{place.base}/Binary/b2"


def test_30_lists_groups_and_events_do_not_point_at_what_is_invisible(place):
    place.put(
        {
            "resourceType": "List",
            "id": "l",
            "status": "current",
            "mode": "working",
            "entry": [{"item": {"reference": "Patient/p2"}}],
        },
        {
            "resourceType": "AuditEvent",
            "id": "a",
            "entity": [{"what": {"reference": "Patient/p1"}}, {"what": {"reference": "Patient/p2"}}],
        },
    )
    assert place.straight("GET", "/List/l").status == place.straight("GET", "/AuditEvent/a").status == 200
    for type in ("List", "Group", "Composition", "Bundle", "Provenance"):
        place.refused("GET", f"/{type}/l")
    assert place.ask("GET", "/AuditEvent/a").status == 404
    assert place.ask("GET", "/AuditEvent/a", who="dr.zhao").status == 200


# -- writes ----------------------------------------------------------------------------------


def stored(place: Place, path: str) -> Any:
    return place.straight("GET", path).json


def test_31_nothing_is_moved_out_of_ones_sight_or_into_it(place):
    place.put(observation("mine", "p1"), observation("theirs", "p2"))
    assert place.ask("PUT", "/Observation/mine", observation("mine", "p2")).status == 403
    assert place.ask("PUT", "/Observation/theirs", observation("theirs", "p1")).status == 404
    assert place.ask("POST", "/Observation", observation("x", "p2")).status == 403
    assert stored(place, "/Observation/mine")["subject"]["reference"] == "Patient/p1"
    assert stored(place, "/Observation/theirs")["subject"]["reference"] == "Patient/p2"
    assert place.straight("PUT", "/Observation/theirs", observation("theirs", "p1")).status == 200


def test_32_a_put_tells_nothing_of_an_invisible_id_and_creates_nothing(place):
    answers = [place.ask("PUT", f"/Observation/{id}", observation(id, "p1")) for id in ("o2", "never")]
    assert answers[0].plain == answers[1].plain and answers[0].status == 404
    assert place.straight("GET", "/Observation/never").status == 404
    assert place.straight("PUT", "/Observation/made-by-put", observation("made-by-put", "p1")).status == 200


def test_33_a_patch_is_refused_in_every_form(place):
    guess = [{"op": "test", "path": "/telecom/0/value", "value": PHONE}]
    assert place.straight("PATCH", "/Patient/p1", guess, Content_Type="application/json-patch+json").status == 200
    wrong = [{"op": "test", "path": "/telecom/0/value", "value": "no"}]
    assert place.straight("PATCH", "/Patient/p1", wrong, Content_Type="application/json-patch+json").status == 400
    for kind in ("application/json-patch+json", "application/fhir+json", "application/xml-patch+xml"):
        assert place.refused("PATCH", "/Patient/p1", guess, Content_Type=kind).status == 405
    place.refused("PATCH", "/Patient?identifier=1", guess)


def test_34_conditional_writes_are_refused(place):
    found = place.straight("POST", "/Patient", {"resourceType": "Patient"}, If_None_Exist="identifier=P002")
    assert (found.status, found.json["id"]) == (200, "p2")
    place.refused("POST", "/Patient", patient("x", "P002"), If_None_Exist="identifier=P002")
    place.refused("POST", "/Patient?identifier=P002", patient("x", "P002"))
    place.refused("PUT", "/Patient?identifier=P002", patient("p2", "P002"))
    place.refused("DELETE", "/Patient?identifier=P002")
    place.refused("DELETE", "/Patient/p2?_cascade=delete")


def test_35_match_urls_in_bodies_are_refused(place):
    body = observation("x", "p1", encounter={"reference": "Encounter?identifier=1"})
    assert place.straight("POST", "/Observation", body).status == 201
    assert place.ask("POST", "/Observation", body).status == 400
    body = {**observation("x", "p1"), "subject": {"reference": "Patient?identifier=P001"}}
    assert place.ask("POST", "/Observation", body).status == 403  # nobody's resource


def test_36_reading_changing_and_writing_destroys_nothing_hidden(place):
    whole = patient(
        "rmw",
        "P001",
        telecom=[{"system": "phone", "value": PHONE}],
        contact=[{"name": {"text": "mother"}, "telecom": [{"value": KIN}]}, {"name": {"text": "friend"}}],
    )
    place.put(whole)
    read = place.ask("GET", "/Patient/rmw")
    assert PHONE not in read.body.decode() and KIN not in read.body.decode()
    changed = {**read.json, "gender": "female"}
    straight = {name: value for name, value in changed.items() if name != "meta"}
    assert "telecom" not in place.straight("PUT", "/Patient/rmw", straight).json  # what happens without us
    place.put(whole)
    changed = {**place.ask("GET", "/Patient/rmw").json, "gender": "female"}
    reply = place.ask("PUT", "/Patient/rmw", changed)
    assert (reply.status, PHONE in reply.body.decode()) == (200, False)
    after = stored(place, "/Patient/rmw")
    assert (after["telecom"], after["contact"], after["gender"]) == (whole["telecom"], whole["contact"], "female")
    assert place.ask("PUT", "/Patient/rmw", {**changed, "telecom": []}).status == 403
    overtaken = place.ask("PUT", "/Patient/rmw", changed, If_Match='W/"another"')
    assert overtaken.status == 412


def test_37_a_body_refers_to_nothing_invisible_and_its_echo_is_masked(place):
    hidden = [
        place.ask("POST", "/Observation", observation("x", "p1", encounter={"reference": f"Encounter/{id}"}))
        for id in ("e2", "never")
    ]
    assert (
        place.straight(
            "POST", "/Observation", observation("free", "p1", encounter={"reference": "Encounter/e2"})
        ).status
        == 201
    )
    assert hidden[0].plain == hidden[1].plain and hidden[0].status == 403
    made = place.ask("POST", "/Observation", observation("x", "p1"), Prefer="return=representation")
    assert made.headers["location"] == f"{place.base}/Observation/{made.json['id']}"
    place.put(patient("shown", "P001", telecom=[{"value": PHONE}]))
    echo = place.ask("PUT", "/Patient/shown", place.ask("GET", "/Patient/shown").json, Prefer="return=representation")
    assert (echo.status, "telecom" in echo.json) == (200, False)


def test_38_labels_are_not_the_clients_to_change(place):
    label = {"security": [{"code": "R"}], "tag": [{"code": "t"}]}
    place.put(observation("sealed", "p1", meta=label))
    read = place.ask("GET", "/Observation/sealed").json
    opened = {**read, "meta": {**read["meta"], "security": []}}
    assert place.straight("PUT", "/Observation/sealed", opened).json["meta"].get("security") in ([], None)
    place.put(observation("sealed", "p1", meta=label))
    read = place.ask("GET", "/Observation/sealed").json
    for meta in ({"security": []}, {"security": [{"code": "N"}]}, {"tag": []}, {"account": {"reference": "x/1"}}):
        assert place.ask("PUT", "/Observation/sealed", {**read, "meta": meta}).status == 403
    assert (
        place.ask("PUT", "/Observation/sealed", {name: v for name, v in read.items() if name != "meta"}).status == 200
    )
    assert stored(place, "/Observation/sealed")["meta"]["security"] == label["security"]
    place.refused("POST", "/Observation/sealed/$meta-delete", {"resourceType": "Parameters"})


def test_39_what_the_server_says_of_a_body_is_not_quoted(place):
    place.refused("POST", "/Patient/$validate", patient("x", "P001"))
    place.put(
        {"resourceType": "Encounter", "id": "taken", "status": "finished", "subject": {"reference": "Patient/p1"}}
    )
    refused = place.straight("PUT", "/Encounter/taken", {"resourceType": "Encounter", "id": "other"})
    assert refused.status == 400
    reply = place.ask("PUT", "/Encounter/taken", {"resourceType": "Encounter", "id": "other"})
    assert (reply.status, reply.body != refused.body) == (400, True)


# -- batch, operations, bulk -----------------------------------------------------------------


def bundle(kind: str, *urls: str) -> dict[str, Any]:
    entries = [{"request": {"method": "GET", "url": url}} for url in urls]
    return {"resourceType": "Bundle", "type": kind, "entry": entries}


def test_40_batches_are_refused(place):
    assert b"Hidden" in place.straight("POST", "/", bundle("batch", "Patient/p2")).body
    for path in ("/", ""):
        for url in ("Patient/p1", "Patient/p2", f"{place.upstream.base}/Patient/p2", "../Patient/p2", "$graphql"):
            place.refused("POST", path or "/?", bundle("batch", url))


def test_41_transactions_are_refused_before_anything_is_written(place):
    body = bundle("transaction")
    body["entry"] = [
        {"resource": observation("tx", "p1"), "request": {"method": "POST", "url": "Observation"}},
        {"resource": observation("tx", "p2"), "request": {"method": "POST", "url": "Observation"}},
    ]
    assert place.straight("POST", "/", body).status == 200
    place.refused("POST", "/", body)
    place.refused("POST", "/Bundle", body)


def test_42_operations_are_refused(place):
    names = ["everything", "lastn", "document", "match", "diff", "expunge", "reindex", "process-message"]
    names += ["csv", "meta-add"]
    for name in names:
        place.refused("GET", f"/Patient/p1/${name}")
        place.refused("POST", f"/Patient/${name}", {"resourceType": "Parameters"})
        place.refused("GET", f"/${name}")


def test_43_graphql_is_refused(place):
    query = {"query": '{ Patient(id: "p2") { name { family } } }'}
    assert b"Hidden" in place.straight("POST", "/$graphql", query).body
    place.refused("POST", "/$graphql", query)
    place.refused("GET", "/Patient/p1/$graphql?query=%7Bid%7D")
    place.refused("POST", "/$graphql", {"query": "{ __schema { types { name } } }"})


def test_44_bulk_export_is_refused(place):
    for path in ("/$export", "/Patient/$export", "/Group/g/$export", "/$export-poll-status?_jobId=1"):
        place.refused("GET", path, Prefer="respond-async")


def test_45_subscriptions_are_refused(place):
    body = {
        "resourceType": "Subscription",
        "status": "requested",
        "criteria": "Observation?patient=Patient/p2",
        "channel": {"type": "rest-hook", "endpoint": "http://127.0.0.1:1/x"},
    }
    assert place.straight("POST", "/Subscription", body).status == 201
    place.refused("POST", "/Subscription", body)
    place.refused("GET", "/Subscription")


def test_46_what_we_say_of_ourselves_is_ours_and_needs_no_token(place):
    place.upstream.seen()
    reply = request(place.running.port, "GET", "/metadata")
    statement = reply.json
    assert (reply.status, statement["resourceType"], statement["fhirVersion"]) == (200, "CapabilityStatement", "4.0.1")
    types = {item["type"]: item for item in statement["rest"][0]["resource"]}
    assert "Patient" in types and "Binary" not in types
    assert {item["code"] for item in types["Patient"]["interaction"]} == {
        "read",
        "vread",
        "search-type",
        "create",
        "update",
        "delete",
    }
    assert request(place.running.port, "GET", "/.well-known/smart-configuration").json["capabilities"]
    assert request(place.running.port, "GET", "/healthz").json == {"status": "ok"}
    assert place.upstream.seen() == []


# -- protocol --------------------------------------------------------------------------------


def test_47_other_formats_and_telling_headers_do_not_get_through(place):
    assert place.refused("GET", "/Patient/p1", Accept="application/fhir+xml").status == 406
    assert place.refused("GET", "/Patient/p1?_format=xml").status == 406
    assert place.refused("POST", "/Patient", b"<Patient/>", Content_Type="application/fhir+xml").status == 415
    place.refused("GET", "/Patient/p1", X_HTTP_Method_Override="DELETE")
    place.upstream.seen()
    place.ask(
        "GET",
        "/Patient/p1",
        X_Forwarded_For="10.0.0.1",
        X_Forwarded_Host="evil",
        X_Consent_Scope="all",
        Forwarded="for=10.0.0.1",
        Cookie="session=1",
        X_Request_Id="mine",
    )
    (seen,) = place.upstream.seen()
    allowed = {"host", "accept", "accept-encoding", "prefer", "traceparent", "connection"}
    assert seen["headers"].keys() <= allowed
    assert {dict(asked.context)["ip"] for asked in place.ward.asked} == {"127.0.0.1"}
    assert "authorization" not in seen["headers"]


@pytest.mark.parametrize(
    "body",
    [
        b'{"resourceType":"Observation","subject":{"reference":"Patient/p1"},"subject":{"reference":"Patient/p2"}}',
        b'{"resourceType":"Observation","subject":{"reference":"Patient/p1","reference":"Patient/p2"}}',
        b'\xef\xbb\xbf{"resourceType":"Observation"}',
        b'{"resourceType":"Observation","code":{"text":"\xff"}}',
        b'{"resourceType":"Observation","x":1e999}',
        b'{"resourceType":"Observation","x":' + b"[" * 90 + b"]" * 90 + b"}",
        b'{"resourceType":"Observation","x":' + b"[" * 90_000 + b"]" * 90_000 + b"}",
    ],
)
def test_48_what_two_readers_could_read_differently_is_refused(place, body):
    assert place.refused("POST", "/Observation", body).status == 400


def test_48_the_upstream_itself_takes_duplicates(place):
    body = b'{"resourceType":"Observation","subject":{"reference":"Patient/p1"},"subject":{"reference":"Patient/p2"}}'
    assert place.straight("POST", "/Observation", body).json["subject"]["reference"] == "Patient/p2"


@pytest.mark.parametrize(
    "path",
    [
        "//Patient/p1",
        "/Patient//p1",
        "/Patient/p1/",
        "/Patient/./p1",
        "/Patient/../Patient/p1",
        "/Patient/p1/..",
        "/Patient/%70%31",
        "/Patient/p1%2F_history",
        "/Patient%2Fp1",
        "/Patient/p1;a=b",
        "/Patient/" + "a" * 65,
        "/%50atient/p1",
    ],
)
def test_49_a_path_is_taken_as_it_is_or_not_at_all(place, path):
    place.refused("GET", path)


@pytest.mark.parametrize(
    "head",
    [
        b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: chunked\r\nContent-Length: 5\r\n",
        b"Content-Length: 5\r\nContent-Length: 6\r\n",
        b"Transfer-Encoding: xchunked\r\n",
        b"X: " + b"a" * 40_000 + b"\r\n",
        b"".join(b"X-%d: a\r\n" % number for number in range(200)),
        b"Bad Header: 1\r\n",
    ],
)
def test_49_ambiguous_or_endless_requests_are_refused_and_the_connection_closed(place, head):
    place.upstream.seen()
    with socket.create_connection(("127.0.0.1", place.running.port), timeout=10) as connection:
        connection.sendall(
            b"POST /Patient HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dr.li\r\n" + head + b"\r\n0\r\n\r\n"
        )
        connection.sendall(b"GET /Patient/p2 HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dr.wu\r\n\r\n")
        said = b""
        while chunk := _received(connection):
            said += chunk
    assert said.count(b"HTTP/1.1 ") == 1 and b" 400 " in said.split(b"\r\n")[0]
    assert b"OperationOutcome" in said and b"Hidden" not in said
    assert place.upstream.seen() == []


def _received(connection: socket.socket) -> bytes:
    try:
        return connection.recv(65536)
    except ConnectionError:
        return b""


def test_50_where_something_fails_nothing_of_the_upstream_goes_out(place, monkeypatch):
    def broken(*_: Any) -> Any:
        raise ZeroDivisionError("Mrs Lindqvist")

    async def unwritable(*_: Any) -> int:
        raise Unavailable("no space for Mrs Lindqvist")

    paths = ("/Patient/p1", "/Patient", "/Observation/o1")
    place.ward.rule = broken
    assert {place.ask("GET", path).status for path in paths} == {500}
    place.ward.rule = place.ward.care
    with monkeypatch.context() as patch:
        patch.setattr("adapters.fhir.steps.locate", broken)
        replies = [place.ask("GET", path) for path in ("/Patient/p1", "/Patient")]
        assert {reply.status for reply in replies} == {500}
    with monkeypatch.context() as patch:
        patch.setattr(place.running.services, "commit", unwritable)
        replies += [place.ask("GET", path) for path in paths]
        assert {reply.status for reply in replies[2:]} == {503}
        patch.setattr(place.running.services, "commit", broken)
        replies += [place.ask("GET", path) for path in paths]
    assert all(b"Lindqvist" not in reply.body and reply.status >= 500 for reply in replies)
    assert place.ask("GET", "/Patient/p1").status == 200


def test_51_why_somebody_asks_comes_from_the_token_and_from_nowhere_else(place):
    place.ask("GET", "/Patient/p1?_format=json", X_Purpose_Of_Use="BTG", Purpose="ETREAT", X_Break_Glass="1")
    assert all("purpose" not in asked.context for asked in place.ward.asked)
    place.refused("GET", "/Patient/p1?purpose=BTG")
    urgent = Entity("person", "dr.li", {**DR_LI.properties, "purpose": "BTG"})
    place.running.services.people["dr.urgent"] = urgent
    place.ward.asked.clear()
    place.ask("GET", "/Patient/p1", who="dr.urgent")
    assert {asked.context["purpose"] for asked in place.ward.asked} == {"BTG"}


def test_52_a_change_between_decision_and_answer_counts(place):
    def once(asked: Request) -> Any:
        place.ward.rule = lambda later: deny(later, bundle="b1")
        return place.ward.care(asked)

    for path, method in (("/Patient/p1", "GET"), ("/Encounter/taken", "GET")):
        place.ward.rule = once
        assert place.ask(method, path).status == 404
    place.ward.rule = once
    assert place.ask("GET", "/Patient").ids == []


# -- the shell itself ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "authorization", [None, "Bearer nobody", "Basic ZHIubGk6", "Bearer", "bearer dr.li extra", "dr.li"]
)
def test_nobody_unknown_is_answered(place, authorization):
    place.upstream.seen()
    headers = {} if authorization is None else {"Authorization": authorization}
    for method, path in (("GET", "/Patient/p1"), ("GET", "/no/such/thing"), ("PATCH", "/"), ("POST", "/Patient")):
        reply = request(place.running.port, method, path, None, headers)
        assert (reply.status, reply.code) == (401, "login")
        assert reply.headers["www-authenticate"].startswith('Bearer realm="spir"')
    assert place.upstream.seen() == []
    assert {event.kind for event in place.events()} == {EventKind.REFUSAL}


def test_every_answer_says_what_it_was_made_under(place):
    reply = place.ask("GET", "/Patient/p1", traceparent="00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01")
    assert reply.headers["x-policy-version"] == "b1"
    assert reply.headers["traceparent"].split("-")[1] == "0af7651916cd43dd8448eb211c80319c"
    assert reply.headers["traceparent"].split("-")[2] != "b7ad6b7169203331"
    assert len(reply.headers["x-request-id"]) == 32
    for wrong in ("00-" + "0" * 32 + "-b7ad6b7169203331-01", "x", ""):
        assert len(place.ask("GET", "/Patient/p1", traceparent=wrong).headers["traceparent"]) == 55


def test_a_body_without_end_is_refused(place):
    reply = place.ask("POST", "/Patient", b"{" + b" " * (5 * 1024 * 1024))
    assert (reply.status, reply.code) == (413, "too-long")
    with socket.create_connection(("127.0.0.1", place.running.port), timeout=20) as connection:
        connection.sendall(
            b"POST /Patient HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer dr.li\r\n"
            b"Content-Type: application/fhir+json\r\nTransfer-Encoding: chunked\r\n\r\n"
        )
        said = b""
        try:
            for _ in range(80):
                connection.sendall(b"10000\r\n" + b" " * 65536 + b"\r\n")
        except ConnectionError:
            pass
        while b"\r\n\r\n" not in said and (chunk := _received(connection)):
            said += chunk
    assert b"413" in said.split(b"\r\n")[0]


def test_no_log_names_a_patient(place, caplog):
    caplog.set_level(logging.DEBUG)
    place.ask("GET", "/Patient/p1")
    place.ask("GET", "/Patient?identifier=urn:oid:1.2.3|P001&family=Lindqvist")
    place.ask("GET", "/Patient/p2")
    place.ask("POST", "/Observation", observation("x", "p1"))
    place.ward.rule = lambda asked: {}["Lindqvist"]
    place.ask("GET", "/Patient/p1")
    said = "\n".join(record.getMessage() for record in caplog.records)
    assert "failed: KeyError" in said
    for word in ("P001", "p1", "Lindqvist", "Patient/", PHONE):
        assert word not in said


def test_an_upstream_that_is_gone_is_502_and_no_more(place):
    services = GivenServices(ruler=place.ward, people={"dr.li": DR_LI})
    running = Running(f"http://127.0.0.1:{free_port()}", services)
    try:
        reply = request(running.port, "GET", "/Patient/p1", None, {"Authorization": "Bearer dr.li"})
        assert (reply.status, running.facade.upstream.lenient) == (502, None)
        assert request(running.port, "GET", "/healthz").status == 200
    finally:
        running.stop()
    with pytest.raises(ConnectionRefusedError):
        request(running.port, "GET", "/healthz")


def test_a_facade_may_live_below_a_path_and_under_another_name(place):
    services = GivenServices(ruler=place.ward, people={"dr.li": DR_LI})
    running = Running(place.upstream.base, services, prefix="/fhir", base="https://gateway.example/fhir")
    try:
        given = {"Authorization": "Bearer dr.li"}
        found = request(running.port, "GET", "/fhir/Patient?_id=p1", None, given).json
        assert found["entry"][0]["fullUrl"] == "https://gateway.example/fhir/Patient/p1"
        assert request(running.port, "GET", "/fhir/metadata").json["implementation"]["url"].endswith(".example/fhir")
        assert request(running.port, "GET", "/Patient/p1", None, given).status == 404
    finally:
        running.stop()


def test_a_client_certificate_is_handed_on(place):
    authority = trustme.CA()
    server, client = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH), ssl.create_default_context()
    authority.issue_cert("127.0.0.1").configure_cert(server)
    issued = authority.issue_cert("dr.li@hospital.test")
    issued.configure_cert(client)
    for context in (server, client):
        authority.configure_trust(context)
    server.verify_mode = ssl.CERT_REQUIRED
    shown: list[Any] = []

    class Certified(GivenServices):
        def identify(self, credentials: Any) -> Any:
            shown.append(credentials)
            return super().identify(credentials)

    running = Running(place.upstream.base, Certified(ruler=place.ward, people={"dr.li": DR_LI}), server)
    try:
        connection = http.client.HTTPSConnection("127.0.0.1", running.port, context=client, timeout=10)
        connection.request("GET", "/Patient/p1", headers={"Authorization": "Bearer dr.li"})
        assert connection.getresponse().status == 200
        connection.close()
    finally:
        running.stop()
    (credentials,) = shown
    assert (credentials.protocol, credentials.address, credentials.bearer) == ("fhir", "127.0.0.1", "dr.li")
    assert (
        ssl.DER_cert_to_PEM_cert(credentials.certificate).strip() == issued.cert_chain_pems[0].bytes().decode().strip()
    )
