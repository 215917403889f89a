"""The check `redundancy`: policies that several others together make superfluous."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from spir.assurance.checks.examination import Claim, Examination
from spir.assurance.checks.grouping import names
from spir.assurance.checks.subsumption import replaces
from spir.assurance.checks.unions import Unions
from spir.assurance.finding import Finding, Named, Severity
from spir.engine.ruleset import Rule
from spir.model.decision import Decision
from spir.model.policy import Kind

__all__ = ["redundancy"]


def redundancy(examined: Examination) -> Iterator[Finding]:
    """Policies of no effect, because several others together do all that they do.

    - **warning**: for every request, one or another policy of the same effect and with the same
      obligations does what this one does, although no single one of them does all of it (that is
      `subsumption`). Taking it out changes no decision; so may changing it, unnoticed.

    It holds for each policy by itself: of two that are reported, one may stand in for the other, and
    only one of them can go. Each layer must grant for itself, so permits and delegates are
    compared within their layer; permits of the lowest layer with those above, too.

    Where the others are too many to take off one after the other, a solver decides (extra
    `analysis`); what neither decides is a note.

    *Mend:* take the policy out; or narrow one of the others, if that was meant.
    """
    unions = Unions.of(examined)
    for kind in Kind:
        same = frozenset((kind,))
        for rule in examined.open(examined.check, kind):
            cover = unions.cover(rule, same, _makes_up_for)
            if cover:
                yield from _finding(examined, rule, cover)
    yield from unions.undecided("whether several policies together make superfluous")


def _makes_up_for(rule: Rule, other: Rule) -> bool:
    """Whether taking out the rule is made up for by the other one, where both apply."""
    return replaces(other, rule)


def _finding(examined: Examination, rule: Rule, cover: Sequence[Rule]) -> Iterator[Finding]:
    boxes = examined.acts(rule) or ()
    shown = examined.first(boxes, _also(rule, cover))
    if shown is not None:
        text = f"`{rule.policy.id}` has no effect: {names(cover)} together do all of that already"
        policies = (*map(Named.of, cover), Named.of(rule))
        mend = f"take out `{rule.policy.id}`, or narrow one of the others"
        yield Finding(examined.check, Severity.WARNING, text, policies, examined.words(boxes[0]), shown, mend)


def _also(rule: Rule, cover: Sequence[Rule]) -> Claim:
    """The engine names the policy, and one of the others with it."""
    others = {each.policy.id for each in cover}

    def claim(decision: Decision) -> bool:
        named = {reason.policy for reason in decision.reasons} | set(decision.matched)
        return rule.policy.id in named and bool(others & named)

    return claim
