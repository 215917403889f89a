"""The rules in force: all policy sets, arranged so that a request meets only those that may apply.

Immutable. A change of policy is a new rule set; decisions name the one they
were made by (`fingerprint`).
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import TypeAlias
from zoneinfo import ZoneInfo

from spir.engine.evaluate import free_attributes
from spir.model.policy import Layer, OperationPattern, Policy, PolicySet, lies_under

__all__ = ["Rule", "RuleSet", "Site"]


UTC = ZoneInfo("UTC")

# So many policies are arranged in one step: about a millisecond.
STEP = 400


@dataclass(frozen=True, slots=True)
class Site:
    """What the place itself decides: the organisation of requests that name none, and its clock's zone."""

    organization: str = ""
    timezone: ZoneInfo = UTC


@dataclass(frozen=True, slots=True)
class Rule:
    """A policy where it stands: its layer and the jurisdiction of its set."""

    policy: Policy
    layer: Layer
    jurisdiction: str

    def category_of(self, verb: str, kind: str) -> frozenset[str] | None:
        """The categories of `verb:kind` it is about: None for not at all, {"*"} for all of them."""
        found = {p.category for p in self.policy.operations if _covers(p, verb, kind)}
        if not found:
            return None
        return frozenset(("*",)) if "*" in found else frozenset(found)


# All rules, and by (verb, type) as written their places among them.
Arrangement: TypeAlias = tuple[tuple[Rule, ...], Mapping[tuple[str, str], tuple[int, ...]]]


@dataclass(frozen=True)
class RuleSet:
    """Policies of all documents, by (verb, type). Build with `RuleSet.of`."""

    sets: tuple[PolicySet, ...]
    fingerprint: str
    site: Site = Site()
    _buckets: dict[tuple[str, str], tuple[Rule, ...]] = field(default_factory=dict, compare=False)
    _asked: dict[tuple[str, str], frozenset[str]] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, sets: Iterable[PolicySet], fingerprint: str = "", site: Site = Site()) -> RuleSet:
        return cls(tuple(sets), fingerprint, site)

    def rules(self, verb: str, kind: str) -> tuple[Rule, ...]:
        """Rules whose operations name `verb:kind`, in the order of the documents."""
        pair = self.bucket_of(verb, kind)
        bucket = self._buckets.get(pair)
        if bucket is None:
            bucket = self._buckets[pair] = self._about(*pair)
        return bucket

    def asked(self, verb: str, kind: str) -> frozenset[str]:
        """The paths of all attributes that the conditions of these rules read."""
        pair = self.bucket_of(verb, kind)
        if pair not in self._asked:
            conditions = (rule.policy.when for rule in self.rules(*pair))
            self._asked[pair] = frozenset().union(*map(free_attributes, conditions))
        return self._asked[pair]

    def bucket_of(self, verb: str, kind: str) -> tuple[str, str]:
        """`verb` and `kind`, each `*` if no policy names it: all such operations have the same rules."""
        verbs, kinds = self.named
        return (verb if verb in verbs else "*", kind if kind in kinds else "*")

    @cached_property
    def named(self) -> tuple[frozenset[str], frozenset[str]]:
        """The verbs and the types that policies name. Verbs and types of requests may be a stranger's invention."""
        return frozenset(verb for verb, _ in self._index), frozenset(kind for _, kind in self._index)

    @cached_property
    def every(self) -> tuple[Rule, ...]:
        """All rules, in the order of the documents."""
        return self._arrangement[0]

    @cached_property
    def _index(self) -> Mapping[tuple[str, str], tuple[int, ...]]:
        """(verb, type) as written -> places in `every`."""
        return self._arrangement[1]

    @cached_property
    def _arrangement(self) -> Arrangement:
        steps = self.arranged()
        while True:
            try:
                next(steps)
            except StopIteration as end:
                found: Arrangement = end.value
                return found

    def arranged(self) -> Generator[None, None, Arrangement]:
        """Arrange the rules step by step, for those who cannot wait until it is done at once."""
        every: list[Rule] = []
        index: dict[tuple[str, str], list[int]] = {}
        for found in self.sets:
            for policy in found.policies:
                for pair in {(pattern.verb, pattern.type): None for pattern in policy.operations}:
                    index.setdefault(pair, []).append(len(every))
                every.append(Rule(policy, found.layer, found.jurisdiction))
                if len(every) % STEP == 0:
                    yield
        arrangement = (tuple(every), {pair: tuple(numbers) for pair, numbers in index.items()})
        vars(self).setdefault("_arrangement", arrangement)
        return self._arrangement

    def _about(self, verb: str, kind: str) -> tuple[Rule, ...]:
        pairs = {(verb, kind), (verb, "*"), ("*", kind), ("*", "*")}
        numbers = {number for pair in pairs for number in self._index.get(pair, ())}
        return tuple(self.every[number] for number in sorted(numbers))

    def layers(self, organization: str) -> tuple[Layer, ...]:
        """Layers that have any document for an organisation, highest first."""
        return tuple(sorted({s.layer for s in self.sets if lies_under(organization, s.jurisdiction)}))

    def policy(self, id: str) -> Policy | None:
        return next((rule.policy for rule in self.every if rule.policy.id == id), None)

    def by_layer(self) -> Mapping[Layer, tuple[PolicySet, ...]]:
        return {layer: tuple(s for s in self.sets if s.layer is layer) for layer in Layer}


def _covers(pattern: OperationPattern, verb: str, kind: str) -> bool:
    return pattern.verb in ("*", verb) and pattern.type in ("*", kind)
