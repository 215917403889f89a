"""What the sandbox PACS holds, and how it is queried: a bounded archive in memory.

Pure but for a lock: instances in, rows out. The hierarchy is patient, study,
series, image; a query gives one value for the unique key of each level above
its own (PS3.4 C.4.1.2.1), and its answer has the keys it asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, TypeAlias

from pydicom.dataset import Dataset

from adapters.sandbox.matching import matches, texts
from spir.errors import SpirError

__all__ = ["LEVELS", "UNIQUE", "Archive", "BadIdentifier", "Full"]

LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")
UNIQUE = {
    "PATIENT": "PatientID",
    "STUDY": "StudyInstanceUID",
    "SERIES": "SeriesInstanceUID",
    "IMAGE": "SOPInstanceUID",
}

# What each level can be asked for; a level also answers the keys of those above it.
_KEYS: Mapping[str, tuple[str, ...]] = {
    "PATIENT": ("PatientID", "PatientName", "PatientBirthDate", "PatientSex", "IssuerOfPatientID"),
    "STUDY": (
        "StudyInstanceUID",
        "StudyDate",
        "StudyTime",
        "StudyID",
        "AccessionNumber",
        "StudyDescription",
        "ReferringPhysicianName",
        "InstitutionName",
    ),
    "SERIES": ("SeriesInstanceUID", "SeriesNumber", "Modality", "SeriesDescription", "BodyPartExamined", "SeriesDate"),
    "IMAGE": ("SOPInstanceUID", "SOPClassUID", "InstanceNumber", "ContentDate", "Rows", "Columns", "ImageType"),
}
_NOT_KEYS = frozenset({"QueryRetrieveLevel", "SpecificCharacterSet", "QueryRetrieveView", "TimezoneOffsetFromUTC"})

Row: TypeAlias = dict[str, Any]


class BadIdentifier(SpirError):
    """The identifier does not match the SOP Class (status 0xA900)."""


class Full(SpirError):
    """No room for another instance (status 0xA700)."""


class Archive:
    """Instances by SOP Instance UID, at most `capacity` of them. Safe for threads."""

    def __init__(self, instances: Iterable[Dataset] = (), capacity: int = 10_000) -> None:
        self._capacity = capacity
        self._held: dict[str, Dataset] = {}
        self._lock = threading.Lock()
        for made in instances:
            self.store(made)

    def __len__(self) -> int:
        return len(self._held)

    def __iter__(self) -> Iterator[Dataset]:
        with self._lock:
            return iter(list(self._held.values()))

    def store(self, made: Dataset) -> None:
        """Keep an instance; the same UID again replaces it. Raises Full."""
        with self._lock:
            if made.SOPInstanceUID not in self._held and len(self._held) >= self._capacity:
                raise Full("the sandbox archive is full")
            self._held[str(made.SOPInstanceUID)] = made

    def find(self, root: str, identifier: Dataset) -> list[Dataset]:
        """The response identifiers for a C-FIND. `root` is the top level: PATIENT or STUDY. Raises BadIdentifier."""
        level = _checked(root, identifier)
        groups: dict[str, list[Dataset]] = {}
        for made in self._below(root, level, identifier):
            groups.setdefault(str(made.get(UNIQUE[level], "")), []).append(made)
        rows = ((_row(level, members), members) for members in groups.values())
        return [_response(level, identifier, row) for row, _ in rows if _admits(level, identifier, row)]

    def retrieve(self, root: str, identifier: Dataset) -> list[Dataset]:
        """The instances for a C-MOVE or C-GET; unique keys only, as PS3.4 C.4.2.1 has it. Raises BadIdentifier."""
        level = _checked(root, identifier)
        wanted = texts(identifier.get(UNIQUE[level]))
        if not wanted:
            raise BadIdentifier(f"a retrieve at level {level} needs `{UNIQUE[level]}`")
        held = self._below(root, level, identifier)
        return [made for made in held if str(made.get(UNIQUE[level], "")) in wanted]

    def _below(self, root: str, level: str, identifier: Dataset) -> list[Dataset]:
        """Instances under the unique keys of the levels above."""
        above = LEVELS[LEVELS.index(root) : LEVELS.index(level)]
        keys = {UNIQUE[name]: str(identifier.get(UNIQUE[name])) for name in above}
        return [made for made in self if all(str(made.get(name, "")) == value for name, value in keys.items())]


def _checked(root: str, identifier: Dataset) -> str:
    """The query level, after PS3.4 C.4.1.1.3.1 and C.4.1.2.1 have been held."""
    level = str(identifier.get("QueryRetrieveLevel", ""))
    if level not in LEVELS[LEVELS.index(root) :]:
        raise BadIdentifier("the query level is missing or not of this information model")
    for name in LEVELS[LEVELS.index(root) : LEVELS.index(level)]:
        values = texts(identifier.get(UNIQUE[name]))
        if len(values) != 1 or set("*?") & set(values[0]):
            raise BadIdentifier(f"level {level} needs exactly one `{UNIQUE[name]}`")
    return level


def _row(level: str, members: list[Dataset]) -> Row:
    """The attributes of one match: its own, those of the levels above, and the counts below."""
    first = members[0]
    depth = LEVELS.index(level)
    row: Row = {name: first.get(name) for above in LEVELS[: depth + 1] for name in _KEYS[above]}
    studies, series = ({str(one.get(UNIQUE[name])) for one in members} for name in ("STUDY", "SERIES"))
    classes = sorted({str(one.SOPClassUID) for one in members})
    if level == "PATIENT":
        row["NumberOfPatientRelatedStudies"] = len(studies)
        row["NumberOfPatientRelatedSeries"] = len(series)
        row["NumberOfPatientRelatedInstances"] = len(members)
    if level == "STUDY":
        row["ModalitiesInStudy"] = sorted({str(one.Modality) for one in members})
        row["SOPClassesInStudy"] = classes
        row["NumberOfStudyRelatedSeries"] = len(series)
        row["NumberOfStudyRelatedInstances"] = len(members)
    if level == "SERIES":
        row["NumberOfSeriesRelatedInstances"] = len(members)
    return row


def _admits(level: str, identifier: Dataset, row: Row) -> bool:
    for element in identifier:
        name = element.keyword
        if name not in row or name in _NOT_KEYS or element.VR == "SQ":
            continue
        if not matches(element.VR, texts(element.value), texts(row[name])):
            return False
    return True


def _response(level: str, identifier: Dataset, row: Row) -> Dataset:
    answer = Dataset()
    answer.SpecificCharacterSet = "ISO_IR 192"
    answer.QueryRetrieveLevel = level
    for element in identifier:
        if element.keyword in row and element.keyword not in _NOT_KEYS:
            value = row[element.keyword]
            setattr(answer, element.keyword, "" if value is None else value)
    return answer
