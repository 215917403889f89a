"""Negotiation: each context judged by itself, roles never widened, nothing agreed that was not asked."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.dicom.negotiation import AcceptedContext, agreed, negotiate, own_user, supporting
from adapters.dicom.pdu import (
    AssociateRequest,
    PduError,
    PresentationContextItem,
    PresentationResultItem,
    RoleSelection,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
IMPLICIT, EXPLICIT, JPEG = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70"
REQUEST = AssociateRequest(
    "SPIR",
    "VIEWER1",
    (
        PresentationContextItem(1, CT, (JPEG, EXPLICIT, IMPLICIT)),
        PresentationContextItem(3, MR, (EXPLICIT,)),
        PresentationContextItem(5, CT, (JPEG,)),
    ),
    own_user(
        16384,
        async_window=(8, 8),
        roles=(RoleSelection(CT, True, True), RoleSelection(MR, True, False)),
    ),
)


def test_each_context_is_answered_in_its_place():
    accept = negotiate(REQUEST, supporting({CT: (EXPLICIT, IMPLICIT)}))
    assert accept.contexts == (
        PresentationResultItem(1, 0, EXPLICIT),
        PresentationResultItem(3, 3, EXPLICIT),
        PresentationResultItem(5, 4, JPEG),
    )
    assert (accept.called, accept.calling) == ("SPIR", "VIEWER1")


def test_the_requestors_order_decides_between_transfer_syntaxes():
    accept = negotiate(REQUEST, supporting({CT: (IMPLICIT, EXPLICIT, JPEG)}))
    assert accept.contexts[0].transfer_syntax == JPEG


def test_what_is_agreed_is_what_was_accepted():
    accept = negotiate(REQUEST, supporting({CT: (EXPLICIT,)}))
    assert agreed(REQUEST, accept) == {1: AcceptedContext(1, CT, EXPLICIT)}


@pytest.mark.parametrize(
    "answer",
    [PresentationResultItem(7, 0, EXPLICIT), PresentationResultItem(7, 3), PresentationResultItem(3, 0, JPEG)],
    ids=["accepted unasked", "refused unasked", "another syntax"],
)
def test_an_answer_outside_of_what_was_proposed_is_refused(answer):
    accept = negotiate(REQUEST, supporting({}))
    with pytest.raises(PduError):
        agreed(REQUEST, replace(accept, contexts=(answer,)))


def test_one_operation_at_a_time_is_answered_to_any_window():
    assert negotiate(REQUEST, supporting({})).user.async_window == (1, 1)
    plain = replace(REQUEST, user=own_user())
    assert negotiate(plain, supporting({})).user.async_window is None


def test_no_role_is_answered_unless_it_is_wanted():
    assert negotiate(REQUEST, supporting({})).user.roles == ()


def test_an_answer_never_gives_a_role_that_was_not_proposed():
    accept = negotiate(REQUEST, supporting({}), role=lambda role: RoleSelection(role.sop_class, True, True))
    assert accept.user.roles == (RoleSelection(CT, True, True), RoleSelection(MR, True, False))


def test_a_role_can_be_refused_and_another_left_unanswered():
    answers = {CT: RoleSelection(CT, False, False)}
    accept = negotiate(REQUEST, supporting({}), role=lambda role: answers.get(role.sop_class))
    assert accept.user.roles == (RoleSelection(CT, False, False),)
