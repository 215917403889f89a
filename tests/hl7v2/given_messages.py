"""Messages for tests: the fixtures, and made to measure."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

from adapters.hl7v2 import charset
from adapters.hl7v2.facts import Reader
from adapters.hl7v2.message import Message, parse
from adapters.hl7v2.source import Source
from adapters.hl7v2.tables import load
from spir.model.identity import PatientIdentifiers

FOLDER = Path(__file__).parents[2] / "fixtures" / "hl7v2"
TABLES = load()
STAFF = {"1001": "dr.li", "1002": "dr.chen", "1003": "dr.zhao"}
SHANGHAI = ZoneInfo("Asia/Shanghai")
SOURCE = Source("HIS", "H1", ("127.0.0.1",))
RECEIVED = datetime(2026, 11, 21, 12, 0, tzinfo=UTC)
READER = Reader(
    PatientIdentifiers({"HIS": "urn:oid:1.2.3", "CITY": "urn:oid:1.2.9"}, default="HIS"),
    lambda authority, value: STAFF.get(value) if authority == "hl7v2" else None,
    SHANGHAI,
    TABLES,
)


def fixture(name: str) -> bytes:
    return (FOLDER / f"{name}.hl7").read_bytes()


def read_fixture(name: str) -> Message:
    return parse(*charset.decode(fixture(name), TABLES.charsets))


def moment(minute: int) -> str:
    """EVN-6 of the given minute after 08:00 in Shanghai on the day of the fixtures."""
    return (datetime(2026, 11, 21, 8, 0) + timedelta(minutes=minute)).strftime("%Y%m%d%H%M%S") + "+0800"


def adt(
    trigger: str,
    minute: int = 0,
    *,
    patient: str = "P001^^^HIS^MR",
    visit: str = "V1",
    attending: str = "1001",
    consulting: str = "",
    vip: str = "",
    protection: str = "",
    more: tuple[str, ...] = (),
    before: tuple[str, ...] = (),
    patient_class: str = "I",
    place: str = "CARD",
) -> str:
    """An ADT message as text, of `minute` past eight."""
    pv1 = [""] * 20
    pv1[0:4] = ["PV1", "1", patient_class, place]
    pv1[7], pv1[9], pv1[16], pv1[19] = attending, consulting, vip, visit
    return "\r".join(
        [
            f"MSH|^~\\&|HIS|H1|SPIR|H1|{moment(minute)}||ADT^{trigger}|M{trigger}{minute}|P|2.5.1",
            f"EVN|{trigger}|{moment(minute)}||||{moment(minute)}",
            f"PID|1||{patient}||X^Y",
            f"PD1||||||||||||{protection}",
            *before,
            "|".join(pv1),
            *more,
            "",
        ]
    )


def merge(minute: int, *pairs: tuple[str, str]) -> str:
    """An A40 of (surviving, prior) pairs, bare identifiers of HIS."""
    groups = [line for surviving, prior in pairs for line in (f"PID|1||{surviving}^^^HIS^MR", f"MRG|{prior}^^^HIS^MR")]
    return "\r".join([f"MSH|^~\\&|HIS|H1|SPIR|H1|{moment(minute)}||ADT^A40|M{minute}|P|2.5.1", *groups, ""])
