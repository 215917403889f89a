"""`spir plan`: what a decision leaves to be checked on data, and what each protocol asks its peer for because of it.

What is asked is economy. Whatever comes back is checked row by row against the
whole residual, so a condition that no protocol can ask for is still enforced.
"""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from adapters.authzen.ucast import condition_tree, is_exact
from adapters.commands.output import FINDING, OK, say
from adapters.commands.policy import given_of, request_of
from adapters.dicom.dataset import DataSet, encode
from adapters.dicom.identifier import LEVEL, read_find
from adapters.dicom.query import narrow as narrow_keys
from adapters.dicom.tables import Root, Service
from adapters.dicom.tables import tables as dicom_tables
from adapters.fhir.facade import load_tables
from adapters.fhir.search import Bounds
from adapters.fhir.search import narrow as narrow_parameters
from adapters.fhir.tables import TypeRow
from spir.errors import RequestError
from spir.model.decision import Clause, Decision, Effect, Residual
from spir.model.identity import PatientIdentifiers
from spir.model.request import Request
from spir.model.value import thaw

__all__ = ["plan"]

DIMENSIONS = ("subject", "resource", "action", "context")


def plan(arguments: Namespace) -> int:
    """0 unless it is denied."""
    given = given_of(arguments)
    request = request_of(arguments)
    request = replace(request, deferred=request.deferred | _unknown(arguments.unknown))
    decision = given.engine.decide(request, given.facts, given.at)
    pushed = {"dicom": _dicom(request, decision), "fhir": _fhir(request, decision)}
    say(arguments, _json(decision, pushed), _lines(decision, pushed))
    return FINDING if decision.effect is Effect.DENY else OK


def _unknown(text: str) -> frozenset[str]:
    paths = frozenset(path.strip() for path in text.split(",") if path.strip())
    for path in sorted(paths):
        if path.partition(".")[0] not in DIMENSIONS:
            raise RequestError(f"`{path[:60]}` is no attribute", hint=f"it begins at one of {', '.join(DIMENSIONS)}")
    return paths


# -- what is pushed down ---------------------------------------------------------------------


def _dicom(request: Request, decision: Decision) -> list[dict[str, str]] | None:
    """The keys of each C-FIND that an empty study query becomes; none if nothing can match.

    None for operations that are no query of DICOM.
    """
    if f"{request.action.name}:{request.resource.type}" != dicom_tables().operations[Service.FIND]:
        return None
    if decision.denied:
        return []
    query = read_find(Root.STUDY, encode({LEVEL: b"STUDY"}, True), True)
    narrowed = narrow_keys(query, decision.residual, PatientIdentifiers({}, lenient=True)) or ()
    return [_keys(DataSet.parse(data, True)) for data in narrowed]


def _keys(identifier: DataSet) -> dict[str, str]:
    """The keys that match something, by keyword: an empty key only asks for the value."""
    known = dicom_tables().keys
    return {
        known[tag].keyword: identifier.text(tag) or ""
        for tag in identifier.index
        if tag in known and identifier.has_value(tag)
    }


def _fhir(request: Request, decision: Decision) -> dict[str, dict[str, str] | None] | None:
    """Search parameters by FHIR type, as they are added to a search without any; None for one if nothing can match.

    None for operations that are no search of FHIR. A patient is named `{authority|value}`: a gateway looks its
    logical id up first.
    """
    rows = [row for row in load_tables().types.values() if request.resource.type in row.types]
    if request.action.name != "search" or not rows:
        return None
    return {row.fhir: None if decision.denied else _parameters(row, decision.residual) for row in rows}


def _parameters(row: TypeRow, residual: Residual) -> dict[str, str] | None:
    patients = _texts(residual, "resource.patient.id")
    # Logical ids are not known here: each patient has a stand-in while the adapter narrows.
    names = {f"patient-{number}-": text for number, text in enumerate(sorted(patients or ()))}
    allowed = None if patients is None else frozenset(names)
    bounds = Bounds(allowed, _texts(residual, "resource.id"), _texts(residual, "resource.modality"))
    narrowed = narrow_parameters(row, (), bounds)
    return None if narrowed is None else {name: _named(value, names) for name, value in narrowed}


def _named(value: str, names: dict[str, str]) -> str:
    for stand_in, patient in names.items():
        value = value.replace(stand_in, f"{{{patient}}}")
    return value


def _texts(residual: Residual, attribute: str) -> frozenset[str] | None:
    found = residual.allowed(attribute)
    return None if found is None else frozenset(str(value) for value in found)


# -- how it is said --------------------------------------------------------------------------


def _json(decision: Decision, pushed: dict[str, Any]) -> dict[str, Any]:
    return {
        "effect": decision.effect.value,
        "operation": decision.operation,
        "residual": condition_tree(decision.residual),
        "exact": is_exact(decision.residual),
        "clauses": [_clause(clause) for clause in decision.residual.clauses],
        "pushed": pushed,
        "obligations": [item.to_json() for item in decision.obligations],
        "tied": [tied.obligation.to_json() for tied in decision.tied],
        "reasons": [reason.to_json() for reason in decision.reasons],
        "bundle": decision.bundle,
        "facts": decision.facts,
        "valid_until": decision.valid_until.isoformat() if decision.valid_until else None,
    }


def _clause(clause: Clause) -> dict[str, Any]:
    atoms = [atom.to_json() for atom in clause.atoms]
    return {"all": atoms, "policies": list(clause.policies), "exact": clause.exact}


def _lines(decision: Decision, pushed: dict[str, Any]) -> Iterator[str]:
    yield f"{decision.operation}: {decision.effect.value.upper()}"
    yield from (f"  reason: {reason.text}" for reason in decision.reasons)
    if decision.effect is Effect.CONDITIONAL:
        for number, clause in enumerate(decision.residual.clauses, 1):
            more = "" if clause.exact else "; and more, which is checked row by row"
            yield f"  clause {number}, by {', '.join(clause.policies) or 'all policies'}{more}"
            yield from (f"    {atom.attribute} {atom.op} {thaw(atom.value)}" for atom in clause.atoms)
    yield from (f"  must: {item.type} {thaw(item.properties)}" for item in decision.obligations)
    yield from (f"  must, by row: {t.obligation.type} {thaw(t.obligation.properties)}" for t in decision.tied)
    yield from _dicom_lines(pushed["dicom"])
    yield from _fhir_lines(pushed["fhir"])


def _dicom_lines(queries: list[dict[str, str]] | None) -> Iterator[str]:
    if queries is None:
        yield "  DICOM: no query; nothing is pushed down"
    elif not queries:
        yield "  DICOM: nothing can match; the PACS is not asked"
    for keys in queries or ():
        asked = " ".join(f"{name}={value}" for name, value in keys.items())
        yield f"  DICOM: C-FIND at STUDY level: {asked or 'as the client asks'}"


def _fhir_lines(searches: dict[str, dict[str, str] | None] | None) -> Iterator[str]:
    if searches is None:
        yield "  FHIR: no search; nothing is pushed down"
    for type, parameters in (searches or {}).items():
        if parameters is None:
            yield f"  FHIR: {type}: nothing can match; the server is not asked"
        else:
            yield f"  FHIR: GET {type}{'?' if parameters else ''}{'&'.join(f'{n}={v}' for n, v in parameters.items())}"
