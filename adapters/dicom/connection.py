"""SHELL: one association over one socket, for coroutines (PS3.8 9.1, 9.2).

Message by message::

    event = await connection.next()           # CommandArrived, DataFragment, ReleaseRequest, ...
    connection.send(context, response, data)  # one write: command and data set
    await connection.drain()

Bulk: `await source.relay_data(target, context)` passes the rest of a data set on as it arrives, in the
protocol's callback, with back-pressure and without a task for each fragment (see `relay`).

What ends an association (abort, violation, loss, a deadline) is raised by `next` and `drain` as
AssociationEnded. TCP_NODELAY is always set, TCP_QUICKACK after every read: stock peers write a
response in two pieces with Nagle's algorithm on, and would wait 40 ms for a delayed acknowledgement.

Memory is bounded: events not yet taken count against `Limits.queue`, beyond which neither the socket
is read nor what was read is parsed. The deadline of a PDU is absolute, however it drips.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Iterator
from typing import TypeAlias, cast

from adapters.dicom.association import (
    Association,
    AssociationError,
    Closed,
    Event,
    PeerSilent,
    Refused,
    State,
    Violation,
)
from adapters.dicom.deadlines import Deadline, Deadlines, Limits
from adapters.dicom.dimse import (
    IDENTIFIER_MAX,
    Command,
    CommandArrived,
    DataCollector,
    DataFragment,
    DimseError,
    MessageAssembler,
    encode_command,
)
from adapters.dicom.framing import Frame, Through, fragment_pdus, message_pdus, pdvs
from adapters.dicom.item import AbortReason, AbortSource, PduError
from adapters.dicom.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    ReleaseReply,
    ReleaseRequest,
)
from adapters.dicom.relay import Relay
from spir.errors import PeerError

__all__ = ["Arrival", "AssociationEnded", "Connection", "Limits", "PeerSilent", "either"]

Arrival: TypeAlias = (
    AssociateRequest | AssociateAccept | AssociateReject | CommandArrived | DataFragment | ReleaseRequest | ReleaseReply
)
Cause: TypeAlias = Abort | Violation | Refused | Closed

_ACKNOWLEDGED_ANYWAY = 64 * 1024  # a read this large moves the window, which the kernel tells at once
_EVENT_WEIGHT = 256  # bytes an event weighs beside its data, so that floods of tiny ones count too


class AssociationEnded(PeerError):
    """The association is over; `cause` says how, None where we ended it. `connection` is the one."""

    def __init__(self, message: str, connection: Connection, cause: Cause | None = None) -> None:
        super().__init__(message)
        self.connection = connection
        self.cause = cause


class Connection(asyncio.Protocol):
    """An association and its socket. Made by `transport.Listener` and `requestor.connect`.

    `address` is the peer's IP address, `certificate` its TLS certificate in DER (empty without one).
    """

    def __init__(self, association: Association, sock: socket.socket, limits: Limits) -> None:
        self.association = association
        self.limits = limits
        self.address = ""
        self.certificate = b""
        self._socket = sock
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.Transport | None = None
        self._closed: asyncio.Future[None] = self._loop.create_future()
        self._assembler = MessageAssembler()
        self._queue: deque[Arrival] = deque()
        self._weight = 0
        self._parsing: Iterator[Event] | None = None
        self._unparsed: deque[bytes] = deque()
        self._reading = True
        self._ended: AssociationEnded | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._choked = False
        self._unchoked: asyncio.Future[None] | None = None
        self._odd = b""
        self._torn = False  # a PDU was begun by a relay and not finished
        self._outgoing: Relay | None = None  # that takes what comes here
        self._incoming: Connection | None = None  # whose relay writes here
        self._deadlines = Deadlines(association, limits, self._expire)

    # -- the conversation

    async def next(self, timeout: float | None = None) -> Arrival:
        """The next event. Raises AssociationEnded, or PeerSilent after `timeout` (default `idle`)."""
        if not self.ready:
            await either(self, timeout=timeout)
        event = self.poll()
        assert event is not None
        return event

    def poll(self) -> Arrival | None:
        """The next event, if it is there. Raises AssociationEnded."""
        if self._queue:
            return self._take()
        if self._ended is not None:
            raise self._ending()
        return None

    @property
    def ready(self) -> bool:
        """Whether `next` would return or raise at once."""
        return bool(self._queue) or self._ended is not None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come than what is queued, and nothing can be sent."""
        return self._ended is not None

    async def next_fragment(self) -> DataFragment:
        """The next fragment of the data set that is arriving. Raises DimseError for anything else."""
        event = await self.next(self.limits.stall)
        if not isinstance(event, DataFragment):
            error = DimseError("a data set was not sent to its end")
            self._violate(error)
            raise error
        return event

    async def read_data(self, limit: int = IDENTIFIER_MAX) -> bytes:
        """The rest of the data set that is arriving, whole. Raises DimseError beyond `limit` bytes."""
        collector = DataCollector(limit)
        while True:
            fragment = await self.next_fragment()
            try:
                whole = collector.add(fragment)
            except DimseError as error:
                self._violate(error)
                raise
            if whole is not None:
                return whole

    async def skip_data(self) -> None:
        """Let the rest of the data set that is arriving go by, if one is."""
        while self._data_context():
            if (await self.next_fragment()).last:
                return

    async def relay_data(self, target: Connection, context: int) -> int:
        """Pass the rest of the data set that is arriving on to `target`, on its `context`; its size.

        Its command must have been sent. Raises AssociationEnded or PeerSilent. If the target is the
        one that ended (`error.connection`), this side goes on, and `skip_data` lets the rest go by. If it
        is not, the target must be aborted: it has a part of a message.
        """
        here = self._data_context()
        if not here:
            raise AssociationError("no data set is arriving that could be relayed")
        relay = Relay(target, context, here)
        while not relay.done and self._queue:
            relay.take(await self.next_fragment())
            await target.drain()
        if relay.done:
            return await relay.finish(0.0)
        if relay.through:
            self.association.let_through(context, target.association.send_max)
        self._outgoing, target._incoming = relay, self
        self._settle()
        try:
            return await relay.finish(self.limits.stall)
        finally:
            self._outgoing = target._incoming = None
            self.association.hold_back()
            self._settle()

    def _data_context(self) -> int:
        """The context of the data set whose next fragment is to be taken or to arrive; 0 if there is none."""
        if not self._queue:
            return self._assembler.data_context
        first = self._queue[0]
        return first.context if isinstance(first, DataFragment) else 0

    def send(
        self, context: int, command: Command, data: bytes | memoryview | None = None, *, last: bool = True
    ) -> None:
        """Write a message, as one write. With `last` false, `send_data` goes on with the data set."""
        self.association.send()
        if data is not None:
            data = self._even(data, last)
        self._write(message_pdus(context, encode_command(command), data, self.association.send_max, last=last))

    def send_data(self, context: int, data: bytes | memoryview, *, last: bool, exact: bool = False) -> None:
        """Write more of a data set. Pieces may be odd: the fragments stay even (PS3.8 Annex E), unless
        they have to be `exact`, as another peer made them."""
        self.association.send()
        data = data if exact else self._even(data, last)
        if data or last:
            self._write(b"".join(fragment_pdus(context, data, self.association.send_max, last=last)))

    @property
    def choked(self) -> bool:
        """Whether the peer reads more slowly than we write: time to `drain`."""
        return self._choked and self._ended is None

    async def drain(self) -> None:
        """Wait until the peer has read enough. Raises PeerSilent after `stall`, AssociationEnded."""
        if self._ended is not None and self._ended.cause is not None:
            raise self._ending()
        if not self.choked:
            return
        if self._unchoked is None or self._unchoked.done():
            self._unchoked = self._loop.create_future()
        done, _ = await asyncio.wait((self._unchoked,), timeout=self.limits.stall)
        if not done:
            raise PeerSilent("the peer leaves what we sent unread", hint="see whether it is overloaded")
        if self._ended is not None and self._ended.cause is not None:
            raise self._ending()

    # -- the association

    def accept(self, accept: AssociateAccept) -> None:
        """Establish the association. Raises AssociationError if the peer is gone, PduError if `accept`
        does not answer its request."""
        self._write(self.association.accept(accept))
        self._assembler.contexts = self.association.contexts
        self._settle()

    def reject(self, reject: AssociateReject) -> None:
        self._write(self.association.reject(reject))
        self._end("the association was rejected by us")

    def reply_release(self) -> None:
        """Answer a ReleaseRequest. The peer closes the connection then."""
        self._write(self.association.reply_release())
        self._end("the association was released")

    async def release(self, timeout: float | None = None) -> None:
        """Release, letting go by what still comes, and close. Where the peer does not agree within
        `timeout` seconds (default `artim`), abort."""
        association = self.association
        try:
            self._write(association.release())
            async with asyncio.timeout(self.limits.artim if timeout is None else timeout):
                while not isinstance(event := await self.next(), ReleaseReply):
                    if isinstance(event, ReleaseRequest) and association.is_requestor:
                        self._write(association.reply_release())
            if association.state is State.COLLISION_ACCEPTOR_REPLIES:
                self._write(association.reply_release())
        except (PeerError, TimeoutError):
            self.abort()
        self.close()

    def abort(self, source: int = AbortSource.SERVICE_USER, reason: int = AbortReason.NOT_SPECIFIED) -> None:
        """Send an A-ABORT, if there is an association to abort."""
        with contextlib.suppress(AssociationError):  # over already: nobody to tell
            self._write(self.association.abort(source, reason))
        self._end("the association was aborted by us", Abort(source, reason))

    def close(self) -> None:
        """Close the socket once what was written is sent, or after `artim`."""
        self._end("the connection was closed by us")
        self._shut()

    def _shut(self) -> None:
        if self._transport is not None and not self._transport.is_closing():
            self._transport.close()
            self._deadlines.kill_later()

    def kill(self) -> None:
        """Close the socket now, whatever was to be sent."""
        self._end("the connection was closed by us", Closed())
        if self._transport is None:
            self._socket.close()
        else:
            self._transport.abort()

    async def wait_closed(self, timeout: float) -> None:
        """Wait until the socket is closed; after `timeout` seconds kill it."""
        if self._transport is not None:
            await asyncio.wait((self._closed,), timeout=timeout)
        if not self._closed.done():
            self.kill()

    # -- callbacks of the event loop

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(high=self.limits.write)
        peer = transport.get_extra_info("peername")
        self.address = str(peer[0]) if peer else ""
        tls = transport.get_extra_info("ssl_object")
        self.certificate = (tls.getpeercert(binary_form=True) or b"") if tls else b""
        if self.association.is_requestor:
            self._write(self.association.connected())
        self._settle()

    def data_received(self, data: bytes) -> None:
        if len(data) < _ACKNOWLEDGED_ANYWAY:
            _acknowledge(self._socket)
        if self._parsing is not None:
            self._unparsed.append(data)
            return
        self._parsing = self.association.receive(data)
        self._parse()

    def connection_lost(self, error: Exception | None) -> None:
        self._end("the peer closed the connection", self.association.transport_closed())
        self._deadlines.cancel()
        if not self._closed.done():
            self._closed.set_result(None)

    def pause_writing(self) -> None:
        self._choked = True

    def resume_writing(self) -> None:
        self._choked = False
        self._wake_writers()

    # -- reading

    def _parse(self) -> None:
        """Turn what was read into events until they weigh too much."""
        while self._parsing is not None and self._weight < self.limits.queue:
            event = next(self._parsing, None)
            if event is not None:
                self._handle(event)
            else:
                self._parsing = self.association.receive(self._unparsed.popleft()) if self._unparsed else None
        self._settle()

    def _handle(self, event: Event) -> None:
        match event:
            case Frame():
                self._handle_data(event)
            case Through():
                self._handle_through(event)
            case Violation(error, reply):
                self._write(reply)
                self._end(f"the peer broke the protocol: {error}", event)
            case Refused(_, reply):
                self._write(reply)
                self._end("the peer asked for an association of another protocol", event)
            case Abort():
                self._end("the peer aborted the association", event)
            case Closed():
                self._end("the peer closed the connection", event)
            case _:
                self._assembler.contexts = self.association.contexts
                self._put(event)

    def _handle_data(self, frame: Frame) -> None:
        relay = self._outgoing
        try:
            for value in pdvs(frame.body):
                event = self._assembler.feed(value)
                if relay is not None and not relay.done and isinstance(event, DataFragment):
                    relay.take(event)
                elif event is not None:
                    self._put(event)
        except PduError as error:
            self._violate(error)

    def _handle_through(self, piece: Through) -> None:
        """Bytes for the relay; if that has failed meanwhile, they go by, as fragments of nothing."""
        relay, context = self._outgoing, self._assembler.data_context
        if piece.last:
            self._assembler.finish_data()
        if relay is not None and not relay.done:
            relay.take_through(piece)
        elif context:
            self._put(DataFragment(context, piece.raw[:0], piece.last))

    def _violate(self, error: PduError) -> None:
        """A violation that the state machine cannot see: of messages, or of time."""
        violation = self.association.violate(error)
        if violation is not None:
            self._handle(violation)

    def _put(self, event: Arrival) -> None:
        self._queue.append(event)
        self._weight += _weight(event)
        self._wake()

    def _take(self) -> Arrival:
        event = self._queue.popleft()
        self._weight -= _weight(event)
        if self._parsing is not None and self._weight < self.limits.queue // 2:
            self._parse()
        return event

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _end(self, message: str, cause: Cause | None = None) -> None:
        if self._ended is None:
            self._ended = AssociationEnded(message, self, cause)
        self._wake()
        self._wake_writers()
        for connection in (self, self._incoming):
            if connection is not None and connection._outgoing is not None:
                connection._outgoing.fail(self._ending())
        self._settle()

    def _ending(self) -> AssociationEnded:
        """A fresh error each time it is raised, so that no traceback grows."""
        assert self._ended is not None
        return AssociationEnded(self._ended.message, self, self._ended.cause)

    # -- writing

    def _write(self, data: bytes | memoryview) -> None:
        if self._transport is None or not data:
            return
        if self._torn:
            self._transport.abort()  # anything more would be read as part of the unfinished PDU
        else:
            self._transport.write(data)

    def write_through(self, raw: memoryview, unfinished: bool) -> None:
        """Write PDUs as they are; `unfinished` if they end within one."""
        if self._transport is not None:
            self._torn = unfinished
            self._transport.write(raw)

    def _even(self, data: bytes | memoryview, last: bool) -> bytes | memoryview:
        """`data` after the byte left over from before it; an odd byte too many is left for later."""
        if self._odd:
            data, self._odd = self._odd + bytes(data), b""
        if not last and len(data) % 2:
            data, self._odd = data[:-1], bytes(data[-1:])
        return data

    @property
    def aligned(self) -> bool:
        """Whether no odd byte waits to be sent."""
        return not self._odd

    def _wake_writers(self) -> None:
        if self._unchoked is not None and not self._unchoked.done():
            self._unchoked.set_result(None)
        if self._incoming is not None:
            self._incoming._settle()

    # -- the socket and the clock

    def _settle(self) -> None:
        """Bring the socket and the deadlines in line with the association and the queue."""
        transport = self._transport
        if transport is None:
            return
        if self.association.closing:
            self._shut()
        relay = self._outgoing
        reading = self._parsing is None and (relay is None or relay.done or not relay.target.choked)
        if reading != self._reading and not transport.is_closing():
            self._reading = reading
            if reading:
                transport.resume_reading()
            else:
                transport.pause_reading()
        self._deadlines.settle(reading)

    def _expire(self, overdue: Deadline) -> None:
        """A deadline has passed: of a PDU, or of the whole connection."""
        if overdue is Deadline.PDU:
            self._violate(PduError("a PDU was not sent to its end in time", AbortReason.NOT_SPECIFIED))
            return
        if overdue is Deadline.ARTIM and self.association.artim:
            self.association.artim_expired()
            self._end("the peer did not do in time what had to come next", Closed())
        self.kill()


async def either(*connections: Connection, timeout: float | None = None) -> Connection:
    """Wait for the first of `connections` to be `ready`; one future for all of them, no task.

    Raises PeerSilent after `timeout` seconds (default: the first one's `idle`). One coroutine at a
    time may wait on a connection.
    """
    loop = asyncio.get_running_loop()
    seconds = connections[0].limits.idle if timeout is None else timeout
    waiter: asyncio.Future[None] = loop.create_future()
    for connection in connections:
        if connection.ready:
            return connection
        connection._waiter = waiter
    timer = loop.call_later(seconds, _give_up, waiter, seconds)
    try:
        await waiter
    finally:
        timer.cancel()
        for connection in connections:
            connection._waiter = None
    return next(connection for connection in connections if connection.ready)


def _give_up(waiter: asyncio.Future[None], seconds: float) -> None:
    if not waiter.done():
        waiter.set_exception(PeerSilent(f"the peer said nothing for {seconds:g} seconds"))


def _weight(event: Arrival) -> int:
    return _EVENT_WEIGHT + (len(event.fragment) if isinstance(event, DataFragment) else 0)


def _acknowledge(sock: socket.socket) -> None:
    """Acknowledge at once what was read: the option is not sticky (Linux only)."""
    if _QUICKACK is not None:
        with contextlib.suppress(OSError):  # the socket is closed already
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
