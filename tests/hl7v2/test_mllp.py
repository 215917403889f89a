"""Frames are what was sent, however the bytes were cut."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.mllp import Framer, encode

CONTENT = st.binary(max_size=40).filter(lambda content: b"\x1c\x0d" not in content)
PIECES = st.lists(st.sampled_from([b"\x0b", b"\x1c", b"\x0d", b"a", b"\x0bx\x1c\x0d", b"junk"]), max_size=40)


def cut(data: bytes, places: list[int]) -> list[bytes]:
    marks = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[a:b] for a, b in pairwise(marks)]


def run(framer: Framer, chunks: list[bytes]) -> tuple[list[bytes], bool]:
    frames = [frame for chunk in chunks for frame in framer.feed(chunk)]
    return frames, framer.broken is not None


@given(st.lists(CONTENT, max_size=6), st.lists(st.integers(0, 400), max_size=12))
def test_what_was_encoded_comes_back_in_order(contents: list[bytes], places: list[int]):
    wire = b"".join(encode(content) for content in contents)
    assert run(Framer(), cut(wire, places)) == (contents, False)


@given(PIECES, st.lists(st.integers(0, 400), max_size=12), st.booleans())
def test_any_chunking_gives_the_same_frames(pieces: list[bytes], places: list[int], lenient: bool):
    data = b"".join(pieces)
    whole = run(Framer(limit=8, junk_limit=6, lenient=lenient), [data])
    assert run(Framer(limit=8, junk_limit=6, lenient=lenient), cut(data, places)) == whole
    assert run(Framer(limit=8, junk_limit=6, lenient=lenient), [bytes([b]) for b in data]) == whole


def test_several_frames_in_one_read_come_out_together():
    assert Framer().feed(encode(b"one") + encode(b"two") + b"\x0bthr") == [b"one", b"two"]


def test_junk_between_frames_is_skipped_up_to_its_limit():
    framer = Framer(junk_limit=4)
    assert framer.feed(b"\r\n" + encode(b"one") + b"abcd" + encode(b"two")) == [b"one", b"two"]
    assert framer.feed(b"abcde" + encode(b"three")) == []
    assert framer.broken is not None


def test_frames_before_the_break_are_still_delivered():
    framer = Framer(limit=5)
    assert framer.feed(encode(b"12345") + encode(b"123456") + encode(b"1")) == [b"12345"]
    assert str(framer.broken) == "a frame is too long; at most 5 bytes are read"


def test_an_unfinished_frame_is_refused_as_soon_as_it_is_too_long():
    framer = Framer(limit=5)
    assert framer.feed(b"\x0b12345\x1c") == []
    assert framer.broken is None
    framer.feed(b"6")
    assert framer.broken is not None


def test_a_missing_final_cr_is_accepted_only_when_asked_for():
    wire = b"\x0bone\x1c\x0btwo\x1c\x0d"
    assert Framer(lenient=True).feed(wire) == [b"one", b"two"]
    assert Framer().feed(wire) == [b"one\x1c\x0btwo"]


def test_inside_says_whether_the_peer_owes_us_the_rest():
    framer = Framer()
    assert not framer.inside
    framer.feed(b"\x0bhalf")
    assert framer.inside
    framer.feed(b"\x1c\x0d")
    assert not framer.inside


def test_a_flood_of_start_marks_is_one_long_frame_read_once():
    framer = Framer(limit=1000)
    for _ in range(10):
        assert framer.feed(b"\x0b" * 100) == []
    assert framer.broken is None  # the first mark began the frame, 999 are content
    framer.feed(b"\x0b\x0b")
    assert framer.broken is not None
