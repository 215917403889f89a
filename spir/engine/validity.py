"""How long a decision stays right by itself: until a policy, a fact or a time of day changes it.

Only what the applicable rules can look at counts; events that nobody can
foresee (a message that changes facts, a new bundle) end a decision's life by
the revision and the fingerprint it carries.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime

from spir.engine.attributes import Attributes, organization_of
from spir.engine.evaluate import Scope, evaluate, free_attributes
from spir.engine.ruleset import RuleSet
from spir.language.timing import next_change
from spir.model.policy import lies_under
from spir.model.request import Request

__all__ = ["valid_until"]


def valid_until(rules: RuleSet, request: Request, lookup: Attributes, scope: Scope) -> datetime | None:
    """The first moment after `scope.now` at which the decision may change by itself; None for never."""
    return min(_edges(rules, request, lookup, scope), default=None)


def _edges(rules: RuleSet, request: Request, lookup: Attributes, scope: Scope) -> Iterator[datetime]:
    organization = organization_of(request, rules.site.organization)
    for rule in rules.rules(request.action.name, request.resource.type):
        if not lies_under(organization, rule.jurisdiction):
            continue
        condition = rule.policy.when
        by_clock = next_change(condition, scope.now, scope.timezone, lambda node: evaluate(node, lookup, scope))
        moments = [rule.policy.valid.next_change(scope.now), by_clock]
        moments += [lookup.edge(path) for path in sorted(free_attributes(condition))]
        yield from (moment for moment in moments if moment is not None)
