"""The meaning of policies once more, written straight from the document and sharing no code with the engine
but the evaluation of single conditions: the oracle of the property tests.
"""

from __future__ import annotations

from collections.abc import Callable

from spir.engine.attributes import Attributes
from spir.engine.evaluate import Scope, evaluate
from spir.engine.ruleset import RuleSet
from spir.model.facts import Snapshot
from spir.model.obligation import Incomparable, Obligation, joined
from spir.model.policy import Kind, Layer, OnMissing, Policy
from spir.model.request import Request
from tests.given import NOON

Truth = Callable[[Policy], object]


def expected(rules: RuleSet, request: Request, facts: Snapshot) -> tuple[bool, tuple[Obligation, ...]]:
    """(permitted, joined obligations) of a request with nothing deferred."""
    lookup = Attributes(request, facts, NOON)
    scope = Scope(NOON, rules.site.timezone)
    sets = [
        s
        for s in rules.sets
        if f"{rules.site.organization}/".startswith(f"{s.jurisdiction}/" if s.jurisdiction else "")
    ]
    by_layer: dict[Layer, list[Policy]] = {}
    for found in sets:
        by_layer.setdefault(found.layer, []).extend(p for p in found.policies if about(p, request))

    def truth(policy: Policy) -> object:
        return evaluate(policy.when, lookup, scope)

    everything = [policy for policies in by_layer.values() for policy in policies]
    if any(stands_in_the_way(policy, truth(policy)) for policy in everything):
        return False, ()
    winners = [p for layer, policies in by_layer.items() for p in policies if wins(p, layer, by_layer, truth)]
    if not winners:
        return False, ()
    duties = [o for p in winners for o in p.obligations]
    duties += [o for p in everything if p.kind is Kind.OBLIGE and binds(p, truth(p)) for o in p.obligations]
    try:
        return True, joined(duties)
    except Incomparable:
        return False, ()


def about(policy: Policy, request: Request) -> bool:
    category = request.resource.properties.get("category")
    return policy.valid.holds(NOON) and any(p.category in ("*", category) for p in policy.operations)


def stands_in_the_way(policy: Policy, value: object) -> bool:
    lenient = policy.on_missing is OnMissing.IGNORE
    if policy.kind is Kind.DENY:
        return value is True or (value is not False and not lenient)
    if policy.kind is Kind.REQUIRE:
        return value is False or (value is not True and not lenient)
    return False


def wins(policy: Policy, layer: Layer, by_layer: dict[Layer, list[Policy]], truth: Truth) -> bool:
    if policy.kind is not Kind.PERMIT or truth(policy) is not True:
        return False
    above = (policies for upper, policies in by_layer.items() if upper < layer)
    return all(any(p.kind in (Kind.PERMIT, Kind.DELEGATE) and truth(p) is True for p in policies) for policies in above)


def binds(policy: Policy, value: object) -> bool:
    return value is True or (value is not False and policy.on_missing is OnMissing.DENY)
