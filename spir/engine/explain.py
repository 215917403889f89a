"""Why: a decision taken apart, layer by layer, policy by policy, atom by atom.

Made by the reference interpreter on the same request, facts and moment; never
on the fast path. `to_json` is the machine's form, `lines` the reader's. With it
goes the smallest change that would flip the answer, if one was found.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from spir.engine.attributes import Attributes, organization_of
from spir.engine.evaluate import Scope, evaluate, free_attributes
from spir.engine.formula import Applicable, applicable
from spir.engine.nearest_change import NO_ENUMS, Decide, Flip, nearest_change
from spir.engine.reference import decide
from spir.engine.ruleset import RuleSet
from spir.language.printer import to_cel
from spir.model.condition import And, Condition, Conditional, Not, Or
from spir.model.decision import Decision
from spir.model.facts import View
from spir.model.policy import Kind, Layer
from spir.model.request import Request
from spir.model.value import Unknown, Value, Why, thaw

OPEN = "depends on the data"

__all__ = ["AtomTrace", "Explanation", "LayerTrace", "PolicyTrace", "atoms_of", "explain", "trace"]


@dataclass(frozen=True, slots=True)
class AtomTrace:
    """One atom of a condition as written, its truth (true, false or why it is unknown), and the values it met."""

    text: str
    truth: str
    values: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class PolicyTrace:
    """`template` is the one that the policy was made from, with its version; "" for one that was written out."""

    id: str
    kind: Kind
    truth: str
    verdict: str
    atoms: tuple[AtomTrace, ...]
    place: str = ""
    template: str = ""


@dataclass(frozen=True, slots=True)
class LayerTrace:
    """`stated` is False for a layer without any document for the organisation: it neither grants nor limits."""

    layer: Layer
    stated: bool
    verdict: str
    policies: tuple[PolicyTrace, ...]


@dataclass(frozen=True, slots=True)
class Explanation:
    request: Request
    decision: Decision
    layers: tuple[LayerTrace, ...]
    change: Flip | None = None

    def to_json(self) -> dict[str, Any]:
        return {
            "request": self.request.to_json(),
            "decision": self.decision.to_json(),
            "layers": [_layer_json(layer) for layer in self.layers],
            "smallest_change": self.change.to_json() if self.change else None,
        }

    def lines(self) -> Iterator[str]:
        decision = self.decision
        yield f"{decision.operation} by {self.request.subject.id}: {decision.effect.value.upper()}"
        for layer in self.layers:
            yield f"  {layer.layer.label}: {layer.verdict}"
            for policy in layer.policies:
                origin = f" (template {policy.template})" if policy.template else ""
                yield f"    {policy.kind.value} {policy.id}{origin}: {policy.verdict}"
                yield from (f"      {_atom_line(atom)}" for atom in policy.atoms)
        yield from (f"  reason: {reason.text}" for reason in decision.reasons)
        for clause in decision.residual.clauses if not (decision.permitted or decision.denied) else ():
            atoms = " and ".join(f"{a.attribute} {a.op} {thaw(a.value)}" for a in clause.atoms) or "anything"
            yield f"  left to check: {atoms}{'' if clause.exact else ' (and more, row by row)'}"
        yield from (f"  must: {item.type} {thaw(item.properties)}" for item in decision.obligations)
        if self.change is not None:
            yield f"  {self.change}"


def explain(
    rules: RuleSet,
    request: Request,
    view: View,
    at: datetime,
    enums: Mapping[str, tuple[Value, ...]] = NO_ENUMS,
    faster: Decide | None = None,
) -> Explanation:
    """Decide and say why. Pure, like `decide`; much slower.

    `enums` and `faster`, another engine with the same rules, are for `nearest_change`.
    """
    decision = decide(rules, request, view, at)
    change = nearest_change(rules, request, view, at, decision, enums, faster)
    return Explanation(request, decision, trace(rules, request, view, at), change)


def trace(rules: RuleSet, request: Request, view: View, at: datetime) -> tuple[LayerTrace, ...]:
    """What every policy that applies says, layer by layer."""
    lookup, scope = Attributes(request, view, at), Scope(at, rules.site.timezone)
    items = applicable(rules, request, at)
    stated = rules.layers(organization_of(request, rules.site.organization))
    return tuple(_layer(layer, layer in stated, items, lookup, scope) for layer in Layer)


def _layer(layer: Layer, stated: bool, items: tuple[Applicable, ...], lookup: Attributes, scope: Scope) -> LayerTrace:
    policies = tuple(_policy(item, lookup, scope) for item in items if item.rule.layer is layer)
    if not stated:
        return LayerTrace(layer, False, "no document for this organisation", ())
    verdicts = [p.verdict for p in policies]
    if any(v.startswith(("forbids", "stands in the way")) for v in verdicts):
        summary = "denies"
    elif any(p.kind is Kind.PERMIT and p.verdict.startswith("grants") for p in policies):
        summary = "grants"
    elif any(p.kind is Kind.DELEGATE and p.verdict.startswith("delegates") for p in policies):
        summary = "delegates"
    elif any(p.kind in (Kind.PERMIT, Kind.DELEGATE) and p.verdict == OPEN for p in policies):
        summary = OPEN
    else:
        summary = "grants nothing"
    return LayerTrace(layer, True, summary, policies)


def _policy(item: Applicable, lookup: Attributes, scope: Scope) -> PolicyTrace:
    value = evaluate(item.condition, lookup, scope)
    held = evaluate(item.holds(), lookup, scope)
    atoms = tuple(_trace(atom, lookup, scope) for atom in atoms_of(item.condition))
    policy = item.rule.policy
    place = str(policy.location) if policy.location else ""
    template = str(policy.origin) if policy.origin else ""
    return PolicyTrace(policy.id, item.kind, _truth(value), _verdict(item.kind, value, held), atoms, place, template)


def _verdict(kind: Kind, value: Value | Unknown, held: Value | Unknown) -> str:
    """What the policy does, from the truth of its condition and of its part in the formula."""
    if isinstance(held, Unknown):
        return OPEN
    because = " (cannot be decided)" if isinstance(value, Unknown) else ""
    words = {
        Kind.PERMIT: ("grants", "does not grant"),
        Kind.DELEGATE: ("delegates", "does not delegate"),
        Kind.DENY: ("does not apply", "forbids it"),
        Kind.REQUIRE: ("is met", "stands in the way"),
        Kind.OBLIGE: ("obliges", "does not apply"),
    }[kind]
    return f"{words[0] if held is True else words[1]}{because}"


def atoms_of(condition: Condition) -> Iterator[Condition]:
    """The parts of a condition that no logic divides further, in the order they are written."""
    match condition:
        case And(items) | Or(items):
            for item in items:
                yield from atoms_of(item)
        case Not(item):
            yield from atoms_of(item)
        case Conditional(test, yes, no):
            for item in (test, yes, no):
                yield from atoms_of(item)
        case _:
            yield condition


def _trace(atom: Condition, lookup: Attributes, scope: Scope) -> AtomTrace:
    paths = sorted(free_attributes(atom))
    values = tuple((path, _shown(lookup(path))) for path in paths)
    return AtomTrace(to_cel(atom), _truth(evaluate(atom, lookup, scope)), values)


def _truth(value: Value | Unknown) -> str:
    if isinstance(value, Unknown):
        whys = {lack.why for lack in value.lacks}
        return "deferred" if Why.DEFERRED in whys else "/".join(sorted(why.value for why in whys))
    return "true" if value is True else "false" if value is False else "invalid"


def _shown(value: Value | Unknown) -> str:
    return _truth(value) if isinstance(value, Unknown) else str(thaw(value))


def _atom_line(atom: AtomTrace) -> str:
    given = ", ".join(f"{path} = {value}" for path, value in atom.values)
    return f"{atom.truth:>8}  {atom.text}" + (f"   [{given}]" if given else "")


def _layer_json(layer: LayerTrace) -> dict[str, Any]:
    return {
        "layer": layer.layer.label,
        "stated": layer.stated,
        "verdict": layer.verdict,
        "policies": [_policy_json(policy) for policy in layer.policies],
    }


def _policy_json(policy: PolicyTrace) -> dict[str, Any]:
    return {
        "id": policy.id,
        "effect": policy.kind.value,
        "truth": policy.truth,
        "verdict": policy.verdict,
        "at": policy.place,
        **({"template": policy.template} if policy.template else {}),
        "atoms": [{"text": a.text, "truth": a.truth, "values": dict(a.values)} for a in policy.atoms],
    }
