"""What is over is settled with its record; what nobody configured is over at once, and never in silence."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import Any

from adapters.notify.channel import FhirTask
from adapters.notify.courier import Courier, Limits, Tally
from adapters.notify.lane import Pace
from spir.record.event import EventKind, Outcome
from tests.given import HIS, NOON
from tests.notify.parcels import ALERT, GivenOutbox, Settled, parcel, turns, until

QUICK = Limits(Pace(idle=0.01, busy=0.001, recovery=0.001), timeout=1.0, grace=0.0, survey=0.001)


@asynccontextmanager
async def started(outbox: GivenOutbox, **settings: Any) -> AsyncIterator[Courier]:
    courier = Courier(outbox, settings.pop("channels", {}), HIS, lambda: NOON, **{"limits": QUICK} | settings)
    await courier.start()
    try:
        yield courier
    finally:
        await courier.stop()


def only(outbox: GivenOutbox) -> Settled:
    [one] = outbox.settled
    return one


def test_a_channel_nobody_configured_gives_up_its_notifications_with_a_record():
    async def run() -> None:
        outbox = GivenOutbox()
        async with started(outbox) as courier:
            outbox.put(parcel(channel="nowhere"))
            await until(lambda: courier.tally.dead == 1, "the end of it")
        one = only(outbox)
        assert (one.state, one.attempts, one.problem) == ("dead", 0, "the channel is not configured")
        assert one.event is not None
        assert (one.event.kind, one.event.outcome) == (EventKind.NOTIFICATION, Outcome.ERROR)
        assert (one.event.operation, one.event.patients) == ("notify:nowhere", ("HIS|P001",))

    asyncio.run(run())


def test_what_was_waiting_before_the_start_is_seen():
    async def run() -> None:
        outbox = GivenOutbox()
        outbox.put(*(parcel(id=f"p{n}", channel="nowhere") for n in range(20)))
        async with started(outbox) as courier:
            await until(lambda: courier.tally.dead == 20, "the end of all")
        assert {one.id for one in outbox.settled} == {f"p{n}" for n in range(20)}

    asyncio.run(run())


def test_what_cannot_be_said_on_a_channel_is_given_up_with_the_reason():
    async def run() -> None:
        outbox = GivenOutbox()
        async with started(outbox, channels={"alert": FhirTask("http://127.0.0.1:9/")}) as courier:
            outbox.put(parcel({**ALERT, "patient": "LAB|P001"}))
            await until(lambda: courier.tally.dead == 1, "the end of it")
        assert "has no FHIR identifier system" in only(outbox).problem and "P001" not in only(outbox).problem

    asyncio.run(run())


def test_a_fault_of_ours_is_tried_again_and_not_lost(monkeypatch):
    def broken(*_: object) -> None:
        raise KeyError("HIS|P001")

    async def run() -> None:
        outbox = GivenOutbox()
        monkeypatch.setattr("adapters.notify.courier.write", broken)
        async with started(outbox, channels={"alert": FhirTask("http://127.0.0.1:9/")}) as courier:
            outbox.put(parcel())
            await until(lambda: courier.tally.retried == 1, "the first attempt")
        assert (only(outbox).state, only(outbox).problem) == ("pending", "failed here: KeyError")

    asyncio.run(run())


def test_what_cannot_be_settled_is_settled_later():
    async def run() -> None:
        outbox = GivenOutbox()
        settle, refusals = outbox.settle, []

        async def stubborn(*arguments: Any) -> None:
            if len(refusals) < 3:
                refusals.append(arguments)
                raise OSError("no space left")
            await settle(*arguments)

        outbox.settle = stubborn
        async with started(outbox) as courier:
            outbox.put(parcel(channel="nowhere"))
            await until(lambda: courier.tally == Tally(dead=1), "the disk to come back")
        assert only(outbox).state == "dead"

    asyncio.run(run())


def test_a_failing_outbox_does_not_end_the_survey():
    async def run() -> None:
        outbox = GivenOutbox(failing=4)
        async with started(outbox) as courier:
            outbox.put(parcel(channel="nowhere"))
            await until(lambda: courier.tally.dead == 1, "the outbox to come back")

    asyncio.run(run())


def test_nothing_is_delivered_before_the_start_or_after_the_stop():
    async def run() -> None:
        outbox = GivenOutbox()
        courier = Courier(outbox, {}, HIS, lambda: NOON, limits=QUICK)
        outbox.put(parcel(id="before", channel="nowhere"))
        await turns()
        assert outbox.settled == []
        await courier.start()
        await courier.start()
        await until(lambda: courier.tally.dead == 1, "the first")
        await courier.stop()
        await courier.stop()
        outbox.put(parcel(id="after", channel="nowhere"))
        await turns()
        assert list(outbox.pending) == ["after"]

    asyncio.run(run())


def test_it_is_made_before_the_sites_clock_goes():
    def stopped() -> datetime:
        raise AttributeError("the clock is not there yet")

    assert Courier(GivenOutbox(), {}, HIS, stopped).tally == Tally()


def test_it_can_be_started_again():
    async def run() -> None:
        outbox = GivenOutbox()
        courier = Courier(outbox, {}, HIS, lambda: NOON, limits=QUICK)
        for name in ("first", "second"):
            await courier.start()
            outbox.put(parcel(id=name, channel="nowhere"))
            await until(lambda: not outbox.pending, "the end of it")
            await courier.stop()
        assert [one.id for one in outbox.settled] == ["first", "second"]

    asyncio.run(run())


def test_the_log_names_no_patient(caplog):
    async def run() -> None:
        outbox = GivenOutbox()
        async with started(outbox, channels={"alert": FhirTask("http://127.0.0.1:9/")}) as courier:
            outbox.put(parcel({**ALERT, "patient": "LAB|P001"}), parcel(id="other", channel="nowhere"))
            await until(lambda: courier.tally.dead == 2, "the end of both")

    with caplog.at_level(logging.DEBUG):
        asyncio.run(run())
    assert "a1b2" in caplog.text and "P001" not in caplog.text
