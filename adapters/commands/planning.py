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
from adapters.pushdown import DICOM, FHIR, PUSHDOWN
from spir.errors import RequestError
from spir.model.decision import Clause, Decision, Effect
from spir.model.value import thaw

__all__ = ["plan"]

DIMENSIONS = ("subject", "resource", "action", "context")


def plan(arguments: Namespace) -> int:
    """0 unless it is denied."""
    given = given_of(arguments)
    request = request_of(arguments)
    request = replace(request, deferred=request.deferred | _unknown(arguments.unknown))
    decision = given.engine.decide(request, given.facts, given.at)
    pushed = {name: pushed_by(request, decision) for name, pushed_by in PUSHDOWN.items()}
    say(arguments, _json(decision, pushed), _lines(decision, pushed))
    return FINDING if decision.effect is Effect.DENY else OK


def _unknown(text: str) -> frozenset[str]:
    paths = frozenset(path.strip() for path in text.split(",") if path.strip())
    for path in sorted(paths):
        if path.partition(".")[0] not in DIMENSIONS:
            raise RequestError(f"`{path[:60]}` is no attribute", hint=f"it begins at one of {', '.join(DIMENSIONS)}")
    return paths


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
    yield from _dicom_lines(pushed[DICOM])
    yield from _fhir_lines(pushed[FHIR])


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
