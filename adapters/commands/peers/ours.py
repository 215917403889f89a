"""The engine that ships, with documents read by the reader that ships."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from adapters.commands.peers.player import Told
from adapters.commands.peers.workload import Ask, Atom, Rule
from adapters.yielding import giving_way
from spir.embed import default_vocabulary
from spir.engine import reference
from spir.engine.attributes import NoFacts
from spir.engine.compiler import Compiled, compile_rules
from spir.engine.ruleset import RuleSet, Site
from spir.engine.ruling import Judged, rule
from spir.language.document import read_documents
from spir.model.decision import Decision
from spir.model.request import Entity, Request

__all__ = ["AT", "VOCABULARY", "Ours", "Plain", "documents", "written"]

AT = datetime(2026, 1, 1, 12, tzinfo=UTC)
ORGANIZATION = "cn/a"
VOCABULARY = """\
spir: "1"
kind: Vocabulary
name: workload
attributes:
  subject.tier: {type: int, interval: [1, 3]}
  resource.risk: {type: int, interval: [0, 9]}
  context.hour: {type: int, interval: [0, 23]}
"""
HEAD = f"""\
spir: "1"
kind: PolicySet
name: workload
layer: institution
jurisdiction: {ORGANIZATION}
version: 1.0.0
policies:
"""


def documents(rules: Sequence[Rule]) -> dict[str, str]:
    """The policies as people write them, by file name."""
    return {
        "vocabulary.yaml": VOCABULARY,
        "policies.yaml": HEAD + "".join(line for one in rules for line in written(one)),
    }


class Ours:
    """Loading is part of what is measured: from the text to the first decision."""

    def __init__(self, texts: dict[str, str]) -> None:
        with giving_way:  # as a gateway loads
            read = read_documents(texts, vocabulary_text=default_vocabulary())
            self.rules = RuleSet.of(read.policy_sets, read.fingerprint, Site(ORGANIZATION))
            self.compiled: Compiled = compile_rules(self.rules)
            giving_way.keep()
        self.view = NoFacts()

    def prepared(self, ask: Ask) -> Request:
        properties = ask.under("subject")
        subject = Entity("person", properties.pop("id"), properties)
        return Request.build(subject, f"{ask.action}:{ask.type}", ask.under("resource"), context=ask.under("context"))

    def unknown(self, ask: Ask) -> Request:
        """The same while nothing is known yet of the resource but its type."""
        properties = ask.under("subject")
        subject, context = Entity("person", properties.pop("id"), properties), ask.under("context")
        return Request.build(subject, f"{ask.action}:{ask.type}", context=context, deferred=("resource",))

    def decide(self, request: Request) -> Decision:
        return self.compiled.decide(request, self.view, AT)

    def judged(self, request: Request) -> Judged:
        return rule(self.rules, request, self.view, AT, self.compiled.decide)

    def told(self, answer: Decision) -> Told:
        return Told(answer.permitted, frozenset(answer.matched))


class Plain(Ours):
    """The interpreter that is the engine's oracle."""

    def __init__(self, rules: Sequence[Rule]) -> None:
        super().__init__(documents(rules))

    def decide(self, request: Request) -> Decision:
        return reference.decide(self.rules, request, self.view, AT)


def written(one: Rule) -> Iterator[str]:
    """One policy as people write it, line by line."""
    yield f"  - id: {one.id}\n    effect: {'permit' if one.permits else 'deny'}\n"
    yield f"    operations: {json.dumps([f'{action}:{type}' for action, type in one.operations])}\n"
    yield f"    when: |\n      {' && '.join(map(_text, one.atoms))}\n"
    if one.masks:
        yield f"    obligations: [{{id: mask-{one.id}, type: mask, paths: {json.dumps(one.masks)}}}]\n"


def _text(atom: Atom) -> str:
    match atom.op:
        case "same":
            return f"{atom.attribute} == {atom.value}"
        case "between":
            return f"{atom.attribute} >= {atom.value[0]} && {atom.attribute} <= {atom.value[1]}"
        case "==" if isinstance(atom.value, bool):
            return atom.attribute if atom.value else f"!{atom.attribute}"
        case op:
            return f"{atom.attribute} {op} {json.dumps(atom.value)}"
