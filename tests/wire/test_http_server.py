"""The HTTP server under all listeners that speak HTTP, and clients that do not play along."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from adapters.fhir.server import plain
from adapters.web.bounds import Bounds
from adapters.web.exchange import Exchange, Quick
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


# -- answers without a task --------------------------------------------------------------------

QUICK = b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi"


class Answering:
    """An application that answers /quick without a task, and says of every other request which way it came."""

    def __init__(self, takes: bool = True) -> None:
        self.takes = takes
        self.waiting: list[Exchange] = []
        self.held = False
        self.task: asyncio.Task[None]

    def answer(self, exchange: Exchange, address: str, certificate: bytes) -> bool:
        assert (exchange.path, exchange.body, address, certificate) == ("/quick", b"hi", "127.0.0.1", b"")
        if self.held:
            self.waiting.append(exchange)
        elif self.takes:
            self.reply(exchange)
        return self.takes or self.held

    @staticmethod
    def reply(exchange: Exchange) -> None:
        exchange.reply(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n", b"quick")

    async def __call__(self, scope: Any, receive: Any, send: Send) -> None:
        message = await receive()
        said = f"{scope['method']} {scope['path']} {message['body'].decode()}".encode()
        headers = [(b"content-length", str(len(said)).encode())]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": said})


Scene = Callable[[Answering, Any, Any], Awaitable[None]]


async def talk(app: Answering, scene: Scene, close: bool = True, **bounds: Any) -> None:
    quick = Quick(frozenset((b"/quick",)), 10, app.answer)
    running = HttpServer(app, plain, bounds=Bounds(**{"watch_seconds": 0.02, "patience": 2, **bounds}), quick=quick)
    port = running.bind("127.0.0.1", 0)
    await running.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        async with asyncio.timeout(20):
            await scene(app, reader, writer)
        if close:
            writer.close()
    finally:
        await running.stop()


async def bodies(reader: Any, count: int) -> list[bytes]:
    """The bodies of so many answers."""
    found = []
    for _ in range(count):
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ") and b"date: " in head
        found.append(await reader.readexactly(int(head.partition(b"content-length: ")[2].split(b"\r\n")[0])))
    return found


@pytest.mark.parametrize("pieces", [1, 7, len(QUICK)])
def test_a_request_is_answered_without_a_task_however_it_arrives(pieces: int) -> None:
    async def scene(app: Answering, reader: Any, writer: Any) -> None:
        size = -(-len(QUICK) // pieces)
        for _ in range(3):
            for start in range(0, len(QUICK), size):
                writer.write(QUICK[start : start + size])
                await asyncio.sleep(0)
            assert await bodies(reader, 1) == [b"quick"]

    asyncio.run(talk(Answering(), scene))


OTHERS = [
    (b"GET /quick HTTP/1.1\r\nHost: x\r\n\r\n", b"GET /quick "),
    (b"POST /other HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", b"POST /other hi"),
    (b"POST /quick?a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi", b"POST /quick hi"),
    (b"POST /quick HTTP/1.1\r\nHost: x\r\nContent-Length: 11\r\n\r\nhello world", b"POST /quick hello world"),
    (b"POST /quick HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n", b"POST /quick hi"),
]


@pytest.mark.parametrize(("request_", "said"), OTHERS)
def test_what_is_not_of_the_plain_kind_goes_the_ordinary_way(request_: bytes, said: bytes) -> None:
    async def scene(app: Answering, reader: Any, writer: Any) -> None:
        writer.write(request_ + QUICK)
        assert await bodies(reader, 2) in ([said, b"quick"], [said, b"POST /quick hi"])

    asyncio.run(talk(Answering(), scene))


def test_what_the_application_does_not_take_comes_to_it_whole() -> None:
    async def scene(app: Answering, reader: Any, writer: Any) -> None:
        writer.write(QUICK)
        assert await bodies(reader, 1) == [b"POST /quick hi"]
        app.answer = lambda *given: 1 / 0  # type: ignore[assignment,method-assign,return-value]
        writer.write(QUICK)
        assert await bodies(reader, 1) == [b"POST /quick hi"]

    asyncio.run(talk(Answering(takes=False), scene))


def test_answers_come_in_the_order_of_the_requests() -> None:
    """The second waits for the first, which is answered later."""

    async def scene(app: Answering, reader: Any, writer: Any) -> None:
        app.held = True
        writer.write(QUICK + QUICK + OTHERS[1][0])
        while not app.waiting:
            await asyncio.sleep(0.001)
        [first] = app.waiting
        await asyncio.sleep(0.02)
        app.reply(first)
        assert await bodies(reader, 3) == [b"quick", b"POST /quick hi", b"POST /other hi"]

    asyncio.run(talk(Answering(), scene))


def test_a_connection_that_is_to_be_closed_is_and_says_so() -> None:
    async def scene(app: Answering, reader: Any, writer: Any) -> None:
        writer.write(QUICK.replace(b"Host: x", b"Connection: close"))
        said = await reader.read()
        assert b"connection: close\r\n" in said and said.endswith(b"quick")

    asyncio.run(talk(Answering(), scene))


def test_what_is_under_way_is_answered_when_the_server_stops() -> None:
    said: list[bytes] = []

    async def scene(app: Answering, reader: Any, writer: Any) -> None:
        app.held = True
        writer.write(QUICK)
        while not app.waiting:
            await asyncio.sleep(0.001)
        app.held = False
        [exchange] = app.waiting
        app.waiting.clear()

        async def once_it_stops() -> None:
            while exchange.keep_alive:
                await asyncio.sleep(0.001)
            app.reply(exchange)
            said.append(await reader.read())
            app.waiting.append(exchange)

        app.task = asyncio.create_task(once_it_stops())

    app = Answering()
    asyncio.run(talk(app, scene, close=False))
    assert b"connection: close" in said[0] and said[0].endswith(b"quick") and app.task.done()


def test_an_answer_to_somebody_who_has_gone_is_dropped() -> None:
    async def scene(app: Answering, reader: Any, writer: Any) -> None:
        app.held = True
        writer.write(QUICK)
        while not app.waiting:
            await asyncio.sleep(0.001)
        writer.transport.abort()
        while not app.waiting[0].disconnected:
            await asyncio.sleep(0.001)
        app.reply(app.waiting[0])
        assert not app.waiting[0].response_complete

    asyncio.run(talk(Answering(), scene))


def test_a_connection_on_which_nothing_is_said_is_ended() -> None:
    async def scene(app: Answering, reader: Any, writer: Any) -> None:
        writer.write(QUICK)
        assert await bodies(reader, 1) == [b"quick"]
        assert await reader.read() == b""

    asyncio.run(talk(Answering(), scene, keep_alive_seconds=0.05))
