"""SHELL: durable storage in one SQLite file: messages, facts, outbox, and the audit trail beside them.

What belongs together is made durable together: a message, the facts it
changes, its audit record and the alerts it causes are one transaction. The
facts become visible to decisions after that transaction is on the disk and
before whoever waits for it goes on.

The audit tables belong to the audit adapter, which hands in the function that
appends to them: adapters do not import one another.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import groupby
from pathlib import Path
from typing import Literal, Protocol, TypeVar

import apsw

from adapters.backbone import inbox, outbox
from adapters.backbone.ledger import Ledger, restored
from adapters.backbone.schema import connect, connect_reader
from adapters.backbone.writer import Writer
from spir.errors import Unavailable
from spir.exchange import Durable, Keep, Learn, Notify, Record
from spir.model.facts import FactStore, Join
from spir.record.event import AuditEvent

__all__ = ["Embedded", "Options", "Purged"]

T = TypeVar("T")


class Append(Protocol):
    """Writes audit events in order."""

    def __call__(self, connection: apsw.Connection, *events: AuditEvent) -> object: ...


Prepare = Callable[[apsw.Connection], object]


@dataclass(frozen=True, slots=True)
class Options:
    """`limit`: writes that may wait at once. `patience`: seconds a write may take before its caller is refused."""

    joins: Mapping[str, Join] = field(default_factory=dict)
    limit: int = 8192
    patience: float = 10.0


@dataclass(frozen=True, slots=True)
class Purged:
    """How many of each were deleted."""

    facts: int = 0
    messages: int = 0
    notifications: int = 0


class Embedded:
    """The database of one gateway. Make it with `open`; use it from one event loop."""

    def __init__(self, path: Path, lock: int, append: Append, now: Callable[[], datetime], options: Options) -> None:
        self.path = path
        self._lock = lock
        self._append = append
        self._now = now
        self._on_notify: list[Callable[[], object]] = []
        connection = connect(path)
        self._ledger = Ledger(restored(connection, options.joins))
        self._reader = connect_reader(path)
        self._writer = Writer(connection, self._ledger, limit=options.limit, patience=options.patience)

    @classmethod
    def open(
        cls,
        path: Path,
        append: Append,
        *,
        prepare: Sequence[Prepare] = (),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
        options: Options = Options(),
    ) -> Embedded:
        """Open or make the database at `path` and load its facts.

        `append` writes an audit event inside the transaction; `prepare` makes
        tables of others, once. Raises Unavailable: SQLite too old, file not
        usable, or in use by another gateway.
        """
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = _locked(path)
        try:
            _prepare(path, prepare)
            return cls(path, lock, append, now, options)
        except BaseException:
            os.close(lock)
            raise

    @property
    def facts(self) -> FactStore:
        """The live facts: read its `snapshot`, never write to it."""
        return self._ledger.store

    @property
    def sound(self) -> bool:
        """Whether the last transaction could be written; true before the first."""
        return self._writer.sound

    async def write(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run `work` on the writer's thread, in a transaction that others may share; back when it is durable.

        `work` must not keep the connection. What it raises comes back, and
        nothing of it is kept. Raises Unavailable.
        """
        return await self._writer.submit(work)

    async def commit(self, items: Sequence[Durable]) -> int:
        """Make all of `items` durable in one transaction, or none; the facts revision. See `spir.exchange.Commit`."""
        items = tuple(items)
        revision = await self._writer.submit(lambda connection: self._store(connection, items))
        if any(isinstance(item, Notify) for item in items):
            self.wake()
        return revision

    def _store(self, connection: apsw.Connection, items: tuple[Durable, ...]) -> int:
        for recorded, run in groupby(items, lambda item: item.__class__ is Record):
            if recorded:  # by far the most come in long runs
                self._append(connection, *[item.event for item in run if isinstance(item, Record)])
                continue
            for item in run:
                match item:
                    case Keep():
                        inbox.keep(connection, item, self._now())
                    case Learn(changes):
                        self._ledger.learn(connection, changes)
                    case Notify(notification):
                        outbox.put(connection, notification, self._now())
        return self._ledger.revision

    # -- what is stored ----------------------------------------------------------------------

    async def read(self, work: Callable[[apsw.Connection], T]) -> T:
        """Run a longer reading on a thread and connection of its own."""

        def run() -> T:
            connection = connect_reader(self.path)
            try:
                return work(connection)
            finally:
                connection.close()

        return await asyncio.to_thread(run)

    def _look(self, work: Callable[[apsw.Connection], T]) -> T:
        """A short reading on the event loop's own thread."""
        try:
            return work(self._reader)
        except apsw.Error as error:
            raise Unavailable("the database cannot be read", hint=str(error)) from error

    def recall(self, source: str, control_id: str, digest: bytes) -> tuple[Literal["same", "other"] | None, str]:
        """See `inbox.recall`. Quick, so it does not leave the thread; call it from the event loop only."""
        return self._look(lambda connection: inbox.recall(connection, source, control_id, digest))

    async def messages(
        self, *, source: str = "", kind: str = "", state: str = "", before: int | None = None, limit: int = 50
    ) -> list[inbox.StoredMessage]:
        """See `inbox.find_messages`."""
        return await self.read(
            lambda connection: inbox.find_messages(
                connection, source=source, kind=kind, state=state, before=before, limit=limit
            )
        )

    async def message(self, sequence: int) -> inbox.StoredMessage | None:
        return await self.read(lambda connection: inbox.get_message(connection, sequence))

    # -- the outbox, as `adapters.notify` sees it --------------------------------------------

    def on_notify(self, callback: Callable[[], object]) -> None:
        """Call `callback` on the event loop whenever something was put into the outbox."""
        self._on_notify.append(callback)

    def wake(self) -> None:
        for callback in self._on_notify:
            callback()

    async def due(self, channel: str, now: datetime, limit: int) -> list[outbox.Parcel]:
        return self._look(lambda connection: outbox.due(connection, channel, now, limit))

    async def next_due(self, channel: str) -> datetime | None:
        return self._look(lambda connection: outbox.next_due(connection, channel))

    async def waiting(self) -> dict[str, int]:
        return self._look(lambda connection: outbox.waiting(connection))

    async def settle(
        self, id: str, state: str, attempts: int, next_attempt: datetime, problem: str, event: AuditEvent | None
    ) -> None:
        """Write down how a delivery went, together with its audit event if it is over."""

        def work(connection: apsw.Connection) -> None:
            outbox.settle(connection, id, state, attempts, next_attempt, problem)
            if event is not None:
                self._append(connection, event)

        await self.write(work)

    # -- tidying -----------------------------------------------------------------------------

    async def purge(self, days: int, limit: int = 1000) -> Purged:
        """Delete messages, delivered notifications, tombstones and ended facts older than `days`.

        At most `limit` of each, so that it never holds up writers for long:
        call it again while it still finds some.
        """
        edge = self._now() - timedelta(days=days)
        return await self.write(
            lambda connection: Purged(
                self._ledger.purge(connection, edge, limit),
                inbox.purge(connection, edge, limit),
                outbox.purge(connection, edge, limit),
            )
        )

    async def close(self) -> None:
        """Finish what is queued and close."""
        await asyncio.to_thread(self._writer.close)
        self._reader.close()
        os.close(self._lock)


def _prepare(path: Path, prepare: Sequence[Prepare]) -> None:
    connection = connect(path)
    try:
        for step in prepare:
            with connection:
                step(connection)
    finally:
        connection.close()


def _locked(path: Path) -> int:
    """A lock for as long as the descriptor is open: facts live in memory, so there is one writer only."""
    lock = os.open(path.with_name(f"{path.name}.lock"), os.O_CREAT | os.O_RDWR, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        raise Unavailable("another gateway uses this data folder", hint=str(path.parent)) from error
    return lock
