"""The decision point on real sockets: HTTP over TCP, TLS and a Unix socket, the pipelined endpoint, and its clients."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import socket
import ssl
import stat
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trustme
import uvloop

from adapters.authzen import pipelined, service
from adapters.authzen.client import AsyncClient, Client
from adapters.authzen.service import Pdp, PdpConfig
from adapters.web.bounds import Bounds
from adapters.web.exchange import Exchange
from spir.errors import PeerError
from spir.model.request import Action, Entity, Request
from tests.authzen.given_pdp import DR_LI, DR_WU, GivenPdp, evaluation
from tests.wire.peers import wait_for

pytestmark = pytest.mark.wire

EVALUATION, EVALUATIONS = "/access/v1/evaluation", "/access/v1/evaluations"
RESULT = Entity("result", "r1", {"patient": {"id": "HIS|P001"}})
MASK = frozenset(("mask",))
PACK, UNPACK = msgspec.msgpack.encode, msgspec.msgpack.decode


class Running:
    """A decision point in a thread of its own, with a loop of its own."""

    def __init__(self, port: GivenPdp, tls: ssl.SSLContext | None = None, loop: Any = None, **config: Any) -> None:
        self.given = port
        self.loop = loop or asyncio.new_event_loop()
        self.pdp = Pdp(PdpConfig(port=0, **config), port, tls)
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.call(self.pdp.start())

    @property
    def port(self) -> int:
        return self.pdp.port

    def call(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(30)

    def stop(self) -> None:
        self.call(self.pdp.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=20)


def treated() -> GivenPdp:
    port = GivenPdp()
    port.learn("HIS|P001", care_team=("dr.li",))
    return port


@contextlib.contextmanager
def running(port: GivenPdp | None = None, **more: Any) -> Iterator[Running]:
    found = Running(port or treated(), **more)
    try:
        yield found
    finally:
        found.stop()


@pytest.fixture
def pdp(tmp_path: Path) -> Iterator[Running]:
    with running(
        socket=str(tmp_path / "http"), pipelined=str(tmp_path / "pipe"), loop=uvloop.new_event_loop()
    ) as found:
        yield found


def post(connection: http.client.HTTPConnection, path: str, body: Any, bearer: str = "pep") -> tuple[int, Any]:
    headers = {"Content-Type": "application/json", "Authorization": f"Bearer {bearer}"}
    connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body), headers)
    answer = connection.getresponse()
    return answer.status, json.loads(answer.read())


def over_tcp(port: int) -> http.client.HTTPConnection:
    return http.client.HTTPConnection("127.0.0.1", port, timeout=20)


class OverUnix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20)
        self.path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.connect(self.path)


def read_all(peer: socket.socket) -> bytes:
    """What comes until the other side closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while part := peer.recv(65536):
            found += part
    return found


# -- HTTP --------------------------------------------------------------------------------------


def test_one_connection_carries_many_calls(pdp: Running) -> None:
    connection = over_tcp(pdp.port)
    for _ in range(3):
        assert post(connection, EVALUATION, evaluation())[1]["decision"] is True
        assert post(connection, EVALUATION, evaluation("dr.wu"))[1]["decision"] is False
        assert post(connection, EVALUATION, b"{")[0] == 400
    connection.close()
    assert len(pdp.given.events) == 9


@pytest.mark.parametrize("loop", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_unix_socket_serves_the_same_and_only_to_its_owner(tmp_path: Path, loop: Any) -> None:
    path = tmp_path / "http"
    with running(socket=str(path), loop=loop()):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        connection = OverUnix(str(path))
        assert post(connection, EVALUATION, evaluation())[1]["decision"] is True
        assert post(connection, EVALUATION, evaluation(), bearer="guest")[0] == 403
        connection.request("GET", "/metrics")
        assert b"spir_pdp_decisions_total" in connection.getresponse().read()
        connection.close()
    assert not path.exists()


def test_a_socket_that_nobody_serves_is_replaced_and_one_that_is_served_is_not(tmp_path: Path) -> None:
    path = tmp_path / "http"
    left = socket.socket(socket.AF_UNIX)
    left.bind(str(path))
    left.close()
    with running(socket=str(path)):
        with pytest.raises(OSError, match="in use"):
            Running(treated(), socket=str(path))
        connection = OverUnix(str(path))
        assert post(connection, EVALUATION, evaluation())[0] == 200
        connection.close()


def test_tls_and_the_clients_certificate() -> None:
    authority, certificate = trustme.CA(), trustme.CA().issue_cert("localhost")
    certificate = authority.issue_cert("localhost")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_OPTIONAL
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)
    authority.issue_cert("pep@example.com").configure_cert(trusting)
    with running(tls=context) as found:
        base = f"https://localhost:{found.port}"
        assert Client(base, "pep", MASK, tls=trusting).evaluate(DR_LI, RESULT, "read")
        assert found.given.shown[-1].certificate.startswith(b"\x30")
        connection = http.client.HTTPSConnection("localhost", found.port, context=trusting, timeout=20)
        connection.request("GET", "/.well-known/authzen-configuration")
        said = json.loads(connection.getresponse().read())
        connection.close()
        assert said["policy_decision_point"].startswith("https://")
        with pytest.raises(PeerError, match="does not answer"):
            Client(f"http://127.0.0.1:{found.port}", "pep").evaluate(DR_LI, RESULT, "read")


def test_an_answer_without_a_body_goes_out_too(pdp: Running) -> None:
    with pdp.connect() as peer:
        peer.sendall(b"HEAD /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
        assert peer.recv(65536).startswith(b"HTTP/1.1 200 ")
        peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        assert read_all(peer).endswith(b'{"status":"ok"}')


def test_a_client_that_waits_for_leave_to_send_its_body_gets_it(pdp: Running) -> None:
    body = json.dumps(evaluation()).encode()
    head = f"POST {EVALUATION} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer pep\r\nContent-Type: application/json\r\n"
    with pdp.connect() as peer:
        peer.sendall(f"{head}Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n".encode())
        assert peer.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        peer.sendall(body)
        assert b'"decision":true' in peer.recv(65536)


def test_what_cannot_be_read_is_refused_in_our_words(pdp: Running) -> None:
    with pdp.connect() as peer:
        peer.sendall(b"NONSENSE\r\n\r\n")
        head, _, body = read_all(peer).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 400 ") and b"x-policy-version: " in head and b"traceparent: 00-" in head
    assert json.loads(body)["error"]["status"] == 400


def test_a_head_without_end_is_cut_off(pdp: Running) -> None:
    with pdp.connect() as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\n\r\nGET / HTTP/1.1\r\nX: ")
        assert peer.recv(65536).startswith(b"HTTP/1.1 200 ")
        peer.sendall(b"a" * (service.BOUNDS.head + 1))
        assert read_all(peer).startswith(b"HTTP/1.1 431 ")
    many = b"".join(b"X-%d: a\r\n" % number for number in range(200))
    with pdp.connect() as peer:
        peer.sendall(b"GET /healthz HTTP/1.1\r\n" + many + b"\r\n")
        assert read_all(peer).startswith(b"HTTP/1.1 400 ")


def test_a_body_without_end_is_cut_off(pdp: Running) -> None:
    head = f"POST {EVALUATION} HTTP/1.1\r\nHost: a\r\nAuthorization: Bearer pep\r\nContent-Type: application/json\r\n"
    chunk = b"10000\r\n" + b" " * 65536 + b"\r\n"
    with pdp.connect() as peer:
        peer.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n")
        with contextlib.suppress(OSError):
            for _ in range(50):
                peer.sendall(chunk)
        with contextlib.suppress(OSError):
            assert peer.recv(100).startswith(b"HTTP/1.1 413 ")
    connection = over_tcp(pdp.port)
    assert post(connection, EVALUATION, b" " * 300_000)[0] == 413
    connection.close()
    assert {event.detail.get("status") for event in pdp.given.events} == {413}


def test_a_request_that_does_not_arrive_in_time_is_cut_off(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "BOUNDS", Bounds(arrival_seconds=0.05, watch_seconds=0.02))
    with running() as found, found.connect() as silent, found.connect() as slow:
        slow.sendall(
            f"POST {EVALUATION} HTTP/1.1\r\nContent-Length: 10\r\nContent-Type: application/json\r\n\r\n{{".encode()
        )
        assert b"200" not in read_all(slow)
        assert read_all(silent) == b""
        assert post(over_tcp(found.port), EVALUATION, evaluation())[0] == 200


def test_more_connections_than_the_limit_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(service, "BOUNDS", Bounds(connections=2))
    with running() as found, found.connect() as one, found.connect() as two:
        for peer in (one, two):
            peer.sendall(b"GET /healthz HTTP/1.1\r\nHost: a\r\n\r\n")
            assert peer.recv(100).startswith(b"HTTP/1.1 200 ")
        with found.connect() as third:
            assert read_all(third).startswith(b"HTTP/1.1 503 ")


def test_a_call_under_way_is_answered_when_the_service_stops() -> None:
    port = treated()
    started, go_on = threading.Event(), threading.Event()
    commit = port.commit

    async def slow(*items: Any) -> int:
        started.set()
        while not go_on.is_set():
            await asyncio.sleep(0.001)
        return await commit(*items)

    port.commit = slow  # type: ignore[method-assign]
    found = Running(port)
    answers: list[Any] = []
    asking = threading.Thread(target=lambda: answers.append(post(over_tcp(found.port), EVALUATION, evaluation())))
    asking.start()
    assert started.wait(20)
    stopping = threading.Thread(target=found.stop)
    stopping.start()
    go_on.set()
    asking.join(20)
    stopping.join(20)
    assert answers[0][1]["decision"] is True


# -- with a task and without -------------------------------------------------------------------

QUESTIONS = [
    evaluation(),
    evaluation("dr.wu"),
    {**evaluation("dr.li", "search", "imaging"), "deferred": ["resource.modality"]},
    {**evaluation(), "context": {"obligations_supported": []}},
    {**evaluation(), "subject": {"type": "person", "id": ""}},
    {"subject": 1},
    b"{",
    b'{"subject":{},"subject":{}}',
    {**evaluation("dr.wu"), "context": {"padding": "x" * 40_000}},
]
HEADERS = [
    {},
    {"X-Request-ID": "mine", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"},
    {"X-Request-ID": "x" * 257},
    {"Content-Type": "text/plain"},
    {"Authorization": "Bearer guest"},
    {"Authorization": ""},
]


def told(pdp: Running, path: str, body: Any, more: dict[str, str]) -> tuple[int, Any, dict[str, str]]:
    """Status, body, and the headers without what differs from call to call."""
    connection = over_tcp(pdp.port)
    headers = {"Content-Type": "application/json", "Authorization": "Bearer pep", **more}
    connection.request("POST", path, body if isinstance(body, bytes) else json.dumps(body), headers)
    answer = connection.getresponse()
    found = {name.lower(): value for name, value in answer.getheaders()}
    said = json.loads(answer.read())
    connection.close()
    varying = found.pop("traceparent").split("-"), found.pop("date")
    if more.get("X-Request-ID") != "mine":
        assert found.pop("x-request-id") == varying[0][1]
    if "traceparent" in more:
        found["trace"] = varying[0][1]
    return answer.status, said, found


@pytest.mark.parametrize("more", HEADERS)
def test_an_answer_without_a_task_is_the_one_with_a_task(
    pdp: Running, monkeypatch: pytest.MonkeyPatch, more: dict[str, str]
) -> None:
    """A query in the URL leads to the application; nobody reads it."""
    quickly: list[int] = []
    reply = Exchange.reply

    def counted(self: Exchange, head: bytes, body: bytes) -> None:
        quickly.append(len(self.body))
        reply(self, head, body)

    monkeypatch.setattr(Exchange, "reply", counted)
    for question in QUESTIONS:
        quickly.clear()
        ordinary = told(pdp, f"{EVALUATION}?a", question, more)
        assert not quickly
        assert told(pdp, EVALUATION, question, more) == ordinary
        assert len(quickly) == (len(json.dumps(str(question))) < 40_000)
        first, second = pdp.given.events[-2:]
        assert (first.kind, first.outcome, first.request) == (second.kind, second.outcome, second.request)


def test_what_cannot_be_recorded_is_not_answered_over_http_either(pdp: Running) -> None:
    connection = over_tcp(pdp.port)
    pdp.given.broken = True
    for path in (EVALUATION, f"{EVALUATION}?a"):
        status, said = post(connection, path, evaluation())
        assert (status, said["error"]["status"]) == (503, 503) and "decision" not in said
    pdp.given.broken = False
    assert post(connection, EVALUATION, evaluation())[1]["decision"] is True
    connection.close()


# -- clients -----------------------------------------------------------------------------------


def test_the_client_asks_and_is_answered(pdp: Running) -> None:
    client = Client(f"http://127.0.0.1:{pdp.port}", "pep", MASK)
    allowed = client.evaluate(DR_LI, RESULT, "read", {"purpose": "TREAT"})
    assert allowed and [one.type for one in allowed.obligations] == ["mask"]
    assert allowed.bundle == pdp.given.bundle
    refused = client.evaluate(DR_WU, RESULT, "read")
    assert not refused and refused.reasons
    assert not Client(client.base, "pep").evaluate(DR_LI, RESULT, "read")


def test_the_clients_ask_many_at_once(pdp: Running) -> None:
    asked = [Request(who, Action("read"), RESULT) for who in (DR_LI, DR_WU, DR_LI)]
    client = Client(f"http://127.0.0.1:{pdp.port}", "pep", MASK)
    assert [bool(one) for one in client.evaluate_many(asked)] == [True, False, True]
    assert [bool(one) for one in client.evaluate_many(asked, "deny_on_first_deny")] == [True, False]
    assert client.evaluate_many([]) == ()

    async def ask() -> list[bool]:
        async with AsyncClient(client.base, "pep", understood=MASK) as several:
            assert await several.evaluate_many([]) == ()
            return [bool(one) for one in await several.evaluate_many(asked)]

    assert asyncio.run(ask()) == [True, False, True]
    assert len(pdp.given.events) == 8 and len(pdp.given.commits) == 3


def test_the_client_raises_where_there_is_no_answer(pdp: Running) -> None:
    base = f"http://127.0.0.1:{pdp.port}"
    with pytest.raises(PeerError, match="status 401"):
        Client(base, "forged").evaluate(DR_LI, RESULT, "read")
    with pytest.raises(PeerError, match="status 404"):
        Client(f"{base}/elsewhere", "pep").evaluate(DR_LI, RESULT, "read")
    with socket.create_server(("127.0.0.1", 0)) as closed:
        nobody = closed.getsockname()[1]
    with pytest.raises(PeerError, match="does not answer"):
        Client(f"http://127.0.0.1:{nobody}").evaluate(DR_LI, RESULT, "read")


def test_the_client_follows_no_redirect() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]

        def answer() -> None:
            for _ in range(2):
                peer, _ = listening.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n")

        serving = threading.Thread(target=answer, daemon=True)
        serving.start()
        base = f"http://127.0.0.1:{port}"

        async def ask() -> None:
            async with AsyncClient(base, "pep") as client:
                await client.evaluate(DR_LI, RESULT, "read")

        with pytest.raises(PeerError, match="status 302"):
            Client(base, "pep").evaluate(DR_LI, RESULT, "read")
        with pytest.raises(PeerError, match="status 302"):
            asyncio.run(ask())


@pytest.mark.parametrize("way", ["tcp", "unix"])
def test_the_asynchronous_client_keeps_its_connections(pdp: Running, way: str) -> None:
    where = {"unix": pdp.pdp.config.socket} if way == "unix" else {"base": f"http://127.0.0.1:{pdp.port}"}

    async def ask() -> list[bool]:
        async with AsyncClient(token="pep", understood=MASK, **where) as client:
            answers = await asyncio.gather(*(client.evaluate(who, RESULT, "read") for who in (DR_LI, DR_WU) * 10))
            return [bool(answer) for answer in answers]

    assert asyncio.run(ask()) == [True, False] * 10


# -- the pipelined endpoint --------------------------------------------------------------------


class Pipe:
    """A client of the pipelined endpoint. `ask` sends all frames at once and reads as many answers."""

    def __init__(self, path: str, bearer: str = "pep") -> None:
        self.peer = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.peer.settimeout(20)
        self.peer.connect(path)
        self.greeting = self.ask({"bearer": bearer})[0] if bearer else None

    def ask(self, *maps: Any) -> list[Any]:
        bodies = [one if isinstance(one, bytes) else PACK(one) for one in maps]
        self.peer.sendall(b"".join(len(body).to_bytes(4, "big") + body for body in bodies))
        return [self.read() for _ in maps]

    def read(self) -> Any:
        length = int.from_bytes(self._exactly(4), "big")
        return UNPACK(self._exactly(length))

    def _exactly(self, size: int) -> bytes:
        found = b""
        while len(found) < size:
            part = self.peer.recv(size - len(found))
            if not part:
                raise EOFError
            found += part
        return found


@contextlib.contextmanager
def pipe(pdp: Running, bearer: str = "pep") -> Iterator[Pipe]:
    found = Pipe(pdp.pdp.config.pipelined, bearer)
    try:
        yield found
    finally:
        found.peer.close()


def test_many_requests_are_answered_in_order_and_recorded(pdp: Running) -> None:
    with pipe(pdp) as found:
        assert found.greeting == {"subject": "pep"}
        names = ["dr.li" if number % 3 else "dr.wu" for number in range(500)]
        requests = [{**evaluation(name), "context": {"n": number}} for number, name in enumerate(names)]
        answers = found.ask(*requests)
        assert [answer["decision"] for answer in answers] == [name == "dr.li" for name in names]
        assert len(pdp.given.events) == 500 and len(pdp.given.commits) < 250
        assert found.ask(*requests[:3]) == answers[:3]
        assert pdp.given.events[0].detail == {"service": "pipelined", "peer": "pep"}
    assert stat.S_IMODE(Path(pdp.pdp.config.pipelined).stat().st_mode) == 0o600


def test_a_batch_in_one_frame(pdp: Running) -> None:
    with pipe(pdp) as found:
        [answer] = found.ask({**evaluation(), "evaluations": [{}, {"action": {"name": "delete"}}, {"subject": 7}]})
        assert [one["decision"] for one in answer["evaluations"]] == [True, False, False]


def test_a_frame_that_is_no_request_is_refused_and_the_next_is_answered(pdp: Running) -> None:
    with pipe(pdp) as found:
        answers = found.ask(b"\xc1", PACK([1]), {"subject": 1}, evaluation())
        assert [answer["decision"] for answer in answers] == [False, False, False, True]
        assert [answer["context"].get("error", {}).get("status") for answer in answers] == [400, 400, 400, None]


@pytest.mark.parametrize(("bearer", "status"), [("", 401), ("forged", 401), ("guest", 403)])
def test_nobody_is_answered_who_is_not_known_and_permitted(pdp: Running, bearer: str, status: int) -> None:
    with pipe(pdp, "") as found:
        first = {"bearer": bearer} if bearer else evaluation()
        answers = found.ask(first, evaluation())
        assert [answer["decision"] for answer in answers] == [False, False]
        assert answers[0]["context"]["error"]["status"] == status
        with pytest.raises(EOFError):
            found.read()


def test_a_caller_that_is_taken_out_of_the_directory_is_answered_no_more(pdp: Running) -> None:
    with pipe(pdp) as found:
        assert found.ask(evaluation())[0]["decision"] is True
        pdp.given.entities = {"dr.li": DR_LI}
        [answer] = found.ask(evaluation())
        assert (answer["decision"], answer["context"]["error"]["status"]) == (False, 401)


def test_whoever_does_not_say_who_speaks_is_cut_off(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(pipelined, "GREETING_SECONDS", 0.05)
    with running(pipelined=str(tmp_path / "pipe")) as pdp, pipe(pdp, "") as found:
        assert read_all(found.peer) == b""


def test_an_open_endpoint_needs_no_greeting_and_says_so_at_start(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with running(pipelined=str(tmp_path / "pipe"), open=True) as pdp, pipe(pdp, "") as found:
        assert found.ask(evaluation())[0]["decision"] is True
    assert "is open: it asks nobody who it is" in caplog.text


def test_a_frame_that_is_too_long_ends_the_connection_after_what_came_before(pdp: Running) -> None:
    with pipe(pdp) as found:
        assert found.ask(evaluation())[0]["decision"] is True
        found.peer.sendall((256 * 1024 + 1).to_bytes(4, "big"))
        assert found.read()["context"]["error"]["status"] == 413
        with pytest.raises(EOFError):
            found.read()


def test_what_cannot_be_recorded_is_not_answered_with_a_decision(pdp: Running) -> None:
    with pipe(pdp) as found:
        pdp.given.broken = True
        answers = found.ask(evaluation(), evaluation("dr.wu"))
        assert [answer["decision"] for answer in answers] == [False, False]
        assert {answer["context"]["error"]["status"] for answer in answers} == {503}
        pdp.given.broken = False
        assert found.ask(evaluation())[0]["decision"] is True


def test_a_client_that_does_not_read_is_not_read_from(pdp: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    """What waits on our side stays bounded, and every request is answered once the client reads."""
    waited, paused = [0], threading.Event()
    read_on = pipelined.Connection._read_on

    def watched(self: pipelined.Connection) -> None:
        read_on(self)
        waited.append(len(self._waiting))
        if self._paused:
            paused.set()

    monkeypatch.setattr(pipelined.Connection, "_read_on", watched)
    body = PACK({**evaluation("dr.wu"), "context": {"padding": "x" * 2000}})
    frames = (len(body).to_bytes(4, "big") + body) * 4000
    with pipe(pdp) as found:
        sending = threading.Thread(target=found.peer.sendall, args=(frames,), daemon=True)
        sending.start()
        assert paused.wait(20)
        answers = [found.read() for _ in range(4000)]
        sending.join(20)
    assert {answer["decision"] for answer in answers} == {False}
    assert 0 < max(waited) < 2 * pipelined.MOST_WAITING


def test_the_rest_is_answered_when_the_service_stops(tmp_path: Path) -> None:
    found = Running(treated(), pipelined=str(tmp_path / "pipe"))
    client = Pipe(found.pdp.config.pipelined)
    bodies = [PACK(evaluation()) for _ in range(50)]
    client.peer.sendall(b"".join(len(body).to_bytes(4, "big") + body for body in bodies))
    wait_for(lambda: bool(found.given.asked), "the first request to be decided")
    stopping = threading.Thread(target=found.stop)
    stopping.start()
    answers = []
    with contextlib.suppress(EOFError):
        while True:
            answers.append(client.read()["decision"])
    stopping.join(20)
    client.peer.close()
    assert answers and set(answers) == {True}
    assert not Path(found.pdp.config.pipelined).exists()
