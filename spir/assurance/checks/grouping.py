"""Pairs of rules made into findings: one for an upper rule and what it sees of each lower one.

A prohibition that meets a hundred permits is one finding with a hundred
policies, unless it meets them in different places: what of the common requests
the upper rule speaks about is what tells groups apart. Every pair that is named
was shown by the engine; of very many pairs one for each group was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from spir.assurance.checks.examination import Claim, Examination
from spir.assurance.finding import Counterexample, Finding, Named, Severity
from spir.assurance.proof.box import Box
from spir.assurance.proof.terms import Variable
from spir.engine.ruleset import Rule

__all__ = ["Pair", "Words", "findings", "names"]

# So many pairs of one check are replayed, each of them; of more, one for each group.
REPLAYED = 2000

# What is found and how to mend it, of an upper rule and those below.
Words: TypeAlias = Callable[[Rule, Sequence[Rule]], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Pair:
    """`box` holds requests that both are about."""

    upper: Rule
    lower: Rule
    box: Box


Group: TypeAlias = list[Pair]


def findings(
    examined: Examination,
    severity: Severity,
    pairs: Iterable[Pair],
    claim: Callable[[Pair], Claim],
    words: Words,
) -> Iterator[Finding]:
    """One for each group of which a pair could be shown."""
    found = list(pairs)
    for group in examined.each(_groups(examined, found)):
        shown = list(_shown(examined, group, claim, every=len(found) <= REPLAYED))
        if shown:
            kept = [pair for pair, _ in shown] if len(found) <= REPLAYED else group
            yield _finding(examined, severity, kept, shown[0][1], words)


def _shown(
    examined: Examination, group: Group, claim: Callable[[Pair], Claim], every: bool
) -> Iterator[tuple[Pair, Counterexample]]:
    for pair in group:
        shown = examined.shown(pair.box, claim(pair))
        if shown is not None:
            yield pair, shown
            if not every:
                return


def _groups(examined: Examination, pairs: Iterable[Pair]) -> list[Group]:
    found: dict[tuple[int, frozenset[object]], Group] = {}
    for pair in pairs:
        about = _about(examined, pair.upper)
        seen = frozenset((variable, domain) for variable, domain in pair.box.domains.items() if variable in about)
        found.setdefault((id(pair.upper), seen), []).append(pair)
    return list(found.values())


def _about(examined: Examination, rule: Rule) -> frozenset[Variable]:
    """The variables that the rule says something about."""
    return frozenset(variable for box in examined.acts(rule) or () for variable in box.domains)


def _finding(examined: Examination, severity: Severity, group: Group, shown: Counterexample, words: Words) -> Finding:
    upper, first = group[0].upper, group[0].box
    lowers = [pair.lower for pair in group]
    text, mend = words(upper, lowers)
    if len(group) > 1:
        about = _about(examined, upper)
        kept = {variable: domain for variable, domain in first.domains.items() if variable in about}
        first = Box(first.world, kept)
    policies = (Named.of(upper), *map(Named.of, lowers))
    return Finding(examined.check, severity, text, policies, examined.words(first), shown, mend, len(group))


def names(rules: Sequence[Rule], most: int = 3) -> str:
    """As in "`a`, `b` and 5 more"."""
    shown = [f"`{rule.policy.id}`" for rule in rules[:most]]
    if len(rules) > most:
        return f"{', '.join(shown)} and {len(rules) - most} more"
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)
