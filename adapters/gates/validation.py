"""SHELL: the gate of the validator: no error, and no warning that nobody answers for.

`[policy] validate` says what becomes of findings: `refuse` (the default) keeps
what is in force, `warn` only says and records them, `off` asks for none. What
the validator could not finish in `validate_seconds` is a warning like any
other: somebody has to answer for it, or allow it more time. Questions about
unions of policies have a small share of it; where that is not enough, it is
recorded, and no reason to refuse: `spir check` has the time.

What is known of the rules in force is not asked again: of a change, only what it
can have altered is (`adapters.gates.surveys`).

Who is on the staff today is not asked: people come and go, and a policy for a
midwife is no worse on the day when there is none. `spir check` says it.

Asked of changes only. At the start that is what has not passed before; at the
very first, warnings are said and recorded, and stand from then on: nobody has
made a change yet, and a gateway that stays away helps nobody.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from adapters.asked import operations_asked
from adapters.gates.accepted import Accepted
from adapters.gates.candidate import NOTHING, Candidate, Refused
from adapters.gates.patience import UNIONS, Patience
from adapters.gates.surveys import Surveys
from adapters.settings import Settings
from spir.assurance.checks.examination import Surroundings
from spir.assurance.finding import Finding, Severity
from spir.assurance.report import Report
from spir.assurance.suppression import Suppression, read_suppressions
from spir.assurance.validator import validate
from spir.engine.compiler import Compiled

__all__ = ["Validation"]

log = logging.getLogger("spir.policies")

TOLD = 20  # findings in the trail
WIDTH = 120  # characters of a text in it


class Validation:
    """Raises Refused for rules that have findings which may not be there."""

    def __init__(self, settings: Settings, surveys: Surveys | None = None) -> None:
        self._settings = settings
        self._surveys = surveys or Surveys()
        self._accepted = Accepted(settings.data / "accepted.json")

    def __call__(self, candidate: Candidate) -> Mapping[str, Any]:
        mode, fingerprint = self._settings.policy.validate, candidate.rules.fingerprint
        if mode == "off" or candidate.unchanged or (candidate.before is None and fingerprint in self._accepted):
            return NOTHING
        found = self._report(candidate)
        open_ = tuple(one for one in found.at_least(Severity.WARNING) if one.decided or one.check not in UNIONS)
        new = tuple(one for one in open_ if not self._stands(one, candidate))
        if new and mode == "refuse":
            raise self._refused(found, new)
        for finding in open_:
            log.warning("policies %s: %s", fingerprint, _told(finding))
        if not new:
            self._accepted.add(fingerprint, (one.mark for one in open_))
        return {"validation": _notes(found)}

    def _stands(self, finding: Finding, candidate: Candidate) -> bool:
        """Whether it is a warning that was here before anybody made a change."""
        first = candidate.before is None and self._accepted.is_empty
        return finding.severity is Severity.WARNING and (first or finding.mark in self._accepted.standing)

    def _report(self, candidate: Candidate) -> Report:
        return validate(
            candidate.documents,
            candidate.rules,
            at=datetime.now(UTC),
            compiled=candidate.prepared if isinstance(candidate.prepared, Compiled) else None,
            surroundings=Surroundings(asked=operations_asked()),
            suppressions=self._suppressions(),
            step=Patience(self._settings.policy.validate_seconds).step,
            survey=self._surveys.of(candidate),
        )

    def _suppressions(self) -> tuple[Suppression, ...]:
        name = self._settings.policy.acknowledged
        return read_suppressions(self._settings.text(name), str(self._settings.path(name))) if name else ()

    def _refused(self, found: Report, open_: tuple[Finding, ...]) -> Refused:
        errors = sum(one.severity is Severity.ERROR for one in open_)
        warnings, first = len(open_) - errors, open_[0]
        acknowledge = f", acknowledge warnings in `{self._settings.policy.acknowledged or '[policy] acknowledged'}`"
        return Refused(
            f"the validator finds {errors} errors and {warnings} warnings, first {_told(first)}",
            hint=f"see `spir check`; mend errors{acknowledge if warnings else ''}",
            location=first.policies[0].location if first.policies else None,
            details={"validation": _notes(found)},
        )


def _told(finding: Finding) -> str:
    """For the log: ids and no values of conditions, which might be anybody's."""
    named = ", ".join(policy.id for policy in finding.policies[:3])
    return f"{finding.severity.label} {finding.check} {finding.mark}{f' ({named})' if named else ''}"


def _notes(found: Report) -> Mapping[str, Any]:
    counted = {severity.label: found.count(severity) for severity in Severity}
    return {
        **counted,
        "findings": [_told(finding)[:WIDTH] for finding in found.at_least(Severity.WARNING)[:TOLD]],
        "acknowledged": [
            {"mark": one.finding.mark, "by": one.by.by[:WIDTH], "until": one.by.until.isoformat()}
            for one in found.acknowledged[:TOLD]
        ],
    }
