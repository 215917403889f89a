"""The text of an export, CSV or JSON, as rows of named cells, each with the line it stands on.

CSV is divided by commas, semicolons, tabs or bars, whichever makes known
columns of the first line. JSON is a list of rows, or an object of such lists
under any names; a cell may hold a list, which stands for a row for each item:
`{"name": "nurse", "permissions": ["read:vitals", "create:vitals"]}`.
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from spir.assurance.roles.reading.columns import PASS, PLURALS, Columns
from spir.errors import DocumentError, Location

__all__ = ["Row", "rows_of"]

DIVIDERS = ",;\t|"
MAX_CELL = 1000  # characters
KEYS = ("user", "role", "effect", "denied")  # go with each item of a list beside them
SAID = ("effect", "denied")  # an empty cell of these is no way to say `allow`


@dataclass(frozen=True, slots=True)
class Row:
    """Cells that hold something, by our names of their columns; where a column says allow or deny, empty ones too."""

    line: int
    cells: Mapping[str, str]


def rows_of(text: str, file: str, columns: Columns) -> Iterator[Row]:
    """Raises DocumentError with file and line for whatever is not understood."""
    text = text.removeprefix("\ufeff")
    start = text.lstrip()[:1]
    return _Json(text, file, columns).rows() if start in ("[", "{") else _csv(text, file, columns)


# -- CSV -------------------------------------------------------------------------------------


def _csv(text: str, file: str, columns: Columns) -> Iterator[Row]:
    head = Location(file, 1)
    first = text.split("\n", 1)[0]
    divider = max(DIVIDERS, key=lambda sign: columns.knows(next(csv.reader([first], delimiter=sign), [])))
    reader = csv.reader(io.StringIO(text), delimiter=divider, strict=True)
    try:
        headers = next(reader, None)
        if not headers:
            raise DocumentError("the export is empty", hint="its first line names the columns", location=head)
        names = [columns.meaning(header, head) for header in headers]
        _refuse_twins(names, head)
        for cells in reader:
            if any(cells):
                yield Row(reader.line_num, _cells(names, cells, Location(file, reader.line_num)))
    except csv.Error as error:
        raise DocumentError(f"this is no CSV: {error}", location=Location(file, reader.line_num)) from error


def _cells(names: list[str], cells: list[str], at: Location) -> dict[str, str]:
    if len(cells) != len(names):
        message = f"this line has {len(cells)} cells, the first one {len(names)}"
        raise DocumentError(message, hint="put a cell that holds the divider in quotes", location=at)
    if any(len(cell) > MAX_CELL for cell in cells):
        raise DocumentError("a cell is too long", hint=f"at most {MAX_CELL} characters are read", location=at)
    found = {name: cell.strip() for name, cell in zip(names, cells, strict=True) if name}
    return {name: cell for name, cell in found.items() if cell or name in SAID}


def _refuse_twins(names: list[str], at: Location) -> None:
    twice = next((name for name in names if name and names.count(name) > 1), None)
    if twice is not None:
        raise DocumentError(f"two columns are the `{twice}`", hint="pass one over with --ignore", location=at)


# -- JSON ------------------------------------------------------------------------------------


class _Json:
    """Reads the items of lists one by one, so that each is known by its line."""

    def __init__(self, text: str, file: str, columns: Columns) -> None:
        self.text = text
        self.file = file
        self.columns = columns
        self.decoder = json.JSONDecoder(object_pairs_hook=_once)
        self.at = 0
        self._counted, self._line = 0, 1
        self._known: dict[tuple[str, str], str] = {}

    def rows(self) -> Iterator[Row]:
        if self._next("[{") == "[":
            yield from self._list("")
        else:
            yield from self._sections()
        if self._blanks() < len(self.text):
            raise self._error("something follows the end")

    def _sections(self) -> Iterator[Row]:
        while self._peek() != "}":
            section = self._value()
            if not isinstance(section, str):
                raise self._error("here the name of a list is expected")
            self._next(":")
            self._next("[")
            yield from self._list(section)
            if self._next(",}") == "}":
                return
        self._next("}")

    def _list(self, section: str) -> Iterator[Row]:
        while self._peek() != "]":
            line = self._here().line
            item = self._value()
            if not isinstance(item, dict):
                raise DocumentError("a row must be an object", location=Location(self.file, line))
            yield from (Row(line, cells) for cells in self._expanded(item, section, Location(self.file, line)))
            if self._next(",]") == "]":
                return
        self._next("]")

    def _expanded(self, item: Mapping[str, Any], section: str, at: Location) -> Iterator[dict[str, str]]:
        """One row of the cells that hold one thing, and one for each item of those that hold a list."""
        plain: dict[str, str] = {}
        listed: list[tuple[str, list[Any]]] = []
        for header, value in self._own(item, section).items():
            name = self._meaning(PLURALS.get(header, header) if isinstance(value, list) else header, section, at)
            if name == PASS or value is None:
                continue
            if name in plain or any(name == other for other, _ in listed):
                raise DocumentError(f"two fields are the `{name}`", location=at)
            if isinstance(value, list):
                listed.append((name, value))
            else:
                plain[name] = _text(value, at)
        plain = {name: text for name, text in plain.items() if text}
        if not listed:
            yield plain
            return
        yield {name: text for name, text in plain.items() if name not in SAID}
        keys = {name: plain[name] for name in KEYS if name in plain}
        for name, values in listed:
            own = {k: v for k, v in keys.items() if name == "permission" or k not in SAID}
            for text in (_text(value, at) for value in values):
                if not text:
                    raise DocumentError(f"an item of the `{name}` list is empty", location=at)
                yield {**own, name: text}

    @staticmethod
    def _own(item: Mapping[str, Any], section: str) -> Mapping[str, Any]:
        """With an `id`, the `name` is only there to be read."""
        return {k: v for k, v in item.items() if k != "name"} if section and {"id", "name"} <= item.keys() else item

    def _meaning(self, header: str, section: str, at: Location) -> str:
        key = (header, section)
        if key not in self._known:
            self._known[key] = self.columns.meaning(header, at, section)
        return self._known[key]

    # -- where we are --

    def _blanks(self) -> int:
        while self.at < len(self.text) and self.text[self.at] in " \t\r\n":
            self.at += 1
        return self.at

    def _peek(self) -> str:
        return self.text[self._blanks() : self.at + 1]

    def _next(self, expected: str) -> str:
        found = self._peek()
        if not found or found not in expected:
            raise self._error(f"here `{'` or `'.join(expected)}` is expected")
        self.at += 1
        return found

    def _value(self) -> Any:
        self._blanks()
        try:
            value, self.at = self.decoder.raw_decode(self.text, self.at)
        except json.JSONDecodeError as error:
            self.at = error.pos
            raise self._error(f"this is no JSON: {error.msg[:1].lower()}{error.msg[1:]}") from error
        except (ValueError, RecursionError) as error:
            raise self._error(f"this cannot be read: {error}") from error
        return value

    def _here(self) -> Location:
        self._blanks()
        self._line += self.text.count("\n", self._counted, self.at)
        self._counted = max(self.at, self._counted)
        return Location(self.file, self._line)

    def _error(self, message: str) -> DocumentError:
        return DocumentError(message, location=self._here())


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a key is there twice")
    return found


def _text(value: Any, at: Location) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if not isinstance(value, (str, int)) or len(str(value)) > MAX_CELL:
        raise DocumentError("a cell must be text, a whole number, true or false", location=at)
    return str(value).strip()
