"""What each protocol would ask its peer for because of a decision: the part of a residual that a query can say.

Pure, and a description only: the adapters narrow what a client really asks, and
whatever comes back is checked row by row against the whole residual. For
`spir plan` and for the decision point's `/v1/plan`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from types import MappingProxyType
from typing import Any, TypeAlias

from adapters.dicom.dataset import DataSet, encode
from adapters.dicom.identifier import LEVEL, read_find
from adapters.dicom.query import narrow as narrow_keys
from adapters.dicom.tables import Root, Service
from adapters.dicom.tables import tables as dicom_tables
from adapters.fhir.facade import load_tables
from adapters.fhir.search import Bounds
from adapters.fhir.search import narrow as narrow_parameters
from adapters.fhir.tables import Tables, TypeRow
from spir.model.decision import Decision, Residual
from spir.model.identity import PatientIdentifiers
from spir.model.request import Request

__all__ = ["DICOM", "FHIR", "PUSHDOWN", "Dicom", "Pushed", "fhir"]

DICOM, FHIR = "dicom", "fhir"

_ANYBODY = PatientIdentifiers({}, lenient=True)  # whatever the authority: only values go into keys
_STAND_IN = re.compile(r"patient-(\d+)-")

# JSON-ready; None for an operation that is no query of this protocol.
Pushed: TypeAlias = Callable[[Request, Decision], Any]


@dataclass(frozen=True, slots=True)
class Dicom:
    """`modality_lists` and `issuers`: what the PACS takes, as in [dicom] of the configuration."""

    modality_lists: bool = True
    issuers: bool = True

    def __call__(self, request: Request, decision: Decision) -> list[dict[str, str]] | None:
        """The keys of each C-FIND that an empty study query becomes; none if nothing can match."""
        if f"{request.action.name}:{request.resource.type}" != dicom_tables().operations[Service.FIND]:
            return None
        if decision.denied:
            return []
        query = read_find(Root.STUDY, encode({LEVEL: b"STUDY"}, True), True)
        may = {"lists": self.modality_lists, "issuers": self.issuers}
        narrowed = narrow_keys(query, decision.residual, _ANYBODY, **may) or ()
        return [_keys(DataSet.parse(data, True)) for data in narrowed]


def _keys(identifier: DataSet) -> dict[str, str]:
    """The keys that match something, by keyword: an empty key only asks for the value."""
    known = dicom_tables().keys
    return {
        known[tag].keyword: identifier.text(tag) or ""
        for tag in identifier.index
        if tag in known and identifier.has_value(tag)
    }


def fhir(request: Request, decision: Decision) -> dict[str, dict[str, str] | None] | None:
    """Search parameters by FHIR type, as they are added to a search without any; None for one if nothing can match.

    A patient is named `{authority|value}`: a gateway looks its logical id up first.
    """
    rows = [row for row in _fhir_tables().types.values() if request.resource.type in row.types]
    if request.action.name != "search" or not rows:
        return None
    return {row.fhir: None if decision.denied else _parameters(row, decision.residual) for row in rows}


def _parameters(row: TypeRow, residual: Residual) -> dict[str, str] | None:
    patients = _texts(residual, "resource.patient.id")
    # Logical ids are not known here: each patient has a stand-in while the adapter narrows.
    names = sorted(patients or ())
    allowed = None if patients is None else frozenset(f"patient-{number}-" for number in range(len(names)))
    bounds = Bounds(allowed, _texts(residual, "resource.id"), _texts(residual, "resource.modality"))
    narrowed = narrow_parameters(row, (), bounds)
    if narrowed is None:
        return None
    return {name: _STAND_IN.sub(lambda m: f"{{{names[int(m[1])]}}}", value) for name, value in narrowed}


@lru_cache(maxsize=1)
def _fhir_tables() -> Tables:
    return load_tables()


def _texts(residual: Residual, attribute: str) -> frozenset[str] | None:
    found = residual.allowed(attribute)
    return None if found is None else frozenset(str(value) for value in found)


PUSHDOWN: Mapping[str, Pushed] = MappingProxyType({DICOM: Dicom(), FHIR: fhir})
