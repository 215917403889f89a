"""The certification scenario of AuthZEN 1.0, written anew: its fixture, and what a decision point must do with it.

The fixture has two users, two records and three actions. The numbers of the
rules are those of the scenario's required policy behaviour.
"""

from __future__ import annotations

import json

import pytest

from spir.model.request import Entity
from tests.authzen.given_pdp import PEP, GivenPdp, call, pdp

VOCABULARY = """\
spir: "1"
kind: Vocabulary
name: certification
version: 1.0.0
verbs: [write]
types: {record: []}
attributes:
  action.soft: {type: bool, source: request}
"""

POLICIES = """\
spir: "1"
kind: PolicySet
name: certification
layer: institution
jurisdiction: cn/test
version: 1.0.0
policies:
  - id: enforcement-points-may-ask
    effect: permit
    operations: ["execute:policy"]
    when: subject.type == "system" && subject.role == "enforcement"
  - id: users-read
    effect: permit
    operations: ["read:record"]
    when: subject.type == "user" && subject.id in ["alice", "bob"]
  - id: alice-writes-what-is-not-archived
    effect: permit
    operations: ["write:record"]
    when: subject.id == "alice" && !(has(resource.status) && resource.status == "archived")
  - id: admins-write-what-is-archived
    effect: permit
    operations: ["write:record"]
    when: subject.role == "admin" && resource.status == "archived"
  - id: alice-deletes-softly
    effect: permit
    operations: ["delete:record"]
    when: subject.id == "alice" && action.soft == true
"""

ALICE, BOB = {"type": "user", "id": "alice"}, {"type": "user", "id": "bob"}
ADMIN = {**BOB, "properties": {"role": "admin"}}
ONE, TWO = {"type": "record", "id": "record-1"}, {"type": "record", "id": "record-2"}
ARCHIVED = {**TWO, "properties": {"status": "archived"}}
ACTIVE = {**ONE, "properties": {"status": "active"}}
EVALUATION, EVALUATIONS = "/access/v1/evaluation", "/access/v1/evaluations"


def name(action, **properties):
    return {"name": action, "properties": properties} if properties else {"name": action}


@pytest.fixture(scope="module")
def app():
    records = {
        "record-1": Entity("record", "record-1", {"status": "active"}),
        "record-2": Entity("record", "record-2", {"status": "archived"}),
    }
    users = {"alice": Entity("user", "alice"), "bob": Entity("user", "bob", {"role": "admin"}), "pep": PEP}
    return pdp(GivenPdp((VOCABULARY, POLICIES), entities=users, resources={"record": records}))


def decided(app, subject, action, resource, **more):
    reply = call(app, "POST", EVALUATION, {"subject": subject, "action": action, "resource": resource, **more})
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    return reply.json["decision"]


@pytest.mark.parametrize(
    ("subject", "action", "resource", "decision"),
    [
        (ALICE, name("read"), ONE, True),  # rule 1
        (ALICE, name("write"), ONE, True),  # rule 2
        (BOB, name("read"), ONE, True),  # rule 3
        (BOB, name("write"), ONE, False),  # rule 4
        (ALICE, name("write"), ARCHIVED, False),  # rule 5
        (ADMIN, name("write"), ARCHIVED, True),  # rule 6
        (ALICE, name("delete", soft=True), ONE, True),  # rule 7
        (ALICE, name("delete", soft=False), ONE, False),  # rule 8
    ],
)
def test_the_required_decisions(app, subject, action, resource, decision):
    for _ in range(3):
        assert decided(app, subject, action, resource) is decision


def test_context_further_properties_and_unknown_members_change_nothing(app):
    assert decided(app, ALICE, name("read"), ONE, context={"time": "2025-06-27T18:03-07:00", "ip": "192.168.1.1"})
    subject = {**ALICE, "properties": {"department": "Sales", "role": "manager"}}
    resource = {**ONE, "properties": {"status": "active", "owner": "bob"}}
    assert decided(app, subject, name("read", method="GET"), resource)
    assert decided(app, ALICE, name("read"), ONE, foo="bar", futureField={"nested": True})


WHOLE = {"subject": ALICE, "action": name("read"), "resource": ONE}


@pytest.mark.parametrize(
    "changes",
    [
        {"subject": None},
        {"action": None},
        {"resource": None},
        {"subject": {"id": "alice"}},
        {"subject": {"type": "user"}},
        {"action": {}},
        {"resource": {"id": "record-1"}},
        {"resource": {"type": "record"}},
        {"subject": "alice"},
        {"action": {"name": 123}},
    ],
)
def test_a_missing_or_mistyped_field_is_a_bad_request(app, changes):
    body = {key: value for key, value in {**WHOLE, **changes}.items() if value is not None}
    assert call(app, "POST", EVALUATION, body).status == 400


@pytest.mark.parametrize("raw", [b"", b"{", b"not json"])
def test_what_is_no_json_is_a_bad_request(app, raw):
    assert call(app, "POST", EVALUATION, raw).status == 400


@pytest.mark.parametrize("type", ["", "text/plain", "application/x-www-form-urlencoded", "application/jsonx"])
def test_another_content_type_is_a_bad_request(app, type):
    assert call(app, "POST", EVALUATION, json.dumps(WHOLE).encode(), type=type).status == 400
    assert call(app, "POST", EVALUATION, WHOLE, type="application/json; charset=utf-8").status == 200


def test_a_request_id_is_echoed(app):
    reply = call(app, "POST", EVALUATION, WHOLE, headers=[("X-Request-ID", "bfe9eb29-ab87-4ca3-be83-a1d5d8305716")])
    assert reply.headers["x-request-id"] == "bfe9eb29-ab87-4ca3-be83-a1d5d8305716"
    assert call(app, "POST", EVALUATION, WHOLE).headers["x-request-id"]


# -- batches -----------------------------------------------------------------------------------


def decisions(app, **body):
    reply = call(app, "POST", EVALUATIONS, body)
    assert reply.status == 200 and "decision" not in reply.json
    return [one["decision"] for one in reply.json["evaluations"]]


READ, WRITE = name("read"), name("write")
PARTLY = {"id": "record-1", "properties": {"status": "active"}}


@pytest.mark.parametrize(
    ("defaults", "items", "expected"),
    [
        ({"subject": BOB, "resource": ONE}, [{"action": READ}, {"action": WRITE}], [True, False]),
        ({"subject": ALICE, "action": WRITE}, [{"resource": ACTIVE}, {"resource": ARCHIVED}], [True, False]),
        ({"action": WRITE, "resource": ARCHIVED}, [{"subject": ALICE}, {"subject": ADMIN}], [False, True]),
        ({}, [WHOLE, {"subject": BOB, "action": WRITE, "resource": ONE}], [True, False]),
        (
            {"subject": ALICE, "action": WRITE, "resource": {"type": "record"}},
            [{"resource": PARTLY}, {"resource": ARCHIVED}],
            [True, False],
        ),
        ({"subject": ALICE, "action": READ}, [{"resource": ONE}, {}], [True, False]),
    ],
)
def test_batches_answer_in_order(app, defaults, items, expected):
    assert decisions(app, **defaults, evaluations=items) == expected


def test_the_three_semantics(app):
    # alice may write record-1, not what is archived, and not spaceships
    items = [{"resource": ACTIVE}, {"resource": ARCHIVED}, {"resource": {"type": "spaceship", "id": "1"}}]
    asked = {"subject": ALICE, "action": name("write")}

    def run(semantic, evaluations):
        return decisions(app, **asked, evaluations=evaluations, options={"evaluations_semantic": semantic})

    assert run("execute_all", items) == [True, False, False]
    assert run("deny_on_first_deny", items) == [True, False]
    assert run("permit_on_first_permit", items) == [True]
    assert run("permit_on_first_permit", items[1:]) == [False, False]
    assert run("deny_on_first_deny", [{}, *items]) == [False]


def test_context_is_inherited_unless_an_item_has_its_own(app):
    own = {"time": "2025-06-27T19:00-07:00", "source": "batch-override"}
    items = [{"resource": ONE}, {"resource": TWO, "context": own}]
    assert len(decisions(app, subject=ALICE, action=name("read"), context={"time": "x"}, evaluations=items)) == 2


@pytest.mark.parametrize("more", [{}, {"evaluations": []}])
def test_without_items_the_batch_endpoint_is_the_single_one(app, more):
    assert call(app, "POST", EVALUATIONS, {**WHOLE, **more}).json == {"decision": True}


# -- searches ----------------------------------------------------------------------------------


def searched(app, wanted, **body):
    reply = call(app, "POST", f"/access/v1/search/{wanted}", body)
    assert reply.status == 200
    assert reply.json["page"]["count"] == len(reply.json["results"])
    return reply.json["results"]


def test_who_may(app):
    users = {"type": "user"}
    assert searched(app, "subject", subject=users, action=name("read"), resource=ONE) == [ALICE, BOB]
    assert searched(app, "subject", subject=users, action=name("read"), resource=ONE, context={"a": 1}) == [ALICE, BOB]
    assert searched(app, "subject", subject=users, action=name("write"), resource=ARCHIVED) == [BOB]


def test_on_what(app):
    records = {"type": "record"}
    assert ONE in searched(app, "resource", subject=ALICE, action=name("read"), resource=records)
    assert searched(app, "resource", subject=ADMIN, action=name("write"), resource=records) == [TWO]


def test_what_may_be_done(app):
    assert searched(app, "action", subject=ALICE, resource=ONE) == [{"name": "read"}, {"name": "write"}]
    assert searched(app, "action", subject=ALICE, resource=ONE, context={"time": "x"})
    assert {"name": "write"} in searched(app, "action", subject=ADMIN, resource=ARCHIVED)


def test_what_nobody_knows_is_found_nowhere(app):
    assert searched(app, "action", subject={"type": "user", "id": "nonexistent-user"}, resource=ONE) == []
    assert searched(app, "subject", subject={"type": "spaceship"}, action=name("read"), resource=ONE) == []
    assert searched(app, "resource", subject=ALICE, action=name("read"), resource={"type": "spaceship"}) == []
    assert searched(app, "action", subject=ALICE, resource={"type": "spaceship", "id": "1"}) == []


def test_what_a_search_finds_an_evaluation_permits(app):
    for found in searched(app, "resource", subject=ADMIN, action=name("write"), resource={"type": "record"}):
        assert decided(app, BOB, name("write"), found)


def test_pages(app):
    body = {"subject": {"type": "user"}, "action": name("read"), "resource": ONE}
    first = call(app, "POST", "/access/v1/search/subject", {**body, "page": {"limit": 1}}).json
    assert first["results"] == [ALICE] and first["page"]["next_token"]
    token = first["page"]["next_token"]
    second = call(app, "POST", "/access/v1/search/subject", {**body, "page": {"token": token}}).json
    assert second == {"results": [BOB], "page": {"next_token": "", "count": 1}}


@pytest.mark.parametrize(
    ("wanted", "body"),
    [
        ("subject", {"subject": {"type": "user"}, "resource": ONE}),
        ("resource", {"action": name("read"), "resource": {"type": "record"}}),
        ("action", {"subject": ALICE}),
        ("subject", {"subject": {"type": "user"}, "action": name("read"), "resource": {"type": "record"}}),
        ("resource", {"subject": {"type": "user"}, "action": name("read"), "resource": {"type": "record"}}),
    ],
)
def test_a_search_that_lacks_something_is_a_bad_request(app, wanted, body):
    assert call(app, "POST", f"/access/v1/search/{wanted}", body).status == 400


# -- discovery ---------------------------------------------------------------------------------


def test_the_metadata_names_every_endpoint():
    app = pdp(base="https://pdp.example.com/")
    reply = call(app, "GET", "/.well-known/authzen-configuration", bearer="")
    base = "https://pdp.example.com"
    assert reply.status == 200 and reply.headers["content-type"] == "application/json"
    found = reply.json
    assert found.pop("obligations_supported") == ["audit", "deidentify", "limit", "mask", "notify", "trigger"]
    assert found == {
        "policy_decision_point": base,
        "access_evaluation_endpoint": f"{base}/access/v1/evaluation",
        "access_evaluations_endpoint": f"{base}/access/v1/evaluations",
        "search_subject_endpoint": f"{base}/access/v1/search/subject",
        "search_resource_endpoint": f"{base}/access/v1/search/resource",
        "search_action_endpoint": f"{base}/access/v1/search/action",
    }
