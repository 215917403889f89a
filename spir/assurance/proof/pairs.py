"""Which of thousands of regions meet, and which lie within one: whole sets of them at a time.

Every box is one bit. For each variable the index knows, for each domain that is
written of it, the boxes that have it; so "all boxes that could meet this one" is
a handful of joins of bit masks, and no pair is looked at that differs in a single
variable. What masks cannot see (relations between variables, variables that hang
together by what they are) is then asked of the boxes themselves.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

from spir.assurance.proof.assign import partners
from spir.assurance.proof.box import Box, covered
from spir.assurance.proof.domain import NOTHING, Choice, Domain, Point
from spir.assurance.proof.terms import Variable
from spir.assurance.proof.world import World

__all__ = ["Index"]

# So many pieces of a box are looked at when several boxes might cover it together.
PIECES = 200

ALL = -1  # every bit


@dataclass(slots=True)
class _Column:
    """The boxes that say something about one variable, by what they say. `free` are all the others."""

    universe: Domain
    masks: dict[Domain, int] = field(default_factory=dict)
    said: int = 0
    free: int = 0
    _named: dict[Point, int] = field(default_factory=dict)
    _wide: list[tuple[Domain, int]] = field(default_factory=list)
    _absent: int = 0
    _meeting: dict[Domain, int] = field(default_factory=dict)
    _within: dict[Domain, int] = field(default_factory=dict)

    def settle(self, everything: int) -> None:
        """Once all boxes are in."""
        for domain, mask in self.masks.items():
            self.said |= mask
            if domain.absent:
                self._absent |= mask
            if isinstance(domain, Choice) and not domain.others:
                for value in domain.values:
                    self._named[value] = self._named.get(value, 0) | mask
            else:
                self._wide.append((domain, mask))
        self.free = everything & ~self.said

    def meeting(self, domain: Domain) -> int:
        """Boxes that allow some value of the domain."""
        found = self._meeting.get(domain)
        if found is None:
            found = self._meeting[domain] = self.free | self._met(domain)
        return found

    def _met(self, domain: Domain) -> int:
        found = self._absent if domain.absent else 0
        if isinstance(domain, Choice) and not domain.others:
            for value in domain.values:
                found |= self._named.get(value, 0)
        else:
            for value, mask in self._named.items():
                found |= mask if value in domain else 0
        for wide, mask in self._wide:
            if mask & ~found and not (wide & domain).is_empty:
                found |= mask
        return found

    def within(self, domain: Domain) -> int:
        """Boxes that allow only values of the domain."""
        found = self._within.get(domain)
        if found is None:
            found = self.free if self.universe <= domain else 0
            outside = domain.complement()
            for other, mask in self.masks.items():
                found |= mask if (other & outside).is_empty else 0
            self._within[domain] = found
        return found


@dataclass(slots=True)
class Index:
    """Regions by their places in a sequence. Build with `Index.of`."""

    boxes: list[Box] = field(default_factory=list)
    owners: list[int] = field(default_factory=list)
    regions: dict[int, int] = field(default_factory=dict)  # place -> its boxes
    _columns: dict[Variable, _Column] = field(default_factory=dict)
    _everything: int = 0
    _related: int = 0
    _tied: dict[Variable, int] = field(default_factory=dict)  # by the variables they relate
    _partners: dict[Variable, int] = field(default_factory=dict)

    @classmethod
    def of(cls, regions: Iterable[Sequence[Box] | None]) -> Index:
        """None and () are regions that nothing meets, and that lie within nothing."""
        found = cls()
        for place, region in enumerate(regions):
            for box in region or ():
                found._add(box, place)
        found._everything = (1 << len(found.boxes)) - 1
        for column in found._columns.values():
            column.settle(found._everything)
        return found

    def _add(self, box: Box, place: int) -> None:
        bit = 1 << len(self.boxes)
        self.boxes.append(box)
        self.owners.append(place)
        self.regions[place] = self.regions.get(place, 0) | bit
        for variable, domain in box.domains.items():
            column = self._columns.get(variable)
            if column is None:
                column = self._columns[variable] = _Column(box.world.universe(variable))
            column.masks[domain] = column.masks.get(domain, 0) | bit
        for relation in box.relations:
            self._related |= bit
            for side in (relation.left, relation.right):
                self._tied[side] = self._tied.get(side, 0) | bit

    def owned(self, places: Iterable[int]) -> int:
        """The boxes of the regions at these places, as `among` takes them."""
        found = 0
        for place in places:
            found |= self.regions.get(place, 0)
        return found

    # -- regions that meet --

    def meeting(self, region: Sequence[Box] | None, among: int = ALL) -> list[int]:
        """Places of the regions that have a request in common with this one, rising; `among` so many only."""
        found: set[int] = set()
        for box in region or ():
            mask = self._met(box, among)
            asked = mask if box.relations else mask & self._unseen(box)
            found.update(self.owners[at] for at in _bits(mask & ~asked))
            for at in _bits(asked):
                if self.owners[at] not in found and box.meets_further(self.boxes[at]):
                    found.add(self.owners[at])
        return sorted(found)

    def _met(self, box: Box, among: int) -> int:
        """The boxes that meet it as far as masks see."""
        mask = self._everything & among
        for variable, domain in box.domains.items():
            if not mask:
                break
            column = self._columns.get(variable)
            if column is not None:
                mask &= column.meeting(domain)
        return mask

    def _unseen(self, box: Box) -> int:
        """The boxes that are more than their domains, be it only together with this one."""
        mask = self._related
        for variable in box.domains:
            mask |= self._hanging(variable, box.world)
        return mask

    def _hanging(self, variable: Variable, world: World) -> int:
        """The boxes that say something about a variable that this one hangs together with."""
        mask = self._partners.get(variable)
        if mask is None:
            mask = 0
            for partner in partners(variable, self._columns, world):
                mask |= self._columns[partner].said
            self._partners[variable] = mask
        return mask

    # -- regions that lie within --

    def inside(self, region: Sequence[Box] | None, among: int = ALL) -> list[int]:
        """Places of the regions that surely lie within this one, rising. What is not decided in a bound does not."""
        if not region:
            return []
        sure = 0
        for box in region:
            sure |= self._lying(box, among)
        asked = self._near(region, among) & ~sure if len(region) > 1 else 0
        both = sure | asked
        places = sorted({self.owners[at] for at in _bits(both)})
        return [
            place
            for place in places
            if not self.regions[place] & ~both
            and all(covered(self.boxes[at], region, PIECES).whole for at in _bits(self.regions[place] & ~sure))
        ]

    def _lying(self, box: Box, among: int) -> int:
        """The boxes that lie within this one box."""
        sure, possible = self._within(box, among)
        sure = 0 if box.relations else sure
        for at in _bits(possible & ~sure):
            if self.boxes[at] <= box:
                sure |= 1 << at
        return sure

    def _within(self, box: Box, among: int) -> tuple[int, int]:
        """The boxes that lie within it as far as domains say; and those that may, being less than their domains."""
        sure = possible = self._everything & among
        for variable, domain in box.domains.items():
            column = self._columns.get(variable)
            if column is not None:
                within = column.within(domain)
            else:
                within = self._everything if box.world.universe(variable) <= domain else 0
            sure &= within
            possible &= within | self._tied.get(variable, 0) | self._hanging(variable, box.world)
            if not possible:
                break
        return sure, possible

    def _near(self, region: Sequence[Box], among: int) -> int:
        """The boxes that may lie within the region: those that may lie within a box around it."""
        around = dict(region[0].domains)
        for box in region[1:]:
            around = {v: domain | box.domains.get(v, NOTHING) for v, domain in around.items() if v in box.domains}
        return self._within(Box(region[0].world, around), among)[1]


def _bits(mask: int) -> Iterator[int]:
    """Places of the bits, rising."""
    while mask:
        low = mask & -mask
        yield low.bit_length() - 1
        mask ^= low
