"""Records of many calls in one commit."""

from __future__ import annotations

import asyncio

import pytest

from adapters.authzen import recorder as module
from adapters.authzen.recorder import Recorder
from spir.errors import Unavailable


class Disk:
    """Commits when it is let; remembers what."""

    def __init__(self):
        self.commits, self.turns, self.error = [], asyncio.Semaphore(0), None

    async def __call__(self, *records):
        self.commits.append(records)
        await self.turns.acquire()
        if self.error:
            raise self.error
        return 0


async def until(condition):
    while not condition():
        await asyncio.sleep(0)


def test_what_gathers_while_a_commit_is_under_way_goes_with_the_next():
    async def run():
        disk = Disk()
        recorder = Recorder(disk)
        first = asyncio.create_task(recorder.record(["a"]))
        await until(lambda: disk.commits)
        rest = [asyncio.create_task(recorder.record([name])) for name in "bcd"]
        disk.turns.release()
        await first
        assert not any(task.done() for task in rest)
        disk.turns.release()
        await asyncio.gather(*rest)
        await recorder.close()
        return disk.commits

    assert asyncio.run(run()) == [("a",), ("b", "c", "d")]


def test_a_failed_commit_is_told_to_all_who_waited_for_it_and_the_next_may_succeed():
    async def run():
        disk = Disk()
        disk.error = OSError("disk full")
        recorder = Recorder(disk)
        tasks = [asyncio.create_task(recorder.record([name])) for name in "ab"]
        disk.turns.release()
        failed = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(error) for error in failed] == [Unavailable, Unavailable] and failed[0] is not failed[1]
        assert recorder.problem == "disk full"
        disk.error = None
        disk.turns.release()
        await recorder.record(["c"])
        assert recorder.problem == ""

    asyncio.run(run())


def test_records_that_cannot_be_written_take_no_others_with_them():
    class Trail(Disk):
        async def __call__(self, *records):
            await super().__call__(*records)
            if "odd" in records:
                raise TypeError("what was asked must not be told")

    async def run():
        trail = Trail()
        recorder = Recorder(trail)
        tasks = [asyncio.create_task(recorder.record(list(names))) for names in (("a", "b"), ("odd", "c"), ("d",))]
        for _ in range(4):
            trail.turns.release()
        told = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(one) for one in told] == [type(None), Unavailable, type(None)]
        assert "asked" not in f"{told[1]} {told[1].hint}"
        assert trail.commits == [("a", "b", "odd", "c", "d"), ("a", "b"), ("odd", "c"), ("d",)]

    asyncio.run(run())


def test_all_who_wait_are_told_if_the_service_stops_while_records_are_tried_one_by_one():
    class Trail(Disk):
        async def __call__(self, *records):
            if len(records) > 1:
                raise TypeError
            await super().__call__(*records)

    async def run():
        trail = Trail()
        recorder = Recorder(trail)
        tasks = [asyncio.create_task(recorder.record([name])) for name in "abc"]
        await until(lambda: trail.commits)
        recorder._running.cancel()
        told = await asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 5)
        assert [type(one) for one in told] == [Unavailable] * 3

    asyncio.run(run())


def test_a_caller_that_gives_up_takes_nobody_with_it():
    async def run():
        disk = Disk()
        recorder = Recorder(disk)
        gone, stays = (asyncio.create_task(recorder.record([name])) for name in "ab")
        await until(lambda: disk.commits)
        gone.cancel()
        disk.turns.release()
        await stays
        assert gone.cancelled() and disk.commits == [("a", "b")]

    asyncio.run(run())


def test_one_commit_holds_a_bounded_number_of_records(monkeypatch):
    monkeypatch.setattr(module, "MOST_AT_ONCE", 2)

    async def run():
        disk = Disk()
        disk.turns.release()
        disk.turns.release()
        recorder = Recorder(disk)
        await asyncio.gather(*(recorder.record([name]) for name in "abc"))
        return disk.commits

    assert asyncio.run(run()) == [("a", "b"), ("c",)]


def test_no_more_wait_than_the_limit(monkeypatch):
    monkeypatch.setattr(module, "MOST_WAITING", 2)

    async def run():
        recorder = Recorder(Disk())
        waiting = asyncio.create_task(recorder.record(["a", "b"]))
        await asyncio.sleep(0)
        with pytest.raises(Unavailable, match="too many"):
            await recorder.record(["c"] * 3)
        waiting.cancel()

    asyncio.run(run())


def test_whoever_waits_when_the_service_is_cancelled_is_told():
    async def run():
        disk = Disk()
        recorder = Recorder(disk)
        first = asyncio.create_task(recorder.record(["a"]))
        await until(lambda: disk.commits)
        second = asyncio.create_task(recorder.record(["b"]))
        await asyncio.sleep(0)
        recorder._running.cancel()
        return await asyncio.gather(first, second, return_exceptions=True)

    assert [type(error) for error in asyncio.run(run())] == [Unavailable, Unavailable]
