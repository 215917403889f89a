"""Policies in place of roles, as a document of kind PolicySet; and the roles themselves as one, to compare it with.

`replacing` gives the collapsed policies, `as_exported` a policy for each role:
what the export says, in our language. Both decide the same for everybody in the
export, which `equality` proves; how they differ for others is what `spir diff`
shows.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from spir.assurance.roles.access import Access, Rights
from spir.assurance.roles.reading.permissions import Catalogue
from spir.assurance.roles.replacing.collapse import Grant, collapsed
from spir.assurance.roles.replacing.crowd import Crowd, Extent
from spir.assurance.roles.replacing.wording import condition, operations
from spir.errors import DocumentError
from spir.language.format import format_document
from spir.language.printer import to_cel
from spir.model.condition import Condition, both
from spir.model.policy import Kind

__all__ = ["Draft", "Target", "as_exported", "replacing", "written"]

LONGEST = 12_000  # characters of a condition
NAMED = 3  # roles in a description


@dataclass(frozen=True, slots=True)
class Target:
    """What the document is to be called, and where it is to apply."""

    name: str = "staff-access"
    jurisdiction: str = ""


@dataclass(frozen=True, slots=True)
class Draft:
    """One policy to be written. `people` are so many of the export's; `roles` those that it stands for."""

    kind: Kind
    operations: tuple[str, ...]
    when: Condition
    people: int
    roles: tuple[str, ...]
    tests: frozenset[str]


def replacing(access: Access, crowd: Crowd) -> tuple[Draft, ...]:
    """Raises DocumentError where a permission is not known here: what it means cannot be written."""
    _refuse_unknown(access.catalogue)
    return tuple(_drafts(access, crowd, collapsed(access, crowd)))


def as_exported(access: Access, crowd: Crowd) -> tuple[Draft, ...]:
    """A permit and a deny for each role that somebody holds, and for what single people have beside them."""
    _refuse_unknown(access.catalogue)
    return tuple(_drafts(access, crowd, _exported(access, crowd)))


def written(drafts: Iterable[Draft], target: Target) -> str:
    """The document, in the canonical form that `spir fmt` gives."""
    lines = [
        'spir: "1"',
        "kind: PolicySet",
        f"name: {json.dumps(target.name)}",
        "layer: institution",
        f"jurisdiction: {json.dumps(target.jurisdiction)}",
        "version: 1.0.0",
        "policies:",
    ]
    numbers = {Kind.PERMIT: 0, Kind.DENY: 0}
    for draft in drafts:
        numbers[draft.kind] += 1
        lines += _policy(f"{target.name}-{draft.kind.value}-{numbers[draft.kind]:03}", draft)
    if len(lines) == 7:
        lines[-1] = "policies: []"
    return format_document("\n".join(lines) + "\n", "policies.yaml")


def _policy(id: str, draft: Draft) -> Iterator[str]:
    yield f"  - id: {json.dumps(id)}"
    yield f"    description: {json.dumps(_description(draft), ensure_ascii=False)}"
    yield f"    effect: {draft.kind.value}"
    yield "    operations:"
    yield from (f"      - {json.dumps(code)}" for code in draft.operations)
    yield f"    when: {json.dumps(to_cel(draft.when), ensure_ascii=False)}"


def _description(draft: Draft) -> str:
    who = "one person" if draft.people == 1 else f"{draft.people} people"
    rest = len(draft.roles) - NAMED
    roles = ", ".join(draft.roles[:NAMED]) + (f" and {rest} more" if rest > 0 else "")
    return f"Of the export, {who}; in place of {roles}." if roles else f"Of the export, {who}; granted to the person."


# -- drafts ----------------------------------------------------------------------------------


def _drafts(access: Access, crowd: Crowd, grants: Iterable[Grant]) -> Iterator[Draft]:
    for grant in grants:
        roles = tuple(_replaced(access, crowd, grant))
        for part in operations(access.catalogue, grant.points):
            for extents in _short_enough(grant.extents):
                when = both(condition(one.term for one in extents), *part.bound)
                whole = Grant(grant.kind, extents, grant.points)
                tests = frozenset(path for one in extents for path, _ in one.term)
                yield Draft(grant.kind, part.codes, when, whole.people.bit_count(), roles, tests)


def _short_enough(extents: tuple[Extent, ...]) -> Iterator[tuple[Extent, ...]]:
    """A condition has a greatest length; what is longer becomes several policies."""
    if len(extents) > 1 and len(to_cel(condition(one.term for one in extents))) > LONGEST:
        yield from _short_enough(extents[: len(extents) // 2])
        yield from _short_enough(extents[len(extents) // 2 :])
    else:
        yield extents


def _replaced(access: Access, crowd: Crowd, grant: Grant) -> Iterator[str]:
    """The roles by which these people have this."""
    for role, members in crowd.members.items():
        rights = access.role(role)
        if members & grant.people and grant.points & (rights.allowed if grant.kind is Kind.PERMIT else rights.denied):
            yield role


def _exported(access: Access, crowd: Crowd) -> Iterator[Grant]:
    """What all who hold a role have by it goes to the role; what somebody has beside that, to the person."""
    by_role = {str(one.term[0][1]): one for one in crowd.by_role}
    common = {role: access.role(role) for role in by_role}
    for person in crowd.people:
        for role in person.partial:
            if role in common:
                has = access.through(person, role)
                common[role] = Rights(common[role].allowed & has.allowed, common[role].denied & has.denied)
    for role, extent in by_role.items():
        yield from _both_kinds(access, (extent,), common[role])
    alone: dict[Rights, list[Extent]] = {}
    for number, person in enumerate(crowd.people):
        rest = access.direct(person)
        for role in person.partial:
            if role in common:
                has, all_have = access.through(person, role), common[role]
                rest = rest | Rights(has.allowed & ~all_have.allowed, has.denied & ~all_have.denied)
        alone.setdefault(rest, []).append(crowd.one(number))
    # a role that is uneven gives more to those whose assignment is whole
    for role in {role for person in crowd.people for role in person.partial if role in common}:
        whole, all_have = access.role(role), common[role]
        more = Rights(whole.allowed & ~all_have.allowed, whole.denied & ~all_have.denied)
        full = [n for n, p in enumerate(crowd.people) if role in access.held(p) and role not in p.partial]
        alone.setdefault(more, []).extend(crowd.one(number) for number in full)
    for rights, extents in alone.items():
        yield from _both_kinds(access, tuple(dict.fromkeys(extents)), rights)


def _both_kinds(access: Access, extents: tuple[Extent, ...], rights: Rights) -> Iterator[Grant]:
    if not extents:
        return
    if rights.allowed:
        yield Grant(Kind.PERMIT, extents, rights.allowed)
    if rights.denied and not access.allow_wins:
        yield Grant(Kind.DENY, extents, rights.denied)


def _refuse_unknown(catalogue: Catalogue) -> None:
    if not catalogue.unknown:
        return
    problem = catalogue.unknown[0].problem
    assert problem is not None
    rest = len(catalogue.unknown) - 1
    more = f"; {rest} more are not known either" if rest else ""
    raise DocumentError(f"{problem.message}{more}", hint=problem.hint, location=problem.location)
