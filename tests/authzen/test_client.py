"""The client reads answers closed: what it does not understand is not allowed."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.authzen.client import ALL, Allowed, _all_allowed, _allowed, _decoded, _many_body
from spir.errors import PeerError
from spir.model.obligation import Obligation
from spir.model.request import Action, Entity, Request

MASK = b'{"decision":true,"context":{"obligations":[{"id":"m","type":"mask","properties":{"paths":["a"]}}]}}'


def read(said, bundle, understood):
    return _allowed(_decoded(said), bundle, understood)


def test_a_permit_without_duties_is_allowed():
    assert read(b'{"decision":true}', "b1", frozenset()) == Allowed(True, bundle="b1")


def test_a_duty_that_is_understood_is_handed_over_and_another_is_not_allowed():
    mask = Obligation("m", "mask", {"paths": ("a",)})
    understood = read(MASK, "", frozenset(("mask",)))
    assert understood and understood.obligations == (mask,)
    assert not read(MASK, "", frozenset(("notify",)))


def test_members_beside_the_envelope_are_the_properties_of_another_servers_obligation():
    said = b'{"decision":true,"context":{"obligations":[{"id":"o","type":"step-up","acr_value":"loa3"}]}}'
    [obligation] = read(said, "", frozenset(("step-up",))).obligations
    assert obligation == Obligation("o", "step-up", {"acr_value": "loa3"})


def test_a_conditional_answer_is_not_allowed_and_says_so():
    found = read(b'{"decision":false,"context":{"conditional":true,"residual":{}}}', "", frozenset())
    assert not found and found.conditional


def test_reasons_are_given_as_text():
    said = b'{"decision":false,"context":{"reasons":[{"id":"0","reason_admin":{"en":"why"}}]}}'
    assert read(said, "", frozenset()).reasons == ("why",)


@pytest.mark.parametrize(
    "said",
    [
        b"",
        b"{}",
        b"true",
        b'{"decision":1}',
        b'{"decision":"true"}',
        b'{"decision":true,"context":[]}',
        b'{"decision":true,"context":{"obligations":{}}}',
        b'{"decision":true,"context":{"obligations":[{"type":"mask"}]}}',
        b'{"decision":true,"context":{"obligations":[{"id":"m","type":"mask","properties":[]}]}}',
    ],
)
def test_an_answer_that_cannot_be_read_is_an_error_and_no_permit(said):
    with pytest.raises(PeerError):
        read(said, "", frozenset(("mask",)))


@given(st.binary(max_size=80))
def test_bytes_are_never_a_permit(said):
    try:
        found = read(said, "", frozenset())
    except PeerError:
        return
    assert not found


# -- several at once ---------------------------------------------------------------------------

ASKED = [Request(Entity("person", name), Action("read"), Entity("result", "r1")) for name in ("a", "b", "c")]


def read_all(said, asked=3, semantic=ALL, understood=frozenset()):
    return _all_allowed(said, "b1", understood, asked, semantic)


def several(*answers):
    return json.dumps({"evaluations": answers}).encode()


YES, NO = {"decision": True}, {"decision": False}


def test_every_question_says_what_its_asker_understands():
    body = json.loads(_many_body(ASKED, "deny_on_first_deny", frozenset(("mask",))))
    assert [item["subject"]["id"] for item in body["evaluations"]] == ["a", "b", "c"]
    assert {tuple(item["context"]["obligations_supported"]) for item in body["evaluations"]} == {("mask",)}
    assert body["options"] == {"evaluations_semantic": "deny_on_first_deny"}


def test_answers_belong_to_requests_by_their_places():
    assert [bool(one) for one in read_all(several(YES, NO, YES))] == [True, False, True]
    assert [bool(one) for one in read_all(several(YES, NO), semantic="deny_on_first_deny")] == [True, False]
    duty = {"decision": True, "context": {"obligations": [{"id": "m", "type": "mask", "properties": {}}]}}
    assert [bool(one) for one in read_all(several(duty, YES, YES))] == [False, True, True]


@pytest.mark.parametrize(
    ("said", "semantic"),
    [
        (several(YES, YES), ALL),
        (several(YES, YES, YES, YES), ALL),
        (several(YES, YES, YES, YES), "deny_on_first_deny"),
        (several(), "deny_on_first_deny"),
        (several(YES, {}, YES), ALL),
        (several(YES, True, YES), ALL),
        (json.dumps(YES).encode(), ALL),
        (b'{"evaluations":{}}', ALL),
        (b"[]", ALL),
        (b"[" * 100_000, ALL),
    ],
)
def test_answers_that_are_not_all_there_are_an_error(said, semantic):
    with pytest.raises(PeerError):
        read_all(said, semantic=semantic)
