"""A request decided by both versions, by both engines each: what a difference is shown by.

The compiled rules are asked as they are, or where nobody has compiled them, those
about the request's own operation. The reference interpreter is asked about the
rules that have a say on the request: the others have no part in what it says of
the effect, the reasons and the obligations. Should reasoning have left out a rule
that has one, the two engines do not agree, and nothing is shown.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from operator import attrgetter

from spir.assurance.change import Direction, Version
from spir.assurance.duties import demanded
from spir.engine import reference
from spir.engine.attributes import NoFacts
from spir.engine.compiler import compile_rules
from spir.engine.ruleset import Rule, RuleSet
from spir.engine.ruling import Decide
from spir.model.decision import Decision
from spir.model.policy import Policy, PolicySet
from spir.model.request import Request

__all__ = ["Outcome", "Replay"]


@dataclass(frozen=True, slots=True)
class Outcome:
    request: Request
    at: datetime
    before: Decision
    after: Decision

    @property
    def direction(self) -> Direction | None:
        """How the versions differ; None if they do not. Names of obligations are no difference."""
        if self.before.permitted is not self.after.permitted:
            return Direction.PERMIT if self.after.permitted else Direction.DENY
        if self.after.permitted and demanded(self.before.obligations) != demanded(self.after.obligations):
            return Direction.OBLIGE
        return None


class _Engine:
    """Both engines of one version. Compiled rules are kept by operation."""

    def __init__(self, version: Version) -> None:
        self._version = version
        self._compiled: dict[tuple[str, str], Decide] = {}
        # where no rule of a set has a say, it counts that its layer has a document
        places = {(found.layer, found.jurisdiction): None for found in version.rules.sets}
        self._silent = tuple(PolicySet("", *place, "", ()) for place in places)

    def decide(self, request: Request, at: datetime, near: Sequence[Rule]) -> Decision | None:
        """None where the engines disagree: then nothing is shown by it."""
        fast = self._fast(request)(request, NoFacts(), at)
        slow = reference.decide(self._part(near), request, NoFacts(), at)
        return fast if _said(fast) == _said(slow) else None

    def _fast(self, request: Request) -> Decide:
        if self._version.decide is not None:
            return self._version.decide
        operation = request.action.name, request.resource.type
        if operation not in self._compiled:
            self._compiled[operation] = compile_rules(_about(self._version.rules, *operation)).decide
        return self._compiled[operation]

    def _part(self, near: Sequence[Rule]) -> RuleSet:
        whole = self._version.rules
        sets = (PolicySet("", rule.layer, rule.jurisdiction, "", (rule.policy,)) for rule in near)
        return RuleSet.of((*self._silent, *sets), whole.fingerprint, whole.site)


_said = attrgetter("effect", "reasons", "obligations", "tied", "residual")


class Replay:
    """Decides again what is claimed to differ."""

    def __init__(self, old: Version, new: Version) -> None:
        self._old, self._new = _Engine(old), _Engine(new)

    def outcome(self, request: Request, at: datetime, old: Sequence[Rule], new: Sequence[Rule]) -> Outcome | None:
        """`old` and `new` are the rules of each version that may have a say on the request."""
        before, after = self._old.decide(request, at, old), self._new.decide(request, at, new)
        return None if before is None or after is None else Outcome(request, at, before, after)


def _about(rules: RuleSet, verb: str, kind: str) -> RuleSet:
    """The same documents with what they say about this operation, and no more."""
    sets = (
        replace(found, policies=tuple(one for policy in found.policies if (one := _part(policy, verb, kind))))
        for found in rules.sets
    )
    return RuleSet.of(sets, rules.fingerprint, rules.site)


def _part(policy: Policy, verb: str, kind: str) -> Policy | None:
    named = tuple(p for p in policy.operations if p.verb in ("*", verb) and p.type in ("*", kind))
    if len(named) == len(policy.operations):
        return policy
    return replace(policy, operations=named) if named else None
