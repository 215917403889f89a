"""`spir audit`: verify, search and export the trail. Works beside a running gateway, and without one."""

from __future__ import annotations

import getpass
from argparse import Namespace
from collections.abc import Iterator
from datetime import UTC, datetime
from enum import Enum
from pathlib import Path
from typing import TypeVar

import apsw

from adapters.audit.journal import Journal
from adapters.audit.keys import public_key
from adapters.audit.keys import verify as check
from adapters.audit.notary import notes_in
from adapters.audit.search import Found, Query, find, read_event
from adapters.audit.trail import Trail, from_database, from_export
from adapters.audit.trail import export as write_export
from adapters.audit.verify import Report, verify_trail
from adapters.commands.moment import moment
from adapters.commands.output import FINDING, OK, say
from adapters.settings import Settings, load
from spir.errors import RequestError, Unavailable
from spir.model.decision import Effect
from spir.record.event import Outcome

__all__ = ["export", "search", "verdict", "verify"]

E = TypeVar("E", bound=Enum)


def verify(arguments: Namespace) -> int:
    """Offline: the journal (database or exported file), its public key, and checkpoints kept elsewhere."""
    settings = None if arguments.journal and arguments.key else load(Path(arguments.config))
    key = public_key(_text(_key_file(arguments, settings)), settings.origin if settings else _origin(arguments))
    saved: list[str] = []
    for file in (arguments.checkpoints, str(settings.checkpoints) if settings else ""):
        if file and Path(file).exists():
            saved += notes_in(_text(Path(file)))
    journal = Path(arguments.journal) if arguments.journal else _database(settings)
    report = verify_trail(_trail(journal), key, check, saved)
    say(arguments, report.to_json(), verdict(report))
    return OK if report.ok else FINDING


def search(arguments: Namespace) -> int:
    """Find events, newest first. That somebody has looked is recorded as well."""
    settings = load(Path(arguments.config))
    query = Query(
        since=moment(arguments.since),
        until=moment(arguments.until),
        subject=arguments.subject,
        operation=arguments.operation,
        effect=_member(Effect, arguments.effect),
        outcome=_member(Outcome, arguments.outcome),
        protocol=arguments.protocol,
        patient=arguments.patient,
    )
    journal = Journal.open(settings.data)
    connection = apsw.Connection(str(_database(settings)), flags=apsw.SQLITE_OPEN_READWRITE)
    connection.set_busy_timeout(5000)
    try:
        page = find(connection, query, journal.names.digest, limit=arguments.limit)
        journal.record(connection, read_event(query, f"os:{getpass.getuser()}", len(page.records), datetime.now(UTC)))
    except apsw.Error as error:
        raise Unavailable("the trail cannot be read", hint=str(error)) from error
    finally:
        connection.close()
    say(arguments, [{"event": f.sequence, **f.body} for f in page.records], _lines(page.records))
    return OK


def export(arguments: Namespace) -> int:
    settings = load(Path(arguments.config))
    with Path(arguments.file).open("wb") as out:
        count = write_export(_reader(_database(settings)), out)
    say(arguments, {"records": count, "file": arguments.file}, [f"{count} records written to {arguments.file}"])
    return OK


def verdict(report: Report) -> Iterator[str]:
    """The report for a reader."""
    signed = f"{report.signed} of them confirmed by a signed checkpoint"
    yield f"{report.records} records, {signed}, root {report.root.hex()[:16]}..."
    yield from (f"record {finding.sequence}: {finding.trouble.value}: {finding.text}" for finding in report.findings)
    yield "the trail is whole" if report.ok else "THE TRAIL CANNOT BE TRUSTED from the first record named above"


def _lines(found: tuple[Found, ...]) -> Iterator[str]:
    for one in found:
        body = one.body
        effect = body.get("decision", {}).get("effect", "-")
        yield (
            f"{one.sequence:>6}  {body['time']}  {body['protocol']:6} {body['operation']:28} {body['subject']:12} "
            f"{effect:11} {body['outcome']}"
        )


def _key_file(arguments: Namespace, settings: Settings | None) -> Path:
    if arguments.key:
        return Path(arguments.key)
    assert settings is not None
    return settings.signing_key.with_suffix(".pub")


def _origin(arguments: Namespace) -> str:
    """The origin that a set of saved checkpoints names: their first line."""
    if not arguments.checkpoints:
        raise RequestError("without a configuration, saved checkpoints are needed", hint="give --checkpoints FILE")
    notes = notes_in(_text(Path(arguments.checkpoints)))
    if not notes:
        raise RequestError(f"`{arguments.checkpoints}` holds no checkpoint")
    return notes[0].split("\n", 1)[0]


def _trail(journal: Path) -> Trail:
    with journal.open("rb") as file:
        if file.read(15) == b"SQLite format 3":
            return from_database(_reader(journal))
    return from_export(journal.open("rb"))


def _reader(path: Path) -> apsw.Connection:
    return apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READONLY)


def _database(settings: Settings | None) -> Path:
    assert settings is not None
    if not settings.database.exists():
        raise Unavailable(f"there is no `{settings.database}`", hint="has the gateway run with this configuration?")
    return settings.database


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"`{path}` cannot be read", hint=str(error)) from error


def _member(kind: type[E], text: str) -> E | None:
    if not text:
        return None
    try:
        return kind(text)
    except ValueError as error:
        known = ", ".join(str(member.value) for member in kind)
        raise RequestError(f"`{text}` is not one of {known}") from error
