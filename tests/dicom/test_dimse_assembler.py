"""Messages out of PDVs: in order, on their context, and within their bounds."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.dicom.dimse import (
    COMMAND_MAX,
    CEchoRq,
    CommandArrived,
    CStoreRq,
    DataCollector,
    DataFragment,
    DimseError,
    MessageAssembler,
    encode_command,
)
from adapters.dicom.framing import Pdv
from adapters.dicom.pdu import AbortSource, PduError

STORE = CStoreRq(1, "1.2.840.10008.5.1.4.1.1.2", "1.2.3")
ECHO = CEchoRq(2)


def command(value, context=1, last=True, part=slice(None)):
    return Pdv(context, True, last, memoryview(encode_command(value))[part])


def data(raw, context=1, last=False):
    return Pdv(context, False, last, memoryview(raw))


def fed(*values, contexts=(1, 3)):
    assembler = MessageAssembler(contexts)
    return [event for value in values if (event := assembler.feed(value)) is not None]


def test_a_message_without_a_data_set_is_one_event():
    assert fed(command(ECHO), command(ECHO, 3)) == [CommandArrived(1, ECHO), CommandArrived(3, ECHO)]


def test_a_data_set_follows_its_command_in_fragments():
    assert fed(command(STORE), data(b"ab"), data(b"cd", last=True), command(ECHO)) == [
        CommandArrived(1, STORE),
        DataFragment(1, memoryview(b"ab"), False),
        DataFragment(1, memoryview(b"cd"), True),
        CommandArrived(1, ECHO),
    ]


@given(st.lists(st.integers(0, 100), max_size=5))
def test_a_command_may_come_in_any_fragments(cuts):
    size = len(encode_command(STORE))
    edges = sorted({0, size, *(cut % size for cut in cuts)})
    parts = [slice(one, two) for one, two in pairwise(edges)]
    values = [command(STORE, last=part.stop == size, part=part) for part in parts]
    assert fed(*values) == [CommandArrived(1, STORE)]


def test_fragments_are_views_not_copies():
    raw = b"pixels"
    assembler = MessageAssembler({1})
    assembler.feed(command(STORE))
    event = assembler.feed(data(raw))
    assert isinstance(event, DataFragment) and event.fragment.obj is raw


def test_it_is_known_on_which_context_data_are_awaited():
    assembler = MessageAssembler({3})
    assert assembler.data_context == 0
    assembler.feed(command(STORE, 3))
    assert assembler.data_context == 3
    assembler.feed(data(b"", 3, last=True))
    assert assembler.data_context == 0


def test_data_that_went_by_another_way_ends_the_message():
    assembler = MessageAssembler({1})
    assembler.feed(command(STORE))
    assembler.finish_data()
    assert assembler.feed(command(ECHO)) == CommandArrived(1, ECHO)


@pytest.mark.parametrize(
    "values",
    [
        [data(b"ab")],
        [command(ECHO), data(b"ab")],
        [command(STORE), command(ECHO)],
        [command(STORE), data(b"ab", 3)],
        [command(STORE), data(b"ab"), command(ECHO)],
        [command(STORE, last=False, part=slice(10)), data(b"ab")],
        [command(STORE, last=False, part=slice(10)), command(STORE, 3, part=slice(10, None))],
        [command(ECHO, 5)],
    ],
    ids=[
        *("data first", "data after none", "command for data", "data on another context", "command amid data"),
        *("data amid command", "command on two contexts", "context not accepted"),
    ],
)
def test_fragments_out_of_their_order_are_refused(values):
    with pytest.raises(PduError):
        fed(*values)


def test_a_command_set_beyond_its_bound_is_refused():
    piece = Pdv(1, True, False, memoryview(bytes(COMMAND_MAX // 2 + 1)))
    with pytest.raises(DimseError, match="longer"):
        fed(piece, piece)


def test_a_message_that_cannot_be_read_is_ended_as_its_user_would():
    with pytest.raises(DimseError) as error:
        fed(Pdv(1, True, True, memoryview(b"nonsense")))
    assert error.value.source is AbortSource.SERVICE_USER


def test_a_collector_gathers_one_data_set_after_another():
    collector = DataCollector(10)
    events = [DataFragment(1, memoryview(b"ab"), False), DataFragment(1, memoryview(b"cd"), True)] * 2
    assert [collector.add(event) for event in events] == [None, b"abcd", None, b"abcd"]


def test_a_collector_refuses_what_is_beyond_its_limit():
    collector = DataCollector(3)
    assert collector.add(DataFragment(1, memoryview(b"ab"), False)) is None
    with pytest.raises(DimseError, match="longer"):
        collector.add(DataFragment(1, memoryview(b"cd"), False))
