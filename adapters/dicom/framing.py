"""Framing: the stream cut into PDUs, P-DATA-TF cut into PDVs, and messages wrapped into both.

`PduReader.feed(data)` yields frames as bytes arrive; `pdvs(frame)` iterates over a P-DATA-TF without
copying; `message_pdus` and `fragment_pdus` wrap what we send (PS3.8 9.3.5, Annex E).

The reader is the guard in front of everything (a stock stack buffers a PDU of four claimed
gigabytes before any association): type and length are judged from the six bytes of the header,
before any of the body is kept. The first PDU must be of a type the caller names; association PDUs
have at most 64 KiB; the fixed PDUs exactly four bytes; P-DATA-TF at most what we negotiated, and
nothing at all before that. Memory held is what was received of one PDU, never what it claims.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import NamedTuple

from adapters.dicom.item import AbortReason, PduError

__all__ = [
    "ACCEPTOR_FIRST",
    "ASSOCIATE_MAX",
    "DATA_MAX",
    "REQUESTOR_FIRST",
    "Frame",
    "PduReader",
    "Pdv",
    "Through",
    "fragment_pdus",
    "message_pdus",
    "pdvs",
]

ASSOCIATE_MAX = 64 * 1024
DATA_MAX = 1024 * 1024  # the most that we let a peer send in one P-DATA-TF, whatever was negotiated
ACCEPTOR_FIRST = frozenset((0x01,))
REQUESTOR_FIRST = frozenset((0x02, 0x03, 0x07))

_HEADER = struct.Struct(">BxI")
_PDV = struct.Struct(">IBB")
_DATA_HEAD = struct.Struct(">BxIIBB")
_OVERHEAD = 6  # PDV item length, context id, message control header
_DATA = 0x04


class Frame(NamedTuple):
    """One whole PDU. `raw` has the header; it is a view of memory that nobody writes to again."""

    type: int
    raw: memoryview

    @property
    def body(self) -> memoryview:
        return self.raw[6:]


class Through(NamedTuple):
    """Raw bytes of data PDUs that go through unassembled. `size`: the bytes of data set in PDUs that
    begin in it; `open`: it ends within a PDU; `last`: the data set ends with it."""

    raw: memoryview
    size: int
    open: bool
    last: bool


class Pdv(NamedTuple):
    """One presentation data value: `command` and `last` from the message control header (E.2)."""

    context: int
    command: bool
    last: bool
    fragment: memoryview


class PduReader:
    """Cuts a stream into PDUs. Any split of the stream gives the same frames.

    `first` are the types the first PDU may have. `data_max` is the largest P-DATA-TF body accepted;
    zero, as at the start, refuses P-DATA-TF. `count` is the number of frames so far. After a PduError
    the stream has no frames any more.

    `let_through` is for bulk: the PDUs of one data set then pass as they arrive, whatever part of them
    has come, with no copy. A PDU that holds anything else than one fragment of it is framed as ever.
    """

    def __init__(self, first: frozenset[int] = ACCEPTOR_FIRST, data_max: int = 0) -> None:
        self.data_max = data_max
        self.count = 0
        self._first: frozenset[int] | None = first
        self._part = bytearray()
        self._need = 0  # of the PDU begun in _part; 0 while its header is not complete
        self._through: tuple[int, int] | None = None  # context id and largest body of what goes through
        self._left = 0  # of the PDU that is going through
        self._final = False  # whether it is the last of its data set

    @property
    def partial(self) -> bool:
        """Whether a PDU has begun and is not complete."""
        return bool(self._part) or self._left > 0

    def let_through(self, context: int, largest: int) -> None:
        """From the next PDU on, and until the data set ends: on `context`, bodies up to `largest`."""
        self._through, self._final = (context, largest), False

    def hold_back(self) -> None:
        """Frame everything again; a PDU that has begun to go through still does."""
        self._through = None

    def feed(self, data: bytes | memoryview) -> Iterator[Frame | Through]:
        """Frames completed by `data`, which must not change afterwards. Raises PduError.

        Exhaust the iterator before the next call. PDUs that lie within `data` are views of it; one
        that straddles two calls is copied once.
        """
        view = memoryview(data)
        at, end = 0, len(view)
        while at < end:
            if self._part:
                at = self._complete(view, at)
                if self._need == 0 or len(self._part) < self._need:
                    continue
                whole, self._part, self._need = self._part, bytearray(), 0
                self.count += 1
                yield Frame(whole[0], memoryview(whole))
                continue
            if self._left or self._through is not None:
                upto, size = self._run(view, at)
                if upto > at:
                    last = self._final and not self._left
                    if last:
                        self._through = None
                    yield Through(view[at:upto], size, self._left > 0, last)
                    at = upto
                    continue
            need = self._size(view, at) if end - at >= 6 else 0
            if need == 0 or end - at < need:
                self._part += view[at:]
                self._need = need
                return
            at += need
            self.count += 1
            yield Frame(view[at - need], view[at - need : at])

    def _run(self, view: memoryview, at: int) -> tuple[int, int]:
        """How far the bytes from `at` on may go through, and how much of a data set begins there.

        The innermost loop of bulk: once round it for each PDU.
        """
        end, size, unpack = len(view), 0, _DATA_HEAD.unpack_from
        at += self._left
        if self._through is not None and not self._final:
            on, largest = self._through
            largest = min(largest, self.data_max, DATA_MAX)  # what is longer is framed, and judged there
            while end - at >= _DATA_HEAD.size:
                kind, length, value, context, control = unpack(view, at)
                if kind != _DATA or context != on or control & 1:
                    break
                if value + 4 != length or not _OVERHEAD <= length <= largest:
                    break
                self.count += 1
                size += value - 2
                at += length + 6
                if control & 2:
                    self._final = True
                    break
        self._left = max(at - end, 0)
        return min(at, end), size

    def _complete(self, view: memoryview, at: int) -> int:
        """Move bytes of `view` into the begun PDU, its header first; returns how far."""
        upto = at + (self._need or 6) - len(self._part)
        taken = view[at:upto]
        self._part += taken
        if self._need == 0 and len(self._part) == 6:
            self._need = self._size(self._part, 0)
        return at + len(taken)

    def _size(self, view: memoryview | bytearray, at: int) -> int:
        """The size of the PDU whose header is at `at`, header included; judged before it is kept."""
        kind, length = _HEADER.unpack_from(view, at)
        if self._first is not None and kind not in self._first:
            reason = AbortReason.UNEXPECTED_PDU if 1 <= kind <= 7 else AbortReason.UNRECOGNIZED_PDU
            raise PduError("the first PDU is of a type that cannot come first", reason, clause="PS3.8 9.2")
        if kind == _DATA:
            self._judge_data(length)
        elif kind in (0x01, 0x02):
            if not 68 <= length <= ASSOCIATE_MAX:
                raise PduError("an association PDU has an impossible length", hint="at most 64 KiB are read")
        elif kind in (0x03, 0x05, 0x06, 0x07):
            if length != 4:
                raise PduError("a PDU of fixed length has another length")
        else:
            raise PduError("a PDU of an unknown type", AbortReason.UNRECOGNIZED_PDU)
        self._first = None
        return int(length) + 6

    def _judge_data(self, length: int) -> None:
        if self.data_max == 0:
            raise PduError("data came without an association", AbortReason.UNEXPECTED_PDU, clause="PS3.8 9.2")
        if not _OVERHEAD <= length <= min(self.data_max, DATA_MAX):
            raise PduError("a data PDU is longer than negotiated, or empty", clause="PS3.8 9.3.5")


def pdvs(body: memoryview) -> Iterator[Pdv]:
    """The PDVs of a P-DATA-TF body, as views. They must fill it exactly. Raises PduError."""
    at, end = 0, len(body)
    while at < end:
        if end - at < _OVERHEAD:
            raise PduError("a presentation data value is cut off", clause="PS3.8 9.3.5.1")
        length, context, control = _PDV.unpack_from(body, at)
        upto = at + 4 + length
        if length < 2 or upto > end:
            raise PduError("a presentation data value has an impossible length", clause="PS3.8 9.3.5.1")
        yield Pdv(context, bool(control & 1), bool(control & 2), body[at + _OVERHEAD : upto])
        at = upto


def fragment_pdus(
    context: int, data: bytes | memoryview, max_length: int, *, command: bool = False, last: bool = True
) -> list[bytes | memoryview]:
    """`data` as P-DATA-TF PDUs of one PDV each: buffers to be written in order, data uncopied.

    `max_length` bounds the variable field, as peers state it; it must be at least 8. Every PDU but
    the last is full; `last` marks the last as the end of the command set or data set.
    """
    room = (max_length - _OVERHEAD) & ~1  # stock peers refuse fragments of an odd length
    if room < 2:
        raise PduError("the peer's maximum length leaves no room for data", hint="it must be at least 8 bytes")
    view, parts = memoryview(data), list[bytes | memoryview]()
    for at in range(0, max(len(view), 1), room):
        fragment = view[at : at + room]
        control = int(command) | (2 if last and at + room >= len(view) else 0)
        parts.append(_DATA_HEAD.pack(_DATA, len(fragment) + _OVERHEAD, len(fragment) + 2, context, control))
        parts.append(fragment)
    return parts


def message_pdus(
    context: int, command: bytes, data: bytes | memoryview | None, max_length: int, *, last: bool = True
) -> bytes:
    """A message as one buffer: one write, so that no peer waits on a delayed acknowledgement.

    `data` is None where the command says that no data set follows. Where it is only the data set's
    beginning, `last` is false and the rest follows with `fragment_pdus`.
    """
    parts = fragment_pdus(context, command, max_length, command=True)
    if data or (data is not None and last):  # stock peers choke on an empty fragment that is not the last
        parts += fragment_pdus(context, data, max_length, last=last)
    return b"".join(parts)
