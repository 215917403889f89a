"""Rego by regorus: compiled for its virtual machine, or interpreted where that refuses.

The rules are boolean, `permit` and `deny`: about a third faster than sets of
the policies' ids, which ours gives and these do not.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from adapters.commands.peers.player import Refused, Told, library
from adapters.commands.peers.workload import Ask, Atom, Rule

__all__ = ["RegoInterpreted", "RegoMachine"]

HEAD = "package spir\nimport rego.v1\n"
ANSWER = "default answer := false\nanswer if { permit; not deny }\n"
RULE = "data.spir.answer"
PART = 2000  # policies to a module: the compiler takes no more than 1 MiB of one


class _Rego:
    def prepared(self, ask: Ask) -> str:
        dimensions = {name: ask.under(name) for name in ("subject", "resource", "context")}
        return json.dumps({"operation": f"{ask.action}:{ask.type}", **dimensions})


class RegoMachine(_Rego):
    """One program, one entry point, run to completion."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        regorus = library("regorus")
        self.machine = regorus.Rvm()
        try:
            program = regorus.Program.compile_from_modules("{}", modules(rules), [RULE])
        except RuntimeError as error:
            raise Refused(str(error).partition("\n")[0].lower()) from error
        self.machine.load_program(program)
        self.machine.set_data_json("{}")

    def decide(self, asked: str) -> Any:
        self.machine.set_input_json(asked)
        return self.machine.execute()

    def told(self, answer: Any) -> Told:
        return Told({"true": True, "false": False}[answer])


class RegoInterpreted(_Rego):
    def __init__(self, rules: Sequence[Rule]) -> None:
        self.engine = library("regorus").Engine()
        for name, text in modules(rules):
            self.engine.add_policy(name, text)

    def decide(self, asked: str) -> Any:
        self.engine.set_input_json(asked)
        return self.engine.eval_rule(RULE)

    def told(self, answer: Any) -> Told:
        assert isinstance(answer, bool), answer
        return Told(answer)


def modules(rules: Sequence[Rule]) -> list[tuple[str, str]]:
    """Modules of one package, by file name; the first says how the rules are combined."""
    found = []
    for start in range(0, len(rules), PART):
        text = "".join(map(_rule, rules[start : start + PART]))
        found.append((f"part{start}.rego", f"{HEAD}{'' if start else ANSWER}{text}"))
    return found


def _rule(rule: Rule) -> str:
    codes = [json.dumps(f"{action}:{type}") for action, type in rule.operations]
    about = f"== {codes[0]}" if len(codes) == 1 else f"in {{{', '.join(codes)}}}"
    body = "; ".join((f"input.operation {about}", *map(_text, rule.atoms)))
    return f"{'permit' if rule.permits else 'deny'} if {{ {body} }}\n"


def _text(atom: Atom) -> str:
    left = f"input.{atom.attribute}"
    match atom.op:
        case "same":
            return f"{left} == input.{atom.value}"
        case "in":
            return f"{left} in {{{', '.join(map(json.dumps, atom.value))}}}"
        case "between":
            return f"{left} >= {atom.value[0]}; {left} <= {atom.value[1]}"
        case op:
            return f"{left} {op} {json.dumps(atom.value)}"
