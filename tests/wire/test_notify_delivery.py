"""Notifications reach real receivers: once, signed, again after a failure, and never in silence."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import apsw
import pytest
import trustme

from adapters.backbone.embedded import Embedded
from adapters.notify.channel import Channel, FhirCommunication, FhirTask, Webhook
from adapters.notify.courier import Courier, Limits, Tally
from adapters.notify.lane import Pace
from adapters.notify.retry import Retry
from adapters.sandbox.fhir_store import SandboxFhir
from adapters.sandbox.hook import SandboxHook
from spir.exchange import Notification, Notify
from spir.record.event import AuditEvent, EventKind, Outcome
from tests.given import HIS
from tests.notify.parcels import ALERT, until
from tests.wire.npm_fhir import NpmFhir
from tests.wire.peers import free_port

pytestmark = pytest.mark.wire

QUICK = Limits(Pace(idle=0.05, busy=0.01, recovery=0.01), timeout=5.0, grace=0.1, survey=0.01)
SOON = Retry(first=0.001, ceiling=0.002)
WORKFLOW = {"patient": "HIS|P001", "operation": "update:order:stat", "order": "ORD1"}

State = tuple[str, int, str]


class Site:
    """A gateway's database with its trail in a list, and couriers on it."""

    def __init__(self, path: Path) -> None:
        self.trail: list[AuditEvent] = []
        self.database = Embedded.open(path / "spir.db", lambda _, event: self.trail.append(event))

    async def put(self, channel: str = "alert", body: dict[str, Any] = ALERT, priority: str = "high") -> None:
        kind = "trigger" if channel == "workflow" else "notify"
        await self.database.commit([Notify(Notification(channel, kind, priority, body))])

    async def states(self) -> list[State]:
        """(state, attempts, problem) of every notification, oldest first."""

        def read(connection: apsw.Connection) -> list[State]:
            return list(connection.execute("select state, attempts, problem from outbox order by created"))

        return await self.database.read(read)

    @asynccontextmanager
    async def courier(self, channels: dict[str, Channel], **settings: Any) -> AsyncIterator[Courier]:
        given = {"retry": SOON, "limits": QUICK} | settings
        courier = Courier(self.database, channels, HIS, lambda: datetime.now(UTC), **given)
        await courier.start()
        try:
            yield courier
        finally:
            await courier.stop()


@asynccontextmanager
async def site(path: Path) -> AsyncIterator[Site]:
    made = Site(path)
    try:
        yield made
    finally:
        await made.database.close()


class Scripted:
    """A receiver that answers each request with the next of the given bytes, the last one for ever.

    None hangs up without a word; an empty answer says nothing and keeps the line, as `keep` does for all.
    """

    def __init__(self, *answers: bytes | None, keep: bool = False) -> None:
        self.answers = list(answers)
        self.keep = keep
        self.requests: list[bytes] = []
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            head = await reader.readuntil(b"\r\n\r\n")
            length = next((line for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), b":0")
            self.requests.append(head + await reader.readexactly(int(length.split(b":")[1])))
            answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
            writer.write(answer or b"")
            await writer.drain()
            if self.keep or answer == b"":
                await reader.read()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@asynccontextmanager
async def served(receiver: Scripted, tls: ssl.SSLContext | None = None) -> AsyncIterator[Scripted]:
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0, ssl=tls)
    receiver.port = server.sockets[0].getsockname()[1]
    try:
        yield receiver
    finally:
        server.close()


def scripted(*answers: bytes | None) -> AbstractAsyncContextManager[Scripted]:
    return served(Scripted(*answers))


OK = b"HTTP/1.1 204 No Content\r\n\r\n"


def status(line: str, *headers: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {line}", *headers, "Content-Length: 0", "", ""]).encode()


def hook(receiver: Any) -> Webhook:
    return Webhook(receiver.url if isinstance(receiver, Scripted) else f"{receiver.base}/alerts", b"invented")


def run(scene: Callable[[], Any]) -> None:
    asyncio.run(scene())


# -- webhooks --------------------------------------------------------------------------------


def test_an_alert_is_delivered_once_signed_and_recorded(tmp_path: Path, sandbox_hook: SandboxHook) -> None:
    async def scene() -> None:
        async with site(tmp_path) as here, here.courier({"alert": hook(sandbox_hook)}) as courier:
            await here.put()
            await until(lambda: courier.tally.delivered == 1, "the delivery")
            [delivery] = sandbox_hook.deliveries
            assert (delivery.path, delivery.body["body"]) == ("/alerts", ALERT)
            assert delivery.body["id"] == delivery.headers["x-spir-id"] == delivery.headers["idempotency-key"]
            assert delivery.body["timestamp"] == delivery.headers["x-spir-timestamp"]
            assert await here.states() == [("delivered", 0, "")]
            [event] = here.trail
            assert (event.kind, event.outcome) == (EventKind.NOTIFICATION, Outcome.SUCCESS)
            assert (event.patients, event.detail["caused_by"]) == (("HIS|P001",), "view:result:critical")

    run(scene)


def test_many_at_once_are_each_delivered_once(tmp_path: Path, sandbox_hook: SandboxHook) -> None:
    async def scene() -> None:
        async with site(tmp_path) as here, here.courier({"alert": hook(sandbox_hook)}) as courier:
            await asyncio.gather(*(here.put() for _ in range(200)))
            await until(lambda: courier.tally.delivered == 200, "all deliveries")
            assert len({one.body["id"] for one in sandbox_hook.deliveries}) == len(sandbox_hook.deliveries) == 200
            assert len(here.trail) == 200

    run(scene)


def test_a_receiver_that_is_busy_gets_it_again_under_the_same_id(tmp_path: Path, sandbox_hook: SandboxHook) -> None:
    async def scene() -> None:
        sandbox_hook.failing = 2
        async with site(tmp_path) as here, here.courier({"alert": hook(sandbox_hook)}) as courier:
            await here.put()
            await until(lambda: courier.tally.delivered == 1, "the delivery")
            [delivery] = sandbox_hook.deliveries
            assert (delivery.body["attempt"], courier.tally) == (3, Tally(delivered=1, retried=2))
            assert await here.states() == [("delivered", 2, "")]
            assert [event.detail["attempts"] for event in here.trail] == [3]

    run(scene)


def test_a_refusal_is_final(tmp_path: Path, sandbox_hook: SandboxHook) -> None:
    async def scene() -> None:
        stranger = Webhook(f"{sandbox_hook.base}/alerts", b"another secret")
        async with site(tmp_path) as here, here.courier({"alert": stranger}) as courier:
            await here.put()
            await until(lambda: courier.tally.dead == 1, "the refusal")
            assert (sandbox_hook.refused, sandbox_hook.deliveries) == (1, [])
            assert await here.states() == [("dead", 1, "answered 401")]
            [event] = here.trail
            assert (event.outcome, event.detail["state"]) == (Outcome.ERROR, "dead")

    run(scene)


def test_it_is_given_up_after_so_many_attempts(tmp_path: Path) -> None:
    async def scene() -> None:
        async with site(tmp_path) as here, scripted(status("500 Oops")) as receiver:
            few = Retry(attempts=3, first=0.001, ceiling=0.001)
            async with here.courier({"alert": hook(receiver)}, retry=few) as courier:
                await here.put()
                await until(lambda: courier.tally.dead == 1, "the last attempt")
            assert (len(receiver.requests), courier.tally) == (3, Tally(retried=2, dead=1))
            assert await here.states() == [("dead", 3, "answered 500")]
            assert len(here.trail) == 1

    run(scene)


def test_a_receiver_that_comes_back_gets_what_it_missed(tmp_path: Path) -> None:
    async def scene() -> None:
        receiver = SandboxHook(sandbox=True, secret=b"invented", port=free_port())
        receiver.start()
        place = hook(receiver)
        receiver.stop()
        try:
            async with site(tmp_path) as here, here.courier({"alert": place}) as courier:
                await here.put()
                await until(lambda: courier.tally.retried >= 2, "two attempts in vain")
                await asyncio.to_thread(receiver.start)
                await until(lambda: courier.tally.delivered == 1, "the delivery")
                assert len(receiver.deliveries) == 1
        finally:
            receiver.stop()

    run(scene)


def test_what_is_pending_survives_a_stop_and_a_new_process(tmp_path: Path, sandbox_hook: SandboxHook) -> None:
    async def scene() -> None:
        async with site(tmp_path) as before, scripted(b"") as deaf:
            async with before.courier({"alert": hook(deaf)}):
                await before.put()
                await until(lambda: len(deaf.requests) == 1, "the attempt that hangs")
            assert await before.states() == [("pending", 0, "")]
        async with site(tmp_path) as after, after.courier({"alert": hook(sandbox_hook)}) as courier:
            await until(lambda: courier.tally.delivered == 1, "the delivery")
            assert len(sandbox_hook.deliveries) == 1

    run(scene)


def test_a_receiver_that_hangs_holds_up_no_other_channel(tmp_path: Path, sandbox_hook: SandboxHook) -> None:
    async def scene() -> None:
        async with AsyncExitStack() as stack:
            here = await stack.enter_async_context(site(tmp_path))
            deaf = await stack.enter_async_context(scripted(b""))
            channels: dict[str, Channel] = {"deaf": hook(deaf), "alert": hook(sandbox_hook)}
            courier = await stack.enter_async_context(here.courier(channels))
            await asyncio.gather(*(here.put("deaf") for _ in range(20)))
            await until(lambda: len(deaf.requests) == QUICK.pace.width, "as many as may hang")
            await here.put()
            await until(lambda: courier.tally.delivered == 1, "the delivery")

    run(scene)


def test_silence_is_a_failure_and_tried_again(tmp_path: Path) -> None:
    async def scene() -> None:
        impatient = Limits(QUICK.pace, timeout=0.05, grace=0.1, survey=0.01)
        async with site(tmp_path) as here, scripted(b"", OK) as receiver:
            async with here.courier({"alert": hook(receiver)}, limits=impatient) as courier:
                await here.put()
                await until(lambda: courier.tally.delivered == 1, "the delivery")
            assert (len(receiver.requests), courier.tally.retried) == (2, 1)

    run(scene)


@pytest.mark.parametrize(
    "answer",
    [
        None,
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"HTTP/1.1 200",
        b"HTTP/1.1 99999 What\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"a" * 100_000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["hangs up", "another protocol", "half a line", "no such status", "endless header", "broken chunks"],
)
def test_what_is_no_answer_is_tried_again(tmp_path: Path, answer: bytes | None) -> None:
    async def scene() -> None:
        async with site(tmp_path) as here, scripted(answer, OK) as receiver:
            async with here.courier({"alert": hook(receiver)}) as courier:
                await here.put()
                await until(lambda: courier.tally.delivered == 1, "the delivery")
            assert courier.tally.retried >= 1

    run(scene)


@pytest.mark.parametrize(
    "body",
    [
        b"Content-Length: 100000000\r\n\r\n" + b"a" * 1_000_000,
        b"Content-Length: 9\r\n\r\nabcde",
        b"Transfer-Encoding: chunked\r\n\r\n5\r\nabcde\r\n",
        b"Content-Encoding: gzip\r\nContent-Length: 5\r\n\r\nabcde",
    ],
    ids=["long", "short", "without an end", "no gzip"],
)
def test_the_body_of_an_answer_changes_nothing(tmp_path: Path, body: bytes) -> None:
    async def scene() -> None:
        async with site(tmp_path) as here, scripted(b"HTTP/1.1 200 OK\r\n" + body) as receiver:
            async with here.courier({"alert": hook(receiver)}) as courier:
                await here.put()
                await until(lambda: courier.tally.delivered == 1, "the delivery")
            assert len(receiver.requests) == 1

    run(scene)


def test_a_body_that_never_comes_is_not_waited_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("adapters.notify.sender.READING", 0.01)

    async def scene() -> None:
        slow = Scripted(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", keep=True)
        async with site(tmp_path) as here, served(slow), here.courier({"alert": hook(slow)}) as courier:
            await here.put()
            await until(lambda: courier.tally.delivered == 1, "the delivery")
            assert len(slow.requests) == 1

    run(scene)


def test_a_redirect_is_not_followed(tmp_path: Path, sandbox_hook: SandboxHook) -> None:
    async def scene() -> None:
        moved = status("307 Temporary Redirect", f"Location: {sandbox_hook.base}/elsewhere")
        async with site(tmp_path) as here, scripted(moved) as receiver:
            async with here.courier({"alert": hook(receiver)}) as courier:
                await here.put()
                await until(lambda: courier.tally.retried >= 1, "the first attempt")
            [(state, _, problem)] = await here.states()
            assert (state, problem, sandbox_hook.deliveries) == ("pending", "answered 307", [])

    run(scene)


def test_a_receiver_may_ask_for_a_pause(tmp_path: Path) -> None:
    async def scene() -> None:
        later = status("429 Too Many Requests", "Retry-After: 40")
        async with site(tmp_path) as here, scripted(later) as receiver:
            began = datetime.now(UTC)
            async with here.courier({"alert": hook(receiver)}, retry=Retry(first=0.001, ceiling=60)) as courier:
                await here.put()
                await until(lambda: courier.tally.retried == 1, "the first attempt")
            moment = await here.database.next_due("alert")
            assert moment is not None and moment >= began + timedelta(seconds=40)

    run(scene)


def test_a_receiver_must_show_a_certificate_of_the_sites_authority(tmp_path: Path) -> None:
    authority, other = trustme.CA(), trustme.CA()
    serving = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(serving)
    trusting, doubting = ssl.create_default_context(), ssl.create_default_context()
    authority.configure_trust(trusting)
    other.configure_trust(doubting)

    async def scene() -> None:
        async with AsyncExitStack() as stack:
            here = await stack.enter_async_context(site(tmp_path))
            receiver = await stack.enter_async_context(served(Scripted(OK), serving))
            channels: dict[str, Channel] = {"alert": Webhook(f"https://127.0.0.1:{receiver.port}/", b"invented")}
            async with here.courier(channels, tls=doubting) as courier:
                await here.put()
                await until(lambda: courier.tally.retried >= 1, "the first attempt")
                assert receiver.requests == []
            async with here.courier(channels, tls=trusting) as courier:
                await until(lambda: courier.tally.delivered == 1, "the delivery")

    run(scene)


# -- FHIR servers ----------------------------------------------------------------------------


def test_a_workflow_becomes_one_task_at_the_fhir_server(tmp_path: Path, sandbox_fhir: SandboxFhir) -> None:
    async def scene() -> None:
        async with site(tmp_path) as here, here.courier({"workflow": FhirTask(sandbox_fhir.base)}) as courier:
            await here.put("workflow", WORKFLOW, "immediate")
            await until(lambda: courier.tally.delivered == 1, "the delivery")
            [task] = sandbox_fhir.shelf.all("Task")
            assert (task["status"], task["intent"], task["priority"]) == ("requested", "order", "stat")
            assert task["for"]["identifier"] == {"system": "urn:oid:1.2.3", "value": "P001"}
            assert task["focus"]["identifier"]["value"] == "ORD1"
            assert [event.protocol for event in here.trail] == ["fhir"]

    run(scene)


def test_an_alert_becomes_a_communication_at_the_fhir_server(tmp_path: Path, sandbox_fhir: SandboxFhir) -> None:
    async def scene() -> None:
        async with site(tmp_path) as here, here.courier({"alert": FhirCommunication(sandbox_fhir.base)}) as courier:
            await here.put()
            await until(lambda: courier.tally.delivered == 1, "the delivery")
            [told] = sandbox_fhir.shelf.all("Communication")
            assert (told["status"], told["priority"]) == ("completed", "stat")
            assert told["payload"] == [{"contentString": "notify (stat): view:result:critical, code 2823-3"}]

    run(scene)


def test_a_task_that_arrived_is_not_set_back_by_a_repetition(tmp_path: Path, sandbox_fhir: SandboxFhir) -> None:
    """The answer got lost with the process; meanwhile somebody has begun the work."""

    async def scene() -> None:
        channels: dict[str, Channel] = {"workflow": FhirTask(sandbox_fhir.base)}
        async with site(tmp_path) as here:
            async with here.courier(channels) as courier:
                await here.put("workflow", WORKFLOW)
                await until(lambda: courier.tally.delivered == 1, "the delivery")
            [task] = sandbox_fhir.shelf.all("Task")
            sandbox_fhir.shelf.put("Task", task["id"], {**task, "status": "in-progress"})
            await here.database.write(lambda connection: connection.execute("update outbox set state = 'pending'"))
            async with here.courier(channels) as courier:
                await until(lambda: courier.tally.delivered == 1, "the repetition")
            [task] = sandbox_fhir.shelf.all("Task")
            assert (task["status"], task["meta"]["versionId"]) == ("in-progress", "2")

    run(scene)


def test_a_server_that_says_it_has_it_has_it(tmp_path: Path) -> None:
    async def scene() -> None:
        async with site(tmp_path) as here, scripted(status("412 Precondition Failed")) as receiver:
            async with here.courier({"workflow": FhirTask(receiver.url)}) as courier:
                await here.put("workflow", WORKFLOW)
                await until(lambda: courier.tally.delivered == 1, "the answer")
            assert [request.split()[0] for request in receiver.requests] == [b"PUT"]

    run(scene)


def test_a_server_that_cannot_be_asked_first_is_not_written_to(tmp_path: Path) -> None:
    async def scene() -> None:
        async with site(tmp_path) as here, scripted(status("503 Busy")) as receiver:
            await here.put("workflow", WORKFLOW)
            async with here.courier({"workflow": FhirTask(receiver.url)}) as courier:
                await until(lambda: courier.tally.retried >= 2, "two attempts")
            assert {request.split()[0] for request in receiver.requests} == {b"GET"}

    run(scene)


def test_a_server_that_refuses_to_be_asked_is_written_to(tmp_path: Path) -> None:
    async def scene() -> None:
        async with site(tmp_path) as here, scripted(status("403 Forbidden"), status("201 Created")) as receiver:
            await here.put("workflow", WORKFLOW)
            async with here.courier({"workflow": FhirTask(receiver.url, {"Authorization": "Bearer t"})}) as courier:
                await until(lambda: courier.tally.delivered == 1, "the delivery")
            assert [request.split()[0] for request in receiver.requests] == [b"GET", b"PUT"]
            assert all(b"Authorization: Bearer t\r\n" in request for request in receiver.requests)

    run(scene)


@pytest.mark.peer("node")
def test_somebody_elses_fhir_server_takes_both(tmp_path: Path, empty_npm_fhir: NpmFhir) -> None:
    async def scene() -> None:
        base = empty_npm_fhir.base
        channels: dict[str, Channel] = {"workflow": FhirTask(base), "alert": FhirCommunication(base)}
        async with site(tmp_path) as here, here.courier(channels) as courier:
            await here.put("workflow", WORKFLOW, "immediate")
            await here.put()
            await until(lambda: courier.tally.delivered == 2, "both deliveries")
            assert [event.outcome for event in here.trail] == [Outcome.SUCCESS] * 2

    run(scene)
    [task] = [one["resource"] for one in empty_npm_fhir.request("GET", "/Task")["entry"]]
    [told] = [one["resource"] for one in empty_npm_fhir.request("GET", "/Communication")["entry"]]
    assert (task["priority"], told["priority"]) == ("stat", "stat")


# -- nothing gets lost -----------------------------------------------------------------------


def test_a_channel_that_is_not_there_leaves_a_record(tmp_path: Path) -> None:
    async def scene() -> None:
        async with site(tmp_path) as here, here.courier({}) as courier:
            await here.put("nowhere")
            await until(lambda: courier.tally.dead == 1, "the end of it")
            assert await here.states() == [("dead", 0, "the channel is not configured")]
            assert [event.operation for event in here.trail] == ["notify:nowhere"]

    run(scene)


def test_nobody_is_named_in_the_log(
    tmp_path: Path, sandbox_hook: SandboxHook, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    sandbox_hook.failing = 1

    async def scene() -> None:
        channels: dict[str, Channel] = {"alert": hook(sandbox_hook), "workflow": FhirTask("http://127.0.0.1:1/")}
        async with site(tmp_path) as here, here.courier(channels) as courier:
            await here.put()
            await here.put("workflow", WORKFLOW)
            await here.put("nowhere")
            await until(lambda: (courier.tally.delivered, courier.tally.dead) == (1, 1), "two ends")
            await until(lambda: courier.tally.retried >= 2, "a failure")

    run(scene)
    assert "spir.notify" in {record.name for record in caplog.records}
    assert "P001" not in caplog.text and "ORD1" not in caplog.text
