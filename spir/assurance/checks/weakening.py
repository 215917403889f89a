"""The check `weakening`: what a lower layer grants and the layers above do not let it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spir.assurance.checks.ceiling import uncovered
from spir.assurance.checks.examination import Examination
from spir.assurance.checks.grouping import Pair, findings, names
from spir.assurance.checks.restraint import Restraint, restraints, stops
from spir.assurance.finding import Finding, Severity
from spir.engine.ruleset import Rule
from spir.model.policy import Kind

__all__ = ["weakening"]


def weakening(examined: Examination) -> Iterator[Finding]:
    """Permits of a lower layer that the layers above do not let it grant.

    A lower layer can only tighten. What it permits is granted only where no deny of a
    layer above matches, every require above holds, and each layer above that has any
    document for the organisation permits or delegates it. Nothing is ever granted that
    should not be; but a permit that says more than it grants misleads its readers.

    - **error**: the permit can never grant: a deny above forbids all of it, a require above
      fails for all of it, or a layer above neither permits nor delegates any of it.
    - **warning**: a deny above forbids a part of it, or a layer above permits and delegates
      only a part of it.
    - **note**: a require above narrows it, which is what requires are for.

    *Mend:* narrow the permit to what the layers above leave to it. What they say can be
    changed by their owners only.
    """
    found = list(restraints(examined, lambda rule, permit: rule.layer < permit.layer))
    errors = [one.pair for one in found if one.whole]
    yield from findings(examined, Severity.ERROR, errors, stops, _never)
    for by, severity, words in ((Kind.DENY, Severity.WARNING, _partly), (Kind.REQUIRE, Severity.NOTE, _narrows)):
        yield from findings(examined, severity, _of(found, by), stops, words)
    yield from uncovered(examined)


def _of(found: Sequence[Restraint], by: Kind) -> list[Pair]:
    return [one.pair for one in found if one.by is by and not one.whole]


def _never(rule: Rule, permits: Sequence[Rule]) -> tuple[str, str]:
    because = "forbids all of it" if rule.policy.kind is Kind.DENY else "is never met by any of it"
    text = f"{names(permits)} can never grant: `{rule.policy.id}` of the {rule.layer.label} layer {because}"
    return text, f"take out {names(permits)}; only the {rule.layer.label} layer can change `{rule.policy.id}`"


def _partly(rule: Rule, permits: Sequence[Rule]) -> tuple[str, str]:
    text = f"`{rule.policy.id}` of the {rule.layer.label} layer forbids a part of what is granted by {names(permits)}"
    return text, f"leave what `{rule.policy.id}` forbids out of {names(permits)}, or acknowledge that it is meant"


def _narrows(rule: Rule, permits: Sequence[Rule]) -> tuple[str, str]:
    text = f"`{rule.policy.id}` of the {rule.layer.label} layer narrows {names(permits)}"
    return text, "nothing, if whoever reads the permit knows the requirement"
