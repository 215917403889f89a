"""SHELL: the listener for DICOM associations, and the names of `connection` for those who use it.

Public: `Listener(handler, config)`, with `start()`, `port`, `stop()`; `Connection`, `Limits`,
`AssociationEnded`, `PeerSilent`, `either`.

A connection is a stranger until it has sent an association request. Strangers have their own caps,
in total and by address: when one is reached, the oldest of them is dropped, so that a flood of idle
connections cannot keep out a peer that speaks at once. They never count against associations.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
import ssl
import traceback
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeAlias

from adapters.dicom.association import Association, PeerSilent
from adapters.dicom.connection import Arrival, AssociationEnded, Connection, Limits, either
from adapters.dicom.pdu import AssociateRequest, Rejection
from spir.errors import PeerError

__all__ = [
    "Arrival",
    "AssociationEnded",
    "Connection",
    "Handler",
    "Limits",
    "Listener",
    "ListenerConfig",
    "PeerSilent",
    "either",
]

log = logging.getLogger("spir.dicom")

Handler: TypeAlias = Callable[[Connection, AssociateRequest], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class ListenerConfig:
    """`port` 0 takes a free one. The caps are numbers of connections."""

    host: str = "127.0.0.1"
    port: int = 11112
    limits: Limits = field(default_factory=Limits)
    associations: int = 1000
    strangers: int = 256
    strangers_by_address: int = 64
    reuse_port: bool = False


class Listener:
    """Accepts connections and gives each association request to `handler(connection, request)`.

    The handler accepts or rejects, and converses until it returns; what it leaves open is aborted.
    When `associations` are open already, a request is rejected as transient (local limit exceeded).
    """

    def __init__(self, handler: Handler, config: ListenerConfig, *, tls: ssl.SSLContext | None = None) -> None:
        self.port = config.port
        self._handler = handler
        self._config = config
        self._tls = tls
        self._socket: socket.socket | None = None
        self._accepting: asyncio.Task[None] | None = None
        self._strangers: dict[asyncio.Task[None], str] = {}  # by age; the value is the address
        self._by_address: Counter[str] = Counter()
        self._members: set[asyncio.Task[None]] = set()

    @property
    def associations(self) -> int:
        """How many associations are open or being decided on."""
        return len(self._members)

    @property
    def strangers(self) -> int:
        """How many connections have not sent an association request, or linger after their end."""
        return len(self._strangers)

    async def start(self) -> None:
        """Bind and listen. Raises OSError where the address is taken."""
        config = self._config
        family = socket.AF_INET6 if ":" in config.host else socket.AF_INET
        self._socket = socket.create_server(
            (config.host, config.port), family=family, backlog=1024, reuse_port=config.reuse_port
        )
        self._socket.setblocking(False)
        self.port = self._socket.getsockname()[1]
        self._accepting = asyncio.create_task(self._accept(self._socket))

    async def stop(self, grace: float = 5.0) -> None:
        """Listen no more, give associations `grace` seconds to end, abort the others."""
        if self._accepting is None or self._socket is None:
            return
        self._accepting.cancel()
        await asyncio.wait((self._accepting,))
        self._socket.close()
        self._accepting = self._socket = None
        for task in list(self._strangers):
            task.cancel()
        if self._members:
            await asyncio.wait(self._members, timeout=grace)
        for task in (remaining := self._members | set(self._strangers)):
            task.cancel()
        if remaining:
            await asyncio.wait(remaining, timeout=1.0)

    # -- accepting

    async def _accept(self, server: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                sock, peer = await loop.sock_accept(server)
            except OSError as error:
                # No descriptors or memory left, or a peer that was gone before we looked.
                log.warning("a connection could not be accepted: %s", errno.errorcode.get(error.errno or 0, "?"))
                self._drop(None)
                await asyncio.sleep(0.05)
                continue
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._admit(sock, str(peer[0]))

    def _admit(self, sock: socket.socket, address: str) -> None:
        if self._by_address[address] >= self._config.strangers_by_address:
            self._drop(address)
        elif len(self._strangers) >= self._config.strangers:
            self._drop(None)
        self._remember(asyncio.create_task(self._serve(sock, address)), address)

    def _drop(self, address: str | None) -> None:
        """Drop the oldest stranger, of this address or of all."""
        for task, of in self._strangers.items():
            if address is None or of == address:
                self._forget(task)
                task.cancel()
                return

    def _remember(self, task: asyncio.Task[None], address: str) -> None:
        self._strangers[task] = address
        self._by_address[address] += 1
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Task[None]) -> None:
        address = self._strangers.pop(task, None)
        if address is not None:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    # -- one connection

    async def _serve(self, sock: socket.socket, address: str) -> None:
        limits = self._config.limits
        connection = Connection(Association.acceptor(), sock, limits)
        try:
            await asyncio.get_running_loop().connect_accepted_socket(
                lambda: connection, sock, ssl=self._tls, ssl_handshake_timeout=limits.artim if self._tls else None
            )
            request = await connection.next(limits.artim)
            assert isinstance(request, AssociateRequest)  # the table lets nothing else come first
            await self._converse(connection, request, address)
            await connection.wait_closed(limits.artim)
        except (PeerError, OSError) as error:
            log.debug("a connection ended before its association: %s", type(error).__name__)
            await connection.wait_closed(limits.artim)
        finally:
            connection.kill()

    async def _converse(self, connection: Connection, request: AssociateRequest, address: str) -> None:
        if len(self._members) >= self._config.associations:
            connection.reject(Rejection.LOCAL_LIMIT)
            return
        task = asyncio.current_task()
        assert task is not None
        self._forget(task)
        self._members.add(task)
        try:
            await self._handler(connection, request)
        except PeerError as error:
            log.info("an association ended early: %s", type(error).__name__)
        except Exception as error:
            # The text of a foreign error may hold what a patient's data set held: only its kind and place.
            place = traceback.extract_tb(error.__traceback__)[-1]
            log.error("an association failed: %s in %s:%s", type(error).__name__, place.name, place.lineno)
        finally:
            self._members.discard(task)
            self._remember(task, address)
            if not connection.ended:
                connection.abort()
