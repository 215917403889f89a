"""The Policy Consistency Validator: all checks on one set of rules, as one pure function.

`spir check` and the gate before policies come into force call the same
function, so that what one has shown the other does not refuse. It takes the
moment and the engine's rules, and opens and asks nothing. It is bounded: by
counts inside the checks, and by `step`, which may say that there is no more
time; a check that was cut short says so, as a warning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime

from spir.assurance.checks.examination import Examination, Step, Surroundings, Unfinished
from spir.assurance.checks.registry import CHECKS, Check
from spir.assurance.finding import Finding, Severity
from spir.assurance.report import Report, judged
from spir.assurance.suppression import Suppression
from spir.assurance.survey import Survey
from spir.engine.compiler import Compiled, compile_rules
from spir.engine.ruleset import RuleSet
from spir.language.document import Documents

__all__ = ["validate"]


def validate(
    documents: Documents,
    rules: RuleSet,
    *,
    at: datetime,
    compiled: Compiled | None = None,
    surroundings: Surroundings = Surroundings(),
    suppressions: Sequence[Suppression] = (),
    only: Sequence[str] = (),
    step: Step = lambda check, done, total: True,
    survey: Survey | None = None,
) -> Report:
    """Run the checks (`only` these, if any are named) on `rules`, which are those of `documents`.

    `at` is the moment at which suppressions count and policies may have expired. `compiled` are the same
    rules, where somebody has them compiled already; `survey` is one of them, with what is known from the version
    before (`Survey.then`). The report is the same with it and without.
    """
    decide = (compiled or compile_rules(rules)).decide
    checks = [check for check in CHECKS.values() if not only or check.id in only]
    known = survey or Survey.of(rules, documents.vocabulary)
    examined = Examination(known, decide, at, surroundings, step)
    findings = [finding for check in checks for finding in _run(check, examined)]
    found = judged(findings, suppressions, at)
    return replace(
        found,
        idle=() if only else found.idle,
        policies=len(rules.every),
        checks=tuple(check.id for check in checks),
        fingerprint=rules.fingerprint,
    )


def _run(check: Check, examined: Examination) -> Iterator[Finding]:
    examined.check, examined.dropped = check.id, 0
    try:
        yield from check.run(examined)
    except Unfinished:
        yield Finding(
            check.id,
            Severity.WARNING,
            "not finished: there was no more time, and what it would have found is not known",
            mend="allow more time, or run this check alone",
            decided=False,
        )
    if examined.dropped:
        text = f"{examined.dropped} of the requests did not show in the engine what they should; they are left out"
        yield Finding(check.id, Severity.NOTE, text, decided=False)
