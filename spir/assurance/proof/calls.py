"""What the functions of conditions say of an attribute, the clock or the moment, where that can be said exactly."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import timedelta
from ipaddress import IPv4Network
from types import MappingProxyType
from typing import Any

from spir.assurance.proof.domain import (
    NOTHING,
    PRESENT,
    V6,
    Domain,
    Line,
    interval,
    micros,
    one_of,
    prefix,
    under,
)
from spir.assurance.proof.leaves import UNKNOWN, Truth, among, of
from spir.assurance.proof.terms import CLOCK, address, every
from spir.assurance.proof.world import NOW, World
from spir.language.values.functions import read_arguments
from spir.language.values.operators import COMPARISONS, Invalid, instant
from spir.model.condition import Attribute
from spir.model.value import Value

__all__ = ["CALLS", "Reading", "hours"]

MICROSECOND = timedelta(microseconds=1)
HOUR = timedelta(hours=1)

# Of constants and attributes; None where it is not known exactly.
Reading = Callable[[list[Any], World], Truth | None]


def _starts_with(arguments: list[Any], world: World) -> Truth | None:
    return _of_text(arguments, world, prefix)


def _org_under(arguments: list[Any], world: World) -> Truth | None:
    return _of_text(arguments, world, under)


def _of_text(arguments: list[Any], world: World, domain: Callable[[str], Domain]) -> Truth | None:
    match arguments:
        case [Attribute(path), str() as constant] if world.kind(path).type == "string":
            return among(path, domain(constant), world)
    return None


def _ip_in(arguments: list[Any], world: World) -> Truth | None:
    match arguments:
        case [Attribute(path), str() as text] if world.kind(path).type == "string":
            try:
                network = read_arguments("ip.in", ["::", text])[1]
            except Invalid:
                return UNKNOWN
            base = 0 if isinstance(network, IPv4Network) else V6
            first, last = int(network.network_address), int(network.broadcast_address)
            truth = of(address(path), interval(Line.ADDRESS, base + first, base + last), world)
            there = world.there(path)
            return Truth(every((there, truth.true)), every((there, truth.false)))
    return None


def _time_between(arguments: list[Any], world: World) -> Truth | None:
    if any(isinstance(argument, Attribute) for argument in arguments):
        return None
    try:
        start, end = read_arguments("time.between", arguments)
    except Invalid:
        return UNKNOWN
    if start == end:
        return UNKNOWN
    day = _clock(min(start, end), max(start, end))
    return of(CLOCK, day if start < end else day.complement() & PRESENT, world)


def _within_window(arguments: list[Any], world: World) -> Truth | None:
    """`within(at, before, after)` of a constant moment is an interval of the request's own."""
    if any(isinstance(argument, Attribute) for argument in arguments):
        return None
    try:
        at, before, after = read_arguments("within", arguments)
        middle = micros(instant(at))
    except Invalid:
        return UNKNOWN
    ends = (middle - before // MICROSECOND, middle + after // MICROSECOND)
    return of(NOW, interval(Line.MOMENT, *ends), world)


def _terminology(arguments: list[Any], world: World) -> Truth | None:
    match arguments:
        case [Attribute(path), str() as concept, int() | float() as threshold] if world.kind(path).type == "string":
            if isinstance(threshold, bool) or not 0.0 <= threshold <= 1.0:
                return UNKNOWN
            return among(path, one_of((concept,)) if threshold > 0 else PRESENT, world)
    return None


CALLS: Mapping[str, Reading] = MappingProxyType(
    {
        "startsWith": _starts_with,
        "org.under": _org_under,
        "ip.in": _ip_in,
        "time.between": _time_between,
        "within": _within_window,
        "terminology.matches": _terminology,
    }
)


def hours(op: str, value: Value, world: World) -> Truth:
    """The hour of the site's clock, compared with a constant."""
    try:
        found = [hour for hour in range(24) if COMPARISONS[op](hour, value)]
    except Invalid:
        return UNKNOWN
    domain: Domain = NOTHING
    for hour in found:
        domain = domain | _clock(hour * HOUR, (hour + 1) * HOUR)
    return of(CLOCK, domain, world)


def _clock(start: timedelta, end: timedelta) -> Domain:
    """From and until so long after midnight."""
    return interval(Line.CLOCK, start // MICROSECOND, end // MICROSECOND, below=True)
