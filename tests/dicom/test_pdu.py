"""The PDU codec against the standard's rules, against pynetdicom byte for byte, and against hostile bytes."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom import pdu as theirs
from pynetdicom.tests import encoded_pdu_items as vectors

from adapters.dicom.pdu import (
    Abort,
    AbortReason,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    CommonExtendedNegotiation,
    ExtendedNegotiation,
    PduError,
    PresentationContextItem,
    PresentationResultItem,
    Rejection,
    ReleaseReply,
    ReleaseRequest,
    RoleSelection,
    UserIdentityAc,
    UserIdentityRq,
    UserInformation,
    decode,
    encode,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
EXPLICIT = "1.2.840.10008.1.2.1"
IMPLICIT = "1.2.840.10008.1.2"

REQUEST = AssociateRequest(
    "SPIR",
    "VIEWER1",
    (
        PresentationContextItem(1, "1.2.840.10008.1.1", (IMPLICIT,)),
        PresentationContextItem(3, CT, (EXPLICIT, IMPLICIT)),
    ),
    UserInformation(
        16384,
        "1.2.3.4",
        "VIEWER_1",
        async_window=(1, 1),
        roles=(RoleSelection(CT, False, True),),
        extended=(ExtendedNegotiation("1.2.840.10008.5.1.4.1.2.2.1", b"\x01"),),
        common_extended=(CommonExtendedNegotiation(CT, "1.2.840.10008.4.2", (CT, CT)),),
        identity=UserIdentityRq(2, b"dr.li", b"secret", True),
    ),
)
ACCEPT = AssociateAccept(
    "SPIR",
    "VIEWER1",
    (PresentationResultItem(1, 0, IMPLICIT), PresentationResultItem(3, 0, EXPLICIT)),
    UserInformation(131072, "1.2.3.4", "SPIR", identity_response=UserIdentityAc(b"ticket")),
)

uids = st.lists(st.integers(0, 99999), min_size=2, max_size=8).map(lambda parts: ".".join(map(str, parts)))
titles = st.text(st.sampled_from("ABCXYZ abc-_.0129"), min_size=1, max_size=16).map(str.strip).filter(bool)
blobs = st.binary(max_size=40)
roles = st.builds(RoleSelection, uids, st.booleans(), st.booleans())
common = st.builds(CommonExtendedNegotiation, uids, uids, st.lists(uids, max_size=3).map(tuple))
users = st.builds(
    UserInformation,
    st.integers(0, 2**32 - 1),
    uids,
    titles,
    st.none() | st.tuples(st.integers(0, 65535), st.integers(0, 65535)),
    st.lists(roles, max_size=3).map(tuple),
    st.lists(st.builds(ExtendedNegotiation, uids, blobs), max_size=3).map(tuple),
    st.lists(common, max_size=2).map(tuple),
)
filled = st.binary(min_size=1, max_size=40)  # pynetdicom does not write back an empty primary field as it read it
identities = st.none() | st.builds(UserIdentityRq, st.integers(1, 5), filled, blobs, st.booleans())
identity_responses = st.none() | st.builds(UserIdentityAc, blobs)


@st.composite
def requests(draw: st.DrawFn) -> AssociateRequest:
    count = draw(st.sampled_from((1, 2, 3, 128)))
    syntaxes = draw(st.lists(uids, min_size=1, max_size=3))
    contexts = tuple(
        PresentationContextItem(2 * n + 1, syntaxes[n % len(syntaxes)], tuple(syntaxes)) for n in range(count)
    )
    user = draw(users)
    user = UserInformation(*(getattr(user, name) for name in user.__slots__[:7]), identity=draw(identities))
    return AssociateRequest(draw(titles), draw(titles), contexts, user)


@st.composite
def accepts(draw: st.DrawFn) -> AssociateAccept:
    count = draw(st.sampled_from((0, 1, 2, 128)))
    syntax = draw(uids)
    contexts = tuple(PresentationResultItem(2 * n + 1, 0, syntax) for n in range(count))
    user = draw(users)
    user = UserInformation(
        *(getattr(user, name) for name in user.__slots__[:7]), identity_response=draw(identity_responses)
    )
    return AssociateAccept(draw(titles), draw(titles), contexts, user)


def recoded(kind: type, raw: bytes) -> bytes:
    """What pynetdicom makes of `raw` after reading it."""
    pdu = kind()
    pdu.decode(raw)
    return bytes(pdu.encode())


# -- round trips and the other implementation


@pytest.mark.parametrize(
    "pdu",
    [REQUEST, ACCEPT, Rejection.CALLING_AE, Rejection.LOCAL_LIMIT, ReleaseRequest(), ReleaseReply(), Abort(2, 6)],
    ids=lambda pdu: type(pdu).__name__,
)
def test_what_is_written_is_read_back(pdu):
    raw = encode(pdu)
    assert raw[2:6] == struct.pack(">I", len(raw) - 6)
    assert decode(raw[0], raw[6:]) == pdu
    assert decode(raw[0], memoryview(raw)[6:]) == pdu


@settings(deadline=None)
@given(requests())
def test_any_request_is_read_back_and_pynetdicom_writes_the_same_bytes(request):
    raw = encode(request)
    assert decode(1, raw[6:]) == request
    assert recoded(theirs.A_ASSOCIATE_RQ, raw) == raw


@settings(deadline=None)
@given(accepts())
def test_any_acceptance_is_read_back_and_pynetdicom_writes_the_same_bytes(accept):
    raw = encode(accept)
    assert decode(2, raw[6:]) == accept
    assert recoded(theirs.A_ASSOCIATE_AC, raw) == raw


def test_pynetdicom_reads_from_our_request_what_we_wrote():
    pdu = theirs.A_ASSOCIATE_RQ()
    pdu.decode(encode(REQUEST))
    items = pdu.presentation_context
    assert [(item.context_id, item.abstract_syntax, tuple(item.transfer_syntax)) for item in items] == [
        (item.id, item.abstract_syntax, item.transfer_syntaxes) for item in REQUEST.contexts
    ]
    assert (pdu.called_ae_title, pdu.calling_ae_title) == (REQUEST.called, REQUEST.calling)
    user = pdu.user_information
    assert user.maximum_length == 16384
    assert (user.user_identity.primary, user.user_identity.secondary) == (b"dr.li", b"secret")
    assert [(item.scu, item.scp) for item in user.role_selection.values()] == [(0, 1)]


VECTORS = [
    ("a_associate_rq", 1),
    ("a_associate_rq_user_async", 1),
    ("a_associate_rq_role", 1),
    ("a_associate_rq_user_id_user_pass", 1),
    ("a_associate_rq_user_id_ext_neg", 1),
    ("a_associate_ac", 2),
    ("a_associate_ac_user", 2),
    ("a_associate_rj", 3),
    ("a_release_rq", 5),
    ("a_release_rp", 6),
    ("a_abort", 7),
    ("a_p_abort", 7),
]


@pytest.mark.parametrize(("name", "kind"), VECTORS, ids=[name for name, _ in VECTORS])
def test_the_other_implementations_vectors_are_read(name, kind):
    raw = getattr(vectors, name)
    pdu = decode(kind, raw[6:])
    assert decode(kind, encode(pdu)[6:]) == pdu
    assert len(encode(pdu)) == len(raw)  # the same items; we write them in the order of their types


def test_a_request_without_any_context_is_refused():
    assert refuse(1, vectors.a_associate_rq_com_ext_neg[6:]) is AbortReason.INVALID_PARAMETER


@pytest.mark.parametrize("name", ["a_associate_ac_zero_ts", "a_associate_ac_no_ts"])
def test_a_refused_context_needs_no_transfer_syntax(name):
    accept = decode(2, getattr(vectors, name)[6:])
    assert [item.transfer_syntax for item in accept.contexts if not item.accepted] == [""]


# -- what is refused, and with which reason


def body(raw: bytes) -> bytearray:
    return bytearray(raw[6:])


def refuse(kind: int, raw: bytes) -> AbortReason:
    with pytest.raises(PduError) as error:
        decode(kind, raw)
    return error.value.reason


def with_item(item: bytes) -> bytes:
    """The body of a request with `item` after its application context."""
    raw = bytes(body(encode(REQUEST)))
    return raw[: 68 + 25] + item + raw[68 + 25 :]


def context(identifier: int, *, abstract: bytes = b"1.2", transfer: bytes = b"1.2.3") -> bytes:
    parts = b"".join(
        bytes((kind, 0)) + struct.pack(">H", len(uid)) + uid
        for kind, uid in ((0x30, abstract), (0x40, transfer))
        if uid
    )
    return b"\x20\0" + struct.pack(">H", 4 + len(parts)) + bytes((identifier, 0, 0, 0)) + parts


def test_items_of_unknown_types_are_skipped():
    assert decode(1, with_item(b"\x77\0\0\x03abc")) == REQUEST


def test_a_context_between_the_others_is_read():
    assert [item.id for item in decode(1, with_item(context(5))).contexts] == [5, 1, 3]


@pytest.mark.parametrize(
    "item",
    [
        context(4),
        context(0),
        context(1),
        context(5, abstract=b""),
        context(5, transfer=b""),
        context(5, abstract=b"1.2.x"),
        context(5, abstract=b"1" * 65),
        b"\x20\0\0\x02\x05\0",
        b"\x10\0\0\x051.2.3",
        b"\x50\0\0\0",
    ],
    ids=[
        "even",
        "zero",
        "twice",
        "no abstract",
        "no transfer",
        "letter",
        "long",
        "short",
        "second name",
        "second user",
    ],
)
def test_a_malformed_or_repeated_item_refuses_the_request(item):
    assert refuse(1, with_item(item)) is AbortReason.INVALID_PARAMETER


@pytest.mark.parametrize("cut", [1, 3, 5, 40, 100])
def test_a_request_that_is_cut_off_is_refused(cut):
    refuse(1, bytes(body(encode(REQUEST)))[:-cut])


def test_an_item_longer_than_its_parent_is_refused():
    raw = body(encode(REQUEST))
    raw[70:72] = b"\xff\xff"
    refuse(1, bytes(raw))


@pytest.mark.parametrize("kind", [0, 4, 8, 255])
def test_other_types_are_unrecognized(kind):
    assert refuse(kind, b"\0\0\0\0") is AbortReason.UNRECOGNIZED_PDU


@pytest.mark.parametrize("kind", [3, 5, 6, 7])
@pytest.mark.parametrize("size", [0, 3, 5])
def test_the_fixed_pdus_have_four_bytes(kind, size):
    refuse(kind, bytes(size))


def test_a_control_character_in_a_title_is_refused():
    raw = body(encode(REQUEST))
    raw[4] = 7
    refuse(1, bytes(raw))


def test_a_sub_item_that_can_be_said_once_is_refused_when_repeated():
    raw = encode(AssociateRequest("A", "B", REQUEST.contexts, UserInformation(5)))
    length = b"\x51\0\0\x04\0\0\0\x05"
    doubled = raw[6:].replace(b"\x50\0\0\x08" + length, b"\x50\0\0\x10" + length * 2)
    assert refuse(1, doubled) is AbortReason.UNEXPECTED_PARAMETER


def test_an_identity_in_an_answer_is_refused():
    raw = encode(AssociateAccept("A", "B", (), UserInformation(identity=UserIdentityRq(1, b"x"))))
    assert refuse(2, raw[6:]) is AbortReason.UNEXPECTED_PARAMETER


def test_numbers_of_an_abort_that_no_table_has_are_read():
    assert decode(7, b"\0\0\x09\x63") == Abort(9, 99)


def test_a_title_that_does_not_fit_is_not_written():
    with pytest.raises(PduError, match="longer than 16"):
        encode(AssociateRequest("A" * 17, "B", REQUEST.contexts))


@pytest.mark.parametrize("value", [-1, 2**32])
def test_a_number_that_does_not_fit_is_not_written(value):
    with pytest.raises(PduError, match="does not fit"):
        encode(AssociateRequest("A", "B", REQUEST.contexts, UserInformation(value)))


def test_no_representation_shows_a_credential():
    assert "secret" not in repr(REQUEST) and "dr.li" not in repr(REQUEST)
    assert "ticket" not in repr(ACCEPT)


def test_rejections_say_whether_to_try_again():
    assert Rejection.LOCAL_LIMIT.transient and not Rejection.CALLING_AE.transient
    assert decode(3, encode(Rejection.CONGESTION)[6:]) == AssociateReject(2, 3, 1)


# -- hostile bytes


def accepted_or_refused(kind: int, raw: bytes) -> None:
    try:
        pdu = decode(kind, raw)
    except PduError:
        return
    assert decode(kind, encode(pdu)[6:]) == pdu


@settings(max_examples=300, deadline=None)
@given(st.integers(0, 9), st.binary(max_size=400))
def test_random_bytes_are_read_or_refused(kind, raw):
    accepted_or_refused(kind, raw)


@settings(max_examples=1000, deadline=None)
@given(
    st.sampled_from((REQUEST, ACCEPT)),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 40),
)
def test_mutated_associations_are_read_or_refused(pdu, changes, cut):
    raw = encode(pdu)
    mutant = bytearray(raw[6:])
    for at, value in changes:
        mutant[at % len(mutant)] = value
    accepted_or_refused(raw[0], bytes(mutant[: len(mutant) - cut]))
