"""A proposal judged: written, read again as any document is, and compared with the export it is to replace."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, TypeAlias

from spir.assurance.change import Difference, Version
from spir.assurance.difference import Bounds, difference
from spir.assurance.roles.access import Access
from spir.assurance.roles.replacing.crowd import ID, ROLES, Crowd
from spir.assurance.roles.replacing.drafts import Draft, Target, as_exported, replacing, written
from spir.assurance.roles.replacing.equality import Equality, compare
from spir.engine.ruleset import RuleSet, Site
from spir.language.document import Documents

__all__ = ["Proposal", "Read", "proposed", "version_of"]

# From the text of a document to the document, read beside those that the site has.
Read: TypeAlias = Callable[[str], Documents]

SHOWN = 3  # regions
ANYWHERE = "anywhere"  # requests have to belong to some organisation


@dataclass(frozen=True, slots=True)
class Proposal:
    """`before` is the export as a document, `after` what is to replace it; both decide as the export, if `equality`.

    `dropped` counts what is no longer permitted because it was left of revoked roles: people and operations.
    """

    before: str
    after: str
    drafts: tuple[Draft, ...]
    roles: int
    equality: Equality
    faithful: Equality
    dropped: int
    difference: Difference

    @property
    def holds(self) -> bool:
        return self.equality.holds and self.faithful.holds

    def counted(self) -> Mapping[str, int]:
        """Policies by what they ask about, the most personal thing first."""
        by_people = sum(ID in draft.tests for draft in self.drafts)
        by_roles = sum(ROLES in draft.tests and ID not in draft.tests for draft in self.drafts)
        attributes = len(self.drafts) - by_people - by_roles
        return {"by_attributes": attributes, "by_roles": by_roles, "by_people": by_people}

    def to_json(self) -> dict[str, Any]:
        return {
            "policies": len(self.drafts),
            **self.counted(),
            "roles": self.roles,
            "equal": self.holds,
            "pairs": self.equality.pairs,
            "decisions": self.equality.decisions,
            "differing": self.equality.differing + self.faithful.differing,
            "mismatches": [
                {"user": one.person, "operation": one.operation, "permitted": one.permitted}
                for one in (*self.equality.mismatches, *self.faithful.mismatches)
            ],
            "dropped": self.dropped,
            "difference": self.difference.to_json(),
        }

    def lines(self) -> Iterator[str]:
        counted = self.counted()
        yield (
            f"{len(self.drafts)} policies in place of {self.roles} roles: {counted['by_attributes']} by attributes, "
            f"{counted['by_roles']} by roles, {counted['by_people']} by names"
        )
        if self.dropped:
            yield f"  {self.dropped} permissions of people that were left of revoked roles are gone"
        if self.holds:
            yield f"  decided as the export says: {self.equality.pairs} of {self.equality.pairs} pairs"
        yield (
            f"  for others: {len(self.difference.permitted)} regions newly permitted, "
            f"{len(self.difference.denied)} newly denied, {len(self.difference.undecided)} not decided"
        )
        yield from (f"    newly permitted: {one.region}" for one in self.difference.permitted[:SHOWN])
        yield from (f"    newly denied: {one.region}" for one in self.difference.denied[:SHOWN])
        for one in (*self.equality.mismatches, *self.faithful.mismatches):
            yield f"  DIFFERS  {one.person} {one.operation}: now {'permitted' if one.permitted else 'denied'}"


def proposed(
    exported: Access, wanted: Access, target: Target, read: Read, at: datetime, go_on: Callable[[], bool] = lambda: True
) -> Proposal:
    """What replaces the roles of `exported` and decides as `wanted`, which is the same or its clean reading.

    `go_on` says whether there is time for looking further at what changes for people who are not in the
    export. Raises DocumentError where a permission is not known here.
    """
    crowd = Crowd(wanted)
    drafts = replacing(wanted, crowd)
    before = written(as_exported(exported, crowd), target)
    after = written(drafts, target)
    was, now = version_of(before, target, read), version_of(after, target, read)
    people = exported.export.people.values()
    return Proposal(
        before,
        after,
        drafts,
        sum(role.active for role in exported.export.roles.values()),
        compare(wanted, now.rules, at),
        compare(exported, was.rules, at),
        sum((exported.decided(one) & ~wanted.decided(one)).bit_count() for one in people),
        difference(was, now, bounds=Bounds(regions=1, tries=2, go_on=go_on)),
    )


def version_of(text: str, target: Target, read: Read) -> Version:
    """The rules of one document alone."""
    documents = read(text)
    mine = [found for found in documents.policy_sets if found.name == target.name]
    site = Site(target.jurisdiction or ANYWHERE)
    return Version(RuleSet.of(mine, documents.fingerprint, site), documents.vocabulary)
