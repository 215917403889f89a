"""The MLLP listener and sender over real sockets, against each other and against other people's implementations."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import socket
import ssl
import threading
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import hl7
import pytest
import trustme
import uvloop
from hl7.client import MLLPClient
from hl7apy.mllp import AbstractHandler, MLLPServer
from hl7apy.parser import parse_message

from adapters.hl7v2.connection import Bounds
from adapters.hl7v2.listener import Listener, ListenerConfig
from adapters.hl7v2.mllp import Framer, encode
from adapters.hl7v2.sender import send
from adapters.hl7v2.source import Source
from spir.errors import DocumentError, PeerError, Unavailable
from spir.exchange import Durable, Keep, Learn, Record
from spir.model.facts import Held
from spir.model.request import Entity
from tests.given import GivenServices

pytestmark = pytest.mark.wire

FIXTURES = Path(__file__).parents[2] / "fixtures" / "hl7v2"
LOCAL = Source("HIS", "H1", ("127.0.0.1", "::1"))
P1 = ("patient", "HIS|P001")
LOOPS = pytest.mark.parametrize("loop", [None, uvloop.new_event_loop], ids=["asyncio", "uvloop"])


def fixture(name: str) -> bytes:
    return (FIXTURES / f"{name}.hl7").read_bytes()


def numbered(count: int) -> list[bytes]:
    return [fixture("adt_a01").replace(b"ADT0001", b"N%05d" % number) for number in range(count)]


@dataclass
class Services(GivenServices):
    """Remembers what it stored, can be held up, and can fail."""

    people: dict[str, Entity] = field(default_factory=lambda: {"HIS": Entity("system", "his")})
    gate: asyncio.Event | None = None
    waiting: asyncio.Event = field(default_factory=asyncio.Event)
    failing: bool = False

    async def commit(self, *items: Durable) -> int:
        if self.gate is not None:
            self.waiting.set()
            await self.gate.wait()
        if self.failing:
            raise Unavailable("the disk is full")
        return await super().commit(*items)

    def recall(self, source: str, control_id: str, digest: bytes) -> tuple[str | None, str]:
        codes = {"applied": "AA", "refused": "AR", "unreadable": "AE"}
        known = [i for i in self.committed if isinstance(i, Keep) and (i.source, i.control_id) == (source, control_id)]
        for item in known:
            if hashlib.sha256(item.body).digest() == digest:
                return "same", codes[item.state]
        return ("other", "AA") if known else (None, "")

    def of(self, kind: type) -> list[Any]:
        return [item for item in self.committed if isinstance(item, kind)]

    @property
    def whys(self) -> list[str]:
        """Why connections were refused or broken, as the audit trail has it."""
        found = [record.event for record in self.of(Record) if record.event.operation == "connect"]
        return [event.detail["why"] for event in found for _ in range(event.detail["count"])]

    async def told(self, *whys: str) -> None:
        while self.whys != list(whys):
            assert len(self.whys) <= len(whys)
            await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def served(
    services: Services | None = None, tls: ssl.SSLContext | None = None, **settings: Any
) -> AsyncIterator[tuple[Listener, Services]]:
    services = services or Services()
    config = replace(ListenerConfig((LOCAL,), port=0), **settings)
    listener = Listener(config, services, services.recall, tls)
    await listener.start()
    try:
        yield listener, services
    finally:
        await listener.stop()


def run(test: Callable[[], Awaitable[None]], loop: Any = None) -> None:
    with asyncio.Runner(loop_factory=loop) as runner:
        runner.run(asyncio.wait_for(test(), 30))


class Client:
    """Bytes out, frames in."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.framer = Framer()
        self.frames: list[bytes] = []

    @classmethod
    async def to(cls, listener: Listener, **options: Any) -> Client:
        return cls(*await asyncio.open_connection("127.0.0.1", listener.port, **options))

    async def answers(self, count: int) -> list[str]:
        """MSA of the next `count` answers."""
        while len(self.frames) < count:
            data = await self.reader.read(65536)
            assert data, "the listener hung up"
            self.frames += self.framer.feed(data)
        found, self.frames = self.frames[:count], self.frames[count:]
        return [frame.split(b"\r")[1].decode() for frame in found]

    async def hung_up(self) -> bool:
        try:
            return await self.reader.read(65536) == b""
        except ConnectionError:
            return True

    def close(self) -> None:
        self.writer.close()


# -- other people's clients ------------------------------------------------------------------


def test_python_hl7_is_acknowledged_and_its_message_becomes_facts():
    async def test() -> None:
        async with served() as (listener, services):

            def talk() -> str:
                with MLLPClient("127.0.0.1", listener.port) as client:
                    return client.send_message(fixture("adt_a01")).decode()

            answer = hl7.parse(Framer().feed((await asyncio.to_thread(talk)).encode())[0].decode())
            assert (str(answer.segment("MSA")[1]), str(answer.segment("MSA")[2])) == ("AA", "ADT0001")
            assert services.store.snapshot.get(P1, "care_team", services.now()) == Held(("dr.li",))

    run(test)


def test_python_hl7_may_send_many_messages_on_one_connection():
    async def test() -> None:
        async with served() as (listener, services):

            def talk() -> list[bytes]:
                with MLLPClient("127.0.0.1", listener.port) as client:
                    return [client.send_message(body) for body in numbered(20)]

            found = await asyncio.to_thread(talk)
            assert [b"MSA|AA|N%05d" % number in answer for number, answer in enumerate(found)] == [True] * 20
            assert len(services.of(Keep)) == 20

    run(test)


def test_hl7apy_accepts_our_sender_and_we_its_answer():
    class Accept(AbstractHandler):
        def reply(self) -> str:
            message = parse_message(self.incoming_message)
            head = f"MSH|^~\\&|A|B|HIS|H1|20261121||ACK^A01^ACK|9|P|2.5.1\rMSA|AA|{message.msh.msh_10.value}\r"
            return f"\x0b{head}\x1c\r"

    with MLLPServer("127.0.0.1", 0, {"ADT^A01^ADT_A01": (Accept,)}) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        port = server.server_address[1]
        (answer,) = asyncio.run(send("127.0.0.1", port, [fixture("adt_a01")]))
        server.shutdown()
        thread.join()
    assert b"MSA|AA|ADT0001" in answer


# -- framing and order -----------------------------------------------------------------------


@LOOPS
def test_pipelined_messages_get_as_many_answers_in_their_order(loop: Any):
    async def test() -> None:
        async with served(bounds=Bounds(waiting=8)) as (listener, _):
            client = await Client.to(listener)
            client.writer.write(b"".join(encode(body) for body in numbered(300)))
            assert await client.answers(300) == [f"MSA|AA|N{number:05d}" for number in range(300)]
            client.close()

    run(test, loop)


def test_a_frame_may_come_byte_by_byte():
    async def test() -> None:
        async with served() as (listener, _):
            client = await Client.to(listener)
            client.writer.get_extra_info("socket").setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            for byte in encode(fixture("adt_a01")):
                client.writer.write(bytes([byte]))
                await client.writer.drain()
            assert await client.answers(1) == ["MSA|AA|ADT0001"]
            client.close()

    run(test)


def test_who_has_said_all_and_closes_its_side_is_still_answered():
    async def test() -> None:
        async with served() as (listener, _):
            client = await Client.to(listener)
            client.writer.write(b"".join(encode(body) for body in numbered(10)))
            client.writer.write_eof()
            assert len(await client.answers(10)) == 10
            assert await client.hung_up()
            client.close()

    run(test)


def test_what_was_received_whole_is_applied_though_its_sender_has_gone():
    async def test() -> None:
        services = Services(gate=asyncio.Event())
        async with served(services) as (listener, _):
            client = await Client.to(listener)
            client.writer.write(encode(fixture("adt_a01")) + encode(fixture("adt_a03")))
            await services.waiting.wait()
            client.writer.transport.abort()
            assert services.gate is not None
            services.gate.set()
            while len(services.of(Keep)) < 2:
                await asyncio.sleep(0)
        assert services.store.snapshot.get(P1, "encounter_status", services.now()) == Held("finished")

    run(test)


def test_two_answers_in_the_enhanced_mode():
    async def test() -> None:
        async with served() as (listener, _):
            client = await Client.to(listener)
            client.writer.write(encode(fixture("adt_a01_enhanced")))
            assert await client.answers(2) == ["MSA|CA|ADT0010", "MSA|AA|ADT0010"]
            client.close()
            (last,) = await send("127.0.0.1", listener.port, [fixture("adt_a01_enhanced")])
            assert b"MSA|AA|ADT0010" in last

    run(test)


# -- content ---------------------------------------------------------------------------------


def test_gb18030_with_delimiters_as_second_bytes():
    async def test() -> None:
        async with served() as (listener, services):
            (answer,) = await send("127.0.0.1", listener.port, [fixture("adt_a01_gb18030")])
            assert b"MSA|AA|ADT0009" in answer
            assert answer.split(b"\r")[0].endswith(b"|GB 18030-2000")
            held = services.store.snapshot.get(("patient", "HIS|P002"), "care_team", services.now())
            assert held == Held(("dr.li",))

    run(test)


def test_a_mislabelled_message_is_unreadable():
    async def test() -> None:
        async with served() as (listener, services):
            body = fixture("adt_a01_gb18030").replace(b"GB 18030-2000", b"UNICODE UTF-8")
            (answer,) = await send("127.0.0.1", listener.port, [body])
            assert b"MSA|AE|ADT0009\rERR||MSH^1^18|102^" in answer
            assert [keep.state for keep in services.of(Keep)] == ["unreadable"]
            assert services.of(Learn) == []

    run(test)


def test_garbage_in_a_frame_is_answered_and_the_connection_goes_on():
    async def test() -> None:
        async with served() as (listener, _):
            client = await Client.to(listener)
            client.writer.write(encode(b"\x00\xff" * 50) + encode(b"") + encode(fixture("adt_a01")))
            assert await client.answers(3) == ["MSA|AE|", "MSA|AE|", "MSA|AA|ADT0001"]
            client.close()

    run(test)


def test_a_sender_the_connection_may_not_speak_for_is_rejected():
    async def test() -> None:
        async with served() as (listener, _):
            (answer,) = await send("127.0.0.1", listener.port, [fixture("adt_a01").replace(b"|HIS|H1|", b"|LIS|H1|")])
            assert b"MSA|AR|ADT0001" in answer

    run(test)


def test_structure_is_checked_for_a_source_that_wants_it():
    async def test() -> None:
        async with served(sources=(replace(LOCAL, validate=True),)) as (listener, _):
            broken = fixture("orm_o01_stat").replace(b"71046^XR chest 2 views^99HIS", b"")
            good, bad = await send("127.0.0.1", listener.port, [fixture("orm_o01_stat"), broken])
            assert b"MSA|AA|" in good
            assert b"MSA|AE|ORD1001\rERR||OBR^1^4|101^" in bad

    run(test)


def test_a_listener_that_could_not_validate_does_not_start(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("adapters.hl7v2.listener.find_spec", lambda name: None)
    with pytest.raises(DocumentError, match="hl7apy is not installed"):
        Listener(ListenerConfig((replace(LOCAL, validate=True),)), Services(), Services().recall)


def test_the_same_message_on_two_connections_at_once_is_applied_once():
    async def test() -> None:
        services = Services(gate=asyncio.Event())
        async with served(services) as (listener, _):
            clients = [await Client.to(listener) for _ in range(2)]
            for client in clients:
                client.writer.write(encode(fixture("adt_a01")))
            await services.waiting.wait()
            assert services.gate is not None
            services.gate.set()
            assert [await client.answers(1) for client in clients] == [["MSA|AA|ADT0001"]] * 2
            assert len(services.of(Keep)) == 1
            for client in clients:
                client.close()

    run(test)


def test_what_cannot_be_stored_is_refused_and_nothing_is_learnt():
    async def test() -> None:
        async with served(Services(failing=True)) as (listener, services):
            (answer,) = await send("127.0.0.1", listener.port, [fixture("adt_a01")])
            assert b"MSA|AR|ADT0001" in answer
            assert services.store.snapshot.revision == 0

    run(test)


def test_a_fault_of_our_own_is_answered_and_tells_the_log_nothing(caplog: pytest.LogCaptureFixture):
    def stumble(request: Any) -> Any:
        raise RuntimeError(f"cannot rule on {request.resource.properties}")

    async def test() -> None:
        async with served(Services(stumble)) as (listener, _):
            found = await send("127.0.0.1", listener.port, numbered(2))
            assert [b"MSA|AR|" in answer and b"internal^^99SPIR" in answer for answer in found] == [True, True]

    run(test)
    assert "a message could not be handled: RuntimeError" in caplog.text
    assert "P001" not in caplog.text


# -- hostile peers ---------------------------------------------------------------------------


def test_200_idle_peers_do_not_keep_another_from_being_served():
    async def test() -> None:
        async with served() as (listener, _):
            idle = [await Client.to(listener) for _ in range(200)]
            for number, client in enumerate(idle):
                client.writer.write(b"\x0bMSH|" if number % 2 else b"\r\n")
            found = await send("127.0.0.1", listener.port, numbered(20))
            assert len(found) == 20
            for client in idle:
                client.close()

    run(test)


def test_a_frame_that_drips_is_given_up():
    async def test() -> None:
        async with served(bounds=Bounds(frame_time=0.2)) as (listener, services):
            client = await Client.to(listener)

            async def drip() -> None:
                with contextlib.suppress(ConnectionError):
                    client.writer.write(b"\x0b")
                    while True:
                        client.writer.write(b"M")
                        await client.writer.drain()
                        await asyncio.sleep(0.01)

            dripping = asyncio.create_task(drip())
            assert await client.hung_up()
            dripping.cancel()
            await services.told("frame-timeout")
            client.close()

    run(test)


def test_an_idle_connection_is_closed_without_reproach():
    async def test() -> None:
        async with served(bounds=Bounds(idle_time=0.2)) as (listener, services):
            client = await Client.to(listener)
            client.writer.write(encode(fixture("adt_a01")))
            assert await client.answers(1) == ["MSA|AA|ADT0001"]
            assert await client.hung_up()
            assert services.whys == []
            client.close()

    run(test)


@pytest.mark.parametrize(
    ("flood", "why"),
    [
        (b"GET / HTTP/1.1\r\n" * 5000, "too much between two frames"),
        (b"\x0b" * 70_000, "a frame is too long"),
        (b"\x0bMSH|" + b"\r" * 70_000, "a frame is too long"),
    ],
)
def test_a_flood_ends_the_connection_and_is_recorded(flood: bytes, why: str):
    async def test() -> None:
        async with served(bounds=Bounds(frame_limit=65536)) as (listener, services):
            client = await Client.to(listener)
            client.writer.write(encode(fixture("adt_a01")) + flood)
            with contextlib.suppress(AssertionError, ConnectionError):
                assert await client.answers(1) == ["MSA|AA|ADT0001"]
            assert await client.hung_up()
            await services.told(why)
            assert len(services.of(Keep)) == 1
            client.close()

    run(test)


def test_unfinished_frames_together_have_a_limit():
    async def test() -> None:
        async with served(held=100_000) as (listener, services):
            clients = [await Client.to(listener) for _ in range(2)]
            for client in clients:
                client.writer.write(b"\x0b" + b"x" * 60_000)
                await client.writer.drain()
            done, pending = await asyncio.wait(
                [asyncio.create_task(client.hung_up()) for client in clients], return_when=asyncio.FIRST_COMPLETED
            )
            assert (len(done), len(pending)) == (1, 1)
            await services.told("too much is being received")
            for client in clients:
                client.close()
            for task in pending:
                task.cancel()

    run(test)


def test_a_peer_that_reads_no_answers_is_given_up():
    async def test() -> None:
        async with served(bounds=Bounds(write_time=0.2, waiting=4)) as (listener, services):
            bare = socket.socket()
            bare.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            bare.setblocking(False)
            loop = asyncio.get_running_loop()
            await loop.sock_connect(bare, ("127.0.0.1", listener.port))
            wide = fixture("adt_a01").replace(b"|SPIR|H1|", b"|" + b"S" * 250 + b"|" + b"H" * 250 + b"|")
            sending = asyncio.create_task(loop.sock_sendall(bare, encode(wide) * 20_000))
            await services.told("answers-not-read")
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
            bare.close()

    run(test)


# -- who is let in ---------------------------------------------------------------------------


def test_an_address_no_source_names_is_cut_off_and_recorded():
    async def test() -> None:
        async with served(sources=(Source("HIS", "H1", ("10.0.0.0/8",)),)) as (listener, services):
            client = await Client.to(listener)
            client.writer.write(encode(fixture("adt_a01")))
            assert await client.hung_up()
            await services.told("not-admitted")
            assert services.of(Record)[0].event.detail["address"] == "127.0.0.1"
            assert services.of(Keep) == []
            client.close()

    run(test)


def test_connections_beyond_the_limit_are_cut_off():
    async def test() -> None:
        async with served(connections_per_address=2) as (listener, services):
            clients = [await Client.to(listener) for _ in range(3)]
            assert await clients[2].hung_up()
            await services.told("too-many-connections")
            clients[0].close()
            clients[1].writer.write(encode(fixture("adt_a01")))
            assert await clients[1].answers(1) == ["MSA|AA|ADT0001"]
            for client in clients:
                client.close()

    run(test)


@LOOPS
def test_a_source_may_be_bound_to_a_certificate(loop: Any):
    authority = trustme.CA()
    server, right, wrong = (authority.issue_cert(name) for name in ("localhost", "his.example", "other.example"))
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.configure_cert(serving)
    authority.configure_trust(serving)
    serving.verify_mode = ssl.CERT_REQUIRED
    der = ssl.PEM_cert_to_DER_cert(right.cert_chain_pems[0].bytes().decode())
    bound = replace(LOCAL, certificate=hashlib.sha256(der).hexdigest().upper())

    def calling(certificate: trustme.LeafCert) -> ssl.SSLContext:
        context = ssl.create_default_context()
        context.check_hostname = False
        authority.configure_trust(context)
        certificate.configure_cert(context)
        return context

    async def test() -> None:
        async with served(tls=serving, sources=(bound,)) as (listener, services):
            (answer,) = await send("127.0.0.1", listener.port, [fixture("adt_a01")], tls=calling(right))
            assert b"MSA|AA|" in answer
            with pytest.raises(PeerError):
                await send("127.0.0.1", listener.port, [fixture("adt_a01")], tls=calling(wrong))
            await services.told("not-admitted")

    run(test, loop)


# -- stopping --------------------------------------------------------------------------------


def test_stopping_finishes_what_is_under_way():
    async def test() -> None:
        services = Services(gate=asyncio.Event())
        async with served(services) as (listener, _):
            client = await Client.to(listener)
            client.writer.write(encode(fixture("adt_a01")))
            await services.waiting.wait()
            stopping = asyncio.create_task(listener.stop())
            await asyncio.sleep(0)
            assert services.gate is not None
            services.gate.set()
            await stopping
            assert await client.answers(1) == ["MSA|AA|ADT0001"]
            with pytest.raises(PeerError):
                await send("127.0.0.1", listener.port, [fixture("adt_a01")])
            client.close()

    run(test)


def test_stopping_does_not_wait_for_ever():
    async def test() -> None:
        services = Services(gate=asyncio.Event())
        async with served(services, drain=0.1) as (listener, _):
            client = await Client.to(listener)
            client.writer.write(encode(fixture("adt_a01")))
            await services.waiting.wait()
            await listener.stop()
            assert await client.hung_up()
            assert services.of(Keep) == []
            client.close()

    run(test)


# -- the sender ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (encode(b"MSH|^~\\&|A|B|C|D|20261121||ACK|1|P|2.5\rMSA|AA|OTHER\r"), "about another message"),
        (encode(b"MSH|^~\\&|A|B|C|D|20261121||ACK|1|P|2.5\r"), "no acknowledgement"),
        (encode(b"MSH|^~\\&|A|B|C|D|20261121||ACK|1|P|2.5\rMSA|AA|ADT0001\r") * 2, "more often"),
        (b"", "closed the connection"),
        (b"x" * 70_000, "too much between two frames"),
    ],
)
def test_the_sender_takes_no_other_answer(answer: bytes, message: str):
    async def test() -> None:
        async def reply(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\x1c\r")
            writer.write(answer)
            await writer.drain()
            writer.close()

        server = await asyncio.start_server(reply, "127.0.0.1", 0)
        async with server:
            with pytest.raises(PeerError, match=message):
                await send("127.0.0.1", server.sockets[0].getsockname()[1], [fixture("adt_a01")])

    run(test)


def test_the_sender_does_not_wait_for_ever():
    async def test() -> None:
        async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.read()
            writer.close()

        server = await asyncio.start_server(silence, "127.0.0.1", 0)
        async with server:
            with pytest.raises(PeerError, match="in time"):
                await send("127.0.0.1", server.sockets[0].getsockname()[1], [fixture("adt_a01")], timeout=0.1)

    run(test)


def test_nobody_there_is_an_error_with_a_hint():
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(PeerError, match="is the listener running"):
            asyncio.run(send("127.0.0.1", bound.getsockname()[1], [fixture("adt_a01")]))
