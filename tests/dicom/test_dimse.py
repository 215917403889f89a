"""Command sets: read back, the same as pynetdicom's and pydicom's, and refused when they are not what they say."""

from __future__ import annotations

import io
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.uid import UID
from pynetdicom import dimse_primitives as primitives
from pynetdicom.dimse_messages import C_ECHO_RQ, C_FIND_RSP, C_MOVE_RSP, C_STORE_RQ, N_ACTION_RQ
from pynetdicom.dsutils import decode as read_dataset
from pynetdicom.tests import encoded_dimse_msg as vectors
from pynetdicom.tests import encoded_dimse_n_msg as n_vectors

from adapters.dicom.dimse import (
    CCancelRq,
    CEchoRq,
    CEchoRsp,
    CFindRq,
    CFindRsp,
    CGetRq,
    CGetRsp,
    CMoveRq,
    CMoveRsp,
    CommandField,
    CStoreRq,
    CStoreRsp,
    DimseError,
    NRq,
    NRsp,
    Priority,
    decode_command,
    encode_command,
    is_pending,
    response_to,
)

CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
STUDY_MOVE = "1.2.840.10008.5.1.4.1.2.2.2"
EXAMPLES = [
    CEchoRq(7),
    CEchoRsp(7, "1.2.840.10008.1.1", 0),
    CStoreRq(1, CT, "1.2.3", Priority.HIGH, "VIEWER1", 12),
    CStoreRq(1, CT, "1.2.3.4"),
    CStoreRsp(1, CT, "1.2.3", 0x0124, "not authorised", (0x00100010,)),
    CFindRq(2, STUDY_FIND, Priority.LOW),
    CFindRsp(2, STUDY_FIND, 0xFF00, has_data=True),
    CFindRsp(2, STUDY_FIND, 0xA900, "bad key", (0x00080052, 0x0020000D)),
    CGetRq(3, "1.2.840.10008.5.1.4.1.2.2.3"),
    CGetRsp(3, "1.2.840.10008.5.1.4.1.2.2.3", 0xFF00, 4, 3, 2, 1),
    CMoveRq(4, STUDY_MOVE, "WS1"),
    CMoveRsp(4, STUDY_MOVE, 0xB000, None, 9, 1, 0, has_data=True),
    CCancelRq(4),
    NRq(CommandField.N_ACTION_RQ, 5, requested_class="1.2.3", requested_instance="1.2.4", action_type=1, has_data=True),
    NRq(CommandField.N_GET_RQ, 5, requested_class="1.2.3", requested_instance="1.2.4", attributes=(0x00100010,)),
    NRsp(CommandField.N_EVENT_REPORT_RSP, 6, 0x0110, "1.2.3", "1.2.4", event_type=1, error_id=3),
]

uids = st.lists(st.integers(0, 9999), min_size=2, max_size=6).map(lambda parts: ".".join(map(str, parts)))
shorts = st.integers(0, 0xFFFF)
titles = st.text(st.sampled_from("ABC xyz019_-"), min_size=1, max_size=16).map(str.strip).filter(bool)
comments = st.text(st.sampled_from("abc XYZ:0-9"), max_size=64).map(str.strip)
tags = st.lists(st.integers(0, 2**32 - 1), max_size=3).map(tuple)
counts = st.none() | shorts
counters = (counts, counts, counts, counts)
operations = st.sampled_from([field for field in CommandField if field.name.startswith("N_")])
commands = st.one_of(
    st.builds(CEchoRq, shorts, uids),
    st.builds(CStoreRq, shorts, uids, uids, shorts, titles | st.just(""), counts),
    st.builds(CStoreRsp, shorts, uids, uids, shorts, comments, tags),
    st.builds(CFindRsp, shorts, uids | st.just(""), shorts, comments, tags, st.booleans()),
    st.builds(CMoveRq, shorts, uids, titles, shorts),
    st.builds(CMoveRsp, shorts, uids, shorts, *counters, comments, tags, st.booleans()),
    st.builds(CGetRsp, shorts, uids, shorts, *counters, comments, tags, st.booleans()),
    st.builds(CCancelRq, shorts),
    st.builds(
        NRq, operations.filter(lambda field: field < 0x8000), shorts, uids, uids, uids, uids, counts, counts, tags
    ),
    st.builds(NRsp, operations.filter(lambda field: field > 0x8000), shorts, shorts, uids, uids, counts, counts, tags),
)


@pytest.mark.parametrize("command", EXAMPLES, ids=lambda command: type(command).__name__)
def test_what_is_written_is_read_back(command):
    assert decode_command(encode_command(command)) == command


@given(commands)
def test_any_command_is_read_back(command):
    raw = encode_command(command)
    assert len(raw) % 2 == 0
    assert decode_command(raw) == command


@settings(deadline=None)
@given(commands)
def test_pydicom_reads_what_we_wrote_with_the_right_group_length(command):
    raw = encode_command(command)
    dataset = read_dataset(io.BytesIO(raw), True, True)
    assert dataset.CommandGroupLength == len(raw) - 12
    assert [element.tag for element in dataset] == sorted(element.tag for element in dataset)
    assert (dataset.CommandDataSetType != 0x0101) is command.has_data


# -- byte for byte as pynetdicom


def theirs(message, primitive) -> bytes:
    message.primitive_to_message(primitive)
    return next(iter(message.encode_msg(1, 0))).presentation_data_value_list[0][1][1:]


def test_a_store_request_is_written_as_by_pynetdicom():
    primitive = primitives.C_STORE()
    primitive.MessageID, primitive.Priority = 7, 2
    primitive.AffectedSOPClassUID, primitive.AffectedSOPInstanceUID = UID(CT), UID("1.2.392.1.9")
    primitive.MoveOriginatorApplicationEntityTitle, primitive.MoveOriginatorMessageID = "VIEWER1", 3
    primitive.DataSet = io.BytesIO(b"\0\0")
    ours = CStoreRq(7, CT, "1.2.392.1.9", Priority.LOW, "VIEWER1", 3)
    assert encode_command(ours) == theirs(C_STORE_RQ(), primitive)


def test_an_echo_request_is_written_as_by_pynetdicom():
    primitive = primitives.C_ECHO()
    primitive.MessageID, primitive.AffectedSOPClassUID = 7, UID("1.2.840.10008.1.1")
    assert encode_command(CEchoRq(7)) == theirs(C_ECHO_RQ(), primitive)


def test_a_find_response_is_written_as_by_pynetdicom():
    primitive = primitives.C_FIND()
    primitive.MessageIDBeingRespondedTo, primitive.AffectedSOPClassUID = 9, UID(STUDY_FIND)
    primitive.Status, primitive.Identifier = 0xFF00, io.BytesIO(b"\0\0")
    assert encode_command(CFindRsp(9, STUDY_FIND, 0xFF00, has_data=True)) == theirs(C_FIND_RSP(), primitive)


def test_a_move_response_is_written_as_by_pynetdicom():
    primitive = primitives.C_MOVE()
    primitive.MessageIDBeingRespondedTo, primitive.AffectedSOPClassUID = 9, UID(STUDY_MOVE)
    primitive.Status = 0xFF00
    primitive.NumberOfRemainingSuboperations, primitive.NumberOfCompletedSuboperations = 5, 6
    primitive.NumberOfFailedSuboperations, primitive.NumberOfWarningSuboperations = 7, 8
    assert encode_command(CMoveRsp(9, STUDY_MOVE, 0xFF00, 5, 6, 7, 8)) == theirs(C_MOVE_RSP(), primitive)


def test_an_action_request_is_written_as_by_pynetdicom():
    primitive = primitives.N_ACTION()
    primitive.MessageID, primitive.ActionTypeID = 5, 1
    primitive.RequestedSOPClassUID, primitive.RequestedSOPInstanceUID = UID("1.2.840.10008.1.20.1"), UID("1.2.4")
    primitive.ActionInformation = io.BytesIO(b"\0\0")
    ours = NRq(
        CommandField.N_ACTION_RQ,
        5,
        requested_class="1.2.840.10008.1.20.1",
        requested_instance="1.2.4",
        action_type=1,
        has_data=True,
    )
    assert encode_command(ours) == theirs(N_ACTION_RQ(), primitive)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("c_store_rq_cmd", CStoreRq),
        ("c_store_rsp_cmd", CStoreRsp),
        ("c_echo_rq_cmd", CEchoRq),
        ("c_echo_rsp_cmd", CEchoRsp),
        ("c_find_rq_cmd", CFindRq),
        ("c_find_rsp_cmd", CFindRsp),
        ("c_move_rq_cmd", CMoveRq),
        ("c_move_rsp_cmd", CMoveRsp),
        ("c_get_rq_cmd", CGetRq),
        ("c_get_rsp_cmd", CGetRsp),
    ],
)
def test_the_other_implementations_vectors_are_read(name, kind):
    raw = getattr(vectors, name)[1:]  # after the message control header
    command = decode_command(raw)
    dataset = read_dataset(io.BytesIO(raw), True, True)
    assert type(command) is kind
    assert command.message_id == dataset.get("MessageID", dataset.get("MessageIDBeingRespondedTo"))
    assert command.sop_class == dataset.AffectedSOPClassUID
    assert decode_command(encode_command(command)) == command


@pytest.mark.parametrize("name", [name for name in dir(n_vectors) if name.endswith("_cmd")])
def test_every_n_message_of_the_other_implementation_is_recognised(name):
    command = decode_command(getattr(n_vectors, name)[1:])
    assert isinstance(command, NRq | NRsp)
    operation = command.operation.name.lower()
    assert name.replace("n_er_", "n_event_report_").startswith(operation)


# -- answers


def test_every_request_has_its_response():
    answers = [
        response_to(command, 0x0122)
        for command in EXAMPLES
        if type(command).__name__.endswith("Rq") and type(command) is not CCancelRq
    ]
    assert {type(answer) for answer in answers} == {CEchoRsp, CStoreRsp, CFindRsp, CGetRsp, CMoveRsp, NRsp}
    assert all(answer.status == 0x0122 and decode_command(encode_command(answer)) == answer for answer in answers)


def test_an_answer_to_an_action_names_what_was_requested():
    request = NRq(CommandField.N_ACTION_RQ, 5, requested_class="1.2.3", requested_instance="1.2.4", action_type=1)
    assert response_to(request, 0) == NRsp(CommandField.N_ACTION_RSP, 5, 0, "1.2.3", "1.2.4", action_type=1)


def test_a_comment_is_cut_to_what_its_field_holds():
    assert response_to(CFindRq(1, STUDY_FIND), 0xC001, "x" * 99).comment == "x" * 64


def test_a_comment_that_is_not_plain_text_is_made_so():
    raw = encode_command(CFindRsp(1, STUDY_FIND, 0xC000, "a\tb c")).replace(b"a\tb c", b"a\t\xe9 c")
    assert decode_command(raw).comment == "a?? c"


def test_only_two_statuses_are_pending():
    assert [status for status in (0, 0xFF00, 0xFF01, 0xFE00, 0xB000) if is_pending(status)] == [0xFF00, 0xFF01]


# -- what is refused


def element(number: int, value: bytes, group: int = 0) -> bytes:
    return struct.pack("<HHI", group, number, len(value)) + value


def us(number: int, value: int) -> bytes:
    return element(number, struct.pack("<H", value))


ECHO = [element(2, b"1.2.840.10008.1.1\0"), us(0x100, 0x30), us(0x110, 7), us(0x800, 0x101)]


def test_elements_that_no_message_defines_are_ignored():
    assert decode_command(b"".join([*ECHO[:3], element(0x400, b"OLD!"), ECHO[3]])) == CEchoRq(7)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"".join(ECHO)[:-1],
        b"".join(ECHO)[:-9],
        b"".join(ECHO[1:]),
        b"".join([ECHO[0], *ECHO[2:]]),
        b"".join(ECHO[:3]),
        b"".join([*ECHO[:2], ECHO[3]]),
        b"".join([*ECHO, ECHO[3]]),
        b"".join([ECHO[1], ECHO[0], *ECHO[2:]]),
        b"".join([*ECHO, element(0x10, b"x", group=8)]),
        b"".join([element(0, struct.pack("<I", 1)), *ECHO]),
        b"".join([element(0, b"\0\0"), *ECHO]),
        b"".join([*ECHO[:3], us(0x800, 1)]),
        b"".join([ECHO[0], us(0x100, 0x31), *ECHO[2:]]),
        b"".join([ECHO[0], element(0x100, b"\x30"), *ECHO[2:]]),
        b"".join([element(2, b"not a uid!"), *ECHO[1:]]),
        b"".join([*ECHO[:3], struct.pack("<HHI", 0, 0x800, 2**32 - 1), b"\1\1"]),
    ],
    ids=[
        *("empty", "cut in a value", "cut in a header", "no class", "no field", "no data type", "no message id"),
        *("twice", "out of order", "another group", "wrong group length", "short group length", "echo with data"),
        *("unknown field", "short number", "bad uid", "undefined length"),
    ],
)
def test_a_command_set_that_cannot_be_meant_is_refused(raw):
    with pytest.raises(DimseError):
        decode_command(raw)


def test_a_store_request_without_a_data_set_is_refused():
    raw = encode_command(CStoreRq(1, CT, "1.2.3")).replace(us(0x800, 1), us(0x800, 0x101))
    with pytest.raises(DimseError):
        decode_command(raw)


def test_a_move_without_a_destination_is_refused():
    raw = encode_command(CMoveRq(1, STUDY_MOVE, "WS1 ")).replace(element(0x600, b"WS1 "), element(0x600, b"    "))
    with pytest.raises(DimseError):
        decode_command(raw)


@settings(max_examples=1000)
@given(
    st.sampled_from(EXAMPLES),
    st.lists(st.tuples(st.integers(0, 500), st.integers(0, 255)), min_size=1, max_size=4),
    st.integers(0, 10),
)
def test_mutated_commands_are_read_or_refused(command, changes, cut):
    mutant = bytearray(encode_command(command))
    for at, value in changes:
        mutant[at % len(mutant)] = value
    try:
        found = decode_command(bytes(mutant[: len(mutant) - cut]))
    except DimseError:
        return
    assert decode_command(encode_command(found)) == found


@settings(max_examples=300)
@given(st.binary(max_size=200))
def test_random_bytes_are_read_or_refused(raw):
    try:
        decode_command(raw)
    except DimseError:
        return
