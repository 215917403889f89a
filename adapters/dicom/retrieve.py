"""Turn a C-MOVE or C-GET into what may be retrieved: permitted series, sub-requests, counters (PS3.4 C.4.2, C.4.3).

The client's identifier is never forwarded. It is resolved to series, each
series is judged, and what is sent upstream names permitted series (at IMAGE
level: instances found in them) and nothing else. A series that arrives in the
meantime is simply not named.

A peer that counts is believed in its counts, and in nothing else.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.dicom import resolve
from adapters.dicom.dataset import DataSet, encode
from adapters.dicom.identifier import LEVEL, Retrieval
from adapters.dicom.message import CGetRsp, CMoveRsp
from adapters.dicom.resolve import (
    MODALITY,
    PATIENT_ID,
    SERIES_INSTANCES,
    SERIES_UID,
    SOP_CLASS,
    SOP_UID,
    STUDY_UID,
    Budget,
    batches,
)
from adapters.dicom.rows import Judge
from adapters.dicom.status import Status, is_failure
from adapters.dicom.tables import Level, Root
from spir.model.obligation import Obligation, unmet

__all__ = ["Counters", "Found", "Selected", "SubRequest", "expand", "resolved", "split"]

# A retrieve moves instances as they are: it can notify, it cannot mask.
CARRIED_OUT = frozenset(("notify", "trigger", "audit"))


@dataclass(frozen=True, slots=True)
class Selected:
    """A series that may be retrieved; `instances` are those named at IMAGE level. `expected`: how many it has.
    `judged`: the rows that were admitted, to be judged again in a retrieve that goes on for long.

    `patient` is the bare Patient ID, as the identifier of the patient root needs it.
    """

    patient: str
    study: str
    uid: str
    properties: Mapping[str, Any]
    instances: tuple[str, ...] = ()
    expected: int = 0
    judged: tuple[Mapping[str, Any], ...] = ()

    def admitted(self, judge: Judge) -> bool:
        """Whether all of it may (still) be retrieved."""
        return all(_admitted(judge, row) is not None for row in self.judged or (self.properties,))


MAX_WITHHELD = 100


@dataclass(frozen=True, slots=True)
class Found:
    """What an identifier resolved to. `hidden` counts series (or named instances) that may not be retrieved;
    `withheld` has the properties of such series, at most MAX_WITHHELD, for the audit trail."""

    selected: tuple[Selected, ...]
    hidden: int
    duties: tuple[Obligation, ...] = ()
    withheld: tuple[Mapping[str, Any], ...] = ()


@dataclass(frozen=True, slots=True)
class SubRequest:
    """One upstream retrieve, at SERIES level or, if `instances` are named, at IMAGE level."""

    patient: str
    study: str
    series: tuple[str, ...]
    instances: tuple[str, ...] = ()
    expected: int = 0

    def identifier(self, root: Root, explicit: bool) -> bytes:
        """The canonical identifier: unique keys and nothing else."""
        level = Level.IMAGE if self.instances else Level.SERIES
        keys = {LEVEL: level.name, STUDY_UID: self.study, SERIES_UID: "\\".join(self.series)}
        if self.instances:
            keys[SOP_UID] = "\\".join(self.instances)
        if root is Root.PATIENT:
            keys[PATIENT_ID] = self.patient
        return encode({tag: text.encode("ascii", "replace") for tag, text in keys.items()}, explicit)


@dataclass(frozen=True, slots=True)
class Counters:
    """Numbers of sub-operations. `failures`: the SOP Instance UIDs of the failed ones, as far as they are named."""

    completed: int = 0
    failed: int = 0
    warning: int = 0
    failures: tuple[str, ...] = ()

    def __add__(self, other: Counters) -> Counters:
        return Counters(
            self.completed + other.completed,
            self.failed + other.failed,
            self.warning + other.warning,
            self.failures + other.failures,
        )

    @classmethod
    def of(cls, response: CMoveRsp | CGetRsp, failures: tuple[str, ...] = ()) -> Counters:
        return cls(response.completed or 0, response.failed or 0, response.warning or 0, failures)

    @property
    def done(self) -> int:
        return self.completed + self.failed + self.warning

    def status(self) -> Status:
        """Of the whole retrieve (PS3.4 tables C.4-2 and C.4-3): all failed is a failure, some is a warning."""
        if self.failed and not self.completed and not self.warning:
            return Status.UNABLE_TO_SUBOPERATE
        return Status.SOME_FAILED if self.failed or self.warning else Status.SUCCESS


def resolved(retrieval: Retrieval, judge: Judge, budget: Budget) -> Generator[Any, Any, Found]:
    """Ask what the identifier names, judge each series, and select those that may be retrieved."""
    selected: list[Selected] = []
    duties: dict[Obligation, None] = {}
    withheld: list[Mapping[str, Any]] = []
    hidden = 0
    for study in (yield from _studies(retrieval, judge, budget)):
        for one in (yield from _series(retrieval, judge, budget, study)):
            chosen, owed, missed = yield from _judged(retrieval, judge, budget, one)
            hidden += missed
            if missed and len(withheld) < MAX_WITHHELD:
                withheld.append(one.properties)
            selected.extend(chosen)
            duties.update(dict.fromkeys(owed))
    return Found(tuple(selected), hidden, tuple(duties), tuple(withheld))


def expand(selected: Iterable[Selected], list_length: int) -> tuple[SubRequest, ...]:
    """Upstream retrieves for the selected series: one for each study, its series in lists of at most `list_length`;
    named instances one for each series."""
    requests: list[SubRequest] = []
    whole: dict[tuple[str, str], list[Selected]] = {}
    for one in selected:
        if one.instances:
            for uids in batches(one.instances, list_length):
                requests.append(SubRequest(one.patient, one.study, (one.uid,), uids, len(uids)))
        else:
            whole.setdefault((one.patient, one.study), []).append(one)
    for (patient, study), members in whole.items():
        for batch in batches(members, list_length):
            expected = sum(member.expected for member in batch)
            requests.append(SubRequest(patient, study, tuple(member.uid for member in batch), (), expected))
    return tuple(requests)


def split(request: SubRequest) -> tuple[SubRequest, ...]:
    """The same, UID by UID, for a peer that refuses lists; empty if there is nothing to split."""
    parts: list[tuple[tuple[str, ...], tuple[str, ...]]]
    if request.instances:
        parts = [(request.series, (uid,)) for uid in request.instances]
    else:
        parts = [((uid,), ()) for uid in request.series]
    if len(parts) < 2:
        return ()
    # How many instances each series has is no longer known one by one: share the sum, for `remaining` to add up.
    share, rest = divmod(request.expected, len(parts))
    return tuple(
        SubRequest(request.patient, request.study, series, instances, share + (number < rest))
        for number, (series, instances) in enumerate(parts)
    )


def refused_list(request: SubRequest, response: CMoveRsp | CGetRsp) -> bool:
    """Whether a peer may have refused a request for its list: it failed, and nothing at all was done."""
    return is_failure(response.status) and not Counters.of(response).done and bool(split(request))


# -- resolution ----------------------------------------------------------------------------------


def _studies(retrieval: Retrieval, judge: Judge, budget: Budget) -> Generator[Any, Any, tuple[DataSet, ...]]:
    """The STUDY rows an identifier is about; what does not exist is left out."""
    if retrieval.level is Level.PATIENT:
        # Issuer of Patient ID cannot be sent in a retrieve (PS3.4 C.4.2.1.4): studies of every issuer are judged.
        return (yield from resolve.studies(budget, retrieval.wanted[0]))
    uids = retrieval.wanted if retrieval.level is Level.STUDY else (retrieval.above[Level.STUDY],)
    rows = []
    for uid in uids:
        row = yield from resolve.study(budget, uid, retrieval.above.get(Level.PATIENT))
        if row is not None:
            rows.append(row)
    return tuple(rows)


@dataclass(frozen=True, slots=True)
class _Series:
    patient: str
    study: str
    uid: str
    properties: Mapping[str, Any]
    expected: int


def _series(retrieval: Retrieval, judge: Judge, budget: Budget, study: DataSet) -> Generator[Any, Any, list[_Series]]:
    """The series of one study that the identifier names, with what is known of each."""
    uid, patient = study.text(STUDY_UID), study.text(PATIENT_ID) or ""
    if uid is None:
        return []
    wanted: tuple[str, ...] = ()
    if retrieval.level is Level.SERIES:
        wanted = retrieval.wanted
    elif retrieval.level is Level.IMAGE:
        wanted = (retrieval.above[Level.SERIES],)
    rows = yield from resolve.series(budget, uid, wanted)
    properties = judge.reading.study(study)
    found = []
    for row in rows:
        own = {"series": row.text(SERIES_UID), "modality": row.text(MODALITY) or None}
        number = row.text(SERIES_INSTANCES) or ""
        expected = int(number) if number.isdecimal() else 0
        found.append(_Series(patient, uid, row.text(SERIES_UID) or "", {**properties, **own}, expected))
    return found


def _judged(
    retrieval: Retrieval, judge: Judge, budget: Budget, one: _Series
) -> Generator[Any, Any, tuple[list[Selected], tuple[Obligation, ...], int]]:
    """What may be retrieved of a series, the obligations of that, and how much may not."""
    if retrieval.level is not Level.IMAGE:
        duties = _admitted(judge, one.properties)
        if duties is None:
            return [], (), 1
        return [Selected(one.patient, one.study, one.uid, one.properties, (), one.expected)], duties, 0
    rows = yield from resolve.instances(budget, one.study, one.uid, retrieval.wanted)
    chosen: dict[str, tuple[Obligation, ...]] = {}
    judged = []
    for row in rows:
        properties = {**one.properties, "sop_class": row.text(SOP_CLASS) or None}
        found = _admitted(judge, properties)
        if found is not None:
            chosen[row.text(SOP_UID) or ""] = found
            judged.append(properties)
    if not chosen:
        return [], (), len(rows)
    selected = Selected(one.patient, one.study, one.uid, one.properties, tuple(chosen), len(chosen), tuple(judged))
    owed = tuple(dict.fromkeys(duty for duties in chosen.values() for duty in duties))
    return [selected], owed, len(rows) - len(chosen)


def _admitted(judge: Judge, properties: Mapping[str, Any]) -> tuple[Obligation, ...] | None:
    duties = judge.admits(properties)
    return None if duties is None or unmet(duties, CARRIED_OUT) else duties
