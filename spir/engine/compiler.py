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
from dataclasses import dataclass
from datetime import datetime
from itertools import product
from typing import Any

from spir.engine.attributes import NoFacts, is_deferred, organization_of
from spir.engine.compiled.bucket import STEP, Bucket, Item, assembled
from spir.engine.compiled.facts import Facts
from spir.engine.compiled.marks import Mark
from spir.engine.compiled.parts import Part, Parts
from spir.engine.compiled.place import Place, Window
from spir.engine.compiled.question import Ask, asking
from spir.engine.compiled.verdict import Standing, Verdict, verdict
from spir.engine.formula import CATEGORY, by_category
from spir.engine.ruleset import Rule, RuleSet
from spir.model.decision import Decision, Effect, Reason
from spir.model.facts import View
from spir.model.request import Request

__all__ = ["Compiled", "compile_in_slices", "compile_rules"]

MAX_PLACES = 4096
MAX_HELD = 8192


class _NoName:
    """Stands for a category that no policy can name."""


ODD = _NoName()  # it is no text
BY_ROW = _NoName()  # it comes row by row


@dataclass(frozen=True, slots=True)
class Shelf:
    """The buckets of one verb and type: where the category is known, and where it comes row by row."""

    known: Bucket
    by_row: Bucket


class _Held:
    """A verdict, and the last decision that was made by it."""

    __slots__ = ("decision", "verdict")

    def __init__(self, verdict: Verdict) -> None:
        self.verdict = verdict
        self.decision = _NO_DECISION

    def at(self, view: View, at: datetime, until: datetime | None) -> Decision:
        decision = self.decision
        if decision.facts == view.revision and decision.valid_until == until:
            return decision
        decision = self.verdict.at(view, at, until)
        if not self.verdict.terms:
            self.decision = decision
        return decision


_NO_DECISION = Decision(Effect.DENY, "", facts=-1)


class Compiled:
    """Rules ready to decide. Immutable but for what it remembers, all of it bounded."""

    def __init__(self, rules: RuleSet, shelves: Mapping[tuple[str, str], Shelf], facts: Facts) -> None:
        self.rules = rules
        self._site = rules.site.organization
        self._shelves = shelves
        self._facts = facts
        self._places: dict[Any, Place] = {}
        self._held = 0

    def decide(self, request: Request, view: View, at: datetime) -> Decision:
        """The decision on `request` at `at` (aware). Never raises for what a request says."""
        resource = request.resource
        properties = resource.properties
        organization: Any = self._site
        if "organization" in properties or "organization" in request.context or not organization:
            organization = organization_of(request, organization)
        category: Any = properties.get("category")
        if category.__class__ is not str and (category is not None or request.deferred):
            category = _category(category, request)
        place = self._places.get((request.action.name, resource.type, category, organization))
        if place is None:
            if not organization:
                return self._refused(request, view)
            place = self._settled(request, category, organization)
        window = place.window
        if window.start is not None:
            window = place.at(at)
        left = place.bucket.sieve(request, view, at, window.live)
        if isinstance(left, int):
            held = window.memory.get(left)
            if held is None:
                alive = left & window.applies
                held = self._hold(place, window, left, Standing(window.applies, alive, 0, alive, ()))
        else:
            held = self._in_doubt(place, window, left)
        until = window.edge
        if place.restless and (place.moving or view.__class__ is not NoFacts):
            until = place.edge(window, request, view, at)
        decision: Decision = held.decision
        if decision.facts == view.revision and decision.valid_until is until:
            return decision
        return held.at(view, at, until)

    def _in_doubt(self, place: Place, window: Window, marks: tuple[Mark, ...]) -> _Held:
        """Where some part of a condition is neither true nor false."""
        out = false = open_ = 0
        doubts = []
        for mark in (window.mark, *marks):
            if mark[1]:
                out |= mark[1]
                false |= mark[2]
            if mark[3] is not None:
                doubts.append(mark[3])
        candidates = window.applies & ~false
        alive = window.applies & ~out
        concerned = tuple(doubt for doubt in doubts if doubt.everyone & candidates)
        for doubt in concerned:
            open_ |= doubt.open
        key = (alive, open_ & alive, candidates, concerned)
        held = window.memory.get(key)
        if held is None:
            held = self._hold(place, window, key, Standing(window.applies, *key))
        return held

    def _hold(self, place: Place, window: Window, key: Any, standing: Standing) -> _Held:
        """Work out a verdict and remember it."""
        self._held += 1
        if self._held > MAX_HELD:
            self._held = 1
            for known in self._places.values():
                known.forget()
        held = window.memory[key] = _Held(verdict(place, standing, self.rules.fingerprint))
        return held

    def _settled(self, request: Request, category: Any, organization: str) -> Place:
        verb, kind = request.action.name, request.resource.type
        shelf = self._shelves[self.rules.bucket_of(verb, kind)]
        bucket = shelf.by_row if category is BY_ROW else shelf.known
        about = bucket.about(None if category is BY_ROW else category)
        site, layers = self.rules.site, self.rules.layers(organization)
        place = Place(bucket, request.operation, organization, about, layers, site.timezone, self._facts)
        if len(self._places) >= MAX_PLACES:
            self._places.clear()
            self._held = 0
        self._places[verb, kind, category, organization] = place
        return place

    def _refused(self, request: Request, view: View) -> Decision:
        reason = Reason("no-organization", "the request belongs to no organisation")
        bundle, facts = self.rules.fingerprint, view.revision
        return Decision(Effect.DENY, request.operation, reasons=(reason,), bundle=bundle, facts=facts)


def _category(category: Any, request: Request) -> Any:
    if category is not None:
        return category if isinstance(category, str) else ODD
    return BY_ROW if is_deferred(CATEGORY.path, request.deferred) else None


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
        self.asks: dict[Part, Ask] = {}

    def compiled(self) -> Generator[None, None, Compiled]:
        for number, rule in enumerate(self.rules.every):
            self.split[id(rule)] = self.parts.of(rule.policy.when)
            if number % STEP == STEP - 1:
                yield
        shelves: dict[tuple[str, str], Shelf] = {}
        known: dict[tuple[tuple[int, frozenset[str]], ...], Shelf] = {}
        for verb, kind in product(*({*names, "*"} for names in self.rules.named)):
            found = [(rule, rule.category_of(verb, kind) or frozenset()) for rule in self.rules.rules(verb, kind)]
            same = tuple((id(rule), categories) for rule, categories in found)
            if same not in known:
                known[same] = yield from self.shelf(found)
            shelves[verb, kind] = known[same]
            yield
        return Compiled(self.rules, shelves, self.facts)

    def shelf(self, found: list[tuple[Rule, frozenset[str]]]) -> Generator[None, None, Shelf]:
        items = [Item(rule, rule.policy.when, self.split[id(rule)], categories) for rule, categories in found]
        known = yield from assembled(items, self.facts, self.ask)
        if all("*" in categories for _, categories in found):
            return Shelf(known, known)
        items = [item if "*" in item.categories else self.by_row(item) for item in items]
        by_row = yield from assembled(items, self.facts, self.ask)
        by_row.watch = known.watch  # what is watched is the policies as they are written
        return Shelf(known, by_row)

    def by_row(self, item: Item) -> Item:
        condition = by_category(item.rule.policy, item.categories)
        return Item(item.rule, condition, self.parts.of(condition), frozenset("*"))

    def ask(self, part: Part) -> Ask:
        found = self.asks.get(part)
        if found is None:
            found = self.asks[part] = asking(part, self.facts, self.rules.site.timezone)
        return found
