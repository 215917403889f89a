"""The rules of one operation, ready to be asked: items, columns, questions, and the sieve.

An *item* is a rule with the parts of its condition. *Columns* are the parts
that look at one attribute, *questions* those that look at several. The *sieve*
is one generated function that reads all attributes of a request and says which
items are out. A step of it is skipped when no item that is still in question
depends on it.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias, TypeVar

from spir.engine.compiled.column import Column
from spir.engine.compiled.facts import FAILED, Facts, Read, fact_of
from spir.engine.compiled.marks import Mark, Stake, clear, mark
from spir.engine.compiled.masks import mask_of, positions
from spir.engine.compiled.parts import Part
from spir.engine.compiled.question import Ask, Question
from spir.engine.compiled.reading import Reads
from spir.engine.compiled.source import Draft, made
from spir.engine.ruleset import Rule
from spir.model.condition import And, Condition
from spir.model.decision import Reason
from spir.model.facts import View
from spir.model.policy import ALWAYS, Kind, OnMissing
from spir.model.request import Request
from spir.model.value import Unknown, Why

__all__ = ["STEP", "Bucket", "Item", "Sieve", "assembled"]

# (request, view, moment, candidates with the bit `doubtful`) -> the candidates for which nothing is false; if
# the bit is lost, and with it their being in, a tuple of these candidates and the doubt of each step, or None.
Sieve: TypeAlias = Callable[[Request, View, datetime, int], int | tuple[Any, ...]]
K = TypeVar("K")

# So much is done between two steps of building: about a millisecond.
STEP = 100


class Item:
    """A rule with the parts of its condition, and its side of the formula (see `spir.engine.formula`).

    `needs_not`: what decides is "surely not" rather than "surely". `opposite`:
    what stands in the formula is the negation of that. `categories` of the
    operation it is about; {"*"} for all.
    """

    __slots__ = ("categories", "compound", "kind", "needs_not", "opposite", "parts", "reason", "rule")

    def __init__(self, rule: Rule, condition: Condition, parts: tuple[Part, ...], categories: frozenset[str]) -> None:
        side = (rule.policy.kind, rule.policy.on_missing)
        self.rule = rule
        self.kind = rule.policy.kind
        self.parts = parts
        self.compound = isinstance(condition, And)
        self.categories = categories
        self.needs_not = side in _NEEDS_NOT
        self.opposite = side in _OPPOSITE
        self.reason = _reason(rule)


_STRICT, _LENIENT = OnMissing.DENY, OnMissing.IGNORE
_NEEDS_NOT = {(Kind.DENY, _STRICT), (Kind.REQUIRE, _LENIENT), (Kind.OBLIGE, _STRICT)}
_OPPOSITE = {(Kind.DENY, _LENIENT), (Kind.REQUIRE, _LENIENT), (Kind.OBLIGE, _STRICT)}


def _reason(rule: Rule) -> Reason:
    """What is said where a deny or a require stands in the way and all of it is known."""
    policy, layer = rule.policy, rule.layer.label
    if policy.kind is Kind.REQUIRE:
        return Reason("requirement-not-met", f"`{policy.id}` requires what does not hold", policy.id, layer)
    return Reason("denied", f"`{policy.id}` forbids it", policy.id, layer)


class Watch:
    """What can change a decision by itself: parts that look at the clock (and at nothing else, `clocks`; at
    attributes too, `moving`), and facts, as (`patient` or `staff`, attribute), with the items that ask about them.
    """

    __slots__ = ("clocks", "facts", "moving")

    def __init__(self, stakes: tuple[Stake, ...]) -> None:
        self.clocks = tuple(s for s in stakes if s.part.clock_only)
        self.moving = tuple(s for s in stakes if s.part.clock and not s.part.clock_only)
        self.facts = _facts(stakes)


class Bucket:
    """The items of one operation. Made by `assembled`; not changed afterwards but for what it remembers."""

    def __init__(self, items: Iterable[Item], stakes: Iterable[Stake], ask: Callable[[Part], Ask]) -> None:
        self.items = tuple(items)
        self.ids = tuple(item.rule.policy.id for item in self.items)
        self.doubtful = 1 << len(self.items)
        stakes = tuple(stakes)
        self.watch = Watch(stakes)
        numbered = tuple(enumerate(self.items))
        self.kinds = masks((item.kind, n) for n, item in numbered)
        self.layers = masks((item.rule.layer, n) for n, item in numbered)
        self.jurisdictions = masks((item.rule.jurisdiction, n) for n, item in numbered)
        self.categories = masks((name, n) for n, item in numbered for name in item.categories)
        self.dated = masks((item.rule.policy.valid, n) for n, item in numbered if item.rule.policy.valid != ALWAYS)
        self.burdened = mask_of(n for n, item in numbered if item.rule.policy.obligations)
        self.fixed = mark(((s, s.part.constant()) for s in stakes if s.part.fixed), self.doubtful)
        self.clocks = tuple(s for s in stakes if s.part.clock_only)
        several = (s for s in stakes if not (s.part.path or s.part.fixed or s.part.clock_only))
        self.questions = tuple(Question(s, ask(s.part), self.doubtful) for s in several)
        self.columns: tuple[Column, ...] = ()
        self.sieve: Sieve = lambda request, view, at, live: live

    def named(self, members: int) -> tuple[str, ...]:
        """The ids of the members' policies, in the order of the documents."""
        ids = self.ids
        return tuple([ids[n] for n in positions(members)])

    def about(self, category: str | None) -> int:
        """The items about a category, or about requests that have none."""
        every = self.categories.get("*", 0)
        return every if category is None or category == "*" else every | self.categories.get(category, 0)


def masks(pairs: Iterable[tuple[K, int]]) -> dict[K, int]:
    """From keys to the sets of members that have them."""
    found: dict[K, list[int]] = {}
    for key, member in pairs:
        found.setdefault(key, []).append(member)
    return {key: mask_of(members) for key, members in found.items()}


def _facts(stakes: tuple[Stake, ...]) -> Mapping[tuple[str, str], int]:
    found: dict[tuple[str, str], int] = {}
    for stake in stakes:
        for fact in filter(None, map(fact_of, stake.part.paths)):
            found[fact] = found.get(fact, 0) | stake.everyone
    return found


# -- building --------------------------------------------------------------------------------


def assembled(items: list[Item], facts: Facts, ask: Callable[[Part], Ask]) -> Generator[None, None, Bucket]:
    """Build a bucket in steps. `ask` gives the function that asks a part of a request."""
    stakes = yield from _stakes(items)
    bucket = Bucket(items, stakes, ask)
    yield
    by_path: dict[str, list[Stake]] = {}
    for stake in stakes:
        if stake.part.path:
            by_path.setdefault(stake.part.path, []).append(stake)
    columns = []
    for path in sorted(by_path):
        columns.append(Column(path, by_path[path], bucket.doubtful))
        yield
    bucket.columns = tuple(sorted(columns, key=lambda column: -column.everyone.bit_count()))
    bucket.sieve = _sieve(bucket, facts)
    yield
    return bucket


def _stakes(items: list[Item]) -> Generator[None, None, list[Stake]]:
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
    stakes = []
    for part, found in members.items():
        stakes.append(Stake(part, *map(mask_of, found)))
        if len(stakes) % STEP == 0:
            yield
    return stakes


def _sieve(bucket: Bucket, facts: Facts) -> Sieve:
    """Columns first, those of most items before the others: what follows is asked of fewer and fewer."""
    writer = _SieveWriter(facts, bucket.doubtful)
    for column in bucket.columns:
        writer.column(column)
        if writer.steps in (3, 6):
            writer.lines.append(f"if live == {writer.draft.constant(bucket.doubtful)}: return live")
    for question in bucket.questions:
        writer.question(question)
    return writer.written(bucket.doubtful)


class _SieveWriter:
    """The source of a sieve: a step for each column and question, skipped where nobody left depends on it."""

    def __init__(self, facts: Facts, doubtful: int) -> None:
        self.facts = facts
        self.draft = Draft()
        self.clear = self.draft.constant(clear(doubtful))
        self.reads = Reads(self.draft)
        self.lines: list[str] = []
        self.steps = 0

    def column(self, column: Column) -> None:
        constant = self.draft.constant
        lines = [f"v = {self.reads.expression(column.path)}", "if v is None:", f"    e = {self.absence(column)}"]
        if column.textual:
            lines += [
                "elif v.__class__ is str:",
                f"    e = {constant(column.texts.get)}(v, {constant(column.stranger)})",
            ]
        lines += [
            "else:",
            "    try:",
            f"        e = {constant(column.marks)}[v.__class__][v]",
            f"    except {constant((KeyError, TypeError))}:",
            f"        e = {constant(column.of)}(v)",
        ]
        self.step(column.everyone, lines)

    def question(self, question: Question) -> None:
        asked = f"{self.draft.constant(question.ask)}(request, view, at)"
        self.step(question.everyone, [f"e = {self.draft.constant(question.marks)}[{asked}]"])

    def step(self, everyone: int, lines: list[str]) -> None:
        name = f"e{self.steps}"
        self.lines.append(f"if live & {self.draft.constant(everyone)}:")
        self.lines += [f"    {line.replace('e = ', f'{name} = ')}" for line in lines]
        self.lines += [f"    live &= {name}[0]", "else:", f"    {name} = {self.clear}"]
        self.steps += 1

    def absence(self, column: Column) -> str:
        """The mark for a request that does not have the attribute."""
        fact = fact_of(column.path)
        if fact is None:
            return f"{self.draft.constant(column.absent)}[request.deferred]"
        return f"{self.draft.constant(_from_facts(column, self.facts.reader(*fact)))}(request, view, at)"

    def written(self, doubtful: int) -> Sieve:
        doubts = "".join(f"e{number}[1], " for number in range(self.steps))
        ending = f"return live if live >= {self.draft.constant(doubtful)} else (live, {doubts})"
        body = "\n".join(f"    {line}" for line in [*self.reads.lines, *self.lines, ending])
        return made(f"def made(request, view, at, live):\n{body}", self.draft.constants)


def _from_facts(column: Column, read: Read) -> Callable[[Request, View, datetime], Mark]:
    def found(request: Request, view: View, at: datetime) -> Mark:
        value = read(request, view, at)
        if value is None:
            return column.absent[request.deferred]
        if isinstance(value, Unknown):
            return column.without(Why.FAILED if value is FAILED else Why.MISSING)
        return column.known(value)

    return found
