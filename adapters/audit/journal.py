"""The trail itself: one row per event, each bound to all before it.

A row holds the event's canonical bytes, their leaf hash, and the chain value
before it; over the leaves grows the Merkle tree that checkpoints sign. The
columns beside the bytes are there to search by, and are checked against them.

`append` runs inside the transaction of what it records, on whatever
connection it is given, so a record and its cause are durable together. It
notices by the last row that an earlier transaction of its own was rolled back,
or that another process has written (a reading of the trail is recorded by the
command that reads), and then goes on from what is stored.
"""

from __future__ import annotations

from collections.abc import Mapping
from hashlib import sha256
from operator import itemgetter
from pathlib import Path
from typing import Any

import apsw

from adapters.audit.keys import site_key
from adapters.audit.pseudonym import Pseudonyms, Sealing
from spir.errors import Unavailable
from spir.record.event import AuditEvent
from spir.record.tree import Frontier, leaf_hash

__all__ = ["START", "Journal", "chained", "columns"]

START = bytes(32)  # the chain value before the first record
SAVE_EVERY = 1024

TABLES = """
create table if not exists audit (
    seq integer primary key, time text not null, kind text not null, protocol text not null, operation text not null,
    subject text not null, outcome text not null, effect text not null,
    body blob not null, leaf blob not null, previous blob not null);
create index if not exists audit_time on audit (time);
create index if not exists audit_subject on audit (subject, seq);
create table if not exists audit_patient (
    patient text not null, seq integer not null, primary key (patient, seq)) without rowid;
create table if not exists audit_checkpoint (size integer primary key, time text not null, note text not null);
create table if not exists audit_state (
    only integer primary key check (only = 1), size integer not null, peaks blob not null, site text not null);
"""
_searched = itemgetter("time", "kind", "protocol", "operation", "subject", "outcome")
INSERT = "insert into audit values (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
INSERT_PATIENT = "insert into audit_patient values (?, ?)"


def chained(previous: bytes, leaf: bytes) -> bytes:
    """The chain value after a record."""
    return sha256(previous + leaf).digest()


class Journal:
    """Writes the trail. Used by one writer; reading and verifying are elsewhere."""

    def __init__(self, names: Pseudonyms) -> None:
        self.names = names
        self._frontier = Frontier()
        self._chain = START
        self._last = b""

    @classmethod
    def open(cls, folder: Path, attributes: frozenset[str] | None = None) -> Journal:
        """With the site key in `folder` (`site.key`), made if there is none; `attributes` as in Pseudonyms.

        Raises Unavailable.
        """
        key = site_key(folder / "site.key")
        return cls(Pseudonyms(key) if attributes is None else Pseudonyms(key, attributes))

    @property
    def size(self) -> int:
        """Records written so far, as far as this process knows."""
        return self._frontier.size

    def prepare(self, connection: apsw.Connection) -> None:
        """Make the tables, once. Raises Unavailable if the trail was written with another site key."""
        connection.execute(TABLES)
        mark = self.names.digest("site key")
        found = connection.execute("select site from audit_state").fetchone()
        if found is None:
            connection.execute("insert into audit_state values (1, 0, x'', ?)", (mark,))
        elif found[0] != mark:
            raise Unavailable(
                "the audit trail was written with another site key", hint="bring back the `site.key` it belongs to"
            )

    def append(self, connection: apsw.Connection, *events: AuditEvent) -> int:
        """Write events in order; the sequence number of the last, from 1."""
        self._follow(connection)
        before = self._frontier.size
        sealing, rows = Sealing(self.names), []
        patients: list[tuple[str, int]] = []
        for sequence, event in enumerate(events, before + 1):
            kept, data = sealing.sealed(event)
            leaf = leaf_hash(data)
            rows.append((sequence, *columns(kept), data, leaf, self._chain))
            patients += [(patient, sequence) for patient in kept.get("patients", ())]
            self._frontier.append(leaf)
            self._chain, self._last = chained(self._chain, leaf), leaf
        connection.executemany(INSERT, rows)
        connection.executemany(INSERT_PATIENT, patients)
        size = self._frontier.size
        if size // SAVE_EVERY > before // SAVE_EVERY:
            self._save(connection)
        return size

    def record(self, connection: apsw.Connection, event: AuditEvent) -> int:
        """Write an event in a transaction of its own, beside whoever else writes; its sequence number."""
        connection.execute("begin immediate")  # nobody takes the number between looking and writing
        try:
            sequence = self.append(connection, event)
        except BaseException:
            connection.execute("rollback")
            raise
        connection.execute("commit")
        return sequence

    def head(self, connection: apsw.Connection) -> tuple[int, bytes]:
        """How many records are stored, and their Merkle root; also saves the tree's state."""
        self._follow(connection)
        self._save(connection)
        return self._frontier.size, self._frontier.root()

    def _follow(self, connection: apsw.Connection) -> None:
        found = connection.execute("select seq, leaf from audit order by seq desc limit 1").fetchone()
        stored, leaf = found or (0, b"")
        if (stored, leaf) != (self._frontier.size, self._last):
            self._reload(connection, stored)
            self._last = leaf

    def _reload(self, connection: apsw.Connection, stored: int) -> None:
        [(size, peaks)] = connection.execute("select size, peaks from audit_state")
        frontier = Frontier.from_bytes(size, peaks) if size <= stored else Frontier()
        self._chain = START
        for leaf, previous in connection.execute(
            "select leaf, previous from audit where seq > ? order by seq", (min(frontier.size, max(stored - 1, 0)),)
        ):
            self._chain = chained(previous, leaf)
            if frontier.size < stored:
                frontier.append(leaf)
        self._frontier = frontier

    def _save(self, connection: apsw.Connection) -> None:
        connection.execute("update audit_state set size = ?, peaks = ?", (self._frontier.size, bytes(self._frontier)))


def columns(body: Mapping[str, Any]) -> tuple[str, ...]:
    """What a row is searched by: time, kind, protocol, operation, subject, outcome, effect."""
    decision = body.get("decision")
    return (*_searched(body), decision.get("effect", "") if decision else "")
