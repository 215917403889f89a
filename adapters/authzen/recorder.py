"""SHELL: records of many calls in one commit. A call is answered after its own records are durable.

While one commit is under way the records of other calls gather; the next takes
them all. A single caller does not wait for company. If a commit fails, all who
waited for it hear of it, and none of them is answered with a decision. If it is
not the storage that failed, each call's records are tried on their own, so that
one that cannot be written takes no other one with it.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from functools import partial
from typing import TypeAlias

from adapters.authzen.faults import place_of
from spir.errors import Unavailable
from spir.exchange import Record

__all__ = ["Recorder"]

log = logging.getLogger("spir.pdp")

# Told once: "" where the records are durable, else why they are not. Must not raise.
Done = Callable[[str], None]

_Waiting: TypeAlias = tuple[Sequence[Record], Done]

MOST_AT_ONCE = 2048  # records in one commit
MOST_WAITING = 16384


class Recorder:
    """`commit` makes records durable, or raises. `problem` says why the last commit failed, "" if it did not."""

    def __init__(self, commit: Callable[..., Awaitable[int]]) -> None:
        self.problem = ""
        self._commit = commit
        self._waiting: deque[_Waiting] = deque()
        self._count = 0
        self._running: asyncio.Task[None] | None = None

    async def record(self, records: Sequence[Record]) -> None:
        """Back when the records are durable. Raises Unavailable."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.then(records, partial(_resolve, future))
        await future

    def then(self, records: Sequence[Record], done: Done) -> None:
        """Call `done` when the records are durable, or cannot be made so. Raises Unavailable: then nobody is called."""
        if self._count + len(records) > MOST_WAITING:
            raise Unavailable("too many decisions wait to be recorded", hint="the disk is slower than what arrives")
        self._waiting.append((records, done))
        self._count += len(records)
        if self._running is None:
            self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Back when nothing waits any more."""
        while self._running is not None:
            await asyncio.wait((self._running,))

    async def _run(self) -> None:
        try:
            while self._waiting:
                await self._commit_some()
        finally:
            self._running = None
            while self._waiting:  # only if this task was cancelled
                self._waiting.popleft()[1]("the service stops")

    async def _commit_some(self) -> None:
        together, count = [], 0
        while self._waiting and count < MOST_AT_ONCE:
            together.append(self._waiting.popleft())
            count += len(together[-1][0])
        self._count -= count
        await self._commit_all(together)

    async def _commit_all(self, together: Sequence[_Waiting]) -> None:
        try:
            await self._commit(*[record for records, _ in together for record in records])
        except (Unavailable, OSError) as error:
            self._tell(together, str(error))
        except Exception as error:
            if len(together) == 1:
                # A defect: its text could quote what was asked, so only its kind and place are logged.
                log.error("a record cannot be written: %s in %s", type(error).__name__, place_of(error))
                self._tell(together, type(error).__name__)
                return
            await self._commit_each(together)
        except BaseException as error:
            self._tell(together, type(error).__name__)
            raise
        else:
            self._tell(together, "")

    async def _commit_each(self, several: Sequence[_Waiting]) -> None:
        for place, one in enumerate(several, 1):
            try:
                await self._commit_all((one,))
            except BaseException:  # this task was cancelled
                self._tell(several[place:], "the service stops")
                raise

    def _tell(self, together: Iterable[_Waiting], problem: str) -> None:
        self.problem = problem
        for _, done in together:
            done(problem)


def _resolve(future: asyncio.Future[None], problem: str) -> None:
    """Each caller gets an error of its own: one exception cannot be raised in several tasks."""
    if future.done():  # its caller was cancelled
        return
    if problem:
        future.set_exception(Unavailable("the decision cannot be recorded", hint=problem))
    else:
        future.set_result(None)
