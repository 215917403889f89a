"""Facts in the database and in memory, kept in step.

The database holds one row per (key, attribute, part), with the tombstones, as
the store does. Changes are tried on a draft of the snapshot inside the
transaction, so that what cannot be applied is refused before anything is
durable; the rows that differ are written; the draft becomes the store's
snapshot once the transaction is on the disk.

INVARIANT: nobody else writes to the store.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import TypeAlias

import apsw

from spir.model.facts import (
    Assert,
    Change,
    Doubt,
    Fact,
    FactStore,
    Join,
    Key,
    Merge,
    Retract,
    Settle,
    Snapshot,
    empty_snapshot,
)
from spir.record.canonical import encode, pack, timestamp, unpack

__all__ = ["Ledger", "restored"]

PUT = "insert or replace into fact values (?, ?, ?, ?, ?, ?, ?, ?, ?)"
DROP = "delete from fact where kind = ? and id = ? and attribute = ? and part = ?"


def restored(connection: apsw.Connection, joins: Mapping[str, Join] | None = None) -> FactStore:
    """The store as it was when the last transaction was committed."""
    store = FactStore(empty_snapshot(joins))
    [(revision,)] = connection.execute("select facts from revision")
    store.apply(_merges(connection))
    store.load((_fact(*row) for row in connection.execute("select * from fact")), revision)
    return store


class Ledger:
    """The writer's companion. Its methods are called on the writer's thread only."""

    def __init__(self, store: FactStore) -> None:
        self.store = store
        self._draft = store.snapshot

    def begin(self) -> None:
        self._draft = self.store.snapshot

    def mark(self) -> Snapshot:
        return self._draft

    def undo(self, mark: Snapshot) -> None:
        self._draft = mark

    def publish(self) -> None:
        self.store.snapshot = self._draft

    def learn(self, connection: apsw.Connection, changes: Iterable[Change]) -> None:
        """Apply and store changes. Raises FactError, and then has changed nothing that counts."""
        changes = tuple(changes)
        before, after = self._draft, FactStore(self._draft).apply(changes)
        touched = dict.fromkeys(_touched(changes, before, after))
        for key in touched:
            _store_rows(connection, key, before, after)
        _store_aliases(connection, touched, before, after)
        connection.execute("update revision set facts = ?", (after.revision,))
        self._draft = after

    @property
    def revision(self) -> int:
        return self._draft.revision

    def purge(self, connection: apsw.Connection, before: datetime, limit: int) -> int:
        """Forget what can never hold again and is older than a moment, about `limit` of it; how many facts.

        That is: tombstones, facts that have ended, and what lies under parts
        that were closed. The closing itself stays: it is what keeps a late
        message about an old visit from opening it.
        """
        edge = timestamp(before)
        gone = {(kind, id, attribute, part) for kind, id, attribute, part in _over(connection, edge, limit)}
        gone.update(_under_closed(connection, edge, limit))
        connection.executemany(DROP, gone)
        self._draft = FactStore(self._draft).forget(((kind, id), name, part) for kind, id, name, part in gone)
        return len(gone)


Place: TypeAlias = tuple[str, str, str, str]  # kind, id, attribute, part


def _over(connection: apsw.Connection, edge: str, limit: int) -> list[Place]:
    return list(
        connection.execute(
            "select kind, id, attribute, part from fact where value is null and as_of < ?1"
            " union select kind, id, attribute, part from fact where valid_until < ?1 limit ?2",
            (edge, limit),
        )
    )


def _under_closed(connection: apsw.Connection, edge: str, limit: int) -> list[Place]:
    """Facts under parts that were closed before `edge`; each closing is looked at once, oldest first."""
    closings = list(
        connection.execute(
            "select kind, id, part, as_of from fact, revision where attribute = 'closed' and value = 'true'"
            " and as_of >= swept and as_of < ? order by as_of limit ?",
            (edge, limit),
        )
    )
    connection.execute("update revision set swept = ?", (closings[-1][3] if len(closings) == limit else edge,))
    return [
        place
        for kind, id, part, _ in closings
        for place in connection.execute(
            "select kind, id, attribute, part from fact where kind = ?1 and id = ?2"
            " and substr(part, 1, length(?3) + 1) = ?3 || '/'",
            (kind, id, part),
        )
    ]


def _merges(connection: apsw.Connection) -> Iterator[Change]:
    long_ago = datetime.fromisoformat("0001-01-01T00:00:00+00:00")
    for kind, prior, surviving in connection.execute("select kind, prior, surviving from alias order by sequence"):
        yield Merge((kind, prior), (kind, surviving), "", long_ago)


def _fact(
    kind: str,
    id: str,
    attribute: str,
    part: str,
    value: str | None,
    source: str,
    as_of: str,
    valid_from: str | None,
    valid_until: str | None,
) -> Fact:
    return Fact(
        (kind, id),
        attribute,
        None if value is None else unpack(json.loads(value)),
        source,
        datetime.fromisoformat(as_of),
        part,
        datetime.fromisoformat(valid_from) if valid_from else None,
        datetime.fromisoformat(valid_until) if valid_until else None,
    )


def _row(key: Key, fact: Fact) -> tuple[str | None, ...]:
    return (
        *key,
        fact.attribute,
        fact.part,
        None if fact.value is None else encode(pack(fact.value)).decode(),
        fact.source,
        timestamp(fact.as_of),
        timestamp(fact.valid_from) if fact.valid_from else None,
        timestamp(fact.valid_until) if fact.valid_until else None,
    )


def _touched(changes: Iterable[Change], before: Snapshot, after: Snapshot) -> Iterator[Key]:
    """Every key whose rows the changes may have written."""
    for change in changes:
        for key in _named(change):
            yield from (key, before.resolve(key), after.resolve(key))


def _named(change: Change) -> tuple[Key, ...]:
    match change:
        case Assert(fact):
            return (fact.key,)
        case Merge(prior, surviving):
            return (prior, surviving)
        case Retract(key) | Doubt(key) | Settle(key):
            return (key,)


def _store_rows(connection: apsw.Connection, key: Key, before: Snapshot, after: Snapshot) -> None:
    old, new = before.rows(key), after.rows(key)
    if old is new:
        return
    for slot in old.keys() - new.keys():
        connection.execute(DROP, (*key, *slot))
    for slot, fact in new.items():
        if old.get(slot) is not fact:
            connection.execute(PUT, _row(key, fact))


def _store_aliases(connection: apsw.Connection, touched: Iterable[Key], before: Snapshot, after: Snapshot) -> None:
    """New names in the order in which the store learnt them, which is the order of its map."""
    new = {key for key in touched if key in after.aliases and key not in before.aliases}
    if not new:
        return
    for prior, surviving in after.aliases.items():
        if prior in new:
            connection.execute("insert into alias (kind, prior, surviving) values (?, ?, ?)", (*prior, surviving[1]))
