"""One MLLP connection (SHELL): bytes become frames, frames are handled one after the other, answers go back in order.

What a peer can make us hold is bounded: when too much waits to be handled we
stop reading, and TCP slows the sender down. A frame must be complete in time,
counted from its first byte, so that dripping bytes buys no time. What has been
received whole is handled even if its sender has gone: it may be a discharge.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol, cast

from adapters.hl7v2.mllp import FRAME_LIMIT, JUNK_LIMIT, Framer, encode
from adapters.hl7v2.source import Source

__all__ = ["Bounds", "Connection", "Owner"]

_QUICKACK = getattr(socket, "TCP_QUICKACK", None)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What one connection may cost. Times in seconds, sizes in bytes.

    `frame_time` runs from a frame's first byte to its last; `idle_time` while
    nothing is under way; `write_time` while the peer reads none of its answers.
    """

    frame_limit: int = FRAME_LIMIT
    junk_limit: int = JUNK_LIMIT
    lenient: bool = False
    waiting: int = 64
    waiting_bytes: int = 4 * 1024 * 1024
    frame_time: float = 30.0
    idle_time: float = 3600.0
    write_time: float = 30.0


class Owner(Protocol):
    """The listener as its connections see it."""

    @property
    def bounds(self) -> Bounds: ...

    def opened(self, connection: Connection, address: str, certificate: bytes) -> tuple[Source, ...]:
        """The sources it may speak for; () refuses it."""
        ...

    def lost(self, connection: Connection) -> None: ...

    def held(self, connection: Connection, change: int) -> bool:
        """Count bytes of unfinished frames, over all connections; False if that is too much."""
        ...

    def broke(self, connection: Connection, why: str) -> None:
        """Put down that a connection is ended because of what its peer did."""
        ...

    async def handle(self, connection: Connection, body: bytes) -> None:
        """Handle one message; answers through `connection.answer`."""
        ...


class Connection(asyncio.Protocol):
    """See the module. `address` is the peer's, `sources` whom it may speak for."""

    def __init__(self, owner: Owner, clock: Callable[[], float]) -> None:
        self.owner = owner
        self.clock = clock
        self.address = ""
        self.certificate = b""
        self.sources: tuple[Source, ...] = ()
        self.task: asyncio.Task[None] | None = None
        bounds = owner.bounds
        self._framer = Framer(bounds.frame_limit, bounds.junk_limit, bounds.lenient)
        self._transport: asyncio.Transport | None = None
        self._socket: Any = None
        self._frames: deque[bytes] = deque()
        self._size = 0
        self._pending = 0
        self._since = clock()
        self._working = False
        self._paused = False
        self._ended = False
        self._arrived = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    # -- what asyncio tells us ---------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = whole = cast(asyncio.Transport, transport)  # uvloop's is one, without inheriting from it
        peer = whole.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        tls = whole.get_extra_info("ssl_object")
        self.certificate = (tls.getpeercert(binary_form=True) or b"") if tls is not None else b""
        self.sources = self.owner.opened(self, self.address, self.certificate)
        if not self.sources:
            self._ended = True
            whole.abort()
            return
        self._socket = whole.get_extra_info("socket")
        self._set(socket.TCP_NODELAY)
        self._acknowledge_quickly()
        self.task = asyncio.get_running_loop().create_task(self._work())

    def data_received(self, data: bytes) -> None:
        if self._ended:
            return
        was_inside = self._framer.inside
        frames = self._framer.feed(data)
        self._acknowledge_quickly()
        if frames or (not was_inside and self._framer.inside):
            self._since = self.clock()
        self._frames.extend(frames)
        self._size += sum(map(len, frames))
        self._account()
        if self._framer.broken is not None:
            self._break(self._framer.broken.message)
        elif len(self._frames) >= self.owner.bounds.waiting or self._size >= self.owner.bounds.waiting_bytes:
            self._pause()
        if frames:
            self._arrived.set()

    def eof_received(self) -> bool:
        """The peer has said all; what it said is answered before we hang up."""
        self.finish()
        return self._socket is not None and self._plain

    def connection_lost(self, error: Exception | None) -> None:
        self._transport = None
        self._writable.set()
        self.finish()
        self._account(gone=True)
        self.owner.lost(self)

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    # -- what the listener does with it ------------------------------------------------------

    def answer(self, message: bytes) -> None:
        """Send one message; nothing if the peer has gone."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(encode(message))

    def finish(self) -> None:
        """Take nothing more; close when what is here has been handled."""
        self._ended = True
        self._arrived.set()

    def abort(self) -> None:
        """Hang up now."""
        if self._transport is not None:
            self._transport.abort()

    def overdue(self, now: float) -> str:
        """Why it should be ended by now; "" if it should not."""
        bounds = self.owner.bounds
        if self._working or self._frames or self._paused or self._ended:
            return ""
        if self._framer.inside:
            return "frame-timeout" if now - self._since > bounds.frame_time else ""
        return "idle" if now - self._since > bounds.idle_time else ""

    def expire(self, why: str) -> None:
        """End it because it is overdue. Being idle is no offence."""
        if why == "idle":
            self.finish()
        else:
            self._break(why)

    # -- the work ----------------------------------------------------------------------------

    async def _work(self) -> None:
        try:
            while await self._waited():
                body = self._frames.popleft()
                self._size -= len(body)
                self._working = True
                await self.owner.handle(self, body)
                await self._drained()
                self._working = False
                self._since = self.clock()
                self._resume()
        finally:
            if self._transport is not None:
                self._transport.close()

    async def _waited(self) -> bool:
        """Whether there is a frame to handle; False when there will be none."""
        while not self._frames:
            if self._ended:
                return False
            self._arrived.clear()
            await self._arrived.wait()
        return True

    async def _drained(self) -> None:
        """Wait until the peer reads its answers; give it up if it does not."""
        if self._writable.is_set():
            return
        try:
            await asyncio.wait_for(self._writable.wait(), self.owner.bounds.write_time)
        except TimeoutError:
            self._break("answers-not-read")
            self.abort()

    def _break(self, why: str) -> None:
        if not self._ended:
            self.owner.broke(self, why)
        self.finish()

    def _account(self, gone: bool = False) -> None:
        pending = 0 if gone or self._framer.broken else self._framer.pending
        enough = self.owner.held(self, pending - self._pending)
        self._pending = pending
        if not enough and not gone and pending:
            self._break("too much is being received")
            self.abort()

    def _pause(self) -> None:
        if not self._paused and self._transport is not None:
            self._paused = True
            self._transport.pause_reading()

    def _resume(self) -> None:
        """Read on when half of what waited is done."""
        bounds = self.owner.bounds
        few = len(self._frames) <= bounds.waiting // 2 and self._size <= bounds.waiting_bytes // 2
        if self._paused and few and self._transport is not None and not self._transport.is_closing():
            self._paused = False
            self._since = self.clock()
            self._transport.resume_reading()

    @property
    def _plain(self) -> bool:
        """Whether this is TCP without TLS, where one direction can end before the other."""
        return self._transport is not None and self._transport.get_extra_info("ssl_object") is None

    def _acknowledge_quickly(self) -> None:
        """Ask TCP not to delay its acknowledgement: Linux forgets this after a while, so it is asked again."""
        if _QUICKACK is not None:
            self._set(_QUICKACK)

    def _set(self, option: int) -> None:
        with contextlib.suppress(OSError, AttributeError):  # a peer that has just gone; a socket that is none
            self._socket.setsockopt(socket.IPPROTO_TCP, option, 1)
