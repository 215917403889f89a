"""SHELL: when the deliveries of one channel are made, and how many at once.

A lane sleeps until it is woken, a delivery is over, or the next retry is due.
It holds nothing that the outbox does not: what is under way when it stops is
still pending there.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime

from adapters.notify.port import Outbox, Parcel

__all__ = ["Lane", "Pace", "rest"]

log = logging.getLogger("spir.notify")


@dataclass(frozen=True, slots=True)
class Pace:
    """`width`: deliveries at once. Times in seconds."""

    width: int = 8
    idle: float = 30.0  # the longest sleep, since the site's clock may be set
    busy: float = 0.25  # how soon to look again for retries while others are under way
    recovery: float = 1.0  # after the outbox failed


class Lane:
    """Hands each parcel that is due to `carry`, which settles it."""

    def __init__(
        self,
        channel: str,
        outbox: Outbox,
        carry: Callable[[Parcel], Awaitable[None]],
        now: Callable[[], datetime],
        pace: Pace,
    ) -> None:
        self.channel = channel
        self._outbox = outbox
        self._carry = carry
        self._now = now
        self._pace = pace
        self._awake = asyncio.Event()
        self._under_way: dict[str, asyncio.Task[None]] = {}

    def wake(self) -> None:
        self._awake.set()

    async def run(self) -> None:
        """Until cancelled. What is under way then goes on: see `finish`."""
        while True:
            self._awake.clear()
            await rest(self._awake, await self._turn())

    async def finish(self, grace: float) -> None:
        """Wait for what is under way, at most `grace` seconds; the rest is cancelled and stays pending."""
        tasks = set(self._under_way.values())
        if tasks:
            _, late = await asyncio.wait(tasks, timeout=grace)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    async def _turn(self) -> float:
        """Start what is due; how long to sleep then. A failing outbox must not end the lane."""
        try:
            await self._start_due()
            return await self._until_next()
        except Exception as error:
            log.error("notify channel %s cannot read its outbox: %s", self.channel, type(error).__name__)
            return self._pace.recovery

    async def _start_due(self) -> None:
        # What ends while the outbox is asked may still be in its answer: skip it too.
        busy = frozenset(self._under_way)
        if len(busy) >= self._pace.width:
            return
        # Those under way are pending still, hence due: of `width` parcels, one at least is new, if there is one.
        for parcel in await self._outbox.due(self.channel, self._now(), self._pace.width):
            if parcel.id not in busy and len(self._under_way) < self._pace.width:
                self._start(parcel)

    def _start(self, parcel: Parcel) -> None:
        task = asyncio.ensure_future(self._carry(parcel))
        self._under_way[parcel.id] = task
        task.add_done_callback(lambda task: self._done(parcel.id, task))

    def _done(self, id: str, task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error is None:
            self._release(id)
        else:  # it is pending still: not to be taken again at once, and at once, and at once
            log.error("notification %s was dropped by a fault of ours: %s", id, type(error).__name__)
            task.get_loop().call_later(self._pace.recovery, self._release, id)

    def _release(self, id: str) -> None:
        del self._under_way[id]
        self._awake.set()

    async def _until_next(self) -> float:
        if len(self._under_way) >= self._pace.width:
            return self._pace.idle
        moment = await self._outbox.next_due(self.channel)
        if moment is None:
            return self._pace.idle
        # Those under way are due as well and hide which retry is next.
        least = self._pace.busy if self._under_way else 0.01
        return min(max((moment - self._now()).total_seconds(), least), self._pace.idle)


async def rest(awake: asyncio.Event, seconds: float) -> None:
    """Sleep until woken, at most `seconds`."""
    try:
        async with asyncio.timeout(seconds):
            await awake.wait()
    except TimeoutError:
        return
