"""`spir diff OLD NEW`: what a change of policies newly permits and newly denies, each with a request that shows it."""

from __future__ import annotations

import json
from argparse import Namespace
from collections.abc import Iterator, Mapping, Sequence
from itertools import count
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from adapters.bundles import ARCHIVES, unpack
from adapters.commands.output import FINDING, OK, say
from spir.assurance.difference import Change, Difference, Direction, Version, difference
from spir.embed import WALL_CLOCK, collect, default_vocabulary, library_templates, only_jurisdiction
from spir.engine.ruleset import Site
from spir.errors import DocumentError, RequestError
from spir.language.document import Documents, read_documents
from spir.model.decision import Decision

__all__ = ["diff"]

# --fail-on -> what makes the exit code 1. `any` is everything, what could not be decided included.
FAILURES: Mapping[str, tuple[Direction, ...]] = {
    "permit": (Direction.PERMIT,),
    "deny": (Direction.DENY,),
    "any": tuple(Direction),
}
HEADINGS = {
    Direction.PERMIT: "newly permitted",
    Direction.DENY: "newly denied",
    Direction.OBLIGE: "other obligations",
}


def diff(arguments: Namespace) -> int:
    """0 if nothing is decided otherwise, 1 if something is or might be."""
    old, new = _documents(arguments.old), _documents(arguments.new)
    site = _site(arguments, old, new)
    found = difference(Version.of(old, site), Version.of(new, site), at=WALL_CLOCK().replace(microsecond=0))
    say(arguments, found.to_json(), _lines(found))
    return FINDING if _fails(found, arguments.fail_on) else OK


def _fails(found: Difference, on: str) -> bool:
    """What is not decided might be anything."""
    return bool(found.undecided) or any(found.found(direction) for direction in FAILURES[on])


def _documents(path: str) -> Documents:
    """Of a file, a folder or a bundle; who signed a bundle is not asked."""
    place = Path(path)
    texts = unpack(place).documents if place.suffix in ARCHIVES else collect(place)
    found = read_documents(texts, vocabulary_text=default_vocabulary(), templates=library_templates())
    if not found.policy_sets:
        raise DocumentError(f"there are no policies in `{path}`", hint="name a file, a folder or a bundle of documents")
    return found


def _site(arguments: Namespace, old: Documents, new: Documents) -> Site:
    """That of the configuration, if one is named; else the organisation that both are about."""
    if arguments.config:
        from adapters.settings import load

        settings = load(Path(arguments.config))
        return Site(settings.site.organization, settings.zone)
    try:
        zone = ZoneInfo(arguments.timezone)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise RequestError(f"`{arguments.timezone}` is no time zone", hint="as Asia/Shanghai") from error
    return Site(only_jurisdiction((*old.policy_sets, *new.policy_sets)), zone)


# -- how it is said --------------------------------------------------------------------------


def _lines(found: Difference) -> Iterator[str]:
    if found.proved_equal:
        yield "no request is decided otherwise"
    for direction, heading in HEADINGS.items():
        changes = found.found(direction)
        if changes:
            yield f"{heading.upper()} ({len(changes)})"
            yield from _grouped(changes)
    for heading, notes in (("NOT DECIDED", found.undecided), ("ALSO", found.remarks)):
        if notes:
            yield heading
            yield from (f"  {note}" for note in notes)


def _grouped(changes: Sequence[Change]) -> Iterator[str]:
    """By what they are due to."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.cause, []).append(change)
    for cause, group in groups.items():
        yield f"  because {cause}"
        for policy in group[0].policies:
            yield f"     {policy.location or policy.id} ({policy.layer.label})"
        for number, change in zip(count(1), group, strict=False):
            yield f"  {number}. {change.region or 'everything'}"
            yield f"     before: {_said(change.before)}"
            yield f"     after:  {_said(change.after)}"
            yield f"     asked at {change.at.isoformat()}:"
            yield f"     {json.dumps(change.request.to_json(), ensure_ascii=False)}"


def _said(decision: Decision) -> str:
    reasons = "; ".join(reason.text for reason in decision.reasons)
    if not decision.permitted:
        return f"DENY: {reasons}" if reasons else "DENY"
    duties = [f"{item.type} {json.dumps(item.to_json()['properties'])}" for item in decision.obligations]
    matched = f"PERMIT: {', '.join(decision.matched)}"
    return f"{matched}; must {', '.join(duties)}" if duties else matched
