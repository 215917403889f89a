"""SPIR policies as Rego, decided by regorus.

Every part of a condition becomes a rule of its own; what is absent makes a
rule undefined, and an undefined deny does not deny. Negations are pushed to
the atoms first and read the attribute they negate, so that a rule holds
exactly where the condition is surely true: as an author would write it who
knows that `not` of something undefined is true in Rego.
"""

from __future__ import annotations

import json
from typing import Any

from spir.engine.ruleset import RuleSet
from spir.model.condition import And, Attribute, Call, Compare, Condition, Conditional, Has, Literal, Not, Or
from spir.model.policy import Kind, Policy
from spir.model.request import Request
from tests.core.oracles.peer import Opinion, document, library, pattern

__all__ = ["Rego", "module_text"]

OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", "<=": ">", ">": "<=", ">=": "<"}


class Rego:
    """One policy set, parsed once."""

    def __init__(self, rules: RuleSet) -> None:
        self.engine = library("regorus", "gordon-to-regorus").Engine()
        self.engine.add_policy("random.rego", module_text(rules))

    def opinions(self, requests: list[Request]) -> list[Opinion]:
        return [self._opinion(request) for request in requests]

    def _opinion(self, request: Request) -> Opinion:
        self.engine.set_input(document(request))
        permits = frozenset(self.engine.eval_rule("data.spir.permits"))
        forbids = frozenset(self.engine.eval_rule("data.spir.forbids"))
        return Opinion(bool(permits) and not forbids, permits, forbids)


def module_text(rules: RuleSet) -> str:
    text = _Text()
    for rule in rules.every:
        text.policy(rule.policy)
    return "\n".join(["package spir", "import rego.v1", *text.lines, ""])


class _Text:
    """A module in the making: the rules so far."""

    def __init__(self) -> None:
        self.lines: list[str] = ["permits contains id if { id := none[_] }", "forbids contains id if { id := none[_] }"]
        self.lines.append("none := []")
        self.count = 0

    def policy(self, policy: Policy) -> None:
        about = pattern(policy)
        body = [f"input.action.name == {_constant(about.verb)}"] if about.verb != "*" else []
        body += [f"input.resource.category == {_constant(about.category)}"] if about.category != "*" else []
        body.append(self.rule(policy.when, policy.kind is not Kind.REQUIRE))
        name = "permits" if policy.kind is Kind.PERMIT else "forbids"
        self.lines.append(f"{name} contains {_constant(policy.id)} if {{ {'; '.join(body)} }}")

    def rule(self, node: Condition, positive: bool) -> str:
        """The name of a rule that holds where the node surely has this truth value."""
        bodies = self.bodies(node, positive)
        self.count += 1
        name = f"part{self.count}"
        self.lines += [f"{name} if {{ {body} }}" for body in bodies]
        return name

    def bodies(self, node: Condition, positive: bool) -> list[str]:
        match node:
            case Not(item):
                return self.bodies(item, not positive)
            case And(items) | Or(items):
                names = [self.rule(item, positive) for item in items]
                return ["; ".join(names)] if isinstance(node, And) == positive else names
            case Conditional(test, yes, no):
                then, other = self.rule(yes, positive), self.rule(no, positive)
                when, unless = self.rule(test, True), self.rule(test, False)
                return [f"{when}; {then}", f"{unless}; {other}", f"{then}; {other}"]
            case Has(Attribute(path)):
                return [f"value := input.{path}"] if positive else [f"not {self.rule(node, True)}"]
            case _:
                return [_atom(node, positive)]


def _atom(node: Condition, positive: bool) -> str:
    match node:
        case Attribute(path):
            return f"input.{path} == {_constant(positive)}"
        case Compare("in", left, right):
            return _read("one in many", positive, one=left, many=right)
        case Compare(op, left, right):
            return f"{_operand(left)} {op if positive else OPPOSITE[op]} {_operand(right)}"
        case Call("startsWith", (operand, prefix)):
            return _read("startswith(text, prefix)", positive, text=operand, prefix=prefix)
    raise AssertionError(node)


def _read(test: str, positive: bool, **operands: Condition) -> str:
    """The test on operands that are read first: undefined if one of them is."""
    read = [f"{name} := {_operand(node)}" for name, node in operands.items()]
    return "; ".join([*read, test if positive else f"not {test}"])


def _operand(node: Condition) -> str:
    match node:
        case Literal(value):
            return _constant(value)
        case Attribute(path):
            return f"input.{path}"
    raise AssertionError(node)


def _constant(value: Any) -> str:
    return json.dumps(value)
