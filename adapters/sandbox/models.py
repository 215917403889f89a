"""SOP Classes the sandbox speaks, by UID (PS3.4 C.6, B.5, A.4)."""

from __future__ import annotations

__all__ = ["FIND", "GET", "MOVE", "ROOTS", "SOP_CLASSES", "VERIFICATION"]

VERIFICATION = "1.2.840.10008.1.1"

# top level of the information model -> SOP Class
FIND = {"PATIENT": "1.2.840.10008.5.1.4.1.2.1.1", "STUDY": "1.2.840.10008.5.1.4.1.2.2.1"}
MOVE = {"PATIENT": "1.2.840.10008.5.1.4.1.2.1.2", "STUDY": "1.2.840.10008.5.1.4.1.2.2.2"}
GET = {"PATIENT": "1.2.840.10008.5.1.4.1.2.1.3", "STUDY": "1.2.840.10008.5.1.4.1.2.2.3"}

ROOTS = {sop_class: root for table in (FIND, MOVE, GET) for root, sop_class in table.items()}

# modality -> storage SOP Class
SOP_CLASSES = {
    "CT": "1.2.840.10008.5.1.4.1.1.2",
    "MR": "1.2.840.10008.5.1.4.1.1.4",
    "CR": "1.2.840.10008.5.1.4.1.1.1",
    "DX": "1.2.840.10008.5.1.4.1.1.1.1",
    "US": "1.2.840.10008.5.1.4.1.1.6.1",
    "SR": "1.2.840.10008.5.1.4.1.1.88.11",
}
