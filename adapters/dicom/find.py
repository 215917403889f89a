"""C-FIND: decide, narrow, ask, admit row by row, record, answer (PS3.4 C.4.1).

A denied query and a query that nothing can match get the same answer by
default: success, without rows. A row that cannot be read or resolved is
withheld, not an error: the others may still be shown.
"""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import replace
from typing import Any

from adapters.dicom import resolve
from adapters.dicom.dataset import DataSet, DatasetError
from adapters.dicom.identifier import UNIQUE, Query, is_wild, read_find
from adapters.dicom.message import CCancelRq, CFindRq, CFindRsp, is_pending
from adapters.dicom.query import narrow, request_for
from adapters.dicom.resolve import ISSUER, MODALITY, PATIENT_ID, SERIES_UID, SOP_CLASS, STUDY_UID, Budget
from adapters.dicom.rows import CARRIED_OUT, Judge, Shown
from adapters.dicom.session import (
    Call,
    Caller,
    Message,
    PeerGone,
    Said,
    Side,
    Site,
    Steps,
    Trail,
    conclude,
    guarded,
    outcome_of,
    renewed,
)
from adapters.dicom.status import Status
from adapters.dicom.tables import Level, Service
from spir.errors import PeerError, SpirError
from spir.exchange import Answer, AskPeer, Await, Decide, Ruling, Session
from spir.model.obligation import unmet
from spir.record.event import Outcome

__all__ = ["find"]


def find(site: Site, caller: Caller, call: Call) -> Session:
    """One C-FIND from its request to its final response."""
    trail = Trail(site, caller, call)
    return guarded(trail, _find(trail))


def _find(trail: Trail) -> Steps:
    call, site = trail.call, trail.site
    assert call.model.root is not None
    query = read_find(call.model.root, call.data, call.explicit)
    trail.notes["level"] = query.level.name
    _note_patients(trail, query)
    ruling: Ruling = yield Decide(request_for(trail.caller.identity.subject, Service.FIND, trail.caller.context))
    trail.ruling = ruling
    decision = ruling.decision
    if decision.denied or unmet(decision.obligations, CARRIED_OUT):
        yield from conclude(trail, call.response(site.find_denial), Outcome.REFUSED)
        return
    trail.owes(decision.obligations)
    plan = narrow(
        query,
        decision.residual,
        site.identifiers,
        lists=site.modality_lists,
        issuers=site.issuers,
        cap=site.bounds.queries,
    )
    search = _Search(trail, query, Judge(ruling, site.reading(), site.masks, site.ae_title))
    status = yield from search.run(plan or ())
    yield from conclude(trail, call.response(status), outcome_of(trail, status))


def _note_patients(trail: Trail, query: Query) -> None:
    """Whom the client names: the trail of a patient has what was asked about it, whether or not anything was found."""
    above = query.above.get(Level.PATIENT)
    issuer = query.values(ISSUER)
    for value in (above,) if above else query.values(UNIQUE[Level.PATIENT]):
        if value and not is_wild(value):
            trail.concerns(trail.site.identifiers.canonical(value, issuer[0] if len(issuer) == 1 else ""))


class _Search:
    """The rows of one C-FIND: what is known of where they belong, and which were shown already."""

    def __init__(self, trail: Trail, query: Query, judge: Judge) -> None:
        self.trail = trail
        self.query = query
        self.judge = judge
        self.budget = Budget(trail.site.bounds.lookups, trail.site.issuers)
        self.above: dict[str, Any] = {}
        self.seen: set[str] = set()
        self.closed = False  # the ruling was made anew, and nothing more may be shown

    def run(self, plan: tuple[bytes, ...]) -> Generator[Any, Any, int]:
        """Ask the peer each identifier of the plan; returns the final status."""
        if plan and self.query.level >= Level.SERIES and not (yield from self._locate()):
            plan = ()
        for identifier in plan:
            status = yield from self._ask(identifier, repeats=len(plan) > 1)
            if status != Status.SUCCESS:
                return int(status)
        return Status.SUCCESS

    def _locate(self) -> Generator[Any, Any, bool]:
        """Learn of the study, and at IMAGE level of the series, that rows belong to; False if there is none."""
        above = self.query.above
        row = yield from resolve.study(self.budget, above[Level.STUDY], above.get(Level.PATIENT))
        if row is None:
            return False
        self.above = self.judge.reading.study(row)
        self.trail.concerns(self.judge.reading.patient(row))
        if self.query.level is Level.IMAGE:
            uid = above[Level.SERIES]
            found = yield from resolve.series(self.budget, above[Level.STUDY], (uid,))
            if len(found) != 1:
                return False
            self.above |= {"series": uid, "modality": found[0].text(MODALITY) or None}
        return True

    def _ask(self, identifier: bytes, repeats: bool) -> Generator[Any, Any, int]:
        """One query to the peer, its rows judged as they come; returns its final status."""
        call, cancelled = self.trail.call, False
        request = CFindRq(call.command.message_id, call.model.uid)
        yield AskPeer(Message(call.context, request, identifier))
        while True:
            event = yield Await()
            match event:
                case Said(Side.PEER, CFindRsp(status=status), data) if is_pending(status):
                    if not cancelled:
                        yield from self._row(data, repeats)
                case Said(Side.PEER, CFindRsp(status=status)):
                    return Status.CANCELLED if cancelled else status
                case Said(Side.CLIENT, CCancelRq(message_id=number)):
                    if number == request.message_id and not cancelled:
                        cancelled = True
                        yield AskPeer(Message(call.context, CCancelRq(number)))
                case _:
                    raise PeerGone("something came that does not belong to a query", clause="PS3.7 9.1.2")

    def _row(self, data: bytes | None, repeats: bool) -> Steps:
        """Judge a row and hold it back; what is held back goes when a record that covers it is durable."""
        yield from self._renew()
        yield from self._judge_row(data, repeats)
        if self.trail.full():
            try:
                yield self.trail.page()
            except SpirError:
                self.trail.released()  # nothing covers them, and nothing will: they are not said
                raise
            yield from self.trail.released()

    def _renew(self) -> Steps:
        """A query may go on for long: what was right at its beginning need not be."""
        if self.trail.stale() and not self.closed:
            ruling = yield from renewed(self.trail, CARRIED_OUT)
            if ruling is None:
                self.closed = True
            else:
                self.judge = replace(self.judge, ruling=ruling)

    def _judge_row(self, data: bytes | None, repeats: bool) -> Steps:
        try:
            row = DataSet.parse(data or b"", self.trail.call.explicit)
            if repeats and self._repeated(row):
                return
            shown = None if self.closed else (yield from self._judged(row))
        except (DatasetError, _Unresolved):
            shown = None
        if shown is None:
            self.trail.partial = True
            self.trail.count("withheld")
            return
        self.trail.count("shown")
        self.trail.partial = self.trail.partial or shown.partial
        self.trail.concerns(shown.patient)
        self.trail.owes(shown.obligations)
        status = Status.PENDING_KEYS_IGNORED if self.query.dropped else Status.PENDING
        call = self.trail.call
        response = CFindRsp(call.command.message_id, call.model.uid, status, has_data=True)
        self.trail.hold(Answer(Message(call.context, response, shown.data)), len(shown.data))

    def _repeated(self, row: DataSet) -> bool:
        """Whether another query of the plan has already brought this row."""
        uid = row.text(STUDY_UID if self.query.level is Level.STUDY else PATIENT_ID) or ""
        known = uid in self.seen
        self.seen.add(uid)
        return known

    def _judged(self, row: DataSet) -> Generator[Any, Any, Shown | None]:
        if not self._belongs(row):
            return None
        match self.query.level:
            case Level.PATIENT:
                return (yield from self._patient(row))
            case Level.STUDY:
                names = resolve.named_modalities(row)
                if not names:
                    names = yield from self._resolved(resolve.modalities(self.budget, row))
                return self.judge.show_study(self.query, row, names)
            case Level.SERIES:
                own = {"series": row.text(SERIES_UID) or None, "modality": row.text(MODALITY) or None}
                return self.judge.show(self.query, row, {**self.above, **own})
            case Level.IMAGE:
                return self.judge.show(self.query, row, {**self.above, "sop_class": row.text(SOP_CLASS) or None})

    def _belongs(self, row: DataSet) -> bool:
        """Whether a row says that it lies where it was asked for: series and images are judged by that place."""
        above = self.query.above
        return self.query.level <= Level.STUDY or all(
            row.text(UNIQUE[level]) == above[level] for level in (Level.STUDY, Level.SERIES) if level in above
        )

    def _patient(self, row: DataSet) -> Generator[Any, Any, Shown | None]:
        """A patient is shown if one of its studies is; the same ID of another issuer is another patient."""
        patient = self.judge.reading.patient(row)
        if patient is None:
            return None
        rows = yield from self._resolved(resolve.studies(self.budget, row.text(PATIENT_ID) or ""))
        judged = []
        for study in rows:
            if self.judge.reading.patient(study) == patient:
                names = yield from self._resolved(resolve.modalities(self.budget, study))
                judged.append(self.judge.study(study, names))
        return self.judge.show_patient(self.query, row, judged)

    def _resolved(self, steps: Steps) -> Steps:
        """What a resolution found; a failed one withholds the row it was for."""
        try:
            return (yield from steps)
        except (PeerGone, DatasetError):
            raise
        except PeerError as error:
            raise _Unresolved("a row could not be resolved") from error


class _Unresolved(PeerError):
    """A row's place could not be found out."""
