"""Parcels, and an outbox in memory that remembers how each delivery was settled."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from spir.errors import Unavailable
from spir.exchange import Notification
from spir.record.event import AuditEvent
from tests.given import NOON

ALERT = {"patient": "HIS|P001", "operation": "view:result:critical", "code": "2823-3", "time": "2026-11-21T12:00:00Z"}


@dataclass(frozen=True, slots=True)
class GivenParcel:
    id: str
    notification: Notification
    created: datetime = NOON
    attempts: int = 0


@dataclass(frozen=True, slots=True)
class Settled:
    id: str
    state: str
    attempts: int
    next_attempt: datetime
    problem: str
    event: AuditEvent | None


def parcel(
    body: Mapping[str, Any] = ALERT,
    *,
    id: str = "a1b2",
    channel: str = "alert",
    kind: str = "notify",
    priority: str = "high",
    created: datetime = NOON,
    attempts: int = 0,
) -> GivenParcel:
    return GivenParcel(id, Notification(channel, kind, priority, body), created, attempts)


@dataclass
class GivenOutbox:
    """`adapters.notify.port.Outbox`. `failing` calls of each kind raise Unavailable before one succeeds."""

    failing: int = 0
    settled: list[Settled] = field(default_factory=list)
    asked: list[tuple[str, int]] = field(default_factory=list)
    pending: dict[str, tuple[GivenParcel, datetime]] = field(default_factory=dict)
    callbacks: list[Callable[[], object]] = field(default_factory=list)

    def put(self, *parcels: GivenParcel, at: datetime = NOON) -> None:
        self.pending.update({one.id: (one, at) for one in parcels})
        for callback in self.callbacks:
            callback()

    def on_notify(self, callback: Callable[[], object]) -> None:
        self.callbacks.append(callback)

    async def due(self, channel: str, now: datetime, limit: int) -> list[GivenParcel]:
        self._maybe_fail()
        self.asked.append((channel, limit))
        due = ((at, one) for one, at in self.pending.values() if one.notification.channel == channel and at <= now)
        return [one for _, one in sorted(due, key=lambda pair: pair[0])][:limit]

    async def next_due(self, channel: str) -> datetime | None:
        return min((at for one, at in self.pending.values() if one.notification.channel == channel), default=None)

    async def waiting(self) -> dict[str, int]:
        self._maybe_fail()
        channels = [one.notification.channel for one, _ in self.pending.values()]
        return {name: channels.count(name) for name in channels}

    async def settle(
        self, id: str, state: str, attempts: int, next_attempt: datetime, problem: str, event: AuditEvent | None
    ) -> None:
        self._maybe_fail()
        self.settled.append(Settled(id, state, attempts, next_attempt, problem, event))
        held, _ = self.pending.pop(id)
        if state == "pending":
            self.pending[id] = (replace(held, attempts=attempts), next_attempt)

    def _maybe_fail(self) -> None:
        if self.failing > 0:
            self.failing -= 1
            raise Unavailable("the outbox is told to fail")


async def until(condition: Callable[[], bool], what: str, timeout: float = 20.0) -> None:
    """Let the loop run until the condition holds; fail when it has not after `timeout` seconds."""
    try:
        async with asyncio.timeout(timeout):
            while not condition():
                await asyncio.sleep(0.001)
    except TimeoutError:
        raise AssertionError(f"waited {timeout:g} s in vain for {what}") from None


async def turns(count: int = 50) -> None:
    """Let everything that is ready run: what has not begun after so many turns of the loop was not going to."""
    for _ in range(count):
        await asyncio.sleep(0)
