"""The decision point as its callers see it: answers, refusals, what is recorded before them, and what never happens."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.authzen.service import Pdp, PdpConfig
from spir.errors import DocumentError
from spir.model.request import Entity
from spir.record.event import EventKind, Outcome
from tests.authzen.given_pdp import DR_LI, GivenPdp, ask, call, evaluation, pdp
from tests.given import NOON, permit

EVALUATION, EVALUATIONS = "/access/v1/evaluation", "/access/v1/evaluations"
MASKED = {"obligations": [{"id": "hide-phone", "type": "mask", "properties": {"paths": ["patient.telecom"]}}]}
ALLOWED = {"decision": True, "context": MASKED}


def treated():
    """A port where dr.li treats HIS|P001."""
    port = GivenPdp()
    port.learn("HIS|P001", care_team=("dr.li",))
    return port


def codes(reply):
    return [reason["code"] for reason in reply.json["context"]["reasons"]]


# -- decisions ---------------------------------------------------------------------------------


def test_a_permit_comes_with_what_must_be_done():
    reply = call(pdp(treated()), "POST", EVALUATION, evaluation())
    assert (reply.status, reply.json) == (200, ALLOWED)


def test_default_is_deny_and_says_why():
    reply = call(pdp(treated()), "POST", EVALUATION, evaluation("dr.wu"))
    assert (reply.status, reply.json["decision"]) == (200, False) and codes(reply)


def test_what_the_facts_say_goes_before_what_the_caller_says():
    claimed = {"id": "HIS|P001", "care_team": ["dr.wu"]}
    assert call(pdp(treated()), "POST", EVALUATION, evaluation("dr.wu", patient=claimed)).json["decision"] is False


def test_a_conditional_decision_is_false_and_can_be_seen_to_be_conditional():
    body = {**evaluation("dr.li", "search", "imaging"), "deferred": ["resource.modality"]}
    said = call(pdp(treated()), "POST", EVALUATION, body).json
    assert said["decision"] is False and said["context"]["conditional"] is True
    [conjunction] = said["context"]["residual"]["value"]
    assert conjunction["value"] == [
        {"type": "field", "operator": "in", "field": "resource.modality", "value": ["CR", "DX"]}
    ]


def test_every_answer_names_the_policies_the_call_and_its_trace():
    port = treated()
    for method, path in (("POST", EVALUATION), ("GET", "/healthz"), ("GET", "/nowhere")):
        headers = call(pdp(port), method, path, evaluation()).headers
        assert headers["x-policy-version"] == port.bundle
        assert re.fullmatch(r"00-[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"])
        assert headers["x-request-id"] and headers.get("cache-control") == (None if method == "POST" else "no-store")


def test_the_trace_goes_on_with_a_span_of_ours():
    given = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00"
    port = treated()
    headers = call(pdp(port), "POST", EVALUATION, evaluation(), headers=[("traceparent", given)]).headers
    _, trace, span, _ = headers["traceparent"].split("-")
    assert trace == "0af7651916cd43dd8448eb211c80319c" and span != "b7ad6b7169203331"
    assert port.events[0].detail["trace"] == trace


@pytest.mark.parametrize("given", ["00-" + "0" * 32 + "-b7ad6b7169203331-00", "junk", "00-AF-1-00"])
def test_a_trace_that_is_none_begins_anew(given):
    headers = call(pdp(), "GET", "/healthz", headers=[("traceparent", given)]).headers
    assert re.fullmatch(r"00-(?!0{32})[0-9a-f]{32}-[0-9a-f]{16}-01", headers["traceparent"])


# -- remembering -------------------------------------------------------------------------------


def ruled(port):
    """How often the engine was asked about dr.li."""
    return sum(request.subject.id == "dr.li" for request in port.asked)


def test_the_same_question_is_decided_once_and_recorded_each_time():
    port = treated()
    app = pdp(port)
    answers = [call(app, "POST", EVALUATION, evaluation()).json for _ in range(3)]
    assert answers == [ALLOWED] * 3
    assert ruled(port) == 1 and len(port.events) == 3
    assert all(event.outcome is Outcome.SUCCESS and event.request == port.events[0].request for event in port.events)


def test_a_discharge_closes_what_was_remembered():
    port = treated()
    app = pdp(port)
    assert call(app, "POST", EVALUATION, evaluation()).json == ALLOWED
    port.learn("HIS|P001", care_team=())
    assert call(app, "POST", EVALUATION, evaluation()).json["decision"] is False


def test_nothing_is_remembered_past_its_time():
    port = GivenPdp()
    app = pdp(port)
    body = evaluation(action="view", resource="report")
    assert call(app, "POST", EVALUATION, body).json["context"]["valid_until"] == "2026-11-21T18:00:00+00:00"
    port.clock = NOON + timedelta(hours=6)
    assert call(app, "POST", EVALUATION, body).json["decision"] is False


def test_another_directory_or_other_policies_are_asked_anew():
    port = treated()
    app = pdp(port)
    call(app, "POST", EVALUATION, evaluation())
    port.entities = {**port.entities, "dr.li": Entity("person", "dr.li", {"role": "retired"})}
    assert call(app, "POST", EVALUATION, evaluation()).json["decision"] is False
    port.rules = replace(port.rules, fingerprint="other")
    assert call(app, "POST", EVALUATION, evaluation()).headers["x-policy-version"] == "other"
    assert ruled(port) == 3


def test_items_of_batches_are_decided_each_time():
    port = treated()
    app = pdp(port)
    body = {**evaluation(), "evaluations": [{}, {}, {"action": {"name": "delete"}}]}
    for _ in range(2):
        answers = call(app, "POST", EVALUATIONS, body).json["evaluations"]
        assert [one["decision"] for one in answers] == [True, True, False]
    assert ruled(port) == 6 and len(port.events) == 6


def test_what_was_settled_on_facts_that_have_moved_on_is_not_remembered():
    port = GivenPdp()
    claimed = evaluation(patient={"id": "HIS|P001", "care_team": ["dr.li"]})
    ruling = port.rule

    def rule(request):
        if request.subject.id == "dr.li" and port.snapshot.revision == 0:
            port.learn("HIS|P001", care_team=("dr.wu",))
        return ruling(request)

    port.rule = rule
    app = pdp(port)
    call(app, "POST", EVALUATION, claimed)
    assert call(app, "POST", EVALUATION, claimed).json["decision"] is False


# -- the audit trail ---------------------------------------------------------------------------


def test_a_decision_is_recorded_before_it_is_answered():
    port = treated()

    async def run():
        order = []
        commit = port.commit

        async def slow(*items):
            await asyncio.sleep(0)
            order.append("recorded")
            return await commit(*items)

        port.commit = slow
        app = pdp(port)
        await ask(app, "POST", EVALUATION, evaluation())
        order.append("answered")
        return order

    assert asyncio.run(run()) == ["recorded", "answered"]
    [event] = port.events
    assert (event.kind, event.protocol, event.operation, event.subject, event.patients, event.outcome) == (
        EventKind.DECISION,
        "pdp",
        "read:result",
        "dr.li",
        ("HIS|P001",),
        Outcome.SUCCESS,
    )
    assert event.decision.permitted and event.request.subject == DR_LI
    assert event.detail == {
        "service": "evaluate",
        "peer": "pep",
        "address": "127.0.0.1",
        "trace": event.detail["trace"],
    }


@pytest.mark.parametrize("path", [EVALUATION, EVALUATIONS, "/v1/plan", "/v1/explain"])
def test_what_cannot_be_recorded_is_not_answered(path):
    port = treated()
    port.broken = True
    app = pdp(port)
    body = {**evaluation(), **({"evaluations": [{}]} if path == EVALUATIONS else {})}
    reply = call(app, "POST", path, body)
    assert reply.status == 503 and "decision" not in reply.body.decode().replace("the decision cannot", "")
    assert call(app, "GET", "/readyz", bearer="").json["problems"]["audit"]


def test_many_calls_at_once_share_commits():
    port = treated()

    async def run():
        app = pdp(port)
        return await asyncio.gather(*(ask(app, "POST", EVALUATION, evaluation()) for _ in range(50)))

    assert all(reply.json == ALLOWED for reply in asyncio.run(run()))
    assert len(port.events) == 50 and len(port.commits) < 10


REFUSALS = [
    (("POST", EVALUATION, evaluation()), {"bearer": ""}, 401),
    (("POST", EVALUATION, evaluation()), {"bearer": "forged"}, 401),
    (("POST", EVALUATION, evaluation()), {"bearer": "guest"}, 403),
    (("POST", EVALUATION, b"{"), {}, 400),
    (("POST", EVALUATION, evaluation()), {"type": "text/plain"}, 400),
    (("POST", EVALUATION, b" " * (256 * 1024 + 1)), {}, 413),
    (("POST", EVALUATION, b"{}"), {"headers": [("Content-Length", "9" * 30)]}, 413),
    (("GET", EVALUATION), {}, 405),
    (("POST", "/healthz", {}), {}, 405),
    (("GET", "/nowhere"), {}, 404),
    (("POST", EVALUATION, evaluation()), {"headers": [("Authorization", "Bearer guest")]}, 400),
    (("POST", EVALUATION, evaluation()), {"headers": [("X-Request-ID", "x" * 257)]}, 400),
    (("GET", "/metrics"), {"bearer": "", "client": "10.0.0.9"}, 401),
    (("GET", "/metrics"), {"bearer": "guest", "client": "10.0.0.9"}, 403),
]


@pytest.mark.parametrize(("arguments", "more", "status"), REFUSALS)
def test_a_refusal_says_why_is_recorded_and_names_no_patient(arguments, more, status):
    port = treated()
    reply = call(pdp(port), *arguments, **more)
    assert reply.status == status
    assert reply.json["error"]["status"] == status and reply.json["error"]["message"]
    [event] = port.events
    assert (event.kind, event.outcome, event.patients) == (EventKind.REFUSAL, Outcome.REFUSED, ())
    assert event.detail["status"] == status
    assert "P001" not in f"{event.detail}{event.operation}{reply.body}"


def test_refusals_carry_the_headers_that_their_status_asks_for():
    assert call(pdp(), "POST", EVALUATION, {}, bearer="").headers["www-authenticate"] == 'Bearer realm="spir"'
    assert call(pdp(), "GET", EVALUATION).headers["allow"] == "POST"
    assert call(pdp(), "POST", EVALUATION, b" " * 300_000).headers["connection"] == "close"


def test_who_may_not_call_is_recorded_with_the_decision_on_it():
    port = GivenPdp()
    call(pdp(port), "POST", EVALUATION, evaluation(), bearer="guest")
    [event] = port.events
    assert event.detail["peer"] == "guest" and event.decision.denied
    assert event.request.operation == event.operation == "execute:policy:evaluate"


def test_items_that_are_no_requests_are_recorded_as_refused():
    port = treated()
    call(pdp(port), "POST", EVALUATIONS, {"evaluations": [evaluation(), {}]})
    assert [event.kind for event in port.events] == [EventKind.DECISION, EventKind.REFUSAL]


# -- plans and explanations --------------------------------------------------------------------


def test_a_plan_holds_the_residual_the_duties_and_what_adapters_would_ask_for():
    port = treated()
    pushed = {
        "dicom": lambda request, decision: {"Modality": sorted(decision.residual.allowed("resource.modality") or ())},
        "fhir": lambda request, decision: None,
    }
    app = Pdp(PdpConfig(), port, describe=pushed)
    body = {
        "subject": {"type": "person", "id": "dr.li"},
        "action": {"name": "search"},
        "resource": {"type": "imaging"},
        "unknown": ["resource"],
    }
    said = call(app, "POST", "/v1/plan", body).json
    assert said["effect"] == "conditional" and said["exact"] is True
    assert said["pushdown"] == {"dicom": {"Modality": ["CR", "DX"]}}
    assert said["residual"]["value"][0]["policies"] == ["physicians-see-plain-images"]
    assert (said["bundle"], said["facts"], said["obligations"]) == (port.bundle, 1, [])
    assert "resource.modality" in said["condition"]
    assert port.events[0].outcome is Outcome.SUCCESS


def test_a_plan_turns_relations_into_ids():
    port = treated()
    body = {"subject": {"type": "person", "id": "dr.li"}, "action": {"name": "read"}, "resource": {"type": "result"}}
    said = call(pdp(port), "POST", "/v1/plan", body).json
    [conjunction] = said["residual"]["value"]
    assert conjunction["value"] == [
        {"type": "field", "operator": "in", "field": "resource.patient.id", "value": ["HIS|P001"]}
    ]


def test_a_plan_that_is_denied_leaves_nothing():
    said = call(pdp(), "POST", "/v1/plan", {**evaluation("nobody"), "unknown": ["resource.modality"]}).json
    assert said["effect"] == "deny" and "residual" not in said


def test_an_explanation_names_layers_policies_and_atoms():
    said = call(pdp(treated()), "POST", "/v1/explain", evaluation("dr.wu")).json
    [layer] = [one for one in said["layers"] if one["stated"]]
    [policy] = layer["policies"]
    assert (layer["layer"], policy["id"], policy["verdict"]) == ("institution", "care-team-reads", "does not grant")
    assert [atom["truth"] for atom in policy["atoms"]] == ["true", "false"]
    assert said["decision"]["effect"] == "deny"


# -- being there -------------------------------------------------------------------------------


def test_health_and_readiness():
    port = GivenPdp()
    app = pdp(port)
    assert call(app, "GET", "/healthz", bearer="").json == {"status": "ok"}
    assert call(app, "GET", "/readyz", bearer="").json == {"status": "ready"}
    port.problems = {"policies": "the last reload failed"}
    near, far = (call(app, "GET", "/readyz", bearer="", client=client) for client in ("::1", "10.0.0.9"))
    assert (near.status, near.json) == (503, {"status": "not ready", "problems": dict(port.problems)})
    assert (far.status, far.json) == (503, {"status": "not ready"})
    assert call(app, "GET", "/healthz", bearer="").status == 200


def test_a_head_request_has_no_body():
    reply = call(pdp(), "HEAD", "/healthz", bearer="")
    assert (reply.status, reply.body, reply.headers["content-length"]) == (200, b"", "15")


def test_a_unix_socket_is_local():
    assert call(pdp(), "GET", "/metrics", bearer="", client="").status == 200


def test_questions_and_answers_that_are_too_long_are_not_remembered():
    port = treated()
    app = pdp(port)
    long = {**evaluation(), "context": {"padding": "x" * 20_000}}
    wide = {**evaluation("dr.wu"), "deferred": ["resource"]}
    for body in (long, long):
        assert call(app, "POST", EVALUATION, body).json == ALLOWED
    assert ruled(port) == 2
    for number in range(2000):
        port.learn(f"HIS|P{number:05}", care_team=("dr.wu",))
    asked = {**wide, "resource": {"type": "result", "id": ""}}
    for _ in range(2):
        assert len(call(app, "POST", EVALUATION, asked).body) > 16 * 1024
    assert len(app._deciding.cache) == 0


def test_being_open_is_for_loopback_only():
    app = pdp(treated(), open=True)
    assert call(app, "POST", EVALUATION, evaluation(), bearer="").json == ALLOWED
    for host in ("0.0.0.0", "::", "10.0.0.1", "pdp.example.com"):
        with pytest.raises(DocumentError, match="cannot be open"):
            PdpConfig(host=host, open=True)


def test_a_defect_is_answered_without_its_text_and_logged_without_it(caplog):
    port = treated()
    port.rule = lambda request: permit(request) if request.subject.id == "pep" else 1 / len(request.resource.id[2:])
    with caplog.at_level(logging.DEBUG):
        reply = call(pdp(port), "POST", EVALUATION, evaluation())
    assert (reply.status, reply.json) == (500, {"error": {"status": 500, "message": "the call failed"}})
    assert "ZeroDivisionError" in caplog.text and "Traceback" not in caplog.text and "P001" not in caplog.text
    assert port.events[0].outcome is Outcome.ERROR


def test_nothing_that_is_said_about_patients_is_logged(caplog):
    with caplog.at_level(logging.DEBUG):
        for path in (EVALUATION, EVALUATIONS, "/v1/plan", "/v1/explain"):
            call(pdp(treated()), "POST", path, evaluation())
            call(pdp(treated()), "POST", path, evaluation(), bearer="guest")
    assert "P001" not in caplog.text


# -- anything ----------------------------------------------------------------------------------

APP = pdp(treated())
WORDS = ["subject", "action", "resource", "context", "deferred", "evaluations", "properties", "type", "id", "name"]
ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=6) | st.just("dr.li"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=5),
)
PATHS = [EVALUATION, EVALUATIONS, "/v1/plan", "/v1/explain", *(f"/access/v1/search/{one}" for one in WORDS[:3])]


def harmless(path, raw):
    """Whatever came: a refusal with a reason, or a decision of the engine, and no defect."""
    reply = call(APP, "POST", path, raw)
    too_long = path == "/v1/explain" and len(raw) > PdpConfig().max_explained
    assert reply.status in ((413,) if too_long else (200, 400)), reply.body
    if reply.status != 200:
        assert reply.json["error"]["message"]
    return reply


@given(st.sampled_from(PATHS), st.binary(max_size=80))
def test_bytes_are_never_permitted(path, raw):
    assert harmless(path, raw).status == 400


@given(st.sampled_from(PATHS), ANYTHING)
def test_any_json_is_refused_or_decided_and_never_permitted(path, data):
    """The policies permit reading of results and patients by dr.li only: none of this asks for that."""
    reply = harmless(path, json.dumps(data).encode())
    assert b'"decision":true' not in reply.body and b'"effect":"permit"' not in reply.body


@given(st.sampled_from(PATHS), st.data())
def test_a_request_that_is_damaged_is_refused_or_decided(path, draw):
    raw = bytearray(json.dumps({**evaluation("dr.wu"), "evaluations": [{}]}).encode())
    for _ in range(draw.draw(st.integers(1, 3))):
        raw[draw.draw(st.integers(0, len(raw) - 1))] = draw.draw(st.integers(0, 255))
    assert b'"decision":true' not in harmless(path, bytes(raw)).body


@pytest.mark.parametrize("path", PATHS)
def test_deep_and_wide_bodies_are_refused(path):
    deep = json.dumps(evaluation()).encode()[:-1] + b',"context":' + b'{"a":' * 5000 + b"1" + b"}" * 5001
    for raw in (b"[" * 200_000, b'{"a":' * 40_000, deep, b"[" * 16_000, b'{"a":' * 3_000):
        assert harmless(path, raw).status in (400, 413)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("depth", [31, 33, 400, *range(850, 1000, 10)])
def test_no_depth_between_is_a_defect(path, depth):
    """Just below the depth that a decoder refuses, what comes after it must not fail either."""
    nested = "[" * depth + "]" * depth
    item = json.dumps(evaluation("dr.wu"))[:-1]
    for text in (f'{item},"context":{{"a":{nested}}}}}', f'{item},"evaluations":[{{"context":{{"a":{nested}}}}}]}}'):
        assert b'"decision":true' not in harmless(path, text.encode()).body


def test_a_wide_body_is_decided():
    wide = {**evaluation(), "context": {f"k{number}": [1] * 10 for number in range(5000)}}
    assert call(APP, "POST", EVALUATION, wide).json["decision"] is True


def test_a_batch_is_bounded_and_lets_others_go_first():
    """While a long batch is worked on, another call is answered."""

    async def run():
        app = pdp(treated(), remembered=0)
        items = [{"resource": {"type": "result", "id": str(number)}} for number in range(1000)]
        long = asyncio.create_task(ask(app, "POST", EVALUATIONS, {**evaluation(), "evaluations": items}))
        await asyncio.sleep(0)
        short = await ask(app, "GET", "/healthz")
        return short.status, long.done(), len((await long).json["evaluations"])

    assert asyncio.run(run()) == (200, False, 1000)
    too_many = {**evaluation(), "evaluations": [{}] * 1001}
    assert call(pdp(), "POST", EVALUATIONS, too_many).status == 400
