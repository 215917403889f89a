"""The wire layer over real sockets: real peers, relays, hostile peers, deadlines, TLS, on both event loops."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import ssl
import struct
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pydicom
import pytest
import trustme
import uvloop
from pynetdicom.dsutils import decode as read_dataset
from pynetdicom.dsutils import encode as write_dataset

from adapters.dicom.association import Closed, Violation
from adapters.dicom.connection import AssociationEnded
from adapters.dicom.dimse import (
    CCancelRq,
    CEchoRq,
    CFindRq,
    CFindRsp,
    CommandArrived,
    CStoreRq,
    CStoreRsp,
    DimseError,
    encode_command,
    response_to,
)
from adapters.dicom.framing import fragment_pdus, message_pdus
from adapters.dicom.negotiation import negotiate, own_user, supporting
from adapters.dicom.pdu import (
    Abort,
    AbortReason,
    AssociateAccept,
    AssociateRequest,
    PduError,
    PresentationContextItem,
    Rejection,
    ReleaseRequest,
    decode,
    encode,
)
from adapters.dicom.requestor import AssociationRejected, PacsClient, PacsConfig, StatusError, connect
from adapters.dicom.transport import Connection, Limits, Listener, ListenerConfig, PeerSilent, either
from spir.errors import PeerError
from tests.wire.peers import free_port

pytestmark = pytest.mark.wire

VERIFICATION = "1.2.840.10008.1.1"
CT = "1.2.840.10008.5.1.4.1.1.2"
STUDY_FIND = "1.2.840.10008.5.1.4.1.2.2.1"
IMPLICIT, EXPLICIT = "1.2.840.10008.1.2", "1.2.840.10008.1.2.1"
REQUEST = AssociateRequest(
    "SPIR",
    "VIEWER1",
    (
        PresentationContextItem(1, VERIFICATION, (IMPLICIT,)),
        PresentationContextItem(3, CT, (EXPLICIT,)),
        PresentationContextItem(5, STUDY_FIND, (IMPLICIT,)),
    ),
    own_user(),
)
STORE = CStoreRq(1, CT, "1.2.3")
QUICK = Limits(artim=0.3, pdu=0.3, idle=0.5, stall=0.5)
Run = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Run:
    """Run a coroutine to its end on each kind of event loop."""
    factory = uvloop.new_event_loop if request.param == "uvloop" else asyncio.new_event_loop

    def carry_out(coroutine: Coroutine[Any, Any, Any]) -> Any:
        with asyncio.Runner(loop_factory=factory) as runner:
            return runner.run(asyncio.wait_for(coroutine, 60))

    return carry_out


@dataclass
class Archive:
    """Accepts whatever is proposed, answers with success, keeps the digest and size of what is stored."""

    status: int = 0
    rows: int = 0
    stored: list[tuple[int, str]] = field(default_factory=list)
    cancelled: bool = False
    ends: list[PeerError] = field(default_factory=list)
    max_length: int = 131072

    async def __call__(self, connection: Connection, request: AssociateRequest) -> None:
        proposed = {context.abstract_syntax: context.transfer_syntaxes for context in request.contexts}
        connection.accept(negotiate(request, supporting(proposed), user=own_user(self.max_length)))
        try:
            while (event := await connection.next()) != ReleaseRequest():
                assert isinstance(event, CommandArrived)
                await self.answer(connection, event.context, event.command)
            connection.reply_release()
        except PeerError as error:
            self.ends.append(error)
            raise

    async def answer(self, connection: Connection, context: int, command: Any) -> None:
        match command:
            case CStoreRq():
                await self.store(connection)
                connection.send(context, response_to(command, self.status))
            case CFindRq():
                await connection.read_data()
                await self.find(connection, context, command)
            case CCancelRq():
                self.cancelled = True
            case _:
                connection.send(context, response_to(command, self.status))

    async def store(self, connection: Connection) -> None:
        digest, size = hashlib.sha256(), 0
        while True:
            fragment = await connection.next_fragment()
            digest.update(fragment.fragment)
            size += len(fragment.fragment)
            if fragment.last:
                self.stored.append((size, digest.hexdigest()))
                return

    async def find(self, connection: Connection, context: int, command: CFindRq) -> None:
        for row in range(self.rows):
            connection.send(context, response_to(command, 0xFF00, has_data=True), b"row %03d " % row)
            await connection.drain()
            if self.cancelled or ((event := connection.poll()) and isinstance(event.command, CCancelRq)):  # type: ignore[union-attr]
                self.cancelled = True
                connection.send(context, response_to(command, 0xFE00))
                return
        connection.send(context, response_to(command, self.status))


@asynccontextmanager
async def listening(handler: Any, tls: ssl.SSLContext | None = None, **settings: Any) -> AsyncIterator[Listener]:
    listener = Listener(handler, ListenerConfig(port=0, **settings), tls=tls)
    await listener.start()
    try:
        yield listener
    finally:
        await listener.stop(grace=0.1)


async def until(condition: Callable[[], bool]) -> None:
    """Let the loop turn until the condition holds; the test as a whole has a time limit."""
    while not condition():
        await asyncio.sleep(0.005)


async def associate(listener: Listener, request: AssociateRequest = REQUEST, **settings: Any) -> Connection:
    return await connect("127.0.0.1", listener.port, request, **settings)


async def raw(listener: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    return await asyncio.open_connection("127.0.0.1", listener.port)


async def pdu(reader: asyncio.StreamReader) -> Any:
    kind, length = struct.unpack(">BxI", await reader.readexactly(6))
    return decode(kind, await reader.readexactly(length))


async def associated(listener: Listener) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A plain socket on which an association was made."""
    reader, writer = await raw(listener)
    writer.write(encode(REQUEST))
    await pdu(reader)
    return reader, writer


def in_thread(function: Callable[..., Any], *arguments: Any) -> Awaitable[Any]:
    return asyncio.get_running_loop().run_in_executor(None, lambda: function(*arguments))


# -- real peers


@pytest.mark.peer("dcmtk")
def test_echoscu_and_storescu_are_served(run, dcmtk, sandbox_files):
    async def scene() -> None:
        archive = Archive()
        async with listening(archive) as listener:
            assert (await in_thread(dcmtk(listener.port).echo)).status == 0
            answer = await in_thread(dcmtk(listener.port).store, sandbox_files / "P001")
            assert answer.status == 0 and not answer.rejected
        assert len(archive.stored) == len(list((sandbox_files / "P001").rglob("*.dcm")))

    run(scene())


@pytest.mark.peer("dcmtk")
def test_a_rejection_is_understood_by_dcmtk(run, dcmtk):
    async def refuse(connection: Connection, request: AssociateRequest) -> None:
        connection.reject(Rejection.CALLING_AE)

    async def scene() -> None:
        async with listening(refuse) as listener:
            assert "Rejected Permanent" in (await in_thread(dcmtk(listener.port).echo)).rejected

    run(scene())


@pytest.mark.peer("dcmtk")
def test_storescp_takes_what_our_requestor_sends(run, storescp, sandbox_files):
    path = next(iter(sorted(sandbox_files.rglob("*.dcm"))))
    dataset = pydicom.dcmread(path)
    body = write_dataset(dataset, False, True)
    peer = storescp(ae_title="WS1")

    async def scene() -> None:
        sop = dataset.SOPClassUID
        request = AssociateRequest("WS1", "SPIR", (PresentationContextItem(1, sop, (EXPLICIT,)),), own_user())
        connection = await connect("127.0.0.1", peer.port, request)
        connection.send(1, CStoreRq(1, sop, dataset.SOPInstanceUID), body)
        assert await connection.next() == CommandArrived(1, CStoreRsp(1, sop, dataset.SOPInstanceUID, 0))
        await connection.release()

    run(scene())
    (received,) = peer.received()
    assert received.SOPInstanceUID == dataset.SOPInstanceUID


@pytest.mark.peer("orthanc", "dcmtk")
def test_our_client_asks_orthanc_and_keeps_its_association(run, orthanc):
    async def scene() -> None:
        client = PacsClient(PacsConfig("127.0.0.1", orthanc.port, "ORTHANC", "SPIR"))
        await client.echo()
        first = client._connection
        query = pydicom.Dataset()
        query.QueryRetrieveLevel, query.PatientID, query.StudyInstanceUID = "STUDY", "P001", ""
        identifier = write_dataset(query, True, True)
        rows = [_dataset(row) async for _, row in client.find(STUDY_FIND, identifier)]
        assert rows and {row.PatientID for row in rows} == {"P001"}
        assert client._connection is first
        await client.close()

    run(scene())


def _dataset(raw: bytes) -> pydicom.Dataset:
    import io

    return read_dataset(io.BytesIO(raw), True, True)


# -- relays


def relay_to(port: int, upstream: AssociateRequest = REQUEST, context: int | None = None) -> Any:
    """A handler that passes every C-STORE on to `port`, as a proxy that permits everything."""

    async def handler(connection: Connection, request: AssociateRequest) -> None:
        own = AssociateRequest(request.called, request.calling, request.contexts, own_user())
        target = await connect("127.0.0.1", port, own if upstream is REQUEST else upstream)
        connection.accept(answer_like(request, target))
        try:
            while (event := await connection.next()) != ReleaseRequest():
                there = context or event.context
                target.send(there, event.command, b"" if event.command.has_data else None, last=False)
                if event.command.has_data:
                    await connection.relay_data(target, there)
                answer = await target.next()
                connection.send(event.context, answer.command)
            await target.release()
            connection.reply_release()
        finally:
            target.kill()

    return handler


def answer_like(request: AssociateRequest, target: Connection) -> AssociateAccept:
    """The answer that the target gave, or, where it was asked for something else, that everything is accepted."""
    accepted = target.association.accepted
    assert accepted is not None
    if target.association.request.contexts == request.contexts:  # type: ignore[union-attr]
        return replace(accepted, user=own_user())
    proposed = {item.abstract_syntax: item.transfer_syntaxes for item in request.contexts}
    return negotiate(request, supporting(proposed))


@pytest.mark.peer("dcmtk", "orthanc")
def test_storescu_stores_into_orthanc_through_a_relay(run, dcmtk, empty_orthanc, sandbox_files):
    async def scene() -> None:
        async with listening(relay_to(empty_orthanc.port)) as listener:
            answer = await in_thread(dcmtk(listener.port).store, sandbox_files / "P001")
            assert answer.status == 0

    run(scene())
    assert empty_orthanc.count() == len(list((sandbox_files / "P001").rglob("*.dcm")))


@pytest.mark.parametrize("size", [0, 1, 2, 131060, 131061, 131062, 3_000_001], ids="{} bytes".format)
@pytest.mark.parametrize(
    ("largest", "context"), [(131072, None), (16384, None), (131072, 7)], ids=["same", "smaller", "other context"]
)
def test_a_relayed_data_set_arrives_as_it_was_sent(run, size, largest, context):
    body = (bytes(range(251)) * (size // 251 + 1))[:size]
    upstream = REQUEST
    if context is not None:
        upstream = AssociateRequest("A", "B", (PresentationContextItem(context, CT, (EXPLICIT,)),), own_user())

    async def scene() -> None:
        archive = Archive(max_length=largest)
        async with listening(archive) as far, listening(relay_to(far.port, upstream, context)) as near:
            connection = await associate(near)
            for _ in range(3):
                connection.send(3, STORE, body)
                assert await connection.next() == CommandArrived(3, CStoreRsp(1, CT, "1.2.3", 0))
            await connection.release()
        assert archive.stored == [(size, hashlib.sha256(body).hexdigest())] * 3

    run(scene())


def test_a_relay_waits_for_a_target_that_does_not_read(run):
    gate = asyncio.Event()

    async def slow(connection: Connection, request: AssociateRequest) -> None:
        connection.accept(negotiate(request, supporting({CT: [EXPLICIT]})))
        assert isinstance(await connection.next(), CommandArrived)
        connection._transport.pause_reading()  # type: ignore[union-attr]
        await gate.wait()
        connection._transport.resume_reading()  # type: ignore[union-attr]
        await connection.skip_data()
        connection.send(3, response_to(STORE, 0))
        await connection.next()

    async def scene() -> None:
        async with listening(slow) as far, listening(relay_to(far.port)) as near:
            connection = await associate(near, limits=Limits(stall=1.0))
            connection.send(3, STORE, b"", last=False)
            sent = 0
            with pytest.raises(PeerSilent):
                while sent < 200_000_000:
                    connection.send_data(3, bytes(131066), last=False)
                    sent += 131066
                    await connection.drain()
            assert sent < 60_000_000  # what the sockets and our bounded buffers hold
            gate.set()
            connection.send_data(3, b"", last=True)
            assert await connection.next(30.0) == CommandArrived(3, response_to(STORE, 0))

    run(scene())


def test_a_relay_tells_when_its_target_is_lost_and_the_source_goes_on(run):
    async def fickle(connection: Connection, request: AssociateRequest) -> None:
        connection.accept(negotiate(request, supporting({CT: [EXPLICIT]})))
        await connection.next()
        connection.kill()

    async def scene() -> None:
        seen = []

        async def relay(connection: Connection, request: AssociateRequest) -> None:
            target = await associate(far)
            connection.accept(negotiate(request, supporting({CT: [EXPLICIT]})))
            event = await connection.next()
            target.send(3, event.command, b"", last=False)
            try:
                await connection.relay_data(target, 3)
            except AssociationEnded as error:
                seen.append(error.connection is target)
                target.abort()
            await connection.skip_data()
            connection.send(3, response_to(event.command, 0xA700))
            assert await connection.next() == ReleaseRequest()
            connection.reply_release()

        async with listening(fickle) as far, listening(relay) as near:
            connection = await associate(near)
            connection.send(3, STORE, b"", last=False)
            for _ in range(100):
                connection.send_data(3, bytes(131066), last=False)
                await connection.drain()
            connection.send_data(3, b"end!", last=True)
            assert await connection.next() == CommandArrived(3, response_to(STORE, 0xA700))
            await connection.release()
        assert seen == [True]

    run(scene())


def test_a_source_lost_amid_a_pdu_leaves_its_target_closed_not_confused(run):
    async def scene() -> None:
        archive = Archive()
        async with listening(archive) as far, listening(relay_to(far.port)) as near:
            _, writer = await associated(near)
            parts = b"".join(fragment_pdus(3, bytes(100_000), 131072))
            writer.write(message_pdus(3, encode_command(STORE), None, 16384) + parts[:50_000])
            await until(lambda: far.associations == 1)
            writer.transport.abort()
            await until(lambda: bool(archive.ends))
        assert archive.stored == []
        (end,) = archive.ends
        assert isinstance(end, AssociationEnded) and isinstance(end.cause, Closed)

    run(scene())


# -- our own requestor


def test_a_rejected_association_says_why(run):
    async def refuse(connection: Connection, request: AssociateRequest) -> None:
        connection.reject(Rejection.CALLED_AE)

    async def scene() -> None:
        async with listening(refuse) as listener:
            with pytest.raises(AssociationRejected) as error:
                await associate(listener)
            assert error.value.reject == Rejection.CALLED_AE

    run(scene())


def test_no_peer_and_a_silent_peer_are_errors_in_time(run):
    async def scene() -> None:
        with pytest.raises(PeerError, match="no association"):
            await connect("127.0.0.1", free_port(), REQUEST)
        with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(PeerError, match="no association"):
            await connect("127.0.0.1", silent.getsockname()[1], REQUEST, timeout=0.1)

    run(scene())


def test_a_peer_that_aborts_or_closes_instead_of_answering_is_an_error(run):
    async def abort(connection: Connection, request: AssociateRequest) -> None:
        connection.abort()

    async def leave(connection: Connection, request: AssociateRequest) -> None:
        connection.kill()

    async def scene() -> None:
        for handler in (abort, leave):
            async with listening(handler) as listener:
                with pytest.raises(AssociationEnded):
                    await associate(listener)

    run(scene())


def test_a_find_gives_its_rows_and_then_its_status(run):
    async def scene() -> None:
        archive = Archive(rows=30)
        async with listening(archive) as listener:
            client = PacsClient(PacsConfig("127.0.0.1", listener.port, "PACS", "SPIR"))
            rows = [row async for _, row in client.find(STUDY_FIND, b"identifier")]
            assert rows == [b"row %03d " % number for number in range(30)]
            archive.status = 0xA700
            with pytest.raises(StatusError) as error:
                assert [row async for _, row in client.find(STUDY_FIND, b"identifier")]
            assert error.value.status == 0xA700
            with pytest.raises(StatusError):
                await client.echo()
            archive.status = 0
            await client.echo()  # a failed status does not end the association
            await client.close()
        assert archive.ends == []

    run(scene())


def test_a_find_can_be_cancelled(run):
    async def scene() -> None:
        archive, cancel, rows = Archive(rows=100_000), asyncio.Event(), 0
        async with listening(archive) as listener:
            client = PacsClient(PacsConfig("127.0.0.1", listener.port, "PACS", "SPIR"))
            async for _ in client.find(STUDY_FIND, b"identifier", cancel):
                rows += 1
                cancel.set()
            assert archive.cancelled and 0 < rows < 100_000
            archive.cancelled = False
            await client.echo()
            await client.close()

    run(scene())


def test_a_find_left_early_gives_the_association_up(run):
    async def scene() -> None:
        archive = Archive(rows=1000)
        async with listening(archive) as listener:
            client = PacsClient(PacsConfig("127.0.0.1", listener.port, "PACS", "SPIR"))
            async with aclosing(client.find(STUDY_FIND, b"identifier")) as found:
                async for _ in found:
                    break
            await client.echo()  # on another association
            await client.close()
            await until(lambda: bool(archive.ends))
        assert isinstance(archive.ends[0].cause, Abort)  # type: ignore[attr-defined]

    run(scene())


def test_a_lost_association_is_renewed(run):
    async def scene() -> None:
        port = 0
        for _ in range(2):
            listener = Listener(Archive(), ListenerConfig(port=port))
            await listener.start()
            if not port:
                port = listener.port
                client = PacsClient(PacsConfig("127.0.0.1", port, "PACS", "SPIR"))
            await client.echo()
            await listener.stop(grace=0)
        with pytest.raises(PeerError):
            await client.echo()

    run(scene())


def test_questions_wait_for_one_another(run):
    async def scene() -> None:
        archive = Archive(rows=20)
        async with listening(archive) as listener:
            client = PacsClient(PacsConfig("127.0.0.1", listener.port, "PACS", "SPIR"))

            async def ask() -> int:
                return len([row async for row in client.find(STUDY_FIND, b"identifier")])

            assert await asyncio.gather(*(ask() for _ in range(10))) == [20] * 10
            assert listener.associations == 1
            await client.close()

    run(scene())


def test_a_service_that_is_not_offered_is_an_error_by_name(run):
    async def scene() -> None:
        async def only_echo(connection: Connection, request: AssociateRequest) -> None:
            connection.accept(negotiate(request, supporting({VERIFICATION: [IMPLICIT]})))
            await connection.next()

        async with listening(only_echo) as listener:
            client = PacsClient(PacsConfig("127.0.0.1", listener.port, "PACS", "SPIR"))
            with pytest.raises(PeerError, match="does not offer"):
                assert [row async for row in client.find(STUDY_FIND, b"identifier")]

    run(scene())


# -- conversations


def test_both_sides_may_release_at_once(run):
    async def release(connection: Connection, request: AssociateRequest) -> None:
        connection.accept(negotiate(request, supporting({})))
        await connection.release()
        ended.append(connection.association.state.value)

    ended: list[str] = []

    async def scene() -> None:
        async with listening(release) as listener:
            connection = await associate(listener)
            await connection.release(2.0)
            await until(lambda: bool(ended))
            assert ended == ["Sta13"] or ended == ["Sta1"]

    run(scene())


def test_one_can_wait_for_whichever_of_two_speaks_first(run):
    async def scene() -> None:
        async with listening(Archive()) as listener:
            one, two = await associate(listener), await associate(listener)
            two.send(1, CEchoRq(1))
            assert await either(one, two) is two
            assert isinstance(await two.next(), CommandArrived)
            with pytest.raises(PeerSilent):
                await either(one, two, timeout=0.05)
            one.kill()
            assert await either(one, two) is one

    run(scene())


def test_a_data_set_beyond_its_limit_aborts_the_association(run):
    async def scene() -> None:
        found: list[DimseError] = []

        async def narrow(connection: Connection, request: AssociateRequest) -> None:
            connection.accept(negotiate(request, supporting({STUDY_FIND: [IMPLICIT]})))
            await connection.next()
            try:
                await connection.read_data(1000)
            except DimseError as error:
                found.append(error)

        async with listening(narrow) as listener:
            connection = await associate(listener)
            connection.send(5, CFindRq(1, STUDY_FIND), bytes(1002))
            with pytest.raises(AssociationEnded) as ended:
                await connection.next()
            assert isinstance(ended.value.cause, Abort) and len(found) == 1

    run(scene())


def test_odd_pieces_are_sent_in_even_fragments_and_arrive_whole(run):
    async def scene() -> None:
        archive = Archive()
        async with listening(archive) as listener:
            connection = await associate(listener)
            connection.send(3, STORE, b"abc", last=False)
            for piece in (b"d", b"efg", b"", b"h" * 40_001):
                connection.send_data(3, piece, last=False)
            connection.send_data(3, b"ij!", last=True)
            await connection.next()
            await connection.release()
        whole = b"abcdefg" + b"h" * 40_001 + b"ij!"
        assert archive.stored == [(len(whole), hashlib.sha256(whole).hexdigest())]

    run(scene())


def test_events_not_taken_stop_the_reading(run):
    async def scene() -> None:
        taken = asyncio.Event()
        weights: list[int] = []

        async def busy(connection: Connection, request: AssociateRequest) -> None:
            connection.accept(negotiate(request, supporting({CT: [EXPLICIT], VERIFICATION: [IMPLICIT]})))
            await until(lambda: connection._parsing is not None)
            weights.append(connection._weight)
            taken.set()
            count = 0
            while (event := await connection.next()) != ReleaseRequest():
                count += isinstance(event, CommandArrived)
            weights.append(count)
            connection.reply_release()

        async with listening(busy) as listener:
            connection = await associate(listener)
            for _ in range(20_000):
                connection.send(1, CEchoRq(1))
            await taken.wait()
            await connection.release(30.0)
            await until(lambda: len(weights) == 2)
        assert weights[0] <= 600 * 1024 and weights[1] == 20_000

    run(scene())


# -- hostile peers


async def answer_to(listener: Listener, *pieces: bytes) -> Abort:
    """The abort that `pieces`, sent by a stranger, earn."""
    reader, writer = await raw(listener)
    for piece in pieces:
        writer.write(piece)
    abort = await pdu(reader)
    writer.close()
    assert isinstance(abort, Abort)
    return abort


@pytest.mark.parametrize(
    "header",
    [
        struct.pack(">BxI", 1, 2**32 - 1),
        struct.pack(">BxI", 1, 0),
        struct.pack(">BxI", 4, 16384),
        b"GET / HTTP/1.1\r\n",
    ],
    ids=["4 GiB", "nothing", "data first", "http"],
)
def test_a_lie_in_the_first_header_is_aborted_at_once(run, header):
    async def scene() -> None:
        async with listening(Archive()) as listener:
            await answer_to(listener, header)

    run(scene())


def test_a_lie_within_an_association_is_aborted_at_once(run):
    async def scene() -> None:
        async with listening(Archive()) as listener:
            reader, writer = await associated(listener)
            writer.write(struct.pack(">BxI", 4, 2**32 - 1))
            assert await pdu(reader) == Abort(2, AbortReason.INVALID_PARAMETER)
            writer.close()

    run(scene())


def test_a_stream_after_a_lie_takes_no_memory(run):
    async def scene() -> None:
        async with listening(Archive()) as listener:
            before = resident()
            reader, writer = await raw(listener)
            writer.write(struct.pack(">BxI", 1, 2**32 - 1))
            await pdu(reader)
            with pytest.raises(ConnectionError):
                for _ in range(2000):
                    writer.write(bytes(100_000))
                    await writer.drain()
                raise ConnectionResetError  # discarding everything is right too
            assert resident() - before < 30_000_000

    run(scene())


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


def test_200_idle_strangers_from_one_address_keep_nobody_out(run):
    async def scene() -> None:
        async with listening(Archive(), strangers=256, strangers_by_address=64) as listener:
            before = resident()
            idle = [await raw(listener) for _ in range(200)]
            dripping = [await raw(listener) for _ in range(50)]
            for _, writer in dripping:
                writer.write(b"\x01\0\0")
            client = PacsClient(PacsConfig("127.0.0.1", listener.port, "PACS", "SPIR"))
            await client.echo()
            assert listener.strangers <= 64 and listener.associations == 1
            assert resident() - before < 64_000_000
            await client.echo()
            await client.close()
            for _, writer in idle + dripping:
                writer.close()

    run(scene())


def test_strangers_are_capped_in_total(run):
    async def scene() -> None:
        async with listening(Archive(), strangers=10, strangers_by_address=1000) as listener:
            connections = [await raw(listener) for _ in range(30)]
            await until(lambda: listener.strangers == 10)
            oldest = connections[0][0]
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await oldest.readexactly(1)
            await (await associate(listener)).release()
            for _, writer in connections:
                writer.close()

    run(scene())


def test_associations_beyond_the_limit_are_rejected_for_now(run):
    async def scene() -> None:
        async with listening(Archive(), associations=2) as listener:
            held = [await associate(listener) for _ in range(2)]
            with pytest.raises(AssociationRejected) as error:
                await associate(listener)
            assert error.value.reject == Rejection.LOCAL_LIMIT and error.value.reject.transient
            await held[0].release()
            await until(lambda: listener.associations == 1)
            await (await associate(listener)).release()

    run(scene())


def test_a_stranger_that_drips_is_closed_by_artim_however_it_drips(run):
    async def scene() -> None:
        async with listening(Archive(), limits=QUICK) as listener:
            reader, writer = await raw(listener)

            async def drip() -> None:
                for byte in encode(REQUEST):
                    writer.write(bytes((byte,)))
                    await asyncio.sleep(0.01)

            dripping = asyncio.create_task(drip())
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readexactly(1)
            dripping.cancel()
            writer.close()

    run(scene())


def test_a_pdu_that_drips_is_aborted_by_its_deadline(run):
    async def scene() -> None:
        archive = Archive()
        async with listening(archive, limits=QUICK) as listener:
            reader, writer = await associated(listener)

            async def drip() -> None:
                for byte in b"".join(fragment_pdus(1, bytes(1000), 16384, command=True)):
                    writer.write(bytes((byte,)))
                    await asyncio.sleep(0.01)

            dripping = asyncio.create_task(drip())
            assert await pdu(reader) == Abort(2, AbortReason.NOT_SPECIFIED)
            dripping.cancel()
            writer.close()
            await until(lambda: bool(archive.ends))
        assert isinstance(archive.ends[0].cause, Violation)  # type: ignore[attr-defined]

    run(scene())


def test_a_silent_association_ends_after_its_idle_time(run):
    async def scene() -> None:
        archive = Archive()
        async with listening(archive, limits=QUICK) as listener:
            reader, writer = await associated(listener)
            assert await pdu(reader) == Abort(0, 0)
            writer.close()
        assert isinstance(archive.ends[0], PeerSilent)

    run(scene())


def test_a_peer_that_does_not_close_is_closed_by_artim(run):
    async def scene() -> None:
        async with listening(Archive(), limits=QUICK) as listener:
            reader, writer = await associated(listener)
            writer.write(encode(ReleaseRequest()))
            await pdu(reader)
            with pytest.raises((asyncio.IncompleteReadError, ConnectionError)):
                await reader.readexactly(1)
            writer.close()
            await until(lambda: listener.strangers == 0)

    run(scene())


def test_mutated_conversations_end_in_order_and_harm_nobody(run):
    stream = encode(REQUEST) + message_pdus(3, encode_command(STORE), bytes(100), 16384) + encode(ReleaseRequest())

    async def scene() -> None:
        archive = Archive()
        async with listening(archive, limits=QUICK, strangers_by_address=1000, strangers=1000) as listener:

            async def attack(number: int) -> None:
                mutant = bytearray(stream)
                for step in range(1 + number % 3):
                    mutant[(number * 7919 + step * 104729) % len(mutant)] = (number * 31 + step) % 256
                _, writer = await raw(listener)
                writer.write(bytes(mutant))
                writer.close()

            await asyncio.gather(*(attack(number) for number in range(300)))
            client = PacsClient(PacsConfig("127.0.0.1", listener.port, "PACS", "SPIR"))
            await client.echo()
            await client.close()
            await until(lambda: listener.associations == 0)
        assert all(isinstance(end, PduError | AssociationEnded | PeerSilent) for end in archive.ends)

    run(scene())


# -- the listener


def test_a_handler_that_fails_aborts_and_logs_no_text_of_the_error(run, caplog):
    async def broken(connection: Connection, request: AssociateRequest) -> None:
        connection.accept(negotiate(request, supporting({})))
        raise ValueError("the patient P001")

    async def scene() -> None:
        async with listening(broken) as listener:
            connection = await associate(listener)
            with pytest.raises(AssociationEnded) as error:
                await connection.next()
            assert isinstance(error.value.cause, Abort)

    run(scene())
    assert "ValueError in broken" in caplog.text and "P001" not in caplog.text


def test_stopping_waits_for_associations_and_then_aborts_them(run):
    async def scene() -> None:
        listener = Listener(Archive(), ListenerConfig(port=0))
        await listener.start()
        polite, stubborn = await associate(listener), await associate(listener)
        stopping = asyncio.create_task(listener.stop(grace=0.2))
        await polite.release()
        with pytest.raises(AssociationEnded) as error:
            await stubborn.next()
        assert isinstance(error.value.cause, Abort)
        await stopping
        assert (listener.associations, listener.strangers) == (0, 0)
        with pytest.raises(PeerError):
            await associate(listener, timeout=0.2)
        await listener.stop()

    run(scene())


# -- TLS


def test_associations_run_over_mutual_tls_and_the_certificate_is_known(run):
    authority = trustme.CA()
    server, client = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.issue_cert("127.0.0.1").configure_cert(server)
    leaf = authority.issue_cert("viewer1.example")
    leaf.configure_cert(client)
    for context in (server, client):
        authority.configure_trust(context)
    server.verify_mode = ssl.CERT_REQUIRED
    certificates: list[bytes] = []

    async def scene() -> None:
        archive = Archive()

        async def handler(connection: Connection, request: AssociateRequest) -> None:
            certificates.append(connection.certificate)
            await archive(connection, request)

        async with listening(handler, server, limits=QUICK) as listener:
            connection = await associate(listener, tls=client)
            connection.send(3, STORE, bytes(3_000_000))
            assert isinstance(await connection.next(), CommandArrived)
            await connection.release()
            _, writer = await raw(listener)  # never begins its handshake
            writer.write(b"\x16\x03")
            await until(lambda: listener.strangers == 0)
            writer.close()
            with pytest.raises(PeerError):
                await associate(listener, timeout=2.0)  # no TLS at all
        assert archive.stored == [(3_000_000, hashlib.sha256(bytes(3_000_000)).hexdigest())]

    run(scene())
    expected = ssl.PEM_cert_to_DER_cert(leaf.cert_chain_pems[0].bytes().decode())
    assert certificates == [expected]


def test_every_socket_sends_at_once(run):
    async def scene() -> None:
        options: list[int] = []

        async def handler(connection: Connection, request: AssociateRequest) -> None:
            options.append(connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            await Archive()(connection, request)

        async with listening(handler) as listener:
            connection = await associate(listener)
            options.append(connection._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            await connection.release()
        assert all(options) and len(options) == 2

    run(scene())


def test_a_find_answer_is_a_row_for_each_pending_response(run):
    async def scene() -> None:
        async with listening(Archive(rows=2)) as listener:
            client = PacsClient(PacsConfig("127.0.0.1", listener.port, "PACS", "SPIR"))
            commands = [command async for command, _ in client.find(STUDY_FIND, b"identifier")]
            assert [(type(command), command.status) for command in commands] == [(CFindRsp, 0xFF00)] * 2
            await client.close()

    run(scene())
