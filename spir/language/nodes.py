"""YAML and JSON text to a tree of nodes that know their place.

YAML 1.2 with the core schema: `yes`, `no`, `on` and `off` are text, and so is
a time. Refused are duplicate keys, keys that are not text, anchors, aliases
and tags: nothing here means more than it says, and no small text becomes a
large tree. JSON is read as the YAML it is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

import yaml

from spir.errors import DocumentError, Location

__all__ = ["Fields", "Items", "Node", "Scalar", "plain", "read_nodes"]

MAX_TEXT = 16 * 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 1_000_000

Data: TypeAlias = Any  # JSON-like


# Nothing is made more often while documents are read, and tuples are made fastest.


class Scalar(NamedTuple):
    """A text, a number, true, false or null. `content` is where its text begins (column 0: not known)."""

    value: str | int | float | bool | None
    location: Location
    content: Location


class Items(NamedTuple):
    items: tuple[Node, ...]
    location: Location


class Fields(NamedTuple):
    """A mapping; `keys` are the places of its keys."""

    entries: Mapping[str, Node]
    keys: Mapping[str, Location]
    location: Location


Node: TypeAlias = Scalar | Items | Fields


def read_nodes(text: str, file: str) -> list[Node]:
    """One node for each document in the text; empty documents are left out. Raises DocumentError."""
    start = Location(file, 1, 1)
    if len(text) > MAX_TEXT:
        raise DocumentError("the file is too large", hint=f"at most {MAX_TEXT} characters are read", location=start)
    if file.endswith(".json"):
        text = _joined_surrogates(text)
    try:
        return list(_Composer(file, text).documents())
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = Location(file, mark.line + 1, mark.column + 1) if mark else start
        raise DocumentError(_problem(error), hint="the text is no YAML", location=place) from error
    except (yaml.YAMLError, UnicodeEncodeError, ValueError) as error:
        raise DocumentError("a character here may not be in a document", location=_stray(text, file)) from error


def plain(node: Node) -> Data:
    """JSON-like data without places."""
    match node:
        case Scalar():
            return node.value
        case Items():
            return [plain(item) for item in node.items]
        case Fields():
            return {key: plain(item) for key, item in node.entries.items()}


# libyaml where PyYAML was built with it: ten times as fast, and with the same events
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

_made = tuple.__new__  # a third of the time of calling the class

_LINE = re.compile(
    "([^\r\n\x85\u2028\u2029]*+)(?:\r\n|[\r\n\x85\u2028\u2029])?"
)  # breaks as YAML 1.1 and libyaml have them
_SURROGATES = re.compile(r"(?<!\\)((?:\\\\)*)\\u([dD][89abAB][0-9a-fA-F]{2})\\u([dD][c-fC-F][0-9a-fA-F]{2})")
_UNPRINTABLE = re.compile("[^\t\n\r\x20-\x7e\x85\xa0-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|\ufeff")


def _joined_surrogates(text: str) -> str:
    """JSON writes a character beyond U+FFFF as two escapes, which YAML does not know."""

    def character(found: re.Match[str]) -> str:
        high, low = int(found[2], 16), int(found[3], 16)
        return found[1] + chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))

    return _SURROGATES.sub(character, text)


def _problem(error: yaml.MarkedYAMLError) -> str:
    text = " ".join(str(part) for part in (error.problem or error.context,) if part)
    return text[:1].lower() + text[1:]


def _stray(text: str, file: str) -> Location:
    found = _UNPRINTABLE.search(text, 1 if text.startswith("\ufeff") else 0)
    at = found.start() if found else 0
    return Location(file, text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


_SequenceEnd, _MappingEnd = yaml.SequenceEndEvent, yaml.MappingEndEvent


class _Composer:
    """Events to nodes. Recursive, with a bound on the depth."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.text = text.removeprefix("\ufeff")  # no mark counts it
        self.parser = _Loader(text)
        self.next: Callable[[], Any] = self.parser.get_event
        self.count = 0
        self.readers: Mapping[type, Callable[[Any, int], Node]] = {
            yaml.ScalarEvent: self.scalar,
            yaml.SequenceStartEvent: self.items,
            yaml.MappingStartEvent: self.fields,
            yaml.AliasEvent: self.scalar,  # refused, as all that has an anchor
        }

    def documents(self) -> Iterator[Node]:
        try:
            while (event := self.next()) is not None:
                if event.__class__ is yaml.DocumentStartEvent:
                    node = self.node(self.next(), 0)
                    if not isinstance(node, Scalar) or node.value is not None:
                        yield node
        finally:
            self.parser.dispose()

    def node(self, event: Any, depth: int) -> Node:
        return self.readers[event.__class__](event, depth)

    def items(self, start: Any, depth: int) -> Items:
        place, inner = self.place(start, depth), depth + 1
        found: list[Node] = []
        while (event := self.next()).__class__ is not _SequenceEnd:
            found.append(self.readers[event.__class__](event, inner))
        return _made(Items, (tuple(found), place))

    def fields(self, start: Any, depth: int) -> Fields:
        place, inner = self.place(start, depth), depth + 1
        entries: dict[str, Node] = {}
        keys: dict[str, Location] = {}
        following, readers = self.next, self.readers
        while (event := following()).__class__ is not _MappingEnd:
            key = readers[event.__class__](event, inner)
            if not isinstance(key, Scalar) or not isinstance(key.value, str):
                raise DocumentError("keys must be text", hint="put it in quotes", location=key.location)
            name, at = key.value, key.location
            if name in entries:
                raise DocumentError(f"the key `{name[:60]}` is there twice", location=at)
            keys[name] = at
            event = following()
            entries[name] = readers[event.__class__](event, inner)
        return _made(Fields, (entries, keys, place))

    def scalar(self, event: Any, depth: int) -> Scalar:
        place, value, style = self.place(event, depth), event.value, event.style
        if style:  # quoted and block scalars are text; of a plain one the schema says what it is
            return _made(Scalar, (value, place, self.content(event, place)))
        if not value or value[0] in _RESOLVED:
            value = _resolved(value)
            if value.__class__ is float and not math.isfinite(value):
                raise DocumentError("a number must be finite", location=place)
        one_line = event.end_mark.line < place[1]
        return _made(Scalar, (value, place, place if one_line else Location(self.file, place.line, 0)))

    def place(self, event: Any, depth: int) -> Location:
        """Where the node begins. Raises DocumentError for one that is not read."""
        mark = event.start_mark
        place = _made(Location, (self.file, mark.line + 1, mark.column + 1))
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES or event.anchor or event.tag:
            raise self.refused(event, depth, place)
        return place

    def refused(self, event: Any, depth: int, place: Location) -> DocumentError:
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            problem, hint = "the document is too deep or too large", f"at most {MAX_DEPTH} levels are read"
        elif event.anchor:
            problem, hint = "anchors and aliases are not read", "write it out where it is needed"
        else:
            problem, hint = "tags are not read", "leave it out; quotes make a text of anything"
        return DocumentError(problem, hint=hint, location=place)

    def content(self, event: Any, place: Location) -> Location:
        """Where the text of a quoted or block scalar begins, for the places of errors inside it."""
        file, line, column = place
        if event.style == "|":
            return Location(file, line + 1, self.indentation(event))
        if event.style == ">":
            return Location(file, line + 1, 0)
        return _made(Location, (file, line, column + 1 if event.end_mark.line < line else 0))

    def indentation(self, event: Any) -> int:
        """The column at which the lines of a block begin."""
        at = self.line(event.start_mark.index).end()
        for line in event.value.splitlines():
            written = self.line(at)
            if line.strip():
                return len(written[1]) - len(line) + 1
            at = written.end()
        return 1

    def line(self, at: int) -> re.Match[str]:
        """The line of the document from this offset on; its group is without the break."""
        found = _LINE.match(self.text, at)
        assert found is not None  # it matches nothing, too
        return found


_CONSTANTS: Mapping[str, bool | None] = MappingProxyType(
    {
        **dict.fromkeys(("", "~", "null", "Null", "NULL")),
        **dict.fromkeys(("true", "True", "TRUE"), True),
        **dict.fromkeys(("false", "False", "FALSE"), False),
    }
)
_RESOLVED = frozenset("+-.0123456789~nNtTfF")  # how a plain scalar begins that may be anything but text
_INT = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,60}|0x[0-9a-fA-F]{1,40}", re.ASCII)
_FLOAT = re.compile(
    r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)", re.ASCII
)


def _resolved(text: str) -> str | int | float | bool | None:
    """A plain scalar by YAML 1.2's core schema (10.3.2)."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if text[0] not in "+-.0123456789":
        return text
    if _INT.fullmatch(text):
        return int(text, 0) if text.startswith(("0o", "0x")) else int(text)
    if _FLOAT.fullmatch(text):
        return float(re.sub(r"\.(?=[iInN])", "", text))  # `.inf` and `.nan`, which are refused later
    return text
