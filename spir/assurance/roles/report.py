"""Everything that is to be said about the roles of an export, for people and for programs."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from spir.assurance.roles.access import Access
from spir.assurance.roles.defects import Conflict, Residue, conflicts, empty, residues, uneven, unused
from spir.assurance.roles.likeness import Likeness, alike
from spir.assurance.roles.overlap import Containment, Overlap, contained, equal, overlap
from spir.assurance.roles.reading.permissions import Catalogue
from spir.language.template import Template
from spir.language.vocabulary import Vocabulary

__all__ = ["Report", "report"]

SHOWN = 20  # lines of one kind


@dataclass(frozen=True, slots=True)
class Report:
    """`contradictions` and what else is wrong makes a finding of it; what is merely alike does not."""

    catalogue: Catalogue
    people: int
    blocked: int
    roles: int
    over: tuple[str, ...]
    overlap: Overlap
    conflicts: tuple[Conflict, ...]
    residues: tuple[Residue, ...]
    equal: tuple[tuple[str, ...], ...]
    contained: tuple[Containment, ...]
    unused: tuple[str, ...]
    empty: tuple[str, ...]
    uneven: tuple[tuple[str, tuple[str, ...], int], ...]
    templates: tuple[Likeness, ...]

    @property
    def sound(self) -> bool:
        """Nothing contradicts itself, and nothing survived its revocation unseen."""
        return not self.conflicts and all(one.how == "another role" for one in self.residues)

    def to_json(self) -> dict[str, Any]:
        return {
            "people": self.people,
            "blocked": self.blocked,
            "roles": self.roles,
            "revoked": list(self.over),
            "permissions": len(self.catalogue.covers),
            "unknown_permissions": [one.text for one in self.catalogue.unknown],
            "overlap": self.overlap.to_json(),
            "conflicts": [one.to_json(self.catalogue) for one in self.conflicts],
            "residual": [one.to_json(self.catalogue) for one in self.residues],
            "equal": [list(group) for group in self.equal],
            "contained": [{"role": one.smaller, "in": one.larger, "more": one.more} for one in self.contained],
            "unused": list(self.unused),
            "empty": list(self.empty),
            "templates": [one.to_json() for one in self.templates],
            "uneven": [{"role": role, "people": list(people), "lacking": count} for role, people, count in self.uneven],
        }

    def lines(self) -> Iterator[str]:
        blocked = f", {self.blocked} blocked" if self.blocked else ""
        yield f"{self.roles} roles in force ({len(self.over)} revoked), {self.people} people{blocked}"
        yield f"{len(self.catalogue.covers)} permissions, {len(self.catalogue.unknown)} of them not known here"
        yield (
            f"average overlap of a role with all others {self.overlap.average:.0%}, "
            f"of two roles {self.overlap.pairwise:.0%}"
        )
        yield from _section("conflicting", (one.line(self.catalogue) for one in self.conflicts))
        yield from _section("left of revoked roles", (one.line(self.catalogue) for one in self.residues))
        yield from _section("equal roles", (", ".join(group) for group in self.equal))
        more = (f"{one.smaller} is contained in {one.larger} ({one.more} more)" for one in self.contained)
        yield from _section("contained roles", more)
        yield from _section("roles that a template says", map(str, self.templates))
        yield from _section("roles nobody has anything by", self.unused)
        yield from _section("roles that say nothing", self.empty)
        yield from _section("uneven roles", (_uneven(*one) for one in self.uneven))


def report(access: Access, vocabulary: Vocabulary, templates: Iterable[Template] = ()) -> Report:
    roles = access.export.roles
    over = tuple(name for name, role in roles.items() if not role.active)
    return Report(
        access.catalogue,
        len(access.export.people),
        access.export.blocked,
        len(roles) - len(over),
        over,
        overlap(access),
        conflicts(access),
        residues(access),
        equal(access),
        contained(access),
        unused(access),
        empty(access),
        uneven(access),
        alike(access.export, templates, vocabulary),
    )


def _uneven(role: str, people: tuple[str, ...], lacking: int) -> str:
    return f"{role} gives {len(people)} people less than others: up to {lacking} permissions are lacking"


def _section(title: str, lines: Iterable[str]) -> Iterator[str]:
    every = list(lines)
    if not every:
        return
    yield f"{title}: {len(every)}"
    yield from (f"  {line}" for line in every[:SHOWN])
    if len(every) > SHOWN:
        yield f"  ... and {len(every) - SHOWN} more; --json shows all"
