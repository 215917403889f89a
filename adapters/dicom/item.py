"""The grammar shared by every item of an association PDU, and the error of breaking it (PS3.8 9.3.1).

An item is a type, a reserved byte, a 16-bit length and a value; items fill what holds them exactly.
Public names are re-exported by `pdu`.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator
from enum import IntEnum
from functools import lru_cache
from typing import TypeVar

from spir.errors import PeerError

__all__ = ["AbortReason", "AbortSource", "PduError", "counted", "item", "items", "only", "printable", "take", "uid"]

T = TypeVar("T")

_ITEM = struct.Struct(">BxH")
_LENGTH = struct.Struct(">H")
_UID = re.compile(rb"[0-9.]{1,64}")
_PRINTABLE = re.compile(rb"[\x20-\x5b\x5d-\x7e]*")  # without the backslash, as in the VR AE (PS3.5 6.2)


class AbortSource(IntEnum):
    SERVICE_USER = 0
    SERVICE_PROVIDER = 2


class AbortReason(IntEnum):
    """PS3.8 Table 9-26; significant only where the source is the service provider."""

    NOT_SPECIFIED = 0
    UNRECOGNIZED_PDU = 1
    UNEXPECTED_PDU = 2
    UNRECOGNIZED_PARAMETER = 4
    UNEXPECTED_PARAMETER = 5
    INVALID_PARAMETER = 6


class PduError(PeerError):
    """The peer broke the upper layer protocol; `source` and `reason` go into the A-ABORT."""

    def __init__(
        self,
        message: str,
        reason: AbortReason = AbortReason.INVALID_PARAMETER,
        *,
        source: AbortSource = AbortSource.SERVICE_PROVIDER,
        hint: str = "",
        clause: str = "PS3.8 9.3",
    ) -> None:
        super().__init__(message, hint=hint, clause=clause)
        self.source = source
        self.reason = reason


def item(kind: int, value: bytes) -> bytes:
    return _ITEM.pack(kind, len(value)) + value


def counted(value: bytes) -> bytes:
    """A field with its 16-bit length before it."""
    return _LENGTH.pack(len(value)) + value


def items(value: bytes, start: int = 0) -> Iterator[tuple[int, bytes]]:
    """The (type, value) of each item from `start` on; they must fill `value` exactly."""
    end = len(value)
    while start < end:
        if end - start < 4:
            raise PduError("an item is cut off within its header")
        kind, length = _ITEM.unpack_from(value, start)
        start += 4 + length
        if start > end:
            raise PduError("an item is longer than what holds it")
        yield kind, value[start - length : start]


def take(value: bytes) -> tuple[bytes, bytes]:
    """A field that its 16-bit length precedes, and what follows it."""
    if len(value) < 2:
        raise PduError("a length field is cut off", clause="PS3.7 D.3.3")
    end = 2 + _LENGTH.unpack_from(value)[0]
    if len(value) < end:
        raise PduError("a field is longer than its sub-item", clause="PS3.7 D.3.3")
    return value[2:end], value[end:]


@lru_cache(maxsize=4096)
def uid(value: bytes) -> str:
    """A UID; one byte of padding is forgiven, because implementations pad as in data sets."""
    text = value[:-1] if value[-1:] == b"\0" else value
    if not _UID.fullmatch(text):
        raise PduError("a UID is malformed", clause="PS3.5 9")
    return text.decode("ascii")


def printable(value: bytes, what: str) -> str:
    """Text without its padding; control characters and anything beyond ASCII are refused."""
    text = value.strip(b" \0")
    if not _PRINTABLE.fullmatch(text):
        raise PduError(f"{what} holds a character outside its repertoire", clause="PS3.5 6.2")
    return text.decode("ascii")


def only(found: list[T], what: str) -> T:
    if len(found) != 1:
        raise PduError(f"there must be exactly one {what}")
    return found[0]
