"""Read a message: which operations it asks for, and which facts it changes.

Pure, and blind to what is stored: a message always becomes the same changes,
so that the facts after a set of messages are the same in whatever order they
came. Three things make that safe rather than only equal:

- Each doctor's role has its own part, `visit:V1/attending`. An empty field
  says nothing, `""` ends it, a value replaces the older one.
- A discharge closes `visit:V1`. Whatever an update says later of the parts
  under it, it opens nothing; A01, A04 and A13 do.
- What restricts (protection, VIP) belongs to a person or a visit by a name
  of its own, so that a merge adds up restrictions and never drops one.

When a message that may take access away cannot be applied, `Reader.doubts`
names what it would have written: the attribute and part of each such fact.
While one of these is in doubt no fact of the patient can be used. A doubt is
lifted by a message that is applied, writes that very fact, and is not older;
or by an operator.

A discharge that does not say which visit it ends closes the patient's visit
without a number, and, where the source's visits have numbers, puts the others
in doubt until somebody is admitted without a number, or an operator settles it.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta, tzinfo

from adapters.hl7v2 import orders
from adapters.hl7v2.error import MessageError
from adapters.hl7v2.message import Message, Path
from adapters.hl7v2.people import MRG_1, PID_3, People
from adapters.hl7v2.reading import Matter, Reading
from adapters.hl7v2.source import Source
from adapters.hl7v2.tables import Event, Tables
from adapters.hl7v2.times import first_moment, last_moment
from adapters.hl7v2.visit import ANY_VISIT, Writer
from spir.model.facts import Change, Doubt
from spir.model.identity import PatientIdentifiers

__all__ = ["Reader"]

MANY = 1000  # segments of one name, where each becomes something of its own

_TYPE = Path.of("MSH-9.1")
_TRIGGER = Path.of("MSH-9.2")
_EVENT = Path.of("EVN-1.1")
_TIMES = tuple(
    (path, path.where()) for path in map(Path.of, ("EVN-6.1", "EVN-2.1", "MSH-7.1"))
)  # happened, recorded, sent


@dataclass(frozen=True, slots=True)
class Reader:
    """Reads messages of one site.

    `zone` holds for times without one. `skew` is how far a sender's clock may
    be ahead of ours: a later time counts as that, or one wrong clock would
    overrule every message that follows.
    """

    identifiers: PatientIdentifiers
    staff: Callable[[str, str], str | None]
    zone: tzinfo
    tables: Tables
    skew: timedelta = timedelta(minutes=5)
    people: People = field(init=False)

    def __post_init__(self) -> None:
        people = People(self.identifiers, self.staff, self.tables.identifier_types)
        object.__setattr__(self, "people", people)

    def read(self, message: Message, source: Source, received: datetime) -> Reading:
        """What the message says. Raises MessageError: 200 and others of table 0357."""
        name = event_name(message)
        _countable(message)
        kind = self.tables.messages.get(name.partition("^")[0])
        if kind is None:
            hint = f"one of {', '.join(sorted(self.tables.messages))}"
            raise MessageError("the message type is not supported", code=200, where="MSH^1^9", hint=hint)
        event = self.tables.events.get(name)
        if event is not None and event.visit == "merge":
            return self._merged(message, name, event, source, received)
        if event is not None:
            return self._moved(message, name, event, source, received)
        if name in self.tables.content:
            return Reading(name, orders.matters(message, kind, self.people, self.tables))
        return Reading(name, (self._unread(message, name, kind.operation),))

    def doubts(self, message: Message, source: Source, received: datetime) -> tuple[Doubt, ...]:
        """What is in doubt if this message is not applied; () if nothing, or if nobody knows whose it would be."""
        try:
            event = self.tables.events.get(event_name(message))
            groups = self._groups(message) if event else []
        except MessageError:
            return ()
        found: list[Doubt] = []
        for pid, mrg in groups[:MANY]:
            try:
                assert event is not None
                found += self._doubt(message, event, source, received, pid, mrg)
            except MessageError:
                continue  # nobody we know: we hold no facts of them
        return tuple(found)

    # -- visits ------------------------------------------------------------------------------

    def _moved(self, message: Message, name: str, event: Event, source: Source, received: datetime) -> Reading:
        if len(message.all("PID")) != 1:
            raise MessageError("there must be one PID", code=100, where="PID")
        patient = self.people.patient(message)
        writer = self._writer(message, event, source, received, patient)
        changes = writer.visit(event)
        return Reading(name, (_matter(event.operation, patient),), changes, tuple(writer.warnings))

    def _merged(self, message: Message, name: str, event: Event, source: Source, received: datetime) -> Reading:
        changes: list[Change] = []
        priors: dict[str, list[str]] = {}
        warnings: list[str] = []
        groups = self._groups(message)
        if len(groups) != len(message.all("MRG")):
            raise MessageError("each PID must have one MRG", code=100, where="MRG")
        for pid, mrg in groups:
            if mrg is None:
                raise MessageError("a PID has no MRG", code=100, where="MRG")
            surviving = self.people.patient(message, PID_3, pid)
            prior = self.people.patient(message, MRG_1, mrg)
            writer = self._writer(message, event, source, received, surviving)
            changes += writer.merge(prior, range(pid, mrg), event)
            warnings += writer.warnings
            priors.setdefault(surviving, []).append(prior)
        matters = (replace(_matter(event.operation, who), merged=tuple(names)) for who, names in priors.items())
        return Reading(name, tuple(matters), tuple(changes), tuple(warnings))

    def _groups(self, message: Message) -> list[tuple[int, int | None]]:
        """PID and MRG of each merge in the message (ADT_A39: PID, PD1, MRG, PV1, repeating)."""
        pids, mrgs = message.all("PID"), message.all("MRG")
        if not pids:
            raise MessageError("there is no PID", code=100, where="PID")
        nexts = ((pid, bisect(mrgs, pid)) for pid in pids)
        ends = [*pids[1:], len(message.segments)]
        return [
            (pid, mrgs[at] if at < len(mrgs) and mrgs[at] < end else None)
            for (pid, at), end in zip(nexts, ends, strict=True)
        ]

    def _writer(self, message: Message, event: Event, source: Source, received: datetime, patient: str) -> Writer:
        as_of, ahead = self._moment(message, event, received)
        writer = Writer(message, source, self.people, self.tables, patient, as_of)
        if ahead:
            writer.warnings.append("clock-ahead")
        return writer

    def _moment(self, message: Message, event: Event, received: datetime) -> tuple[datetime, bool]:
        """When the event became true, and whether the sender's clock is ahead of ours."""
        read = last_moment if event.revokes else first_moment
        for path, where in _TIMES:
            text = message.text(path)
            if text:
                latest = received + self.skew
                moment = read(text, self.zone, where)
                return min(moment, latest) + timedelta(microseconds=event.late), moment > latest
        raise MessageError("the message says nowhere when it happened", code=101, where="EVN^1^2")

    # -- doubts ------------------------------------------------------------------------------

    def _doubt(
        self, message: Message, event: Event, source: Source, received: datetime, pid: int, mrg: int | None
    ) -> list[Doubt]:
        patient = self.people.patient(message, PID_3, pid)
        try:
            as_of, _ = self._moment(message, event, received)
        except MessageError:
            as_of = received
        writer = Writer(message, source, self.people, self.tables, patient, as_of)
        prior = self._prior(message, mrg) if event.visit == "merge" else ""
        try:
            _countable(message)
            scopes = writer.scopes(event, prior)
        except MessageError:
            scopes = (ANY_VISIT,)  # what it would have written cannot even be named
        patients = [patient, prior] if prior else [patient]
        return [Doubt(("patient", one), source.name, as_of, scopes) for one in patients if scopes]

    def _prior(self, message: Message, mrg: int | None) -> str:
        try:
            return "" if mrg is None else self.people.patient(message, MRG_1, mrg)
        except MessageError:
            return ""

    # -- the rest ----------------------------------------------------------------------------

    def _unread(self, message: Message, name: str, operation: str) -> Matter:
        """A trigger event that teaches us nothing: decided by its name."""
        patient = self.people.patient(message) if message.all("PID") else ""
        trigger = name.partition("^")[2].lower()
        labels = orders.labels(message, self.tables)
        return _matter(f"{operation}:{trigger}" if trigger else operation, patient, labels)


def event_name(message: Message) -> str:
    """Message code and trigger event, `ADT^A01`; the event from EVN-1 where MSH-9 has none. Raises MessageError."""
    code = message.text(_TYPE)
    trigger = message.text(_TRIGGER) or message.text(_EVENT)
    name = f"{code}^{trigger}" if trigger else code
    if not name.replace("^", "").isalnum() or not name.isascii():
        raise MessageError("the message type cannot be read", code=200, where="MSH^1^9")
    return name


def _countable(message: Message) -> None:
    """Refuse a message that would keep everybody else waiting: it may not name more things than a person could."""
    for name in ("PID", "MRG", "PV1", "ROL", "ARV", "ORC", "OBR"):
        if len(message.all(name)) > MANY:
            raise MessageError(f"there are too many {name}", code=100, where=name, hint=f"at most {MANY} are read")


def _matter(operation: str, patient: str, labels: tuple[str, ...] = ()) -> Matter:
    properties: dict[str, object] = {"patient": {"id": patient}} if patient else {}
    if labels:
        properties["labels"] = labels
    return Matter(operation, patient, properties)
