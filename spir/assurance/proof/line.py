"""The orders of values that intervals are of, and the places of moments, addresses and texts on them.

Every value has a next one, so all intervals are half open, `[low, high)`: whole
numbers by 1, doubles by the next double, text by appending the least character.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import TypeAlias

from spir.language.values.operators import Invalid
from spir.language.values.scalars import EPOCH, read_address

__all__ = [
    "LEAST",
    "V6",
    "Line",
    "Point",
    "Span",
    "address_place",
    "address_text",
    "before",
    "beyond",
    "micros",
    "moment",
]

Point: TypeAlias = str | bool | int | float

# Addresses of version 6 come behind those of version 4 on the line of addresses.
V6 = 1 << 32
LEAST = "\0"
GREATEST = "\U0010ffff"
MICROSECOND = timedelta(microseconds=1)


class Line(Enum):
    """What the values of an interval are."""

    INT = "int"
    DOUBLE = "double"
    MOMENT = "moment"  # microseconds since 1970, UTC
    CLOCK = "clock"  # microseconds since midnight
    ADDRESS = "address"  # version 4 as its number, version 6 as V6 more than its number
    TEXT = "text"

    __hash__ = object.__hash__  # there is one of each; by its name is slower

    def after(self, value: Point) -> Point:
        """The next value; nothing lies between."""
        if self is Line.TEXT:
            return f"{value}{LEAST}"
        assert not isinstance(value, str)
        return math.nextafter(value, math.inf) if self is Line.DOUBLE else value + 1


@dataclass(frozen=True, slots=True)
class Span:
    """From `low` to before `high`; None is no bound."""

    low: Point | None
    high: Point | None


def micros(at: datetime) -> int:
    """A moment's place on its line."""
    return (at - EPOCH) // MICROSECOND


def moment(place: int) -> datetime:
    return EPOCH + place * MICROSECOND


def beyond(text: str) -> str | None:
    """The least text that comes after all that start with this one; None if there is none."""
    stem = text.rstrip(GREATEST)
    return f"{stem[:-1]}{chr(ord(stem[-1]) + 1)}" if stem else None


def before(line: Line, value: Point) -> Point:
    """The value that comes last before it. Texts have none."""
    assert not isinstance(value, str)
    return math.nextafter(value, -math.inf) if line is Line.DOUBLE else value - 1


def address_place(text: str) -> int | None:
    """The place of the address that a text stands for; None if it stands for none."""
    try:
        found = read_address(text)
    except Invalid:
        return None
    return int(found) + (V6 if isinstance(found, IPv6Address) else 0)


def address_text(place: int) -> str:
    return str(IPv4Address(place) if place < V6 else IPv6Address(place - V6))
