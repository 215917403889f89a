"""SHELL: takes notifications from the outbox and delivers them, at least once.

Each channel has a lane of its own, so that one receiver that hangs holds up
no other. A delivery that is over, one way or the other, is settled together
with its audit event. What cannot be settled is not over. The log holds the
ids of notifications and names of channels, and nothing of what they say.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from adapters.notify.account import finished
from adapters.notify.channel import Channel
from adapters.notify.lane import Lane, Pace, rest
from adapters.notify.message import write
from adapters.notify.port import Outbox, Parcel
from adapters.notify.retry import Retry, Verdict
from adapters.notify.sender import Result, Sender
from spir.errors import RequestError
from spir.model.identity import PatientIdentifiers
from spir.record.event import AuditEvent

__all__ = ["Courier", "Limits", "Tally"]

log = logging.getLogger("spir.notify")


@dataclass(frozen=True, slots=True)
class Limits:
    """Times in seconds. `grace` is how long `stop` waits for what is under way."""

    pace: Pace = field(default_factory=Pace)
    timeout: float = 10.0
    grace: float = 3.0
    survey: float = 1.0  # the shortest time between two looks for channels that nobody configured


@dataclass(slots=True)
class Tally:
    """Since the start: for metrics."""

    delivered: int = 0
    retried: int = 0
    dead: int = 0


class Courier:
    """Delivers what is put into `outbox` to `channels`, from `start` to `stop`; it can be started again.

    `chance` gives numbers in [0, 1) for the jitter of retries. `tls` is for
    receivers with certificates of the site's own authority.
    """

    def __init__(
        self,
        outbox: Outbox,
        channels: Mapping[str, Channel],
        identifiers: PatientIdentifiers,
        now: Callable[[], datetime],
        *,
        retry: Retry = Retry(),
        limits: Limits = Limits(),
        chance: Callable[[], float] = random.random,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.tally = Tally()
        self._outbox = outbox
        self._channels = dict(channels)
        self._identifiers = identifiers
        self._now = now
        self._retry = retry
        self._limits = limits
        self._chance = chance
        connections = limits.pace.width * max(len(channels), 1)
        self._sender = Sender(now, timeout=limits.timeout, connections=connections, tls=tls)
        self._lanes: dict[str, Lane] = {}
        self._running: list[asyncio.Task[None]] = []
        self._awake: asyncio.Event | None = None
        self._since = datetime.max.replace(tzinfo=UTC)  # not before `start`: a clock may not go yet
        outbox.on_notify(self.wake)

    async def start(self) -> None:
        """Deliver what is waiting, and from now on what comes. Does nothing if started."""
        if self._awake is not None:
            return
        self._awake = asyncio.Event()
        self._since = self._now()
        await self._sender.start()
        for name in self._channels:
            self._open(name)
        self._running.append(asyncio.ensure_future(self._survey(self._awake)))

    async def stop(self) -> None:
        """Back within the grace and a little more. What was not delivered is pending in the outbox."""
        running, self._running, self._awake = self._running, [], None
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
        lanes, self._lanes = list(self._lanes.values()), {}
        await asyncio.gather(*(lane.finish(self._limits.grace) for lane in lanes))
        await self._sender.stop()

    def wake(self) -> None:
        """Something was put into the outbox: look at once. To be called on the event loop."""
        if self._awake is not None:
            self._awake.set()
            for lane in self._lanes.values():
                lane.wake()

    def _open(self, name: str) -> None:
        lane = self._lanes[name] = Lane(name, self._outbox, self._carry, self._now, self._limits.pace)
        self._running.append(asyncio.ensure_future(lane.run()))

    async def _survey(self, awake: asyncio.Event) -> None:
        """Open lanes for channels nobody configured: what waits there is given up, and recorded."""
        while True:
            awake.clear()
            try:
                strays = (await self._outbox.waiting()).keys() - self._lanes.keys()
            except Exception as error:
                log.error("notify cannot read its outbox: %s", type(error).__name__)
                strays = set()
            for name in sorted(strays):
                log.error("notify channel %s is not configured: its notifications are given up", name)
                self._open(name)
            await asyncio.sleep(self._limits.survey)
            await rest(awake, self._limits.pace.idle)

    # -- one delivery ------------------------------------------------------------------------

    async def _carry(self, parcel: Parcel) -> None:
        channel = self._channels.get(parcel.notification.channel)
        result = await self._attempt(parcel, channel)
        match result.verdict:
            case Verdict.AGAIN if not self._retry.exhausted(parcel.attempts + 1):
                await self._again(parcel, result)
            case verdict:
                await self._over(parcel, channel, result, delivered=verdict is Verdict.DELIVERED)

    async def _attempt(self, parcel: Parcel, channel: Channel | None) -> Result:
        """A fault of ours is tried again like one of the receiver's: a later version may do better."""
        if channel is None:
            return Result(Verdict.DEAD, "the channel is not configured")
        try:
            message = write(channel, parcel, self._identifiers, self._now())
            return await self._sender.send(message, again=self._maybe_sent(parcel))
        except RequestError as error:
            return Result(Verdict.DEAD, str(error))
        except Exception as error:
            log.error("notification %s failed here: %s", parcel.id, type(error).__name__)
            return Result(Verdict.AGAIN, f"failed here: {type(error).__name__}")

    def _maybe_sent(self, parcel: Parcel) -> bool:
        """Whether an earlier attempt, maybe before a crash, can have arrived."""
        return parcel.attempts > 0 or parcel.created <= self._since

    async def _again(self, parcel: Parcel, result: Result) -> None:
        failed = parcel.attempts + 1
        pause = max(self._retry.pause(failed, self._chance()), min(result.pause, self._retry.ceiling))
        moment = self._now() + timedelta(seconds=pause)
        level = logging.WARNING if failed == 1 else logging.INFO
        log.log(level, "notification %s: %s, next attempt in %.1f s", parcel.id, result.problem, pause)
        await self._settle(parcel, "pending", failed, moment, result.problem, None)
        self.tally.retried += 1

    async def _over(self, parcel: Parcel, channel: Channel | None, result: Result, *, delivered: bool) -> None:
        now, tries = self._now(), parcel.attempts + (channel is not None)
        event = finished(parcel, channel, delivered=delivered, tries=tries, problem=result.problem, now=now)
        if delivered:
            log.info("notification %s delivered on %s", parcel.id, parcel.notification.channel)
            await self._settle(parcel, "delivered", parcel.attempts, now, "", event)
            self.tally.delivered += 1
        else:
            log.error("notification %s given up after %d attempts: %s", parcel.id, tries, result.problem)
            await self._settle(parcel, "dead", tries, now, result.problem, event)
            self.tally.dead += 1

    async def _settle(
        self, parcel: Parcel, state: str, attempts: int, moment: datetime, problem: str, event: AuditEvent | None
    ) -> None:
        """Until it is durable: sending again what was delivered, because the disk failed, would help nobody."""
        while True:
            try:
                await self._outbox.settle(parcel.id, state, attempts, moment, problem, event)
                return
            except Exception as error:
                log.error("notification %s cannot be settled: %s", parcel.id, type(error).__name__)
            await asyncio.sleep(self._limits.pace.recovery)
