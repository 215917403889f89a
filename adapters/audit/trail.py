"""A trail as it is read: from the database or from an exported file, record by record.

The exported form is one JSON object a line: a first line that says what it
is, then the records, then the checkpoints. Each record's line is canonical,
so a file can be compared with itself byte for byte.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import apsw

from adapters.audit.swift import dumps, loads
from spir.errors import SpirError

__all__ = ["Stored", "Trail", "TrailError", "export", "from_database", "from_export"]

FORMAT = "spir-audit-export/1"


class TrailError(SpirError):
    """An exported trail is not one."""


@dataclass(frozen=True, slots=True)
class Stored:
    """One record. `columns` is what the database searches by, None in an export; `intact` is False for a bad line."""

    sequence: int
    body: bytes
    leaf: bytes
    previous: bytes
    columns: tuple[str, ...] | None = None
    patients: tuple[str, ...] | None = None
    intact: bool = True


@dataclass(frozen=True, slots=True)
class Trail:
    """Records in the order in which they lie, and the notes of the checkpoints found with them."""

    records: Iterator[Stored]
    notes: tuple[str, ...]


def from_database(connection: apsw.Connection) -> Trail:
    """The trail in a database."""
    notes = tuple(note for (note,) in connection.execute("select note from audit_checkpoint order by size"))
    return Trail(_rows(connection), notes)


def _rows(connection: apsw.Connection) -> Iterator[Stored]:
    connection.execute("begin")  # both readings see one state, whatever is written meanwhile
    try:
        patients = _grouped(connection.execute("select seq, patient from audit_patient order by seq, patient"))
        upcoming = next(patients, None)
        for sequence, *columns, body, leaf, previous in connection.execute("select * from audit order by seq"):
            while upcoming is not None and upcoming[0] < sequence:
                upcoming = next(patients, None)
            mine = upcoming[1] if upcoming is not None and upcoming[0] == sequence else ()
            if all(isinstance(part, bytes) for part in (body, leaf, previous)):
                yield Stored(sequence, body, leaf, previous, tuple(columns), mine)
            else:
                yield Stored(sequence, b"", b"", b"", intact=False)
    finally:
        connection.execute("rollback")


def _grouped(rows: Iterable[tuple[int, str]]) -> Iterator[tuple[int, tuple[str, ...]]]:
    number, found = 0, list[str]()
    for sequence, patient in rows:
        if sequence != number and found:
            yield number, tuple(found)
            found = []
        number = sequence
        found.append(patient)
    if found:
        yield number, tuple(found)


def export(connection: apsw.Connection, out: BinaryIO) -> int:
    """Write the whole trail; the number of records. The file may leave the house: it holds digests, not patients."""
    trail = from_database(connection)
    out.write(dumps({"format": FORMAT}) + b"\n")
    count = 0
    for record in trail.records:
        out.write(_line(record) + b"\n")
        count += 1
    for note in trail.notes:
        out.write(_noted(note))
    return count


def _noted(note: str) -> bytes:
    """The line of a checkpoint, its end included."""
    return dumps({"checkpoint": note}) + b"\n"


def _line(record: Stored) -> bytes:
    """Canonical, because the body's bytes are."""
    return b'{"body":%s,"leaf":"%s","previous":"%s","seq":%d}' % (
        record.body,
        record.leaf.hex().encode(),
        record.previous.hex().encode(),
        record.sequence,
    )


def from_export(lines: Iterable[bytes]) -> Trail:
    """The trail in an exported file, of which all lines are read before the first record comes out.

    Raises TrailError if it is no export at all; a damaged record comes out as
    one that is not intact.
    """
    given = iter(lines)
    head = _object(next(given, b""))
    if head is None or head.get("format") != FORMAT:
        raise TrailError("this is not an exported audit trail", hint=f"its first line says {FORMAT}")
    records: list[bytes] = []
    notes: list[str] = []
    for line in given:
        note = (_object(line) or {}).get("checkpoint") if line.startswith(b'{"checkpoint":') else None
        if isinstance(note, str) and _noted(note) == line:
            notes.append(note)
        else:
            records.append(line.rstrip(b"\n"))
    return Trail(_parsed(records), tuple(notes))


def _parsed(lines: Iterable[bytes]) -> Iterator[Stored]:
    for number, line in enumerate(lines, 1):
        found = _object(line) or {}
        try:
            record = Stored(
                int(found["seq"]),
                dumps(found["body"]),
                bytes.fromhex(found["leaf"]),
                bytes.fromhex(found["previous"]),
            )
            intact = _line(record) == line
        except (KeyError, TypeError, ValueError):
            yield Stored(number, line, b"", b"", intact=False)
        else:
            yield record if intact else Stored(record.sequence, line, b"", b"", intact=False)


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        found = loads(line)
    except SpirError:
        return None
    return found if isinstance(found, dict) else None
