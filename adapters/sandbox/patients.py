"""A dozen invented patients: who they are, and which studies they have.

Nobody here exists. Wang Xiaoming is the Chinese John Doe, the family name Shahe
is the word for sandbox, the Western names are words for things that stand in
for other things; the telephone numbers have no valid prefix and the streets are
in no town. Patient identifiers are P001 to P012 of the assigning authority HIS,
FHIR system urn:oid:1.2.3. P001 is the patient of the story; P012 is the same
man registered twice by mistake, until an HL7 v2 A40 merges the two.

Every UID is derived from names by UUID version 5 under the 2.25 root, so two
runs make the same studies (PS3.5 B.2 describes the root).
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass

__all__ = ["AUTHORITY", "PEOPLE", "STAFF", "SYSTEM", "Person", "Plan", "Series", "StaffMember", "person", "uid"]

AUTHORITY = "HIS"
SYSTEM = "urn:oid:1.2.3"
STAFF_SYSTEM = "urn:oid:1.2.3.1"  # the HIS's staff numbers, as HL7 v2 XCN.1 carries them

_ROOT = uuid.uuid5(uuid.NAMESPACE_OID, "2.25 spir sandbox")


def uid(*names: str) -> str:
    """The UID for these names: `2.25.` and the decimal value of a UUID version 5, at most 44 characters."""
    return f"2.25.{uuid.uuid5(_ROOT, '/'.join(names)).int}"


@dataclass(frozen=True, slots=True)
class Series:
    """One series to be made: `images` instances of `modality`."""

    modality: str
    description: str
    images: int = 1


@dataclass(frozen=True, slots=True)
class Plan:
    """One study to be made. `date` is YYYYMMDD; `region` is a body part as DICOM spells it."""

    accession: str
    date: str
    region: str
    description: str
    series: tuple[Series, ...]

    @property
    def uid(self) -> str:
        return uid("study", self.accession)

    @property
    def modalities(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(series.modality for series in self.series))

    def series_uid(self, number: int) -> str:
        """`number` counts from 1."""
        return uid("series", self.accession, str(number))

    def image_uid(self, number: int, image: int) -> str:
        """Both count from 1."""
        return uid("image", self.accession, str(number), str(image))


@dataclass(frozen=True, slots=True)
class Person:
    """An invented patient. `native` is family and given name in Chinese characters, or two empty texts."""

    id: str
    family: str
    given: str
    native: tuple[str, str]
    born: str  # YYYYMMDD
    sex: str  # M F O
    allergy: tuple[str, str]  # SNOMED CT code and its words
    studies: tuple[Plan, ...]

    @property
    def key(self) -> str:
        """As policies and facts name the patient: `HIS|P001`."""
        return f"{AUTHORITY}|{self.id}"

    @property
    def number(self) -> int:
        return int(self.id[1:])

    @property
    def dicom_name(self) -> str:
        """PN with its alphabetic and, where there is one, ideographic group (PS3.5 6.2.1)."""
        alphabetic = f"{self.family}^{self.given}"
        return f"{alphabetic}={self.native[0]}^{self.native[1]}" if self.native[0] else alphabetic

    @property
    def phone(self) -> str:
        return f"+00 0000 00{self.number:04}"

    @property
    def street(self) -> str:
        return f"{self.number} Nowhere Lane"


@dataclass(frozen=True, slots=True)
class StaffMember:
    """An invented member of staff; `number` is the HIS's (XCN.1), `id` the directory's."""

    id: str
    number: str
    family: str
    given: str
    role: str


STAFF = (
    StaffMember("dr.li", "1001", "Li", "Min", "physician"),
    StaffMember("dr.chen", "1002", "Chen", "Hao", "physician"),
    StaffMember("dr.zhao", "1003", "Zhao", "Lin", "physician"),
    StaffMember("nurse.sun", "2001", "Sun", "Placeholder", "nurse"),
    StaffMember("tech.qian", "3001", "Qian", "Placeholder", "radiographer"),
)

_PENICILLIN = ("91936005", "Allergy to penicillin")
_LATEX = ("300916003", "Latex allergy")
_SEAFOOD = ("91937001", "Allergy to seafood")
_PEANUT = ("91935009", "Allergy to peanut")

_SR = Series("SR", "Findings")


def _cr(accession: str, date: str) -> Plan:
    return Plan(accession, date, "CHEST", "Chest, two views", (Series("CR", "PA"), Series("CR", "Lateral")))


def _dx(accession: str, date: str, *more: Series) -> Plan:
    return Plan(accession, date, "HAND", "Hand, left", (Series("DX", "PA", 2), *more))


def _ct(accession: str, date: str, *more: Series) -> Plan:
    return Plan(accession, date, "HEAD", "Head CT", (Series("CT", "Axial 5 mm", 4), Series("CT", "Bone", 3), *more))


def _mr(accession: str, date: str) -> Plan:
    return Plan(accession, date, "BRAIN", "Brain MR", (Series("MR", "T1 axial", 3), Series("MR", "T2 axial", 3)))


def _us(accession: str, date: str, *more: Series) -> Plan:
    return Plan(accession, date, "ABDOMEN", "Abdomen ultrasound", (Series("US", "Liver", 2), *more))


PEOPLE = (
    Person(
        "P001", "Wang", "Xiaoming", ("王", "小明"), "19650314", "M", _PENICILLIN,
        (_cr("A0001", "20261102"), _dx("A0002", "20261103"), _ct("A0003", "20261104"),
         _mr("A0004", "20261105"), _us("A0005", "20261106")),
    ),
    Person(
        "P002", "Dong", "Oujinniu", ("東", "區璡紐"), "19710902", "F", _LATEX,
        (_ct("A0006", "20261007", _SR), _cr("A0007", "20261008")),
    ),
    Person(
        "P003", "Shahe", "Jianguo", ("沙盒", "建国"), "19480220", "M", _SEAFOOD,
        (_dx("A0008", "20260911", _SR), _us("A0009", "20260912", _SR)),
    ),
    Person("P004", "Phantom", "Peter", ("", ""), "19911130", "M", _PEANUT, (_mr("A0010", "20260801"),)),
    Person("P005", "Shahe", "Xiaoyu", ("沙盒", "小雨"), "20150909", "F", _PEANUT, (_cr("A0011", "20261021"),)),
    Person(
        "P006", "Sample", "Samuel", ("", ""), "19620704", "M", _PENICILLIN,
        (_ct("A0012", "20260630"), _mr("A0013", "20260701")),
    ),
    Person("P007", "Shahe", "Guoqing", ("沙盒", "国庆"), "19851001", "M", _LATEX, (_us("A0014", "20261115"),)),
    Person(
        "P008", "Dummy", "Dorothea", ("", ""), "19330315", "F", _SEAFOOD,
        (_cr("A0015", "20240103"), _dx("A0016", "20250104"), _ct("A0017", "20260105", _SR)),
    ),
    Person("P009", "Shahe", "Lan", ("沙盒", "兰"), "19780808", "F", _PENICILLIN, (_dx("A0018", "20260222"),)),
    Person("P010", "Mockup", "Maurice", ("", ""), "20000229", "M", _PEANUT, (_cr("A0019", "20260518"),)),
    Person("P011", "Shahe", "Ning", ("沙盒", "宁"), "19951224", "O", _LATEX, (_mr("A0020", "20261119"),)),
    Person(
        "P012", "Wang", "Xiao Ming", ("王", "小明"), "19650314", "M", _SEAFOOD,
        (_ct("A0021", "20260310"), _us("A0022", "20260311")),
    ),
)  # fmt: skip


def person(id: str) -> Person:
    """The patient with this id. Raises KeyError."""
    return {one.id: one for one in PEOPLE}[id]
