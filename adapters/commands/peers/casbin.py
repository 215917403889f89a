"""Casbin by pycasbin: attribute-based rules as its manual has them, `eval` of the condition that a row holds.

One row for each policy, with its operations in one text: half the rows of the
other way, and faster. `FastEnforcer` looks rows up by action and type, and
has one for each operation.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from adapters.commands.peers.player import Told, library
from adapters.commands.peers.workload import Ask, Atom, Rule

__all__ = ["Casbin", "FastCasbin"]

MODEL = """
[request_definition]
r = {asked}, sub, res, env
[policy_definition]
p = {row}, cond, eft
[policy_effect]
e = some(where (p.eft == allow)) && !some(where (p.eft == deny))
[matchers]
m = {match} && eval(p.cond)
"""
WHERE = {"subject": "r.sub", "resource": "r.res", "context": "r.env"}


class _Casbin:
    enforcer: Any

    def decide(self, asked: tuple[Any, ...]) -> bool:
        return bool(self.enforcer.enforce(*asked))

    def told(self, answer: bool) -> Told:
        return Told(answer)


class Casbin(_Casbin):
    def __init__(self, rules: Sequence[Rule]) -> None:
        casbin = library("casbin")
        text = MODEL.format(asked="op", row="ops", match="r.op in p.ops")
        self.enforcer = casbin.Enforcer(casbin.Enforcer.new_model(text=text))
        self.enforcer.add_policies([["".join(_code(*one) for one in rule.operations), *_row(rule)] for rule in rules])

    def prepared(self, ask: Ask) -> tuple[Any, ...]:
        return _code(ask.action, ask.type), *_values(ask)


class FastCasbin(_Casbin):
    def __init__(self, rules: Sequence[Rule]) -> None:
        casbin, model = library("casbin"), library("casbin.model")
        both = "act, kind"
        text = MODEL.format(asked=both, row=both, match="r.act == p.act && r.kind == p.kind")
        fast = model.FastModel([0, 1])
        fast.load_model_from_text(text)
        self.enforcer = casbin.FastEnforcer(fast, cache_key_order=[0, 1])
        self.enforcer.add_policies([[*operation, *_row(rule)] for rule in rules for operation in rule.operations])

    def prepared(self, ask: Ask) -> tuple[Any, ...]:
        return ask.action, ask.type, *_values(ask)


def _code(action: str, type: str) -> str:
    return f"|{action}:{type}|"


def _row(rule: Rule) -> list[str]:
    return [" && ".join(map(_text, rule.atoms)), "allow" if rule.permits else "deny"]


def _values(ask: Ask) -> tuple[SimpleNamespace, ...]:
    return tuple(SimpleNamespace(**ask.under(dimension)) for dimension in WHERE)


def _text(atom: Atom) -> str:
    left = _path(atom.attribute)
    match atom.op:
        case "same":
            return f"{left} == {_path(atom.value)}"
        case "between":
            return f"{left} >= {atom.value[0]} && {left} <= {atom.value[1]}"
        case op:
            return f"{left} {op} {atom.value!r}"


def _path(path: str) -> str:
    dimension, _, name = path.partition(".")
    return f"{WHERE[dimension]}.{name}"
