"""Search of the sandbox FHIR store (FHIR R4 search.html): a table of parameters and one function a type.

Pure. Strict: a parameter, modifier or prefix that is not in the tables is an
error, never ignored; a store that ignores what it does not know answers more
than was asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from adapters.sandbox.shelf import Resource, Shelf
from spir.errors import SpirError

__all__ = ["PARAMETERS", "TYPES", "BadSearch", "Criterion", "criterion", "references", "satisfies"]

# parameter -> (kind, path); a path of several steps goes through lists
Table = Mapping[str, tuple[str, str]]

_ALL: Table = {"_id": ("token", "id"), "_lastUpdated": ("date", "meta.lastUpdated"), "_tag": ("token", "meta.tag")}
_CLINICAL: Table = {
    "identifier": ("token", "identifier"),
    "patient": ("reference", "subject"),
    "subject": ("reference", "subject"),
    "status": ("token", "status"),
    "code": ("token", "code"),
    "category": ("token", "category"),
    "encounter": ("reference", "encounter"),
}

_TYPES: Mapping[str, Table] = {
    "Patient": {
        "identifier": ("token", "identifier"),
        "name": ("string", "name"),
        "family": ("string", "name.family"),
        "given": ("string", "name.given"),
        "phone": ("token", "telecom"),
        "telecom": ("token", "telecom"),
        "address": ("string", "address"),
        "gender": ("token", "gender"),
        "birthdate": ("date", "birthDate"),
        "active": ("token", "active"),
        "organization": ("reference", "managingOrganization"),
    },
    "Practitioner": {"identifier": ("token", "identifier"), "name": ("string", "name")},
    "Organization": {"identifier": ("token", "identifier"), "name": ("string", "name")},
    "Device": {
        "identifier": ("token", "identifier"),
        "patient": ("reference", "patient"),
        "status": ("token", "status"),
    },
    "Encounter": {
        **_CLINICAL,
        "class": ("token", "class"),
        "date": ("date", "period.start"),
        "participant": ("reference", "participant.individual"),
    },
    "AllergyIntolerance": {
        "identifier": ("token", "identifier"),
        "patient": ("reference", "patient"),
        "code": ("token", "code"),
        "criticality": ("token", "criticality"),
        "clinical-status": ("token", "clinicalStatus"),
    },
    "Condition": {**_CLINICAL, "clinical-status": ("token", "clinicalStatus")},
    "Observation": {
        **_CLINICAL,
        "date": ("date", "effectiveDateTime"),
        "value-concept": ("token", "valueCodeableConcept"),
    },
    "MedicationRequest": {
        **_CLINICAL,
        "code": ("token", "medicationCodeableConcept"),
        "intent": ("token", "intent"),
        "authoredon": ("date", "authoredOn"),
        "requester": ("reference", "requester"),
    },
    "ServiceRequest": {
        **_CLINICAL,
        "priority": ("token", "priority"),
        "intent": ("token", "intent"),
        "authored": ("date", "authoredOn"),
        "requester": ("reference", "requester"),
    },
    "ImagingStudy": {
        **_CLINICAL,
        "modality": ("token", "modality"),
        "series": ("token", "series.uid"),
        "started": ("date", "started"),
    },
    "DiagnosticReport": {
        **_CLINICAL,
        "date": ("date", "effectiveDateTime"),
        "result": ("reference", "result"),
    },
    "DocumentReference": {**_CLINICAL, "type": ("token", "type"), "date": ("date", "date")},
    "Consent": {
        "identifier": ("token", "identifier"),
        "patient": ("reference", "patient"),
        "status": ("token", "status"),
    },
    "AuditEvent": {"date": ("date", "recorded"), "type": ("token", "type")},
    "Task": {**_CLINICAL, "patient": ("reference", "for"), "subject": ("reference", "for")},
    "Communication": {**_CLINICAL},
    "CareTeam": {**_CLINICAL},
}

TYPES = frozenset(_TYPES)
PARAMETERS: Mapping[str, Table] = {kind: {**_ALL, **table} for kind, table in _TYPES.items()}

_MODIFIERS = {"token": {"", "not"}, "string": {"", "exact", "contains"}, "date": {""}, "reference": {"", *TYPES}}
_PREFIXES = ("eq", "ne", "ge", "gt", "le", "lt")


class BadSearch(SpirError):
    """The client's: the search says what this store cannot answer (HTTP 400)."""


@dataclass(frozen=True, slots=True)
class Criterion:
    """One parameter: any of `values` must match; several criteria must all match.

    `chain` is what the target must satisfy, as `identifier` in `patient.identifier`.
    """

    parameter: str
    kind: str
    path: str
    modifier: str
    values: tuple[str, ...]
    chain: Criterion | None = None


def criterion(kind: str, name: str, value: str) -> Criterion:
    """Parse one parameter of a search on resource type `kind`. Raises BadSearch."""
    head, _, tail = name.partition(".")
    base, _, modifier = head.partition(":")
    table = PARAMETERS[kind]
    if base not in table:
        raise BadSearch(f"`{base}` is not a search parameter of {kind}", hint=f"known: {', '.join(sorted(table))}")
    sort, path = table[base]
    if modifier not in _MODIFIERS[sort]:
        raise BadSearch(f"`:{modifier}` is not supported for `{base}`")
    if tail and (sort != "reference" or "." in tail):
        raise BadSearch(f"`{base}` cannot be chained so", hint="one step through a reference, as patient.identifier")
    chain = criterion(modifier or "Patient", tail, value) if tail else None
    return Criterion(base, sort, path, modifier, tuple(value.split(",")), chain)


def satisfies(resource: Resource, one: Criterion, shelf: Shelf) -> bool:
    held = list(_at(resource, one.path))
    if one.chain is not None:
        targets = (_resolve(item, shelf) for item in held)
        return any(target is not None and satisfies(target, one.chain, shelf) for target in targets)
    test = _TESTS[one.kind]
    found = any(test(item, value, one.modifier) for item in held for value in one.values)
    return not found if one.modifier == "not" else found


def references(resource: Resource, parameter: str) -> list[str]:
    """What the reference parameter points at: `Patient/p1` ... Raises BadSearch."""
    table = PARAMETERS[resource["resourceType"]]
    if table.get(parameter, ("", ""))[0] != "reference":
        raise BadSearch(f"`{parameter}` is not a reference parameter of {resource['resourceType']}")
    return [str(item.get("reference", "")) for item in _at(resource, table[parameter][1]) if isinstance(item, dict)]


def _resolve(item: Any, shelf: Shelf) -> Resource | None:
    kind, _, id = str(item.get("reference", "") if isinstance(item, dict) else "").partition("/")
    version = shelf.current(kind, id)
    return version.resource if version and kind in TYPES else None


def _at(value: Any, path: str) -> Iterator[Any]:
    """Every value at a dotted path; lists are gone through."""
    if isinstance(value, list):
        for item in value:
            yield from _at(item, path)
    elif not path:
        yield value
    elif isinstance(value, dict):
        head, _, rest = path.partition(".")
        if head in value:
            yield from _at(value[head], rest)


# -- one test a kind: (what the resource holds, what is wanted, modifier) ---------------------


def _token(held: Any, wanted: str, modifier: str) -> bool:
    if isinstance(held, dict):
        if "coding" in held:
            return any(_token(coding, wanted, modifier) for coding in held["coding"])
        given, code = held.get("system", ""), held.get("code", held.get("value", ""))
    else:
        given, code = "", str(held).lower() if isinstance(held, bool) else str(held)
    system, bar, value = wanted.rpartition("|")
    return (not bar or system == given) and (value == code or (bool(bar) and not value))


def _string(held: Any, wanted: str, modifier: str) -> bool:
    if isinstance(held, (dict, list)):
        parts = held.values() if isinstance(held, dict) else held
        return any(_string(part, wanted, modifier) for part in parts)
    text = str(held)
    match modifier:
        case "exact":
            return text == wanted
        case "contains":
            return wanted.casefold() in text.casefold()
        case _:
            return text.casefold().startswith(wanted.casefold())


def _reference(held: Any, wanted: str, modifier: str) -> bool:
    reference = held.get("reference", "") if isinstance(held, dict) else ""
    if modifier:
        return bool(reference == f"{modifier}/{wanted}")
    return reference == wanted if "/" in wanted else reference.rpartition("/")[2] == wanted


def _date(held: Any, wanted: str, modifier: str) -> bool:
    """Compares at the precision of the value that was asked for."""
    prefix = wanted[:2] if wanted[:2] in _PREFIXES else "eq"
    value = wanted.removeprefix(prefix)
    if not value[:4].isdigit():
        raise BadSearch("a date begins with four digits of the year", hint="write as ge2026-01-31")
    text = str(held)[: len(value)]
    return {
        "eq": text == value,
        "ne": text != value,
        "ge": text >= value,
        "gt": text > value,
        "le": text <= value,
        "lt": text < value,
    }[prefix]


_TESTS: Mapping[str, Callable[[Any, str, str], bool]] = {
    "token": _token,
    "string": _string,
    "reference": _reference,
    "date": _date,
}
