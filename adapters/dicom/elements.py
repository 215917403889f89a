"""The elements of a data set as bytes: where each one lies, and how one is written (PS3.5 chapter 7).

Little endian, implicit or explicit VR; other transfer syntaxes are refused at
negotiation. The walk finds the top-level elements and skips nested sequences,
defined or undefined in length, without recursion. It insists on ascending tags:
two parsers that meet the same tag twice may believe different ones, and one
of them decides while the other answers.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from struct import Struct
from struct import error as StructError
from typing import TypeAlias

from spir.errors import PeerError

__all__ = [
    "LAST_TAG",
    "MAX_DEPTH",
    "OF_ITEMS",
    "DatasetError",
    "Incomplete",
    "Index",
    "encode_element",
    "vr_of",
    "walk",
]

MAX_DEPTH = 32  # sequences within sequences
LAST_TAG = 0xFFFFFFFF
UNDEFINED = 0xFFFFFFFF
ITEM, ITEM_END, SEQUENCE_END = 0xFFFEE000, 0xFFFEE00D, 0xFFFEE0DD
COMMAND_GROUP = 0x0000FFFF  # tags up to here belong to commands, never to a data set

# PS3.5 7.1.2: these VRs carry a 32-bit length after two reserved bytes.
LONG = frozenset((b"OB", b"OD", b"OF", b"OL", b"OV", b"OW", b"SQ", b"SV", b"UC", b"UN", b"UR", b"UT", b"UV"))
SHORT = frozenset(
    (
        *(b"AE", b"AS", b"AT", b"CS", b"DA", b"DS", b"DT", b"FD", b"FL", b"IS", b"LO", b"LT"),
        *(b"PN", b"SH", b"SL", b"SS", b"ST", b"TM", b"UI", b"UL", b"US"),
    )
)
OF_ITEMS = frozenset([b"SQ", b"UN"])  # undefined length: items of elements
OF_FRAGMENTS = frozenset([b"OB", b"OW"])  # undefined length: fragments (PS3.5 A.4)
PADDED_BY_NUL = frozenset([b"UI", b"OB", b"UN"])

_EXPLICIT = Struct("<HH2sH")
_IMPLICIT = Struct("<HHI")
_LENGTH = Struct("<I")

# Start of the element, start of its value, end of the element (delimiters included).
Span: TypeAlias = tuple[int, int, int]
Index: TypeAlias = dict[int, Span]


class DatasetError(PeerError):
    """The peer's: a data set cannot be read, or says the same thing twice."""


class Incomplete(DatasetError):
    """The bytes end in the middle of an element."""


def walk(data: bytes | memoryview, explicit: bool, last: int = LAST_TAG) -> tuple[Index, int]:
    """Spans of the top-level elements up to the tag `last`, and where the walk ended. Raises DatasetError."""
    try:
        return (_walk_explicit if explicit else _walk_implicit)(data, last)
    except StructError:
        raise Incomplete("a data set ends in the middle of an element") from None


# The two walks read headers in place, not by a function of their own: they are the cost of every row of an answer.


def _walk_explicit(data: bytes | memoryview, last: int) -> tuple[Index, int]:
    index: Index = {}
    position, size, previous, unpack = 0, len(data), COMMAND_GROUP, _EXPLICIT.unpack_from
    while position < size:
        group, element, vr, length = unpack(data, position)
        tag = group << 16 | element
        if tag > last:
            break
        if tag <= previous:
            raise _disorder()
        if vr in SHORT:
            value = position + 8
            end = value + length
        elif vr in LONG:
            value = position + 12
            length = _LENGTH.unpack_from(data, position + 8)[0]
            end = value + length if length != UNDEFINED else _after_items(data, value, vr, True)
        else:
            raise _unknown_representation()
        if end > size:
            raise Incomplete("a data set ends in the middle of an element")
        index[tag] = (position, value, end)
        position, previous = end, tag
    return index, position


def _walk_implicit(data: bytes | memoryview, last: int) -> tuple[Index, int]:
    index: Index = {}
    position, size, previous, unpack = 0, len(data), COMMAND_GROUP, _IMPLICIT.unpack_from
    while position < size:
        group, element, length = unpack(data, position)
        tag = group << 16 | element
        if tag > last:
            break
        if tag <= previous:
            raise _disorder()
        value = position + 8
        end = value + length if length != UNDEFINED else _after_items(data, value, b"", False)
        if end > size:
            raise Incomplete("a data set ends in the middle of an element")
        index[tag] = (position, value, end)
        position, previous = end, tag
    return index, position


def _disorder() -> DatasetError:
    return DatasetError("elements are repeated, out of order or of the command group", clause="PS3.5 7.1")


def _unknown_representation() -> DatasetError:
    return DatasetError("an element has no value representation we know", clause="PS3.5 6.2")


def _explicit_header(data: bytes | memoryview, position: int) -> tuple[int, bytes, int, int]:
    """Tag, VR, offset of the value, length."""
    group, element, vr, length = _EXPLICIT.unpack_from(data, position)
    if vr in SHORT:
        return group << 16 | element, vr, position + 8, length
    if vr in LONG:
        return group << 16 | element, vr, position + 12, _LENGTH.unpack_from(data, position + 8)[0]
    if group == 0xFFFE:  # items and delimiters have no VR
        return group << 16 | element, b"", position + 8, _LENGTH.unpack_from(data, position + 4)[0]
    raise _unknown_representation()


def _implicit_header(data: bytes | memoryview, position: int) -> tuple[int, bytes, int, int]:
    group, element, length = _IMPLICIT.unpack_from(data, position)
    return group << 16 | element, b"", position + 8, length


def _after_items(data: bytes | memoryview, position: int, vr: bytes, explicit: bool) -> int:
    """The offset after the delimiter of the undefined-length value that begins at `position`.

    UN of undefined length holds implicit VR whatever surrounds it (PS3.5 6.2.2, note on UN).
    """
    if vr in OF_FRAGMENTS:
        return _after_fragments(data, position)
    if vr and vr not in OF_ITEMS:
        raise DatasetError("a value of this kind cannot have an undefined length", clause="PS3.5 7.1.1")
    modes = [explicit and vr != b"UN"]  # one entry for each open sequence: does it hold explicit VR?
    inside_item = False
    while modes:
        if not inside_item:
            tag, length = _item_header(data, position)
            position += 8
            if tag == SEQUENCE_END:
                modes.pop()
                inside_item = True
            elif length == UNDEFINED:
                inside_item = True
            else:
                position += length
            continue
        header = _explicit_header if modes[-1] else _implicit_header
        tag, inner, position, length = header(data, position)
        if tag == ITEM_END:
            inside_item = False
        elif tag >> 16 == 0xFFFE:
            raise DatasetError("a delimiter stands where an element should", clause="PS3.5 7.5")
        elif length != UNDEFINED:
            position += length
        elif inner in OF_FRAGMENTS:
            position = _after_fragments(data, position)
        else:
            modes.append(modes[-1] and inner != b"UN")
            inside_item = False
            if len(modes) > MAX_DEPTH:
                raise DatasetError("sequences are nested too deeply", hint=f"at most {MAX_DEPTH} levels are read")
    return position


def _after_fragments(data: bytes | memoryview, position: int) -> int:
    tag = ITEM
    while tag != SEQUENCE_END:
        tag, length = _item_header(data, position)
        if length == UNDEFINED:
            raise DatasetError("a fragment has no length", clause="PS3.5 A.4")
        position += 8 + length
    return position


def _item_header(data: bytes | memoryview, position: int) -> tuple[int, int]:
    group, element, length = _IMPLICIT.unpack_from(data, position)
    tag = group << 16 | element
    if tag not in (ITEM, SEQUENCE_END) or (tag == SEQUENCE_END and length):
        raise DatasetError("a sequence holds something that is not an item", clause="PS3.5 7.5")
    return tag, length


def vr_of(tag: int) -> bytes:
    """The VR of a standard attribute (the first, where the dictionary allows several); UN if unknown."""
    if tag & 0xFFFF == 0:
        return b"UL"
    return _dictionary().get(tag, b"UN")


def encode_element(tag: int, value: bytes, vr: bytes) -> bytes:
    """One encoded element; implicit if `vr` is empty."""
    if len(value) & 1:
        value += b"\0" if vr_of(tag) in PADDED_BY_NUL else b" "
    if not vr:
        return _IMPLICIT.pack(tag >> 16, tag & 0xFFFF, len(value)) + value
    if vr in LONG:
        return _EXPLICIT.pack(tag >> 16, tag & 0xFFFF, vr, 0) + _LENGTH.pack(len(value)) + value
    if len(value) > 0xFFFE:
        raise DatasetError("a value is too long for its representation", clause="PS3.5 7.1.2")
    return _EXPLICIT.pack(tag >> 16, tag & 0xFFFF, vr, len(value)) + value


@cache
def _dictionary() -> Mapping[int, bytes]:
    from pydicom._dicom_dict import DicomDictionary

    return {tag: entry[0][:2].encode("ascii") for tag, entry in DicomDictionary.items()}
