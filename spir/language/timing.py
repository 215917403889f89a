"""When a condition's value can change by the passing of time alone.

The answer may be too early, never too late: it bounds how long a decision is
kept. So what is not understood gets the very next moment.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, date, datetime, time, timedelta, tzinfo
from functools import lru_cache
from types import MappingProxyType
from typing import Any

from spir.language.values.functions import FUNCTIONS, read_arguments
from spir.language.values.operators import Invalid, instant
from spir.language.values.scalars import read_zone
from spir.language.walk import children, nodes
from spir.model.condition import Arithmetic, Attribute, Call, Compare, Comprehension, Condition, Literal
from spir.model.value import Unknown, Value

__all__ = ["next_change"]

NOW = Attribute("context.now")
TICK = timedelta(microseconds=1)
DAY = timedelta(days=1)

Resolve = Callable[[Condition], Value | Unknown]


def constants(node: Condition) -> Value | Unknown:
    """The value of a literal; None for anything else, which then counts as not understood."""
    return node.value if isinstance(node, Literal) else None


def next_change(condition: Condition, now: datetime, zone: tzinfo, resolve: Resolve = constants) -> datetime | None:
    """The earliest moment after `now` at which it could change by itself; None for never.

    `resolve` gives the value that a part has now, for the parts that do not
    look at the clock themselves. Where it gives Unknown, the part stays so,
    unless that is deferred: a row is then measured by the moment it is asked at.
    """
    now = instant(now)
    moments = [moment for moment in _moments(condition, now, zone, resolve) if moment is not None]
    return min(moments, default=None)


def _moments(node: Condition, now: datetime, zone: tzinfo, resolve: Resolve) -> Iterator[datetime | None]:
    if not looks_at_clock(node):
        return
    match node:
        case Call(function, arguments) if function in _CALLS and not any(map(looks_at_clock, arguments)):
            yield _call(function, now, zone, [resolve(argument) for argument in arguments])
        case Call(function, arguments) if function in _GRANULES and arguments[0] == NOW:
            yield _granule(function, now, [resolve(argument) for argument in arguments[1:]])
        case Compare(op, left, right) if op != "in" and (_shift(left) is None) != (_shift(right) is None):
            yield _crossing(op, left, right, now, resolve)
        case Attribute():
            yield now + TICK  # the clock itself, used in a way not understood here
        case Comprehension(_, over, _, body, result):
            yield from _moments(over, now, zone, resolve)
            if any(part is not None and looks_at_clock(part) for part in (body, result)):
                yield now + TICK  # what its variable stands for is not known here
        case _:
            for child in children(node):
                yield from _moments(child, now, zone, resolve)


@lru_cache(maxsize=4096)
def looks_at_clock(node: Condition) -> bool:
    """Whether its value depends on the time it is asked at."""
    return any(part == NOW or (isinstance(part, Call) and _has_clock(part.function)) for part in nodes(node))


def _has_clock(name: str) -> bool:
    return name in FUNCTIONS and FUNCTIONS[name].clock


# -- a clock against a constant --------------------------------------------------------------


def _shift(node: Condition) -> tuple[Condition, int] | None:
    """`context.now` itself, or plus (1) or minus (-1) something that stands still; else None."""
    match node:
        case Attribute("context.now"):
            return Literal(timedelta()), 1
        case Arithmetic("+", Attribute("context.now"), other) | Arithmetic("+", other, Attribute("context.now")):
            return None if looks_at_clock(other) else (other, 1)
        case Arithmetic("-", Attribute("context.now"), other):
            return None if looks_at_clock(other) else (other, -1)
    return None


def _crossing(op: str, left: Condition, right: Condition, now: datetime, resolve: Resolve) -> datetime | None:
    """When `now + shift` meets the other side."""
    moving, still = (left, right) if _shift(left) is not None else (right, left)
    if looks_at_clock(still):
        return now + TICK
    found = _shift(moving)
    assert found is not None
    shift, target = resolve(found[0]), resolve(still)
    if isinstance(shift, Unknown) or isinstance(target, Unknown):
        return _unresolved(now, shift, target)
    try:
        edge = _edge(target, shift, found[1])
    except (Invalid, OverflowError):
        return None  # no meaning now, and none later
    if edge is None:
        return now + TICK
    return edge if edge > now else edge + TICK if edge == now else None


def _unresolved(now: datetime, *values: Value | Unknown) -> datetime | None:
    """What will come row by row is measured by the clock of this very moment; what is unknown stays so."""
    return now + TICK if any(isinstance(value, Unknown) and value.deferred for value in values) else None


def _edge(target: Value, shift: Value, sign: int) -> datetime | None:
    """The moment at which the moving side equals the target; None if these are values of other kinds."""
    if isinstance(target, datetime) and isinstance(shift, timedelta):
        return instant(target) - sign * shift
    if isinstance(target, timedelta) and isinstance(shift, datetime) and sign == -1:
        return instant(shift) + target  # now - t < d
    return None


# -- functions that look at the clock --------------------------------------------------------


def _between(now: datetime, zone: tzinfo, clocks: list[Any]) -> datetime | None:
    return _next_wall_clock(now, zone, clocks)


def _within(now: datetime, zone: tzinfo, window: list[Any]) -> datetime | None:
    at, before, after = window
    edges = (instant(at) - before, instant(at) + after + TICK)  # the end belongs to the window
    return min((edge for edge in edges if edge > now), default=None)


_CALLS: Mapping[str, Callable[[datetime, tzinfo, list[Any]], datetime | None]] = MappingProxyType(
    {"time.between": _between, "within": _within}
)


def _call(name: str, now: datetime, zone: tzinfo, arguments: list[Value | Unknown]) -> datetime | None:
    known = [argument for argument in arguments if not isinstance(argument, Unknown)]
    if len(known) < len(arguments):
        return _unresolved(now, *arguments)
    if None in known:
        return now + TICK
    try:
        return _CALLS[name](now, zone, read_arguments(name, known))
    except (Invalid, OverflowError):
        return None  # no meaning now, and none later


def _next_wall_clock(now: datetime, zone: tzinfo, clocks: list[timedelta]) -> datetime:
    """The next moment at which the site's wall clock shows one of `clocks`, or is changed itself."""
    today = now.astimezone(zone).date()
    days = [today + timedelta(days=n) for n in (-1, 0, 1, 2)]
    edges = [_moment(day, clock, fold, zone) for day in days for clock in clocks for fold in (0, 1)]
    edge = min(edge for edge in edges if edge > now)
    return _clock_change(now, edge, zone) or edge


def _moment(day: date, clock: timedelta, fold: int, zone: tzinfo) -> datetime:
    wall = datetime.combine(day, time(), zone) + clock  # wall-clock arithmetic, as meant
    return wall.replace(fold=fold).astimezone(UTC)


def _clock_change(start: datetime, end: datetime, zone: tzinfo) -> datetime | None:
    """When the zone's offset changes within (start, end], to the microsecond; None if it does not."""
    before = start.astimezone(zone).utcoffset()
    if end.astimezone(zone).utcoffset() == before:
        return None
    while end - start > TICK:
        middle = start + (end - start) / 2
        if middle.astimezone(zone).utcoffset() == before:
            start = middle
        else:
            end = middle
    return end


# -- parts of the clock ----------------------------------------------------------------------

_GRANULES: Mapping[str, timedelta] = MappingProxyType(
    {
        "getMilliseconds": timedelta(milliseconds=1),
        "getSeconds": timedelta(seconds=1),
        "getMinutes": timedelta(minutes=1),
        "getHours": timedelta(hours=1),
        "getDate": DAY,
        "getDayOfMonth": DAY,
        "getDayOfWeek": DAY,
        "getDayOfYear": DAY,
        "getMonth": DAY,
        "getFullYear": DAY,
    }
)


def _granule(name: str, now: datetime, arguments: list[Value | Unknown]) -> datetime | None:
    """The end of the current second, minute, hour or day in the zone that the call names (else UTC)."""
    try:
        zone = _named_zone(arguments)
        local = now.astimezone(zone)
        midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
        since = local.replace(tzinfo=None) - midnight.replace(tzinfo=None)
        size = _GRANULES[name]
        edge = (midnight + (since // size + 1) * size).astimezone(UTC)
    except (Invalid, OverflowError):
        return now + TICK
    # INVARIANT: inside an hour that the clock shows twice, the wall's next edge may lie behind us
    return (_clock_change(now, edge, zone) or edge) if edge > now else now + TICK


def _named_zone(arguments: list[Value | Unknown]) -> tzinfo:
    if not arguments:
        return UTC
    if not isinstance(arguments[0], str):
        raise Invalid
    return read_zone(arguments[0])
