"""The rules in force: all policy sets, arranged so that a request meets only those that may apply.

Immutable. A change of policy is a new rule set; decisions name the one they
were made by (`fingerprint`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from itertools import chain
from zoneinfo import ZoneInfo

from spir.model.policy import Layer, OperationPattern, Policy, PolicySet, lies_under

__all__ = ["Rule", "RuleSet", "Site"]


UTC = ZoneInfo("UTC")


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


@dataclass(frozen=True)
class RuleSet:
    """Policies of all documents, by (verb, type). Build with `RuleSet.of`."""

    sets: tuple[PolicySet, ...]
    fingerprint: str
    site: Site = Site()
    _buckets: dict[tuple[str, str], tuple[Rule, ...]] = field(default_factory=dict, compare=False)

    @classmethod
    def of(cls, sets: Iterable[PolicySet], fingerprint: str = "", site: Site = Site()) -> RuleSet:
        return cls(tuple(sets), fingerprint, site)

    def rules(self, verb: str, kind: str) -> tuple[Rule, ...]:
        """Rules whose operations name `verb:kind`, in the order of the documents."""
        bucket = self._buckets.get((verb, kind))
        if bucket is None:
            bucket = tuple(rule for rule in self._all() if rule.category_of(verb, kind) is not None)
            # Bounded: verbs and types come from requests, and a stranger may invent them.
            if len(self._buckets) < 4096:
                self._buckets[verb, kind] = bucket
        return bucket

    def layers(self, organization: str) -> tuple[Layer, ...]:
        """Layers that have any document for an organisation, highest first."""
        return tuple(sorted({s.layer for s in self.sets if lies_under(organization, s.jurisdiction)}))

    def policy(self, id: str) -> Policy | None:
        return next((rule.policy for rule in self._all() if rule.policy.id == id), None)

    def by_layer(self) -> Mapping[Layer, tuple[PolicySet, ...]]:
        return {layer: tuple(s for s in self.sets if s.layer is layer) for layer in Layer}

    def _all(self) -> Iterable[Rule]:
        return chain.from_iterable((Rule(p, s.layer, s.jurisdiction) for p in s.policies) for s in self.sets)


def _covers(pattern: OperationPattern, verb: str, kind: str) -> bool:
    return pattern.verb in ("*", verb) and pattern.type in ("*", kind)
