"""SPIR policies as Cedar text, decided by cedarpy.

The straightforward translation: permit and deny become `permit` and `forbid`,
a require `forbid ... unless`. An attribute is read from a record in Cedar's
context; reading one that is absent is an error, and Cedar skips the policy.
"""

from __future__ import annotations

import json
import re
from typing import Any

from spir.engine.ruleset import RuleSet
from spir.model.condition import And, Attribute, Call, Compare, Condition, Conditional, Has, Literal, Not, Or
from spir.model.policy import Kind, Policy
from spir.model.request import Request
from tests.core.oracles.peer import Opinion, document, library, pattern

__all__ = ["Cedar", "policy_text"]

EFFECTS = {Kind.PERMIT: ("permit", "when"), Kind.DENY: ("forbid", "when"), Kind.REQUIRE: ("forbid", "unless")}


class Cedar:
    """One policy set, parsed once."""

    def __init__(self, rules: RuleSet) -> None:
        self.cedarpy = library("cedarpy", "cedarpy")
        self.names = [rule.policy.id for rule in rules.every]
        self.kinds = {rule.policy.id: rule.policy.kind for rule in rules.every}
        self.policies = self.cedarpy.PolicySet.from_str("\n".join(policy_text(rule.policy) for rule in rules.every))

    def opinions(self, requests: list[Request]) -> list[Opinion]:
        asked = [_asked(request) for request in requests]
        return [self._opinion(answer) for answer in self.cedarpy.is_authorized_batch(asked, self.policies, [])]

    def _opinion(self, answer: Any) -> Opinion:
        assert answer.decision is not self.cedarpy.Decision.NoDecision, answer.diagnostics.errors
        permitted = answer.decision is self.cedarpy.Decision.Allow
        reasons = frozenset(self._name(text) for text in answer.diagnostics.reasons)
        skipped = frozenset(self._name(text) for text in answer.diagnostics.errors)
        if permitted:
            return Opinion(True, reasons, frozenset(), skipped)
        return Opinion(False, None if reasons else frozenset(), reasons, skipped)

    def _name(self, text: str) -> str:
        """Cedar numbers policies in the order of the text."""
        found = re.search(r"policy(\d+)", text)
        assert found, text
        return self.names[int(found[1])]


def policy_text(policy: Policy) -> str:
    effect, word = EFFECTS[policy.kind]
    about = pattern(policy)
    guards = [f"context.action.name == {_constant(about.verb)}"] if about.verb != "*" else []
    if about.category != "*":
        guards.append(f"context.resource has category && context.resource.category == {_constant(about.category)}")
    guard = " && ".join(guards) or "true"
    return f"{effect} (principal, action, resource) when {{ {guard} }} {word} {{ {_text(policy.when)} }};"


def _asked(request: Request) -> dict[str, Any]:
    return {
        "principal": 'Person::"anyone"',
        "action": 'Action::"any"',
        "resource": 'Thing::"any"',
        "context": document(request),
    }


def _text(node: Condition) -> str:
    match node:
        case Literal(value):
            return _constant(value)
        case Attribute(path):
            return f"context.{path}"
        case And(items):
            return f"({' && '.join(map(_text, items))})"
        case Or(items):
            return f"({' || '.join(map(_text, items))})"
        case Not(item):
            return f"!({_text(item)})"
        case Has(Attribute(path)):
            dimension, _, name = path.partition(".")
            return f"(context.{dimension} has {name})"
        case Conditional(test, yes, no):
            return f"(if {_text(test)} then {_text(yes)} else {_text(no)})"
        case Compare("in", left, right):
            return f"{_text(right)}.contains({_text(left)})"
        case Compare(op, left, right):
            return f"({_text(left)} {op} {_text(right)})"
        case Call("startsWith", (operand, Literal(str(prefix)))):
            return f"({_text(operand)} like {_constant(f'{prefix}*')})"
    raise AssertionError(node)


def _constant(value: Any) -> str:
    return json.dumps(value)
