"""A bare ASGI application and a thread that serves it: what the sandbox's HTTP parts share.

One function from `Request` to `Reply` is all that a part has to bring. Bodies
are bounded; a failure of ours answers 500 and is logged without its cause.
"""

from __future__ import annotations

import logging
import socket
import threading
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import uvicorn

from adapters.sandbox.fence import fence

__all__ = ["MAX_BODY", "Reply", "Request", "ThreadedAsgi", "application"]

MAX_BODY = 4 * 1024 * 1024

Message: TypeAlias = MutableMapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
App: TypeAlias = Callable[[MutableMapping[str, Any], Receive, Send], Awaitable[None]]

_log = logging.getLogger("spir.sandbox")


@dataclass(frozen=True, slots=True)
class Request:
    """`path` is decoded, `query` is not; header names are in lower case; `base` has no slash at its end."""

    method: str
    path: str
    query: str
    headers: Mapping[str, str]
    body: bytes
    base: str

    def text(self) -> str:
        return self.body.decode("utf-8", "replace")


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = b""


def application(answer: Callable[[Request], Reply]) -> App:
    """An ASGI application that answers each HTTP request with `answer`."""

    async def app(scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await _send(send, _answered(answer, await _read(scope, receive)))

    return app


def _answered(answer: Callable[[Request], Reply], request: Request | None) -> Reply:
    if request is None:
        return Reply(413)
    try:
        return answer(request)
    except Exception as error:
        _log.error("sandbox request failed: %s", type(error).__name__)
        return Reply(500)


async def _read(scope: MutableMapping[str, Any], receive: Receive) -> Request | None:
    """None where the body is longer than MAX_BODY."""
    body = bytearray()
    more = True
    while more:
        message = await receive()
        body += message.get("body", b"")
        more = message.get("more_body", False)
        if len(body) > MAX_BODY:
            return None
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
    server = scope.get("server") or ("127.0.0.1", 0)
    base = f"http://{headers.get('host', f'{server[0]}:{server[1]}')}"
    return Request(scope["method"], scope["path"], scope["query_string"].decode("latin-1"), headers, bytes(body), base)


async def _send(send: Send, reply: Reply) -> None:
    headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in reply.headers]
    headers.append((b"content-length", str(len(reply.body)).encode()))
    await send({"type": "http.response.start", "status": reply.status, "headers": headers})
    await send({"type": "http.response.body", "body": reply.body})


class ThreadedAsgi:
    """Serves an application on a loopback port from a thread with an event loop of its own.

    The socket listens from `start` on, before the loop runs: a client that
    connects at once waits in the backlog and is served.
    """

    def __init__(self, app: App, what: str, host: str, port: int, *, sandbox: bool) -> None:
        fence(what, host, sandbox)
        self.app = app
        self._place = (host, port)
        self._server: uvicorn.Server | None = None
        self._thread: threading.Thread | None = None
        self.port = 0

    @property
    def base(self) -> str:
        host = f"[{self._place[0]}]" if ":" in self._place[0] else self._place[0]
        return f"http://{host}:{self.port}"

    def start(self) -> None:
        family = socket.AF_INET6 if ":" in self._place[0] else socket.AF_INET
        listener = socket.create_server(self._place, family=family, backlog=128)
        self.port = listener.getsockname()[1]
        config = uvicorn.Config(
            self.app, lifespan="off", access_log=False, log_level="warning", timeout_graceful_shutdown=1
        )
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, args=([listener],), daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Bounded: connections that stay open are dropped. Safe to call twice."""
        if self._server is not None and self._thread is not None:
            self._server.should_exit = True
            self._thread.join(timeout=5)
            self._server = self._thread = None
