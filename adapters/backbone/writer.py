"""SHELL: one thread that writes, and commits for all who wait at once.

A commit costs a disk sync whether it holds one change or a hundred. While one
is under way, others queue; the next transaction takes them all. A single
caller does not wait for company. Each piece of work runs inside a savepoint,
so that one that fails takes nobody with it; a failing disk fails all of the
transaction, and every caller hears of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from queue import Empty, SimpleQueue
from typing import Any, Protocol, TypeVar

import apsw

from spir.errors import Unavailable

__all__ = ["Companion", "Writer"]

T = TypeVar("T")
Work = Callable[[apsw.Connection], T]

MOST_AT_ONCE = 512

# What says that the disk or the file failed, not the work.
STORAGE_ERRORS = (
    apsw.FullError,
    apsw.IOError,
    apsw.ReadOnlyError,
    apsw.CorruptError,
    apsw.NotADBError,
    apsw.CantOpenError,
    apsw.BusyError,
    apsw.LockedError,
    apsw.NoMemError,
)


class Companion(Protocol):
    """State in memory that follows the transactions: `mark` and `undo` bracket one piece of work."""

    def begin(self) -> None: ...

    def mark(self) -> Any: ...

    def undo(self, mark: Any) -> None: ...

    def publish(self) -> None:
        """The transaction is on the disk. Called before anybody who waits for it goes on."""
        ...


@dataclass(slots=True, eq=False)
class _Job:
    work: Work[Any]
    loop: asyncio.AbstractEventLoop
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Owns `connection`. `submit` may be called from any running event loop."""

    def __init__(
        self, connection: apsw.Connection, companion: Companion, *, limit: int = 8192, patience: float = 10.0
    ) -> None:
        self._connection = connection
        self._companion = companion
        self._limit = limit
        self._patience = patience
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        self.sound = True  # whether the last transaction could be written
        self._closed = False
        self._thread = threading.Thread(target=self._run, name="spir-writer", daemon=True)
        self._thread.start()

    async def submit(self, work: Work[T]) -> T:
        """Run `work` in a transaction; comes back after the commit is on the disk.

        Raises what `work` raised (then nothing of it is kept), or Unavailable:
        queue full, closed, disk failing, or not done within `patience` seconds,
        in which case it may still be written later.
        """
        if self._closed:
            raise Unavailable("the database is closed")
        if self._jobs.qsize() >= self._limit:
            raise Unavailable("too many writes are waiting", hint="the disk is slower than what arrives")
        loop = asyncio.get_running_loop()
        job = _Job(work, loop, loop.create_future())
        self._jobs.put(job)
        try:
            async with asyncio.timeout(self._patience):
                return await job.future  # type: ignore[no-any-return]
        except TimeoutError as error:
            raise Unavailable("the disk did not answer in time") from error

    def close(self) -> None:
        """Finish what is queued, then stop and close the connection. Blocks; may be called twice."""
        self._closed = True
        self._jobs.put(None)
        self._thread.join(self._patience)

    def _run(self) -> None:
        try:
            while batch := self._take():
                self._transact(batch)
                _deliver(batch)
        finally:
            self._closed = True
            _deliver(_failed(self._leftovers(), "the database is closed", None))
            self._connection.close()

    def _take(self) -> list[_Job]:
        """Wait for one job, then take all that have gathered; an empty list means: stop."""
        batch: list[_Job] = []
        job = self._jobs.get()
        while job is not None:
            batch.append(job)
            if len(batch) == MOST_AT_ONCE:
                break
            try:
                job = self._jobs.get_nowait()
            except Empty:
                break
        if job is None and batch:
            self._jobs.put(None)  # stop after this batch
        return batch

    def _leftovers(self) -> list[_Job]:
        found: list[_Job] = []
        with contextlib.suppress(Empty):
            while True:
                job = self._jobs.get_nowait()
                if job is not None:
                    found.append(job)
        return found

    def _transact(self, batch: list[_Job]) -> None:
        try:
            self._connection.execute("begin immediate")
            self._companion.begin()
            for job in batch:
                self._perform(job)
            self._connection.execute("commit")
        except apsw.Error as error:
            self._roll_back()
            self.sound = False
            _failed(batch, "the database cannot be written", error)
        else:
            self.sound = True
            self._companion.publish()

    def _perform(self, job: _Job) -> None:
        mark = self._companion.mark()
        self._connection.execute("savepoint work")
        try:
            job.result = job.work(self._connection)
        except STORAGE_ERRORS:
            raise
        except Exception as error:
            self._connection.execute("rollback to work")
            self._companion.undo(mark)
            job.error = error
        self._connection.execute("release work")

    def _roll_back(self) -> None:
        with contextlib.suppress(apsw.Error):  # the first error is the one that callers are told
            if self._connection.in_transaction:
                self._connection.execute("rollback")


def _failed(batch: list[_Job], message: str, cause: apsw.Error | None) -> list[_Job]:
    """Every caller gets an error of its own: one exception cannot be raised in several tasks."""
    for job in batch:
        if job.error is None:
            job.error = Unavailable(message, hint=f"the disk or the file fails: {cause}" if cause else "")
            job.error.__cause__ = cause
    return batch


def _deliver(batch: Iterable[_Job]) -> None:
    """Wake each event loop once, whatever the number of its callers."""
    loops: dict[asyncio.AbstractEventLoop, list[_Job]] = {}
    for job in batch:
        loops.setdefault(job.loop, []).append(job)
    for loop, jobs in loops.items():
        with contextlib.suppress(RuntimeError):  # a loop that is closed has nobody waiting
            loop.call_soon_threadsafe(_resolve, jobs)


def _resolve(jobs: list[_Job]) -> None:
    for job in jobs:
        if job.future.done():
            continue  # the caller was cancelled, or lost patience
        if job.error is None:
            job.future.set_result(job.result)
        else:
            job.future.set_exception(job.error)
