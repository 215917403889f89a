"""The check `subsumption`: policies that another one makes superfluous."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial

from spir.assurance.checks.examination import Claim, Examination
from spir.assurance.checks.extent import within
from spir.assurance.checks.grouping import Pair, findings, names
from spir.assurance.duties import duties_of, meets
from spir.assurance.finding import Finding, Severity
from spir.assurance.survey import Answer, Reach
from spir.engine.ruleset import Rule
from spir.model.decision import Decision
from spir.model.policy import Emergency, Kind, Layer

__all__ = ["replaces", "subsumption"]


def subsumption(examined: Examination) -> Iterator[Finding]:
    """Policies of no effect, because one other policy does all that they do.

    - **warning**: whatever this policy grants, forbids, requires, delegates or obliges to, another
      one of the same kind does as well, and demands all that this one demands. Whoever changes or removes the
      narrower one will wonder why nothing happens.

    A permit or a delegate is compared within its layer, since each layer must grant for itself;
    a permit of the lowest layer with those above, too. Of two policies that say the same, the
    later one is reported. What several policies make superfluous together is another check.

    *Mend:* take the narrower policy out; or narrow the wider one, if that was meant.
    """
    yield from findings(examined, Severity.WARNING, list(_pairs(examined)), _both, _words)


def _pairs(examined: Examination) -> Iterator[Pair]:
    for kind in Kind:
        for wide in examined.open("subsumption", kind):
            yield from examined.recall("subsumption", wide, partial(_under, examined, wide))


def _under(examined: Examination, wide: Rule) -> Answer:
    """What the rule makes superfluous."""
    return Answer(tuple(_narrower(examined, wide)), frozenset((wide.policy.kind,)), Reach.WITHIN)


def _narrower(examined: Examination, wide: Rule) -> Iterator[Pair]:
    survey, acts = examined.survey, examined.acts(wide)
    for narrow in survey.inside(acts, wide.policy.kind) if examined.region(wide) else ():
        if narrow is wide or not replaces(wide, narrow) or not examined.region(narrow):
            continue
        twin = replaces(narrow, wide) and within(acts, examined.acts(narrow))
        if not twin or survey.place(wide) < survey.place(narrow):
            yield Pair(wide, narrow)


def replaces(wide: Rule, narrow: Rule) -> bool:
    """Whether the one does what the other does, where both apply."""
    if wide.policy.kind in (Kind.PERMIT, Kind.DELEGATE):
        lowest = wide.policy.kind is Kind.PERMIT and narrow.layer is Layer.INSTITUTION
        stands = wide.layer is narrow.layer or (lowest and wide.layer < narrow.layer)
        lasting = wide.policy.emergency is narrow.policy.emergency
    else:
        stands = wide.layer <= narrow.layer
        lasting = wide.policy.emergency is narrow.policy.emergency or wide.policy.emergency is Emergency.NEVER
    return stands and lasting and _owes(wide, narrow)


def _owes(wide: Rule, narrow: Rule) -> bool:
    """Whether the one demands all that the other does."""
    duties = (duty for obligation in narrow.policy.obligations for duty in duties_of(obligation))
    return all(any(meets(obligation, duty) for obligation in wide.policy.obligations) for duty in duties)


def _both(pair: Pair) -> Claim:
    """The engine names both: as matched, or as what a request failed."""
    ids = {pair.upper.policy.id, pair.lower.policy.id}

    def claim(decision: Decision) -> bool:
        if pair.upper.policy.kind in (Kind.DENY, Kind.REQUIRE):
            return ids <= {reason.policy for reason in decision.reasons}
        return ids <= set(decision.matched)

    return claim


def _words(wide: Rule, narrow: Sequence[Rule]) -> tuple[str, str]:
    where = "the same" if all(rule.layer is wide.layer for rule in narrow) else f"the {wide.layer.label}"
    does = {
        Kind.PERMIT: "grants",
        Kind.DELEGATE: "delegates",
        Kind.DENY: "forbids",
        Kind.REQUIRE: "stops",
        Kind.OBLIGE: "obliges to",
    }[wide.policy.kind]
    has = "have" if len(narrow) > 1 else "has"
    text = f"{names(narrow)} {has} no effect: `{wide.policy.id}` of {where} layer {does} all of that already"
    return text, f"take out {names(narrow)}, or narrow `{wide.policy.id}`"
