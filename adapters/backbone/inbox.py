"""Messages as they were received, so that none that was acknowledged is lost and none is applied twice.

A message is known by (source, control id, SHA-256 of its bytes): the same
control id with other bytes is another message, as happens when a sender
starts its numbering again.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from typing import Literal

import apsw

from spir.exchange import Keep
from spir.record.canonical import timestamp

__all__ = ["StoredMessage", "find_messages", "get_message", "keep", "purge", "recall"]

# What was answered (HL7 table 0008), by the state a message was kept in.
ANSWERS = {"applied": "AA", "received": "AA", "refused": "AR", "unreadable": "AE"}


@dataclass(frozen=True, slots=True)
class StoredMessage:
    """`times` counts how often it was received; `body` is None in listings."""

    sequence: int
    source: str
    control_id: str
    kind: str
    state: str
    ack: str
    received: datetime
    times: int
    size: int
    body: bytes | None = None


def keep(connection: apsw.Connection, message: Keep, received: datetime) -> None:
    """Store a message; one that is there already gets the new state and is counted."""
    connection.execute(
        "insert into message (source, control_id, digest, kind, state, ack, body, received)"
        " values (?, ?, ?, ?, ?, ?, ?, ?)"
        " on conflict (source, control_id, digest) do update set kind = excluded.kind, state = excluded.state,"
        " ack = excluded.ack, times = times + 1",
        (
            message.source,
            message.control_id,
            sha256(message.body).digest(),
            message.kind,
            message.state,
            ANSWERS.get(message.state, "AE"),
            message.body,
            timestamp(received),
        ),
    )


def recall(
    connection: apsw.Connection, source: str, control_id: str, digest: bytes
) -> tuple[Literal["same", "other"] | None, str]:
    """Whether this message, or another of its control id, was received before; and what was answered then."""
    found = dict(
        connection.execute(
            "select digest, ack from message where source = ? and control_id = ? order by sequence",
            (source, control_id),
        )
    )
    if digest in found:
        return "same", found[digest]
    return ("other", list(found.values())[-1]) if found else (None, "")


def find_messages(
    connection: apsw.Connection,
    *,
    source: str = "",
    kind: str = "",
    state: str = "",
    before: int | None = None,
    limit: int = 50,
) -> list[StoredMessage]:
    """Newest first, without bodies; an empty filter matches all. `before` is the last sequence already seen."""
    rows = connection.execute(
        "select sequence, source, control_id, kind, state, ack, received, times, length(body) from message"
        " where (?1 = '' or source = ?1) and (?2 = '' or kind = ?2) and (?3 = '' or state = ?3)"
        " and (?4 is null or sequence < ?4) order by sequence desc limit ?5",
        (source, kind, state, before, limit),
    )
    return list(_stored(rows))


def get_message(connection: apsw.Connection, sequence: int) -> StoredMessage | None:
    """One message with its body."""
    rows = connection.execute(
        "select sequence, source, control_id, kind, state, ack, received, times, length(body), body from message"
        " where sequence = ?",
        (sequence,),
    )
    return next(_stored(rows), None)


def purge(connection: apsw.Connection, before: datetime, limit: int) -> int:
    """Delete what was received before a moment, at most `limit`; how many."""
    connection.execute(
        "delete from message where sequence in (select sequence from message where received < ? limit ?)",
        (timestamp(before), limit),
    )
    return connection.changes()


def _stored(rows: apsw.Cursor) -> Iterator[StoredMessage]:
    for sequence, source, control_id, kind, state, ack, received, times, size, *body in rows:
        moment = datetime.fromisoformat(received)
        yield StoredMessage(sequence, source, control_id, kind, state, ack, moment, times, size, *body)
