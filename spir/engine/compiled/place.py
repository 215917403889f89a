"""What applies to requests of one operation, category and organisation, and for how long.

A *window* is the time in which no policy begins or ends and no clock that a
condition looks at alone changes its answer. Inside it, what applies is fixed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timezone, tzinfo
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from spir.engine.attributes import Attributes
from spir.engine.compiled.bucket import Bucket
from spir.engine.compiled.facts import Facts
from spir.engine.compiled.marks import Doubt, Mark, doubt_of, mark, together
from spir.engine.compiled.masks import positions, united
from spir.engine.compiled.parts import NOW, judged
from spir.engine.evaluate import Scope, evaluate
from spir.language.timing import next_change
from spir.model.condition import Condition
from spir.model.decision import Reason
from spir.model.facts import View
from spir.model.obligation import Incomparable, Obligation, joined
from spir.model.policy import Kind, Layer, lies_under
from spir.model.request import Request
from spir.model.value import Unknown, Value, Why

__all__ = ["Place", "Window", "joined_or_not"]


Memory: TypeAlias = dict[Any, Any]
Duties: TypeAlias = tuple[tuple[Obligation, ...], Reason | None]


def joined_or_not(obligations: Iterable[Obligation]) -> Duties:
    """The obligations joined, or the reason that they conflict."""
    try:
        return joined(obligations), None
    except Incomparable as error:
        return (), Reason("obligations-conflict", str(error))


@dataclass(frozen=True, slots=True)
class Window:
    """From `start` until before `end` in UTC (None: for ever), for clocks of the zone object `zone`.

    `applies`: the items in force; `live`: those that the clock alone does not
    rule out, with the bit `doubtful` unless there is `doubt` about that already;
    `edge`: when the window ends, as policies and conditions say it; `memory`:
    what is remembered where the same items apply.
    """

    applies: int
    live: int
    doubt: Doubt | None
    memory: Memory
    edge: datetime | None = None
    zone: tzinfo | None = None
    start: datetime | None = None
    end: datetime | None = None

    def holds(self, at: datetime) -> bool:
        if self.start is None:
            return True
        return at.tzinfo is self.zone and self.end is not None and self.start <= at.astimezone(UTC) < self.end


class Place:
    """`covered` are the items of documents for the organisation, `about` those of them for the category."""

    def __init__(
        self,
        bucket: Bucket,
        operation: str,
        organization: str,
        about: int,
        layers: tuple[Layer, ...],
        zone: ZoneInfo,
        facts: Facts,
    ) -> None:
        self.bucket = bucket
        self.operation = operation
        under = (mask for path, mask in bucket.sets.jurisdictions.items() if lies_under(organization, path))
        self.covered = united(under)
        self.about = self.covered & about
        self.layers = tuple((layer, self._of(layer, Kind.PERMIT), self._of(layer, *_COVERS)) for layer in layers)
        self.permits, self.denies = self._kind(Kind.PERMIT), self._kind(Kind.DENY)
        self.requires, self.obliges = self._kind(Kind.REQUIRE), self._kind(Kind.OBLIGE)
        self.burdened = bucket.sets.burdened.get(True, 0)
        self.zone = zone
        self.dated = tuple((valid, mask) for valid, mask in bucket.sets.dated.items() if mask & self.covered)
        self.clocks = tuple(stake.part.condition for stake in bucket.watch.clocks if stake.everyone & self.covered)
        self.moving = tuple(stake.part.condition for stake in bucket.watch.moving if stake.everyone & self.covered)
        self.staff, self.patient = self._facts("staff"), self._facts("patient")
        self.facts = facts
        self.restless = bool(self.moving or self.staff or self.patient)
        self.no_permit = Reason("no-permit", f"no policy permits `{operation}`")
        self._duties: dict[int, Duties] = {}
        self._memories: dict[tuple[int, Doubt | None], Memory] = {}
        timed = self.dated or self.clocks or bucket.clocks
        self.window = _NEVER if timed else self._window(self.about, bucket.fixed)

    def duties(self, grants: int, obliges: int) -> Duties:
        """The obligations of these items joined, or why they cannot be."""
        known = self._duties.get(grants | obliges)
        if known is None:
            items = self.bucket.items
            every = [o for n in (*positions(grants), *positions(obliges)) for o in items[n].rule.policy.obligations]
            if len(self._duties) >= MAX_DUTIES:
                self._duties.clear()
            known = self._duties[grants | obliges] = joined_or_not(every)
        return known

    def forget(self) -> None:
        """Drop all that is remembered of decisions."""
        for memory in tuple(self._memories.values()):
            memory.clear()

    def at(self, at: datetime) -> Window:
        """The window that `at` lies in."""
        window = self.window
        if not window.holds(at):
            window = self.window = self._opened(at)
        return window

    def edge(self, window: Window, request: Request, view: View, at: datetime) -> datetime | None:
        """The first moment after `at` at which a decision may change by itself; None for never."""
        found = self.facts.edge(request, view, at, self.staff, self.patient)
        if window.edge is not None and (found is None or window.edge < found):
            found = window.edge
        if not self.moving:
            return found
        lookup, scope = Attributes(request, view, at), Scope(at, self.zone)
        moments = (_next(condition, lookup, scope) for condition in self.moving)
        return min((moment for moment in (found, *moments) if moment is not None), default=None)

    def _opened(self, at: datetime) -> Window:
        applies = self.about
        for valid, mask in self.dated:
            if not valid.holds(at):
                applies &= ~mask
        scope = Scope(at, self.zone)
        clock = mark(
            ((s, judged(s.part.condition, _clock(at), scope)) for s in self.bucket.clocks), self.bucket.doubtful
        )
        ends = [valid.next_change(at) for valid, _ in self.dated]
        ends += [_next(condition, _clock(at), scope) for condition in self.clocks]
        edge = min((end for end in ends if end is not None), default=None)
        start = at.astimezone(UTC)
        end = _FAR if edge is None else edge.astimezone(UTC)
        times = (edge, at.tzinfo, start, end if self._steady(at) else start)
        return self._window(applies, together(self.bucket.fixed, clock), *times)

    def _window(self, applies: int, found: Mark, *times: Any) -> Window:
        live, doubt = int((applies | self.bucket.doubtful) & found), doubt_of(found)
        if len(self._memories) >= MAX_MEMORIES:
            self._memories.clear()
        return Window(applies, live, doubt, self._memories.setdefault((applies, doubt), {}), *times)

    def _steady(self, at: datetime) -> bool:
        """Whether times compare with `at` by the moments they mean.

        Python compares two times of one zone object by their wall clocks, which
        go back once a year: what holds at a moment then says nothing of the next.
        """
        if isinstance(at.tzinfo, timezone):
            return True
        edges = (edge for valid, _ in self.dated for edge in (valid.start, valid.end) if edge is not None)
        return all(edge.tzinfo is not at.tzinfo for edge in edges)

    def _kind(self, *kinds: Kind) -> int:
        return united(self.bucket.sets.kinds.get(kind, 0) for kind in kinds)

    def _of(self, layer: Layer, *kinds: Kind) -> int:
        return self.bucket.sets.layers.get(layer, 0) & self._kind(*kinds)

    def _facts(self, kind: str) -> frozenset[str]:
        found = self.bucket.watch.facts.items()
        return frozenset(name for (given, name), mask in found if given == kind and mask & self.covered)


_COVERS = (Kind.PERMIT, Kind.DELEGATE)
_FAR = datetime.max.replace(tzinfo=UTC)
_NEVER = Window(0, 0, None, {}, start=_FAR, end=_FAR)

# As many sets of policies in force as are remembered of a place: each lasts until a policy begins or ends.
MAX_MEMORIES = 16
MAX_DUTIES = 1024


def _clock(at: datetime) -> Callable[[str], Value | Unknown]:
    return lambda path: at if path == NOW else Unknown.of(path, Why.MISSING)


def _next(condition: Condition, lookup: Callable[[str], Value | Unknown], scope: Scope) -> datetime | None:
    return next_change(condition, scope.now, scope.timezone, lambda node: evaluate(node, lookup, scope))
