"""What a validation says as a whole, in an order and a size that a person reads.

Findings come grouped from the checks already (one for an upper policy and a
region); here they are sorted, those about one upper policy are put together,
and text shows the first of each: everything is in the JSON. Acknowledged
findings are counted, never forgotten; entries that do not count are named.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any

from spir.assurance.finding import Counterexample, Finding, Named, Severity
from spir.assurance.suppression import Suppression

__all__ = ["Acknowledged", "Report", "judged"]

EVAL = "spir eval -p PATH"

# What text shows: groups of one check, findings of one group, policies of one finding.
MOST_GROUPS, MOST_FINDINGS, MOST_POLICIES = 6, 2, 6


@dataclass(frozen=True, slots=True)
class Acknowledged:
    finding: Finding
    by: Suppression


@dataclass(frozen=True, slots=True)
class Report:
    """`findings` are those that count, worst first. `policies` is how many were looked at, `checks` which were run.

    `expired` were for findings that are there; `idle` are for none that is there, `vain` for errors.
    """

    findings: tuple[Finding, ...] = ()
    acknowledged: tuple[Acknowledged, ...] = ()
    expired: tuple[Suppression, ...] = ()
    idle: tuple[Suppression, ...] = ()
    vain: tuple[Suppression, ...] = ()
    policies: int = 0
    checks: tuple[str, ...] = ()
    fingerprint: str = ""

    @property
    def acknowledgeable(self) -> tuple[Finding, ...]:
        """Warnings that nobody answers for yet."""
        return tuple(finding for finding in self.findings if finding.severity is Severity.WARNING)

    def at_least(self, severity: Severity) -> tuple[Finding, ...]:
        return tuple(finding for finding in self.findings if finding.severity >= severity)

    def count(self, severity: Severity) -> int:
        return sum(finding.severity is severity for finding in self.findings)

    @property
    def summary(self) -> str:
        counts = ", ".join(_several(self.count(one), one.label) for one in reversed(Severity))
        kept = f", {len(self.acknowledged)} acknowledged" if self.acknowledged else ""
        ran = _several(len(self.checks), "check")
        return f"{counts}{kept}: {_many(self.policies, 'policy', 'policies')}, {ran}"

    def to_json(self) -> dict[str, Any]:
        return {
            "summary": {one.label: self.count(one) for one in reversed(Severity)},
            "policies": self.policies,
            "checks": list(self.checks),
            "bundle": self.fingerprint,
            "findings": [finding.to_json() for finding in self.findings],
            "acknowledged": [{**one.finding.to_json(), "acknowledged": _entry(one.by)} for one in self.acknowledged],
            "suppressions": {
                "expired": [_entry(one) for one in self.expired],
                "idle": [_entry(one) for one in self.idle],
                "vain": [_entry(one) for one in self.vain],
            },
        }

    def lines(self, again: str = EVAL) -> Iterator[str]:
        """For people. `again` is the command that decides a request by these policies."""
        for _, found in groupby(self.findings, key=lambda one: (one.severity, one.check)):
            yield from _check_lines(list(found), again)
        yield from (f"{one.location}: `{one.mark}` has expired: {one.reason}" for one in self.expired)
        yield from (f"{one.location}: `{one.mark}` is of no finding that is there" for one in self.idle)
        yield from (f"{one.location}: `{one.mark}` is of an error, which must be mended" for one in self.vain)
        yield self.summary


def judged(findings: Iterable[Finding], suppressions: Sequence[Suppression], at: datetime) -> Report:
    """The findings that count at this moment, and those that somebody answers for."""
    entries = {one.mark: one for one in suppressions}
    left: list[Finding] = []
    kept: list[Acknowledged] = []
    expired: dict[Suppression, None] = {}
    vain: dict[Suppression, None] = {}
    for finding in sorted(findings, key=_rank):
        entry = entries.get(finding.mark)
        if entry is not None and finding.severity is not Severity.ERROR and not entry.expired(at):
            kept.append(Acknowledged(finding, entry))
            continue
        left.append(finding)
        if entry is not None:
            (vain if finding.severity is Severity.ERROR else expired)[entry] = None
    met = {finding.mark for finding in left} | {one.by.mark for one in kept}
    idle = tuple(one for one in suppressions if one.mark not in met)
    return Report(tuple(left), tuple(kept), tuple(expired), idle, tuple(vain))


def _rank(finding: Finding) -> tuple[Any, ...]:
    """Worst first, then by check and upper policy; within it, what stands for most first."""
    upper = finding.policies[0] if finding.policies else None
    place = (_place(upper), upper.id) if upper else ("", "")
    return (-finding.severity, finding.check, *place, -finding.pairs, finding.region, finding.mark)


def _entry(one: Suppression) -> dict[str, str]:
    return {"mark": one.mark, "reason": one.reason, "by": one.by, "until": one.until.isoformat()}


# -- text ------------------------------------------------------------------------------------


def _check_lines(found: list[Finding], again: str) -> Iterator[str]:
    groups = [list(group) for _, group in groupby(found, key=lambda one: one.policies[:1])]
    for group in groups[:MOST_GROUPS]:
        for finding in group[:MOST_FINDINGS]:
            yield from _lines(finding, again)
        if len(group) > MOST_FINDINGS:
            more = _several(len(group) - MOST_FINDINGS, "more finding")
            yield f"  and {more} about `{group[0].policies[0].id}`" if group[0].policies else f"  and {more}"
            yield ""
    hidden = sum(map(len, groups[MOST_GROUPS:]))
    if hidden:
        policies = _many(len(groups) - MOST_GROUPS, "policy", "policies")
        yield f"{found[0].severity.label} {found[0].check}: {hidden} more, of {policies} (--json shows all)"
        yield ""


def _lines(finding: Finding, again: str) -> Iterator[str]:
    yield f"{finding.severity.label} {finding.check}: {finding.text}"
    for policy in finding.policies[:MOST_POLICIES]:
        yield f"  {_place(policy)}: {policy.id} ({policy.layer.label})"
    if len(finding.policies) > MOST_POLICIES:
        yield f"  and {len(finding.policies) - MOST_POLICIES} more policies"
    if finding.region:
        yield f"  where: {finding.region}"
    if finding.counterexample is not None:
        yield f"  as in: {_command(finding.counterexample, again)}"
        yield f"         which says {finding.counterexample.effect}"
    if finding.mend:
        yield f"  mend:  {finding.mend}"
    yield f"  mark:  {finding.mark}"
    yield ""


def _command(shown: Counterexample, again: str) -> str:
    """What to paste into a shell to see it."""
    request = json.dumps(shown.request.to_json(), ensure_ascii=False)
    return f"echo {shlex.quote(request)} | {again} --at {shown.at.isoformat()} -r -"


def _place(policy: Named) -> str:
    return str(policy.location) if policy.location else "(no file)"


def _several(count: int, noun: str) -> str:
    return _many(count, noun, f"{noun}s")


def _many(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"
