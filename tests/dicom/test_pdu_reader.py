"""Framing: any split gives the same frames, lies about lengths are refused before anything is kept."""

from __future__ import annotations

import struct
import tracemalloc
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pynetdicom.tests import encoded_pdu_items as vectors

from adapters.dicom.framing import (
    ACCEPTOR_FIRST,
    ASSOCIATE_MAX,
    DATA_MAX,
    REQUESTOR_FIRST,
    Frame,
    PduReader,
    Pdv,
    Through,
    fragment_pdus,
    message_pdus,
    pdvs,
)
from adapters.dicom.pdu import AbortReason, PduError, ReleaseRequest, encode
from tests.dicom.test_pdu import REQUEST

RQ = encode(REQUEST)
RELEASE = encode(ReleaseRequest())


def reader(data_max: int = 16384) -> PduReader:
    """One that has read its first PDU."""
    made = PduReader(data_max=data_max)
    assert len(list(made.feed(RQ))) == 1
    return made


def read(made: PduReader, *pieces: bytes) -> list[tuple[int, bytes]]:
    return [(frame.type, bytes(frame.raw)) for piece in pieces for frame in made.feed(piece)]


def data(*fragments: tuple[int, int, bytes]) -> bytes:
    """A P-DATA-TF of (context, control, fragment)."""
    body = b"".join(struct.pack(">IBB", len(part) + 2, context, control) + part for context, control, part in fragments)
    return struct.pack(">BxI", 4, len(body)) + body


def pieces(stream: bytes, cuts: list[int]) -> list[bytes]:
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts)})
    return [stream[one:two] for one, two in pairwise(edges)]


fragments = st.lists(
    st.tuples(st.sampled_from((1, 3)), st.integers(0, 3), st.binary(max_size=60)), min_size=1, max_size=3
).map(lambda parts: data(*parts))
streams = st.lists(fragments | st.just(RELEASE), max_size=6).map(b"".join)
cuts = st.lists(st.integers(0, 2000), max_size=12)


@given(streams, cuts)
def test_any_split_of_a_stream_gives_the_same_frames(stream, cuts):
    whole = read(reader(), stream)
    assert read(reader(), *pieces(stream, cuts)) == whole
    assert b"".join(raw for _, raw in whole) == stream


def test_byte_by_byte_gives_the_same_frames():
    stream = RQ + data((1, 3, b"ab")) + RELEASE
    made = PduReader(data_max=100)
    assert [kind for kind, _ in read(made, *(bytes((byte,)) for byte in stream))] == [1, 4, 5]
    assert made.count == 3 and not made.partial


def test_whole_pdus_are_views_of_what_came():
    stream = data((1, 0, b"x" * 100)) * 3
    assert [frame.raw.obj is stream for frame in reader().feed(stream)] == [True] * 3


def test_a_frame_outlives_what_comes_after_it():
    made, stream = reader(), data((1, 0, b"x" * 100)) + data((1, 2, b"y" * 100))
    frames = [frame for piece in pieces(stream, [50, 150]) for frame in made.feed(piece)]
    assert b"".join(frame.raw for frame in frames) == stream


# -- the guard


def refuse(made: PduReader, raw: bytes) -> AbortReason:
    with pytest.raises(PduError) as error:
        list(made.feed(raw))
    assert not made.partial or len(made._part) <= 6  # nothing beyond a header was kept
    return error.value.reason


@pytest.mark.parametrize("kind", [2, 3, 4, 5, 6, 7])
def test_an_acceptor_hears_nothing_before_a_request(kind):
    assert refuse(PduReader(ACCEPTOR_FIRST), bytes((kind, 0, 0, 0, 0, 4))) is AbortReason.UNEXPECTED_PDU


@pytest.mark.parametrize("kind", [1, 4, 5, 6])
def test_a_requestor_hears_nothing_before_an_answer(kind):
    assert refuse(PduReader(REQUESTOR_FIRST), bytes((kind, 0, 0, 0, 0, 100))) is AbortReason.UNEXPECTED_PDU


@pytest.mark.parametrize("first", [b"G", b"\x16", b"\0", b"\xff"])
def test_another_protocol_is_refused_by_its_first_six_bytes(first):
    assert refuse(PduReader(), first + b"ET / HTTP/1.1") is AbortReason.UNRECOGNIZED_PDU


@pytest.mark.parametrize("length", [0, 1, 67, ASSOCIATE_MAX + 1, 2**31, 2**32 - 1])
def test_a_request_that_lies_about_its_length_is_refused_at_once(length):
    refuse(PduReader(), struct.pack(">BxI", 1, length))


@pytest.mark.parametrize("length", [0, 1, 5, 16385, 2**32 - 1])
def test_data_longer_than_negotiated_or_empty_is_refused_at_once(length):
    refuse(reader(16384), struct.pack(">BxI", 4, length))


def test_no_negotiation_allows_more_than_a_mebibyte():
    refuse(reader(2**32 - 1), struct.pack(">BxI", 4, DATA_MAX + 1))


def test_data_before_an_association_is_refused():
    assert refuse(reader(0), data((1, 0, b"x"))) is AbortReason.UNEXPECTED_PDU


@pytest.mark.parametrize("kind", [3, 5, 6, 7])
@pytest.mark.parametrize("length", [0, 3, 5, 2**32 - 1])
def test_the_fixed_pdus_have_no_other_length(kind, length):
    refuse(reader(), struct.pack(">BxI", kind, length))


@pytest.mark.parametrize("kind", [0, 8, 255])
def test_unknown_types_are_refused(kind):
    assert refuse(reader(), bytes((kind, 0, 0, 0, 0, 4))) is AbortReason.UNRECOGNIZED_PDU


def test_a_claimed_length_takes_no_memory_before_its_bytes_come():
    tracemalloc.start()
    try:
        made = [reader(DATA_MAX) for _ in range(50)]
        for one in made:
            assert not list(one.feed(struct.pack(">BxI", 4, DATA_MAX) + b"few"))
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


@settings(max_examples=300)
@given(st.binary(max_size=300), cuts)
def test_random_bytes_are_framed_or_refused(raw, cuts):
    made = reader()
    try:
        read(made, *pieces(raw, cuts))
    except PduError:
        return


# -- PDVs


def test_the_pdvs_of_a_pdu_are_views_with_their_flags():
    raw = memoryview(data((1, 3, b"command"), (1, 0, b"da"), (1, 2, b"ta")))
    values = list(pdvs(raw[6:]))
    assert [(value.context, value.command, value.last, bytes(value.fragment)) for value in values] == [
        (1, True, True, b"command"),
        (1, False, False, b"da"),
        (1, False, True, b"ta"),
    ]
    assert all(value.fragment.obj is raw.obj for value in values)


def test_the_reserved_bits_of_the_control_header_are_not_looked_at():
    assert list(pdvs(memoryview(data((5, 0xFD, b"")))[6:])) == [Pdv(5, True, False, memoryview(b""))]


@pytest.mark.parametrize("body", [b"\0", b"\0\0\0\2\1", b"\0\0\0\1\1\0", b"\0\0\0\0\1\0", b"\0\0\0\3\1\0", b"\xff" * 6])
def test_a_pdv_that_does_not_fill_its_pdu_is_refused(body):
    with pytest.raises(PduError):
        list(pdvs(memoryview(body)))


def test_the_other_implementations_data_is_read():
    (frame,) = reader().feed(vectors.p_data_tf)
    (value,) = pdvs(frame.body)
    assert (value.context, value.command, value.last) == (1, True, True)


# -- what we write


@given(st.binary(max_size=500), st.integers(8, 120), st.booleans(), st.booleans())
def test_fragments_join_to_what_was_wrapped(blob, largest, command, last):
    stream = b"".join(fragment_pdus(3, blob, largest, command=command, last=last))
    frames = list(reader(largest).feed(stream))
    values = [value for frame in frames for value in pdvs(frame.body)]
    assert b"".join(bytes(value.fragment) for value in values) == blob
    assert {(value.context, value.command) for value in values} == {(3, command)}
    assert [value.last for value in values] == [False] * (len(values) - 1) + [last]
    assert all(len(value.fragment) % 2 == 0 for value in values[:-1])


def test_a_message_is_one_buffer_of_command_and_data():
    raw = message_pdus(1, b"command!", b"data", 16384)
    assert raw == data((1, 3, b"command!")) + data((1, 2, b"data"))


def test_an_empty_data_set_still_has_its_last_fragment():
    assert message_pdus(1, b"command!", b"", 16384) == data((1, 3, b"command!")) + data((1, 2, b""))


def test_the_beginning_of_a_data_set_may_be_empty_and_is_then_not_sent():
    assert message_pdus(1, b"command!", b"", 16384, last=False) == data((1, 3, b"command!"))


def test_a_message_without_a_data_set_has_only_its_command():
    assert message_pdus(1, b"command!", None, 16384) == data((1, 3, b"command!"))


def test_a_peer_that_leaves_no_room_is_refused():
    with pytest.raises(PduError, match="leaves no room"):
        fragment_pdus(1, b"data", 7)


# -- letting through


def passed(made: PduReader, *parts: bytes) -> list[Frame | Through]:
    return [event for part in parts for event in made.feed(part)]


@given(st.lists(st.binary(min_size=1, max_size=50), min_size=1, max_size=6), cuts)
def test_a_data_set_goes_through_unchanged_however_it_is_split(parts, cuts):
    stream = b"".join(data((1, 2 * (n == len(parts) - 1), part)) for n, part in enumerate(parts))
    after = data((1, 3, b"next command"))
    made = reader()
    made.let_through(1, 16384)
    events = passed(made, *pieces(stream + after, cuts))
    assert b"".join(event.raw for event in events) == stream + after
    assert isinstance(events[-1], Frame) and bytes(events[-1].raw) == after
    size = sum(event.size for event in events if isinstance(event, Through))
    framed = sum(len(value.fragment) for event in events[:-1] if isinstance(event, Frame) for value in pdvs(event.body))
    assert size + framed == sum(map(len, parts))


def test_pieces_of_a_pdu_go_through_before_it_is_complete():
    made, stream = reader(), data((1, 2, b"x" * 100))
    made.let_through(1, 16384)
    assert passed(made, stream[:40], stream[40:]) == [
        Through(memoryview(stream)[:40], 100, True, False),
        Through(memoryview(stream)[40:], 0, False, True),
    ]
    assert not made.partial


@pytest.mark.parametrize(
    "raw",
    [data((3, 0, b"xx")), data((1, 1, b"xx")), data((1, 0, b"xx"), (1, 2, b"yy")), data((1, 0, b"x" * 60)), RELEASE],
    ids=["another context", "a command", "two values", "too long for the target", "a release"],
)
def test_whatever_is_not_one_fragment_of_it_is_framed(raw):
    made = reader()
    made.let_through(1, 50)
    assert [type(event) for event in passed(made, raw)] == [Frame]


def test_lies_are_refused_while_letting_through():
    made = reader(16384)
    made.let_through(1, 2**32)
    with pytest.raises(PduError):
        passed(made, struct.pack(">BxIIBB", 4, 2**31, 2**31 - 4, 1, 0))


def test_what_has_begun_to_go_through_does_so_after_holding_back():
    made, stream = reader(), data((1, 0, b"x" * 100))
    made.let_through(1, 16384)
    first = passed(made, stream[:40])
    made.hold_back()
    rest = passed(made, stream[40:] + stream)
    assert [type(event) for event in first + rest] == [Through, Through, Frame]
