"""Pairs of rules made into findings: one for an upper rule and what it sees of each lower one.

A prohibition that meets a few permits is a finding for each region in which it
meets them: what of the common requests the upper rule speaks about is what
tells regions apart. One that meets many is one finding that names them all; so
is each where there are very many pairs, for nobody reads ten thousand findings.
Every pair that is named was shown by the engine; of very many pairs one for
each finding was.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from spir.assurance.checks.examination import Claim, Examination
from spir.assurance.checks.extent import commons
from spir.assurance.finding import Counterexample, Finding, Named, Severity
from spir.assurance.proof.box import Box
from spir.assurance.proof.terms import Variable
from spir.engine.ruleset import Rule

__all__ = ["Pair", "Words", "findings", "names"]

# So many pairs of one upper rule are told apart by region; of more, there is one finding.
TOLD_APART = 12
# So many pairs of one check are replayed, each of them; of more, so many of each finding until one is shown.
REPLAYED, TRIED = 500, 4

# What is found and how to mend it, of an upper rule and those below.
Words: TypeAlias = Callable[[Rule, Sequence[Rule]], tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rules that meet. `box` holds requests that show it, where not all that they have in common do."""

    upper: Rule
    lower: Rule
    box: Box | None = None


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
    every = len(found) <= REPLAYED
    for group in examined.each(list(_groups(examined, found, TOLD_APART if every else 1))):
        shown = list(_shown(examined, group, claim, every))
        if shown:
            kept = [pair for pair, _ in shown] if every else group
            yield _finding(examined, severity, kept, shown[0][1], words)


def _box(examined: Examination, pair: Pair) -> Box:
    """Requests that both are about."""
    return pair.box or next(commons(examined.acts(pair.lower), examined.acts(pair.upper)))


def _shown(
    examined: Examination, group: Group, claim: Callable[[Pair], Claim], every: bool
) -> Iterator[tuple[Pair, Counterexample]]:
    for pair in group if every else group[:TRIED]:
        shown = examined.first((_box(examined, pair),), claim(pair))
        if shown is not None:
            yield pair, shown
            if not every:
                return


def _groups(examined: Examination, pairs: Iterable[Pair], apart: int) -> Iterator[Group]:
    """By upper rule; by region, too, where there are no more than `apart` pairs of one."""
    of_one: dict[int, Group] = {}
    for pair in pairs:
        of_one.setdefault(id(pair.upper), []).append(pair)
    for group in of_one.values():
        if len(group) > apart:
            yield group
        else:
            yield from _by_region(examined, group)


def _by_region(examined: Examination, group: Group) -> Iterable[Group]:
    about = _about(examined, group[0].upper)
    found: dict[frozenset[object], Group] = {}
    for pair in group:
        found.setdefault(_seen(examined, pair, about), []).append(pair)
    return found.values()


def _seen(examined: Examination, pair: Pair, about: frozenset[Variable]) -> frozenset[object]:
    """What of their common requests the upper rule speaks about."""
    return frozenset((name, domain) for name, domain in _box(examined, pair).domains.items() if name in about)


def _about(examined: Examination, rule: Rule) -> frozenset[Variable]:
    """The variables that the rule says something about."""
    return frozenset(variable for box in examined.acts(rule) or () for variable in box.domains)


def _finding(examined: Examination, severity: Severity, group: Group, shown: Counterexample, words: Words) -> Finding:
    upper, lowers = group[0].upper, [pair.lower for pair in group]
    text, mend = words(upper, lowers)
    policies = (Named.of(upper), *map(Named.of, lowers))
    region = examined.words(_region(examined, group))
    return Finding(examined.check, severity, text, policies, region, shown, mend, len(group))


def _region(examined: Examination, group: Group) -> Box:
    """What all pairs of a group have in common, as the upper rule sees it."""
    first, about = _box(examined, group[0]), _about(examined, group[0].upper)
    if len(group) == 1:
        return first
    if len(group) > TOLD_APART or len({_seen(examined, pair, about) for pair in group}) > 1:
        return (examined.acts(group[0].upper) or (first,))[0]
    return Box(first.world, {variable: domain for variable, domain in first.domains.items() if variable in about})


def names(rules: Sequence[Rule], most: int = 3) -> str:
    """As in "`a`, `b` and 5 more"."""
    shown = [f"`{rule.policy.id}`" for rule in rules[:most]]
    if len(rules) > most:
        return f"{', '.join(shown)} and {len(rules) - most} more"
    return " and ".join(part for part in (", ".join(shown[:-1]), shown[-1]) if part)
