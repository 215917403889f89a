"""The client reads answers closed: what it does not understand is not allowed."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.authzen.client import Allowed, _allowed
from spir.errors import PeerError
from spir.model.obligation import Obligation

MASK = b'{"decision":true,"context":{"obligations":[{"id":"m","type":"mask","properties":{"paths":["a"]}}]}}'


def test_a_permit_without_duties_is_allowed():
    assert _allowed(b'{"decision":true}', "b1", frozenset()) == Allowed(True, bundle="b1")


def test_a_duty_that_is_understood_is_handed_over_and_another_is_not_allowed():
    mask = Obligation("m", "mask", {"paths": ("a",)})
    understood = _allowed(MASK, "", frozenset(("mask",)))
    assert understood and understood.obligations == (mask,)
    assert not _allowed(MASK, "", frozenset(("notify",)))


def test_members_beside_the_envelope_are_the_properties_of_another_servers_obligation():
    said = b'{"decision":true,"context":{"obligations":[{"id":"o","type":"step-up","acr_value":"loa3"}]}}'
    [obligation] = _allowed(said, "", frozenset(("step-up",))).obligations
    assert obligation == Obligation("o", "step-up", {"acr_value": "loa3"})


def test_a_conditional_answer_is_not_allowed_and_says_so():
    found = _allowed(b'{"decision":false,"context":{"conditional":true,"residual":{}}}', "", frozenset())
    assert not found and found.conditional


def test_reasons_are_given_as_text():
    said = b'{"decision":false,"context":{"reasons":[{"id":"0","reason_admin":{"en":"why"}}]}}'
    assert _allowed(said, "", frozenset()).reasons == ("why",)


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
        _allowed(said, "", frozenset(("mask",)))


@given(st.binary(max_size=80))
def test_bytes_are_never_a_permit(said):
    try:
        found = _allowed(said, "", frozenset())
    except PeerError:
        return
    assert not found
