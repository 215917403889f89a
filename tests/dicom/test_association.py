"""The state machine: the standard's table, whole conversations of both sides, and every violation."""

from __future__ import annotations

import struct
from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom import fsm

from adapters.dicom.association import Association, AssociationError, Closed, Refused, State, Violation
from adapters.dicom.framing import Frame, Through, message_pdus
from adapters.dicom.negotiation import AcceptedContext, negotiate, own_user, supporting
from adapters.dicom.pdu import (
    Abort,
    AbortReason,
    AbortSource,
    AssociateReject,
    AssociateRequest,
    PduError,
    PresentationContextItem,
    Rejection,
    ReleaseReply,
    ReleaseRequest,
    encode,
)
from adapters.dicom.state_table import EFFECTS, TABLE, Action

CT = "1.2.840.10008.5.1.4.1.1.2"
MR = "1.2.840.10008.5.1.4.1.1.4"
EXPLICIT = "1.2.840.10008.1.2.1"
REQUEST = AssociateRequest(
    "SPIR",
    "VIEWER1",
    (PresentationContextItem(1, CT, (EXPLICIT,)), PresentationContextItem(3, MR, (EXPLICIT,))),
    own_user(16384),
)
ACCEPT = negotiate(REQUEST, supporting({CT: [EXPLICIT]}), user=own_user(32768))
DATA = message_pdus(1, b"command!", b"data", 16384)
CONTEXTS = {1: AcceptedContext(1, CT, EXPLICIT)}


def events(association: Association, *raw: bytes) -> list[object]:
    return [event for piece in raw for event in association.receive(piece)]


def accepted() -> Association:
    """An acceptor with an association."""
    made = Association.acceptor()
    assert events(made, encode(REQUEST)) == [REQUEST]
    made.accept(ACCEPT)
    return made


def requested() -> Association:
    """A requestor with an association."""
    made = Association.requestor(REQUEST)
    made.connected()
    assert len(events(made, encode(ACCEPT))) == 1
    return made


# -- the table


def test_the_table_is_the_standards_entry_by_entry_as_pynetdicom_has_it():
    assert {(cue.value, state.value): action.value for (cue, state), action in TABLE.items()} == fsm.TRANSITION_TABLE


def test_every_action_has_its_effect_and_every_state_is_reached():
    assert set(EFFECTS) == set(Action)
    reached = {effect.state for effect in EFFECTS.values()} - {None}
    assert reached | {State.COLLISION_REQUESTOR_REPLIES, State.COLLISION_ACCEPTOR_WAITS} == set(State)


# -- conversations


def test_an_acceptor_accepts_converses_and_is_released():
    made = Association.acceptor()
    assert (made.state, made.artim) == (State.AWAITING_REQUEST, True)
    assert events(made, encode(REQUEST)) == [REQUEST]
    assert (made.state, made.artim) == (State.AWAITING_DECISION, False)
    assert made.accept(ACCEPT) == encode(ACCEPT)
    assert (made.state, made.contexts, made.send_max, made.established) == (State.READY, CONTEXTS, 16384, True)
    assert [type(event) for event in events(made, DATA)] == [Frame, Frame]
    assert events(made, encode(ReleaseRequest())) == [ReleaseRequest()]
    made.send()  # what is still to be answered may be (AR-7)
    assert made.reply_release() == encode(ReleaseReply())
    assert (made.state, made.artim, made.closing) == (State.AWAITING_CLOSE, True, False)
    assert made.transport_closed() is None
    assert (made.state, made.artim) == (State.IDLE, False)


def test_a_requestor_associates_converses_and_releases():
    made = Association.requestor(REQUEST)
    assert made.state is State.CONNECTING
    assert made.connected() == encode(REQUEST)
    (accept,) = events(made, encode(ACCEPT))
    assert (made.state, made.contexts, made.accepted) == (State.READY, CONTEXTS, accept)
    assert made.send_max == 32768
    assert made.release() == encode(ReleaseRequest())
    assert [type(event) for event in events(made, DATA)] == [Frame, Frame]  # AR-6
    assert events(made, encode(ReleaseReply())) == [ReleaseReply()]
    assert (made.state, made.closing) == (State.IDLE, True)


def test_a_rejected_requestor_closes():
    made = Association.requestor(REQUEST)
    made.connected()
    assert events(made, encode(Rejection.CALLING_AE)) == [AssociateReject(1, 1, 3)]
    assert (made.state, made.closing) == (State.IDLE, True)


def test_an_acceptor_that_rejects_waits_for_the_close_under_artim():
    made = Association.acceptor()
    events(made, encode(REQUEST))
    assert made.reject(Rejection.CALLED_AE) == encode(Rejection.CALLED_AE)
    assert (made.state, made.artim) == (State.AWAITING_CLOSE, True)
    made.artim_expired()
    assert made.closing


def test_a_peers_abort_ends_the_association():
    made = accepted()
    assert events(made, encode(Abort(0, 0))) == [Abort(0, 0)]
    assert (made.state, made.closing) == (State.IDLE, True)


def test_an_abort_of_ours_is_said_and_waits_for_the_close():
    made = accepted()
    assert made.abort() == encode(Abort(AbortSource.SERVICE_USER, 0))
    assert (made.state, made.artim) == (State.AWAITING_CLOSE, True)
    assert events(made, DATA) == []


def test_an_abort_before_the_connection_is_open_says_nothing():
    made = Association.requestor(REQUEST)
    assert (made.abort(), made.closing) == (b"", True)


def test_a_lost_transport_is_an_event_only_for_an_association():
    assert accepted().transport_closed() == Closed()
    assert Association.acceptor().transport_closed() is None
    made = accepted()
    made.transport_closed()
    assert made.transport_closed() is None


def test_a_stranger_that_says_nothing_is_closed_by_artim():
    made = Association.acceptor()
    made.artim_expired()
    assert (made.state, made.closing) == (State.IDLE, True)


def test_a_release_collision_is_resolved_on_both_sides():
    ours, theirs = requested(), accepted()
    first, second = ours.release(), theirs.release()
    assert events(ours, second) == [ReleaseRequest()] and ours.state is State.COLLISION_REQUESTOR_REPLIES
    assert events(theirs, first) == [ReleaseRequest()] and theirs.state is State.COLLISION_ACCEPTOR_WAITS
    reply = ours.reply_release()
    assert ours.state is State.COLLISION_REQUESTOR_WAITS
    assert events(theirs, reply) == [ReleaseReply()] and theirs.state is State.COLLISION_ACCEPTOR_REPLIES
    assert events(ours, theirs.reply_release()) == [ReleaseReply()] and ours.closing
    assert theirs.state is State.AWAITING_CLOSE


# -- what the provider itself refuses


def test_another_protocol_version_is_rejected():
    raw = encode(replace(REQUEST, protocol_version=2))
    made = Association.acceptor()
    assert events(made, raw) == [Refused(Rejection.PROTOCOL_VERSION, encode(Rejection.PROTOCOL_VERSION))]
    assert (made.state, made.artim) == (State.AWAITING_CLOSE, True)


def test_a_further_version_beside_ours_is_taken():
    request = replace(REQUEST, protocol_version=3)
    assert events(Association.acceptor(), encode(request)) == [request]


def test_another_application_context_is_rejected():
    raw = encode(replace(REQUEST, application_context="1.2.3"))
    (refused,) = events(Association.acceptor(), raw)
    assert refused == Refused(Rejection.APPLICATION_CONTEXT, encode(Rejection.APPLICATION_CONTEXT))


# -- violations


def violation(association: Association, raw: bytes) -> tuple[AbortSource, AbortReason]:
    """The reply's source and reason; the association is over and hears nothing more."""
    found = events(association, raw)
    assert isinstance(found[-1], Violation)
    assert (association.state, association.artim) == (State.AWAITING_CLOSE, True)
    assert events(association, encode(ReleaseRequest()) + DATA) == []
    abort = found[-1].reply
    assert abort[:8] == b"\x07\0\0\0\0\4\0\0"
    return AbortSource(abort[8]), AbortReason(abort[9])


@pytest.mark.parametrize(
    "raw",
    [
        encode(ReleaseRequest()),
        encode(ReleaseReply()),
        encode(ACCEPT),
        encode(Rejection.NO_REASON),
        DATA,
        b"GET / HTTP",
    ],
    ids=["release", "release reply", "accept", "reject", "data", "http"],
)
def test_whatever_comes_before_a_request_is_aborted_by_the_user(raw):
    assert violation(Association.acceptor(), raw)[0] is AbortSource.SERVICE_USER


@pytest.mark.parametrize(
    "raw",
    [encode(REQUEST), encode(ReleaseReply()), encode(Rejection.NO_REASON)],
    ids=["request", "release reply", "reject"],
)
@pytest.mark.parametrize("made", [accepted, requested])
def test_an_unexpected_pdu_aborts_an_association(made, raw):
    assert violation(made(), raw) == (AbortSource.SERVICE_PROVIDER, AbortReason.UNEXPECTED_PDU)


def test_an_unknown_pdu_aborts_an_association():
    assert violation(accepted(), bytes(10)) == (AbortSource.SERVICE_PROVIDER, AbortReason.UNRECOGNIZED_PDU)


def test_a_pdu_longer_than_we_said_aborts_an_association():
    raw = struct.pack(">BxI", 4, 32769)
    assert violation(accepted(), raw) == (AbortSource.SERVICE_PROVIDER, AbortReason.INVALID_PARAMETER)


def test_data_before_the_answer_abort_the_request():
    made = Association.acceptor()
    assert violation(made, encode(REQUEST) + DATA) == (AbortSource.SERVICE_PROVIDER, AbortReason.UNEXPECTED_PDU)
    with pytest.raises(AssociationError):
        made.accept(ACCEPT)


def test_an_answer_to_what_was_not_asked_aborts_the_request():
    made = Association.requestor(REQUEST)
    made.connected()
    stranger = replace(ACCEPT, contexts=(replace(ACCEPT.contexts[0], id=9),))
    violation(made, encode(stranger))


def test_a_violation_found_by_the_user_is_said_once():
    made = accepted()
    error = PduError("of a message", source=AbortSource.SERVICE_USER)
    first = made.violate(error)
    assert first is not None and first.reply == encode(Abort(0, AbortReason.INVALID_PARAMETER))
    assert made.violate(error) is None


@pytest.mark.parametrize("wish", ["accept", "reject", "reply_release", "connected", "artim_expired"])
def test_what_a_state_does_not_allow_cannot_be_done(wish):
    arguments = {"accept": (ACCEPT,), "reject": (Rejection.NO_REASON,)}.get(wish, ())
    with pytest.raises(AssociationError, match="Sta6"):
        getattr(accepted(), wish)(*arguments)


@pytest.mark.parametrize("state", [state for state in State if state not in (State.READY, State.RELEASING)])
def test_data_are_sent_only_in_an_association(state):
    made = accepted()
    made.state = state
    with pytest.raises(AssociationError):
        made.send()


def test_an_answer_that_does_not_fit_the_request_is_not_given():
    made = Association.acceptor()
    events(made, encode(REQUEST))
    with pytest.raises(PduError):
        made.accept(replace(ACCEPT, contexts=(replace(ACCEPT.contexts[0], transfer_syntax="1.2.3"),)))
    assert made.state is State.AWAITING_DECISION


def test_a_data_set_can_be_let_through():
    made = accepted()
    made.let_through(1, 16384)
    raw = message_pdus(1, b"command!", b"data", 16384)
    assert [type(event) for event in events(made, raw)] == [Frame, Through]


def test_what_was_read_and_not_yet_parsed_ends_with_the_transport():
    made = accepted()
    parked = made.receive(DATA + encode(ReleaseRequest()))
    assert isinstance(next(parked), Frame)
    assert made.transport_closed() == Closed()
    assert list(parked) == []


# -- any stream, any split

known = [encode(pdu) for pdu in (REQUEST, ACCEPT, Rejection.NO_REASON, ReleaseRequest(), ReleaseReply(), Abort())] + [
    DATA
]
streams = st.lists(st.sampled_from(known) | st.binary(max_size=30), max_size=6).map(b"".join)


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from((Association.acceptor, accepted, requested)), streams, st.lists(st.integers(0, 2000), max_size=8)
)
def test_any_split_of_any_stream_gives_the_same_events_and_state(make, stream, cuts):
    whole, split = make(), make()
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    one = [repr_of(event) for event in events(whole, stream)]
    two = [repr_of(event) for event in events(split, *(stream[a:b] for a, b in pairwise(edges)))]
    assert one == two
    assert (whole.state, whole.artim, whole.closing) == (split.state, split.artim, split.closing)


def repr_of(event: object) -> object:
    return (type(event), str(event.error)) if isinstance(event, Violation) else event
