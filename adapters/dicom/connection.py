"""SHELL: one association over one socket, for coroutines (PS3.8 9.1, 9.2).

Message by message::

    event = await connection.next()           # CommandArrived, DataFragment, ReleaseRequest, ...
    connection.send(context, response, data)  # one write: command and data set
    await connection.drain()

Bulk: `await source.relay_data(target, context)` passes the rest of a data set on as it arrives, in the
protocol's callback, with back-pressure and without a task for each fragment (see `relay`).

What ends an association (abort, violation, loss, a deadline) is raised by `next` and `drain` as
AssociationEnded. Bounds, deadlines and the socket are `channel`'s.
"""

from __future__ import annotations

import asyncio
import contextlib

from adapters.dicom.association import AssociationError, PeerSilent, State
from adapters.dicom.channel import Arrival, AssociationEnded, Channel
from adapters.dicom.deadlines import Limits
from adapters.dicom.dimse import (
    IDENTIFIER_MAX,
    Command,
    DataCollector,
    DataFragment,
    DimseError,
    encode_command,
)
from adapters.dicom.framing import fragment_pdus, message_pdus
from adapters.dicom.item import AbortReason, AbortSource
from adapters.dicom.pdu import (
    Abort,
    AssociateAccept,
    AssociateReject,
    ReleaseReply,
    ReleaseRequest,
)
from adapters.dicom.relay import Relay
from spir.errors import PeerError

__all__ = ["Arrival", "AssociationEnded", "Connection", "Limits", "PeerSilent", "either"]


class Connection(Channel):
    """An association as its user speaks on it. Made by `transport.Listener` and `requestor.connect`."""

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
        """Write more of a data set. Pieces may be odd: the fragments stay even, unless
        they have to be `exact`, as another peer made them."""
        self.association.send()
        data = data if exact else self._even(data, last)
        if data or last:
            self._write(b"".join(fragment_pdus(context, data, self.association.send_max, last=last)))

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


async def either(*connections: Connection, timeout: float | None = None) -> Connection:
    """Wait for the first of `connections` to be `ready`; one future for all of them, no task.

    Raises PeerSilent after `timeout` seconds (default: the first one's `idle`). One coroutine at a
    time may wait on a connection.
    """
    seconds = connections[0].limits.idle if timeout is None else timeout
    while True:
        for connection in connections:
            if connection.ready:
                return connection
        await _spoken(connections, seconds)


async def _spoken(connections: tuple[Connection, ...], seconds: float) -> None:
    """Wait until something has happened on one of them."""
    loop = asyncio.get_running_loop()
    waiter: asyncio.Future[None] = loop.create_future()
    timer = loop.call_later(seconds, _give_up, waiter, seconds)
    for connection in connections:
        connection._waiter = waiter
    try:
        await waiter
    finally:
        timer.cancel()
        for connection in connections:
            connection._waiter = None


def _give_up(waiter: asyncio.Future[None], seconds: float) -> None:
    if not waiter.done():
        waiter.set_exception(PeerSilent(f"the peer said nothing for {seconds:g} seconds"))
