"""Questions about unions and what is left of them: is there a request here, in one of those, and in none of these?

A region is a statement with its boxes. A zone is several alternatives that must
each be met by one region: a permit, and for each layer above it something that
covers it. Boxes answer first, by taking one off the other; where they are too
many, z3 does, if it is there. What neither answers raises `Undecided`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from operator import itemgetter
from typing import TypeAlias

from spir.assurance.proof.box import Box, boxes
from spir.assurance.proof.solver import Solver, Undecided, installed
from spir.assurance.proof.terms import All, Statement, Test, every, some
from spir.assurance.proof.world import World

__all__ = ["CELLS", "STEPS", "Question", "Reasoner", "Region", "Zone", "left_over", "zone"]

# So many boxes are looked at for one question before it goes to the solver; and for all questions together.
STEPS = 4000
ALL_STEPS = 400_000
# So many answers of the solver to one question are tried.
CELLS = 4

_UNKNOWN = object()


@dataclass(slots=True, eq=False)
class Region:
    """The requests of a statement. What it stands for is known by identity."""

    statement: Statement
    world: World
    _boxes: object = field(default=_UNKNOWN, repr=False)

    @property
    def boxes(self) -> tuple[Box, ...]:
        """Raises Undecided where they would be too many."""
        if self._boxes is _UNKNOWN:
            self._boxes = boxes(self.statement, self.world)
        if self._boxes is None:
            raise Undecided("it has too many alternatives")
        return self._boxes  # type: ignore[return-value]

    def meets(self, box: Box) -> bool:
        """Whether some of it may lie in the box; what is not known by boxes may."""
        try:
            return any(each.meets(box) for each in self.boxes)
        except Undecided:
            return True


# One region of each.
Zone: TypeAlias = tuple[tuple[Region, ...], ...]


def zone(region: Region) -> Zone:
    return ((region,),)


def _statement(found: Zone) -> Statement:
    return every(some(region.statement for region in group) for group in found)


@dataclass(frozen=True, slots=True)
class Question:
    """Is there a request in `start`, in some zone of each of `inside`, and in no zone of `outside`?"""

    start: Zone
    inside: tuple[tuple[Zone, ...], ...] = ()
    outside: tuple[Zone, ...] = ()


class Reasoner:
    """Answers questions about one world. `solver` False leaves z3 out."""

    def __init__(self, world: World, solver: bool = True) -> None:
        self.world = world
        self._allowed = solver
        self._left = ALL_STEPS
        self.solved = 0  # questions that z3 was asked
        self._solver: Solver | None = None

    @property
    def left(self) -> int:
        """So many steps are left for all questions together."""
        return self._left

    def charge(self, steps: int) -> None:
        """Count the steps of questions that were answered before."""
        self._left -= steps

    def answers(self, question: Question) -> Iterator[Box]:
        """Boxes of such requests, until there are no more. Raises Undecided where that cannot be told."""
        found: list[Box] = []
        effort = _Effort(min(STEPS, self._left))
        try:
            for box in _searched(question, effort):
                found.append(box)
                yield box
        except Undecided as error:
            if effort.most < STEPS:
                raise Undecided(f"all questions together take more than {ALL_STEPS} steps") from error
            yield from self._solved(question, found, error)
        finally:
            self._left -= effort.taken

    def _solved(self, question: Question, known: Sequence[Box], why: Undecided) -> Iterator[Box]:
        if not self._allowed or not installed():
            hint = "" if installed() else "install the extra `analysis`"
            raise Undecided(why.message, hint=hint) from why
        self.solved += 1
        if self._solver is None:
            self._solver = Solver(self.world)
        wanted = [_statement(question.start), *(some(map(_statement, union)) for union in question.inside)]
        unwanted = [*map(_statement, question.outside), *map(_of_box, known)]
        for _ in range(CELLS):
            cell = self._solver.find(wanted, unwanted)
            if cell is None:
                return
            yield cell
            unwanted.append(_of_box(cell))
        raise Undecided(f"none of {CELLS} answers could be shown")


def _of_box(box: Box) -> Statement:
    tests = (Test(variable, domain) for variable, domain in box.domains.items())
    return All((*tests, *box.relations))


# -- by boxes --------------------------------------------------------------------------------


@dataclass(slots=True)
class _Effort:
    most: int = STEPS
    taken: int = 0

    def step(self) -> None:
        self.taken += 1
        if self.taken > self.most:
            raise Undecided(f"it takes more than {self.most} steps")


def _searched(question: Question, effort: _Effort) -> Iterator[Box]:
    """What must be met by one thing narrows first, then what must not be met, then what has alternatives."""
    for box in _within(question.start, None, effort):
        unions = sorted((list(_all_within(union, box, effort)) for union in question.inside), key=len)
        avoid = list(_all_within(question.outside, box, effort))
        single = [union for union in unions if len(union) < 2]
        for common in _common(box, single, effort):
            for piece in _outside(common, avoid, effort):
                yield from (found for found in _common(piece, unions[len(single) :], effort) if not found.is_empty)


def _all_within(zones: Iterable[Zone], box: Box, effort: _Effort) -> Iterator[Box]:
    for each in zones:
        yield from _within(each, box, effort)


def _within(found: Zone, box: Box | None, effort: _Effort) -> Iterator[Box]:
    """The boxes of a zone, as far as they lie in `box`."""
    if not found:
        if box is not None:
            yield box
        return
    for region in found[0]:
        for each in region.boxes:
            effort.step()
            if box is None or box.meets(each):
                common = each if box is None else box & each
                yield from _within(found[1:], common, effort) if len(found) > 1 else (common,)


def _common(box: Box, unions: Sequence[Sequence[Box]], effort: _Effort) -> Iterator[Box]:
    """What lies in the box and in one box of each union."""
    if not unions:
        yield box
        return
    for each in unions[0]:
        effort.step()
        if box.meets(each):
            yield from _common(box & each, unions[1:], effort)


def left_over(box: Box, others: Iterable[Box], steps: int = STEPS) -> Iterator[Box]:
    """What of the box is in none of the others, in boxes that do not overlap. Raises Undecided."""
    return _outside(box, list(others), _Effort(steps))


def _outside(box: Box, others: Sequence[Box], effort: _Effort) -> Iterator[Box]:
    """Without recursion: there may be as many others as there are policies."""
    waiting = [(box, others)]
    while waiting:
        effort.step()
        piece, left = waiting.pop()
        near = [(asked, other) for other in left if (asked := _demands(piece, other)) is not None]
        if near:
            # what asks for the least that is not so anyway leaves the fewest pieces
            first = min(near, key=itemgetter(0))[1]
            rest = [other for _, other in near if other is not first]
            waiting += ((part, rest) for part in reversed(piece.minus(first)))
        elif not piece.is_empty:
            yield piece


def _demands(box: Box, other: Box) -> int | None:
    """How much the other one asks for that is not so in the whole box; None if they do not meet."""
    found = len(other.relations - box.relations)
    for variable, domain in other.domains.items():
        have = box.domains.get(variable)
        if have is None:
            found += 1
        elif have is not domain and have != domain:
            common = have & domain
            if common.is_empty:
                return None
            found += common != have
    return found if box.meets_further(other) else None
