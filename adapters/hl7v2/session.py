"""One message, from its bytes to its acknowledgement (sans-IO: see `spir.exchange.converse`).

read - decide - oblige - record - answer. The request is about the message, and
its subject is the system that sent it. Everything that a message leads to goes
into one `Commit`: the message as it came, the facts, the audit events and the
notifications. An acknowledgement goes out after that, or says that nothing
was done.

A message that is refused or cannot be read is kept as well, and where it could
have taken access away, the patient's facts are put in doubt (`facts.Reader`).

What was applied once is not applied again: the same bytes under the same
MSH-10 of one source get the same acknowledgement and change nothing. Those
that were refused are decided anew, because the policy may have changed since.
Other bytes under a known MSH-10 are another message, with a warning.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from typing import Any

from adapters.hl7v2 import charset, header
from adapters.hl7v2.acknowledge import Problem, Verdict, answers, problem
from adapters.hl7v2.case import Case, Ruled
from adapters.hl7v2.error import MessageError
from adapters.hl7v2.intake import Arrival, Desk, Identify, Recall, Recalled, Validate
from adapters.hl7v2.message import parse
from adapters.hl7v2.reading import Matter, Reading
from adapters.hl7v2.source import matching
from spir.errors import SpirError, Unauthenticated, Unavailable
from spir.exchange import (
    Answer,
    Commit,
    Credentials,
    Decide,
    Durable,
    Identity,
    Learn,
    Notify,
    Record,
    Ruling,
    Session,
)
from spir.model.facts import Change
from spir.model.obligation import Obligation, joined, unmet
from spir.model.request import Request
from spir.record.event import EventKind, Outcome

__all__ = ["Arrival", "Desk", "Identify", "Recall", "Recalled", "Validate", "receive"]

UNDERSTOOD = frozenset({"notify", "trigger", "audit"})

_UNAVAILABLE = Problem(207, "the message could not be stored; send it again", own="unavailable")
_DENIED = Problem(207, "refused by policy", own="denied")


class _Refusal(SpirError):
    """The message goes no further: `verdict` and `found` tell its sender; `doubtful` if it might have been true."""

    def __init__(self, verdict: Verdict, found: Problem, doubtful: bool = True) -> None:
        super().__init__(found.text)
        self.verdict = verdict
        self.found = found
        self.doubtful = doubtful


class _Denied(_Refusal):
    """Some matter of the message is not permitted; `ruled` are those that were decided."""

    def __init__(self, ruled: list[Ruled]) -> None:
        super().__init__(Verdict.REJECTED, _DENIED)
        self.ruled = ruled


def receive(arrival: Arrival, desk: Desk) -> Session:
    """Handle one message. Yields Identify, Recall, Validate, Decide, Commit, and Answer(bytes without framing)."""
    head = header.read(arrival.body, desk.reader.tables.charsets)
    case = Case(arrival, desk, head, hashlib.sha256(arrival.body).digest())
    try:
        yield from _handled(case)
    except _Refusal as refusal:
        yield from _refused(case, refusal)
    except MessageError as error:
        yield from _refused(case, _Refusal(Verdict.ERROR, problem(error)))
    except Unavailable:
        yield from _answered(case, Verdict.REJECTED, (_UNAVAILABLE,))


def _handled(case: Case) -> Generator[Any, Any, None]:
    identity = yield from _admitted(case)
    if case.header.answers:
        yield Commit(Record(case.happened(EventKind.MESSAGE, Outcome.SUCCESS, acknowledgement=True)))
        return
    _check(case)
    again = yield from _repeated(case)
    if again:
        yield from _ended(
            case, Verdict.ACCEPTED, Record(case.happened(EventKind.MESSAGE, Outcome.SUCCESS, repeated=True))
        )
        return
    reading = yield from _read(case)
    ruled = yield from _decided(case, identity, reading)
    yield from _applied(case, reading, ruled)


# -- step by step ----------------------------------------------------------------------------


def _admitted(case: Case) -> Generator[Any, Any, Identity]:
    """The sender, known as one of the connection's sources and as a subject."""
    arrival, (application, facility) = case.arrival, case.header.sender
    if not case.header.found:
        text = "the message does not begin with a usable MSH"
        raise _Refusal(Verdict.ERROR, Problem(100, text, own="header"), doubtful=False)
    case.source = matching(arrival.sources, (application, facility))
    if case.source is None:
        text = "the sending application is not known on this connection"
        raise _Refusal(Verdict.REJECTED, Problem(207, text, "MSH^1^3", "source"), doubtful=False)
    if case.pin:
        case.header = header.read(arrival.body, case.desk.reader.tables.charsets, case.pin)
    credentials = Credentials(
        "hl7v2", arrival.address, application=application, facility=facility, certificate=arrival.certificate
    )
    try:
        identity: Identity = yield Identify(credentials)
    except Unauthenticated:
        found = Problem(207, "the sender is not known", "MSH^1^3", "identity")
        raise _Refusal(Verdict.REJECTED, found, doubtful=False) from None
    case.subject = identity.subject.id
    return identity


def _check(case: Case) -> None:
    """What must be right before anything else is worth reading."""
    head = case.header
    mark = head.delimiters.component
    if head.processing.partition(mark)[0] not in case.desk.processing:
        text = f"only {', '.join(sorted(case.desk.processing))} is processed here"
        raise _Refusal(Verdict.REJECTED, Problem(202, text, "MSH^1^11"), doubtful=False)
    if not head.version.startswith("2"):
        raise _Refusal(Verdict.REJECTED, Problem(203, "only version 2 is read here", "MSH^1^12"))
    if not head.control_id:
        text = "without a control id nobody could know which message is acknowledged"
        raise _Refusal(Verdict.REJECTED, Problem(101, text, "MSH^1^10"))


def _repeated(case: Case) -> Generator[Any, Any, bool]:
    """Whether this very message was applied before."""
    found: Recalled | None = yield Recall(case.sender, case.header.control_id, case.digest)
    if found is not None and not found.same:
        case.warnings += ("control-id-used-before",)
    return found is not None and found.same and found.code == "AA"


def _read(case: Case) -> Generator[Any, Any, Reading]:
    assert case.source is not None
    reader = case.desk.reader
    text, codec = charset.decode(case.arrival.body, reader.tables.charsets, pin=case.header.declared)
    case.message = parse(text, codec)
    if case.source.validate:
        yield Validate(text)
    reading = reader.read(case.message, case.source, case.arrival.received)
    case.warnings += reading.warnings
    return reading


def _decided(case: Case, identity: Identity, reading: Reading) -> Generator[Any, Any, list[Ruled]]:
    """Every matter's ruling. Raises _Denied unless all are permitted and all their obligations can be met."""
    ruled: list[Ruled] = []
    context = {"ip": case.arrival.address, "protocol": "hl7v2"}
    for matter in reading.matters:
        request = Request.build(identity.subject, matter.operation, matter.properties, context=context)
        ruling: Ruling = yield Decide(request)
        ruled.append(Ruled(matter, ruling, _permitted(ruling, matter)))
        if ruled[-1].obligations is None:
            raise _Denied(ruled)
    return ruled


def _permitted(ruling: Ruling, matter: Matter) -> tuple[Obligation, ...] | None:
    """The obligations under which a matter is permitted; None if it is not, or if we cannot meet them."""
    admission = ruling.admit(matter.properties)
    if ruling.decision.denied or not admission.admitted:
        return None
    try:
        obligations = joined((*ruling.decision.obligations, *admission.obligations))
    except SpirError:
        return None
    return None if unmet(obligations, UNDERSTOOD) else obligations


# -- the end of it ---------------------------------------------------------------------------


def _applied(case: Case, reading: Reading, ruled: list[Ruled]) -> Generator[Any, Any, None]:
    """Make it all durable at once, then say so."""
    items: list[Durable] = [case.keep("applied")]
    if reading.changes:
        items.append(Learn(reading.changes))
    for item in ruled:
        items.append(Record(case.decided(item, Outcome.SUCCESS, changes=len(reading.changes))))
        items += [Notify(case.notice(item.matter, duty)) for duty in item.duties]
    yield from _ended(case, Verdict.ACCEPTED, *items)


def _refused(case: Case, refusal: _Refusal) -> Generator[Any, Any, None]:
    """Keep it, put in doubt what it could have ended, and say what is wrong."""
    error = refusal.verdict is Verdict.ERROR
    items: list[Durable] = [case.keep("unreadable" if error else "refused")]
    changes = _doubts(case) if refusal.doubtful else ()
    if changes:
        items.append(Learn(changes))
    doubts = {"doubts": len(changes)} if changes else {}
    if isinstance(refusal, _Denied):
        items += [Record(case.decided(item, Outcome.REFUSED, **doubts)) for item in refusal.ruled]
    else:
        outcome = Outcome.ERROR if error else Outcome.REFUSED
        why = refusal.found.own or str(refusal.found.code)
        items.append(Record(case.happened(EventKind.REFUSAL, outcome, why=why, **doubts)))
    yield from _ended(case, refusal.verdict, *items, problems=(refusal.found,))


def _ended(
    case: Case, verdict: Verdict, *items: Durable, problems: tuple[Problem, ...] = ()
) -> Generator[Any, Any, None]:
    """Commit, and answer: with `verdict` if that is on the disk, else that nothing was done."""
    try:
        yield Commit(*items)
    except SpirError:
        verdict, problems = Verdict.REJECTED, (_UNAVAILABLE,)
    yield from _answered(case, verdict, problems)


def _answered(case: Case, verdict: Verdict, problems: tuple[Problem, ...]) -> Generator[Any, Any, None]:
    for message in answers(case.header, verdict, serial=case.serial, now=case.arrival.received, problems=problems):
        yield Answer(message)


def _doubts(case: Case) -> tuple[Change, ...]:
    """What is in doubt about the message's patient, as far as the message can be read at all."""
    if case.source is None:
        return ()
    reader, message = case.desk.reader, case.message
    if message is None:
        text = charset.salvage(case.arrival.body, reader.tables.charsets, pin=case.header.declared)
        try:
            message = parse(text)
        except MessageError:
            return ()
    return reader.doubts(message, case.source, case.arrival.received)
