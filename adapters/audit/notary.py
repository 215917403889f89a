"""SHELL: signs a checkpoint of the trail every so often, and writes it where it can be carried away.

Each checkpoint goes into the database and, synced, to the file `checkpoints`:
notes with an empty line between them. Copy that file to another machine, and
nobody can shorten the trail or put back an old copy unseen.

The notary does not sign a trail that is shorter than one it signed before:
then somebody has put back an old copy, and the gateway does not start.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Protocol, TypeVar

import apsw

from adapters.audit.journal import Journal
from adapters.audit.keys import signing_key
from spir.errors import SpirError, Unavailable
from spir.record.canonical import timestamp
from spir.record.checkpoint import Checkpoint, CheckpointError, read, signed

__all__ = ["Notary", "NotaryConfig", "notes_in"]

T = TypeVar("T")
log = logging.getLogger("spir.audit")

LOOK_EVERY = 1.0  # seconds between looks at how much has been written


class Write(Protocol):
    """Run work in a durable transaction: `Embedded.write`."""

    async def __call__(self, work: Callable[[apsw.Connection], T]) -> T: ...


@dataclass(frozen=True, slots=True)
class NotaryConfig:
    """`origin` names the trail in its checkpoints, as `audit.example/hospital-a`: no spaces, no +.

    A checkpoint is made after `seconds` or `events`, whichever comes first,
    if anything was written at all.
    """

    origin: str
    key: Path
    file: Path
    seconds: float = 60.0
    events: int = 10_000


class Notary:
    """Signs what `journal` has written through `write`."""

    def __init__(
        self,
        config: NotaryConfig,
        journal: Journal,
        write: Write,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._config = config
        self._journal = journal
        self._write = write
        self._now = now
        self._private, self.key = signing_key(config.key, config.origin)
        self._signed = 0
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Compare the trail with what was signed before, and go on signing. Raises Unavailable."""
        last = await asyncio.to_thread(_last_saved, self._config.file)
        await self._write(lambda connection: self._compare(connection, last))
        self._stopping.clear()
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Sign what has not been signed yet, and stop."""
        if self._task is not None:
            self._stopping.set()
            await self._task  # a checkpoint that is being made is made to the end
            self._task = None
            await self.seal()

    async def seal(self) -> Checkpoint | None:
        """Sign the trail as it is now; None if nothing was written since the last time. Raises Unavailable."""
        # INVARIANT: only what is on the disk is signed; inside a transaction it might still be undone.
        size, root = await self._write(self._journal.head)
        if size <= self._signed:
            return None
        point = Checkpoint(self._config.origin, size, root)
        note = signed(point, self.key, self._private.sign)
        await asyncio.to_thread(_save, self._config.file, note)
        self._signed = size
        await self._write(lambda connection: _store(connection, size, self._now(), note))
        return point

    def _compare(self, connection: apsw.Connection, last: Checkpoint | None) -> None:
        size, root = self._journal.head(connection)
        if last is None:
            return
        if last.size > size:
            raise Unavailable(
                f"the audit trail ends at record {size}, but a checkpoint was signed at {last.size}",
                hint="an old copy was put back, or records were deleted; run `spir audit verify`",
            )
        if last.size == size and last.root != root:
            raise Unavailable(
                f"the audit trail is not the one whose checkpoint was signed at record {size}",
                hint="run `spir audit verify`",
            )
        self._signed = last.size

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        last = loop.time()
        while not self._stopping.is_set():
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), min(LOOK_EVERY, self._config.seconds))
            overdue = loop.time() - last >= self._config.seconds
            if overdue or self._journal.size - self._signed >= self._config.events:
                last = loop.time()
                try:
                    await self.seal()
                except SpirError as error:
                    log.error("no checkpoint could be signed: %s", error)


def notes_in(text: str) -> list[str]:
    """The signed notes in a checkpoints file. A last one that was cut off while being written is left out."""
    parts = text.split("\n\n")
    pairs = zip(parts[::2], parts[1::2], strict=False)
    return [f"{body}\n\n{marks}\n" for body, marks in pairs]


def _last_saved(path: Path) -> Checkpoint | None:
    try:
        notes = notes_in(path.read_text("utf-8")) if path.exists() else []
        return max((read(note) for note in notes), key=lambda point: point.size, default=None)
    except (OSError, UnicodeDecodeError, CheckpointError) as error:
        raise Unavailable(f"the saved checkpoints in `{path}` cannot be read", hint=str(error)) from error


def _store(connection: apsw.Connection, size: int, now: datetime, note: str) -> None:
    connection.execute("insert or replace into audit_checkpoint values (?, ?, ?)", (size, timestamp(now), note))


def _save(path: Path, note: str) -> None:
    try:
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644), "wb") as file:
            file.write(f"{note}\n".encode())
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise Unavailable(f"`{path}` cannot be written", hint=str(error)) from error
