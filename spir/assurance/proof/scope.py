"""What a rule is about: operations, organisations and time; and with its condition, the requests it speaks of.

Every organisation under the rule's jurisdiction counts, and only requests that
belong to one: others are refused whatever the rules say.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable
from typing import TypeVar

from spir.assurance.proof.domain import PRESENT, Line, interval, micros, one_of, under
from spir.assurance.proof.terms import ORGANIZATION, Statement, Variable, every, some
from spir.assurance.proof.truth import conjuncts, surely, surely_not
from spir.assurance.proof.world import NOW, World, negation
from spir.engine.ruleset import Rule
from spir.model.policy import ALWAYS, Kind, OnMissing, OperationPattern, Validity

__all__ = ["CATEGORY", "TYPE", "VERB", "reach", "region", "stopped"]

VERB = Variable("action.name")
TYPE = Variable("resource.type")
CATEGORY = Variable("resource.category")

_Rest = TypeVar("_Rest", bound=Hashable)
_Key = TypeVar("_Key", bound=Hashable)


def reach(rule: Rule, world: World) -> Statement:
    """The requests that the rule applies to, whatever its condition says of them."""
    operations = _once(rule.policy.operations, _operations, world)
    organization = _once(rule.jurisdiction, _organization, world)
    if rule.policy.valid == ALWAYS:
        return every((operations, organization))
    return every((operations, organization, _once(rule.policy.valid, _in_force, world)))


def _once(key: _Key, made: Callable[[_Key, World], Statement], world: World) -> Statement:
    """Many rules are about the same operations, and of one organisation."""
    found: Statement | None = world.readings.get((made, key))
    if found is None:
        found = world.readings[made, key] = made(key, world)
    return found


def _organization(jurisdiction: str, world: World) -> Statement:
    return world.test(ORGANIZATION, under(jurisdiction))


def region(rule: Rule, world: World) -> Statement:
    """The requests that it applies to and for which its condition is true."""
    return every((reach(rule, world), *conjuncts(rule.policy.when, world)))


def stopped(rule: Rule, world: World) -> Statement:
    """The requests that a deny or a require stands in the way of, what it cannot decide included where that denies."""
    condition, strict = rule.policy.when, rule.policy.on_missing is OnMissing.DENY
    if rule.policy.kind is Kind.DENY:
        stops = negation(surely_not(condition, world), world) if strict else surely(condition, world)
    else:
        stops = negation(surely(condition, world), world) if strict else surely_not(condition, world)
    return every((reach(rule, world), stops))


def _in_force(valid: Validity, world: World) -> Statement:
    start = None if valid.start is None else micros(valid.start)
    end = None if valid.end is None else micros(valid.end)
    return world.test(NOW, interval(Line.MOMENT, start, end, below=True) & PRESENT)


# -- operations ------------------------------------------------------------------------------


def _operations(patterns: Iterable[OperationPattern], world: World) -> Statement:
    """As few alternatives as the patterns can be joined to: two that differ in one place are one."""
    verbs = _joined(((p.type, p.category), p.verb) for p in patterns)
    types = _joined(((names, category), type) for (type, category), names in verbs.items())
    categories = _joined(((names, found), category) for (names, category), found in types.items())
    return some(
        every((_named(VERB, names, world), _named(TYPE, found, world), _named(CATEGORY, last, world)))
        for (names, found), last in categories.items()
    )


def _joined(pairs: Iterable[tuple[_Rest, str]]) -> dict[_Rest, frozenset[str]]:
    found: dict[_Rest, set[str]] = {}
    for rest, name in pairs:
        found.setdefault(rest, set()).add(name)
    return {rest: frozenset("*") if "*" in names else frozenset(names) for rest, names in found.items()}


def _named(variable: Variable, names: frozenset[str], world: World) -> Statement:
    return every(()) if "*" in names else world.test(variable, one_of(names))
