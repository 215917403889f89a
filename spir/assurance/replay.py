"""A request decided by both versions, by both engines each: what a difference is shown by.

Only the rules about the request's own operation are compiled: the others have no
part in the decision, and a change of a thousand policies is shown in no time.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import datetime

from spir.assurance.change import Direction, Version
from spir.assurance.duties import demanded
from spir.engine import reference
from spir.engine.attributes import NoFacts
from spir.engine.compiler import Compiled, compile_rules
from spir.engine.ruleset import RuleSet
from spir.model.decision import Decision
from spir.model.policy import Policy
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


@dataclass(slots=True)
class _Engine:
    """Both engines of one version. Compiled rules are kept by operation."""

    rules: RuleSet
    compiled: dict[tuple[str, str], Compiled] = field(default_factory=dict)

    def decide(self, request: Request, at: datetime) -> Decision | None:
        """None where the engines disagree: then nothing is shown by it."""
        operation = request.action.name, request.resource.type
        if operation not in self.compiled:
            self.compiled[operation] = compile_rules(_about(self.rules, *operation))
        fast = self.compiled[operation]
        decision = fast.decide(request, NoFacts(), at)
        return decision if decision == reference.decide(fast.rules, request, NoFacts(), at) else None


class Replay:
    """Decides again what is claimed to differ."""

    def __init__(self, old: Version, new: Version) -> None:
        self._old, self._new = _Engine(old.rules), _Engine(new.rules)

    def outcome(self, request: Request, at: datetime) -> Outcome | None:
        before, after = self._old.decide(request, at), self._new.decide(request, at)
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
