"""What the site knows goes before what a caller says. Pure.

A caller is trusted to ask, and to say what only it can know: what somebody
wants to do, and where. It is not taken at its word where the site itself knows:
a person of the directory has the properties that stand there, and the facts
about a patient are those of the fact store, not those of the request. Only
about patients that the store has never heard of may a request state facts.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from spir.language.vocabulary import PATIENT, Vocabulary
from spir.model.facts import Snapshot
from spir.model.request import Entity, Request
from spir.model.value import Value

__all__ = ["Ground", "fact_names"]

MAPS = (MappingProxyType, dict)  # what the values of a request are made of; quicker to tell than any Mapping


def fact_names(vocabulary: Vocabulary) -> frozenset[str]:
    """The attributes of a patient that facts are the source of: `care_team`, `vip`, ..."""
    return frozenset(
        path.removeprefix(PATIENT)
        for path, declaration in vocabulary.attributes.items()
        if path.startswith(PATIENT) and declaration.source == "facts"
    )


@dataclass(frozen=True, slots=True)
class Ground:
    """`aliases`: other names of subject types, as `user` for `person`. `facts`: see `fact_names`."""

    entities: Mapping[str, Entity]
    resources: Mapping[str, Mapping[str, Entity]]
    snapshot: Snapshot
    facts: frozenset[str]
    aliases: Mapping[str, str]

    def settled(self, request: Request, subject: Entity | None = None) -> Request:
        """The request as the site may decide on it. `subject`: its subject as it was settled before."""
        if subject is None:
            subject = self.subject(request.subject)
        resource = self.resource(request.resource)
        if subject is request.subject and resource is request.resource:
            return request
        return Request(subject, request.action, resource, request.context, request.deferred)

    def subject(self, claimed: Entity) -> Entity:
        """The directory's entry, with what the caller adds to it; the claim itself for somebody who is not there."""
        known = self.entities.get(claimed.id)
        if known is None or known.type not in (claimed.type, self.aliases.get(claimed.type)):
            return claimed
        return _joined(claimed, known)

    def resource(self, claimed: Entity) -> Entity:
        """A patient is about itself; what the store knows of it, the caller does not state."""
        kind = self.resources.get(claimed.type)
        if kind is not None and claimed.id in kind:
            return _joined(claimed, kind[claimed.id])
        patient = claimed.properties.get("patient")
        if patient is None and claimed.type == "patient" and "|" in claimed.id:
            return self._about(claimed, {"id": claimed.id})
        if not isinstance(patient, MAPS) or len(patient) < 2 or not self._knows(patient.get("id")):
            return claimed
        said = {name: value for name, value in patient.items() if name not in self.facts}
        return claimed if len(said) == len(patient) else self._about(claimed, said)

    def _about(self, resource: Entity, patient: dict[str, Value]) -> Entity:
        properties = {**resource.properties, "patient": MappingProxyType(patient)}
        return replace(resource, properties=MappingProxyType(properties))

    def _knows(self, id: Value) -> bool:
        if not isinstance(id, str):
            return False
        key = ("patient", id)
        return key in self.snapshot.aliases or key in self.snapshot.doubted or bool(self.snapshot.rows(key))


def _joined(claimed: Entity, known: Entity) -> Entity:
    """What is known, and of what is claimed the rest."""
    if not claimed.properties:
        return known
    return Entity(known.type, known.id, MappingProxyType({**claimed.properties, **known.properties}))
