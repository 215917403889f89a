"""Buckets built step by step, so that nobody has to wait for more than a few milliseconds while it is done."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import Any, TypeAlias, TypeVar

from spir.engine.compiled.bucket import Bucket, Item, Sets, Watch
from spir.engine.compiled.column import columned
from spir.engine.compiled.facts import Facts, fact_of
from spir.engine.compiled.marks import Stake, mark
from spir.engine.compiled.masks import mask_of
from spir.engine.compiled.parts import Part
from spir.engine.compiled.question import Ask, Question
from spir.engine.compiled.sieve import sieve_of
from spir.model.policy import ALWAYS

__all__ = ["STEP", "Steps", "assembled"]

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]

# So many items are seen to between two steps of building: a millisecond or two.
STEP = 40


def assembled(items: list[Item], facts: Facts, ask: Callable[[Part], Ask]) -> Steps[Bucket]:
    """The bucket of these items. `ask` gives the function that asks a part of a request."""
    doubtful = 1 << len(items)
    sets = yield from _sets(items)
    stakes = yield from _stakes(items)
    columns = []
    for path in sorted(stakes.by_path):
        columns.append((yield from columned(path, stakes.by_path[path], doubtful)))
    questions = []
    for stake in stakes.several:
        questions.append(Question(stake, ask(stake.part), doubtful))
        yield
    moving = tuple(stake for stake in stakes.several if stake.part.clock)
    watch = Watch(tuple(stakes.clocks), moving, {fact: mask_of(held) for fact, held in stakes.facts.items()})
    fixed = mark(((stake, stake.part.constant()) for stake in stakes.fixed), doubtful)
    sieve = sieve_of(columns, questions, facts, doubtful)
    yield
    ids = tuple([item.rule.policy.id for item in items])
    return Bucket(tuple(items), ids, doubtful, sets, watch, fixed, tuple(stakes.clocks), sieve)


def _sets(items: list[Item]) -> Steps[Sets]:
    members: dict[str, dict[Any, list[int]]] = {name: {} for name in Sets.__match_args__}
    for number, item in enumerate(items):
        for name, key in _memberships(item):
            members[name].setdefault(key, []).append(number)
        if number % STEP == STEP - 1:
            yield
    return Sets(*({key: mask_of(held) for key, held in members[name].items()} for name in Sets.__match_args__))


def _memberships(item: Item) -> list[tuple[str, Any]]:
    """(field of Sets, key) of all sets that the item is in."""
    rule, policy = item.rule, item.rule.policy
    found: list[tuple[str, Any]] = [("kinds", item.kind), ("layers", rule.layer), ("jurisdictions", rule.jurisdiction)]
    found += [("categories", name) for name in item.categories]
    if policy.valid != ALWAYS:
        found.append(("dated", policy.valid))
    if policy.obligations:
        found.append(("burdened", True))
    return found


@dataclass(slots=True)
class _Stakes:
    """The stakes of a bucket by what their parts look at, and the items that ask about facts."""

    by_path: dict[str, list[Stake]] = field(default_factory=dict)
    several: list[Stake] = field(default_factory=list)
    clocks: list[Stake] = field(default_factory=list)
    fixed: list[Stake] = field(default_factory=list)
    facts: dict[tuple[str, str], list[int]] = field(default_factory=dict)

    def add(self, stake: Stake, members: list[int]) -> None:
        part = stake.part
        if part.path:
            self.by_path.setdefault(part.path, []).append(stake)
        elif part.fixed:
            self.fixed.append(stake)
        else:
            (self.clocks if part.clock_only else self.several).append(stake)
        for path in part.paths:
            fact = fact_of(path)
            if fact is not None:
                self.facts.setdefault(fact, []).extend(members)


def _stakes(items: list[Item]) -> Steps[_Stakes]:
    members: dict[Part, tuple[list[int], list[int], list[int]]] = {}
    for number, item in enumerate(items):
        for part in item.parts:
            everyone, needs_not, compound = members.setdefault(part, ([], [], []))
            everyone.append(number)
            if item.needs_not:
                needs_not.append(number)
            if item.compound:
                compound.append(number)
        if number % STEP == STEP - 1:
            yield
    found = _Stakes()
    for number, (part, held) in enumerate(members.items()):
        found.add(Stake(part, *map(mask_of, held)), held[0])
        if number % STEP == STEP - 1:
            yield
    return found
