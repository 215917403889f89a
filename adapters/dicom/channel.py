"""SHELL: the socket's side of a connection: bytes to events and back, with bounds and deadlines.

`connection.Connection` is the other side, for coroutines. What is read becomes events in a queue, or
goes straight into a relay. Events not yet taken count against `Limits.queue`, beyond which neither the
socket is read nor what was read is parsed. The deadline of a PDU is absolute, however it drips.

TCP_QUICKACK is set after every read: stock peers write a response in two pieces with Nagle's
algorithm on, and would wait 40 ms for a delayed acknowledgement. (TCP_NODELAY is set where sockets
are made.)
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import deque
from collections.abc import Iterator
from typing import TypeAlias, cast

from adapters.dicom.association import Association, Closed, Event, Refused, Violation
from adapters.dicom.deadlines import Deadline, Deadlines, Limits
from adapters.dicom.dimse import CommandArrived, DataFragment, MessageAssembler
from adapters.dicom.framing import Frame, Through, pdvs
from adapters.dicom.item import AbortReason, PduError
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

__all__ = ["Arrival", "AssociationEnded", "Channel"]

Arrival: TypeAlias = (
    AssociateRequest | AssociateAccept | AssociateReject | CommandArrived | DataFragment | ReleaseRequest | ReleaseReply
)
Cause: TypeAlias = Abort | Violation | Refused | Closed

_ACKNOWLEDGED_ANYWAY = 64 * 1024  # a read this large moves the window, which the kernel tells at once
_SMALL = 4096  # fragments below this are copied, so that few bytes in the queue do not pin a whole read
_EVENT_WEIGHT = 256  # bytes an event weighs beside its data, so that floods of tiny ones count too


class AssociationEnded(PeerError):
    """The association is over; `cause` says how, None where we ended it. `connection` is the one."""

    def __init__(self, message: str, connection: Channel, cause: Cause | None = None) -> None:
        super().__init__(message)
        self.connection = connection
        self.cause = cause


class Channel(asyncio.Protocol):
    """An association and its socket, fed by the event loop.

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
        self._incoming: Channel | None = None  # whose relay writes here
        self._deadlines = Deadlines(association, limits, self._expire)

    @property
    def ready(self) -> bool:
        """Whether `next` would return or raise at once."""
        return bool(self._queue) or self._ended is not None

    @property
    def ended(self) -> bool:
        """Whether nothing more will come than what is queued, and nothing can be sent."""
        return self._ended is not None

    @property
    def choked(self) -> bool:
        """Whether the peer reads more slowly than we write: time to `drain`."""
        return self._choked and self._ended is None

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
                    self._put(_unpinned(event))
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


def _weight(event: Arrival) -> int:
    return _EVENT_WEIGHT + (len(event.fragment) if isinstance(event, DataFragment) else 0)


def _unpinned(event: CommandArrived | DataFragment) -> CommandArrived | DataFragment:
    if isinstance(event, DataFragment) and len(event.fragment) < _SMALL:
        return event._replace(fragment=memoryview(bytes(event.fragment)))
    return event


def _acknowledge(sock: socket.socket) -> None:
    """Acknowledge at once what was read: the option is not sticky (Linux only)."""
    if _QUICKACK is not None:
        with contextlib.suppress(OSError):  # the socket is closed already
            sock.setsockopt(socket.IPPROTO_TCP, _QUICKACK, 1)


_QUICKACK: int | None = getattr(socket, "TCP_QUICKACK", None)
