from __future__ import annotations

import json

import pytest

from adapters.fhir.outcome import NOT_FOUND
from adapters.fhir.peer import Heard
from spir.errors import Unavailable
from spir.exchange import Commit
from spir.record.event import Outcome
from tests.fhir.given_fhir import OURS, UPSTREAM, Desk, GivenUpstream, given_site, mask, observation, patient, ward
from tests.given import deny

PHONE = [{"system": "phone", "value": "555-1234"}]
CONTACT = [{"name": {"text": "mother"}, "telecom": [{"value": "777-1234"}]}, {"name": {"text": "friend"}}]
TELECOM = mask("patient.telecom", "Patient.contact.telecom")


def desk(ruler=None, **more) -> Desk:
    upstream = GivenUpstream().put(
        patient("p1", "P001", telecom=PHONE, contact=CONTACT),
        patient("p2", "P002", telecom=PHONE),
        observation("o1", "p1"),
        observation("o2", "p2"),
        {"resourceType": "Practitioner", "id": "li"},
        {"resourceType": "Encounter", "id": "e1", "subject": {"reference": "Patient/p1"}},
        {"resourceType": "Encounter", "id": "e2", "subject": {"reference": "Patient/p2"}},
    )
    return Desk(ruler or ward(), upstream, **more)


def sent(at: Desk) -> list[tuple[str, str]]:
    return [(ask.method, ask.target) for ask in at.upstream.asked if ask.method != "GET"]


def new(subject: str = "p1", **more):
    return {**observation("ignored", subject), **more}


def seen(at: Desk, url: str):
    return at.play("GET", url).json


# -- create ----------------------------------------------------------------------------------


def test_a_create_is_recorded_before_it_is_done_and_after():
    at = desk()
    played = at.play("POST", "/Observation", new())
    id = at.upstream.asked and played.json["id"]
    assert (played.status, played.header["Location"]) == (201, f"{OURS}/Observation/{id}")
    assert played.header["ETag"] == 'W/"1"'
    assert [event.detail["stage"] for event in played.events] == ["intended", "done"]
    assert [event.patients for event in played.events] == [("HIS|P001",), ("HIS|P001",)]
    assert at.upstream.current("Observation", id)["subject"] == {"reference": "Patient/p1"}


def test_the_id_and_version_of_a_create_are_the_servers():
    at = desk()
    at.play("POST", "/Observation", new(id="mine", meta={"versionId": "7", "lastUpdated": "x", "profile": ["u"]}))
    (post,) = [json.loads(ask.body) for ask in at.upstream.asked if ask.method == "POST"]
    assert "id" not in post and post["meta"] == {"profile": ["u"]}


def test_what_cannot_be_recorded_is_not_written():
    at = desk()
    played = at.play("POST", "/Observation", new(), fail={Commit: Unavailable("disk full")})
    assert (played.status, sent(at)) == (503, [])


@pytest.mark.parametrize("subject", ["p2", "never"])
def test_nothing_is_created_for_a_patient_who_is_not_ones_own_or_not_there(subject):
    at = desk()
    played = at.play("POST", "/Observation", new(subject))
    assert (played.status, sent(at)) == (403, [])
    assert at.play("POST", "/Observation", new("p2")).response == at.play("POST", "/Observation", new("never")).response


def test_what_is_masked_for_its_author_cannot_be_created():
    at = desk(ward(["HIS|P005"], TELECOM))
    body = patient("x", "P005", telecom=PHONE)
    assert (at.play("POST", "/Patient", body).status, sent(at)) == (403, [])
    del body["telecom"]
    assert at.play("POST", "/Patient", {**body, "text": {"div": "mine"}}).status == 201


def test_a_mask_on_reading_alone_holds_for_writing_too():
    reading, writing = ward(["HIS|P001"], TELECOM), ward(["HIS|P001"])
    at = desk(lambda request: (reading if request.action.name == "read" else writing)(request))
    assert at.play("PUT", "/Patient/p1", {**seen(at, "/Patient/p1"), "telecom": []}).status == 403
    assert at.play("PUT", "/Patient/p1", {**seen(at, "/Patient/p1"), "gender": "female"}).status == 200
    assert at.upstream.current("Patient", "p1")["telecom"] == PHONE


@pytest.mark.parametrize(
    "meta",
    [
        {"security": [{"code": "N"}]},
        {"tag": [{"code": "t"}]},
        {"compartment": [{"reference": "Patient/p1"}]},
        {"account": {"reference": "Organization/1"}},
    ],
)
def test_labels_are_not_the_clients_to_set(meta):
    at = desk()
    assert at.play("POST", "/Observation", new(meta=meta)).status == 403
    assert at.play("PUT", "/Observation/o1", {**observation("o1", "p1"), "meta": meta}).status == 403
    assert sent(at) == []


def test_an_author_who_may_not_read_gets_no_echo():
    writing = ward()
    at = desk(lambda request: deny(request) if request.action.name == "read" else writing(request))
    played = at.play("POST", "/Observation", new())
    assert (played.status, played.response.body, "ETag" in played.header) == (201, b"", False)
    assert "Location" in played.header


def test_an_echo_is_masked_and_left_out_where_it_is_not_wanted():
    at = desk(ward(["HIS|P001"], TELECOM))
    played = at.play("PUT", "/Patient/p1", seen(at, "/Patient/p1"))
    assert "telecom" not in played.json and played.events[-1].outcome is Outcome.PARTIAL
    minimal = at.play("PUT", "/Patient/p1", seen(at, "/Patient/p1"), {"prefer": "return=minimal"})
    assert (minimal.status, minimal.response.body, minimal.header["ETag"]) == (200, b"", 'W/"3"')


@pytest.mark.parametrize(
    ("reference", "status"),
    [
        ({"encounter": {"reference": "Encounter/e1"}}, 201),
        ({"performer": [{"reference": "Practitioner/li"}]}, 201),
        ({"performer": [{"reference": "Practitioner/never"}]}, 201),  # a directory's: nobody's secret
        ({"focus": [{"reference": "http://elsewhere/fhir/Patient/1"}]}, 201),
        ({"focus": [{"reference": "urn:uuid:0c3151bd-1cbf-4d64-b04d-cd9187a4c6e0"}]}, 201),
        ({"encounter": {"reference": "Encounter/e2"}}, 403),
        ({"encounter": {"reference": "Encounter/never"}}, 403),
        ({"hasMember": [{"reference": "Observation/o2"}]}, 403),
        ({"focus": [{"reference": "Patient/p2"}]}, 403),
        ({"extension": [{"url": "u", "valueReference": {"reference": "Patient/p2"}}]}, 403),
        ({"focus": [{"reference": "Person/1"}]}, 403),
        ({"encounter": {"reference": "Encounter?identifier=1"}}, 400),
        ({"focus": [{"reference": f"{UPSTREAM}/Patient/p1"}]}, 400),
        ({"focus": [{"reference": f"{OURS}/Patient/p1"}]}, 400),
        ({"focus": [{"reference": "Patient/../x"}]}, 400),
        ({"focus": [{"reference": f"Observation/x{n}"} for n in range(40)]}, 400),
    ],
)
def test_a_body_refers_to_nothing_its_author_may_not_see(reference, status):
    at = desk()
    played = at.play("POST", "/Observation", new(**reference))
    assert (played.status, len(sent(at))) == (status, int(status == 201))


def test_invisible_and_absent_references_are_refused_alike():
    at = desk()
    answers = [
        at.play("POST", "/Observation", new(encounter={"reference": f"Encounter/{id}"})).response
        for id in ("e2", "never")
    ]
    assert answers[0] == answers[1]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"{", 400),
        (b"[]", 400),
        (b'{"resourceType":"Patient"}', 400),
        (b'{"resourceType":"Observation","status":"final","status":"amended"}', 400),
        (b'\xef\xbb\xbf{"resourceType":"Observation"}', 400),
        (b'{"resourceType":"Observation","x":"\xff"}', 400),
        (b'{"resourceType":"Observation","x":1e999}', 400),
        (b'{"resourceType":"Observation","contained":{}}', 400),
        (b'{"resourceType":"Observation","meta":[]}', 400),
        (b'{"resourceType":"Observation","x":' + b"[" * 70 + b"]" * 70 + b"}", 400),
    ],
)
def test_a_body_that_is_no_resource_is_not_sent_on(body, status):
    at = desk()
    assert at.play("POST", "/Observation", body, {"content-type": "application/fhir+json"}).status == status
    assert at.upstream.asked == []


def test_a_body_in_xml_is_415():
    assert (
        desk().play("POST", "/Observation", b"<Observation/>", {"content-type": "application/fhir+xml"}).status == 415
    )


def test_decimals_are_sent_on_as_they_came():
    at = desk()
    raw = json.dumps(new(valueQuantity={"value": 7})).replace(": 7}", ": 0.40}").encode()
    at.play("POST", "/Observation", raw, {"content-type": "application/json"})
    (post,) = [ask.body for ask in at.upstream.asked if ask.method == "POST"]
    assert b"0.40" in post


def test_a_site_may_have_bodies_checked():
    site = given_site(check=lambda type, raw: None if b"glucose" in raw else "code.text (missing)")
    at = desk(site=site)
    assert at.play("POST", "/Observation", new()).status == 201
    played = at.play("POST", "/Observation", new(code={}))
    assert (played.status, "code.text (missing)" in played.response.body.decode()) == (422, True)


@pytest.mark.parametrize("status", [400, 404, 409, 422])
def test_why_the_server_refuses_is_not_passed_on(status):
    at = desk()
    answer = at.upstream.answer
    at.upstream.answer = lambda ask: Heard(status, b"Mrs Lin is there") if ask.method == "POST" else answer(ask)
    played = at.play("POST", "/Observation", new())
    assert (played.status, b"Lin" in played.response.body) == (422, False)


def test_a_server_that_does_not_say_what_it_created_is_at_fault():
    at = desk()
    answer = at.upstream.answer
    at.upstream.answer = lambda ask: Heard(201) if ask.method == "POST" else answer(ask)
    assert at.play("POST", "/Observation", new()).status == 502


@pytest.mark.parametrize("location", ["http://u/fhir/Observation/o1/_history/1", "Observation/o1"])
def test_what_was_created_is_read_where_the_server_only_says_where(location):
    at = desk()
    answer = at.upstream.answer
    at.upstream.answer = lambda ask: Heard(201, b"", location) if ask.method == "POST" else answer(ask)
    assert at.play("POST", "/Observation", new()).json["id"] == "o1"


# -- update ----------------------------------------------------------------------------------


def test_reading_changing_and_writing_destroys_nothing_that_is_hidden():
    at = desk(ward(["HIS|P001"], TELECOM))
    body = {**seen(at, "/Patient/p1"), "gender": "female"}
    assert "telecom" not in body and body["contact"] == [{"name": {"text": "mother"}}, {"name": {"text": "friend"}}]
    played = at.play("PUT", "/Patient/p1", body)
    assert played.status == 200
    stored = at.upstream.current("Patient", "p1")
    assert (stored["telecom"], stored["contact"], stored["gender"]) == (PHONE, CONTACT, "female")
    assert sent(at) == [("PUT", "Patient/p1")]
    assert [ask.if_match for ask in at.upstream.asked if ask.method == "PUT"] == ["1"]


@pytest.mark.parametrize("value", ["555-1234", "guess"])
def test_what_is_masked_cannot_be_written_whatever_its_value(value):
    at = desk(ward(["HIS|P001"], TELECOM))
    body = {**seen(at, "/Patient/p1"), "telecom": [{"system": "phone", "value": value}]}
    played = at.play("PUT", "/Patient/p1", body)
    assert (played.status, played.json["issue"][0]["code"], sent(at)) == (403, "security", [])


def test_a_changed_item_with_a_hidden_part_is_refused():
    at = desk(ward(["HIS|P001"], TELECOM))
    body = seen(at, "/Patient/p1")
    body["contact"][0]["name"]["text"] = "aunt"
    assert (at.play("PUT", "/Patient/p1", body).status, sent(at)) == (422, [])


def test_a_put_to_what_is_invisible_and_to_what_is_not_there_are_one_answer():
    at = desk()
    answers = [at.play("PUT", f"/Observation/{id}", observation(id, "p1")).response for id in ("o2", "never")]
    assert answers[0] == answers[1]
    assert answers[0].body == NOT_FOUND.body
    assert sent(at) == []


def test_nothing_moves_out_of_ones_sight():
    at = desk()
    assert at.play("PUT", "/Observation/o1", observation("o1", "p2")).status == 403
    assert at.play("PUT", "/Patient/p1", patient("p1", "P002")).status == 403
    assert sent(at) == []


def test_nothing_moves_into_it():
    at = desk()
    assert at.play("PUT", "/Observation/o2", observation("o2", "p1")).status == 404
    assert sent(at) == []


def test_what_may_be_read_but_not_changed_is_403():
    reading, writing = ward(), ward(["HIS|P002"])
    at = desk(lambda request: (reading if request.action.name == "read" else writing)(request))
    for method, body in (("PUT", observation("o1", "p1")), ("DELETE", None)):
        assert (at.play(method, "/Observation/o1", body).status, sent(at)) == (403, [])


def test_the_bodys_id_must_be_the_urls():
    at = desk()
    for body in (observation("o2", "p1"), new(id=None), {k: v for k, v in new().items() if k != "id"}):
        assert at.play("PUT", "/Observation/o1", body).status == 400
    assert at.upstream.asked == []


@pytest.mark.parametrize("if_match", ['W/"9"', '"9"', "9", "*"])
def test_another_version_than_the_callers_is_412_but_only_of_what_may_be_seen(if_match):
    at = desk()
    headers = {"if-match": if_match}
    assert at.play("PUT", "/Observation/o1", observation("o1", "p1"), headers).status == 412
    assert at.play("DELETE", "/Observation/o1", None, headers).status == 412
    assert at.play("DELETE", "/Observation/o2", None, headers).status == 404
    assert sent(at) == []
    assert at.play("PUT", "/Observation/o1", observation("o1", "p1"), {"if-match": 'W/"1"'}).status == 200


def test_a_change_that_overtakes_is_412():
    at = desk()
    answer = at.upstream.answer

    def overtaken(ask):
        if ask.method == "PUT":
            at.upstream.put(observation("o1", "p2"))
        return answer(ask)

    at.upstream.answer = overtaken
    assert at.play("PUT", "/Observation/o1", observation("o1", "p1")).status == 412


def test_a_server_without_versions_is_not_written_to():
    at = desk()
    at.upstream.current("Observation", "o1")["meta"] = {}
    for method, body in (("PUT", observation("o1", "p1")), ("DELETE", None)):
        played = at.play(method, "/Observation/o1", body)
        assert (played.status, [event.outcome for event in played.events]) == (502, [Outcome.ERROR])
    assert sent(at) == []


def test_labels_stay_as_they_were_whether_or_not_they_are_sent_back():
    at = desk()
    label = {"security": [{"code": "R"}], "tag": [{"code": "t"}], "profile": ["old"]}
    at.upstream.put(observation("o1", "p1", meta=label))
    read = seen(at, "/Observation/o1")
    for body in (read, {**read, "meta": {}}, {k: v for k, v in read.items() if k != "meta"}):
        assert at.play("PUT", "/Observation/o1", body).status == 200
        stored = at.upstream.current("Observation", "o1")["meta"]
        assert (stored["security"], stored["tag"]) == (label["security"], label["tag"])
    changed = {**read, "meta": {"security": []}}
    assert at.play("PUT", "/Observation/o1", changed).status == 403
    at.play("PUT", "/Observation/o1", {**read, "meta": {"profile": ["new"]}})
    assert at.upstream.current("Observation", "o1")["meta"]["profile"] == ["new"]


def test_what_was_read_in_part_cannot_be_written_back():
    at = desk()
    partial = seen(at, "/Observation/o1?_elements=status,code,subject")
    assert at.play("PUT", "/Observation/o1", partial).status == 403


def test_contained_resources_that_were_cut_out_come_back():
    hidden = {"resourceType": "Device", "id": "d"}
    reading = ward(kinds={"read:device": "no", "update:device": "no", "create:device": "no"})
    at = desk(reading)
    inner = [hidden, patient("q", "P001")]
    at.upstream.put(observation("o1", "p1", contained=inner, text={"div": "with a device"}))
    read = seen(at, "/Observation/o1")
    assert [item["id"] for item in read["contained"]] == ["q"] and "text" not in read
    assert at.play("PUT", "/Observation/o1", read).status == 200
    stored = at.upstream.current("Observation", "o1")
    assert [item["id"] for item in stored["contained"]] == ["q", "d"] and "text" in stored
    assert at.play("PUT", "/Observation/o1", {**read, "contained": [*read["contained"], hidden]}).status == 403
    assert at.play("POST", "/Observation", new(contained=[hidden])).status == 403


def test_a_contained_resource_that_may_be_read_but_not_written_can_stay_but_not_change():
    at = desk(ward(kinds={"update:device": "no"}))
    at.upstream.put(observation("o1", "p1", contained=[{"resourceType": "Device", "id": "d", "serialNumber": "1"}]))
    read = seen(at, "/Observation/o1")
    assert at.play("PUT", "/Observation/o1", {**read, "status": "amended"}).status == 200
    changed = {**read, "contained": [{"resourceType": "Device", "id": "d", "serialNumber": "2"}]}
    assert at.play("PUT", "/Observation/o1", changed).status == 403


def test_a_reference_that_was_there_before_is_not_asked_for_again():
    at = desk()
    at.upstream.put(observation("o1", "p1", encounter={"reference": "Encounter/e2"}))
    assert at.play("PUT", "/Observation/o1", {**seen(at, "/Observation/o1"), "status": "amended"}).status == 200


def test_who_is_who_is_asked_again_after_a_patient_was_written():
    at = desk()
    at.play("GET", "/Observation/o1")
    at.play("PUT", "/Patient/p1", seen(at, "/Patient/p1"))
    at.upstream.asked.clear()
    at.play("GET", "/Observation/o1")
    assert any(ask.target.startswith("Patient?_id=p1") for ask in at.upstream.asked)


# -- delete ----------------------------------------------------------------------------------


def test_a_delete_is_tied_to_the_version_that_was_judged():
    at = desk()
    played = at.play("DELETE", "/Observation/o1")
    assert (played.status, played.response.body, sent(at)) == (204, b"", [("DELETE", "Observation/o1")])
    assert at.upstream.asked[-1].if_match == "1"
    assert [event.detail["stage"] for event in played.events] == ["intended", "done"]
    assert at.upstream.current("Observation", "o1") is None


def test_a_delete_of_what_is_invisible_absent_or_deleted_is_one_answer():
    at = desk()
    at.play("DELETE", "/Observation/o1")
    answers = [at.play("DELETE", f"/Observation/{id}").response for id in ("o2", "never", "o1")]
    assert answers[0] == answers[1] == answers[2]
    assert len(sent(at)) == 1


@pytest.mark.parametrize(("status", "ours"), [(404, 404), (410, 404), (409, 412), (412, 412), (400, 422)])
def test_what_a_server_says_to_a_delete_is_told_in_our_words(status, ours):
    at = desk()
    answer = at.upstream.answer
    at.upstream.answer = lambda ask: Heard(status, b"Mrs Lin") if ask.method == "DELETE" else answer(ask)
    played = at.play("DELETE", "/Observation/o1")
    assert (played.status, b"Lin" in played.response.body) == (ours, False)
