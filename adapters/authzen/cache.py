"""Decisions that may be given again: the same question, asked of the same rules and the same facts, in time.

An entry is found by the digest of its request and is good only for the bundle
and the facts revision it was decided on, from the moment of the decision until
the moment at which it could change by itself. A question that is asked often
keeps its place when the facts move on; only its answer is replaced.

Evicted by access frequency: the least used leaves, the older of two first; and
while all places are taken nobody leaves for a question that is asked for the
first time, since most are never asked again. All counts are halved now and then,
so that what was asked often last week does not stay for ever. Pure: time is
passed in.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

__all__ = ["CAPACITY", "DecisionCache"]

T = TypeVar("T")

CAPACITY = 512
AGEING = 16  # counts are halved after this many accesses per place
NEWCOMERS = 4  # how many questions that were asked once are known, per place


@dataclass(slots=True)
class _Slot(Generic[T]):
    value: T
    bundle: str
    facts: int
    since: datetime
    until: datetime | None
    uses: int = 1

    def good(self, bundle: str, facts: int, now: datetime) -> bool:
        same = self.facts == facts and self.bundle == bundle
        return same and self.since <= now and (self.until is None or now < self.until)


class DecisionCache(Generic[T]):
    """At most `capacity` answers. `hits` and `misses` count accesses."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.hits = 0
        self.misses = 0
        self._slots: dict[bytes, _Slot[T]] = {}
        # INVARIANT: one entry per slot, (uses, number, key), its uses never more than the slot's own.
        self._order: list[tuple[int, int, bytes]] = []
        self._once: set[bytes] = set()
        self._number = 0
        self._age = 0

    def __len__(self) -> int:
        return len(self._slots)

    def get(self, key: bytes, bundle: str, facts: int, now: datetime) -> T | None:
        """The answer that is still right, or None. Counts as an access of the key."""
        self._age += 1
        if self._age >= AGEING * self.capacity:
            self._halve()
        slot = self._slots.get(key)
        if slot is not None:
            slot.uses += 1
            if slot.good(bundle, facts, now):
                self.hits += 1
                return slot.value
        self.misses += 1
        return None

    def put(self, key: bytes, value: T, bundle: str, facts: int, now: datetime, until: datetime | None) -> None:
        """Keep an answer that was decided at `now` and is right until `until` (None: while bundle and facts stay)."""
        if self.capacity == 0 or (until is not None and until <= now):
            return
        held = self._slots.get(key)
        if held is None and not self._entered(key):
            return
        self._slots[key] = _Slot(value, bundle, facts, now, until, 1 if held is None else held.uses)

    def clear(self) -> None:
        self._slots.clear()
        self._order.clear()
        self._once.clear()

    def _entered(self, key: bytes) -> bool:
        """Make room for a new question, if it may have it."""
        if len(self._slots) >= self.capacity:
            if key not in self._once:
                self._meet(key)
                return False
            self._once.discard(key)
            self._evict()
        self._number += 1
        heapq.heappush(self._order, (1, self._number, key))
        return True

    def _meet(self, key: bytes) -> None:
        if len(self._once) >= NEWCOMERS * self.capacity:
            self._once.clear()
        self._once.add(key)

    def _evict(self) -> None:
        while True:
            noted, number, key = self._order[0]
            uses = self._slots[key].uses
            if uses == noted:
                heapq.heappop(self._order)
                del self._slots[key]
                return
            heapq.heapreplace(self._order, (uses, number, key))

    def _halve(self) -> None:
        self._age = 0
        for slot in self._slots.values():
            slot.uses = (slot.uses + 1) // 2
        self._order = [(self._slots[key].uses, number, key) for _, number, key in self._order]
        heapq.heapify(self._order)
