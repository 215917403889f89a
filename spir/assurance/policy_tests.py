"""Run the cases of PolicyTest documents: what is decided, against what is expected.

Pure: whoever runs them reads the files and the messages that a case names
(`premises`) and hands in the rules and the facts (`Ground`). A case is compared
only in what it expects; the order of reasons, obligations and clauses is no
part of it. What cannot be meant is an error at the case, never a failed case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from datetime import datetime
from typing import Any

from spir.engine.explain import LayerTrace, trace
from spir.engine.ruleset import RuleSet
from spir.engine.ruling import Judged, rule
from spir.errors import DocumentError, Location, RequestError
from spir.language.document import canonical
from spir.language.kinds.policy_test import Case, PolicyTest
from spir.language.nearest import suggestion
from spir.language.values.operators import Invalid
from spir.language.values.scalars import read_timestamp
from spir.language.vocabulary import PATIENT, Vocabulary
from spir.model.decision import Decision
from spir.model.facts import Assert, Change, Fact, Snapshot
from spir.model.request import Request
from spir.model.value import freeze, thaw

__all__ = ["EXPECTATIONS", "Ground", "Mismatch", "Premises", "Result", "facts_of", "premises", "run_case"]

EXPECTATIONS = ("effect", "operation", "reasons", "obligations", "matched", "residual", "unknowns", "rows")

SOURCE = "test"
WINDOW = ("part", "as_of", "valid_from", "valid_until")


@dataclass(frozen=True, slots=True)
class Premises:
    """What a case is given, that of the whole test included. Names of files are relative to the test's own.

    `messages` are names of files or HL7 v2 text. `now` None leaves the moment to whoever runs it.
    """

    documents: tuple[str, ...] = ()
    facts: tuple[Mapping[str, Any], ...] = ()
    messages: tuple[str, ...] = ()
    now: datetime | None = None
    timezone: str = "UTC"
    organization: str = ""
    directory: str = ""


@dataclass(frozen=True, slots=True)
class Ground:
    """What a case is decided on."""

    rules: RuleSet
    facts: Snapshot
    at: datetime


@dataclass(frozen=True, slots=True)
class Mismatch:
    """Both sides are JSON-like."""

    what: str
    expected: Any
    found: Any

    def __str__(self) -> str:
        return f"{self.what}: expected {canonical(self.expected)}, found {canonical(self.found)}"


@dataclass(frozen=True, slots=True)
class Result:
    """One case that was run. `traces` is what each policy said to the request and to each row, for the coverage."""

    case: Case
    decision: Decision
    mismatches: tuple[Mismatch, ...]
    traces: tuple[tuple[LayerTrace, ...], ...]

    @property
    def passed(self) -> bool:
        return not self.mismatches

    def to_json(self) -> dict[str, Any]:
        return {
            "case": self.case.name,
            "at": str(self.case.location),
            "passed": self.passed,
            "mismatches": [{"what": one.what, "expected": one.expected, "found": one.found} for one in self.mismatches],
        }


# -- what is given ---------------------------------------------------------------------------


def premises(test: PolicyTest, case: Case) -> Premises:
    """Lists add up; what a case says alone stands before what the test says. Raises DocumentError."""
    found = _given(test.given, Premises(), test.location)
    return _given(case.given, found, case.location)


def _given(given: Mapping[str, Any], before: Premises, at: Location) -> Premises:
    changed: dict[str, Any] = {}
    for field in fields(Premises):
        if field.name not in given:
            continue
        value, known = given[field.name], getattr(before, field.name)
        if field.name == "now":
            changed["now"] = _moment(value, "now", at)
        elif isinstance(known, tuple):
            changed[field.name] = (*known, *_listed(value, field.name, at))
        elif isinstance(value, str):
            changed[field.name] = value
        else:
            raise DocumentError(f"`{field.name}` must be text", location=at)
    return replace(before, **changed)


def _listed(value: Any, name: str, at: Location) -> list[Any]:
    kind = Mapping if name == "facts" else str
    if isinstance(value, list) and all(isinstance(item, kind) for item in value):
        return value
    hint = 'as [{patient: "HIS|P001", care_team: [dr.li]}]' if name == "facts" else "as [name, name]"
    raise DocumentError(f"`{name}` must be a list", hint=hint, location=at)


def _moment(value: Any, name: str, at: Location) -> datetime:
    hint = "as 2026-01-31T08:00:00+08:00, always with its zone"
    if not isinstance(value, str):
        raise DocumentError(f"`{name}` must be a time", hint=hint, location=at)
    try:
        return read_timestamp(value)
    except Invalid as error:
        raise DocumentError(f"`{name}` must be a time", hint=hint, location=at) from error


def facts_of(
    given: Iterable[Mapping[str, Any]], vocabulary: Vocabulary, at: datetime, where: Location
) -> tuple[Change, ...]:
    """The facts of a case: `{patient: "HIS|P001", care_team: [dr.li]}` or `{staff: dr.li, role: physician}`.

    `part`, `as_of`, `valid_from` and `valid_until` hold for all attributes of one entry. Raises DocumentError.
    """
    return tuple(change for entry in given for change in _facts(entry, vocabulary, at, where))


def _facts(entry: Mapping[str, Any], vocabulary: Vocabulary, at: datetime, where: Location) -> Iterable[Change]:
    kind = next((name for name in ("patient", "staff") if isinstance(entry.get(name), str)), "")
    if not kind:
        hint = 'write patient: "authority|value", or staff: id'
        raise DocumentError("a fact does not say whom it is about", hint=hint, location=where)
    prefix = PATIENT if kind == "patient" else "subject."
    times = {name: _moment(entry[name], name, where) for name in WINDOW if name in entry and name != "part"}
    for name, value in entry.items():
        if name == kind or name in WINDOW:
            continue
        if vocabulary.declared(f"{prefix}{name}") is None:
            message = f"the attribute `{prefix}{name[:60]}` is not declared"
            raise DocumentError(message, hint=vocabulary.hint(f"{prefix}{name}"), location=where)
        window = (times.get("valid_from"), times.get("valid_until"))
        part, as_of = str(entry.get("part", "")), times.get("as_of", at)
        yield Assert(Fact((kind, entry[kind]), name, freeze(value), SOURCE, as_of, part, *window))


# -- one case --------------------------------------------------------------------------------


def run_case(case: Case, ground: Ground) -> Result:
    """Decide, judge the rows, compare. Raises DocumentError for a request or an expectation that cannot be meant."""
    for name in case.expect:
        if name not in EXPECTATIONS:
            hint = suggestion(name, EXPECTATIONS)
            raise DocumentError(f"`expect` has no field `{name[:60]}`", hint=hint, location=case.location)
    try:
        request = Request.from_json(case.request)
        ruling = rule(ground.rules, request, ground.facts, ground.at)
        completed = [request.completed(*_row(row, case)) for row in case.rows]
        found = _found(ruling, case)
    except RequestError as error:
        raise DocumentError(error.message, hint=error.hint, location=case.location) from error
    mismatches = [
        Mismatch(name, expected, found[name])
        for name, expected in case.expect.items()
        if not _agrees(name, expected, found[name], case)
    ]
    traces = (trace(ground.rules, one, ground.facts, ground.at) for one in (request, *completed))
    return Result(case, ruling.decision, tuple(mismatches), tuple(traces))


def _row(row: Any, case: Case) -> tuple[Mapping[str, Any], str | None]:
    """The properties of a row, and its id where it has one."""
    id = row.get("id") if isinstance(row, Mapping) else None
    if not isinstance(row, Mapping) or not (id is None or isinstance(id, str)):
        raise DocumentError("a row must be properties of a resource", hint="as {modality: CR}", location=case.location)
    return {name: value for name, value in row.items() if name != "id"}, id


def _found(ruling: Judged, case: Case) -> dict[str, Any]:
    """What there is to compare, as JSON."""
    decision = ruling.decision
    clauses = decision.residual.clauses if not (decision.permitted or decision.denied) else ()
    return {
        "effect": decision.effect.value,
        "operation": decision.operation,
        "reasons": [reason.to_json() for reason in decision.reasons],
        "obligations": [{"id": o.id, "type": o.type, **thaw(o.properties)} for o in decision.obligations],
        "matched": list(decision.matched),
        "residual": [[[atom.attribute, atom.op, thaw(atom.value)] for atom in clause.atoms] for clause in clauses],
        "unknowns": [str(lack) for lack in decision.unknowns],
        "rows": [ruling.admit(*_row(row, case)).admitted for row in case.rows],
    }


def _agrees(name: str, expected: Any, found: Any, case: Case) -> bool:
    if name in ("effect", "operation", "rows"):
        return bool(expected == found)
    if not isinstance(expected, list):
        raise DocumentError(f"`expect.{name}` must be a list", location=case.location)
    match name:
        case "reasons":
            return _covers([one if isinstance(one, Mapping) else {"code": one} for one in expected], found)
        case "obligations":
            return _covers(expected, found)
        case "residual":
            return _clauses(expected, case) == sorted(_clause(clause) for clause in found)
        case _:
            return sorted(map(str, expected)) == sorted(found)


def _covers(expected: list[Any], found: list[Any]) -> bool:
    """As many on each side, and to each expected one another found one that says at least as much."""
    left = list(found)
    for one in expected:
        if not isinstance(one, Mapping):
            return False
        fitting = next((item for item in left if all(item.get(key) == value for key, value in one.items())), None)
        if fitting is None:
            return False
        left.remove(fitting)
    return not left


def _clauses(expected: list[Any], case: Case) -> list[list[str]]:
    """Clauses as they are expected: `{resource.modality: [in, [CR, DX]]}`."""
    for clause in expected:
        pairs = clause.values() if isinstance(clause, Mapping) else [None]
        if not all(isinstance(pair, list) and len(pair) == 2 for pair in pairs):
            hint = "as {resource.modality: [in, [CR, DX]]}"
            raise DocumentError("`expect.residual` is a list of clauses", hint=hint, location=case.location)
    return sorted(_clause([[path, *pair] for path, pair in clause.items()]) for clause in expected)


def _clause(atoms: Iterable[list[Any]]) -> list[str]:
    """A form of a clause in which neither the order of atoms nor that of listed values counts."""
    return sorted(
        canonical([path, op, sorted(value, key=str) if op == "in" and isinstance(value, list) else value])
        for path, op, value in atoms
    )
