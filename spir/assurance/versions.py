"""Two versions side by side: which policies they share, which they do not, and the world that both are about.

A policy is the same if it says the same at the same layer and jurisdiction,
wherever it is written; order, names of documents and descriptions do not count.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter
from typing import Any

from spir.assurance.change import Version
from spir.assurance.proof.domain import Domain, under
from spir.assurance.proof.terms import CLOCK, ORGANIZATION, tests
from spir.assurance.proof.truth import reading
from spir.assurance.proof.world import World
from spir.engine.ruleset import Rule, RuleSet, Site
from spir.language.typecheck import Kind
from spir.language.vocabulary import Declaration, Vocabulary
from spir.model.policy import PolicySet

__all__ = ["Edit", "Pairing", "common_world", "jurisdictions", "paired", "remarks"]

# What a policy says, and what it is called in a sentence. `emergency` decides nothing by itself.
_PARTS = {
    "kind": "effect",
    "operations": "operations",
    "when": "condition",
    "obligations": "obligations",
    "valid": "validity",
    "on_missing": "on_missing",
}
_said = attrgetter(*_PARTS)


@dataclass(frozen=True, slots=True)
class Edit:
    """A policy that is not the same in both versions: new (no `old`), gone (no `new`), or saying something else."""

    old: Rule | None
    new: Rule | None

    @property
    def rule(self) -> Rule:
        found = self.new or self.old
        assert found is not None
        return found

    def is_among(self, rules: Set[int]) -> bool:
        """Whether one of these, known by identity, is the policy of either version."""
        return id(self.old) in rules or id(self.new) in rules

    @property
    def parts(self) -> tuple[str, ...]:
        """What it says otherwise; none for a policy that is new or gone."""
        if self.old is None or self.new is None:
            return ()
        one, other = self.old, self.new
        names = [word for name, word in _PARTS.items() if getattr(one.policy, name) != getattr(other.policy, name)]
        names += [name for name in ("layer", "jurisdiction") if getattr(one, name) != getattr(other, name)]
        return tuple(names)

    def __str__(self) -> str:
        name = f"`{self.rule.policy.id}`"
        if self.parts:
            return f"{name} says something else ({', '.join(self.parts)})"
        return f"{name} is gone" if self.new is None else f"{name} is new"


@dataclass(frozen=True, slots=True)
class Pairing:
    """The rules of both versions; what both have is one object in both.

    `twins` are the rules of the new version by identity, as it has them itself, with what stands for them here.
    """

    old: tuple[Rule, ...]
    new: tuple[Rule, ...]
    edits: tuple[Edit, ...]
    twins: Mapping[int, Rule]


def paired(old: Sequence[Rule], new: Sequence[Rule]) -> Pairing:
    both = {id(rule) for rule in old} & {id(rule) for rule in new}
    known: dict[str, list[Rule]] = {}
    for rule in old:
        if id(rule) not in both:
            known.setdefault(rule.policy.id, []).append(rule)
    rules: list[Rule] = []
    fresh: list[Rule] = []
    for rule in new:
        if id(rule) in both:
            rules.append(rule)
            continue
        same = next((one for one in known.get(rule.policy.id, ()) if _same(one, rule)), None)
        if same is None:
            fresh.append(rule)
        else:
            known[rule.policy.id].remove(same)
        rules.append(rule if same is None else same)
    twins = {id(rule): twin for rule, twin in zip(new, rules, strict=True)}
    return Pairing(tuple(old), tuple(rules), tuple(_edits(known, fresh)), twins)


def _same(one: Rule, other: Rule) -> bool:
    if one.layer is not other.layer or one.jurisdiction != other.jurisdiction:
        return False
    return one.policy is other.policy or _said(one.policy) == _said(other.policy)


def _edits(gone: Mapping[str, list[Rule]], fresh: Iterable[Rule]) -> Iterator[Edit]:
    left = {id: list(rules) for id, rules in gone.items()}
    for rule in fresh:
        twins = left.get(rule.policy.id)
        yield Edit(twins.pop(0) if twins else None, rule)
    for rules in left.values():
        yield from (Edit(rule, None) for rule in rules)


# -- the world that both are about -----------------------------------------------------------


def common_world(old: Version, new: Version, at: datetime | None = None) -> tuple[World, tuple[str, ...]]:
    """Requests that keep to either vocabulary, and what cannot be told of them because the sites differ.

    `at` is a moment to show requests at, where they may be asked at any.
    """
    vocabulary = old.vocabulary if old.vocabulary == new.vocabulary else _merged(old.vocabulary, new.vocabulary)
    one, other = old.rules.site, new.rules.site
    same = one.organization == other.organization
    world = World(vocabulary, Site(one.organization if same else "", other.timezone))
    world = world if at is None else replace(world, now=at)
    doubts = []
    if not same:
        doubts.append(
            "requests that name no organisation belong to another one; only those that name one were compared"
        )
    if one.timezone.key != other.timezone.key and any(_reads_clock(rule, world) for rule in old.rules.every):
        doubts.append("conditions on the time of day were compared as if the time zone had not changed")
    return world, tuple(doubts)


def jurisdictions(world: World, sets: Iterable[PolicySet]) -> Mapping[Domain, str]:
    """What to call organisations by the paths that documents are for: `cn/zj`, `cn but not cn/zj`."""
    universe = world.universe(ORGANIZATION)
    paths = {path: under(path) & universe for path in sorted({found.jurisdiction for found in sets} - {""})}
    named = {domain: path for path, domain in paths.items()}
    for name, domain in (*paths.items(), ("any place", universe)):
        for path, inner in paths.items():
            if inner != domain and inner <= domain:
                named.setdefault(domain & inner.complement(), f"{name} but not {path}")
    return named


def _reads_clock(rule: Rule, world: World) -> bool:
    truth = reading(rule.policy.when, world)
    leaves = (leaf for side in truth for leaf in tests(side))
    return any(getattr(leaf, "variable", None) == CLOCK for leaf in leaves)


def _merged(old: Vocabulary, new: Vocabulary) -> Vocabulary:
    attributes = dict(old.attributes)
    for path, declaration in new.attributes.items():
        known = attributes.get(path)
        attributes[path] = declaration if known is None else _wider(known, declaration)
    types = {name: old.categories(name) | new.categories(name) for name in (*old.types, *new.types)}
    return replace(new, verbs=old.verbs | new.verbs, types=types, attributes=attributes)


def _wider(one: Declaration, other: Declaration) -> Declaration:
    """What either declares. Of an attribute that has changed its type nothing is known but whether it is there."""
    required = one.required and other.required
    if one.kind.type != other.kind.type:
        return replace(other, kind=Kind(""), required=required)
    enum = (*one.kind.enum, *other.kind.enum) if one.kind.enum and other.kind.enum else ()
    ends = (_end(min, one.kind.least, other.kind.least), _end(max, one.kind.most, other.kind.most))
    return replace(other, kind=Kind(other.kind.type, tuple(dict.fromkeys(enum)), *ends), required=required)


def _end(choose: Any, one: float | None, other: float | None) -> float | None:
    return None if one is None or other is None else choose(one, other)


# -- what else differs -----------------------------------------------------------------------


def remarks(old: Version, new: Version) -> tuple[str, ...]:
    """Differences that are not of the decisions themselves, in words."""
    return (*_of_words(old.vocabulary, new.vocabulary), *_of_sites(old, new), *_of_policies(old.rules, new.rules))


def _of_words(old: Vocabulary, new: Vocabulary) -> Iterator[str]:
    for kind, before, after in (
        ("verb", old.verbs, new.verbs),
        ("type", old.types.keys(), new.types.keys()),
        ("attribute", old.attributes.keys(), new.attributes.keys()),
    ):
        yield from (f"vocabulary: the {kind} `{name}` is gone" for name in sorted(before - after))
        yield from (f"vocabulary: the {kind} `{name}` is new" for name in sorted(after - before))
    for path in sorted(old.attributes.keys() & new.attributes.keys()):
        if old.attributes[path] != new.attributes[path]:
            yield f"vocabulary: `{path}` is declared otherwise"


def _of_sites(old: Version, new: Version) -> Iterator[str]:
    one, other = old.rules.site, new.rules.site
    if one.organization != other.organization:
        yield f"site: the organisation was `{one.organization}` and is `{other.organization}`"
    if one.timezone.key != other.timezone.key:
        yield f"site: the time zone was `{one.timezone.key}` and is `{other.timezone.key}`"


def _of_policies(old: RuleSet, new: RuleSet) -> Iterator[str]:
    """What policies say of emergencies: it decides only together with break-glass."""
    known = {rule.policy.id: rule.policy.emergency for rule in old.every}
    for rule in new.every:
        before, after = known.get(rule.policy.id), rule.policy.emergency
        if before is not None and before is not after:
            yield f"`{rule.policy.id}`: emergency was {before.value} and is {after.value}"
