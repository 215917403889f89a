"""Roles that a template already says: the same operations, or some of them.

Only what may be done is compared. A template asks for more than a role does
(the care team, a running treatment, the hours of an office): that is the point
of it, and whoever replaces the role by it should read its condition first.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from spir.assurance.roles.access import Access
from spir.assurance.roles.reading.export import Export
from spir.assurance.roles.reading.permissions import Catalogue, read_permissions
from spir.errors import Location
from spir.language.printer import to_cel
from spir.language.template import Template
from spir.language.vocabulary import Vocabulary
from spir.model.policy import Kind

__all__ = ["Likeness", "alike"]

NOWHERE = Location("")


@dataclass(frozen=True, slots=True)
class Likeness:
    """`template` allows all that `role` does, and `more` operations beside: none of them where both are equal."""

    role: str
    template: Template
    more: int

    def to_json(self) -> dict[str, Any]:
        asks = to_cel(self.template.when)
        return {"role": self.role, "template": self.template.id, "more": self.more, "asks": asks}

    def __str__(self) -> str:
        how = f"is contained in ({self.more} more)" if self.more else "equals"
        title = self.template.title.get("en", "")
        return f"{self.role} {how} {self.template.id}{f': {title}' if title else ''}"


def alike(export: Export, templates: Iterable[Template], vocabulary: Vocabulary) -> tuple[Likeness, ...]:
    """For each role in force that denies nothing, the templates that equal it, else the least that contains it."""
    permits = [one for one in templates if one.kind is Kind.PERMIT and one.operations]
    named = {str(pattern): one.location or NOWHERE for one in permits for pattern in one.operations}
    catalogue = read_permissions({**named, **export.permissions}, vocabulary)
    access = Access(export, catalogue)
    found: list[Likeness] = []
    for name, role in export.roles.items():
        rights = access.role(name)
        if role.active and rights.allowed and not rights.denied:
            fitting = sorted(_containing(catalogue, permits, name, rights.allowed), key=lambda one: one.more)
            found += [one for one in fitting if one.more == fitting[0].more]
    return tuple(found)


def _containing(catalogue: Catalogue, templates: Iterable[Template], role: str, allowed: int) -> Iterator[Likeness]:
    for one in templates:
        points = catalogue.of(str(pattern) for pattern in one.operations)
        if not allowed & ~points:
            yield Likeness(role, one, (points & ~allowed).bit_count())
