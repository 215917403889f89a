"""Check a message's structure against the standard's own tables, as hl7apy has them. Optional, per source.

Only order and number of groups, segments and fields are judged, by a walk of
our own over hl7apy's tree: its validator takes a group of alternatives for a
sequence, and so refuses every ORM^O01. A fault is told by the names of
elements, never by what they hold.

This takes 20 to 150 ms of a processor for each message. It is for connections
that are being set up, and for partners one does not trust to follow the
standard; run it in a thread.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from hl7apy import load_reference
from hl7apy.consts import VALIDATION_LEVEL
from hl7apy.exceptions import ChildNotFound
from hl7apy.parser import parse_message

from adapters.hl7v2.error import MessageError
from adapters.hl7v2.message import parse

__all__ = ["LONGEST", "check"]

LONGEST = 256 * 1024  # characters; a longer message is not worth the time
_NAME = re.compile(r"[A-Z][A-Z0-9]{2}")


def check(text: str) -> None:
    """Raise MessageError for the first fault: 100 for segments and unknown versions, 101 and 102 for fields."""
    if len(text) > LONGEST:
        raise MessageError("the message is too long to be checked", code=102, hint=f"at most {LONGEST} characters")
    segments = [segment for segment in parse(text).segments if not segment.startswith("Z")]  # they break its grouping
    try:
        message = parse_message("\r".join(segments), validation_level=VALIDATION_LEVEL.TOLERANT, find_groups=True)
    except Exception as error:  # of hl7apy's own, and whatever its parser stumbles over
        raise MessageError(f"the structure cannot be read ({type(error).__name__})", code=100) from None
    _all_placed(segments, message)
    for fault in _faults(message):
        raise fault


def _all_placed(segments: list[str], message: Any) -> None:
    """hl7apy leaves out what it finds no place for, without a word. Raises MessageError for the first such segment."""
    placed = Counter(_segments(message))
    for segment in segments:
        name = segment[:3]
        if not _NAME.fullmatch(name):
            raise MessageError("there is a segment without a name", code=100)
        placed[name] -= 1
        if placed[name] < 0:
            raise MessageError(f"{name} does not belong where it stands", code=100, where=name)


def _segments(element: Any) -> Iterator[str]:
    for child in element.children:
        if child.classname == "Segment":
            yield child.name
        elif child.classname == "Group":
            yield from _segments(child)


def _faults(element: Any) -> Iterator[MessageError]:
    """The faults of a message, group or segment and of all below it."""
    children = list(element.children)
    yield from _alternatives(element, children) if _is_choice(element) else _counts(element, children)
    for child in children:
        if child.classname in ("Group", "Segment"):
            yield from _faults(child)


def _counts(element: Any, children: list[Any]) -> Iterator[MessageError]:
    segments = _holds_segments(element)
    for name, (least, most) in (element.repetitions or {}).items():
        found = sum(1 for child in children if child.name == name and (segments or child.to_er7()))
        if found < least:
            yield _fault(element, name, "is missing", 100 if segments else 101)
        elif 0 <= most < found:
            yield _fault(element, name, "is there too often", 100 if segments else 102)


def _alternatives(element: Any, children: list[Any]) -> Iterator[MessageError]:
    if len({child.name for child in children}) != 1:
        yield _fault(element, "one of " + ", ".join(element.ordered_children), "must be there", 100)


def _is_choice(element: Any) -> bool:
    """Whether exactly one of a group's members may be there."""
    if element.classname != "Group":
        return False
    try:
        return bool(load_reference(element.name, "Group", element.version)[0] == "choice")
    except ChildNotFound:
        return False


def _holds_segments(element: Any) -> bool:
    return bool(element.classname in ("Message", "Group"))


def _fault(element: Any, name: str, what: str, code: int) -> MessageError:
    """`name` is a table's: of a segment or group, or of a field as `PID_3`."""
    segment, _, field = name.partition("_")
    if _holds_segments(element):
        where = segment if _NAME.fullmatch(segment) else ""
        return MessageError(f"{name} {what} in {element.name}", code=code, where=where)
    where = f"{segment}^1^{field}" if field.isdigit() else element.name
    return MessageError(f"{segment}-{field} {what}", code=code, where=where)
