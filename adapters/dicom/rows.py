"""Judge the rows of a C-FIND, and rewrite those that may be shown (PS3.4 C.4.1.1.3.2).

`admits` in the house's words: every response passes here, whatever was pushed
down. A study is judged once for each of its modalities and shown if one is
admitted; then its list of modalities names only the admitted ones, and what
counts or lists the rest is emptied, because a count of what is hidden tells
that something is.

Two more ways in which a hidden thing could show are closed: a row is withheld
where the client matched on a summary that covers hidden series, and where it
matched on an element that must be masked for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any

from adapters.dicom.dataset import DataSet, DatasetError
from adapters.dicom.identifier import MODALITIES_IN_STUDY, Query, is_wild
from adapters.dicom.masks import Masks
from adapters.dicom.tables import KeyKind, Level, tables
from spir.exchange import Ruling
from spir.model.identity import PatientIdentifiers
from spir.model.obligation import Obligation, unmet

__all__ = ["CARRIED_OUT", "Judge", "Reading", "Shown", "Studied", "fits"]

STUDY_DATE, STUDY_TIME, UTC_OFFSET = 0x00080020, 0x00080030, 0x00080201
PATIENT_ID, ISSUER = 0x00100020, 0x00100021
STUDY_UID, SERIES_UID, SOP_CLASS, MODALITY = 0x0020000D, 0x0020000E, 0x00080016, 0x00080060
RETRIEVE_AE = 0x00080054
NOTHING: frozenset[int] = frozenset()

# Obligations a query can carry out: masks on rows; the session delivers the others.
CARRIED_OUT = frozenset(("mask", "notify", "trigger", "audit"))

_DATE = re.compile(r"(\d{4})(\d{2})(\d{2})")
_TIME = re.compile(r"(\d{2})(?:(\d{2})(?:(\d{2})(?:\.(\d{1,6}))?)?)?")
_OFFSET = re.compile(r"([+-])(\d{2})(\d{2})")


@dataclass(frozen=True, slots=True)
class Reading:
    """How a row becomes properties of a resource. `zone` is the site's, for times without an offset."""

    identifiers: PatientIdentifiers
    zone: tzinfo = UTC

    def patient(self, row: DataSet) -> str | None:
        """The canonical patient id; None if there is none, or none that can be read without doubt."""
        try:
            value, issuer = row.text(PATIENT_ID), row.text(ISSUER)
        except DatasetError:
            return None
        if not value or "\\" in value:
            return None
        return self.identifiers.canonical(value, issuer or "")

    def study(self, row: DataSet) -> dict[str, Any]:
        """What a STUDY row says of the resource; a missing value is None."""
        patient = self.patient(row)
        return {
            "patient": {"id": patient} if patient else None,
            "study": row.text(STUDY_UID) or None,
            "created": self.created(row),
        }

    def created(self, row: DataSet) -> datetime | None:
        """Study date and time; None without a full date."""
        date = row.text(STUDY_DATE)
        if not date:
            return None
        return _moment(date, row.text(STUDY_TIME) or "00", row.text(UTC_OFFSET) or "", self.zone)


@lru_cache(maxsize=4096)
def _moment(date: str, time: str, offset: str, zone: tzinfo) -> datetime | None:
    """DA, TM and an offset as one moment (PS3.5 6.2); None for what is malformed. Rows often share it."""
    day, clock = _DATE.fullmatch(date), _TIME.fullmatch(time)
    if not day or not clock:
        return None
    hour, minute, second, fraction = (part or "0" for part in clock.groups())
    try:
        parts = [int(part) for part in (*day.groups(), hour, minute, second, fraction.ljust(6, "0"))]
        return datetime(*parts[:3], *parts[3:], tzinfo=_zone(offset) or zone)  # type: ignore[misc,arg-type]
    except ValueError:
        return None


def _zone(offset: str) -> tzinfo | None:
    found = _OFFSET.fullmatch(offset)
    if not found:
        return None
    span = timedelta(hours=min(int(found[2]), 23), minutes=int(found[3]))
    return timezone(-span if found[1] == "-" else span)


@dataclass(frozen=True, slots=True)
class Studied:
    """A study as judged: its admitted modalities, whether others are hidden, and what must be done to its rows."""

    admitted: tuple[str | None, ...]
    partial: bool
    obligations: tuple[Obligation, ...]


@dataclass(frozen=True, slots=True)
class Shown:
    """A row as the client sees it. `partial`: something of it was hidden or masked."""

    data: bytes
    partial: bool
    patient: str | None
    obligations: tuple[Obligation, ...] = ()


@dataclass(frozen=True, slots=True)
class Judge:
    """Judges rows by one ruling. `ae_title` is what rows name as the place to retrieve from: us."""

    ruling: Ruling
    reading: Reading
    masks: Masks
    ae_title: str

    def admits(self, properties: Mapping[str, Any]) -> tuple[Obligation, ...] | None:
        """The obligations of an admitted row; None if it is not, or if one of them cannot be carried out."""
        admission = self.ruling.admit(properties)
        if not admission.admitted or unmet(admission.obligations, CARRIED_OUT):
            return None
        return admission.obligations

    def study(self, row: DataSet, modalities: Sequence[str]) -> Studied | None:
        """Judge a study once for each modality (once without, if it has none); None if nothing is admitted."""
        properties = self.reading.study(row)
        if properties["study"] is None:
            return None
        choices: Sequence[str | None] = modalities or (None,)
        judged = [(choice, self.admits({**properties, "modality": choice or None})) for choice in choices]
        admitted = tuple(choice for choice, duties in judged if duties is not None)
        duties = tuple(dict.fromkeys(duty for _, found in judged for duty in found or ()))
        return Studied(admitted, len(admitted) < len(choices), duties) if admitted else None

    def show_study(self, query: Query, row: DataSet, modalities: Sequence[str]) -> Shown | None:
        """A STUDY row as it may be shown, or None."""
        studied = self.study(row, modalities)
        if studied is None:
            return None
        names = tuple(name for name in studied.admitted if name)
        if not fits(query.values(MODALITIES_IN_STUDY), names):
            return None
        changes: dict[int, bytes | None] = {}
        if studied.partial or MODALITIES_IN_STUDY not in row:
            changes[MODALITIES_IN_STUDY] = "\\".join(names).encode("ascii", "replace")
        return self._show(query, row, studied.partial, studied.obligations, changes)

    def show_patient(self, query: Query, row: DataSet, studies: Iterable[Studied | None]) -> Shown | None:
        """A PATIENT row, shown if at least one of the patient's studies is, even in part."""
        judged = list(studies)
        shown = [studied for studied in judged if studied is not None]
        if not shown:
            return None
        partial = len(shown) < len(judged) or any(studied.partial for studied in shown)
        duties = tuple(dict.fromkeys(duty for studied in shown for duty in studied.obligations))
        return self._show(query, row, partial, duties, {})

    def show(self, query: Query, row: DataSet, properties: Mapping[str, Any]) -> Shown | None:
        """A SERIES or IMAGE row, judged by its own properties and those of what it belongs to."""
        duties = self.admits(properties)
        return None if duties is None else self._show(query, row, False, duties, {}, properties)

    def _show(
        self,
        query: Query,
        row: DataSet,
        partial: bool,
        duties: tuple[Obligation, ...],
        changes: dict[int, bytes | None],
        properties: Mapping[str, Any] | None = None,
    ) -> Shown | None:
        if partial and query.summaries_matched:
            return None
        hidden = self._hidden(row, query, duties) if duties else NOTHING
        if hidden is None:
            return None
        allowed = query.answerable
        changes = {tag: value for tag, value in changes.items() if tag in allowed}
        for tag in row.index:
            if tag not in allowed:
                changes[tag] = None
            elif tag in hidden or (partial and tag not in changes and _is_summary(tag, query.level)):
                changes[tag] = b""
            elif tag == RETRIEVE_AE:
                changes[tag] = self.ae_title.encode("ascii")
        patient = (properties or {}).get("patient")
        name = patient["id"] if patient else self.reading.patient(row)
        return Shown(row.edited(changes) if changes else row.data, partial or bool(hidden), name, duties)

    def _hidden(self, row: DataSet, query: Query, duties: Iterable[Obligation]) -> frozenset[int] | None:
        """The tags of the row to be emptied by masks; None if the masks cannot be carried out on it.

        Sequences go as a whole: an item may repeat what is masked outside of it.
        """
        masked: frozenset[int] = frozenset()
        for duty in duties:
            if duty.type == "mask":
                tags = self.masks.emptied(duty)
                if tags is None or any(query.asked.has_value(tag) for tag in tags if tag in query.asked):
                    return None
                masked |= tags
        if not masked:
            return masked
        return frozenset(tag for tag in row.index if tag in masked or row.is_sequence(tag))


def fits(asked: Sequence[str], values: Sequence[str]) -> bool:
    """Whether any of `values` matches any of the `asked` keys; no key is universal matching (PS3.4 C.2.2.2)."""
    return not asked or any(_matches(key, value) for key in asked for value in values)


def _matches(key: str, value: str) -> bool:
    if not is_wild(key):
        return key == value
    pattern = "".join(".*" if c == "*" else "." if c == "?" else re.escape(c) for c in key)
    return re.fullmatch(pattern, value) is not None


def _is_summary(tag: int, level: Level) -> bool:
    """Whether an element counts or lists what lies below `level`, or beside it."""
    key = tables().keys.get(tag)
    return key is not None and key.kind is KeyKind.SUMMARY and key.level <= level
