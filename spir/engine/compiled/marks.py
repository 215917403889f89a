"""What one part of the policies' conditions does to the policies of a bucket.

A *mark* says which policies are out, for which of them the condition is false,
and where there is `Doubt`. For known values of the right type the first two
are the same and there is no doubt; that is the fast path, and `keep` is all it
needs: the policies that a mark leaves as they are, together with a bit beyond
all policies which only a mark without doubt keeps.

A policy is *out* when its own part of the formula is settled the harmless way:
a permit, a delegate, a strict require, a lenient deny or oblige as soon as one
member of its condition is not surely true; a strict deny or oblige and a
lenient require as soon as one member is surely not true. A policy that is
neither out nor left open is *in*: the permit grants, the deny forbids, the
require is met, the oblige binds.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from spir.engine.compiled.parts import Outcome, Part
from spir.model.condition import FALSE, TRUE
from spir.model.value import Lack, Why

__all__ = ["CLEAR", "Doubt", "Mark", "Stake", "mark", "plain", "together"]

NO_TRUTH = frozenset((Lack("&&", Why.INVALID),))


class Stake:
    """The policies of a bucket that have this part: all of them, and what they need of it."""

    __slots__ = ("compound", "everyone", "needs_not", "part")

    def __init__(self, part: Part, everyone: int, needs_not: int, compound: int) -> None:
        self.part = part
        self.everyone = everyone
        self.needs_not = needs_not  # out only when the part is surely not true
        self.compound = compound  # have it as a member of a conjunction

    @property
    def needs(self) -> int:
        return self.everyone & ~self.needs_not

    def within(self, mask: int) -> Stake:
        return Stake(self.part, self.everyone & mask, self.needs_not & mask, self.compound & mask)


class Doubt:
    """What is not plainly true or false, and for which policies. Compared by identity.

    `lacking` says what is missing for which policies, `outcomes` what is left of the parts of open ones.
    """

    __slots__ = ("everyone", "lacking", "open", "outcomes")

    def __init__(
        self, open_: int, lacking: tuple[tuple[int, frozenset[Lack]], ...], outcomes: Mapping[Part, Outcome]
    ) -> None:
        self.open = open_
        self.lacking = lacking
        self.everyone = open_
        for mask, _ in lacking:
            self.everyone |= mask
        self.outcomes = outcomes


Mark: TypeAlias = tuple[int, int, int, Doubt | None]  # keep, out, false, doubt

CLEAR: Mark = (-1, 0, 0, None)


def plain(out: int, doubtful: int) -> Mark:
    """The mark of parts that are all true or false: these policies are out."""
    return _all_but(out, doubtful), out, out, None


def _all_but(out: int, doubtful: int) -> int:
    return (doubtful * 2 - 1) & ~out  # no negative number: Python is slower with them


def mark(found: Iterable[tuple[Stake, bool | Outcome]], doubtful: int) -> Mark:
    """The mark of several parts together. `doubtful` is the bit beyond all policies."""
    out = false = open_ = 0
    lacking: dict[frozenset[Lack], int] = {}
    outcomes: dict[Part, Outcome] = {}
    for stake, outcome in found:
        if outcome is False:
            false |= stake.everyone
        elif isinstance(outcome, Outcome):
            gone, left = _effect(stake, outcome)
            out |= gone
            if left:
                open_ |= left
                outcomes[stake.part] = outcome
            lacks, lack_it = (outcome.lacks, stake.everyone) if outcome.lacks else (NO_TRUTH, stake.compound)
            lacking[lacks] = lacking.get(lacks, 0) | lack_it
    if not lacking:
        return plain(false, doubtful)
    doubt = Doubt(open_, tuple((mask, lacks) for lacks, mask in lacking.items()), outcomes)
    return _all_but(false | doubtful, doubtful), out | false, false, doubt


def together(one: Mark, other: Mark) -> Mark:
    """The mark of both."""
    doubts = [found for found in (one[3], other[3]) if found is not None]
    keep, out, false = one[0] & other[0], one[1] | other[1], one[2] | other[2]
    if len(doubts) < 2:
        return keep, out, false, doubts[0] if doubts else None
    outcomes = {part: found for doubt in doubts for part, found in doubt.outcomes.items()}
    return keep, out, false, Doubt(doubts[0].open | doubts[1].open, doubts[0].lacking + doubts[1].lacking, outcomes)


def _effect(stake: Stake, outcome: Outcome) -> tuple[int, int]:
    """The policies that are out by it, and those that it leaves open."""
    out = open_ = 0
    if outcome.surely == FALSE:
        out |= stake.needs
    elif outcome.surely != TRUE:
        open_ |= stake.needs
    if outcome.surely_not == TRUE:
        out |= stake.needs_not
    elif outcome.surely_not != FALSE:
        open_ |= stake.needs_not
    return out, open_
