"""What a policy sees of a resource: one row of properties for every patient and modality it holds.

A resource is admitted when each of its rows is, as each of the types it is of,
and so is every contained resource; a contained one that is not admitted is cut
out. Only what the rulings ask about is looked for, and resources that agree in
it share one judgement. Names of people and free text never become properties.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from adapters.fhir.document import REMOVE, Cut
from adapters.fhir.mask import Unmaskable, mask_paths
from adapters.fhir.patients import Referred, referred
from adapters.fhir.properties import PROPERTIES
from adapters.fhir.tables import Tables, TypeRow, values
from spir.engine.evaluate import free_attributes
from spir.exchange import Ruling
from spir.model.identity import PatientIdentifiers
from spir.model.obligation import Obligation, unmet
from spir.model.request import Request

__all__ = ["UNDERSTOOD", "Judge", "Part", "Reading", "Verdict", "release_limit"]

# Obligations that this protocol carries out; any other denies.
UNDERSTOOD = frozenset(("mask", "limit", "audit", "notify", "trigger"))

MODALITIES = 16  # more than that in one study are not told apart


@dataclass(frozen=True, slots=True)
class Part:
    """A resource (`place` -1) or one contained in it: of what types it is, and whose."""

    place: int
    resource: Any
    row: TypeRow | None
    kinds: tuple[str, ...]
    patients: Referred


@dataclass(frozen=True, slots=True)
class Reading:
    """How resources are read: the tables, the site's identifiers, the upstream's URL, and who is who.

    `staff` gives the staff id behind a reference as `Practitioner/abc`, or None.
    """

    tables: Tables
    identifiers: PatientIdentifiers
    base: str
    staff: Callable[[str], str | None]
    host: bytes = field(default=b"", init=False)  # what of the URL must not be seen, whatever else: `//host:port`

    def __post_init__(self) -> None:
        host = self.base.partition("://")[2].partition("/")[0]
        object.__setattr__(self, "host", f"//{host}".encode())

    def parts(self, resource: Any) -> tuple[Part, ...]:
        """The resource, then its contained ones; what is no list of them counts as one that nobody serves."""
        whole = self._part(-1, resource)
        inner = resource.get("contained") if isinstance(resource, dict) else None
        if inner is None:
            return (whole,)
        listed = inner if isinstance(inner, list) else [None]
        return (whole, *(self._part(place, item) for place, item in enumerate(listed)))

    def _part(self, place: int, resource: Any) -> Part:
        name = resource.get("resourceType") if isinstance(resource, dict) else None
        row = self.tables.types.get(name) if isinstance(name, str) else None
        if row is None:
            return Part(place, resource, None, (), Referred(lost=True))
        return Part(place, resource, row, _kinds(resource, row), referred(resource, row, self.identifiers, self.base))


@dataclass(frozen=True, slots=True)
class Verdict:
    """`paths`: what is masked. `where`: contained resources to be cut out. `patients`: for the audit trail, of what
    is not admitted too; `asked` is then the question that was answered with no, as far as there was one."""

    admitted: bool
    obligations: tuple[Obligation, ...] = ()
    patients: tuple[str, ...] = ()
    paths: frozenset[str] = frozenset()
    where: Cut | None = None
    asked: Request | None = None


@dataclass(slots=True)
class Judge:
    """Judges the resources of one answer by one set of rulings.

    `rulings` by vocabulary type; a type without one is not admitted. `known`
    holds canonical ids by logical id. `many`: whether it is worth while to find
    out first what the rulings ask about.
    """

    reading: Reading
    rulings: Mapping[str, Ruling]
    known: Mapping[str, frozenset[str]]
    many: bool = True
    _asked: dict[tuple[str, ...], tuple[str, ...]] = field(default_factory=dict)
    _remembered: dict[Any, Verdict] = field(default_factory=dict)

    def verdict(self, parts: tuple[Part, ...]) -> Verdict:
        """Whether the resource may go out, what must be done to it first, and which contained ones may not.

        A contained resource that names no patient is its container's.
        """
        whole, *inner = parts
        found = self._verdict(whole, whole.patients.resolved(self.known))
        if not found.admitted or not inner:
            return found
        if not isinstance(whole.resource["contained"], list):
            return Verdict(False, patients=found.patients)
        return self._with_contained(found, whole, inner)

    def _with_contained(self, found: Verdict, whole: Part, inner: list[Part]) -> Verdict:
        obligations, paths = dict.fromkeys(found.obligations), found.paths
        cut: Cut = {}
        for part in inner:
            owner = whole.patients if part.patients == Referred() else part.patients
            own = self._anew(part, owner.resolved(self.known), None)
            obligations.update(dict.fromkeys(own.obligations))
            paths |= own.paths
            if not own.admitted:
                cut[part.place] = REMOVE
        return Verdict(True, tuple(obligations), found.patients, paths, {"contained": cut} if cut else None)

    def _verdict(self, part: Part, patients: tuple[str | None, ...]) -> Verdict:
        """As remembered of a resource that agrees with this one in all that is asked."""
        if part.row is None or not self.many:
            return self._anew(part, patients, None)
        asked = self._asked_of(part.kinds)
        seen = [repr(self._property(name, part, kind)) for kind in part.kinds for name in asked]
        key = (part.row.fhir, part.kinds, patients, *seen)
        held = self._remembered.get(key)
        if held is None:
            held = self._remembered[key] = self._anew(part, patients, asked)
        return held

    def _anew(self, part: Part, patients: tuple[str | None, ...], asked: tuple[str, ...] | None) -> Verdict:
        """`asked`: the properties to look for; None for all of them."""
        named = tuple(id for id in patients if id is not None)
        if part.row is None:
            return Verdict(False, patients=named)
        obligations: dict[Obligation, None] = {}
        for kind in part.kinds:
            ruling = self.rulings.get(kind)
            if ruling is None or ruling.decision.denied:
                return Verdict(False, patients=named, asked=self._question(ruling, part, kind, patients))
            obligations.update(dict.fromkeys(ruling.decision.obligations))
            for row in self._rows(part, kind, patients, asked):
                admission = ruling.admit(row, id=str(part.resource.get("id", "")))
                if not admission.admitted:
                    return Verdict(False, patients=named, asked=self._question(ruling, part, kind, patients, row))
                obligations.update(dict.fromkeys(admission.obligations))
        return _bound(tuple(obligations), named)

    def _question(
        self,
        ruling: Ruling | None,
        part: Part,
        kind: str,
        patients: tuple[str | None, ...],
        row: Mapping[str, Any] | None = None,
    ) -> Request | None:
        """The question about this resource in full, so that the record of a refusal can be explained. `row`: the
        one that was not admitted, if any was judged.

        Only for resources that are judged one by one: of those of a search nobody asks it.
        """
        if ruling is None or self.many:
            return None
        first = next(self._rows(part, kind, patients, None)) if row is None else row
        return ruling.request.completed(first, str(part.resource.get("id", "")))

    def _rows(
        self, part: Part, kind: str, patients: tuple[str | None, ...], asked: tuple[str, ...] | None
    ) -> Iterator[dict[str, Any]]:
        names = [name for name in (PROPERTIES if asked is None else asked) if name in PROPERTIES]
        common = {name: self._property(name, part, kind) for name in names}
        for patient in patients:
            for modality in _modalities(part):
                yield {**common, "patient": None if patient is None else {"id": patient}, "modality": modality}

    def _asked_of(self, kinds: tuple[str, ...]) -> tuple[str, ...]:
        """Names of what the rulings of these types look at in a resource, `id` and `modality` among them."""
        found = self._asked.get(kinds)
        if found is None:
            rulings = [self.rulings[kind] for kind in kinds if kind in self.rulings]
            names = frozenset[str]().union(*(_asked(ruling) for ruling in rulings))
            found = self._asked[kinds] = tuple(sorted(names & {*PROPERTIES, "id", "modality"}))
        return found

    def _property(self, name: str, part: Part, kind: str) -> Any:
        assert part.row is not None
        if name == "id":
            return part.resource.get("id")
        if name == "modality":
            return _modalities(part)
        return PROPERTIES[name](part.resource, part.row, kind, self.reading.tables, self.reading.staff)


def release_limit(obligation: Obligation) -> int:
    """The `count` of a limit; one of anything else cannot be kept here, and lets nothing pass."""
    count = obligation.properties.get("count")
    known = obligation.properties.keys() == {"count"} and isinstance(count, (int, float))
    return int(count) if known and isinstance(count, (int, float)) else 0


def _bound(obligations: tuple[Obligation, ...], patients: tuple[str, ...]) -> Verdict:
    """Admitted, if everything that is bound to it can be carried out."""
    if not obligations:
        return Verdict(True, (), patients)
    if unmet(obligations, UNDERSTOOD) or any(item.type == "limit" and release_limit(item) < 1 for item in obligations):
        return Verdict(False, patients=patients)
    try:
        return Verdict(True, obligations, patients, mask_paths(obligations))
    except Unmaskable:
        return Verdict(False, patients=patients)


def _asked(ruling: Ruling) -> frozenset[str]:
    decision = ruling.decision
    conditions = (decision.residual.condition, *(tied.condition for tied in decision.tied))
    paths = frozenset[str]().union(*(free_attributes(condition) for condition in conditions))
    if "resource" in paths:
        return frozenset((*PROPERTIES, "id", "modality"))
    return frozenset(path.split(".")[1] for path in paths if path.startswith("resource."))


def _kinds(resource: Any, row: TypeRow) -> tuple[str, ...]:
    """The vocabulary types of this resource; its row's own unless every code says otherwise."""
    if not row.kinds:
        return (row.type,)
    found: set[str] = set()
    other = False
    for rule in row.kinds:
        codes = list(values(resource, rule.path)) if rule.path[0] in resource else []
        if any(code in rule.codes for code in codes if isinstance(code, str)):
            found.add(rule.type)
        other = other or not codes or any(not isinstance(code, str) or code not in rule.codes for code in codes)
    return tuple(sorted(found | {row.type} if other or not found else found))


def _modalities(part: Part) -> tuple[str | None, ...]:
    """The modalities of a study; (None,) for none, or for more than one can look at: what asks does not admit then."""
    if part.row is None or not part.row.modality:
        return (None,)
    steps = part.row.modality
    found = sorted({code for path in steps for code in values(part.resource, path) if isinstance(code, str)})
    return tuple(found) if 0 < len(found) <= MODALITIES else (None,)
