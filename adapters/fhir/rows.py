"""What a policy sees of a resource: one row of properties for every patient and modality it holds.

A resource is admitted when each of its rows is, as each of the types it is of,
and so is every contained resource; a contained one that is not admitted is cut
out. Names of people and free text never become properties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from adapters.fhir.document import REMOVE, Cut
from adapters.fhir.patients import Referred, local_reference, referred
from adapters.fhir.tables import CategoryRule, Path, Tables, TypeRow, values
from spir.exchange import Ruling
from spir.model.identity import PatientIdentifiers
from spir.model.obligation import Obligation, unmet

__all__ = ["UNDERSTOOD", "Reading", "Verdict", "judge", "release_limit"]

# Obligations that this protocol carries out; any other denies.
UNDERSTOOD = frozenset(("mask", "limit", "audit", "notify", "trigger"))

_CONFIDENTIALITY = "http://terminology.hl7.org/CodeSystem/v3-Confidentiality"
STRICTEST = 5  # the level of a confidentiality that no table knows
_STUDY = "urn:oid:"
_UID_SYSTEM = "urn:dicom:uid"  # FHIR R4 ImagingStudy.identifier
_MODALITIES = 16  # more than that in one study are not told apart


@dataclass(frozen=True, slots=True)
class Reading:
    """How resources are read: the tables, the site's identifiers, the upstream's URL, and who is who.

    `staff` gives the staff id behind a reference as `Practitioner/abc`, or None.
    """

    tables: Tables
    identifiers: PatientIdentifiers
    base: str
    staff: Callable[[str], str | None]

    @property
    def host(self) -> bytes:
        """What of the upstream's URL must not be seen, whatever the scheme or the path: `//host:port`."""
        return f"//{self.base.partition('://')[2].partition('/')[0]}".encode()

    def row(self, resource: Any) -> TypeRow | None:
        """The row of this resource's type; None for what is no resource, or of a type that is not served."""
        name = resource.get("resourceType") if isinstance(resource, dict) else None
        return self.tables.types.get(name) if isinstance(name, str) else None

    def kinds(self, resource: Any) -> frozenset[str]:
        """The vocabulary types that decide about this resource, those of contained resources included."""
        found: set[str] = set()
        for _, inner in self.parts(resource):
            row = self.row(inner)
            found.update(_kinds(inner, row) if row else ())
        return frozenset(found)

    def patients(self, resource: Any) -> Referred:
        """The patients named by the resource itself; nobody for a type that is not served."""
        row = self.row(resource)
        return referred(resource, row, self.identifiers, self.base) if row else Referred(lost=True)

    def parts(self, resource: Any) -> Iterator[tuple[int, Any]]:
        """The resource (-1), then its contained ones by their place; what is no list counts as one of them."""
        yield -1, resource
        inner = resource.get("contained") if isinstance(resource, dict) else None
        if inner is not None:
            yield from enumerate(inner if isinstance(inner, list) else [None])

    def logical(self, resource: Any) -> frozenset[str]:
        """Logical ids of patients to look up before this resource can be judged."""
        return frozenset[str]().union(*(self.patients(part).logical for _, part in self.parts(resource)))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`where`: contained resources to be cut out. `patients`: canonical ids, for the audit trail."""

    admitted: bool
    obligations: tuple[Obligation, ...] = ()
    patients: tuple[str, ...] = ()
    where: Cut | None = None


REFUSED = Verdict(False)


def judge(
    resource: Any, reading: Reading, rulings: Mapping[str, Ruling], known: Mapping[str, frozenset[str]]
) -> Verdict:
    """Whether the resource may go out, what must be done to it first, and which contained ones may not.

    `rulings` by vocabulary type; a type without one is not admitted. `known`
    holds canonical ids by logical id. A contained resource that names no
    patient is its container's.
    """
    own = reading.patients(resource).resolved(known)
    whole = _judged(resource, reading, rulings, own)
    if not whole.admitted:
        return whole
    obligations = list(whole.obligations)
    cut: Cut = {}
    for index, inner in reading.parts(resource):
        if index < 0:
            continue
        found = reading.patients(inner)
        patients = own if found == Referred() else found.resolved(known)
        part = _judged(inner, reading, rulings, patients)
        obligations.extend(part.obligations)
        if not part.admitted:
            cut[index] = REMOVE
    if cut and not isinstance(resource["contained"], list):
        return REFUSED
    return Verdict(True, tuple(dict.fromkeys(obligations)), whole.patients, {"contained": cut} if cut else None)


def _judged(
    resource: Any, reading: Reading, rulings: Mapping[str, Ruling], patients: tuple[str | None, ...]
) -> Verdict:
    row = reading.row(resource)
    if row is None:
        return REFUSED
    obligations: dict[Obligation, None] = {}
    for kind in sorted(_kinds(resource, row)):
        ruling = rulings.get(kind)
        if ruling is None or ruling.decision.denied:
            return REFUSED
        obligations.update(dict.fromkeys(ruling.decision.obligations))
        for properties in _rows(resource, row, kind, patients, reading):
            admission = ruling.admit(properties, id=str(resource.get("id", "")))
            if not admission.admitted:
                return REFUSED
            obligations.update(dict.fromkeys(admission.obligations))
    if unmet(obligations, UNDERSTOOD) or any(item.type == "limit" and release_limit(item) < 1 for item in obligations):
        return REFUSED
    return Verdict(True, tuple(obligations), tuple(id for id in patients if id is not None))


def release_limit(obligation: Obligation) -> int:
    """The `count` of a limit; one of anything else cannot be kept here, and lets nothing pass."""
    count = obligation.properties.get("count")
    known = obligation.properties.keys() == {"count"} and isinstance(count, (int, float))
    return int(count) if known and isinstance(count, (int, float)) else 0


def _kinds(resource: Any, row: TypeRow) -> frozenset[str]:
    """The vocabulary types of this resource; its row's own unless every code says otherwise."""
    found: set[str] = set()
    other = not row.kinds
    for rule in row.kinds:
        codes = list(values(resource, rule.path))
        if any(code in rule.codes for code in codes if isinstance(code, str)):
            found.add(rule.type)
        other = other or not codes or any(code not in rule.codes for code in codes)
    return frozenset(found | {row.type}) if other or not found else frozenset(found)


def _rows(
    resource: Any, row: TypeRow, kind: str, patients: tuple[str | None, ...], reading: Reading
) -> Iterator[dict[str, Any]]:
    common = _common(resource, row, kind, reading)
    found = sorted({code for steps in row.modality for code in values(resource, steps) if isinstance(code, str)})
    # More than one can look at are unknown, and what asks for a modality does not admit.
    modalities: list[str | None] = [*found] if 0 < len(found) <= _MODALITIES else [None]
    for patient in patients:
        for modality in modalities:
            yield {**common, "patient": None if patient is None else {"id": patient}, "modality": modality}


def _common(resource: Any, row: TypeRow, kind: str, reading: Reading) -> dict[str, Any]:
    labels, sensitivity = _labels(resource, reading.tables)
    return {
        "category": _category(resource, row.categories, kind),
        "status": _text(resource, row.status),
        "priority": _text(resource, row.priority),
        "created": _moment(resource, row.created),
        "author": _author(resource, row.author, reading),
        "study": _study(resource) if row.fhir == "ImagingStudy" else None,
        "labels": labels,
        "sensitivity": sensitivity,
    }


def _category(resource: Any, rules: tuple[CategoryRule, ...], kind: str) -> str | None:
    for rule in rules:
        if rule.type != kind:
            continue
        found = [value for value in values(resource, rule.path) if isinstance(value, str)] if rule.path else []
        if not rule.path or any(value in rule.codes for value in found):
            return rule.category
        if not rule.codes and found:
            return found[0]
    return None


def _text(resource: Any, steps: Path) -> str | None:
    found = next(values(resource, steps), None) if steps else None
    return found if isinstance(found, str) else None


def _moment(resource: Any, paths: tuple[Path, ...]) -> datetime | None:
    """The first of these that is an instant. A date without a time is not one, and stays missing."""
    for steps in paths:
        text = _text(resource, steps)
        if text is not None:
            try:
                moment = datetime.fromisoformat(text)
            except ValueError:
                return None
            return moment if moment.tzinfo is not None else None
    return None


def _author(resource: Any, paths: tuple[Path, ...], reading: Reading) -> str | None:
    """The staff id of the author, if there is exactly one whom we know."""
    for steps in paths:
        texts = {text for text in values(resource, (*steps, "reference")) if isinstance(text, str)}
        if texts:
            local = local_reference(texts.pop(), reading.base) if len(texts) == 1 else None
            return reading.staff("/".join(local)) if local else None
    return None


def _labels(resource: Any, tables: Tables) -> tuple[list[str], int | None]:
    """Codes of `meta.security` with the names they have elsewhere, and the highest level of sensitivity among them.

    No label is the empty list, which is known; no confidentiality is missing.
    """
    labels: dict[str, None] = {}
    levels: list[int] = []
    for coding in values(resource, ("meta", "security")):
        code = coding.get("code") if isinstance(coding, dict) else None
        if isinstance(code, str):
            row = tables.labels.get((str(coding.get("system")), code))
            strictest = STRICTEST if coding.get("system") == _CONFIDENTIALITY else 0
            labels.update(dict.fromkeys(name for name in (code, row.label if row else "") if name))
            levels.append(row.level if row else strictest)
    return list(labels), max(levels, default=0) or None


def _study(resource: Any) -> str | None:
    for given in values(resource, ("identifier",)):
        if isinstance(given, dict) and given.get("system") == _UID_SYSTEM and isinstance(given.get("value"), str):
            return str(given["value"]).removeprefix(_STUDY)
    return None
