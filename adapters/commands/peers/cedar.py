"""Cedar by cedarpy: a pre-parsed PolicySet, and entities that are parsed beforehand for each request.

The operation is Cedar's action, so that its scope alone tells most policies
apart; what the subject and the resource are, are attributes of two entities.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from adapters.commands.peers.player import Told, library
from adapters.commands.peers.workload import Ask, Atom, Rule

__all__ = ["Cedar"]

WHERE = {"subject": "principal", "resource": "resource", "context": "context"}


class Cedar:
    def __init__(self, rules: Sequence[Rule]) -> None:
        self.cedarpy = library("cedarpy")
        self.rules = rules
        self.policies = self.cedarpy.PolicySet.from_str("\n".join(map(_policy, rules)))

    def prepared(self, ask: Ask) -> tuple[dict[str, Any], Any]:
        subject, resource = ask.under("subject"), ask.under("resource")
        entities = [_entity("Person", subject["id"], subject), _entity("Thing", "r", resource)]
        asked = {
            "principal": f'Person::"{subject["id"]}"',
            "action": _action(ask.action, ask.type),
            "resource": 'Thing::"r"',
            "context": json.dumps(ask.under("context")),
        }
        return asked, self.cedarpy.Entities.from_json_str(json.dumps(entities))

    def unknown(self, ask: Ask) -> tuple[dict[str, Any], Any]:
        """The same while the resource is unknown; its type is known to Cedar by the action."""
        subject = ask.under("subject")
        asked, _ = self.prepared(ask)
        entities = self.cedarpy.Entities.from_json_str(json.dumps([_entity("Person", subject["id"], subject)]))
        return {**asked, "resource": None}, entities

    def decide(self, asked: tuple[dict[str, Any], Any]) -> Any:
        return self.cedarpy.is_authorized(asked[0], self.policies, asked[1])

    def partial(self, asked: tuple[dict[str, Any], Any]) -> Any:
        return self.cedarpy.is_authorized_partial(asked[0], self.policies, asked[1])

    def settled(self, answer: Any) -> bool | None:
        """What partial evaluation decided; None where that depends on the resource."""
        known = {self.cedarpy.Decision.Allow: True, self.cedarpy.Decision.Deny: False}
        return known.get(answer.decision)

    def told(self, answer: Any) -> Told:
        """Cedar numbers policies in the order of the text, and names those that decide: of a denial the denies."""
        assert answer.decision is not self.cedarpy.Decision.NoDecision, answer.diagnostics.errors
        found = (re.fullmatch(r"policy(\d+)", reason) for reason in answer.diagnostics.reasons)
        return Told(answer.allowed, frozenset(self.rules[int(one[1])].id for one in found if one))


def _policy(rule: Rule) -> str:
    actions = [_action(*operation) for operation in rule.operations]
    scope = f"action == {actions[0]}" if len(actions) == 1 else f"action in [{', '.join(actions)}]"
    effect = "permit" if rule.permits else "forbid"
    return f"{effect} (principal, {scope}, resource) when {{ {' && '.join(map(_text, rule.atoms))} }};"


def _action(action: str, type: str) -> str:
    return f'Action::"{action}:{type}"'


def _entity(type: str, id: str, attributes: dict[str, Any]) -> dict[str, Any]:
    return {"uid": {"type": type, "id": id}, "attrs": attributes, "parents": []}


def _text(atom: Atom) -> str:
    left = _path(atom.attribute)
    match atom.op:
        case "same":
            return f"{left} == {_path(atom.value)}"
        case "in":
            return f"{json.dumps(atom.value)}.contains({left})"
        case "between":
            return f"{left} >= {atom.value[0]} && {left} <= {atom.value[1]}"
        case op:
            return f"{left} {op} {json.dumps(atom.value)}"


def _path(path: str) -> str:
    dimension, _, name = path.partition(".")
    return f"{WHERE[dimension]}.{name}"
