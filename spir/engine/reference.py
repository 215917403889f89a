"""The reference interpreter: slow, obvious, and the oracle of every faster engine.

It writes down the formula of what applies (`formula`), decides what can be
decided (`residual.settle`) and reports. Nothing is skipped once the answer is
clear: all matched policies and all reasons are named.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from spir.engine.attributes import Attributes, organization_of
from spir.engine.evaluate import Scope, evaluate
from spir.engine.formula import Applicable, Formula, applicable, formula
from spir.engine.residual import Relations, clauses, settle
from spir.engine.ruleset import RuleSet
from spir.engine.validity import valid_until
from spir.model.condition import FALSE, TRUE, Condition, both, either
from spir.model.decision import ADMIT_ALL, Decision, Effect, Reason, Residual, Tied
from spir.model.facts import View
from spir.model.obligation import Incomparable, Obligation, joined
from spir.model.policy import Kind, Layer
from spir.model.request import Request
from spir.model.value import Lack, Unknown, Why

__all__ = ["decide"]


def decide(rules: RuleSet, request: Request, view: View, at: datetime) -> Decision:
    """The decision on `request` at `at` (aware). Never raises for what a request says."""
    organization = organization_of(request, rules.site.organization)
    if not organization:
        return _refused(rules, request, view, Reason("no-organization", "the request belongs to no organisation"))
    judge = _Judge(rules, request, view, at)
    items = applicable(rules, request, at)
    layers = rules.layers(organization)
    return judge.decision(items, formula(items, layers), layers)


def _refused(rules: RuleSet, request: Request, view: View, reason: Reason) -> Decision:
    return Decision(Effect.DENY, request.operation, reasons=(reason,), bundle=rules.fingerprint, facts=view.revision)


class _Judge:
    """One decision in the making."""

    def __init__(self, rules: RuleSet, request: Request, view: View, at: datetime) -> None:
        self.rules = rules
        self.request = request
        self.view = view
        self.lookup = Attributes(request, view, at)
        self.scope = Scope(at, rules.site.timezone)
        self.at = at

    def decision(self, items: tuple[Applicable, ...], said: Formula, layers: tuple[Layer, ...]) -> Decision:
        grants = tuple((grant, self.settled(grant.condition)) for grant in said.grants)
        common = self.settled(said.restricted())
        left = both(either(*(condition for _, condition in grants)), common)
        certain, tied, conflict = self.duties(said) if left != FALSE else ((), (), None)
        if conflict is not None:
            left = FALSE
        denied, permitted = left == FALSE, left == TRUE
        relations = Relations(self.view, self.at)
        reasons = (conflict,) if conflict else self.reasons(items, layers) if denied else ()
        if denied:
            residual = Residual(FALSE, ())
        elif permitted:
            residual = ADMIT_ALL
        else:
            terms = ((grant.source.rule.policy.id, condition) for grant, condition in grants)
            residual = Residual(left, clauses(terms, common, relations))
        return Decision(
            Effect.DENY if denied else Effect.PERMIT if permitted else Effect.CONDITIONAL,
            self.request.operation,
            residual,
            () if denied else certain,
            () if denied else tied,
            matched=tuple(item.rule.policy.id for item in items if self.matches(item)),
            reasons=reasons,
            unknowns=self.lacks(items),
            bundle=self.rules.fingerprint,
            facts=self.view.revision,
            valid_until=relations.until(valid_until(self.rules, self.request, self.lookup, self.scope)),
        )

    def settled(self, condition: Condition) -> Condition:
        return settle(condition, self.lookup, self.scope)

    def matches(self, item: Applicable) -> bool:
        """Whether the rule has a say: a require always, a deny unless it surely does not hold."""
        if item.kind is Kind.REQUIRE:
            return True
        return self.settled(item.holds()) != (TRUE if item.kind is Kind.DENY else FALSE)

    def duties(self, said: Formula) -> tuple[tuple[Obligation, ...], tuple[Tied, ...], Reason | None]:
        """Obligations that bind for certain (joined), those that depend on the row, or why they conflict."""
        certain, tied = [], []
        for bound in said.bounds:
            left = self.settled(bound.condition)
            if left == TRUE:
                certain.append(bound.obligation)
            elif left != FALSE:
                tied.append(Tied(left, bound.obligation))
        try:
            return joined(certain), tuple(tied), None
        except Incomparable as error:
            return (), (), Reason("obligations-conflict", str(error))

    def lacks(self, items: Iterable[Applicable]) -> tuple[Lack, ...]:
        """What was missing, failed or had no meaning in the conditions that could not be decided."""
        found: set[Lack] = set()
        for item in items:
            value = evaluate(item.condition, self.lookup, self.scope)
            if isinstance(value, Unknown):
                found |= {lack for lack in value.lacks if lack.why is not Why.DEFERRED}
        return tuple(sorted(found, key=lambda lack: (lack.attribute, lack.why.value)))

    def reasons(self, items: tuple[Applicable, ...], layers: tuple[Layer, ...]) -> tuple[Reason, ...]:
        """Why it is denied: every deny and require in the way, then what was not granted, or not covered."""
        stopped = [self.stopped(item) for item in items if item.kind in (Kind.DENY, Kind.REQUIRE)]
        found = [reason for reason in stopped if reason]
        granted = [i for i in items if i.kind is Kind.PERMIT and self.settled(i.holds()) != FALSE]
        if not granted:
            found.append(Reason("no-permit", f"no policy permits `{self.request.operation}`"))
        for layer in layers if granted else ():
            below = [item for item in granted if item.rule.layer > layer]
            if below and not self.covered(items, layer):
                text = f"the {layer.label} layer neither permits nor delegates it"
                found.append(Reason("not-delegated", text, below[0].rule.policy.id, layer.label))
        return tuple(found)

    def covered(self, items: tuple[Applicable, ...], layer: Layer) -> bool:
        kinds = (Kind.PERMIT, Kind.DELEGATE)
        return any(
            item.rule.layer is layer and item.kind in kinds and self.settled(item.holds()) != FALSE for item in items
        )

    def stopped(self, item: Applicable) -> Reason | None:
        """How this deny or require stands in the way; None if it does not."""
        if self.settled(item.holds()) != FALSE:
            return None
        policy, layer = item.rule.policy, item.rule.layer.label
        value = evaluate(item.condition, self.lookup, self.scope)
        if isinstance(value, Unknown):
            named = ", ".join(sorted(str(lack) for lack in value.lacks))
            return Reason("indeterminate", f"`{policy.id}` cannot be decided: {named}", policy.id, layer)
        if item.kind is Kind.DENY:
            return Reason("denied", f"`{policy.id}` forbids it", policy.id, layer)
        return Reason("requirement-not-met", f"`{policy.id}` requires what does not hold", policy.id, layer)
