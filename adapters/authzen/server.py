"""SHELL: the HTTP server under the decision point: uvicorn with httptools, on a port or on a Unix socket.

Beside what uvicorn does it bounds heads, the time that a request may take to
arrive, and the number of connections; says in our words what it cannot read;
and hands the client's certificate to the application. What it adds costs next
to nothing per request: one clock of the server's watches all connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any, ClassVar

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

__all__ = ["CERTIFICATE", "UNIX", "HttpServer", "bind_unix"]

# Keys of the scope's state: DER of the verified client certificate; True on a Unix socket.
CERTIFICATE = "spir.certificate"
UNIX = "spir.unix"

MAX_HEAD = 32 * 1024  # bytes of the URL and all headers; what comes in one piece may be as long as one reading
MAX_HEADERS = 100
ARRIVAL_SECONDS = 15.0  # for a head and its body
STALLED_SECONDS = 30.0  # for a client to take its answer
KEEP_ALIVE_SECONDS = 75
CONNECTIONS = 1000

_ANSWER = (b"HTTP/1.1 2", b"HTTP/1.1 4", b"HTTP/1.1 5")  # how the head of one begins; 100 Continue is none

# status -> a whole response, for what never became a request
Plain = Callable[[int], bytes]


class _OneWrite:
    """A transport that sends the head of an answer together with its body: uvicorn would write each by itself.

    Everything else is the transport's own business.
    """

    __slots__ = ("_held", "_transport")

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self._held = b""

    def write(self, data: bytes) -> None:
        if self._held:
            data, self._held = self._held + data, b""
        elif data.startswith(_ANSWER):
            self._held = data
            return
        self._transport.write(data)

    def flush(self) -> None:
        """An answer without a body is over."""
        if self._held:
            self._transport.write(self._held)
            self._held = b""

    def close(self) -> None:
        self.flush()
        self._transport.close()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with bounds. `plain` is set by the server that uses it."""

    plain: ClassVar[Plain]

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = self._one_write = _OneWrite(transport)  # type: ignore[assignment]
        # INVARIANT: uvicorn turns its access log on wherever the root logger has a handler.
        self.access_log = False
        tls = transport.get_extra_info("ssl_object")
        self._certificate: bytes = (tls.getpeercert(True) if tls is not None else None) or b""
        self._head = 0
        self._in_head = True
        self._since: float | None = self.loop.time()
        self._stalled: float | None = None
        if len(self.connections) > CONNECTIONS:
            self._refuse(503)

    def data_received(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        # the parser gathers a header until it is complete, however long it is
        if self._in_head and self._head > MAX_HEAD and not self.transport.is_closing():
            self._refuse(431)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head = True
        self._head = 0
        self._since = self.loop.time()
        if self._certificate:
            self.scope["state"][CERTIFICATE] = self._certificate

    def on_headers_complete(self) -> None:
        if len(self.headers) > MAX_HEADERS:
            raise httptools.HttpParserError("too many headers")
        self._in_head = False
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._since = None
        self._head = 0
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._one_write.flush()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(400)

    def overdue(self, now: float) -> bool:
        """Whether a request has been arriving, or an answer been waiting to be taken, for too long."""
        if not self.flow.write_paused:
            self._stalled = None
        elif self._stalled is None:
            self._stalled = now
        late = self._since is not None and now - self._since > ARRIVAL_SECONDS
        return late or (self._stalled is not None and now - self._stalled > STALLED_SECONDS)

    def _refuse(self, status: int) -> None:
        self.transport.write(type(self).plain(status))
        self.transport.close()


class HttpServer:
    """One ASGI application on one bound socket. `stop` lets running requests end, for a while."""

    def __init__(self, app: Any, plain: Plain, tls: ssl.SSLContext | None = None, patience: int = 5) -> None:
        self._app, self._tls, self._patience = app, tls, patience
        self._protocol = type("Guarded", (GuardedProtocol,), {"plain": staticmethod(plain)})
        self._socket: socket.socket | None = None
        self._path = ""
        self._server: uvicorn.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    def bind(self, host: str, port: int) -> int:
        """Take a port; returns it. Raises OSError."""
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        self._socket = socket.create_server((host, port), family=family, backlog=1024)
        return int(self._socket.getsockname()[1])

    def bind_unix(self, path: str, mode: int) -> None:
        """Take a path instead. Raises OSError."""
        self._socket = bind_unix(path, mode)
        self._path = path

    async def start(self) -> None:
        """Serve on the bound socket."""
        config = uvicorn.Config(
            self._app,
            http=self._protocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="warning",  # below, uvicorn may log what it receives
            access_log=False,
            proxy_headers=False,
            server_header=False,
            timeout_keep_alive=KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=self._patience,
        )
        config.load()
        config.ssl = self._tls
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        server.lifespan.state[UNIX] = bool(self._path)  # uvicorn copies it into each request's state
        await server.startup(sockets=[self._bound()])
        self._server = server
        self._tasks = [asyncio.create_task(server.main_loop()), asyncio.create_task(self._watch(server))]

    async def stop(self) -> None:
        if self._server is not None:
            server, self._server = self._server, None
            server.should_exit = True
            ticking, watching = self._tasks
            watching.cancel()
            await ticking
            await server.shutdown(sockets=[self._bound()])
        if self._socket is not None:
            self._socket.close()
            self._socket = None
            if self._path:
                Path(self._path).unlink(missing_ok=True)

    async def _watch(self, server: uvicorn.Server) -> None:
        loop = asyncio.get_running_loop()
        while True:
            await asyncio.sleep(1)
            now = loop.time()
            for connection in list(server.server_state.connections):
                if isinstance(connection, GuardedProtocol) and connection.overdue(now):
                    connection.transport.abort()

    def _bound(self) -> socket.socket:
        if self._socket is None:
            raise OSError("nothing has been bound")
        return self._socket


def bind_unix(path: str, mode: int) -> socket.socket:
    """A listening Unix socket that only `mode` may open. Raises OSError; a socket that nobody serves is replaced."""
    place = Path(path)
    if place.exists() and stat.S_ISSOCK(place.stat().st_mode) and not _served(path):
        place.unlink()
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)  # INVARIANT: at no moment may others connect
    try:
        bound.bind(path)
        place.chmod(mode)
        bound.listen(1024)
    except OSError:
        bound.close()
        raise
    finally:
        os.umask(before)
    return bound


def _served(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe, contextlib.suppress(ConnectionRefusedError):
        probe.connect(path)
        return True
    return False
