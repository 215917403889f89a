"""The check `shadowing`: permits that several policies together leave nothing of."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spir.assurance.checks.examination import Claim, Examination
from spir.assurance.checks.grouping import names
from spir.assurance.checks.unions import Unions
from spir.assurance.finding import Finding, Named, Severity
from spir.assurance.sides import STOPPERS
from spir.engine.ruleset import Rule
from spir.model.decision import Decision
from spir.model.policy import Kind

__all__ = ["shadowing"]


def shadowing(examined: Examination) -> Iterator[Finding]:
    """Permits that never grant anything, because several policies together stop all of it.

    - **error**: each request that the permit would grant is stopped by one or another deny or
      require of its own layer or of one above, although no single one of them stops all. What one
      alone stops is reported by `conflict` and `weakening`.

    Where the denies and requires are too many to take off one after the other, a solver decides
    (extra `analysis`); what neither decides is a note.

    *Mend:* narrow one of the denies or requires; or take out the permit, if it is meant to be stopped.
    """
    unions, stoppers = Unions.of(examined), frozenset(STOPPERS)
    for permit in examined.open(examined.check, Kind.PERMIT):
        cover = unions.cover(permit, stoppers, _stands_over)
        if cover:
            yield from _finding(examined, permit, cover)
    yield from unions.undecided("whether several policies together stop all of")


def _stands_over(permit: Rule, rule: Rule) -> bool:
    """Whether what the rule stops is stopped for the permit, too."""
    return rule.layer <= permit.layer


def _finding(examined: Examination, permit: Rule, cover: Sequence[Rule]) -> Iterator[Finding]:
    boxes = examined.acts(permit) or ()
    shown = examined.first(boxes, _stopped(cover))
    if shown is not None:
        text = f"`{permit.policy.id}` never grants anything: {names(cover)} together stop all of it"
        policies = (*map(Named.of, cover), Named.of(permit))
        mend = f"narrow one of them, or take out `{permit.policy.id}`"
        region = examined.words(boxes[0])
        yield Finding(examined.check, Severity.ERROR, text, policies, region, shown, mend)


def _stopped(cover: Sequence[Rule]) -> Claim:
    """Denied, and by one of them."""
    ids = {rule.policy.id for rule in cover}

    def claim(decision: Decision) -> bool:
        return decision.denied and any(reason.policy in ids for reason in decision.reasons)

    return claim
