"""Notifications on their way out: written with what caused them, kept until somebody has taken them.

Delivery is `adapters.notify`'s business; it sees this table through
`Embedded`. An entry's id is random and never used twice, so that a receiver
can recognise what it has been sent before.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from uuid import uuid4

import apsw

from spir.errors import RequestError
from spir.exchange import Notification
from spir.model.value import thaw
from spir.record.canonical import timestamp

__all__ = ["Parcel", "due", "next_due", "purge", "put", "settle", "waiting"]

PENDING = "pending"


@dataclass(frozen=True, slots=True)
class Parcel:
    """One notification in the outbox; `attempts` have failed so far."""

    id: str
    notification: Notification
    created: datetime
    attempts: int


def put(connection: apsw.Connection, notification: Notification, now: datetime) -> str:
    """Put it in; its id. Raises RequestError for a body that is not JSON."""
    id = uuid4().hex
    moment = timestamp(now)
    try:
        body = json.dumps(thaw(notification.body), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise RequestError("the body of a notification is not JSON") from error
    connection.execute(
        "insert into outbox values (?, ?, ?, ?, ?, ?, 0, ?, ?, '')",
        (id, notification.channel, notification.kind, notification.priority, body, PENDING, moment, moment),
    )
    return id


def due(connection: apsw.Connection, channel: str, now: datetime, limit: int) -> list[Parcel]:
    """Pending entries of a channel whose time has come, oldest first."""
    rows = connection.execute(
        "select id, kind, priority, body, created, attempts from outbox"
        " where state = 'pending' and channel = ? and next_attempt <= ? order by next_attempt limit ?",
        (channel, timestamp(now), limit),
    )
    return [
        Parcel(id, Notification(channel, kind, priority, json.loads(body)), datetime.fromisoformat(created), attempts)
        for id, kind, priority, body, created, attempts in rows
    ]


def next_due(connection: apsw.Connection, channel: str) -> datetime | None:
    """When the next pending entry of a channel should be tried."""
    [(moment,)] = connection.execute(
        "select min(next_attempt) from outbox where state = 'pending' and channel = ?", (channel,)
    )
    return datetime.fromisoformat(moment) if moment else None


def waiting(connection: apsw.Connection) -> dict[str, int]:
    """Pending entries by channel."""
    return dict(connection.execute("select channel, count(*) from outbox where state = 'pending' group by channel"))


def settle(
    connection: apsw.Connection, id: str, state: str, attempts: int, next_attempt: datetime, problem: str
) -> None:
    """Write down how an attempt went. `state` is pending, delivered or dead; `problem` names no patient."""
    connection.execute(
        "update outbox set state = ?, attempts = ?, next_attempt = ?, problem = ? where id = ?",
        (state, attempts, timestamp(next_attempt), problem, id),
    )


def purge(connection: apsw.Connection, before: datetime, limit: int) -> int:
    """Delete what was delivered or given up and is older than a moment, at most `limit`; how many."""
    connection.execute(
        "delete from outbox where id in (select id from outbox where state <> 'pending' and created < ? limit ?)",
        (timestamp(before), limit),
    )
    return connection.changes()
