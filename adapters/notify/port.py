"""What a courier needs of the place where notifications wait: one port, whichever driver is behind it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from spir.exchange import Notification
from spir.record.event import AuditEvent

__all__ = ["Outbox", "Parcel"]


class Parcel(Protocol):
    """One notification in the outbox; `attempts` have failed so far. Its id is never used twice."""

    @property
    def id(self) -> str: ...

    @property
    def notification(self) -> Notification: ...

    @property
    def created(self) -> datetime: ...

    @property
    def attempts(self) -> int: ...


class Outbox(Protocol):
    """Durable, and shared with those who put notifications in. Every method may raise Unavailable."""

    def on_notify(self, callback: Callable[[], object]) -> None:
        """Call `callback` on the event loop whenever something was put in."""
        ...

    async def due(self, channel: str, now: datetime, limit: int) -> Sequence[Parcel]:
        """Pending parcels of a channel whose time has come, at most `limit`, oldest first."""
        ...

    async def next_due(self, channel: str) -> datetime | None:
        """When the next pending parcel of a channel should be tried; None if none is pending."""
        ...

    async def waiting(self) -> Mapping[str, int]:
        """How many are pending, by channel."""
        ...

    async def settle(
        self, id: str, state: str, attempts: int, next_attempt: datetime, problem: str, event: AuditEvent | None
    ) -> None:
        """Write down how an attempt went: `state` is pending, delivered or dead. Back when it is durable."""
        ...
