"""The tables of the embedded database, and which SQLite may hold them.

SQLite below 3.51.3 can lose committed data when two connections meet while a
write-ahead log is reset; it is refused. `synchronous=FULL` makes a commit
durable against loss of power; nothing is acknowledged with less.
"""

from __future__ import annotations

import os
from pathlib import Path

import apsw

from spir.errors import Unavailable

__all__ = ["VERSION", "connect", "connect_reader", "require_sound"]

VERSION = 1
SOUND = (3, 51, 3)

TABLES = """
create table message (
    sequence integer primary key autoincrement,
    source text not null, control_id text not null, digest blob not null,
    kind text not null, state text not null, ack text not null, body blob not null,
    received text not null, times integer not null default 1,
    unique (source, control_id, digest));
create index message_received on message (received);

create table fact (
    kind text not null, id text not null, attribute text not null, part text not null,
    value text, source text not null, as_of text not null, valid_from text, valid_until text,
    primary key (kind, id, attribute, part)) without rowid;
create index fact_gone on fact (as_of) where value is null;
create index fact_over on fact (valid_until) where valid_until is not null;
create index fact_closed on fact (as_of) where attribute = 'closed';
create table alias (
    sequence integer primary key autoincrement,
    kind text not null, prior text not null, surviving text not null, unique (kind, prior));
create table revision (
    only integer primary key check (only = 1), facts integer not null, swept text not null);
insert into revision values (1, 0, '');

create table outbox (
    id text primary key, channel text not null, kind text not null, priority text not null, body text not null,
    state text not null, attempts integer not null, next_attempt text not null,
    created text not null, problem text not null) without rowid;
create index outbox_due on outbox (channel, next_attempt) where state = 'pending';
create index outbox_done on outbox (created) where state <> 'pending';
"""


def require_sound(version: str) -> None:
    """Raises Unavailable for an SQLite that may lose committed data."""
    if tuple(int(part) for part in version.split(".")[:3]) < SOUND:
        raise Unavailable(
            f"SQLite {version} can lose committed data", hint=f"install apsw {'.'.join(map(str, SOUND))} or later"
        )


def connect(path: Path) -> apsw.Connection:
    """The writer's connection. Makes the database, for its owner's eyes only, if there is none. Raises Unavailable."""
    require_sound(apsw.sqlite_lib_version())
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        os.close(os.open(path, os.O_CREAT | os.O_RDWR, 0o600))
        connection = apsw.Connection(str(path))
        connection.set_busy_timeout(5000)
        connection.execute("pragma page_size = 8192")
        connection.execute("pragma journal_mode = wal")
        connection.execute("pragma synchronous = full")
        connection.execute("pragma secure_delete = fast")
        connection.execute("pragma journal_size_limit = 67108864")
        _make(connection)
    except (OSError, apsw.Error) as error:
        raise Unavailable("the database cannot be opened", hint=f"{path}: {error}") from error
    return connection


def connect_reader(path: Path) -> apsw.Connection:
    """A connection that can only read. Raises Unavailable, also where there is no database."""
    require_sound(apsw.sqlite_lib_version())
    try:
        connection = apsw.Connection(str(path), flags=apsw.SQLITE_OPEN_READWRITE)
        connection.set_busy_timeout(5000)
        connection.execute("pragma query_only = on")
        _check_version(connection)
    except apsw.Error as error:
        raise Unavailable("the database cannot be opened", hint=f"{path}: {error}") from error
    return connection


def _make(connection: apsw.Connection) -> None:
    with connection:
        if _check_version(connection) == 0:
            connection.execute(TABLES)
            connection.execute(f"pragma user_version = {VERSION}")


def _check_version(connection: apsw.Connection) -> int:
    found = int(connection.pragma("user_version"))
    if found > VERSION:
        raise Unavailable(
            f"the database is of version {found}, this program knows {VERSION}", hint="it was used by a newer release"
        )
    return found
