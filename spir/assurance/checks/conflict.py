"""The check `conflict`: what one layer grants and forbids at once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spir.assurance.checks.examination import Examination
from spir.assurance.checks.grouping import findings, names
from spir.assurance.checks.restraint import restraints, stops
from spir.assurance.finding import Finding, Severity
from spir.engine.ruleset import Rule
from spir.model.policy import Kind

__all__ = ["conflict"]


def conflict(examined: Examination) -> Iterator[Finding]:
    """Permits that a deny or a require of their own layer stands in the way of.

    Whatever is denied anywhere is denied, so a permit and a deny about the same
    requests do not compete: the deny wins. What that means depends on how they lie.

    - **error**: all that the permit grants is denied, or fails a requirement. The permit
      can never grant anything.
    - **warning**: they meet in part, and neither lies within the other. Some of what the
      permit says is not so, and whoever reads it alone is misled.
    - **note**: the deny lies within the permit. It is an exception, as people write them.

    A deny that cannot be decided denies (`on_missing: deny`), so requests that lack an
    attribute that it asks about count as denied, too.

    *Mend:* say in the permit whom it is not for, or take out one of the two.
    """
    met = list(restraints(examined, lambda rule, permit: rule.layer is permit.layer))
    partly = [found for found in met if not found.whole and found.by is Kind.DENY]
    errors = [found.pair for found in met if found.whole]
    warnings = [found.pair for found in partly if not found.exception]
    notes = [found.pair for found in partly if found.exception]
    yield from findings(examined, Severity.ERROR, errors, stops, _never)
    yield from findings(examined, Severity.WARNING, warnings, stops, _partly)
    yield from findings(examined, Severity.NOTE, notes, stops, _except)


def _never(rule: Rule, permits: Sequence[Rule]) -> tuple[str, str]:
    because = "forbids all of it" if rule.policy.kind is Kind.DENY else "is never met by any of it"
    text = f"{names(permits)} can never grant: `{rule.policy.id}` of the same layer {because}"
    return text, f"take out {names(permits)}, or narrow `{rule.policy.id}`"


def _partly(rule: Rule, permits: Sequence[Rule]) -> tuple[str, str]:
    text = f"`{rule.policy.id}` forbids a part of what is granted by {names(permits)} of the same layer"
    return text, f"leave what `{rule.policy.id}` forbids out of {names(permits)}, or acknowledge that it is meant"


def _except(rule: Rule, permits: Sequence[Rule]) -> tuple[str, str]:
    return f"`{rule.policy.id}` is an exception to {names(permits)}", "nothing, if the exception is meant"
