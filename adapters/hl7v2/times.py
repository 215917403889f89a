"""Moments in HL7 v2 (data types TS and DTM), with the uncertainty they are written with.

`20261121` is a whole day and `202611210830` a whole minute. Which end of it
counts is the caller's choice: what takes access away counts from the end, what
gives it from the beginning, so that a coarse time never lets an older message
overrule a newer one in the dangerous direction.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone, tzinfo

from adapters.hl7v2.error import MessageError

__all__ = ["first_moment", "last_moment", "stamp"]

_DTM = re.compile(
    r"(\d{4})(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:(\d\d)(?:\.(\d{1,4}))?)?)?)?)?)?(?:([+-])(\d\d)(\d\d))?"
)
_USUAL = re.compile(r"(\d{8})(\d\d\d\d[0-5]\d[+-]\d{4})")  # to the second, with a zone: the quick way
_NOTHING = timedelta(0)
_TICK = timedelta(microseconds=100)  # the finest step DTM can write
_STEPS = (timedelta(days=1), timedelta(hours=1), timedelta(minutes=1), timedelta(seconds=1))


def first_moment(text: str, zone: tzinfo, where: str = "") -> datetime:
    """The earliest moment `text` can mean, in UTC. `zone` holds where it names none. Raises MessageError."""
    return _moment(text, zone, where, last=False)


def last_moment(text: str, zone: tzinfo, where: str = "") -> datetime:
    """The last moment `text` can mean, to the tick of 100 microseconds, in UTC. Raises MessageError."""
    return _moment(text, zone, where, last=True)


def stamp(moment: datetime) -> str:
    """A moment as DTM, to the second and with its zone."""
    offset = moment.utcoffset() or timedelta(0)
    sign = "-" if offset < timedelta(0) else "+"
    hours, minutes = divmod(abs(offset) // timedelta(minutes=1), 60)
    return (
        f"{moment.year:04}{moment.month:02}{moment.day:02}"
        f"{moment.hour:02}{moment.minute:02}{moment.second:02}{sign}{hours:02}{minutes:02}"
    )


def _moment(text: str, zone: tzinfo, where: str, last: bool) -> datetime:
    usual = _USUAL.fullmatch(text)
    if usual is not None:
        try:
            begin = datetime.fromisoformat(f"{usual[1]}T{usual[2]}")
            return (begin + (_STEPS[3] - _TICK if last else _NOTHING)).astimezone(UTC)
        except (ValueError, OverflowError):
            raise MessageError("a time is impossible", where=where, clause="DTM") from None
    return _any_moment(text, zone, where, last)


def _any_moment(text: str, zone: tzinfo, where: str, last: bool) -> datetime:
    found = _DTM.fullmatch(text)
    if found is None:
        raise MessageError("a time cannot be read", where=where, hint="write YYYYMMDDHHMMSS[+/-ZZZZ]", clause="DTM")
    year, month, day, hour, minute, second, fraction, sign, hours, minutes = found.groups()
    numbers = [int(number) for number in (year, month, day, hour, minute, second) if number]
    if len(numbers) == 6:
        numbers[5] = min(numbers[5], 59)  # a leap second
    offset = timedelta(hours=int(hours), minutes=int(minutes)) if sign else timedelta(0)
    try:
        wall = datetime(*(numbers + [1, 1][len(numbers) - 1 :])) + _fraction(fraction)  # type: ignore[arg-type]
        if last:
            wall = (wall + _width(wall, len(numbers), fraction) - _TICK).replace(fold=1)
        there = timezone(-offset if sign == "-" else offset) if sign else zone
        return wall.replace(tzinfo=there).astimezone(UTC)
    except (ValueError, OverflowError):
        raise MessageError("a time is impossible", where=where, clause="DTM") from None


def _fraction(digits: str | None) -> timedelta:
    return timedelta(microseconds=int((digits or "0").ljust(6, "0")))


def _width(wall: datetime, given: int, fraction: str | None) -> timedelta:
    """How long the interval is that was written: `given` numbers from the year on, then the fraction."""
    if given == 1:
        return wall.replace(year=wall.year + 1) - wall
    if given == 2:
        return timedelta(days=31) if wall.month == 12 else wall.replace(month=wall.month + 1) - wall
    if fraction:
        return timedelta(microseconds=10 ** (6 - len(fraction)))
    return _STEPS[given - 3]
