"""What the rows and identifiers of a client do not say: further queries of our own, on the Study Root.

Each is bounded by the operation's budget. A peer's answer is believed only
where it repeats what was asked for: matching may be wild, relational or
sloppy at the peer, and is exact here.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

from adapters.dicom.dataset import DataSet
from adapters.dicom.identifier import MODALITIES_IN_STUDY
from adapters.dicom.session import Lookup
from spir.errors import PeerError
from spir.exchange import AskPeer

__all__ = ["Budget", "batches", "instances", "modalities", "named_modalities", "series", "studies", "study"]

STUDY_DATE, STUDY_TIME, PATIENT_ID, ISSUER = 0x00080020, 0x00080030, 0x00100020, 0x00100021
STUDY_UID, SERIES_UID, SOP_UID, SOP_CLASS = 0x0020000D, 0x0020000E, 0x00080018, 0x00080016
MODALITY, SERIES_INSTANCES = 0x00080060, 0x00201209
OF_STUDIES = (STUDY_DATE, STUDY_TIME, MODALITIES_IN_STUDY, PATIENT_ID, ISSUER, STUDY_UID)

T = TypeVar("T")
Rows = Generator[Any, tuple[DataSet, ...], tuple[DataSet, ...]]


@dataclass(slots=True)
class Budget:
    """How many more queries of our own an operation may cause; `issuers`: whether they ask for patients' issuers."""

    left: int
    issuers: bool = True

    def spend(self) -> None:
        if self.left <= 0:
            raise PeerError("the operation needs too many queries to be resolved", hint="ask for less at a time")
        self.left -= 1


def study(budget: Budget, uid: str, patient: str | None = None) -> Generator[Any, Any, DataSet | None]:
    """The STUDY row of a UID; None if there is none, or more than one, or it is not of the `patient` (ID) named."""
    rows = yield from _ask(budget, "STUDY", {STUDY_UID: uid}, OF_STUDIES)
    found = [row for row in rows if row.text(STUDY_UID) == uid]
    if len(found) != 1 or (patient is not None and found[0].text(PATIENT_ID) != patient):
        return None
    return found[0]


def studies(budget: Budget, patient: str) -> Rows:
    """The STUDY rows of one patient ID, of whatever issuer."""
    rows = yield from _ask(budget, "STUDY", {PATIENT_ID: patient}, OF_STUDIES)
    return tuple(row for row in rows if row.text(PATIENT_ID) == patient)


def series(budget: Budget, study_uid: str, wanted: Sequence[str] = ()) -> Rows:
    """The SERIES rows of a study; only the `wanted` UIDs if any are named."""
    keys = {STUDY_UID: study_uid, SERIES_UID: "\\".join(wanted)}
    rows = yield from _ask(budget, "SERIES", keys, (MODALITY, SERIES_INSTANCES))
    return tuple(
        row
        for row in rows
        if row.text(STUDY_UID) == study_uid and (row.text(SERIES_UID) in wanted if wanted else row.text(SERIES_UID))
    )


def instances(budget: Budget, study_uid: str, series_uid: str, wanted: Sequence[str]) -> Rows:
    """The IMAGE rows of those `wanted` instances that really lie in this series of this study."""
    keys = {STUDY_UID: study_uid, SERIES_UID: series_uid, SOP_UID: "\\".join(wanted)}
    rows = yield from _ask(budget, "IMAGE", keys, (SOP_CLASS,))
    return tuple(
        row
        for row in rows
        if (row.text(STUDY_UID), row.text(SERIES_UID)) == (study_uid, series_uid) and row.text(SOP_UID) in wanted
    )


def named_modalities(row: DataSet) -> tuple[str, ...]:
    """The modalities that a STUDY row names; empty if it does not say."""
    return tuple(dict.fromkeys(name for name in row.values(MODALITIES_IN_STUDY) if name))


def modalities(budget: Budget, row: DataSet) -> Generator[Any, Any, tuple[str, ...]]:
    """The modalities of a STUDY row: as it says, or, if it does not, as its series say."""
    named = named_modalities(row)
    uid = row.text(STUDY_UID)
    if named or not uid:
        return named
    rows = yield from series(budget, uid)
    return tuple(dict.fromkeys(one.text(MODALITY) or "" for one in rows))


def batches(items: Iterable[T], size: int) -> Iterator[tuple[T, ...]]:
    remaining = iter(items)
    while batch := tuple(islice(remaining, size)):
        yield batch


def _ask(budget: Budget, level: str, keys: dict[int, str], wishes: Iterable[int]) -> Rows:
    budget.spend()
    wanted = (tag for tag in wishes if budget.issuers or tag != ISSUER)
    elements = {**dict.fromkeys(wanted, b""), **{tag: text.encode("ascii", "replace") for tag, text in keys.items()}}
    rows = yield AskPeer(Lookup(level, elements))
    return rows
