"""A lane starts what is due, so many at once and each once, and survives what fails."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta

from adapters.notify.lane import Lane, Pace
from adapters.notify.port import Parcel
from tests.given import NOON
from tests.notify.parcels import GivenOutbox, parcel, turns, until

QUICK = Pace(width=2, idle=0.01, busy=0.001, recovery=0.001)


class Hands:
    """Carries parcels: each waits until `let` is called for it, then is settled as delivered."""

    def __init__(self, outbox: GivenOutbox) -> None:
        self._outbox = outbox
        self._gates: dict[str, asyncio.Event] = {}
        self.begun: list[str] = []
        self.most = 0

    async def carry(self, parcel: Parcel) -> None:
        self.begun.append(parcel.id)
        gate = self._gates[parcel.id] = asyncio.Event()
        self.most = max(self.most, len(self._gates))
        await gate.wait()
        await self._outbox.settle(parcel.id, "delivered", 0, NOON, "", None)
        del self._gates[parcel.id]

    def let(self, *ids: str) -> None:
        for id in ids:
            self._gates[id].set()


@asynccontextmanager
async def running(
    outbox: GivenOutbox, carry: Callable[[Parcel], Awaitable[None]], pace: Pace = QUICK
) -> AsyncIterator[Lane]:
    lane = Lane("alert", outbox, carry, lambda: NOON, pace)
    outbox.on_notify(lane.wake)
    task = asyncio.ensure_future(lane.run())
    try:
        yield lane
    finally:
        task.cancel()
        await lane.finish(0)


def test_so_many_at_once_and_the_next_when_one_is_over():
    async def run() -> None:
        outbox = GivenOutbox()
        hands = Hands(outbox)
        async with running(outbox, hands.carry):
            outbox.put(*(parcel(id=name) for name in "abc"))
            await until(lambda: hands.begun == ["a", "b"], "the first two")
            await turns()
            assert hands.begun == ["a", "b"]
            hands.let("a")
            await until(lambda: hands.begun == ["a", "b", "c"], "the third")
            hands.let("b", "c")
            await until(lambda: not outbox.pending, "all of them")
            assert hands.most == 2

    asyncio.run(run())


def test_what_is_under_way_is_not_begun_again():
    async def run() -> None:
        outbox = GivenOutbox()
        hands = Hands(outbox)
        async with running(outbox, hands.carry) as lane:
            outbox.put(parcel(id="a"))
            await until(lambda: hands.begun == ["a"], "the first")
            for _ in range(5):
                lane.wake()
                await turns()
            assert hands.begun == ["a"]

    asyncio.run(run())


def test_what_ends_while_the_outbox_is_asked_is_not_begun_again():
    async def run() -> None:
        outbox = GivenOutbox()
        hands = Hands(outbox)
        asked = outbox.due

        async def slow(channel, now, limit):
            found = await asked(channel, now, limit)
            if hands.begun == ["a"] and "a" in outbox.pending:
                hands.let("a")
                await until(lambda: "a" not in outbox.pending, "the end of the first")
            return found

        outbox.due = slow
        async with running(outbox, hands.carry):
            outbox.put(parcel(id="a"))
            await until(lambda: hands.begun == ["a"], "the first")
            outbox.put(parcel(id="b"))
            await until(lambda: "b" in hands.begun, "the second")
            assert hands.begun == ["a", "b"]

    asyncio.run(run())


def test_a_retry_is_begun_when_its_time_has_come_and_nobody_wakes_the_lane():
    async def run() -> None:
        outbox = GivenOutbox()
        hands = Hands(outbox)
        clock = [NOON]
        lane = Lane("alert", outbox, hands.carry, lambda: clock[0], QUICK)
        task = asyncio.ensure_future(lane.run())
        outbox.put(parcel(id="a"), at=NOON + timedelta(minutes=5))
        await until(lambda: len(outbox.asked) > 3, "a few looks")
        assert hands.begun == []
        clock[0] += timedelta(minutes=5)
        await until(lambda: hands.begun == ["a"], "the retry")
        task.cancel()
        await lane.finish(0)

    asyncio.run(run())


def test_a_failing_outbox_does_not_end_a_lane():
    async def run() -> None:
        outbox = GivenOutbox(failing=3)
        hands = Hands(outbox)
        async with running(outbox, hands.carry):
            outbox.put(parcel(id="a"))
            await until(lambda: hands.begun == ["a"], "the outbox to come back")

    asyncio.run(run())


def test_a_fault_of_ours_is_logged_without_its_words_and_not_repeated_at_once(caplog):
    async def run() -> None:
        outbox = GivenOutbox()
        begun: list[str] = []

        async def carry(parcel: Parcel) -> None:
            begun.append(parcel.id)
            raise KeyError("HIS|P001")

        async with running(outbox, carry, Pace(recovery=60.0)) as lane:
            outbox.put(parcel(id="a"))
            for _ in range(5):
                lane.wake()
                await turns()
            assert begun == ["a"]

    asyncio.run(run())
    assert "notification a was dropped by a fault of ours: KeyError" in caplog.text and "P001" not in caplog.text


def test_finish_waits_for_what_is_under_way():
    async def run() -> None:
        outbox = GivenOutbox()
        hands = Hands(outbox)
        async with running(outbox, hands.carry) as lane:
            outbox.put(parcel(id="a"))
            await until(lambda: hands.begun == ["a"], "the first")
            ending = asyncio.ensure_future(lane.finish(60))
            await turns()
            assert not ending.done()
            hands.let("a")
            await ending
            assert [one.id for one in outbox.settled] == ["a"]

    asyncio.run(run())


def test_finish_gives_up_what_takes_too_long_and_leaves_it_pending():
    async def run() -> None:
        outbox = GivenOutbox()
        hands = Hands(outbox)
        async with running(outbox, hands.carry) as lane:
            outbox.put(parcel(id="a"))
            await until(lambda: hands.begun == ["a"], "the first")
            await lane.finish(0)
            assert list(outbox.pending) == ["a"]

    asyncio.run(run())
