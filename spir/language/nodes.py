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
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, TypeAlias

import yaml

from spir.errors import DocumentError, Location

__all__ = ["Fields", "Items", "Node", "Scalar", "plain", "read_nodes"]

MAX_TEXT = 16 * 1024 * 1024
MAX_DEPTH = 32
MAX_NODES = 1_000_000

Data: TypeAlias = Any  # JSON-like


@dataclass(frozen=True, slots=True)
class Scalar:
    """A text, a number, true, false or null. `content` is where its text begins (column 0: not known)."""

    value: str | int | float | bool | None
    location: Location
    content: Location


@dataclass(frozen=True, slots=True)
class Items:
    items: tuple[Node, ...]
    location: Location


@dataclass(frozen=True, slots=True)
class Fields:
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


class _Composer:
    """Events to nodes. Recursive, with a bound on the depth."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.lines = text.split("\n")
        self.parser = _Loader(text)
        self.next: Callable[[], Any] = self.parser.get_event
        self.count = 0

    def documents(self) -> Iterator[Node]:
        try:
            while (event := self.next()) is not None:
                if event.__class__ is yaml.DocumentStartEvent:
                    node = self.node(self.next(), 0)
                    if not isinstance(node, Scalar) or node.value is not None:
                        yield node
        finally:
            self.parser.dispose()

    def place(self, event: Any) -> Location:
        start = event.start_mark
        return Location(self.file, start.line + 1, start.column + 1)

    def refuse(self, message: str, event: Any, hint: str = "") -> DocumentError:
        return DocumentError(message, hint=hint, location=self.place(event))

    def node(self, event: Any, depth: int) -> Node:
        self.count += 1
        if depth > MAX_DEPTH or self.count > MAX_NODES:
            raise self.refuse("the document is too deep or too large", event, f"at most {MAX_DEPTH} levels are read")
        kind = event.__class__
        if kind is yaml.AliasEvent or event.anchor:
            raise self.refuse("anchors and aliases are not read", event, "write it out where it is needed")
        if event.tag:
            raise self.refuse("tags are not read", event, "leave it out; quotes make a text of anything")
        if kind is yaml.ScalarEvent:
            return self.scalar(event)
        return self.fields(event, depth) if kind is yaml.MappingStartEvent else self.items(event, depth)

    def items(self, start: Any, depth: int) -> Items:
        found = []
        while (event := self.next()).__class__ is not yaml.SequenceEndEvent:
            found.append(self.node(event, depth + 1))
        return Items(tuple(found), self.place(start))

    def fields(self, start: Any, depth: int) -> Fields:
        entries: dict[str, Node] = {}
        keys: dict[str, Location] = {}
        while (event := self.next()).__class__ is not yaml.MappingEndEvent:
            key = self.node(event, depth + 1)
            if not isinstance(key, Scalar) or not isinstance(key.value, str):
                raise self.refuse("keys must be text", event, "put it in quotes")
            name = key.value
            if name in entries:
                raise self.refuse(f"the key `{name[:60]}` is there twice", event)
            keys[name] = key.location
            entries[name] = self.node(self.next(), depth + 1)
        return Fields(entries, keys, self.place(start))

    def scalar(self, event: Any) -> Scalar:
        # implicit[0]: plain, so that the schema says what it is; quoted and block scalars are text
        start, style = event.start_mark, event.style
        place = Location(self.file, start.line + 1, start.column + 1)
        if style or not event.implicit[0]:
            return Scalar(event.value, place, self.content(event))
        value = _resolved(event.value)
        if value.__class__ is float and not math.isfinite(value):
            raise self.refuse("a number must be finite", event)
        return Scalar(value, place, place if event.end_mark.line == start.line else Location(self.file, place.line, 0))

    def content(self, event: Any) -> Location:
        """Where the scalar's text begins, for the places of errors inside it."""
        start = event.start_mark
        if event.style == "|":
            return Location(self.file, start.line + 2, self.indentation(event))
        if event.style == ">":
            return Location(self.file, start.line + 2, 0)
        if event.end_mark.line > start.line:
            return Location(self.file, start.line + 1, 0)
        return Location(self.file, start.line + 1, start.column + 1 + bool(event.style))

    def indentation(self, event: Any) -> int:
        """The column at which the lines of a block begin."""
        for offset, line in enumerate(event.value.split("\n")):
            if line.strip():
                written = self.lines[event.start_mark.line + 1 + offset]
                return len(written.rstrip("\r")) - len(line) + 1
        return 1


_CONSTANTS: Mapping[str, bool | None] = MappingProxyType(
    {
        **dict.fromkeys(("", "~", "null", "Null", "NULL")),
        **dict.fromkeys(("true", "True", "TRUE"), True),
        **dict.fromkeys(("false", "False", "FALSE"), False),
    }
)
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
