"""The HTTP server under all listeners that speak HTTP, and clients that do not play along."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from adapters.fhir.server import plain
from adapters.web.bounds import Bounds
from adapters.web.guarded import GuardedProtocol
from adapters.web.server import HttpServer

pytestmark = pytest.mark.wire

SIZE = 16 * 1024 * 1024
Send = Callable[[Any], Awaitable[None]]


async def large(scope: Any, receive: Any, send: Send) -> None:
    """An answer that no socket buffer holds."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", str(SIZE).encode())]})
    await send({"type": "http.response.body", "body": b"x" * SIZE})


async def served(scene: Callable[[int], Awaitable[None]], stalled: float) -> None:
    bounds = Bounds(stalled_seconds=stalled, watch_seconds=0.02, patience=1)
    running = HttpServer(large, plain, bounds=bounds)
    port = running.bind("127.0.0.1", 0)
    await running.start()
    try:
        await scene(port)
    finally:
        await running.stop()


async def asked(port: int) -> socket.socket:
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8192)
    client.setblocking(False)
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    return client


async def drained(client: socket.socket) -> int:
    """How much arrives until the server ends the connection, or all has come."""
    loop, total = asyncio.get_running_loop(), 0
    try:
        while total < SIZE and (got := await loop.sock_recv(client, 1 << 20)):
            total += len(got)
    except ConnectionError:
        pass
    return total


def test_a_client_that_leaves_its_answer_unread_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    aborted = asyncio.Event()
    lost = GuardedProtocol.connection_lost

    def noted(self: Any, exc: Exception | None) -> None:
        lost(self, exc)
        aborted.set()

    monkeypatch.setattr(GuardedProtocol, "connection_lost", noted)

    async def scene(port: int) -> None:
        client = await asked(port)
        await asyncio.wait_for(aborted.wait(), 20)
        assert await asyncio.wait_for(drained(client), 20) < SIZE
        client.close()

    asyncio.run(served(scene, 0.05))


def test_a_client_that_reads_gets_everything() -> None:
    async def scene(port: int) -> None:
        client = await asked(port)
        assert await asyncio.wait_for(drained(client), 30) >= SIZE
        client.close()

    asyncio.run(served(scene, 5.0))
