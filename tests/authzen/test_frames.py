"""Frames of the pipelined endpoint, cut anywhere."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.authzen.frames import Frames, framed
from spir.errors import PeerError


@given(st.lists(st.binary(max_size=40), max_size=8), st.lists(st.integers(0, 400), max_size=6))
def test_frames_come_out_whole_and_in_order_however_they_are_cut(bodies, cuts):
    stream = b"".join(map(framed, bodies))
    edges = [0, *sorted(cut % (len(stream) + 1) for cut in cuts), len(stream)]
    frames = Frames(64)
    found = [body for start, end in pairwise(edges) for body in frames.feed(stream[start:end])]
    assert found == bodies and len(frames) == 0


def test_a_frame_may_be_as_long_as_the_limit_and_no_longer():
    assert Frames(4).feed(framed(b"1234")) == [b"1234"]
    with pytest.raises(PeerError, match="too long"):
        Frames(4).feed(framed(b"12345"))


def test_a_length_alone_is_refused_before_anything_is_gathered():
    frames = Frames(4)
    with pytest.raises(PeerError):
        frames.feed(b"\xff\xff\xff\xff")
    assert len(frames) == 0


@given(st.binary(max_size=200))
def test_any_bytes_are_frames_or_our_error(data):
    frames = Frames(32)
    try:
        found = frames.feed(data)
    except PeerError:
        return
    assert sum(len(body) + 4 for body in found) + len(frames) == len(data)
