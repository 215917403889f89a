"""The operations that the gateway's own protocols ask about, from the mapping tables.

Whoever calls the decision point may ask about any operation; what is not here
is decided for such callers only.
"""

from __future__ import annotations

from collections.abc import Iterator

from adapters import mappings
from spir.model.policy import OperationPattern

__all__ = ["operations_asked"]

# The interactions of the FHIR facade, as verbs of operation codes.
FHIR_VERBS = ("search", "read", "create", "update", "delete")


def operations_asked() -> tuple[OperationPattern, ...]:
    """Sorted. Raises Unavailable where the tables are not installed."""
    codes = {*_dicom(), *_fhir(), *_hl7v2(), *_pdp()}
    return tuple(OperationPattern.parse(code) for code in sorted(codes))


def _dicom() -> Iterator[str]:
    yield from (operation for _, operation in mappings.read("dicom")["operations"]["rows"])


def _fhir() -> Iterator[str]:
    table = mappings.read("fhir")
    types = {row["type"] for row in (*table["rows"], *table["kinds"])}
    yield from (f"{verb}:{kind}" for verb in FHIR_VERBS for kind in types)


def _hl7v2() -> Iterator[str]:
    table = mappings.read("hl7v2")
    yield from (row[1] for part in ("events", "messages") for row in table[part]["rows"])


def _pdp() -> Iterator[str]:
    yield from (operation for _, operation, _ in mappings.read("pdp")["policies"] if operation)
