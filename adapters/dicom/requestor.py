"""SHELL: opening an association to a peer, and a small client for C-ECHO and C-FIND.

`await connect(host, port, request, tls=None, timeout=10.0) -> Connection` opens one association.

`PacsClient(config)` asks the peer behind us on our own behalf, to resolve what a client has asked for:
`await client.echo()`; `async for response, identifier in client.find(model, identifier)`. Identifiers
are in implicit VR little endian, which every peer has to accept (PS3.5 10.1). The client keeps one
association, opened when it is needed and again after it was lost; questions wait for one another,
because no more than one operation is outstanding. Everything that goes wrong is a PeerError.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncGenerator
from dataclasses import dataclass, field

from adapters.dicom.association import Association
from adapters.dicom.connection import AssociationEnded, Connection, Limits
from adapters.dicom.dimse import (
    CCancelRq,
    CEchoRq,
    CEchoRsp,
    CFindRq,
    CFindRsp,
    Command,
    CommandArrived,
    is_pending,
)
from adapters.dicom.negotiation import own_user
from adapters.dicom.pdu import (
    AssociateAccept,
    AssociateReject,
    AssociateRequest,
    PresentationContextItem,
)
from spir.errors import PeerError

__all__ = ["AssociationRejected", "PacsClient", "PacsConfig", "StatusError", "connect"]

VERIFICATION = "1.2.840.10008.1.1"
STUDY_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
PATIENT_ROOT_FIND = "1.2.840.10008.5.1.4.1.2.1.1"
IMPLICIT_LITTLE_ENDIAN = "1.2.840.10008.1.2"
_SUCCESS, _CANCELLED = 0x0000, 0xFE00


class AssociationRejected(PeerError):
    """The peer rejected the association; `reject` says why."""

    def __init__(self, reject: AssociateReject) -> None:
        why = f"result {reject.result}, source {reject.source}, reason {reject.reason}"
        super().__init__(f"the peer rejected the association: {why}", clause="PS3.8 Table 9-21")
        self.reject = reject


class StatusError(PeerError):
    """The peer answered an operation with a `status` that is a failure."""

    def __init__(self, operation: str, status: int) -> None:
        super().__init__(f"the peer answered {operation} with status 0x{status:04X}", clause="PS3.7 C")
        self.status = status


async def connect(
    host: str,
    port: int,
    request: AssociateRequest,
    *,
    tls: ssl.SSLContext | None = None,
    timeout: float = 10.0,
    limits: Limits | None = None,
) -> Connection:
    """An established association; its `association` knows the contexts and the peer's answer.

    `timeout`, in seconds, is for all of it. Raises AssociationRejected, or another PeerError.
    """
    connection: Connection | None = None
    try:
        async with asyncio.timeout(timeout):
            sock = await _open(host, port)
            connection = Connection(Association.requestor(request), sock, limits or Limits())
            loop, made = asyncio.get_running_loop(), connection
            await loop.create_connection(lambda: made, sock=sock, ssl=tls, server_hostname=host if tls else None)
            answer = await connection.next(timeout)
    except (OSError, TimeoutError) as error:
        _kill(connection)
        raise PeerError(
            f"no association with {host}:{port}: {type(error).__name__}",
            hint="check its address, and that it is running",
        ) from error
    except BaseException:
        _kill(connection)
        raise
    if isinstance(answer, AssociateAccept):
        return connection
    _kill(connection)
    raise AssociationRejected(answer) if isinstance(answer, AssociateReject) else PeerError("no association")


def _kill(connection: Connection | None) -> None:
    if connection is not None:
        connection.kill()


async def _open(host: str, port: int) -> socket.socket:
    """A connected socket, by the first address of `host` that answers."""
    loop = asyncio.get_running_loop()
    failure: OSError = OSError("the name has no address")
    for family, kind, protocol, _, address in await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM):
        sock = socket.socket(family, kind, protocol)
        try:
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(sock, address)
        except OSError as error:
            sock.close()
            failure = error
        except BaseException:
            sock.close()
            raise
        else:
            return sock
    raise failure


@dataclass(frozen=True, slots=True)
class PacsConfig:
    """Where the peer is and as whom we ask. `models`: the query models to be negotiated.
    `timeout`: seconds for an association, and for each response."""

    host: str
    port: int
    called: str
    calling: str
    models: tuple[str, ...] = (STUDY_ROOT_FIND, PATIENT_ROOT_FIND)
    timeout: float = 10.0
    limits: Limits = field(default_factory=Limits)

    def request(self) -> AssociateRequest:
        syntaxes = (VERIFICATION, *self.models)
        contexts = (
            PresentationContextItem(2 * index + 1, syntax, (IMPLICIT_LITTLE_ENDIAN,))
            for index, syntax in enumerate(syntaxes)
        )
        return AssociateRequest(self.called, self.calling, tuple(contexts), own_user())


class PacsClient:
    """Asks one peer, over one association that is kept and renewed."""

    def __init__(self, config: PacsConfig, *, tls: ssl.SSLContext | None = None) -> None:
        self._config = config
        self._tls = tls
        self._lock = asyncio.Lock()
        self._connection: Connection | None = None
        self._message_id = 0

    async def echo(self) -> None:
        """Verify that the peer answers (PS3.7 9.1.5). Raises PeerError."""
        async with self._lock:
            connection, _, answer = await self._ask(VERIFICATION, CEchoRq(self._next_id()), None)
            if not isinstance(answer, CEchoRsp):
                raise self._misplaced(connection)
            if answer.status != _SUCCESS:
                raise StatusError("C-ECHO", answer.status)

    async def find(
        self, model: str, identifier: bytes, cancel: asyncio.Event | None = None
    ) -> AsyncGenerator[tuple[CFindRsp, bytes], None]:
        """The pending responses to a C-FIND with their identifiers (PS3.7 9.1.2).

        Setting `cancel` asks the peer to stop; what it still sends comes. Whoever stops iterating
        early should close the iterator (`contextlib.aclosing`): that gives up the association.
        Raises StatusError for a final status that is a failure, PeerError.
        """
        async with self._lock:
            request = CFindRq(self._next_id(), model)
            connection, context, answer = await self._ask(model, request, identifier)
            finished = False
            try:
                while isinstance(answer, CFindRsp) and is_pending(answer.status):
                    data = await connection.read_data() if answer.has_data else b""
                    yield answer, data
                    if cancel is not None and cancel.is_set():
                        connection.send(context, CCancelRq(request.message_id))
                        cancel = None
                    answer = await self._response(connection, request)
                if isinstance(answer, CFindRsp) and answer.has_data:
                    await connection.read_data()
                finished = isinstance(answer, CFindRsp)
            finally:
                if not finished:
                    self._give_up(connection)
        if not isinstance(answer, CFindRsp):
            raise PeerError("the peer answered a C-FIND with another message")
        if answer.status not in (_SUCCESS, _CANCELLED):
            raise StatusError("C-FIND", answer.status)

    async def close(self) -> None:
        """Release the association, if there is one."""
        async with self._lock:
            connection, self._connection = self._connection, None
            if connection is not None and not connection.ended:
                await connection.release()

    # -- inside, with the lock held

    async def _ask(
        self, syntax: str, request: CEchoRq | CFindRq, data: bytes | None
    ) -> tuple[Connection, int, Command]:
        """Send `request` and wait for its first response; once more if a kept association was gone."""
        for kept in (self._usable(), None):
            connection = kept or await self._connect()
            context = self._context(connection, syntax)
            try:
                connection.send(context, request, data)
                return connection, context, await self._response(connection, request)
            except AssociationEnded:
                self._connection = None
                if kept is None:
                    raise
            except BaseException:
                self._give_up(connection)
                raise
        raise PeerError("the peer ends every association before it answers")

    async def _response(self, connection: Connection, request: CEchoRq | CFindRq) -> Command:
        event = await connection.next(self._config.timeout)
        match event:
            case CommandArrived(_, CEchoRsp() | CFindRsp() as answer) if answer.message_id == request.message_id:
                return answer
            case _:
                raise self._misplaced(connection)

    async def _connect(self) -> Connection:
        config = self._config
        self._connection = await connect(
            config.host,
            config.port,
            config.request(),
            tls=self._tls,
            timeout=config.timeout,
            limits=config.limits,
        )
        return self._connection

    def _usable(self) -> Connection | None:
        """The kept association, unless the peer has ended it or wants to."""
        connection = self._connection
        if connection is not None and connection.ready:
            self._give_up(connection)
        return self._connection

    def _context(self, connection: Connection, syntax: str) -> int:
        for context in connection.association.contexts.values():
            if context.abstract_syntax == syntax:
                return context.id
        raise PeerError("the peer does not offer the service that is needed", hint=f"it is {syntax}")

    def _misplaced(self, connection: Connection) -> PeerError:
        self._give_up(connection)
        return PeerError("the peer answered with what does not belong to the question")

    def _give_up(self, connection: Connection) -> None:
        connection.abort()
        connection.close()
        self._connection = None

    def _next_id(self) -> int:
        self._message_id = self._message_id % 0xFFFF + 1
        return self._message_id
