"""The engine that ships: rules compiled to sets of policies, decided as the reference interpreter decides.

Compiled rules give the very decision of `spir.engine.reference.decide`, for
any request, facts and moment: that is the property they are tested by. They
differ in speed: a decision costs a look-up for each attribute that the
policies of the operation ask about, whatever the number of policies.

Each policy is a bit. For every attribute the compiler keeps, by value, the set
of policies whose condition is settled by it (`compiled.column`); conditions on
several attributes become Python functions (`compiled.question`). What is
missing or still to come is a set of its own, so nothing has to be asked twice.
"""

from __future__ import annotations

from collections.abc import Generator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import product
from typing import Any, TypeAlias

from spir.engine.attributes import NoFacts, is_deferred, organization_of
from spir.engine.compiled.assembly import STEP, Steps, assembled
from spir.engine.compiled.bucket import Bucket, Item
from spir.engine.compiled.facts import Facts
from spir.engine.compiled.marks import Doubt
from spir.engine.compiled.masks import united
from spir.engine.compiled.parts import Part, Parts
from spir.engine.compiled.place import Place, Window
from spir.engine.compiled.question import Asked
from spir.engine.compiled.sieve import Sieve
from spir.engine.compiled.verdict import Standing, Verdict, certain, doubtful
from spir.engine.formula import CATEGORY, by_category
from spir.engine.ruleset import RuleSet
from spir.model.decision import Decision, Effect, Reason
from spir.model.facts import View
from spir.model.request import Request

__all__ = ["Compiled", "compile_in_slices", "compile_rules"]

MAX_PLACES = 4096
MAX_HELD = 8192
MAX_TEXT = 1024


class _NoName:
    """Stands for a category that no policy can name."""


ODD = _NoName()  # it is no text
BY_ROW = _NoName()  # it comes row by row


# What is needed of a place at every request: sieve, the items that are live, what is remembered; and the place.
Near: TypeAlias = tuple[Sieve, int, dict[Any, Verdict], Place]


@dataclass(frozen=True, slots=True)
class Shelf:
    """The buckets of one verb and type: where the category is known, and where it comes row by row."""

    known: Bucket
    by_row: Bucket


class Compiled:
    """Rules ready to decide. Immutable but for what it remembers, all of it bounded."""

    def __init__(self, rules: RuleSet, shelves: Mapping[tuple[str, str], Shelf], facts: Facts) -> None:
        self.rules = rules
        self._site = rules.site.organization
        self._shelves = shelves
        self._facts = facts
        self._places: dict[Any, Place] = {}
        # The places of the site itself where nothing but facts can change a decision, by verb, type and category.
        self._near: dict[str, dict[str, dict[Any, Near]]] = {}
        self._deferring: dict[frozenset[str], bool] = {}
        self._held = 0

    def decide(self, request: Request, view: View, at: datetime) -> Decision:
        """The decision on `request` at `at` (aware). Never raises for what a request says."""
        resource = request.resource
        properties = resource.properties
        try:
            # a proxy tells sooner whether it has something than what it has
            category: Any = properties["category"] if "category" in properties else None  # noqa: SIM401
            sieve, live, memory, place = self._near[request.action.name][resource.type][category]
        except (KeyError, TypeError):
            return self._decided(request, view, at)
        if "organization" in properties or "organization" in request.context or request.deferred:
            return self._decided(request, view, at)
        until = None
        if place.restless and view.__class__ is not NoFacts:
            until = self._facts.edge(request, view, at, place.staff, place.patient)
        left = sieve(request, view, at, live)
        found = memory.get(left) or self._found(place, place.window, left, view, until)
        decision: Decision = found.decision
        if decision.facts == view.revision and decision.valid_until is until and not found.terms:
            return decision
        return found.at(view, at, until)

    def _decided(self, request: Request, view: View, at: datetime) -> Decision:
        """The same for any organisation, for what comes row by row, and while time goes on."""
        resource = request.resource
        properties = resource.properties
        organization: Any = self._site
        if "organization" in properties or "organization" in request.context or not organization:
            organization = organization_of(request, organization)
        category: Any = properties.get("category")
        if category.__class__ is not str and (category is not None or request.deferred):
            category = self._category(category, request)
        place = self._places.get((request.action.name, resource.type, category, organization))
        if place is None:
            if not organization:
                return self._refused(request, view)
            place = self._settled(request, category, organization)
        window = place.window
        if window.start is not None:
            window = place.at(at)
        until = window.edge
        if place.restless and (place.moving or view.__class__ is not NoFacts):
            until = place.edge(window, request, view, at)
        left = place.bucket.sieve(request, view, at, window.live)
        found = window.memory.get(left) or self._found(place, window, left, view, until)
        decision: Decision = found.decision
        if decision.facts == view.revision and decision.valid_until is until and not found.terms:
            return decision
        return found.at(view, at, until)

    def _found(self, place: Place, window: Window, left: Any, view: View, until: datetime | None) -> Verdict:
        """The verdict on what the sieve left, from now on remembered."""
        moment = (self.rules.fingerprint, view.revision, until)
        if isinstance(left, int):
            found = certain(place, window.applies, left & window.applies, moment)
        else:
            found = doubtful(place, _standing(window, *left), moment)
        self._remember(window, left, found)
        return found

    def _remember(self, window: Window, key: Any, found: Verdict) -> None:
        self._held += 1
        if self._held > MAX_HELD:
            self._held = 1
            for place in tuple(self._places.values()):  # another thread may settle a place meanwhile
                place.forget()
        window.memory[key] = found

    def _settled(self, request: Request, category: Any, organization: str) -> Place:
        verb, kind = request.action.name, request.resource.type
        shelf = self._shelves[self.rules.bucket_of(verb, kind)]
        bucket = shelf.by_row if category is BY_ROW else shelf.known
        about = bucket.about(None if category is BY_ROW else category)
        site, layers = self.rules.site, self.rules.layers(organization)
        place = Place(bucket, request.operation, organization, about, layers, site.timezone, self._facts)
        if len(request.operation) + len(organization) > MAX_TEXT:
            return place  # a stranger's invention
        if len(self._places) >= MAX_PLACES:
            self._places.clear()
            self._near.clear()
            self._held = 0
        self._places[verb, kind, category, organization] = place
        window = place.window
        if organization == site.organization and category is not BY_ROW and window.start is None and not place.moving:
            near = (bucket.sieve, window.live, window.memory, place)
            self._near.setdefault(verb, {}).setdefault(kind, {})[category] = near
        return place

    def _category(self, category: Any, request: Request) -> Any:
        """What stands for a category that is no plain text."""
        if category is not None:
            return category if isinstance(category, str) else ODD
        found = self._deferring.get(request.deferred)
        if found is None:
            if len(self._deferring) >= MAX_PLACES:
                self._deferring.clear()
            found = is_deferred(CATEGORY.path, request.deferred)
            if sum(map(len, request.deferred)) <= MAX_TEXT:
                self._deferring[request.deferred] = found
        return BY_ROW if found else None

    def _refused(self, request: Request, view: View) -> Decision:
        reason = Reason("no-organization", "the request belongs to no organisation")
        bundle, facts = self.rules.fingerprint, view.revision
        return Decision(Effect.DENY, request.operation, reasons=(reason,), bundle=bundle, facts=facts)


def _standing(window: Window, candidates: int, doubts: tuple[Doubt, ...]) -> Standing:
    if window.doubt is not None:
        doubts = (window.doubt, *doubts)
    concerned = tuple(doubt for doubt in doubts if doubt.everyone & candidates)
    alive = candidates & ~united(doubt.out for doubt in concerned)
    return Standing(window.applies, alive, united(d.open for d in concerned) & alive, candidates, concerned)


# -- compiling -------------------------------------------------------------------------------


def compile_rules(rules: RuleSet) -> Compiled:
    """Compile all at once."""
    steps = compile_in_slices(rules)
    while True:
        try:
            next(steps)
        except StopIteration as end:
            compiled: Compiled = end.value
            return compiled


def compile_in_slices(rules: RuleSet) -> Generator[None, None, Compiled]:
    """Compile step by step, each of a few milliseconds at most; what the generator returns is the result."""
    return (yield from _Compiler(rules).compiled())


class _Compiler:
    def __init__(self, rules: RuleSet) -> None:
        self.rules = rules
        self.facts = Facts()
        self.parts = Parts()
        self.split: dict[int, tuple[Part, ...]] = {}
        self.asks: dict[Part, Asked] = {}

    def compiled(self) -> Steps[Compiled]:
        yield from self.rules.arranged()
        for number, rule in enumerate(self.rules.every):
            self.split[id(rule)] = self.parts.of(rule.policy.when)
            if number % STEP == STEP - 1:
                yield
        shelves: dict[tuple[str, str], Shelf] = {}
        known: dict[tuple[tuple[int, frozenset[str]], ...], Shelf] = {}
        for verb, kind in product(*({*names, "*"} for names in self.rules.named)):
            items = yield from self.items(verb, kind)
            same = tuple((id(item.rule), item.categories) for item in items)
            if same not in known:
                known[same] = yield from self.shelf(items)
            shelves[verb, kind] = known[same]
        return Compiled(self.rules, shelves, self.facts)

    def items(self, verb: str, kind: str) -> Steps[list[Item]]:
        items: list[Item] = []
        for rule in self.rules.rules(verb, kind):
            categories = rule.category_of(verb, kind) or frozenset()
            items.append(Item(rule, rule.policy.when, self.split[id(rule)], categories))
            if len(items) % STEP == 0:
                yield
        yield
        return items

    def shelf(self, items: list[Item]) -> Steps[Shelf]:
        known = yield from assembled(items, self.facts, self.ask)
        if all("*" in item.categories for item in items):
            return Shelf(known, known)
        mixed: list[Item] = []
        for item in items:
            mixed.append(item if "*" in item.categories else self.by_row(item))
            if len(mixed) % STEP == 0:
                yield
        by_row = yield from assembled(mixed, self.facts, self.ask)
        # What is watched is the policies as they are written.
        return Shelf(known, replace(by_row, watch=known.watch))

    def by_row(self, item: Item) -> Item:
        condition = by_category(item.rule.policy, item.categories)
        return Item(item.rule, condition, self.parts.of(condition), frozenset("*"))

    def ask(self, part: Part) -> Asked:
        found = self.asks.get(part)
        if found is None:
            found = self.asks[part] = Asked(part, self.facts, self.rules.site.timezone)
        return found
