"""SHELL: one ASGI application on one bound socket, served by uvicorn with httptools and bounds.

A port or a Unix socket, started and stopped from the program. Access logs are
off: a URL may name patients.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import ssl
import stat
from pathlib import Path
from typing import Any

import uvicorn

from adapters.web.bounds import Bounds
from adapters.web.exchange import Quick
from adapters.web.guarded import CERTIFICATE, UNIX, GuardedProtocol, Plain
from adapters.web.heads import Heads

__all__ = ["HttpServer", "bind_unix"]


class HttpServer:
    """`bind` or `bind_unix` first, then `start`; `stop` lets running requests end, for a while.

    `plain` says what never became a request. `quick`: what is answered without a task.
    """

    def __init__(
        self,
        app: Any,
        plain: Plain,
        tls: ssl.SSLContext | None = None,
        *,
        bounds: Bounds = Bounds(),
        quick: Quick | None = None,
    ) -> None:
        self._app, self._tls, self._bounds = app, tls, bounds
        members = {"plain": staticmethod(plain), "bounds": bounds, "quick": quick, "heads": Heads()}
        self._protocol = type("Guarded", (GuardedProtocol,), members)
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
            timeout_graceful_shutdown=self._bounds.patience,
        )
        config.load()
        config.ssl = self._tls
        server = uvicorn.Server(config)
        server.lifespan = config.lifespan_class(config)
        # uvicorn copies it into each request's state
        server.lifespan.state.update({UNIX: bool(self._path), CERTIFICATE: b""})
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
            await asyncio.sleep(self._bounds.watch_seconds)
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
