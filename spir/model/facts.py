"""Facts: live attributes with a source, a validity and a place in time.

The store answers both ways: the care team of a patient, and the patients
whose care team holds this doctor. A snapshot is immutable and cheap: writes
copy one shard of 256, so a decision and the rows that follow it see one state.

Pure: durability is an adapter's business (`adapters.backbone`).
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from enum import Enum
from typing import Protocol, TypeAlias, TypeVar

from spir.errors import FactError
from spir.model.value import Lack, Unknown, Value, Why

__all__ = [
    "CLOSED",
    "DOUBT",
    "Assert",
    "Change",
    "Doubt",
    "Fact",
    "FactStore",
    "Held",
    "Join",
    "Joining",
    "Key",
    "Merge",
    "Retract",
    "Settle",
    "Snapshot",
    "View",
]

Key: TypeAlias = tuple[str, str]  # (kind, id): ("patient", "HIS|P001"), ("staff", "dr.li")

CLOSED = "closed"  # true of a part: the parts under it do not hold
DOUBT = "doubt"  # true of a scope: no fact of the key can be trusted


@dataclass(frozen=True, slots=True)
class Fact:
    """One value of one attribute.

    `part` is what the value belongs to (a visit, a segment): facts of one
    attribute with different parts live side by side and are joined on reading.
    `as_of` is when it became true in the world; a fact never replaces a newer
    one of the same part. A `value` of None says that there is none any more.

    A part may lie under another: `visit:V1/attending` under `visit:V1`. While
    the upper part's fact `CLOSED` is true, those under it do not hold, whenever
    they were learnt: an update that is sent after the discharge opens nothing.
    """

    key: Key
    attribute: str
    value: Value
    source: str
    as_of: datetime
    part: str = ""
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    def holds(self, at: datetime) -> bool:
        after = self.valid_from is None or self.valid_from <= at
        return after and (self.valid_until is None or at < self.valid_until)


@dataclass(frozen=True, slots=True)
class Assert:
    fact: Fact


@dataclass(frozen=True, slots=True)
class Retract:
    """The attribute's part has no value from `as_of` on; all attributes of the part if "" is given."""

    key: Key
    attribute: str
    part: str
    source: str
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Merge:
    """`prior` survives only as another name of `surviving`; its facts move there (HL7 v2 A40)."""

    prior: Key
    surviving: Key
    source: str
    as_of: datetime


@dataclass(frozen=True, slots=True)
class Doubt:
    """What we hold about `key` may be outdated in the dangerous direction: every fact of it fails.

    `scopes` names what is in doubt, so that each can be settled by itself.
    """

    key: Key
    source: str
    as_of: datetime
    scopes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Settle:
    """An operator (or a later good message) has resolved the doubt.

    Without `scopes`: every doubt about the key. With them: those doubts only,
    and none that is newer than `as_of`.
    """

    key: Key
    source: str
    as_of: datetime
    scopes: tuple[str, ...] = ()


Change: TypeAlias = Assert | Retract | Merge | Doubt | Settle


class Joining(Enum):
    """How the parts of one attribute make one value."""

    LATEST = "latest"  # the newest part
    UNION = "union"  # lists: all members
    ANY = "any"  # booleans: true wins
    PRIORITY = "priority"  # the first of `order` that any part has


@dataclass(frozen=True, slots=True)
class Join:
    kind: Joining = Joining.LATEST
    order: tuple[Value, ...] = ()


@dataclass(frozen=True, slots=True)
class Held:
    """A value the store holds now, and until when by itself (None: open)."""

    value: Value
    until: datetime | None = None


class View(Protocol):
    """What a decision needs of facts. `Snapshot` is one; tests may bring their own."""

    @property
    def revision(self) -> int: ...

    def get(self, key: Key, attribute: str, at: datetime) -> Held | Unknown: ...

    def who(self, kind: str, attribute: str, value: Value, at: datetime) -> frozenset[str]: ...

    def next_change(self, key: Key, attribute: str, at: datetime) -> datetime | None: ...

    def next_who(self, kind: str, attribute: str, value: Value, at: datetime) -> datetime | None: ...


S = TypeVar("S")
Slot: TypeAlias = tuple[str, str]  # (attribute, part)
Rows: TypeAlias = Mapping[Slot, Fact]

SHARDS = 256

# The keys that one value is found under: one set while they are few, sets by shard when they are
# many. Adding one key to a set copies it, and half of a hospital may be `in-progress`.
Holders: TypeAlias = frozenset[Key] | tuple[frozenset[Key], ...]
FEW = 256


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The facts at one revision."""

    revision: int
    shards: tuple[Mapping[Key, Rows], ...]
    index: tuple[Mapping[tuple[str, Value], Holders], ...]
    aliases: Mapping[Key, Key]
    doubted: frozenset[Key]
    joins: Mapping[str, Join]

    def resolve(self, key: Key) -> Key:
        """The surviving key of a merged one; the key itself otherwise."""
        seen = 0
        while key in self.aliases and seen < 64:
            key, seen = self.aliases[key], seen + 1
        return key

    def rows(self, key: Key) -> Rows:
        """What is stored under this very key, tombstones included: for those who make facts durable."""
        return self.shards[_shard(key)].get(key, {})

    def facts(self, key: Key) -> tuple[Fact, ...]:
        """All facts of a key, tombstones left out, oldest first."""
        key = self.resolve(key)
        rows = self.shards[_shard(key)].get(key, {})
        return tuple(sorted((f for f in rows.values() if f.value is not None), key=lambda f: f.as_of))

    def every_key(self) -> Iterator[Key]:
        for shard in self.shards:
            yield from shard

    def get(self, key: Key, attribute: str, at: datetime) -> Held | Unknown:
        """The joined value of the parts that hold at `at`; Unknown MISSING, or FAILED if in doubt."""
        key = self.resolve(key)
        name = f"{key[0]}.{attribute}"
        if key in self.doubted:
            return Unknown(frozenset((Lack(name, Why.FAILED),)))
        rows = self.shards[_shard(key)].get(key, {})
        parts = [
            fact
            for (given, part), fact in rows.items()
            if given == attribute and fact.value is not None and not _closed(rows, part)
        ]
        until = _next_edge(parts, at)
        value = _joined([fact for fact in parts if fact.holds(at)], self.joins.get(attribute, Join()))
        if value is None:
            return Unknown(frozenset((Lack(name, Why.MISSING),)))
        return Held(value, until)

    def next_change(self, key: Key, attribute: str, at: datetime) -> datetime | None:
        """When a fact of this attribute begins or ends next, whether or not there is a value now."""
        rows = self.shards[_shard(self.resolve(key))].get(self.resolve(key), {})
        return _next_edge([f for (given, _), f in rows.items() if given == attribute], at)

    def who(self, kind: str, attribute: str, value: Value, at: datetime) -> frozenset[str]:
        """Ids of `kind` whose `attribute` is `value`, or a list that holds it; merged names included."""
        found = {key for key in self._holders(kind, attribute, value) if self._has(key, attribute, value, at)}
        names = {prior[1] for prior in self.aliases if self.resolve(prior) in found}
        return frozenset(key[1] for key in found) | names

    def next_who(self, kind: str, attribute: str, value: Value, at: datetime) -> datetime | None:
        """When `who` may answer otherwise by itself: a fact of one that has or had the value begins or ends."""
        edges = (self.next_change(key, attribute, at) for key in self._holders(kind, attribute, value))
        return min((edge for edge in edges if edge is not None), default=None)

    def _holders(self, kind: str, attribute: str, value: Value) -> Iterator[Key]:
        """Keys with any fact of this value, whether it holds now or not."""
        entry = (attribute, value)
        members = _members(self.index[_shard(entry)].get(entry, frozenset()))
        return (key for key in members if key[0] == kind)

    def _has(self, key: Key, attribute: str, value: Value, at: datetime) -> bool:
        held = self.get(key, attribute, at)
        if isinstance(held, Unknown):
            return False
        return value in held.value if isinstance(held.value, tuple) else held.value == value


def empty_snapshot(joins: Mapping[str, Join] | None = None) -> Snapshot:
    nothing: tuple[Mapping[Key, Rows], ...] = tuple({} for _ in range(SHARDS))
    no_index: tuple[Mapping[tuple[str, Value], Holders], ...] = tuple({} for _ in range(SHARDS))
    return Snapshot(0, nothing, no_index, {}, frozenset(), joins or {})


@dataclass(slots=True)
class FactStore:
    """The current snapshot and the way to the next. One writer; readers keep their snapshot."""

    snapshot: Snapshot = field(default_factory=empty_snapshot)

    def apply(self, changes: Iterable[Change], revision: int | None = None) -> Snapshot:
        """The snapshot after `changes`, which becomes the current one. All or nothing: FactError changes nothing."""
        draft = _Draft(self.snapshot)
        for change in changes:
            draft.apply(change)
        self.snapshot = draft.finish(self.snapshot.revision + 1 if revision is None else revision)
        return self.snapshot

    def load(self, facts: Iterable[Fact], revision: int) -> Snapshot:
        """Put stored facts where they were, whatever their age; the way back after a restart."""
        found: dict[Key, dict[Slot, Fact]] = {}
        for fact in facts:
            found.setdefault(fact.key, {})[fact.attribute, fact.part] = fact
        draft = _Draft(self.snapshot)
        for key, rows in found.items():
            draft.load(key, rows)
        self.snapshot = draft.finish(revision)
        return self.snapshot

    def forget(self, gone: Iterable[tuple[Key, str, str]]) -> Snapshot:
        """Drop (key, attribute, part) as if it had never been: for tombstones and facts that are long over.

        The revision stays: no decision can change by it.
        """
        draft = _Draft(self.snapshot)
        for key, attribute, part in gone:
            draft.forget(key, (attribute, part))
        self.snapshot = draft.finish(self.snapshot.revision)
        return self.snapshot


class _Draft:
    """A snapshot in the making: shards are copied at their first write."""

    def __init__(self, base: Snapshot) -> None:
        self.base = base
        self.shards: dict[int, dict[Key, Rows]] = {}
        self.index: dict[int, dict[tuple[str, Value], Holders]] = {}
        self.aliases = base.aliases
        self.doubted = base.doubted

    def apply(self, change: Change) -> None:
        match change:
            case Assert(fact):
                key = self._resolve(fact.key)
                self._put(fact if key == fact.key else replace(fact, key=key))
            case Retract(key, attribute, part, source, as_of):
                self._retract(self._resolve(key), attribute, part, source, as_of)
            case Merge(prior, surviving):
                self._merge(prior, self._resolve(surviving))
            case Doubt(key, source, as_of, scopes):
                for scope in scopes or ("",):
                    self._put(Fact(self._resolve(key), DOUBT, True, source, as_of, scope))
            case Settle(key, source, as_of, scopes):
                self._settle(self._resolve(key), source, as_of, scopes)

    def load(self, key: Key, rows: Rows) -> None:
        self._write(key, {**self._rows(key), **rows})

    def forget(self, key: Key, slot: Slot) -> None:
        rows = self._rows(key)
        if slot in rows:
            self._write(key, {name: fact for name, fact in rows.items() if name != slot})

    def finish(self, revision: int) -> Snapshot:
        shards = _replaced(self.base.shards, self.shards)
        index = _replaced(self.base.index, self.index)
        return Snapshot(revision, shards, index, self.aliases, self.doubted, self.base.joins)

    def _resolve(self, key: Key) -> Key:
        while key in self.aliases:
            key = self.aliases[key]
        return key

    def _rows(self, key: Key) -> Rows:
        number = _shard(key)
        return self.shards.get(number, self.base.shards[number]).get(key, {})

    def _put(self, fact: Fact) -> None:
        slot = (fact.attribute, fact.part)
        rows = self._rows(fact.key)
        held = rows.get(slot)
        if held is not None and held.as_of > fact.as_of:
            return  # INVARIANT: an older event never replaces a newer fact
        self._write(fact.key, {**rows, slot: fact})

    def _retract(self, key: Key, attribute: str, part: str, source: str, as_of: datetime) -> None:
        slots = [slot for slot in self._rows(key) if slot[1] == part] if not attribute else [(attribute, part)]
        for name, place in slots:
            self._put(Fact(key, name, None, source, as_of, place))

    def _settle(self, key: Key, source: str, as_of: datetime, scopes: tuple[str, ...]) -> None:
        doubts = [fact for (name, _), fact in self._rows(key).items() if name == DOUBT and fact.value]
        for fact in doubts:
            if not scopes:
                self._put(replace(fact, value=None, source=source, as_of=max(as_of, fact.as_of)))
            elif fact.part in scopes:
                self._put(replace(fact, value=None, source=source, as_of=as_of))

    def _merge(self, prior: Key, surviving: Key) -> None:
        prior = self._resolve(prior)
        if prior == surviving:
            return
        if prior[0] != surviving[0]:
            raise FactError(f"a {prior[0]} cannot be merged into a {surviving[0]}")
        moved = dict(self._rows(surviving))
        for (attribute, part), fact in self._rows(prior).items():
            place = part or f"merged:{len(self.aliases)}"
            held = moved.get((attribute, place))
            if held is None or _prevails(fact, held):  # both names may have had facts of one visit
                moved[attribute, place] = replace(fact, key=surviving, part=place)
        self._write(prior, {})
        self._write(surviving, moved)
        self.aliases = {**self.aliases, prior: surviving}

    def _write(self, key: Key, rows: Rows) -> None:
        number = _shard(key)
        old = self._rows(key)
        shard = self.shards.setdefault(number, dict(self.base.shards[number]))
        if rows:
            shard[key] = rows
        else:
            shard.pop(key, None)
        doubted = any(name == DOUBT and fact.value for (name, _), fact in rows.items())
        if doubted is not (key in self.doubted):
            self.doubted ^= {key}
        gone = _entries(fact for slot, fact in old.items() if rows.get(slot) is not fact)
        come = _entries(fact for slot, fact in rows.items() if old.get(slot) is not fact)
        for entry in gone and gone - _entries(rows.values()):  # another part may still have it
            self._reindex(entry, key, present=False)
        for entry in come - gone:
            self._reindex(entry, key, present=True)

    def _reindex(self, entry: tuple[str, Value], key: Key, present: bool) -> None:
        number = _shard(entry)
        part = self.index.setdefault(number, dict(self.base.index[number]))
        holders = _changed(part.get(entry, frozenset()), key, present)
        if holders:
            part[entry] = holders
        else:
            part.pop(entry, None)


def _prevails(moving: Fact, held: Fact) -> bool:
    """Which of two facts of one part a merge keeps: the newer one, and of doubts the open one.

    That a doubt about one name was settled says nothing of the doubt about the other.
    """
    if moving.attribute == DOUBT and bool(moving.value) is not bool(held.value):
        return bool(moving.value)
    return held.as_of < moving.as_of


def _replaced(base: tuple[S, ...], changed: Mapping[int, S]) -> tuple[S, ...]:
    """`base` with some shards changed; copied as a whole, because that is one step for 256 of them."""
    parts = list(base)
    for number, part in changed.items():
        parts[number] = part
    return tuple(parts)


def _closed(rows: Rows, part: str) -> bool:
    """Whether the part that `part` lies under is closed."""
    upper, slash, _ = part.rpartition("/")
    if not slash:
        return False
    closing = rows.get((CLOSED, upper))
    return closing is not None and closing.value is True


def _shard(key: object) -> int:
    return hash(key) % SHARDS


def _changed(holders: Holders, key: Key, present: bool) -> Holders:
    """The holders with or without a key; empty if none is left."""
    if present and key in (holders[_shard(key)] if isinstance(holders, tuple) else holders):
        return holders
    if isinstance(holders, tuple):
        number = _shard(key)
        part = holders[number] | {key} if present else holders[number] - {key}
        parts = (*holders[:number], part, *holders[number + 1 :])
        return parts if part or any(parts) else frozenset()
    few = holders | {key} if present else holders - {key}
    if len(few) <= FEW:
        return few
    split: list[set[Key]] = [set() for _ in range(SHARDS)]
    for member in few:
        split[_shard(member)].add(member)
    return tuple(frozenset(members) for members in split)


def _members(holders: Holders) -> Iterator[Key]:
    return iter(holders) if isinstance(holders, frozenset) else itertools.chain.from_iterable(holders)


def _entries(facts: Iterable[Fact]) -> set[tuple[str, Value]]:
    """What the reverse index holds: (attribute, value) for plain values and for members of lists."""
    found: set[tuple[str, Value]] = set()
    for fact in facts:
        members = fact.value if isinstance(fact.value, tuple) else (fact.value,)
        found.update((fact.attribute, m) for m in members if isinstance(m, (str, bool, int)))
    return found


def _next_edge(facts: Iterable[Fact], at: datetime) -> datetime | None:
    edges = (edge for f in facts for edge in (f.valid_from, f.valid_until) if edge is not None and edge > at)
    return min(edges, default=None)


def _joined(parts: list[Fact], join: Join) -> Value:
    """None if there is nothing to join."""
    if not parts:
        return None
    match join.kind:
        case Joining.LATEST:
            return max(parts, key=lambda fact: fact.as_of).value
        case Joining.ANY:
            return any(fact.value is True for fact in parts)
        case Joining.UNION:
            members: dict[Value, None] = {}
            for fact in sorted(parts, key=lambda fact: fact.as_of):
                members.update(dict.fromkeys(fact.value if isinstance(fact.value, tuple) else (fact.value,)))
            return tuple(members)
        case Joining.PRIORITY:
            present = {fact.value for fact in parts}
            return next((value for value in join.order if value in present), None)
