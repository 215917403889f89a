"""The sessions on real decisions: what a policy says is what a client gets."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from spir.embed import Engine
from spir.engine.ruling import rule
from spir.model.facts import Assert, Fact, FactStore, Retract
from spir.model.request import Request
from tests.fhir.given_fhir import Desk, GivenUpstream, observation, patient
from tests.given import NOON

POLICY = """
spir: "1"
kind: PolicySet
name: ward
layer: institution
jurisdiction: cn/test
version: 1.0.0
policies:
  - id: care-team
    effect: permit
    operations: ["read:patient", "read:result", "read:vitals", "search:patient", "search:*", "update:patient"]
    when: subject.role == "physician" && subject.id in resource.patient.care_team
  - id: phones-are-masked
    effect: oblige
    operations: ["read:patient", "search:patient"]
    obligations: [{id: phone, type: mask, paths: [patient.telecom]}]
  - id: names-of-important-people-are-masked
    effect: oblige
    operations: ["read:*:*", "search:*:*"]
    when: resource.patient.vip
    on_missing: ignore
    obligations: [{id: name, type: mask, paths: [patient.name]}]
  - id: nobody-reads-psychiatry
    effect: deny
    operations: ["read:*:*", "search:*:*"]
    when: '"psychiatry" in resource.labels || resource.sensitivity >= 5'
    on_missing: ignore
  - id: critical-results-are-for-the-author
    effect: deny
    operations: ["read:result:critical", "search:result:critical"]
    when: resource.author != subject.id
  - id: drafts-stay
    effect: deny
    operations: ["read:result", "search:result"]
    when: resource.status == "preliminary"
"""

LABEL = {"security": [{"system": "http://terminology.hl7.org/CodeSystem/v3-ActCode", "code": "PSY"}]}
CRITICAL = {"interpretation": [{"coding": [{"code": "HH"}]}]}
BY_LI, BY_WU = ({"performer": [{"reference": f"Practitioner/{name}"}]} for name in ("li", "wu"))


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Engine:
    folder: Path = tmp_path_factory.mktemp("policies")
    (folder / "ward.yaml").write_text(POLICY, "utf-8")
    return Engine.load(folder, organization="cn/test")


@pytest.fixture
def facts() -> FactStore:
    store = FactStore()
    for id in ("HIS|P001", "HIS|P003"):
        store.apply([Assert(Fact(("patient", id), "care_team", ("dr.li",), "test", NOON))])
    store.apply([Assert(Fact(("patient", "HIS|P003"), "vip", True, "test", NOON))])
    return store


@pytest.fixture
def desk(engine: Engine, facts: FactStore) -> Desk:
    upstream = GivenUpstream().put(
        patient("p1", "P001", telecom=[{"value": "555-1234"}], name=[{"family": "Open"}]),
        patient("p2", "P002", name=[{"family": "Closed"}]),
        patient("p3", "P003", name=[{"family": "Famous"}]),
        observation("plain", "p1"),
        observation("other", "p2"),
        {**observation("famous", "p3"), "subject": {"reference": "Patient/p3", "display": "Famous"}},
        observation("psychiatry", "p1", meta=LABEL),
        observation("draft", "p1", status="preliminary"),
        observation("critical-mine", "p1", **CRITICAL, **BY_LI),
        observation("critical-theirs", "p1", **CRITICAL, **BY_WU),
        observation("critical-nobodys", "p1", **CRITICAL),
        observation("pulse", "p1", category=[{"coding": [{"code": "vital-signs"}]}]),
    )

    def decide(request: Request):
        return rule(engine.rules, request, facts.snapshot, NOON + timedelta(minutes=1))

    return Desk(decide, upstream)


VISIBLE = {"plain", "famous", "critical-mine", "pulse"}
ALL = {
    "plain", "other", "famous", "psychiatry", "draft", "critical-mine", "critical-theirs", "critical-nobodys", "pulse",
}  # fmt: skip


def test_a_search_shows_what_reading_one_by_one_shows(desk):
    assert set(desk.play("GET", "/Observation").ids) == VISIBLE
    assert {id for id in ALL if desk.play("GET", f"/Observation/{id}").status == 200} == VISIBLE


def test_what_a_search_shows_of_a_resource_is_what_a_read_shows(desk):
    for entry in desk.play("GET", "/Observation").json["entry"]:
        resource = entry["resource"]
        assert resource == desk.play("GET", f"/Observation/{resource['id']}").json


def test_masks_are_those_of_the_row(desk):
    found = {entry["resource"]["id"]: entry["resource"] for entry in desk.play("GET", "/Patient").json["entry"]}
    assert found.keys() == {"p1", "p3"}
    assert "telecom" not in found["p1"] and found["p1"]["name"] == [{"family": "Open"}]
    assert "name" not in found["p3"]
    assert "display" not in desk.play("GET", "/Observation/famous").json["subject"]


def test_a_search_by_what_may_be_masked_in_some_row_is_refused(desk):
    for query in ("phone=1", "name=Open", "_sort=family"):
        assert desk.play("GET", f"/Patient?{query}").status == 403
    assert desk.upstream.asked == []


def test_the_search_was_narrowed_to_the_care_teams_patients(desk):
    desk.play("GET", "/Observation")
    assert "Observation?patient=Patient%2Fp1%2CPatient%2Fp3&_count=50" in [ask.target for ask in desk.upstream.asked]


def test_the_end_of_a_stay_closes_everything_at_once(desk, facts):
    assert desk.play("GET", "/Patient/p1").status == 200
    for id in ("HIS|P001", "HIS|P003"):
        facts.apply([Retract(("patient", id), "care_team", "", "test", NOON + timedelta(seconds=1))])
    desk.upstream.asked.clear()
    assert desk.play("GET", "/Patient/p1").status == 404
    desk.upstream.asked.clear()
    assert (desk.play("GET", "/Observation").ids, desk.upstream.asked) == ([], [])


def test_a_facts_change_while_the_upstream_thinks_counts(desk, facts):
    def discharged():
        facts.apply([Retract(("patient", "HIS|P001"), "care_team", "", "test", NOON + timedelta(seconds=1))])

    desk.upstream.meanwhile = discharged
    assert desk.play("GET", "/Patient/p1").status == 404


def test_what_is_masked_on_reading_survives_an_update(desk):
    read = desk.play("GET", "/Patient/p1").json
    assert desk.play("PUT", "/Patient/p1", {**read, "gender": "female"}).status == 200
    stored = desk.upstream.current("Patient", "p1")
    assert (stored["telecom"], stored["gender"]) == ([{"value": "555-1234"}], "female")
    assert desk.play("PUT", "/Observation/plain", observation("plain", "p1")).status == 403
    assert desk.play("DELETE", "/Patient/p1").status == 403
