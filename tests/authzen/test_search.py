"""Searches over what the site knows: each result decided for real, in bounded pages."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.authzen import search as module
from spir.model.facts import Merge
from spir.model.request import Entity
from tests.authzen.given_pdp import DR_LI, PEP, GivenPdp, call, pdp
from tests.given import NOON

MASKED = {
    "context": {"obligations": [{"id": "hide-phone", "type": "mask", "properties": {"paths": ["patient.telecom"]}}]}
}


def ward(patients=6, mine=(1, 3, 4)):
    """A port that knows `P000` and so on; dr.li treats those in `mine`."""
    port = GivenPdp()
    for number in range(patients):
        port.learn(f"HIS|P{number:03}", care_team=("dr.li",) if number in mine else ("dr.wu",))
    return port


def patients(app, limit=None, token="", **more):
    page = {"token": token, **({"limit": limit} if limit else {})}
    body = {"subject": {"type": "person", "id": "dr.li"}, "action": {"name": "read"}, "resource": {"type": "patient"}}
    return call(app, "POST", "/access/v1/search/resource", {**body, **more, "page": page})


def ids(reply):
    return [result["id"] for result in reply.json["results"]]


def test_the_patients_of_a_doctor_are_found_with_what_must_be_done_to_each():
    reply = patients(pdp(ward()))
    found = [{"type": "patient", "id": f"HIS|P{number:03}", **MASKED} for number in (1, 3, 4)]
    assert reply.json == {"results": found, "page": {"next_token": "", "count": 3}}


def test_what_is_found_is_permitted():
    app = pdp(ward())
    for result in patients(app).json["results"]:
        body = {"subject": {"type": "person", "id": "dr.li"}, "action": {"name": "read"}}
        asked = {**body, "resource": {"type": result["type"], "id": result["id"]}}
        assert call(app, "POST", "/access/v1/evaluation", asked).json["decision"] is True


def test_only_those_that_can_be_permitted_are_looked_at():
    port = ward()
    patients(pdp(port))
    looked_at = [request.resource.id for request in port.asked if request.resource.type == "patient"]
    assert looked_at == ["", "HIS|P001", "HIS|P003", "HIS|P004"]


def test_a_search_that_is_denied_as_a_whole_looks_at_nobody():
    port = ward()
    assert ids(patients(pdp(port), subject={"type": "person", "id": "nobody"})) == []
    assert [request.resource.id for request in port.asked if request.resource.type == "patient"] == [""]


def test_pages_go_on_where_the_last_one_ended_also_when_somebody_has_come_or_gone():
    port = ward()
    app = pdp(port)
    first = patients(app, limit=1)
    assert ids(first) == ["HIS|P001"]
    port.learn("HIS|P000", care_team=("dr.li",))
    port.learn("HIS|P003", care_team=())
    second = patients(app, limit=1, token=first.json["page"]["next_token"])
    assert ids(second) == ["HIS|P004"]
    assert second.json["page"]["next_token"] == ""


def test_a_token_is_good_for_its_own_search_and_its_own_caller():
    port = ward()
    port.entities = {**port.entities, "pep2": replace(PEP, id="pep2")}
    app = pdp(port)
    token = patients(app, limit=1).json["page"]["next_token"]
    assert patients(app, token=token, action={"name": "view"}).status == 400
    assert patients(app, token="x" * 50).status == 400
    body = {"subject": {"type": "person", "id": "dr.li"}, "action": {"name": "read"}, "resource": {"type": "patient"}}
    stolen = call(app, "POST", "/access/v1/search/resource", {**body, "page": {"token": token}}, bearer="pep2")
    assert stolen.status == 400
    assert patients(app, token=token).status == 200


def test_a_page_looks_at_a_bounded_number_of_candidates(monkeypatch):
    monkeypatch.setattr(module, "MOST_LOOKED_AT", 4)
    port = ward(10, mine=())
    port.entities = {
        "pep": PEP,
        **{f"dr.{n:02}": Entity("person", f"dr.{n:02}", {"role": "physician"}) for n in range(10)},
    }
    port.learn("HIS|P000", care_team=("dr.06",))
    app = pdp(port)
    resource = {"type": "result", "id": "r", "properties": {"patient": {"id": "HIS|P000"}}}
    body = {"subject": {"type": "person"}, "action": {"name": "read"}, "resource": resource}
    found, token, pages = [], "", 0
    while not pages or token:
        reply = call(app, "POST", "/access/v1/search/subject", {**body, "page": {"token": token}})
        found, token, pages = found + ids(reply), reply.json["page"]["next_token"], pages + 1
    assert (found, pages) == (["dr.06"], 3)


def test_no_page_is_longer_than_the_longest(monkeypatch):
    monkeypatch.setattr(module, "MOST_RESULTS", 2)
    assert len(ids(patients(pdp(ward()), limit=10_000))) == 2


def test_another_name_of_a_subject_type_finds_the_same_people_under_that_name():
    port = ward()
    resource = {"type": "patient", "id": "HIS|P001"}
    body = {"subject": {"type": "user"}, "action": {"name": "read"}, "resource": resource}
    reply = call(pdp(port), "POST", "/access/v1/search/subject", body)
    assert reply.json["results"] == [{"type": "user", "id": "dr.li", **MASKED}]


def test_a_result_that_needs_what_the_caller_cannot_do_is_left_out():
    assert ids(patients(pdp(ward()), context={"obligations_supported": ["notify"]})) == []
    assert len(ids(patients(pdp(ward()), context={"obligations_supported": ["mask"]}))) == 3


def test_a_merged_patient_is_found_under_the_name_that_survives():
    port = ward(2, mine=(0,))
    port.store.apply([Merge(("patient", "HIS|P000"), ("patient", "HIS|P009"), "HIS", NOON)])
    assert ids(patients(pdp(port))) == ["HIS|P009"]


def test_types_without_known_ids_and_categories_of_actions():
    app = pdp(ward())
    assert ids(patients(app, resource={"type": "result"})) == []
    asked = {"subject": {"type": "person", "id": DR_LI.id}, "resource": {"type": "patient", "id": "HIS|P001"}}
    found = call(app, "POST", "/access/v1/search/action", asked).json["results"]
    assert [result["name"] for result in found] == ["read"]


def test_a_search_is_recorded_with_counts_and_without_its_results():
    port = ward()
    patients(pdp(port))
    [event] = port.events
    assert (event.operation, event.subject, event.patients) == ("read:patient", "dr.li", ())
    assert event.detail["count"] == 3 and event.detail["results"] == 3


@pytest.mark.parametrize("wanted", ["subject", "resource", "action"])
def test_searching_needs_a_permission_of_its_own(wanted):
    assert call(pdp(), "POST", f"/access/v1/search/{wanted}", {}, bearer="guest").status == 403
