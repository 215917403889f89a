"""The rules of one operation, ready to be asked.

An *item* is a rule with the parts of its condition. *Columns* are the parts
that look at one attribute, *questions* those that look at several; the *sieve*
asks them all of a request. `assembly` makes buckets.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from spir.engine.compiled.marks import Mark, Stake
from spir.engine.compiled.masks import positions
from spir.engine.compiled.parts import Part
from spir.engine.compiled.sieve import Sieve
from spir.engine.ruleset import Rule
from spir.model.condition import And, Condition
from spir.model.decision import Reason
from spir.model.policy import Kind, Layer, OnMissing, Validity

__all__ = ["Bucket", "Item", "Sets", "Watch"]


class Item:
    """A rule with the parts of its condition, and its side of the formula (see `spir.engine.formula`).

    `needs_not`: what decides is "surely not" rather than "surely". `opposite`:
    what stands in the formula is the negation of that. `categories` of the
    operation it is about; {"*"} for all.
    """

    __slots__ = ("categories", "compound", "kind", "needs_not", "opposite", "parts", "rule")

    def __init__(self, rule: Rule, condition: Condition, parts: tuple[Part, ...], categories: frozenset[str]) -> None:
        side = (rule.policy.kind, rule.policy.on_missing)
        self.rule = rule
        self.kind = rule.policy.kind
        self.parts = parts
        self.compound = isinstance(condition, And)
        self.categories = categories
        self.needs_not = side in _NEEDS_NOT
        self.opposite = side in _OPPOSITE

    @property
    def reason(self) -> Reason:
        """What is said where a deny or a require stands in the way and all of it is known."""
        policy, layer = self.rule.policy, self.rule.layer.label
        if self.kind is Kind.REQUIRE:
            return Reason("requirement-not-met", f"`{policy.id}` requires what does not hold", policy.id, layer)
        return Reason("denied", f"`{policy.id}` forbids it", policy.id, layer)


_STRICT, _LENIENT = OnMissing.DENY, OnMissing.IGNORE
_NEEDS_NOT = {(Kind.DENY, _STRICT), (Kind.REQUIRE, _LENIENT), (Kind.OBLIGE, _STRICT)}
_OPPOSITE = {(Kind.DENY, _LENIENT), (Kind.REQUIRE, _LENIENT), (Kind.OBLIGE, _STRICT)}


@dataclass(frozen=True, slots=True)
class Sets:
    """Which items are of a kind, of a layer, of a jurisdiction, about a category; which are not always
    in force; and which have obligations (under `True`)."""

    kinds: dict[Kind, int]
    layers: dict[Layer, int]
    jurisdictions: dict[str, int]
    categories: dict[str, int]
    dated: dict[Validity, int]
    burdened: dict[bool, int]


@dataclass(frozen=True, slots=True)
class Watch:
    """What can change a decision by itself: parts that look at the clock (and at nothing else, `clocks`; at
    attributes too, `moving`), and facts, as (`patient` or `staff`, attribute), with the items that ask about them.
    """

    clocks: tuple[Stake, ...]
    moving: tuple[Stake, ...]
    facts: Mapping[tuple[str, str], int]


@dataclass(frozen=True, slots=True, eq=False)
class Bucket:
    """Immutable, but for the marks that its columns and questions remember.

    `doubtful` is the bit beyond all items (see `marks`). `fixed` is the mark of
    what depends on nothing, `clocks` are the parts that depend on the clock alone.
    """

    items: tuple[Item, ...]
    ids: tuple[str, ...]
    doubtful: int
    sets: Sets
    watch: Watch
    fixed: Mark
    clocks: tuple[Stake, ...]
    sieve: Sieve

    def named(self, members: int) -> tuple[str, ...]:
        """The ids of the members' policies, in the order of the documents."""
        ids = self.ids
        return tuple([ids[n] for n in positions(members)])

    def about(self, category: str | None) -> int:
        """The items about a category, or about requests that have none."""
        found = self.sets.categories
        every = found.get("*", 0)
        return every if category is None or category == "*" else every | found.get(category, 0)
