from __future__ import annotations

import json
from datetime import timedelta

import pytest

from adapters.fhir.outcome import NOT_FOUND
from adapters.fhir.peer import Ask, Heard
from spir.errors import PeerError, Unavailable
from spir.exchange import AskPeer, Commit, Decide, Notify, Record
from spir.model.obligation import Obligation
from spir.model.request import Entity
from spir.record.event import EventKind, Outcome
from tests.fhir.given_fhir import OURS, UPSTREAM, Desk, GivenUpstream, everything, mask, observation, patient, ward
from tests.given import NOON, deny

PHONE = {"telecom": [{"system": "phone", "value": "555-1234"}]}


def upstream() -> GivenUpstream:
    return GivenUpstream().put(
        patient("p1", "P001", **PHONE),
        patient("p2", "P002", **PHONE),
        observation("o1", "p1"),
        observation("o2", "p2"),
        observation("o3", "p1", status="preliminary"),
    )


def desk(ruler=None) -> Desk:
    return Desk(ruler or ward(), upstream())


def test_a_read_goes_decide_ask_find_out_whose_decide_record_answer():
    played = (at := desk()).play("GET", "/Observation/o1")
    assert [ask.target for ask in at.upstream.asked] == ["Observation/o1", "Patient?_id=p1&_count=64"]
    # once for all that it could be before the upstream is asked, and again when the data is there
    assert [request.operation for request in played.decided] == [
        "read:result",
        "read:vitals",
        "read:result",
        "read:vitals",
    ]
    assert played.status == 200
    assert played.json == at.upstream.current("Observation", "o1")
    assert played.header["ETag"] == 'W/"1"'
    assert played.header["Last-Modified"] == "Sat, 21 Nov 2026 10:00:00 GMT"
    assert played.header["X-Policy-Version"] == "b1"
    (event,) = played.events
    assert (event.kind, event.operation, event.outcome) == (EventKind.DECISION, "read:result", Outcome.SUCCESS)
    assert event.patients == ("HIS|P001",)
    assert event.detail == {"interaction": "read", "type": "Observation", "status": 200, "masked": 0}


def test_what_is_not_changed_goes_out_byte_for_byte():
    at = desk()
    raw = b'{ "resourceType":"Observation","id":"o9", "subject":{"reference":"Patient/p1"},"x":{"value":0.40}}'
    at.upstream.answer = lambda ask: Heard(200, raw) if "o9" in ask.target else GivenUpstream.answer(at.upstream, ask)
    assert at.play("GET", "/Observation/o9").response.body == raw


def test_invisible_absent_and_deleted_are_one_answer():
    at = desk()
    at.upstream.held["Observation", "gone"] = [{}]
    answers = [at.play("GET", f"/Observation/{id}").response for id in ("o2", "never", "gone")]
    assert answers[0] == answers[1] == answers[2]
    assert (answers[0].status, answers[0].body) == (404, NOT_FOUND.body)


def test_gone_is_not_told_apart_either():
    at = desk()
    at.upstream.answer = lambda ask: Heard(410, b'{"resourceType":"OperationOutcome","text":"was Mrs Lin"}')
    assert at.play("GET", "/Observation/o1").response.body == NOT_FOUND.body


def test_what_is_not_permitted_at_all_is_403_before_anybody_is_asked():
    at = desk(deny)
    for method, url, body in (
        ("GET", "/Patient/p1", None),
        ("GET", "/Patient/never", None),
        ("GET", "/Patient?name=a", None),
        ("POST", "/Patient", {"resourceType": "Patient"}),
        ("PUT", "/Patient/p1", {"resourceType": "Patient", "id": "p1"}),
        ("DELETE", "/Patient/p1", None),
    ):
        played = at.play(method, url, body)
        assert (played.status, played.json["issue"][0]["code"]) == (403, "forbidden")
        assert [event.outcome for event in played.events] == [Outcome.REFUSED]
    assert at.upstream.asked == []


def test_a_mask_hides_and_the_audit_trail_says_that_it_did():
    played = desk(ward(["HIS|P001"], mask("patient.telecom"))).play("GET", "/Patient/p1")
    assert "telecom" not in played.json
    assert played.events[0].outcome is Outcome.PARTIAL


@pytest.mark.parametrize(
    "obligation", [Obligation("d", "deidentify", {"profile": "basic"}), mask("patient.shoe_size"), mask()]
)
def test_an_obligation_that_cannot_be_kept_shows_nothing(obligation):
    at = desk(ward(["HIS|P001"], obligation))
    assert at.play("GET", "/Patient/p1").status in (403, 404)
    search = at.play("GET", "/Patient")
    assert search.status == 403


def test_an_older_version_is_judged_with_the_current_one():
    at = desk(ward(["HIS|P001"], mask("patient.telecom")))
    at.upstream.put(patient("p1", "P001", active=True))
    shown = at.play("GET", "/Patient/p1/_history/1")
    assert (shown.status, "telecom" in shown.json, shown.header["ETag"]) == (200, False, 'W/"1"')
    at.upstream.put(patient("p1", "P009"))
    assert at.play("GET", "/Patient/p1/_history/1").response.body == NOT_FOUND.body
    assert at.play("GET", "/Patient/p1/_history/77").response.body == NOT_FOUND.body
    at.upstream.held["Patient", "p1"].append({})
    assert at.play("GET", "/Patient/p1/_history/1").response.body == NOT_FOUND.body


@pytest.mark.parametrize(
    "headers",
    [
        {"if-none-match": 'W/"1"'},
        {"if-none-match": '"x", "1"'},
        {"if-none-match": "*"},
        {"if-modified-since": "Sat, 21 Nov 2026 10:00:00 GMT"},
    ],
)
def test_a_condition_is_asked_only_of_what_may_be_seen(headers):
    at = desk()
    seen = at.play("GET", "/Observation/o1", headers=headers)
    assert (seen.status, seen.response.body) == (304, b"")
    for id in ("o2", "never"):
        assert at.play("GET", f"/Observation/{id}", headers=headers).response.body == NOT_FOUND.body


@pytest.mark.parametrize(
    "headers", [{"if-none-match": 'W/"2"'}, {"if-modified-since": "yesterday"}, {"if-modified-since": "1 Jan 2020"}]
)
def test_a_condition_that_does_not_hold_is_no_condition(headers):
    assert desk().play("GET", "/Observation/o1", headers=headers).status == 200


def test_a_change_while_the_upstream_thinks_counts():
    at = desk()
    at.upstream.meanwhile = lambda: setattr(at, "ruler", deny)
    assert at.play("GET", "/Observation/o1").response.body == NOT_FOUND.body
    at.ruler = ward()
    assert at.play("GET", "/Observation").ids == []


def test_another_resource_than_the_one_asked_for_is_the_servers_fault():
    at = desk()
    for resource in (observation("o2", "p1"), patient("o1", "P001"), {}, [], {"resourceType": "Observation"}):
        at.upstream.answer = lambda ask, body=json.dumps(resource).encode(): Heard(200, body)
        played = at.play("GET", "/Observation/o1")
        assert (played.status, played.events[0].outcome) == (502, Outcome.ERROR)
        assert b"subject" not in played.response.body


@pytest.mark.parametrize("status", [301, 302, 401, 403, 429, 500, 503])
def test_what_an_upstream_says_when_it_fails_is_not_passed_on(status):
    at = desk()
    at.upstream.answer = lambda ask: Heard(status, b'{"text":"Mrs Lin"}', "http://elsewhere/Patient/p1")
    for url in ("/Observation/o1", "/Observation", "/Observation/o1/_history/1"):
        played = at.play("GET", url)
        assert (played.status, b"Lin" in played.response.body, "Location" in played.header) == (502, False, False)


@pytest.mark.parametrize("body", [b'{"a":1', b'{"resourceType":"Observation","id":"o1","id":"o2"}', b"\xff"])
def test_a_document_that_two_readers_could_read_differently_is_not_passed_on(body):
    at = desk()
    at.upstream.answer = lambda ask: Heard(200, body)
    assert at.play("GET", "/Observation/o1").status == 502


@pytest.mark.parametrize("failing", [Commit, AskPeer, Decide])
def test_where_something_of_ours_fails_nothing_is_released(failing):
    played = desk().play("GET", "/Observation/o1", fail={failing: Unavailable("the disk of Mrs Lin is full")})
    assert played.status == 503
    assert b"Lin" not in played.response.body and b"o1" not in played.response.body


def test_an_upstream_that_does_not_answer_is_502_and_recorded():
    played = desk().play("GET", "/Observation/o1", fail={AskPeer: PeerError("timeout")})
    assert (played.status, played.events[0].detail["error"]) == (502, "PeerError")


def test_upstream_urls_become_ours_wherever_they_are():
    at = desk()
    at.upstream.put(observation("o4", "p1", derivedFrom=[{"reference": f"{UPSTREAM}/Observation/o1"}]))
    shown = at.play("GET", "/Observation/o4")
    assert shown.json["derivedFrom"] == [{"reference": f"{OURS}/Observation/o1"}]
    raw = json.dumps(at.upstream.current("Observation", "o4")).replace("/", "\\/").encode()
    at.upstream.answer = lambda ask: Heard(200, raw) if "o4" in ask.target else GivenUpstream.answer(at.upstream, ask)
    assert b"upstream.test" not in at.play("GET", "/Observation/o4").response.body
    at.upstream.answer = lambda ask: (
        Heard(200, raw.replace(b"http:", b"\\u0068ttp:"))
        if "o4" in ask.target
        else GivenUpstream.answer(at.upstream, ask)
    )
    assert at.play("GET", "/Observation/o4").status == 404


def test_another_hosts_url_is_left_alone():
    at = desk()
    at.upstream.put(observation("o4", "p1", derivedFrom=[{"reference": "http://upstream.test.org/Observation/o1"}]))
    assert at.play("GET", "/Observation/o4").json["derivedFrom"][0]["reference"].startswith("http://upstream.test.org/")


# -- search ----------------------------------------------------------------------------------


def test_a_search_is_narrowed_to_the_patients_that_can_be_admitted():
    played = (at := desk()).play("GET", "/Observation?status=final")
    assert [ask.target for ask in at.upstream.asked] == [
        "Patient?identifier=urn%3Aoid%3A1.2.3%7CP001&_count=200",
        "Observation?status=final&patient=Patient%2Fp1&_count=50",
        "Patient?_id=p1&_count=64",
    ]
    assert played.ids == ["o1"]
    assert played.json["total"] == 1
    assert played.json["entry"][0]["fullUrl"] == f"{OURS}/Observation/o1"
    assert played.json["link"] == [{"relation": "self", "url": f"{OURS}/Observation?status=final"}]
    (event,) = played.events
    assert event.detail == {
        "interaction": "search-type",
        "type": "Observation",
        "status": 200,
        "returned": 1,
        "withheld": 0,
        "masked": 0,
        "pages": 1,
    }
    assert event.patients == ("HIS|P001",)


def test_where_nothing_can_match_the_upstream_is_not_asked():
    played = (at := desk(ward([]))).play("GET", "/Observation")
    assert (at.upstream.asked, played.status, played.ids, played.json["total"]) == ([], 200, [], 0)


def test_a_patient_whom_the_upstream_does_not_know_matches_nothing():
    played = (at := desk(ward(["HIS|P777", "LAB|1"]))).play("GET", "/Observation")
    assert played.ids == []
    assert len(at.upstream.asked) == 1


def test_a_lenient_upstream_that_ignores_the_narrowing_gets_nothing_out():
    at = desk()
    answer = at.upstream.answer
    at.upstream.answer = lambda ask: answer(Ask(ask.method, ask.target.replace("patient=", "pacient=")))
    played = at.play("GET", "/Observation")
    assert played.ids == ["o1", "o3"]
    assert played.events[0].detail["withheld"] == 1


def test_asking_for_somebody_else_as_well_does_not_widen_the_search():
    at = desk()
    assert at.play("GET", "/Observation?patient=Patient/p1,Patient/p2").ids == ["o1", "o3"]
    assert at.play("GET", "/Observation?patient=Patient/p2").ids == []


def test_a_total_is_given_only_where_everything_is_shown():
    at = desk(everything())
    assert at.play("GET", "/Observation").json["total"] == 3
    assert "total" not in at.play("GET", "/Observation?_count=2").json


@pytest.mark.parametrize("query", ["_summary=count", "_total=accurate", "_total=estimate", "_count=0"])
def test_counts_are_not_given(query):
    played = (at := desk(everything())).play("GET", f"/Observation?{query}")
    assert (played.status, at.upstream.asked) == (403, [])


def test_a_search_that_looks_at_what_is_masked_is_refused_before_it_is_asked():
    at = desk(ward(["HIS|P001"], mask("patient.telecom")))
    for query in ("phone=555-1234", "phone=nothing", "_sort=telecom", "email:missing=true"):
        played = at.play("GET", f"/Patient?{query}")
        assert (played.status, played.json["issue"][0]["code"]) == (403, "security")
        assert played.events[0].decision is not None
    assert at.upstream.asked == []


def test_a_row_whose_own_mask_covers_what_was_searched_is_not_shown():
    ruler = ward()

    def late(request):
        ruling = ruler(request)
        return type(ruling)(ruling.decision, request, ruling.judge, (mask("patient.telecom"),))

    assert desk(late).play("GET", "/Patient?phone=555-1234").ids == []
    assert desk(late).play("GET", "/Patient?gender=female").ids == ["p1"]


def crowd(hidden: int, seen: int) -> GivenUpstream:
    made = GivenUpstream().put(patient("p1", "P001"), patient("p2", "P002"))
    for number in range(hidden):
        made.put(observation(f"h{number:03}", "p2"))
    for number in range(seen):
        made.put(observation(f"s{number:03}", "p1"))
    made.answer_all = True
    return made


def unnarrowed(ruler):
    """As `ruler`, but it cannot say beforehand whose rows it admits."""

    def rule(request):
        ruling = ruler(request)
        open_end = type(ruling.decision.residual)(
            ruling.decision.residual.condition, (ruling.decision.residual.clauses[0].__class__(()),)
        )
        return type(ruling)(
            type(ruling.decision)(ruling.decision.effect, ruling.decision.operation, open_end, bundle="b1"),
            request,
            ruling.judge,
        )

    return rule


def test_short_pages_are_refilled_and_next_links_are_opaque():
    at = Desk(unnarrowed(ward()), crowd(120, 5))
    at.upstream.page = 50
    played = at.play("GET", "/Observation?_count=3")
    assert played.ids == ["s000", "s001", "s002"]
    assert played.events[0].detail["pages"] == 3
    (link,) = [link["url"] for link in played.json["link"] if link["relation"] == "next"]
    assert link.startswith(f"{OURS}/Observation?_page=") and "total" not in played.json
    assert "offset" not in link and "patient" not in link
    rest = at.play("GET", link.removeprefix(OURS))
    assert rest.ids == ["s003", "s004"]
    assert [link["relation"] for link in rest.json["link"]] == ["self"]


def test_refilling_is_bounded():
    at = Desk(unnarrowed(ward()), crowd(400, 1))
    at.upstream.page = 50
    played = at.play("GET", "/Observation")
    assert played.ids == [] and played.events[0].detail["pages"] == 5
    assert any(link["relation"] == "next" for link in played.json["link"])


def test_the_size_of_a_page_does_not_measure_what_is_hidden():
    answers = []
    for hidden in (0, 1, 7, 30):
        at = Desk(unnarrowed(ward()), crowd(hidden, 1))
        answers.append(at.play("GET", "/Observation?_count=1").json)
    assert all(answer["entry"][0]["resource"]["id"] == "s000" for answer in answers)
    assert all(answer["link"] == answers[0]["link"] and answer["total"] == 1 for answer in answers)


def paged(at: Desk) -> str:
    played = at.play("GET", "/Observation?_count=2")
    return next(link["url"] for link in played.json["link"] if link["relation"] == "next").removeprefix(OURS)


def test_a_cursor_is_good_for_its_owner_only_and_only_for_a_while():
    at = desk(everything())
    link = paged(at)
    assert at.play("GET", link).ids == ["o3"]
    other = at.play("GET", link, subject=Entity("person", "dr.wu"))
    assert (other.status, other.json["issue"][0]["code"]) == (404, "expired")
    assert at.play("GET", link.replace("Observation", "Patient")).status == 404
    assert at.play("GET", link[:-4] + "AAAA").status == 404
    at.now = NOON + timedelta(hours=1)
    assert at.play("GET", link).status == 404


def test_a_page_is_decided_anew():
    at = desk(everything())
    link = paged(at)
    at.ruler = ward(["HIS|P002"], bundle="b1")
    assert at.play("GET", link).ids == []
    at.ruler = ward(bundle="b2")
    assert at.play("GET", link).status == 404
    at.ruler = deny
    assert at.play("GET", link).status == 403


@pytest.mark.parametrize(
    "url",
    [
        "http://elsewhere/fhir/Observation?_offset=2",
        "http://upstream.test/fhirX?_offset=2",
        "http://upstream.test/fhir/../admin",
        "http://upstream.test/fhir//elsewhere",
        "http://upstream.test/fhir/Observation?a b",
        "ftp://upstream.test/fhir/Observation",
        "",
    ],
)
def test_a_link_that_leads_elsewhere_is_not_followed(url):
    at = desk(everything())
    body = {
        "resourceType": "Bundle",
        "type": "searchset",
        "link": [{"relation": "next", "url": url}],
        "entry": [{"resource": observation("o1", "p1")}],
    }
    at.upstream.answer = lambda ask: Heard(200, json.dumps(body).encode())
    played = at.play("GET", "/Observation?_count=1")
    assert [link["relation"] for link in played.json["link"]] == ["self"]


def test_a_limit_is_kept_over_all_pages():
    at = desk(everything(Obligation("l", "limit", {"count": 3})))
    at.upstream.put(*(observation(f"x{number}", "p1") for number in range(5)))
    first = at.play("GET", "/Observation?_count=2")
    (link,) = [link["url"] for link in first.json["link"] if link["relation"] == "next"]
    second = at.play("GET", link.removeprefix(OURS))
    assert (len(first.ids), len(second.ids)) == (2, 1)
    assert [link["relation"] for link in second.json["link"]] == ["self"]
    assert "total" not in second.json


def test_included_entries_and_outcomes_do_not_get_through():
    at = desk(everything())
    entries = [
        {"resource": patient("p1", "P001"), "search": {"mode": "include"}},
        {"resource": {"resourceType": "OperationOutcome"}, "search": {"mode": "outcome"}},
        {"resource": patient("p2", "P002")},
        {"resource": {**observation("o1", "p1"), "id": "../x"}},
        {"resource": observation("o1", "p1")},
    ]
    body = {"resourceType": "Bundle", "type": "searchset", "entry": entries}
    at.upstream.answer = lambda ask: Heard(200, json.dumps(body).encode())
    assert at.play("GET", "/Observation").ids == ["o1"]


def test_a_view_is_cut_here_so_that_the_whole_resource_can_be_judged():
    played = (at := desk()).play("GET", "/Observation?_elements=status")
    assert all("_elements" not in ask.target for ask in at.upstream.asked)
    assert played.ids == ["o1", "o3"]
    assert "subject" not in played.json["entry"][0]["resource"]


def test_a_search_the_upstream_refuses_is_refused_without_its_words():
    at = desk(everything())
    at.upstream.answer = lambda ask: Heard(400, b'{"text":"Mrs Lin"}')
    played = at.play("GET", "/Observation?code=x")
    assert (played.status, b"Lin" in played.response.body) == (400, False)


def test_what_is_known_of_patients_is_not_asked_again_for_a_while():
    at = desk()
    at.play("GET", "/Observation")
    at.upstream.asked.clear()
    at.play("GET", "/Observation")
    assert [ask.target.partition("?")[0] for ask in at.upstream.asked] == ["Observation"]
    at.now = NOON + timedelta(seconds=31)
    at.upstream.asked.clear()
    at.play("GET", "/Observation")
    assert [ask.target.partition("?")[0] for ask in at.upstream.asked] == ["Patient", "Observation", "Patient"]


def test_an_alert_is_put_into_the_outbox_with_the_record_of_what_was_released():
    alert = Obligation("a", "notify", {"channel": "alert", "priority": "high"})
    played = desk(ward(["HIS|P001"], alert)).play("GET", "/Observation/o1")
    record, notify = played.committed
    assert isinstance(record, Record) and isinstance(notify, Notify)
    assert (notify.notification.channel, notify.notification.priority) == ("alert", "high")
    assert notify.notification.body == {
        "operation": "read:result",
        "subject": "dr.li",
        "resource": "Observation/o1",
        "patients": ["HIS|P001"],
        "time": NOON.isoformat(),
    }
    assert len(desk(ward(["HIS|P001"], alert)).play("GET", "/Observation/o2").committed) == 1


def test_xml_is_406_whatever_is_asked():
    at = desk()
    for url in ("/Observation/o1?_format=xml", "/Observation?_format=application/fhir%2Bxml"):
        played = at.play("GET", url)
        assert (played.status, played.events[0].kind) == (406, EventKind.REFUSAL)
    assert at.upstream.asked == []


def test_no_event_holds_an_identifier_outside_of_its_places():
    at = desk(ward(["HIS|P001"], mask("patient.name")))
    for url in ("/Patient/p1", "/Patient/p2", "/Observation?patient=p1", "/Patient?identifier=P001&name=lin"):
        for event in at.play("GET", url).events:
            said = json.dumps(event.detail) + event.operation + event.subject
            assert "P001" not in said and "p1" not in said and "lin" not in said
