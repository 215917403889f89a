"""What one part of the policies' conditions does to the policies of a bucket.

A *mark* says which policies it keeps, those for which no part is false, and
where there is `Doubt`. Among what is kept is a bit beyond all policies, the
`doubtful` bit: a mark with a doubt does not keep it. So a request's marks can
be joined without looking at each, and only the doubtful ones need more.

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

__all__ = ["Doubt", "Mark", "Stake", "Unsure", "doubt_of", "mark", "plain", "together"]

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

    `out` and `open` are policies that it puts out and that it leaves open; `lacking` says what is missing
    for which policies, `outcomes` what is left of the parts of open ones.
    """

    __slots__ = ("everyone", "lacking", "open", "out", "outcomes")

    def __init__(
        self, out: int, open_: int, lacking: tuple[tuple[int, frozenset[Lack]], ...], outcomes: Mapping[Part, Outcome]
    ) -> None:
        self.out = out
        self.open = open_
        self.lacking = lacking
        self.everyone = out | open_
        for mask, _ in lacking:
            self.everyone |= mask
        self.outcomes = outcomes


Mark: TypeAlias = int  # the policies it keeps; an `Unsure` without the doubtful bit where there is a doubt


class Unsure(int):
    """A mark with a doubt. A number with more to it, so that marks of both kinds are joined alike."""

    doubt: Doubt

    @classmethod
    def of(cls, keep: int, doubt: Doubt) -> Unsure:
        found = cls(keep)
        found.doubt = doubt
        return found


def doubt_of(found: Mark) -> Doubt | None:
    return found.doubt if isinstance(found, Unsure) else None


def plain(out: int, doubtful: int) -> Mark:
    """The mark of parts that are all true or false: these policies are out."""
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
    doubt = Doubt(out, open_, tuple((mask, lacks) for lacks, mask in lacking.items()), outcomes)
    return Unsure.of(plain(false | doubtful, doubtful), doubt)


def together(one: Mark, other: Mark) -> Mark:
    """The mark of both."""
    keep, first, second = int(one & other), doubt_of(one), doubt_of(other)
    if first is None or second is None:
        doubt = first or second
        return keep if doubt is None else Unsure.of(keep, doubt)
    out, open_ = first.out | second.out, first.open | second.open
    outcomes = {**first.outcomes, **second.outcomes}
    return Unsure.of(keep, Doubt(out, open_, first.lacking + second.lacking, outcomes))


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
