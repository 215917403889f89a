"""Buckets built step by step, so that nobody has to wait for more than a few milliseconds while it is done."""

from __future__ import annotations

from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from typing import TypeAlias, TypeVar

from spir.engine.compiled.bucket import Bucket, Item, Sets, Watch
from spir.engine.compiled.column import columned
from spir.engine.compiled.facts import Facts
from spir.engine.compiled.marks import Stake, mark
from spir.engine.compiled.parts import Part
from spir.engine.compiled.question import Asked, Question
from spir.engine.compiled.sieve import sieve_of
from spir.model.policy import ALWAYS

__all__ = ["STEP", "Steps", "assembled"]

T = TypeVar("T")
Steps: TypeAlias = Generator[None, None, T]

# So many items are seen to between two steps of building: a millisecond or two.
STEP = 40


def assembled(items: list[Item], facts: Facts, ask: Callable[[Part], Asked]) -> Steps[Bucket]:
    """The bucket of these items. `ask` tells how a part is asked of a request."""
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
    watch = Watch(tuple(stakes.clocks), moving, stakes.facts)
    fixed = mark(((stake, stake.part.constant()) for stake in stakes.fixed), doubtful)
    sieve = yield from sieve_of(columns, questions, facts, doubtful)
    yield
    ids = tuple([item.rule.policy.id for item in items])
    return Bucket(tuple(items), ids, doubtful, sets, watch, fixed, tuple(stakes.clocks), sieve)


def _sets(items: list[Item]) -> Steps[Sets]:
    found = Sets({}, {}, {}, {}, {}, {})
    for number, item in enumerate(items):
        rule, policy, bit = item.rule, item.rule.policy, 1 << number
        _put(found.kinds, item.kind, bit)
        _put(found.layers, rule.layer, bit)
        _put(found.jurisdictions, rule.jurisdiction, bit)
        for name in item.categories:
            _put(found.categories, name, bit)
        if policy.valid is not ALWAYS and policy.valid != ALWAYS:
            _put(found.dated, policy.valid, bit)
        if policy.obligations:
            _put(found.burdened, True, bit)
        if number % STEP == STEP - 1:
            yield
    return found


def _put(sets: dict[T, int], key: T, bits: int) -> None:
    sets[key] = sets.get(key, 0) | bits


@dataclass(slots=True)
class _Stakes:
    """The stakes of a bucket by what their parts look at, and the items that ask about facts."""

    by_path: dict[str, list[Stake]] = field(default_factory=dict)
    several: list[Stake] = field(default_factory=list)
    clocks: list[Stake] = field(default_factory=list)
    fixed: list[Stake] = field(default_factory=list)
    facts: dict[tuple[str, str], int] = field(default_factory=dict)

    def add(self, stake: Stake) -> None:
        part = stake.part
        if part.path:
            self.by_path.setdefault(part.path, []).append(stake)
        elif part.fixed:
            self.fixed.append(stake)
        else:
            (self.clocks if part.clock_only else self.several).append(stake)
        for fact in part.facts:
            _put(self.facts, fact, stake.everyone)


def _stakes(items: list[Item]) -> Steps[_Stakes]:
    stakes: dict[Part, Stake] = {}
    for number, item in enumerate(items):
        bit = 1 << number
        for part in item.parts:
            stake = stakes.get(part)
            if stake is None:
                stake = stakes[part] = Stake(part, 0, 0, 0)
            stake.everyone |= bit
            if item.needs_not:
                stake.needs_not |= bit
            if item.compound:
                stake.compound |= bit
        if number % STEP == STEP - 1:
            yield
    found = _Stakes()
    for number, stake in enumerate(stakes.values()):
        found.add(stake)
        if number % STEP == STEP - 1:
            yield
    return found
