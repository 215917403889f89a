"""What the applicable policies say together, as one formula (policy.md, "Layers, strengthen only").

A request is permitted if and only if

    some permit p holds, and every layer above p's own that has any document
    for the jurisdiction holds a permit or a delegate of its own, and
    no deny holds, and every require holds.

"Holds" is two-valued, with the safe side built in by `Definitely`, written D:

    permit, delegate     D(c)            unknown does not grant
    deny                 D(not c)        the deny must surely not hold ...
      on_missing: ignore not D(c)        ... or only: not surely hold
    require              D(c)
      on_missing: ignore not D(not c)
    oblige               not D(not c)    an unknown duty binds
      on_missing: ignore D(c)

So the formula is unknown only while deferred data is still to come, and the
decision on the completed request is the same formula on more knowledge.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from spir.engine.attributes import is_deferred, organization_of
from spir.engine.ruleset import Rule, RuleSet
from spir.model.condition import FALSE, Attribute, Compare, Condition, Definitely, Has, Literal, both, either, negated
from spir.model.obligation import Obligation
from spir.model.policy import Kind, Layer, OnMissing, Policy, lies_under
from spir.model.request import Request

__all__ = ["Applicable", "Bound", "Formula", "Grant", "applicable", "by_category", "formula"]

CATEGORY = Attribute("resource.category")


@dataclass(frozen=True, slots=True)
class Applicable:
    """A rule that may say something about the request, with the condition it comes down to.

    `condition` includes the category where that is deferred; for a require it
    is what must hold (trivially so for other categories).
    """

    rule: Rule
    condition: Condition

    @property
    def kind(self) -> Kind:
        return self.rule.policy.kind

    @property
    def strict(self) -> bool:
        return self.rule.policy.on_missing is OnMissing.DENY

    def holds(self) -> Condition:
        """The two-valued formula of the table above, in the sense of "does not stand in the way"."""
        surely, surely_not = Definitely(self.condition), Definitely(negated(self.condition))
        match self.kind:
            case Kind.DENY:
                return surely_not if self.strict else negated(surely)
            case Kind.REQUIRE:
                return surely if self.strict else negated(surely_not)
            case Kind.OBLIGE:
                return negated(surely_not) if self.strict else surely
            case _:
                return surely


@dataclass(frozen=True, slots=True)
class Grant:
    """A permit and what it needs from the layers above it."""

    source: Applicable
    condition: Condition  # D(c) and the covers


@dataclass(frozen=True, slots=True)
class Bound:
    """An obligation and when it binds, given that the request is permitted."""

    condition: Condition
    obligation: Obligation


@dataclass(frozen=True, slots=True)
class Formula:
    grants: tuple[Grant, ...]
    restrictions: tuple[Applicable, ...]  # denies and requires
    bounds: tuple[Bound, ...]

    def restricted(self) -> Condition:
        return both(*(item.holds() for item in self.restrictions))

    def whole(self) -> Condition:
        return both(either(*(grant.condition for grant in self.grants)), self.restricted())


def applicable(rules: RuleSet, request: Request, at: datetime) -> tuple[Applicable, ...]:
    """Rules about this operation, in force at `at`, of sets whose jurisdiction covers the request."""
    organization = organization_of(request, rules.site.organization)
    found = []
    for rule in rules.rules(request.action.name, request.resource.type):
        if rule.policy.valid.holds(at) and lies_under(organization, rule.jurisdiction):
            condition = _with_category(rule, request)
            if condition is not None:
                found.append(Applicable(rule, condition))
    return tuple(found)


def formula(items: Iterable[Applicable], layers: tuple[Layer, ...]) -> Formula:
    """Combine what applies. `layers` are those with any document for the request's organisation."""
    items = tuple(items)
    covers = {layer: _cover(items, layer) for layer in layers}
    grants = tuple(
        Grant(item, both(item.holds(), *(covers[above] for above in layers if above < item.rule.layer)))
        for item in items
        if item.kind is Kind.PERMIT
    )
    restrictions = tuple(item for item in items if item.kind in (Kind.DENY, Kind.REQUIRE))
    return Formula(grants, restrictions, tuple(_bounds(items, grants)))


def _cover(items: tuple[Applicable, ...], layer: Layer) -> Condition:
    """A permit or delegate of this layer covers the request. Nothing covers: false."""
    kinds = (Kind.PERMIT, Kind.DELEGATE)
    return either(FALSE, *(item.holds() for item in items if item.rule.layer is layer and item.kind in kinds))


def _bounds(items: tuple[Applicable, ...], grants: tuple[Grant, ...]) -> Iterable[Bound]:
    for grant in grants:
        yield from (Bound(grant.condition, o) for o in grant.source.rule.policy.obligations)
    for item in items:
        if item.kind is Kind.OBLIGE:
            yield from (Bound(item.holds(), o) for o in item.rule.policy.obligations)


def _with_category(rule: Rule, request: Request) -> Condition | None:
    """The rule's condition for this request; None if it is about other categories."""
    categories = rule.category_of(request.action.name, request.resource.type)
    if categories is None:
        return None
    if "*" in categories:
        return rule.policy.when
    given = request.resource.properties.get("category")
    if given is not None:
        return rule.policy.when if isinstance(given, str) and given in categories else None
    return by_category(rule.policy, categories) if is_deferred(CATEGORY.path, request.deferred) else None


def by_category(policy: Policy, categories: frozenset[str]) -> Condition:
    """The policy's condition where the category comes row by row."""
    # A row without a category has none: it is not "unknown" which one, so `Has` comes first.
    right_one = both(Has(CATEGORY), Compare("in", CATEGORY, Literal(tuple(sorted(categories)))))
    if policy.kind is Kind.REQUIRE:
        return either(negated(right_one), policy.when)
    return both(right_one, policy.when)
