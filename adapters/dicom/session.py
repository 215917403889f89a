"""The words of a DICOM session, and what every session shares: its call, its trail, its way to end.

A session is one operation of one client: a generator that yields commands and
is sent events (`spir.exchange`). The services are in `find`, `move`, `get` and
`store`. None of them touches a socket or a clock.

INVARIANT: the record of an operation is durable before its final response is
said (`conclude`), and before anything that it releases is: no row, no
instance. If it cannot be made durable, the response is a failure.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from enum import Enum
from typing import Any, TypeAlias

from adapters.dicom.dataset import DataSet, DatasetError
from adapters.dicom.masks import Masks
from adapters.dicom.message import CGetRsp, CMoveRsp, Command, CStoreRq, Request, Response, response_to
from adapters.dicom.rows import Reading
from adapters.dicom.status import Status, comment, is_failure, status_of
from adapters.dicom.tables import Model, tables
from spir.errors import PeerError, SpirError
from spir.exchange import Answer, Commit, Decide, Identity, Notify, Record, Ruling, Session, notification
from spir.model.identity import PatientIdentifiers
from spir.model.obligation import Obligation, unmet
from spir.model.request import Request as Asked
from spir.record.event import AuditEvent, EventKind, Outcome

__all__ = [
    "DELIVERED",
    "NO_AUDIT",
    "Bounds",
    "Call",
    "Caller",
    "ClientGone",
    "Lookup",
    "Message",
    "PassOn",
    "PeerGone",
    "Said",
    "Sends",
    "Side",
    "Site",
    "Skip",
    "Steps",
    "Trail",
    "conclude",
    "guarded",
    "outcome_of",
    "renewed",
]

# Obligations that any session can carry out: the notifications are committed with the record.
DELIVERED = frozenset(("notify", "trigger", "audit"))
MAX_PATIENTS = 1000  # in one audit record
FRESH = timedelta(seconds=2)  # for as long a ruling is used within one operation
HELD_ROWS, HELD_BYTES = 256, 1024 * 1024  # of a query's rows that one record stands for
NO_AUDIT = "the audit trail does not work now"


class ClientGone(PeerError):
    """The client aborted, or its association was lost: nobody is there to be answered."""


class PeerGone(PeerError):
    """The PACS aborted, went silent, or its association was lost."""


class Side(Enum):
    CLIENT = "client"
    PEER = "peer"


# -- what a session says (payloads of AskPeer and Answer), and one command of our own ---------------


@dataclass(frozen=True, slots=True)
class Message:
    """A DIMSE message on a presentation context of the association; `data` None if it has no data set."""

    context: int
    command: Command
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class PassOn:
    """A message whose data set is the one that is arriving from the other side: what was held back of it, then
    the rest as it comes. Comes back when the last byte has been passed on."""

    context: int
    command: CStoreRq


@dataclass(frozen=True, slots=True)
class Lookup:
    """A Study Root C-FIND on an association of our own; the event sent back is a tuple of DataSet.

    `keys` without the level. Raises PeerError, also for more rows than the shell takes.
    """

    level: str
    keys: Mapping[int, bytes]


@dataclass(frozen=True, slots=True)
class Skip:
    """Let the data set that is arriving from `side` go by."""

    side: Side


# -- what a session hears --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Said:
    """A whole message arrived."""

    side: Side
    command: Command
    data: bytes | None = None


@dataclass(frozen=True, slots=True)
class Sends:
    """The PACS begins a C-STORE sub-operation on `context`; its data set is held back after the head."""

    context: int
    command: CStoreRq
    head: DataSet | DatasetError


# -- what a session is given -----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Bounds:
    """The most that one operation may cause: upstream queries, resolutions, and UIDs in one sub-request."""

    queries: int = 64
    lookups: int = 500
    list_length: int = 256


@dataclass(frozen=True, slots=True)
class Site:
    """The gateway as sessions know it. `destinations` maps the AE title a client names in a C-MOVE to the one
    the PACS knows; what is not in it gets nothing. `modality_lists`: the PACS takes several modalities in one key.
    `issuers`: it has patients of several issuers. `find_denial` is the status of a denied C-FIND."""

    identifiers: PatientIdentifiers
    clock: Callable[[], datetime]
    ae_title: str
    masks: Masks
    destinations: Mapping[str, str] = field(default_factory=dict)
    bounds: Bounds = Bounds()
    modality_lists: bool = True
    issuers: bool = True
    find_denial: int = Status.SUCCESS

    def reading(self) -> Reading:
        return Reading(self.identifiers, self.clock().tzinfo or Reading(self.identifiers).zone)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who calls, and `context`: what every request of this association says of its surroundings."""

    identity: Identity
    context: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Call:
    """One operation: its request on its presentation context, with its identifier where it has one."""

    context: int
    model: Model
    explicit: bool
    command: Request
    data: bytes = b""

    def response(self, status: int, text: str = "") -> Response:
        return response_to(self.command, status, text)


@dataclass(slots=True)
class Trail:
    """What is noted of an operation while it goes on, for its record."""

    site: Site
    caller: Caller
    call: Call
    asked: Asked | None = None  # what the record says was asked, if it is not the ruling's request
    counts: dict[str, int] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    partial: bool = False
    recorded: bool = False
    _ruling: Ruling | None = None
    _decided: datetime | None = None
    _patients: dict[str, None] = field(default_factory=dict)
    _duties: dict[Obligation, None] = field(default_factory=dict)
    _told: dict[Obligation, None] = field(default_factory=dict)
    _rows: list[Answer] = field(default_factory=list)
    _held: int = 0  # bytes of `_rows`
    _since: datetime | None = None  # when the first of them came

    @property
    def ruling(self) -> Ruling | None:
        return self._ruling

    @ruling.setter
    def ruling(self, ruling: Ruling) -> None:
        self._ruling, self._decided = ruling, self.site.clock()

    def stale(self) -> bool:
        """Whether the ruling has been used for long enough: facts, policies and identities may have moved on."""
        if self._ruling is None or self._decided is None:
            return False
        now, ends = self.site.clock(), self._ruling.decision.valid_until
        return not self._decided <= now < self._decided + FRESH or (ends is not None and ends <= now)

    def hold(self, row: Answer, size: int) -> None:
        """Keep a row back until a record that covers it is durable."""
        self._since = self._since or self.site.clock()
        self._rows.append(row)
        self._held += size

    def full(self) -> bool:
        """Whether the rows held back should go, because there are many or the first has waited for long."""
        if len(self._rows) >= HELD_ROWS or self._held >= HELD_BYTES:
            return True
        return self._since is not None and not self._since <= self.site.clock() < self._since + FRESH

    def released(self) -> list[Answer]:
        """The rows held back, which are covered by a durable record now."""
        rows, self._rows, self._held, self._since = self._rows, [], 0, None
        return rows

    def page(self) -> Commit:
        """The record of the rows held back: whose they are. The next one begins anew."""
        commit = self.opening()
        self._patients.clear()
        return commit

    def count(self, name: str, number: int = 1) -> None:
        self.counts[name] = self.counts.get(name, 0) + number

    def concerns(self, patient: str | None) -> None:
        if patient and len(self._patients) < MAX_PATIENTS:
            self._patients[patient] = None

    def owes(self, duties: tuple[Obligation, ...]) -> None:
        if duties:
            self._duties.update(dict.fromkeys(duties))

    def opening(self) -> Commit:
        """The record of a release, to be durable before the first instance moves; `commit` records how it ended."""
        event = self._event(Status.PENDING, Outcome.PARTIAL if self.partial else Outcome.SUCCESS)
        return Commit(Record(event), *self._notices(event))

    def closing(self, instances: int) -> Record:
        """The last words on a series of which `instances` were stored under one `opening`."""
        self.counts["instances"] = instances
        return Record(self._event(Status.SUCCESS, Outcome.SUCCESS))

    def commit(self, status: int, outcome: Outcome) -> Commit:
        """The record, and the notifications that the obligations ask for, in one transaction."""
        self.recorded = True
        event = self._event(status, outcome)
        released = outcome in (Outcome.SUCCESS, Outcome.PARTIAL) or bool(self._rows)
        return Commit(Record(event), *(self._notices(event) if released else ()))

    def _notices(self, event: AuditEvent) -> list[Notify]:
        """Each once for each operation, with the first record that says something was released under it."""
        fresh = [duty for duty in self._duties if _is_sent(duty) and duty not in self._told]
        self._told.update(dict.fromkeys(fresh))
        return [Notify(notification(duty, self._notice(duty, event))) for duty in fresh]

    def _event(self, status: int, outcome: Outcome) -> AuditEvent:
        ruling, service = self.ruling, self.call.model.service
        return AuditEvent(
            time=self.site.clock(),
            kind=EventKind.DECISION if ruling else EventKind.REFUSAL,
            protocol="dicom",
            operation=tables().operations.get(service, service.value),
            subject=self.caller.identity.subject.id,
            outcome=outcome,
            patients=tuple(self._patients),
            decision=ruling.decision if ruling else None,
            request=self.asked or (ruling.request if ruling else None),
            detail={"service": service.value, "status": f"{status:04X}", **self.notes, **self.counts},
        )

    def _notice(self, duty: Obligation, event: AuditEvent) -> dict[str, Any]:
        return {
            "obligation": duty.id,
            "protocol": "dicom",
            "operation": event.operation,
            "subject": event.subject,
            "time": event.time.isoformat(),
        }


Steps: TypeAlias = Generator[Any, Any, Any]


def conclude(trail: Trail, response: Response, outcome: Outcome, data: bytes | None = None) -> Steps:
    """Record the operation, then say what was held back, and its final response."""
    call = trail.call
    try:
        yield trail.commit(response.status, outcome)
        yield from trail.released()
    except ClientGone:
        raise
    except SpirError as error:
        response, data = call.response(status_of(error, call.model.service), NO_AUDIT), None
    if data is not None and isinstance(response, CGetRsp | CMoveRsp):
        response = replace(response, has_data=True)
    yield Answer(Message(call.context, response, data))


def renewed(trail: Trail, carried_out: frozenset[str]) -> Generator[Any, Any, Ruling | None]:
    """Decide again what goes on for long; None if it may not go on."""
    expires = trail.caller.identity.expires
    if trail.ruling is None or (expires is not None and expires <= trail.site.clock()):
        return None
    ruling: Ruling = yield Decide(trail.ruling.request)
    if ruling.decision.denied or unmet(ruling.decision.obligations, carried_out):
        return None
    trail.ruling = ruling
    trail.owes(ruling.decision.obligations)
    return ruling


def guarded(trail: Trail, steps: Steps) -> Session:
    """Run the steps of a session; whatever goes wrong ends in a record and, if anybody is there, in a status."""
    try:
        yield from steps
    except ClientGone:
        if not trail.recorded:
            yield trail.commit(Status.CANCELLED, Outcome.ERROR)
    except SpirError as error:
        if trail.recorded:
            raise
        status = status_of(error, trail.call.model.service)
        # Before a decision only the client's own identifier can be at fault.
        outcome = Outcome.REFUSED if trail.ruling is None and isinstance(error, DatasetError) else Outcome.ERROR
        yield from conclude(trail, trail.call.response(status, comment(error)), outcome)


def outcome_of(trail: Trail, status: int) -> Outcome:
    """How an operation that was not denied ended, as its requester saw it."""
    if is_failure(status):
        return Outcome.ERROR
    return Outcome.PARTIAL if trail.partial or status != Status.SUCCESS else Outcome.SUCCESS


def _is_sent(duty: Obligation) -> bool:
    return duty.type in ("notify", "trigger")
