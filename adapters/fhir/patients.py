"""Whose resource it is: from FHIR references to canonical patient ids, and back.

A reference `Patient/abc` says nothing to a policy; the identifiers of that
Patient do. What the upstream said of them is kept for a short while. A
reference that cannot be resolved is no patient, and then what asks for one
does not admit.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import Any

from adapters.fhir.interaction import is_id
from adapters.fhir.tables import TypeRow, values
from spir.model.identity import PatientIdentifiers

__all__ = ["Known", "Referred", "canonical_ids", "local_reference", "referred", "relative"]


@dataclass(frozen=True, slots=True)
class Referred:
    """The patients a resource names: canonical `ids`, `logical` ids to be looked up, and whether some are `lost`."""

    ids: frozenset[str] = frozenset()
    logical: frozenset[str] = frozenset()
    lost: bool = False

    def resolved(self, known: Mapping[str, frozenset[str]]) -> tuple[str | None, ...]:
        """Canonical ids, sorted; None among them for a reference that `known` has no answer to, or if there is none."""
        if len(self.logical) == 1 and not self.ids and not self.lost:
            (only,) = self.logical
            return tuple(sorted(known.get(only) or ())) or (None,)
        found: set[str | None] = set(self.ids)
        for logical in self.logical:
            found |= known.get(logical) or {None}
        if self.lost or not found:
            found.add(None)
        return tuple(sorted(found, key=lambda id: (id is None, id or "")))


NOBODY = Referred()


def canonical_ids(patient: Any, identifiers: PatientIdentifiers) -> frozenset[str]:
    """The ids of a Patient resource in its best authority: the site's default, else the first that has one.

    Several in that authority are all of them: whoever may see it must be
    allowed to see each. Identifiers of `use` old are names of the past.
    """
    found: dict[str, set[str]] = {}
    for given in values(patient, ("identifier",)):
        if isinstance(given, dict) and given.get("use") != "old":
            id = _canonical(given, identifiers)
            if id is not None:
                found.setdefault(identifiers.authority(id), set()).add(id)
    best = next((name for name in (identifiers.default, *identifiers.systems) if name in found), None)
    return frozenset(found[best]) if best is not None else frozenset()


def referred(resource: Mapping[str, Any], row: TypeRow, identifiers: PatientIdentifiers, base: str) -> Referred:
    """The patients this resource names at the paths of its row; `base` is the upstream's own URL."""
    if row.fhir == "Patient":
        return Referred(canonical_ids(resource, identifiers))
    found = [_target(node, resource, identifiers, base) for path in row.patient for node in values(resource, path)]
    if len(found) <= 1:
        return found[0] if found else NOBODY
    return Referred(
        frozenset[str]().union(*(item.ids for item in found)),
        frozenset[str]().union(*(item.logical for item in found)),
        any(item.lost for item in found),
    )


def local_reference(text: str, base: str) -> tuple[str, str] | None:
    """(type, id) of a literal reference to this server, relative or absolute, with or without a version; else None."""
    return relative(text.removeprefix(f"{base}/"))


@lru_cache(maxsize=8192)
def relative(text: str) -> tuple[str, str] | None:
    """(type, id) of `Type/id` or `Type/id/_history/version`; None for anything else."""
    parts = text.split("/")
    if len(parts) == 4 and parts[2] == "_history":
        parts = parts[:2]
    if len(parts) != 2 or not parts[0][:1].isupper() or not parts[0].isalpha() or not is_id(parts[1]):
        return None
    return parts[0], parts[1]


def _target(node: Any, resource: Mapping[str, Any], identifiers: PatientIdentifiers, base: str) -> Referred:
    """What one reference at a patient path means; nothing if it is to something else (a group, a device)."""
    if not isinstance(node, dict):
        return Referred(lost=True)
    text = node.get("reference")
    if not isinstance(text, str):
        return _logical(node, identifiers)
    if text.startswith("#"):
        return _contained(text[1:], resource, identifiers)
    local = local_reference(text, base)
    if local is None:
        return Referred(lost=True)
    return Referred(logical=frozenset((local[1],))) if local[0] == "Patient" else Referred()


def _logical(node: Mapping[str, Any], identifiers: PatientIdentifiers) -> Referred:
    if node.get("type", "Patient") != "Patient":
        return Referred()
    given = node.get("identifier")
    id = _canonical(given, identifiers) if isinstance(given, dict) else None
    return Referred(ids=frozenset((id,))) if id is not None else Referred(lost=True)


def _contained(name: str, resource: Mapping[str, Any], identifiers: PatientIdentifiers) -> Referred:
    for inner in values(resource, ("contained",)):
        if isinstance(inner, dict) and inner.get("id") == name:
            if inner.get("resourceType") != "Patient":
                return Referred()
            ids = canonical_ids(inner, identifiers)
            return Referred(ids=ids) if ids else Referred(lost=True)
    return Referred(lost=True)


def _canonical(given: Mapping[str, Any], identifiers: PatientIdentifiers) -> str | None:
    """INVARIANT: an identifier without a system is nobody's; the default authority is not guessed here."""
    value, system = given.get("value"), given.get("system")
    if not isinstance(value, str) or not isinstance(system, str) or not system:
        return None
    return identifiers.canonical(value, system)


@dataclass(slots=True)
class Known:
    """What the upstream said of patients' identities, for `lifetime`, of `capacity` patients at most.

    Not durable, not shared: a write of a Patient through this facade clears it,
    a write behind its back is seen after `lifetime`.
    """

    lifetime: timedelta = timedelta(seconds=30)
    capacity: int = 10_000
    generation: int = 0
    _held: OrderedDict[tuple[str, str], tuple[datetime, frozenset[str]]] = field(default_factory=OrderedDict)

    def ids(self, logical: Iterable[str], now: datetime) -> dict[str, frozenset[str]]:
        """Canonical ids by logical id, of those that are known at `now`."""
        return self._get("ids", logical, now)

    def logical(self, ids: Iterable[str], now: datetime) -> dict[str, frozenset[str]]:
        """Logical ids by canonical id, of those that are known at `now`."""
        return self._get("logical", ids, now)

    def learn(self, ids: Mapping[str, frozenset[str]], now: datetime, generation: int) -> None:
        """Remember canonical ids by logical id, unless a write has come between asking and learning."""
        self._put("ids", ids, now, generation)

    def learn_logical(self, found: Mapping[str, frozenset[str]], now: datetime, generation: int) -> None:
        """Remember logical ids by canonical id, as `learn` does."""
        self._put("logical", found, now, generation)

    def clear(self) -> None:
        self._held.clear()
        self.generation += 1

    def _get(self, kind: str, names: Iterable[str], now: datetime) -> dict[str, frozenset[str]]:
        found = {}
        for name in names:
            held = self._held.get((kind, name))
            if held is not None and held[0] <= now < held[0] + self.lifetime:
                found[name] = held[1]
        return found

    def _put(self, kind: str, found: Mapping[str, frozenset[str]], now: datetime, generation: int) -> None:
        if generation != self.generation:
            return
        for name, value in found.items():
            self._held.pop((kind, name), None)
            self._held[kind, name] = (now, value)
        while len(self._held) > self.capacity:
            self._held.popitem(last=False)
