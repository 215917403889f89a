"""SHELL: uvicorn's HTTP protocol with bounds, for clients that do not play along.

It bounds the head of a request in size and time, the time that a body may take,
the time that an answer may wait to be taken, and the number of connections; says
in the application's words what it cannot read; and hands the client's
certificate to the application. Costs next to nothing per request: one clock of
the server's watches all connections.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import ClassVar

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from adapters.web.bounds import Bounds
from adapters.web.exchange import Exchange, Quick
from adapters.web.heads import Found, Head, Heads, Pairs, parted
from adapters.web.one_write import OneWrite

__all__ = ["CERTIFICATE", "UNIX", "GuardedProtocol", "Plain"]

# Keys of the scope's state: DER of the verified client certificate, b"" for none; whether it is a Unix socket.
CERTIFICATE = "spir.certificate"
UNIX = "spir.unix"

# status -> a whole response, for what never became a request
Plain = Callable[[int], bytes]

_DIGITS = 7  # of a length of a body that is looked at


class GuardedProtocol(HttpToolsProtocol):
    """`plain`, `bounds`, `quick` and `heads` are set by the server that uses it."""

    plain: ClassVar[Plain]
    bounds: ClassVar[Bounds]
    quick: ClassVar[Quick | None]
    heads: ClassVar[Heads]
    _dated: ClassVar[tuple[Pairs, bytes]] = ([], b"")

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.transport = self._one_write = OneWrite(transport)  # type: ignore[assignment]
        # INVARIANT: uvicorn turns its access log on wherever the root logger has a handler; a URL names patients.
        self.access_log = False
        tls = transport.get_extra_info("ssl_object")
        self._certificate: bytes = (tls.getpeercert(True) if tls is not None else None) or b""
        self._address = self.client[0] if self.client else ""
        self._head = 0
        self._in_head = True
        self._whole: bytearray | None = None  # the body of a request that may be answered quickly
        self._since: float | None = self.loop.time()
        self._idle: float | None = None
        self._stalled: tuple[float, int] | None = None  # since when, and what waited then
        # INVARIANT: at rest the parser has read nothing but whole requests of the plain kind.
        self._at_rest = True
        self._begun = 0
        self._exchange: Exchange | None = None  # the last that was answered quickly
        if len(self.connections) > self.bounds.connections:
            self._refuse(503)

    def data_received(self, data: bytes) -> None:
        if not self._at_rest or self.quick is None or not data.startswith(b"POST "):
            self._parse(data)
            return
        end = data.find(b"\r\n\r\n") + 4
        found = self.heads.find(data, end)
        if found is not None and self._known(found, data[end:]):
            return
        self._begun, self._exchange = 0, None
        self._parse(data)
        exchange = self._exchange
        if exchange is not None and self._begun == 1 and self._at_rest and len(exchange.body) == len(data) - end:
            self.heads.learn(data, end, exchange.head, exchange.own)

    def _parse(self, data: bytes) -> None:
        self._head += len(data)
        super().data_received(data)
        # the parser gathers a header until it is complete, however long it is
        if self._in_head and self._head > self.bounds.head and not self.transport.is_closing():
            self._refuse(431)

    # -- what the parser finds -----------------------------------------------------------------

    def on_message_begin(self) -> None:
        self._at_rest = False
        self._begun += 1
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._in_head = True
        self._head = 0
        self._since, self._idle = self.loop.time(), None

    def on_headers_complete(self) -> None:
        if len(self.headers) > self.bounds.headers:
            raise httptools.HttpParserError("too many headers")
        self._in_head = False
        if not self.bounds.with_body:
            self._since = None
        if self.quick is not None and self._is_quick(self.quick):
            self._whole = bytearray()
        else:
            self._ordinary()

    def _ordinary(self) -> None:
        """uvicorn's way, with a scope, which it makes before the head is known."""
        url, headers, expects = self.url, self.headers, self.expect_100_continue
        super().on_message_begin()
        self.url, self.headers, self.expect_100_continue = url, headers, expects
        self.scope["headers"] = headers
        if self._certificate:
            self.scope["state"][CERTIFICATE] = self._certificate
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if self._whole is None:
            super().on_body(body)
        else:
            self._whole += body

    def on_message_complete(self) -> None:
        self._since = None
        self._head = 0
        if self._whole is not None:
            body, self._whole = bytes(self._whole), None
            if self._answered(body):
                return
            self._ordinary()
            super().on_body(body)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """As uvicorn does, but for its timer: the clock that watches all connections sees who is idle."""
        self._one_write.flush()
        self.server_state.total_requests += 1
        if self._one_write.direct.is_closing():
            return
        self.flow.resume_reading()
        if self.pipeline:
            cycle, app = self.pipeline.pop()
            self._start_asgi_task(cycle, app)
        else:
            self._idle = self.loop.time()

    # -- requests that are answered without a task ---------------------------------------------

    def _is_quick(self, quick: Quick) -> bool:
        """Nothing else is under way here, and it is of the plain kind."""
        if self.url not in quick.paths or self.parser.get_method() != b"POST" or self.expect_100_continue:
            return False
        if not self._is_free():
            return False
        lengths = [value for name, value in self.headers if name == b"content-length"]
        if len(lengths) != 1 or len(lengths[0]) > _DIGITS or not lengths[0].isdigit():
            return False
        plain = self.parser.get_http_version() == "1.1" and not self.parser.should_upgrade()
        return plain and int(lengths[0]) <= quick.longest

    def _is_free(self) -> bool:
        return (self.cycle is None or self.cycle.response_complete) and not self.flow.write_paused

    def _known(self, found: Found, body: bytes) -> bool:
        """Whether a request whose head was read before has been taken by the application."""
        quick = self.quick
        assert quick is not None
        if len(body) != found.length or found.length > quick.longest:
            return False
        if not self._is_free() or self._one_write.direct.is_closing():
            return False
        self._since = self._idle = None
        return self._taken(quick, Exchange(self, found.head, found.own, body, True))

    def _answered(self, body: bytes) -> bool:
        quick, parts = self.quick, parted(self.headers)
        assert quick is not None
        if parts is None:
            return False
        common, own = parts
        keep_alive = self.parser.should_keep_alive()
        exchange = Exchange(self, Head(self.url.decode("ascii"), common), own, body, keep_alive)
        if not self._taken(quick, exchange):
            return False
        self._at_rest, self._exchange = keep_alive, exchange
        return True

    def _taken(self, quick: Quick, exchange: Exchange) -> bool:
        """Whether the application takes it. A defect there is met again, and told, on the ordinary way."""
        before, self.cycle = self.cycle, exchange  # type: ignore[assignment]
        try:
            taken = quick.answer(exchange, self._address, self._certificate)
        except Exception:
            taken = exchange.response_complete
        if not taken:
            self.cycle = before
        return taken

    def send(self, head: bytes, body: bytes, last: bool) -> None:
        """An answer to an exchange."""
        lines = self.server_state.default_headers
        if lines is not self._dated[0]:  # once a second
            type(self)._dated = (lines, b"".join([b"%b: %b\r\n" % line for line in lines]))
        transport = self._one_write.direct
        end = b"connection: close\r\n\r\n" if last else b"\r\n"
        transport.write(b"".join((head, self._dated[1], end, body)))
        if last:
            transport.close()
        self.on_response_complete()

    # -- clients that do not play along --------------------------------------------------------

    def send_400_response(self, msg: str) -> None:
        self._refuse(400)

    def overdue(self, now: float) -> bool:
        """Whether a request has been arriving, an answer been waiting, or nothing been said for too long."""
        late = self._since is not None and now - self._since > self.bounds.arrival_seconds
        idle = self._idle is not None and now - self._idle > self.bounds.keep_alive_seconds
        return late or idle or self._untaken(now)

    def _untaken(self, now: float) -> bool:
        """INVARIANT: an answer is held for as long only as its reader makes way."""
        if not self.flow.write_paused:
            self._stalled = None
            return False
        left = self.transport.get_write_buffer_size()
        if self._stalled is None:
            self._stalled = (now, left)
            return False
        since, before = self._stalled
        if now - since <= self.bounds.stalled_seconds:
            return False
        self._stalled = (now, left)
        return left > before - self.bounds.pace

    def _refuse(self, status: int) -> None:
        self.transport.write(type(self).plain(status))
        self.transport.close()
