"""One transaction for what belongs together: durable, visible in order, or refused."""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import apsw
import pytest

from adapters.backbone.embedded import Embedded, Options, Purged
from adapters.backbone.schema import connect, connect_reader, require_sound
from spir.errors import FactError, RequestError, Unavailable
from spir.exchange import Keep, Learn, Notification, Notify, Record
from spir.model.facts import CLOSED, Assert, Fact, Held, Join, Joining, Merge, Retract
from spir.record.event import AuditEvent, EventKind, Outcome
from tests.given import NOON

PATIENT = ("patient", "HIS|P1")
OTHER = ("patient", "HIS|P2")
EVENT = AuditEvent(NOON, EventKind.MESSAGE, "hl7v2", "update:encounter:admit", "HIS", Outcome.SUCCESS)
KEEP = Keep("HIS", "M1", "ADT^A01", b"MSH|...")
BAD = Learn((Merge(PATIENT, ("staff", "dr.li"), "HIS", NOON),))
ALERT = Notify(Notification("alert", "notify", "high", {"patient": "HIS|P1"}))

Opened = Callable[..., Embedded]


def team(*names: str, minutes: int = 0, part: str = "visit:V1", key: tuple[str, str] = PATIENT) -> Learn:
    return Learn((Assert(Fact(key, "care_team", names, "HIS", NOON + timedelta(minutes=minutes), part)),))


def append(connection: apsw.Connection, *events: AuditEvent) -> None:
    connection.executemany("insert into trail (operation) values (?)", [(event.operation,) for event in events])


def prepare(connection: apsw.Connection) -> None:
    connection.execute("create table if not exists trail (operation text)")


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    def open_it(**options: object) -> Embedded:
        given = Options(joins={"care_team": Join(Joining.UNION)}, **options)  # type: ignore[arg-type]
        return Embedded.open(tmp_path / "spir.db", append, prepare=[prepare], now=lambda: NOON, options=given)

    return open_it


@asynccontextmanager
async def held_up(database: Embedded) -> AsyncIterator[None]:
    """The writer's thread is busy: what is submitted meanwhile gathers in the queue."""
    gate, entered = threading.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    def hold(connection: apsw.Connection) -> None:
        loop.call_soon_threadsafe(entered.set)
        gate.wait(20)

    task = asyncio.create_task(database.write(hold))
    await entered.wait()
    try:
        yield
    finally:
        gate.set()
        await asyncio.gather(task, return_exceptions=True)


def count(connection: apsw.Connection, table: str) -> int:
    return int(connection.execute(f"select count(*) from {table}").fetchone()[0])


def held(database: Embedded, key: tuple[str, str] = PATIENT) -> object:
    found = database.facts.snapshot.get(key, "care_team", NOON)
    return found.value if isinstance(found, Held) else None


def test_what_belongs_together_is_stored_together(opened: Opened):
    async def run() -> None:
        database = opened()
        assert await database.commit([KEEP, team("dr.li"), Record(EVENT), ALERT]) == 1
        tables = ("message", "fact", "trail", "outbox")
        assert [await database.read(lambda c, t=table: count(c, t)) for table in tables] == [1, 1, 1, 1]
        assert held(database) == ("dr.li",)
        await database.close()

    asyncio.run(run())


def test_nothing_is_stored_of_a_commit_that_fails(opened: Opened):
    async def run() -> None:
        database = opened()

        with pytest.raises(FactError):
            await database.commit([KEEP, team("dr.li"), Record(EVENT), BAD])
        with pytest.raises(RequestError):
            await database.commit([KEEP, team("dr.li"), Notify(Notification("a", "notify", "", {"x": object()}))])
        tables = ("message", "fact", "trail", "outbox")
        assert [await database.read(lambda c, t=table: count(c, t)) for table in tables] == [0, 0, 0, 0]
        assert held(database) is None
        assert await database.commit([team("dr.wu")]) == 1
        await database.close()

    asyncio.run(run())


def test_one_that_fails_takes_nobody_with_it(opened: Opened):
    async def run() -> None:
        database = opened()
        async with held_up(database):
            tasks = [
                asyncio.create_task(database.commit([team("a", part="1")])),
                asyncio.create_task(database.commit([team("b", part="2"), BAD])),
                asyncio.create_task(database.commit([team("c", part="3")])),
                asyncio.create_task(database.write(lambda c: c.execute("select * from nowhere"))),
            ]
            await asyncio.sleep(0)
        first, second, third, fourth = await asyncio.gather(*tasks, return_exceptions=True)
        assert (first, type(second), third, type(fourth)) == (1, FactError, 2, apsw.SQLError)
        assert held(database) == ("a", "c")
        await database.close()
        again = opened()
        assert held(again) == ("a", "c")
        await again.close()

    asyncio.run(run())


def test_who_waits_for_a_commit_sees_its_facts_and_all_before_it(opened: Opened):
    async def run() -> None:
        database = opened()

        async def learn(n: int) -> None:
            revision = await database.commit([team(f"dr.{n}", part=str(n))])
            assert database.facts.snapshot.revision >= revision
            value = held(database)
            assert isinstance(value, tuple) and f"dr.{n}" in value
            seen.append(revision)

        seen: list[int] = []
        await asyncio.gather(*(learn(n) for n in range(200)))
        assert seen == sorted(seen) == list(range(1, 201))
        await database.close()

    asyncio.run(run())


def test_facts_are_not_visible_before_they_are_durable(opened: Opened):
    async def run() -> None:
        database = opened()
        async with held_up(database):
            task = asyncio.create_task(database.commit([team("dr.li")]))
            await asyncio.sleep(0)
            assert held(database) is None
        assert await task == 1
        assert held(database) == ("dr.li",)
        await database.close()

    asyncio.run(run())


def test_a_full_queue_refuses_at_once(opened: Opened):
    async def run() -> None:
        database = opened(limit=3)
        async with held_up(database):
            tasks = [asyncio.create_task(database.commit([KEEP])) for _ in range(5)]
            refused = [task for task in tasks if (await asyncio.wait([task], timeout=0.01))[0]]
            assert [type(task.exception()) for task in refused] == [Unavailable, Unavailable]
        assert [await task for task in tasks[:3]] == [0, 0, 0]
        await database.close()

    asyncio.run(run())


def test_a_full_disk_is_said_and_survived(opened: Opened):
    async def run() -> None:
        database = opened()
        await database.write(lambda c: c.execute("pragma max_page_count = 40"))
        with pytest.raises(Unavailable, match="cannot be written"):
            await database.commit([Keep("HIS", "M1", "ADT^A01", bytes(1_000_000)), team("dr.li")])
        assert held(database) is None
        await database.write(lambda c: c.execute("pragma max_page_count = 100000"))
        assert await database.commit([Keep("HIS", "M1", "ADT^A01", bytes(1_000_000)), team("dr.li")]) == 1
        await database.close()

    asyncio.run(run())


def test_a_read_only_disk_fails_all_of_the_transaction(opened: Opened):
    async def run() -> None:
        database = opened()

        def read_only(connection: apsw.Connection) -> None:
            connection.execute("pragma query_only = on")

        await database.write(read_only)
        commits = (database.commit([team("dr.li")]) for _ in range(3))
        failures = await asyncio.gather(*commits, return_exceptions=True)
        assert [type(failure) for failure in failures] == [Unavailable] * 3
        assert len({id(failure) for failure in failures}) == 3
        await database.close()

    asyncio.run(run())


def test_a_disk_that_does_not_answer_is_not_waited_for(opened: Opened):
    async def run() -> None:
        database = opened(patience=0.05)
        with pytest.raises(Unavailable, match="in time"):
            async with held_up(database):
                await database.commit([KEEP])
        await database.close()

    asyncio.run(run())


def test_a_caller_who_leaves_does_not_disturb(opened: Opened):
    async def run() -> None:
        database = opened()
        async with held_up(database):
            task = asyncio.create_task(database.commit([team("dr.li")]))
            await asyncio.sleep(0)
            task.cancel()
        assert await database.commit([KEEP]) == 1
        assert held(database) == ("dr.li",)
        await database.close()

    asyncio.run(run())


def test_after_closing_everything_is_refused_and_what_was_queued_is_kept(opened: Opened):
    async def run() -> None:
        database = opened()
        async with held_up(database):
            task = asyncio.create_task(database.commit([team("dr.li")]))
            await asyncio.sleep(0)
            closing = asyncio.create_task(database.close())
            await asyncio.sleep(0)
        await closing
        assert await task == 1
        with pytest.raises(Unavailable, match="closed"):
            await database.commit([KEEP])
        again = opened()
        assert (held(again), again.facts.snapshot.revision) == (("dr.li",), 1)
        await again.close()

    asyncio.run(run())


def test_the_revision_goes_on_after_a_restart(opened: Opened):
    async def run() -> None:
        for expected in range(1, 4):
            database = opened()
            assert await database.commit([team("dr.li", minutes=expected)]) == expected
            await database.close()

    asyncio.run(run())


def test_only_one_gateway_uses_a_folder(opened: Opened):
    async def run() -> None:
        database = opened()
        with pytest.raises(Unavailable, match="another gateway"):
            opened()
        await database.close()
        await opened().close()

    asyncio.run(run())


def test_the_files_are_for_their_owner_only(opened: Opened, tmp_path: Path):
    async def run() -> None:
        before = os.umask(0)
        try:
            database = opened()
            await database.commit([KEEP])
            modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
            await database.close()
        finally:
            os.umask(before)
        assert set(modes) == {"spir.db", "spir.db-wal", "spir.db-shm", "spir.db.lock"}
        assert set(modes.values()) == {0o600}

    asyncio.run(run())


def test_commits_are_synced_to_the_disk(tmp_path: Path):
    connection = connect(tmp_path / "x.db")
    assert connection.pragma("journal_mode") == "wal"
    assert connection.pragma("synchronous") == 2  # FULL


@pytest.mark.parametrize("version", ["3.40.1", "3.51.2", "3.7.0"])
def test_an_unsound_sqlite_is_refused(version: str):
    with pytest.raises(Unavailable, match="lose committed data"):
        require_sound(version)


def test_a_sound_sqlite_is_taken():
    for version in ("3.51.3", "3.53.0", "4.0.0"):
        require_sound(version)


def test_a_database_of_a_newer_release_is_left_alone(opened: Opened, tmp_path: Path):
    connection = connect(tmp_path / "spir.db")
    connection.execute("pragma user_version = 99")
    connection.close()
    with pytest.raises(Unavailable, match="version 99"):
        opened()


def test_what_is_no_database_is_said_to_be_none(opened: Opened, tmp_path: Path):
    (tmp_path / "spir.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(Unavailable, match="cannot be opened"):
        opened()
    with pytest.raises(Unavailable):
        connect_reader(tmp_path / "missing.db")


def test_a_message_is_recalled_with_its_answer(opened: Opened):
    async def run() -> None:
        database = opened()
        digest = sha256(KEEP.body).digest()
        assert database.recall("HIS", "M1", digest) == (None, "")
        await database.commit([KEEP])
        assert database.recall("HIS", "M1", digest) == ("same", "AA")
        assert database.recall("HIS", "M1", bytes(32)) == ("other", "AA")
        assert database.recall("LAB", "M1", digest) == (None, "")
        await database.commit([Keep("HIS", "M2", "", b"x", "refused"), Keep("HIS", "M3", "", b"y", "unreadable")])
        assert database.recall("HIS", "M2", sha256(b"x").digest()) == ("same", "AR")
        assert database.recall("HIS", "M3", sha256(b"y").digest()) == ("same", "AE")
        await database.close()

    asyncio.run(run())


def test_messages_are_listed_newest_first_and_shown_whole(opened: Opened):
    async def run() -> None:
        database = opened()
        await database.commit([KEEP])
        await database.commit([Keep("LAB", "M2", "ORU^R01", b"12", "refused")])
        await database.commit([Keep("HIS", "M1", "ADT^A01", KEEP.body, "refused")])
        found = await database.messages()
        assert [(m.control_id, m.state, m.ack, m.times, m.size, m.body) for m in found] == [
            ("M2", "refused", "AR", 1, 2, None),
            ("M1", "refused", "AR", 2, 7, None),
        ]
        assert [m.source for m in await database.messages(source="HIS")] == ["HIS"]
        assert await database.messages(before=found[-1].sequence) == []
        assert [m.kind for m in await database.messages(limit=1, state="refused")] == ["ORU^R01"]
        shown = await database.message(found[0].sequence)
        assert shown is not None and (shown.body, shown.received) == (b"12", NOON)
        assert await database.message(99) is None
        await database.close()

    asyncio.run(run())


def test_the_outbox_gives_out_what_is_due_until_it_is_settled(opened: Opened):
    async def run() -> None:
        database, woken = opened(), []
        database.on_notify(lambda: woken.append(True))
        await database.commit([KEEP])
        assert woken == []
        await database.commit([ALERT])
        assert woken == [True]
        [parcel] = await database.due("alert", NOON, 10)
        assert (parcel.notification, parcel.attempts, parcel.created) == (ALERT.notification, 0, NOON)
        assert await database.due("other", NOON, 10) == []
        later = NOON + timedelta(minutes=1)
        await database.settle(parcel.id, "pending", 1, later, "refused connection", None)
        assert await database.due("alert", NOON, 10) == []
        assert await database.next_due("alert") == later
        assert [p.attempts for p in await database.due("alert", later, 10)] == [1]
        assert await database.waiting() == {"alert": 1}
        await database.settle(parcel.id, "delivered", 2, later, "", EVENT)
        assert (await database.waiting(), await database.next_due("alert")) == ({}, None)
        assert await database.read(lambda c: count(c, "trail")) == 1
        await database.close()

    asyncio.run(run())


def test_old_things_are_purged_a_few_at_a_time(tmp_path: Path):
    clock = [NOON]

    async def run() -> None:
        database = Embedded.open(tmp_path / "spir.db", append, prepare=[prepare], now=lambda: clock[0])
        for n in range(3):
            key = ("patient", f"HIS|{n}")
            await database.commit([Keep("HIS", f"M{n}", "ADT^A03", b"x"), team("dr.li", key=key)])
            await database.commit([Learn((Retract(key, "care_team", "visit:V1", "HIS", NOON + timedelta(hours=1)),))])
        await database.commit([Learn((Assert(Fact(OTHER, "vip", True, "HIS", NOON, valid_until=NOON)),)), ALERT])
        assert await database.purge(30) == Purged()
        clock[0] = NOON + timedelta(days=31)
        assert await database.purge(30, limit=2) == Purged(2, 2, 0)
        assert await database.purge(30, limit=2) == Purged(2, 1, 0)
        assert await database.purge(30, limit=2) == Purged(0, 0, 0)
        assert list(database.facts.snapshot.every_key()) == []
        assert await database.waiting() == {"alert": 1}
        await database.close()

    asyncio.run(run())


def test_what_lies_under_an_old_closed_visit_is_purged_and_the_closing_stays(tmp_path: Path):
    clock = [NOON]

    async def run() -> None:
        database = Embedded.open(tmp_path / "spir.db", append, prepare=[prepare], now=lambda: clock[0])

        def fact(attribute: str, part: str, value: object = True, minutes: int = 0) -> Learn:
            moment = NOON + timedelta(minutes=minutes)
            return Learn((Assert(Fact(PATIENT, attribute, value, "HIS", moment, part)),))  # type: ignore[arg-type]

        for visit in ("visit:V1", "visit:V10", "visit:V%"):
            await database.commit(
                [fact("care_team", f"{visit}/attending", ("dr.li",)), fact("encounter_status", visit)]
            )
        await database.commit([fact(CLOSED, "visit:V1"), fact(CLOSED, "visit:V%")])
        await database.commit([fact(CLOSED, "visit:V10", False)])
        clock[0] = NOON + timedelta(days=31)
        assert (await database.purge(30)).facts == 2
        assert (await database.purge(30)).facts == 0
        left = sorted(database.facts.snapshot.rows(PATIENT))
        assert left == [
            ("care_team", "visit:V10/attending"),
            *(("closed", f"visit:V{n}") for n in ("%", "1", "10")),
            *(("encounter_status", f"visit:V{n}") for n in ("%", "1", "10")),
        ]
        await database.close()
        again = Embedded.open(tmp_path / "spir.db", append, prepare=[prepare])
        assert sorted(again.facts.snapshot.rows(PATIENT)) == left
        await again.close()

    asyncio.run(run())


def test_closed_visits_are_swept_a_few_at_a_time(tmp_path: Path):
    async def run() -> None:
        database = Embedded.open(tmp_path / "spir.db", append, prepare=[prepare], now=lambda: NOON + timedelta(days=31))
        for n in range(5):
            moment, visit = NOON + timedelta(minutes=n), f"visit:V{n}"
            facts = (
                Fact(PATIENT, "care_team", ("dr.li",), "HIS", moment, f"{visit}/attending"),
                Fact(PATIENT, CLOSED, True, "HIS", moment, visit),
            )
            await database.commit([Learn(tuple(Assert(fact) for fact in facts))])
        counts = [(await database.purge(30, limit=2)).facts for _ in range(6)]
        assert sum(counts) == 5 and max(counts) <= 2
        await database.close()

    asyncio.run(run())


def test_many_callers_are_woken_with_one_call(opened: Opened):
    async def run() -> None:
        database = opened()
        loop, calls = asyncio.get_running_loop(), []
        threadsafe = loop.call_soon_threadsafe

        def counted(*given: object) -> object:
            calls.append(given)
            return threadsafe(*given)  # type: ignore[arg-type]

        async with held_up(database):
            tasks = [asyncio.create_task(database.commit([team(f"dr.{n}", part=str(n))])) for n in range(100)]
            await asyncio.sleep(0)
            loop.call_soon_threadsafe = counted  # type: ignore[method-assign, assignment]
        assert sorted(await asyncio.gather(*tasks)) == list(range(1, 101))
        assert len(calls) == 2  # one for who held it up, one for the hundred
        loop.call_soon_threadsafe = threadsafe  # type: ignore[method-assign]
        await database.close()

    asyncio.run(run())


def test_callers_in_several_event_loops_are_all_served(opened: Opened):
    database = opened()

    def elsewhere(n: int) -> list[int]:
        async def call() -> list[int]:
            return [await database.commit([team(f"dr.{n}.{k}", part=f"{n}.{k}")]) for k in range(20)]

        return asyncio.run(call())

    with ThreadPoolExecutor(4) as pool:
        revisions = list(pool.map(elsewhere, range(4)))
    assert sorted(revision for found in revisions for revision in found) == list(range(1, 81))
    assert all(found == sorted(found) for found in revisions)
    asyncio.run(database.close())
