"""SHELL: the pipelined endpoint: length-prefixed msgpack over a Unix socket, many requests under way, answers in order.

One request map gives one answer map: an evaluation, or a batch with
`evaluations`, as over HTTP. A map with `bearer` says who speaks from now on; it
comes first, unless the decision point is open. What arrived together is decided
together, recorded in one commit, and answered in one write.

Bounded: the size of a frame, what waits to be decided, what a client does not
take, the number of connections, and the time until it says who it is.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from adapters.authzen import events, reading
from adapters.authzen.answer import Refused, failure
from adapters.authzen.codec import MSGPACK
from adapters.authzen.deciding import Deciding, Evaluated, digest
from adapters.authzen.frames import Frames, framed
from adapters.authzen.gate import ANYBODY, Gate, Shown
from adapters.authzen.pace import TURN, paced
from adapters.authzen.port import PdpPort
from adapters.authzen.reading import Batch, Greeting
from adapters.authzen.recorder import Recorder
from adapters.web.server import bind_unix
from spir.errors import PeerError, RequestError, SpirError, Unauthenticated, Unavailable
from spir.exchange import Credentials, Record
from spir.model.request import Request

__all__ = ["Desk", "PipelinedServer"]

log = logging.getLogger("spir.pdp")

MOST_WAITING = 1024  # frames of one connection
MOST_WAITING_BYTES = 1024 * 1024
MOST_TOGETHER = 256  # frames answered in one write
CONNECTIONS = 64
GREETING_SECONDS = 10.0
STALLED_SECONDS = 30.0

SERVICE = "pipelined"


@dataclass(frozen=True)
class Desk:
    """What all connections share. `permission` is asked of every caller; `count` is told of every decision given."""

    port: PdpPort
    deciding: Deciding
    gate: Gate
    recorder: Recorder
    count: Callable[[Sequence[Evaluated]], None]
    permission: str
    max_frame: int


@dataclass
class _Turn:
    """What arrived together."""

    now: datetime
    peer: str = ""
    answers: list[bytes] = field(default_factory=list)
    records: list[Record] = field(default_factory=list)
    given: list[Evaluated] = field(default_factory=list)
    noted: int = 0  # of those given, how many are in the records

    def refused(self, permission: str, status: int) -> None:
        self.note()
        self.records.append(events.refused(events.Call(SERVICE, self.peer), permission, status, self.now))

    def note(self) -> None:
        """Put what was given into the records, in the name of who speaks until now."""
        if len(self.given) > self.noted:
            self.records += events.evaluated(events.Call(SERVICE, self.peer), self.given[self.noted :], self.now)
            self.noted = len(self.given)


class Connection(asyncio.Protocol):
    """One client. Frames wait here until the one task of this connection takes them."""

    def __init__(self, desk: Desk, others: set[Connection]) -> None:
        self.transport: asyncio.Transport
        self._desk = desk
        self._others = others
        self._frames = Frames(desk.max_frame)
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self._shown: Shown | None = None
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._paused = False
        self._last: bytes | None = None  # what is said before the connection is closed; None: it goes on
        self._deadline: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    # -- asyncio.Protocol ----------------------------------------------------------------------

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        self.transport = transport
        self._writable.set()
        if len(self._others) >= CONNECTIONS:
            transport.close()
            return
        self._others.add(self)
        loop = asyncio.get_running_loop()
        if not self._desk.gate.open:
            self._deadline = loop.call_later(GREETING_SECONDS, transport.abort)
        self._task = loop.create_task(self._serve())

    def connection_lost(self, exc: Exception | None) -> None:
        self._others.discard(self)
        self._greeted()
        if self._task is not None:
            self._task.cancel()

    def data_received(self, data: bytes) -> None:
        try:
            found = self._frames.feed(data)
        except PeerError as error:
            self._end(MSGPACK.encode(failure(413, error.message)))
            return
        if found:
            self._waiting.extend(found)
            self._bytes += sum(map(len, found))
            self._arrived.set()
            self._read_on()

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def finish(self) -> asyncio.Task[None] | None:
        """Answer what is here, then close."""
        self._end(b"")
        return self._task

    # -- the task of the connection ------------------------------------------------------------

    async def _serve(self) -> None:
        try:
            while not self.transport.is_closing():
                await self._arrived.wait()
                while self._waiting:
                    self.transport.write(await self._turn())
                    await self._taken_up()
                self._arrived.clear()
                if self._last is not None:
                    self.transport.write(framed(self._last) if self._last else b"")
                    self.transport.close()
        except TimeoutError:
            self.transport.abort()
        except Exception as error:
            # A defect: its text could quote what was asked, so only its kind is logged.
            log.error("a pipelined connection failed: %s", type(error).__name__)
            self.transport.abort()

    async def _taken_up(self) -> None:
        """Wait until the client has taken most of what it was told. Raises TimeoutError."""
        if not self._writable.is_set():
            async with asyncio.timeout(STALLED_SECONDS):
                await self._writable.wait()

    async def _turn(self) -> bytes:
        """The answers to frames that wait, in order, all of them recorded."""
        turn = _Turn(self._desk.port.now())
        for frame in self._next():
            answer = self._answer(frame, turn)
            turn.answers.append(answer if isinstance(answer, bytes) else await self._many(answer, turn))
        turn.note()
        if turn.records:
            try:
                await self._desk.recorder.record(turn.records)
            except Unavailable as error:
                log.error("decisions cannot be recorded: %s", error)
                said = MSGPACK.encode(failure(503, "the decision cannot be recorded"))
                return framed(said) * len(turn.answers)
        self._desk.count(turn.given)
        return b"".join(map(framed, turn.answers))

    def _next(self) -> Iterator[bytes]:
        """Frames that wait, for as long as a turn lasts."""
        clock = asyncio.get_running_loop().time
        until = clock() + TURN
        taken = 0
        while self._waiting and taken < MOST_TOGETHER and (taken == 0 or clock() < until):
            frame = self._waiting.popleft()
            self._bytes -= len(frame)
            taken += 1
            yield frame
        self._read_on()

    def _answer(self, frame: bytes, turn: _Turn) -> bytes | Batch:
        """The answer to a frame, or the batch that is to be answered."""
        try:
            return self._said(frame, turn)
        except SpirError as error:
            status = _status(error)
            if status in (401, 403):
                self._end(b"")
            turn.refused(self._desk.permission, status)
            return MSGPACK.encode(failure(status, error.message))

    def _said(self, frame: bytes, turn: _Turn) -> bytes | Batch:
        desk = self._desk
        key = digest(MSGPACK, frame)
        found = desk.deciding.remembered(key, turn.now)
        asked = reading.frame(frame) if found is None else found
        if isinstance(asked, Greeting):
            return self._greeting(asked, turn)
        self._admit(turn)
        if isinstance(asked, Batch):
            return asked
        one = desk.deciding.decide(asked, MSGPACK, turn.now, key) if isinstance(asked, Request) else asked
        turn.given.append(one)
        return one.encoded

    async def _many(self, batch: Batch, turn: _Turn) -> bytes:
        several: list[Evaluated] = []
        await paced(self._desk.deciding.many(batch, several))
        turn.given += several
        return MSGPACK.several([one.encoded for one in several])

    # -- who it is -----------------------------------------------------------------------------

    def _greeting(self, greeting: Greeting, turn: _Turn) -> bytes:
        turn.note()
        self._shown = (greeting.bearer.encode(), b"", "")
        turn.peer = ""
        self._admit(turn)
        self._greeted()
        return MSGPACK.encode({"subject": turn.peer})

    def _credentials(self) -> Credentials:
        bearer, _, address = self._shown or (b"", b"", "")
        return Credentials("pdp", address, bearer=bearer.decode())

    def _admit(self, turn: _Turn) -> None:
        """Whoever spoke first may still ask: looked at once a turn. Raises Unauthenticated, Forbidden."""
        if turn.peer:
            return
        gate = self._desk.gate
        if gate.open:
            turn.peer = ANYBODY.id
        elif self._shown is None:
            raise Unauthenticated("nobody has said who speaks", hint="send a map with `bearer` first")
        else:
            turn.peer = gate.admit(self._shown, self._credentials, self._desk.permission, turn.now).id

    def _greeted(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    # -- reading and ending --------------------------------------------------------------------

    def _read_on(self) -> None:
        """Read no more while much waits."""
        much = len(self._waiting) >= MOST_WAITING or self._bytes >= MOST_WAITING_BYTES
        if much and not self._paused:
            self.transport.pause_reading()
        elif self._paused and not much and self._last is None and not self.transport.is_closing():
            self.transport.resume_reading()
        self._paused = much

    def _end(self, last: bytes) -> None:
        """Read nothing more, answer what is here, say `last`, and close."""
        if self._last is None:
            self._last = last
            if not self.transport.is_closing():
                self.transport.pause_reading()
        self._arrived.set()


def _status(error: SpirError) -> int:
    match error:
        case Refused():
            return error.status
        case Unauthenticated():
            return 401
        case RequestError():
            return 400
        case _:
            return 503


class PipelinedServer:
    """The endpoint on one Unix socket."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self._connections: set[Connection] = set()
        self._server: asyncio.Server | None = None
        self._path = ""

    async def start(self, path: str, mode: int) -> None:
        """Take the path and serve. Raises OSError."""
        bound = bind_unix(path, mode)
        self._path = path
        loop = asyncio.get_running_loop()
        self._server = await loop.create_unix_server(lambda: Connection(self._desk, self._connections), sock=bound)

    async def stop(self, patience: float = 5.0) -> None:
        """What has arrived is answered, for a while."""
        if self._server is None:
            return
        self._server.close()
        self._server = None
        tasks = [task for one in list(self._connections) if (task := one.finish()) is not None]
        if tasks:
            await asyncio.wait(tasks, timeout=patience)
        for one in list(self._connections):
            one.transport.abort()
        Path(self._path).unlink(missing_ok=True)
