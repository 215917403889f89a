"""Policies of vakt: rules by attribute of subject, resource and context, in its memory storage."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from adapters.commands.peers.player import Told, library
from adapters.commands.peers.workload import Ask, Atom, Rule

__all__ = ["Vakt"]


class Vakt:
    def __init__(self, rules: Sequence[Rule]) -> None:
        self.vakt, self.of = library("vakt"), library("vakt.rules")
        # it writes a line for every decision otherwise
        logging.getLogger("vakt").setLevel(logging.WARNING)
        storage = self.vakt.MemoryStorage()
        for rule in rules:
            storage.add(self._policy(rule))
        self.guard = self.vakt.Guard(storage, self.vakt.RulesChecker())

    def prepared(self, ask: Ask) -> Any:
        subject, resource, context = (ask.under(name) for name in ("subject", "resource", "context"))
        code = f"{ask.action}:{ask.type}"
        return self.vakt.Inquiry(action=code, subject=subject, resource=resource, context=context)

    def decide(self, inquiry: Any) -> bool:
        return bool(self.guard.is_allowed(inquiry))

    def told(self, answer: bool) -> Told:
        return Told(answer)

    def _policy(self, rule: Rule) -> Any:
        parts: dict[str, dict[str, Any]] = {"subject": {}, "resource": {}, "context": {}}
        for atom in rule.atoms:
            dimension, _, name = atom.attribute.partition(".")
            held, found = parts[dimension].get(name), self._rule(atom)
            parts[dimension][name] = found if held is None else self.of.And(held, found)
        return self.vakt.Policy(
            rule.id,
            actions=[self.of.In(*(f"{action}:{type}" for action, type in rule.operations))],
            subjects=[parts["subject"] or self.of.Any()],
            resources=[parts["resource"] or self.of.Any()],
            context=parts["context"],
            effect=self.vakt.ALLOW_ACCESS if rule.permits else self.vakt.DENY_ACCESS,
        )

    def _rule(self, atom: Atom) -> Any:
        of, value = self.of, atom.value
        match atom.op:
            case "same":
                return of.SubjectMatch(value.partition(".")[2])
            case "in":
                return of.In(*value)
            case "between":
                return of.And(of.GreaterOrEqual(value[0]), of.LessOrEqual(value[1]))
            case op:
                kinds = {"==": of.Eq, "!=": of.NotEq, ">=": of.GreaterOrEqual, "<=": of.LessOrEqual}
                return kinds[op](value)
