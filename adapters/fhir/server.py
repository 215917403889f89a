"""The HTTP server under the facade (SHELL): uvicorn with httptools, started and stopped from the program.

Beside what uvicorn does it bounds the head of a request in size and time, ends a
client that leaves its answer unread, says what is wrong in FHIR's words, and
hands the client's certificate to the application. Access logs are off: a URL
names patients.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from typing import Any

import httptools
import uvicorn
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from adapters.fhir.outcome import outcome

__all__ = ["CERTIFICATE", "HttpServer"]

CERTIFICATE = "spir.certificate"  # key of the scope's state: DER of the verified client certificate, b"" for none

MAX_HEAD = 32 * 1024  # bytes of the URL and all headers
MAX_HEADERS = 100
HEAD_SECONDS = 10.0
CONNECTIONS = 1000
WRITE_SECONDS = 30.0  # in which a client must read WRITE_PACE bytes of what waits for it
WRITE_PACE = 64 * 1024


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's protocol with a bounded head, and for clients that read what they asked for."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # INVARIANT: uvicorn turns its access log on wherever the root logger has a handler; a URL names patients.
        self.access_log = False
        tls = transport.get_extra_info("ssl_object")
        self._certificate: bytes = (tls.getpeercert(True) if tls is not None else None) or b""
        self._deadline: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._have_head()
        self._have_read()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._have_read()
        self._expect_reading()

    def resume_writing(self) -> None:
        self._have_read()
        super().resume_writing()

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self.scope["state"][CERTIFICATE] = self._certificate
        self._left = MAX_HEAD
        self._expect_head()

    def on_url(self, url: bytes) -> None:
        self._spend(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        self._spend(len(name) + len(value))
        if len(self.headers) >= MAX_HEADERS:
            raise httptools.HttpParserError("too many headers")
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._have_head()
        super().on_headers_complete()

    def send_400_response(self, msg: str) -> None:
        """What cannot be read gets an OperationOutcome, and the connection is closed."""
        said = outcome(400, "structure", "the HTTP request cannot be read")
        head = (
            "HTTP/1.1 400 Bad Request\r\ncontent-type: application/fhir+json\r\ncache-control: no-store\r\n"
            f"content-length: {len(said.body)}\r\nconnection: close\r\n\r\n"
        )
        self.transport.write(head.encode() + said.body)
        self.transport.close()

    def _spend(self, size: int) -> None:
        self._left -= size
        if self._left < 0:
            raise httptools.HttpParserError("the head is too long")

    def _expect_head(self) -> None:
        self._have_head()
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._late)

    def _have_head(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _expect_reading(self) -> None:
        left = self.transport.get_write_buffer_size()
        self._unread = self.loop.call_later(WRITE_SECONDS, self._look, left)

    def _have_read(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _look(self, before: int) -> None:
        """INVARIANT: an answer is held for as long only as its reader makes way."""
        if self.transport.get_write_buffer_size() > before - WRITE_PACE:
            self.transport.abort()
        else:
            self._expect_reading()

    def _late(self) -> None:
        if not self.transport.is_closing():
            self.transport.close()


class HttpServer:
    """One ASGI application on one port. `bind` first, then `start`; `stop` lets running requests end, for a while."""

    def __init__(self, app: Any, host: str, port: int, tls: ssl.SSLContext | None, patience: int = 5) -> None:
        self._app, self._host, self._wanted, self._tls, self._patience = app, host, port, tls, patience
        self._socket: socket.socket | None = None
        self._server: uvicorn.Server | None = None
        self._ticking: asyncio.Task[None] | None = None

    def bind(self) -> int:
        """Take the port; returns it. Raises OSError."""
        family = socket.AF_INET6 if ":" in self._host else socket.AF_INET
        self._socket = socket.create_server((self._host, self._wanted), family=family, backlog=1024)
        return int(self._socket.getsockname()[1])

    async def start(self) -> None:
        """Serve on the bound socket."""
        config = uvicorn.Config(
            self._app,
            http=GuardedProtocol,
            ws="none",
            lifespan="off",
            interface="asgi3",
            log_config=None,
            log_level="warning",  # below, uvicorn may log what it receives
            access_log=False,
            proxy_headers=False,
            server_header=False,
            limit_concurrency=CONNECTIONS,
            timeout_graceful_shutdown=self._patience,
        )
        config.load()
        config.ssl = self._tls
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        await server.startup(sockets=[self._bound()])
        self._server, self._ticking = server, asyncio.create_task(server.main_loop())

    async def stop(self) -> None:
        if self._server is not None and self._ticking is not None:
            self._server.should_exit = True
            await self._ticking
            await self._server.shutdown(sockets=[self._bound()])
            self._server = self._ticking = None
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _bound(self) -> socket.socket:
        if self._socket is None:
            raise OSError("the port has not been bound")
        return self._socket
