"""The sandbox FHIR store, request by request and without a network."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.sandbox.asgi import Reply, Request
from adapters.sandbox.fhir_query import Search
from adapters.sandbox.fhir_search import PARAMETERS, BadSearch
from adapters.sandbox.fhir_store import SandboxFhir

P001 = "Patient/pat-p001"


@pytest.fixture
def store() -> SandboxFhir:
    return SandboxFhir(sandbox=True)


def ask(store: SandboxFhir, method: str, url: str, body: object = None, **headers: str) -> Reply:
    parts = urlsplit(url)
    content = body if isinstance(body, bytes) else b"" if body is None else orjson.dumps(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return store.answer(Request(method, f"/{parts.path}", parts.query, named, content, "http://fhir.invalid"))


def found(store: SandboxFhir, url: str) -> list[str]:
    reply = ask(store, "GET", url)
    assert reply.status == 200, reply.body
    return [entry["resource"]["id"] for entry in orjson.loads(reply.body)["entry"]]


def test_a_read_gives_the_resource_with_its_version(store):
    reply = ask(store, "GET", P001)
    body = orjson.loads(reply.body)
    assert (reply.status, body["id"], body["meta"]["versionId"]) == (200, "pat-p001", "1")
    assert dict(reply.headers)["etag"] == 'W/"1"'


def test_a_read_of_a_version_already_known_has_no_body(store):
    reply = ask(store, "GET", P001, if_none_match='W/"1"')
    assert (reply.status, reply.body) == (304, b"")


def test_what_never_was_is_not_found(store):
    assert ask(store, "GET", "Patient/nobody").status == 404
    assert ask(store, "GET", "Nonsense/1").status == 404


@pytest.mark.parametrize(
    ("query", "ids"),
    [
        ("Patient?_id=pat-p001", ["pat-p001"]),
        ("Patient?_id=pat-p001,pat-p003", ["pat-p001", "pat-p003"]),
        ("Patient?identifier=urn:oid:1.2.3|P002", ["pat-p002"]),
        ("Patient?identifier=P002", ["pat-p002"]),
        ("Patient?identifier=urn:oid:9|P002", []),
        ("Patient?identifier=urn:oid:1.2.3|P001&_id=pat-p002", []),
        ("Patient?family=phan", ["pat-p004"]),
        ("Patient?family:exact=phan", []),
        ("Patient?name:contains=ilhu&_count=5", []),
        ("Patient?name=沙盒&gender=male", ["pat-p003", "pat-p007"]),
        ("Patient?birthdate=lt1940", ["pat-p008"]),
        ("Patient?birthdate=ge2015-01-01", ["pat-p005"]),
        ("Observation?patient=Patient/pat-p001&category=laboratory", ["potassium-p001", "glucose-p001"]),
        ("Observation?subject=pat-p001&category=vital-signs", ["pulse-p001", "pressure-p001"]),
        ("Observation?subject:Patient=pat-p001&code=http://loinc.org|2823-3", ["potassium-p001"]),
        ("Observation?patient.identifier=urn:oid:1.2.3|P001&code=2345-7", ["glucose-p001"]),
        ("Encounter?patient=pat-p001&status=in-progress", ["enc-now-p001"]),
        ("Encounter?patient=pat-p001&status:not=in-progress", ["enc-past-p001"]),
        ("AllergyIntolerance?patient=Patient/pat-p001", ["allergy-p001"]),
        ("ImagingStudy?patient=pat-p001&modality=CR,DX", ["study-a0001-p001", "study-a0002-p001"]),
        ("Patient?_id=pat-p001&_lastUpdated=gt2000", ["pat-p001"]),
    ],
)
def test_a_search_finds_what_its_parameters_say(store, query, ids):
    assert found(store, query) == ids


def test_a_search_by_post_reads_its_body_and_its_url(store):
    reply = ask(store, "POST", "Observation/_search?category=laboratory", b"patient=pat-p001")
    assert orjson.loads(reply.body)["total"] == 2


@pytest.mark.parametrize(
    "query",
    [
        "Patient?nonsense=1",
        "Patient?family:nonsense=1",
        "Patient?family.name=1",
        "Observation?patient.organization.name=x",
        "Patient?birthdate=lately",
        "Patient?_count=many",
        "Patient?_include=Observation:patient",
        "Patient?_revinclude=Observation:code",
        "Patient?_summary=true",
        "Patient?_elements=id",
    ],
)
def test_what_the_store_does_not_know_is_refused_and_not_ignored(store, query):
    reply = ask(store, "GET", query)
    assert (reply.status, orjson.loads(reply.body)["resourceType"]) == (400, "OperationOutcome")


def test_pages_follow_one_another_to_the_end(store):
    url, pages = "Patient?_count=5", []
    while url:
        bundle = orjson.loads(ask(store, "GET", url).body)
        pages.append([entry["resource"]["id"] for entry in bundle["entry"]])
        following = [link["url"] for link in bundle["link"] if link["relation"] == "next"]
        url = following[0].removeprefix("http://fhir.invalid/") if following else ""
    assert [len(page) for page in pages] == [5, 5, 2]
    assert len({id for page in pages for id in page}) == 12


def test_a_count_only_search_has_no_entries(store):
    bundle = orjson.loads(ask(store, "GET", "Patient?_summary=count").body)
    assert bundle["total"] == 12 and "entry" not in bundle


def test_included_resources_are_marked_as_such(store):
    bundle = orjson.loads(
        ask(store, "GET", "AllergyIntolerance?patient=pat-p001&_include=AllergyIntolerance:patient").body
    )
    assert [(e["resource"]["resourceType"], e["search"]["mode"]) for e in bundle["entry"]] == [
        ("AllergyIntolerance", "match"), ("Patient", "include"),
    ]  # fmt: skip


def test_reverse_includes_come_with_the_patient(store):
    assert found(store, "Patient?_id=pat-p001&_revinclude=Condition:patient") == ["pat-p001", "condition-p001"]


def test_a_created_resource_gets_an_id_of_the_stores_own(store):
    reply = ask(store, "POST", "Communication", {"resourceType": "Communication", "id": "mine", "status": "completed"})
    body = orjson.loads(reply.body)
    assert reply.status == 201 and body["id"] != "mine"
    assert dict(reply.headers)["location"] == f"http://fhir.invalid/Communication/{body['id']}/_history/1"


def test_an_update_makes_a_new_version_and_the_old_one_stays_readable(store):
    body = {**orjson.loads(ask(store, "GET", P001).body), "active": False}
    assert ask(store, "PUT", P001, body, if_match='W/"1"').status == 200
    assert orjson.loads(ask(store, "GET", P001).body)["active"] is False
    assert orjson.loads(ask(store, "GET", f"{P001}/_history/1").body)["active"] is True
    assert orjson.loads(ask(store, "GET", f"{P001}/_history").body)["total"] == 2


def test_an_update_of_another_version_is_a_conflict(store):
    body = orjson.loads(ask(store, "GET", P001).body)
    assert ask(store, "PUT", P001, body, if_match='W/"7"').status == 412
    assert ask(store, "PUT", "Patient/new", {"resourceType": "Patient", "id": "new"}, if_match='W/"1"').status == 412


def test_an_update_may_create(store):
    assert ask(store, "PUT", "Patient/new", {"resourceType": "Patient", "id": "new"}).status == 201


def test_an_update_may_insist_on_being_the_first(store):
    new = {"resourceType": "Patient", "id": "new"}
    assert [ask(store, "PUT", "Patient/new", new, if_none_match="*").status for _ in range(2)] == [201, 412]


def test_what_was_deleted_is_gone_and_found_no_more(store):
    assert ask(store, "DELETE", P001).status == 204
    assert ask(store, "GET", P001).status == 410
    assert found(store, "Patient?_id=pat-p001") == []
    assert ask(store, "DELETE", P001).status == 404


@pytest.mark.parametrize(
    "body", [b"", b"[]", b"{", b'{"resourceType":"Group"}', b'{"resourceType":"Patient","id":"pat-p001","meta":1}']
)
def test_a_body_that_is_not_the_resource_is_refused(store, body):
    assert ask(store, "PUT", P001, body).status == 400


def test_an_id_that_is_not_that_of_the_url_is_refused(store):
    assert ask(store, "PUT", P001, {"resourceType": "Patient", "id": "other"}).status == 400


def test_a_full_store_takes_nothing_new():
    store = SandboxFhir(sandbox=True, resources=[{"resourceType": "Patient", "id": "a"}], capacity=1)
    assert ask(store, "POST", "Patient", {"resourceType": "Patient"}).status == 507
    assert ask(store, "PUT", "Patient/a", {"resourceType": "Patient", "id": "a"}).status == 200


def test_the_capability_statement_lists_every_parameter(store):
    (rest,) = orjson.loads(ask(store, "GET", "metadata").body)["rest"]
    listed = {one["type"]: {p["name"] for p in one["searchParam"]} for one in rest["resource"]}
    assert listed == {kind: set(table) for kind, table in PARAMETERS.items()}


def test_other_methods_are_refused(store):
    assert ask(store, "PATCH", P001, []).status == 405
    assert ask(store, "GET", "Patient/pat-p001/Observation").status == 405


def test_what_was_asked_is_remembered(store):
    ask(store, "GET", "Patient?_id=x")
    assert store.asked == [("GET", "/Patient?_id=x")]


@given(st.sampled_from(sorted(PARAMETERS)), st.text(max_size=40))
def test_any_query_is_read_or_refused(kind, query):
    try:
        read = Search.parse(kind, query)
    except BadSearch:
        return
    assert len(read.criteria) <= len(parse_qsl(query, keep_blank_values=True))


@given(st.sampled_from(["GET", "POST", "PUT", "DELETE"]), st.text(max_size=30), st.binary(max_size=30))
def test_any_request_gets_an_answer_in_form(method, path, body):
    reply = SandboxFhir(sandbox=True, resources=()).answer(Request(method, path, "", {}, body, ""))
    assert 200 <= reply.status < 500
