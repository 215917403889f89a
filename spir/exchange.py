"""The words between a session and its shell, and the port through which both reach the gateway.

A session is protocol logic without I/O. It is a generator: it yields commands
and is sent events, so a conversation reads from top to bottom::

    ruling = yield Decide(request)
    if ruling.decision.denied:
        yield Commit(Record(event))
        yield Answer(status)
        return

A shell owns sockets and clocks. It runs a session with `converse` and does
what each command asks. The words here mean the same in every protocol; each
adapter adds its own events, and its own payloads for `AskPeer` and `Answer`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Generator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol, TypeAlias

from spir.model.decision import Admission, Decision
from spir.model.facts import Change
from spir.model.identity import PatientIdentifiers
from spir.model.obligation import Obligation
from spir.model.request import Entity, Request
from spir.model.swift import swift
from spir.record.event import AuditEvent

__all__ = [
    "Answer",
    "AskPeer",
    "Await",
    "Commit",
    "Credentials",
    "Decide",
    "Finish",
    "Identity",
    "Keep",
    "Learn",
    "Notification",
    "Notify",
    "Record",
    "Ruling",
    "Services",
    "Session",
    "UserIdentity",
    "Word",
    "converse",
]


# -- who speaks to us ------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class UserIdentity:
    """DICOM user identity negotiation (PS3.7 D.3.3.7): type 1 name, 2 name and passcode, 3 Kerberos,
    4 SAML, 5 JWT; `primary` and `secondary` as sent."""

    type: int
    primary: bytes
    secondary: bytes = b""


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a peer showed of itself. Nothing here is believed until `Services.identify` says so."""

    protocol: str
    address: str
    ae_title: str = ""
    application: str = ""  # HL7 v2 MSH-3
    facility: str = ""  # HL7 v2 MSH-4
    bearer: str = ""
    certificate: bytes = b""  # DER of the verified TLS client certificate
    user_identity: UserIdentity | None = None


@dataclass(frozen=True, slots=True)
class Identity:
    """Who it is. `expires` ends long-lived connections; `method` says how we know, for the audit trail."""

    subject: Entity
    method: str
    expires: datetime | None = None


# -- what a session asks of its shell --------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Decide:
    """Ask the engine. The event sent back is a `Ruling`."""

    request: Request


@dataclass(frozen=True, slots=True)
class Keep:
    """Store a message as it was received, so that it survives a crash and can be shown and processed again.

    `control_id` is its own id (MSH-10); (source, control_id, sha-256 of body) finds duplicates.
    """

    source: str
    control_id: str
    kind: str  # as ADT^A01
    body: bytes
    state: str = "applied"  # received | applied | refused | unreadable


@dataclass(frozen=True, slots=True)
class Learn:
    """Change facts. They are visible to every decision made after the Commit has come back."""

    changes: tuple[Change, ...]


@swift
@dataclass(frozen=True, slots=True)
class Record:
    """Write to the audit trail."""

    event: AuditEvent


@dataclass(frozen=True, slots=True)
class Notification:
    """An obligation on its way to a third party: put into the outbox, delivered and retried from there.

    `channel` names one of the configured channels; `body` is JSON-ready.
    """

    channel: str
    kind: str  # notify | trigger
    priority: str
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Notify:
    notification: Notification


Durable: TypeAlias = Keep | Learn | Record | Notify


class Commit:
    """Make all of these durable in one transaction, or none. Comes back only after it is on the disk.

    The event sent back is the facts revision. Raises Unavailable.
    """

    __slots__ = ("items",)
    __match_args__ = ("items",)

    def __init__(self, *items: Durable) -> None:
        self.items = items

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Commit) and self.items == other.items

    def __hash__(self) -> int:
        return hash(("Commit", len(self.items)))

    def __repr__(self) -> str:
        return f"Commit{self.items!r}"


@dataclass(frozen=True, slots=True)
class AskPeer:
    """Say `message` to the system behind us. What comes back is the protocol's own event."""

    message: Any


@dataclass(frozen=True, slots=True)
class Await:
    """Nothing to say: wait for the protocol's next event."""


@dataclass(frozen=True, slots=True)
class Answer:
    """Say `message` to the client."""

    message: Any


@dataclass(frozen=True, slots=True)
class Finish:
    """Close the connection to the client; `reason` is ours, for the log."""

    reason: str = ""


Word: TypeAlias = Decide | Commit | AskPeer | Await | Answer | Finish
Session: TypeAlias = Generator[Any, Any, None]


async def converse(session: Session, perform: Callable[[Any], Awaitable[Any]]) -> None:
    """Run a session: perform each command, send back what came of it.

    An exception raised by `perform` is thrown into the session at its `yield`,
    so that it can answer in its protocol's own words. The session is always closed.
    """
    try:
        command = next(session)
        while True:
            try:
                event = await perform(command)
            except Exception as error:
                command = session.throw(error)
            else:
                command = session.send(event)
    except StopIteration:
        return
    finally:
        session.close()


# -- what the gateway offers to every shell --------------------------------------------------


class Ruling(Protocol):
    """A decision together with the facts it was made on, so that rows can be judged by it."""

    @property
    def decision(self) -> Decision: ...

    @property
    def request(self) -> Request: ...

    def admit(self, row: Mapping[str, Any], id: str | None = None) -> Admission:
        """Judge one row: resource properties by name, as {"modality": "CT", "patient": {"id": "HIS|P1"}}.

        Keys with the value None are missing. What is missing does not admit.
        Also right for decisions that are not conditional.
        """
        ...


class Services(Protocol):
    """The gateway as an adapter sees it. `compose` builds the real one; tests build theirs."""

    @property
    def identifiers(self) -> PatientIdentifiers: ...

    def now(self) -> datetime:
        """The site's clock, aware."""
        ...

    def identify(self, credentials: Credentials) -> Identity:
        """Raises Unauthenticated."""
        ...

    def staff(self, authority: str, value: str) -> str | None:
        """The staff id behind a name elsewhere: authority hl7v2 for an XCN id; None if unknown."""
        ...

    def rule(self, request: Request) -> Ruling:
        """Decide. Never raises for what a request says: it denies, and the reasons say why."""
        ...

    async def commit(self, *items: Durable) -> int:
        """See `Commit`."""
        ...


def notification(obligation: Obligation, body: Mapping[str, Any]) -> Notification:
    """The notification that carries out a notify or trigger obligation.

    A notify goes to its `channel`; a trigger to the channel named as its `workflow`.
    """
    properties = obligation.properties
    if obligation.type == "trigger":
        name, priority = properties.get("workflow", "workflow"), properties.get("urgency", "routine")
    else:
        name, priority = properties.get("channel", "alert"), properties.get("priority", "routine")
    return Notification(str(name), obligation.type, str(priority), body)
