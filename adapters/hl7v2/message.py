"""A message as text, cut into segments at once and into fields when somebody asks.

Decoding comes first: in GB 18030, Big5 and Shift-JIS a second byte may be
`\\`, `^`, `|` or `~`, so bytes must never be split at delimiters. Here is only
text. There is no schema: positions are read as the sender filled them, so Z
segments, old versions and fields of v2.9 are all the same to us.

Three cases are kept apart (HL7 v2.5.1 chapter 2): absent or empty says
nothing, `""` (`NULL`) says that there is no value any more, and all else is a
value. Escapes are undone when a value is read, never before it is split.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from adapters.hl7v2.delimiters import Delimiters
from adapters.hl7v2.error import MessageError
from adapters.hl7v2.escape import unescape

__all__ = ["FIELD_LIMIT", "NULL", "SEGMENT_LIMIT", "VALUE_LIMIT", "Message", "Path", "parse"]

SEGMENT_LIMIT = 100_000
FIELD_LIMIT = 10_000  # fields of a segment, repetitions of a field
VALUE_LIMIT = 65_536  # characters of a value that has escapes to undo
NULL = '""'


@dataclass(frozen=True, slots=True)
class Path:
    """A place in a message: `PV1-7[2].1` is the first component of the second repetition of PV1-7.

    `repetition` and `component` count from 1; 0 means the whole field, or the
    whole repetition. Without `[n]`, a component is taken of the first repetition.
    """

    segment: str
    field: int
    repetition: int = 0
    component: int = 0
    subcomponent: int = 0
    whole: bool = True  # neither repetition nor component: set from them

    def __post_init__(self) -> None:
        object.__setattr__(self, "whole", not (self.repetition or self.component))

    @staticmethod
    @lru_cache(maxsize=1024)
    def of(text: str) -> Path:
        """Compile `SEG-field[repetition].component.subcomponent`. Raises ValueError."""
        found = _PATH.fullmatch(text)
        if found is None:
            raise ValueError(f"`{text}` is not a path like PV1-7[2].1")
        segment, *numbers = found.groups()
        place, repetition, component, subcomponent = (int(number or 0) for number in numbers)
        return Path(segment, place, repetition, component, subcomponent)

    def where(self, sequence: int = 1) -> str:
        """As ERR-2 writes it: segment, its sequence, field, repetition, component, subcomponent."""
        parts = [self.segment, sequence, self.field, self.repetition or 1, self.component, self.subcomponent]
        while parts[-1] == 0 or len(parts) == 4:
            parts.pop()
        return "^".join(str(part) for part in parts)


_PATH = re.compile(r"([A-Z][A-Z0-9]{2})-([1-9]\d?)(?:\[([1-9]\d?)\])?(?:\.([1-9]\d?))?(?:\.([1-9]\d?))?")


class Message:
    """A message as segments; see `parse`. Segments are known by their index in `segments`."""

    __slots__ = ("_escape", "_fields", "_index", "charset", "delimiters", "segments")

    def __init__(self, segments: list[str], delimiters: Delimiters, charset: str = "utf-8") -> None:
        self.segments = segments
        self.delimiters = delimiters
        self.charset = charset
        self._escape = delimiters.escape or "\r"  # no segment holds a CR
        self._fields: dict[int, list[str]] = {}
        index: dict[str, list[int]] = {}
        for number, segment in enumerate(segments):
            name = segment[:3]
            if name in index:
                index[name].append(number)
            else:
                index[name] = [number]
        self._index = index

    def all(self, segment: str) -> Sequence[int]:
        """Where the segments of this name are, in order."""
        return self._index.get(segment, ())

    def name(self, at: int) -> str:
        return self.segments[at][:3]

    def fields(self, at: int) -> list[str]:
        """The fields of a segment as sent; [n] is field n, [0] the name. Raises MessageError past FIELD_LIMIT."""
        return self._fields.get(at) or self._cut(at)

    def raw(self, path: Path, at: int | None = None) -> str | None:
        """What stands there as sent: None if absent, "" if empty, `NULL` if deleted on purpose.

        `at` picks a segment; without it, the first of its name. All parts of a
        field that is `NULL` are `NULL`.
        """
        if at is None:
            places = self._index.get(path.segment)
            if places is None:
                return None
            at = places[0]
        fields = self._fields.get(at) or self._cut(at)
        if path.field >= len(fields):
            return None
        value = fields[path.field]
        return value if path.whole or not value or value == NULL else self._part(value, path)

    def text(self, path: Path, at: int | None = None) -> str:
        """The value there, escapes undone; "" if absent, empty or `NULL`."""
        # What `raw` does, written out: most of what is read of a message is read here.
        if at is None:
            places = self._index.get(path.segment)
            if places is None:
                return ""
            at = places[0]
        fields = self._fields.get(at) or self._cut(at)
        if path.field >= len(fields):
            return ""
        value: str | None = fields[path.field]
        if value and not path.whole and value != NULL:
            value = self._part(value, path)
        if not value or value == NULL:
            return ""
        return value if self._escape not in value else self.plain(value)

    def repetitions(self, path: Path, at: int | None = None) -> list[str]:
        """The repetitions of a whole field as sent; [] if it is absent, empty or `NULL`."""
        value = self.raw(path, at)
        if not value or value == NULL:
            return []
        mark = self.delimiters.repetition
        if mark and value.count(mark) >= FIELD_LIMIT:
            raise MessageError("a field repeats too often", where=path.where(), hint=f"at most {FIELD_LIMIT} are read")
        return value.split(mark) if mark else [value]

    def component(self, repetition: str, number: int, subcomponent: int = 0) -> str:
        """Component `number` of a repetition, escapes undone; "" if there is none."""
        part = _nth(repetition, self.delimiters.component, number)
        if part and subcomponent:
            part = _nth(part, self.delimiters.subcomponent, subcomponent)
        return "" if not part or part == NULL else self.plain(part)

    def plain(self, raw: str) -> str:
        """A raw value with its escapes undone. Raises MessageError past VALUE_LIMIT."""
        if self._escape not in raw:
            return raw
        if len(raw) > VALUE_LIMIT:
            raise MessageError("a value is too long", hint=f"at most {VALUE_LIMIT} characters are read")
        return unescape(raw, self.delimiters, self.charset)

    def _part(self, value: str, path: Path) -> str | None:
        marks = self.delimiters
        found: str | None = value
        if path.repetition > 1 or marks.repetition in value:
            found = _nth(value, marks.repetition, path.repetition or 1)
        if found and path.component:
            found = _nth(found, marks.component, path.component)
        if found and path.subcomponent:
            found = _nth(found, marks.subcomponent, path.subcomponent)
        return found

    def _cut(self, at: int) -> list[str]:
        segment, mark = self.segments[at], self.delimiters.field
        if len(segment) > FIELD_LIMIT and segment.count(mark) > FIELD_LIMIT:
            raise MessageError("a segment has too many fields", hint=f"at most {FIELD_LIMIT} are read")
        fields = segment.split(mark)
        if at == 0:
            fields[1:1] = [mark]  # MSH-1 is the separator itself
        self._fields[at] = fields
        return fields


def parse(text: str, charset: str = "utf-8") -> Message:
    """Cut a decoded message into segments. `charset` is the codec, for hexadecimal escapes. Raises MessageError.

    Segments end with CR, or CR LF; where there is no CR at all, with LF. A
    bare LF in a message that uses CR is data.
    """
    delimiters = Delimiters.of(text)
    end = "\r" if "\r" in text else "\n"
    if text.count(end) > SEGMENT_LIMIT:
        raise MessageError("the message has too many segments", code=100, hint=f"at most {SEGMENT_LIMIT} are read")
    segments = text.split(end)
    if end == "\r" and "\r\n" in text:
        segments = [segment.removeprefix("\n") for segment in segments]
    if "" in segments:
        segments = [segment for segment in segments if segment]
    message = Message(segments, delimiters, charset)
    if len(message.all("MSH")) > 1:
        raise MessageError("there is a second MSH in the message", code=100, where="MSH^2", hint="send each by itself")
    return message


def _nth(text: str, mark: str, number: int) -> str | None:
    """Part `number` (from 1) of a text cut at `mark`; None if there are fewer."""
    if not mark or mark not in text:
        return text if number == 1 else None
    if number == 1:
        return text[: text.index(mark)]
    parts = text.split(mark, number)
    return parts[number - 1] if number <= len(parts) else None
