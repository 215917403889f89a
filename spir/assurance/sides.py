"""One version of the policies as zones of requests: what grants, what stands in the way, who owes what.

It is the formula of `spir.engine.formula`, said about sets of requests: a grant is
a permit together with something that covers it in every layer above; a layer
covers where none of its documents reach, too. Rules that both versions have are
one object, and so are their regions: what differs is known by identity.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TypeAlias

from spir.assurance.duties import Duty, Other, clash, duties_of, meets
from spir.assurance.proof.box import Box
from spir.assurance.proof.domain import NOTHING, PRESENT, Domain, under
from spir.assurance.proof.scope import reach, region, stopped
from spir.assurance.proof.solver import Undecided
from spir.assurance.proof.terms import NEVER, ORGANIZATION, Statement, every
from spir.assurance.proof.truth import reading
from spir.assurance.proof.world import World, negation
from spir.assurance.proof.zone import Region, Zone, zone
from spir.engine.ruleset import Rule, RuleSet
from spir.model.obligation import Obligation
from spir.model.policy import Kind, Layer, OnMissing, OperationPattern, lies_under

__all__ = ["COVERS", "STOPPERS", "Near", "Owner", "Regions", "Side", "Slice", "may_meet", "says"]

STOPPERS = (Kind.DENY, Kind.REQUIRE)
COVERS = (Kind.PERMIT, Kind.DELEGATE)


# The rules that may have a request in common with one, itself included, in order.
Near: TypeAlias = Callable[[Rule], Iterable[Rule]]


def says(rule: Rule, world: World) -> Statement:
    """The requests on which the rule has its say: grants, covers, stands in the way, or adds its obligations."""
    policy = rule.policy
    if policy.kind in STOPPERS:
        return stopped(rule, world)
    if policy.kind is Kind.OBLIGE and policy.on_missing is OnMissing.DENY:
        return every((reach(rule, world), negation(reading(policy.when, world).false, world)))
    return region(rule, world)


def may_meet(one: Rule, other: Rule) -> bool:
    """Whether some request may be about both, by what can be seen without reading their conditions."""
    if not (lies_under(one.jurisdiction, other.jurisdiction) or lies_under(other.jurisdiction, one.jurisdiction)):
        return False
    return any(_alike(a, b) for a in one.policy.operations for b in other.policy.operations)


def _alike(one: OperationPattern, other: OperationPattern) -> bool:
    return (
        (one.type == other.type or one.type == "*" or other.type == "*")
        and (one.verb == other.verb or one.verb == "*" or other.verb == "*")
        and (one.category == other.category or one.category == "*" or other.category == "*")
    )


@dataclass(slots=True)
class Regions:
    """The regions of rules and of places without a layer, made once for both versions.

    `boxes` knows those of a rule already, None where they are too many.
    """

    world: World
    boxes: Callable[[Rule], tuple[Box, ...] | None] | None = None
    _rules: dict[int, Region] = field(default_factory=dict)
    _places: dict[Statement, Region] = field(default_factory=dict)

    def of(self, rule: Rule) -> Region:
        found = self._rules.get(id(rule))
        if found is None:
            known = (self.boxes(rule),) if self.boxes else ()
            found = self._rules[id(rule)] = Region(says(rule, self.world), self.world, *known)
        return found

    def without(self, jurisdictions: Iterable[str]) -> tuple[Region, ...]:
        """Where none of these reach; none if they reach everywhere."""
        reached: Domain = NOTHING
        for path in jurisdictions:
            reached = reached | under(path)
        statement = self.world.test(ORGANIZATION, reached.complement() & PRESENT)
        if statement == NEVER:
            return ()
        if statement not in self._places:
            self._places[statement] = Region(statement, self.world)
        return (self._places[statement],)


@dataclass(frozen=True, slots=True)
class Owner:
    """Who owes obligations, and to which requests."""

    rule: Rule
    obligations: tuple[Obligation, ...]
    zone: Zone

    @property
    def exact(self) -> bool:
        """Whether it owes something that has no order: only that can clash."""
        return any(isinstance(duty, Other) for o in self.obligations for duty in duties_of(o))

    def clashes(self, other: Owner) -> bool:
        return any(a.type == b.type and a != b and clash(a, b) for a in self.obligations for b in other.obligations)


class Side:
    """One version. `rules` are its rules in the order of the documents.

    `known` gives the rules of this version that may have a request in common with one, in order, where somebody
    knows them better than by the operations that they name.
    """

    def __init__(self, rules: Sequence[Rule], whole: RuleSet, regions: Regions, known: Near | None = None) -> None:
        self.rules = tuple(rules)
        self.whole = whole
        self.regions = regions
        self._find = known or self._by_operation
        self._own = frozenset(map(id, rules))
        self._near: dict[int, Slice] = {}
        self.gaps: Mapping[Layer, tuple[Region, ...]] = {
            layer: regions.without(found.jurisdiction for found in whole.sets if found.layer is layer)
            for layer in Layer
        }

    def has(self, rule: Rule) -> bool:
        return id(rule) in self._own

    def but(self, other: Side) -> list[Rule]:
        """The rules that the other version does not have."""
        return [rule for rule in self.rules if id(rule) not in other._own]

    def near(self, rule: Rule) -> Slice:
        """The rules that may have a say on the requests that this one has."""
        found = self._near.get(id(rule))
        if found is None:
            found = self._near[id(rule)] = Slice(self, tuple(self._find(rule)))
        return found

    def _by_operation(self, rule: Rule) -> Iterator[Rule]:
        numbers = {number for pattern in rule.policy.operations for number in self._named(pattern)}
        return (self.rules[number] for number in sorted(numbers) if may_meet(rule, self.rules[number]))

    def _named(self, pattern: OperationPattern) -> Iterator[int]:
        """The places of rules that name the pattern's verb and type, or part of what it leaves open."""
        for (verb, type), numbers in self._index.items():
            verbs, types = {verb, pattern.verb}, {type, pattern.type}
            if all("*" in names or len(names) == 1 for names in (verbs, types)):
                yield from numbers

    @cached_property
    def _index(self) -> Mapping[tuple[str, str], list[int]]:
        found: dict[tuple[str, str], list[int]] = {}
        for number, rule in enumerate(self.rules):
            for pattern in rule.policy.operations:
                found.setdefault((pattern.verb, pattern.type), []).append(number)
        return found

    @cached_property
    def everything(self) -> Slice:
        return Slice(self, self.rules)


class Slice:
    """A part of one version: all rules that matter for some requests."""

    def __init__(self, side: Side, rules: tuple[Rule, ...]) -> None:
        self.side = side
        self.rules = rules

    def about(self, start: Zone) -> Slice:
        """Only the rules that have a say somewhere in the zone."""
        try:
            return self.meeting([box for region in start[0] for box in region.boxes])
        except Undecided:
            return self

    def meeting(self, boxes: Sequence[Box]) -> Slice:
        """Only the rules that have a say somewhere in these boxes."""
        of = self.side.regions.of
        return Slice(self.side, tuple(rule for rule in self.rules if any(of(rule).meets(box) for box in boxes)))

    # -- granting --

    @cached_property
    def permits(self) -> tuple[Rule, ...]:
        return tuple(rule for rule in self.rules if rule.policy.kind is Kind.PERMIT)

    def covers(self, layer: Layer) -> tuple[Region, ...]:
        return self._covers[layer]

    @cached_property
    def _covers(self) -> Mapping[Layer, tuple[Region, ...]]:
        of = self.side.regions.of
        named = [rule for rule in self.rules if rule.policy.kind in COVERS]
        return {
            layer: (*self.side.gaps[layer], *(of(rule) for rule in named if rule.layer is layer)) for layer in Layer
        }

    def grant(self, permit: Rule) -> Zone:
        above = (self.covers(layer) for layer in Layer if layer < permit.layer)
        return ((self.side.regions.of(permit),), *above)

    @cached_property
    def grants(self) -> tuple[Zone, ...]:
        return tuple(self.grant(permit) for permit in self.permits)

    # -- standing in the way --

    @cached_property
    def stoppers(self) -> tuple[Zone, ...]:
        of = self.side.regions.of
        return tuple(zone(of(rule)) for rule in self.rules if rule.policy.kind in STOPPERS)

    @cached_property
    def conflicts(self) -> tuple[Zone, ...]:
        """Where two obligations are owed that cannot be joined."""
        return tuple(
            (*one.zone, *other.zone)
            for at, one in enumerate(self.owners)
            for other in self.owners[: at + 1]
            if (one.exact or other.exact) and one.clashes(other)
        )

    # -- owing --

    @cached_property
    def owners(self) -> tuple[Owner, ...]:
        return tuple(self._owners())

    def _owners(self) -> Iterator[Owner]:
        for rule in self.rules:
            obligations = rule.policy.obligations
            if obligations and rule.policy.kind is Kind.PERMIT:
                yield Owner(rule, obligations, self.grant(rule))
            elif obligations and rule.policy.kind is Kind.OBLIGE:
                yield Owner(rule, obligations, zone(self.side.regions.of(rule)))

    def owing(self, duty: Duty) -> tuple[Zone, ...]:
        """Where the duty is demanded."""
        return tuple(owner.zone for owner in self.owners if any(meets(o, duty) for o in owner.obligations))

    # -- what hangs on one rule --

    def using(self, rule: Rule) -> Iterator[Zone]:
        """Grants by this permit, and those that this permit or delegate covers."""
        if rule.policy.kind is Kind.PERMIT:
            yield self.grant(rule)
        if rule.policy.kind in COVERS:
            yield from self.through(rule.layer, self.side.regions.of(rule))

    def through(self, layer: Layer, cover: Region) -> Iterator[Zone]:
        """Grants of lower layers, as far as this region covers them in the layer."""
        yield from (_only_by(self.grant(permit), 1 + layer, cover) for permit in self.permits if permit.layer > layer)

    def owners_by(self, rule: Rule) -> Iterator[Owner]:
        """What is owed because of this rule."""
        yield from (owner for owner in self.owners if owner.rule is rule)
        if rule.policy.kind in COVERS:
            yield from self.owners_through(rule.layer, self.side.regions.of(rule))

    def owners_through(self, layer: Layer, cover: Region) -> Iterator[Owner]:
        for owner in self.owners:
            if owner.rule.policy.kind is Kind.PERMIT and owner.rule.layer > layer:
                yield replace(owner, zone=_only_by(owner.zone, 1 + layer, cover))

    def conflicting(self, region: Region) -> Iterator[Zone]:
        """Conflicts, as far as this region has a part in them."""
        for conflict in self.conflicts:
            for at, group in enumerate(conflict):
                if any(each is region for each in group):
                    yield _only_by(conflict, at, region)


def _only_by(found: Zone, at: int, region: Region) -> Zone:
    """The zone with this region in the place of one group."""
    return (*found[:at], (region,), *found[at + 1 :])
