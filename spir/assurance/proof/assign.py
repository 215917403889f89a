"""One value for every variable of a box, if there is any: what makes a box empty or not.

Each variable alone is easy, and relations are another module's business; this
is about the variables that hang together by what they are:

    organisation  the resource's, else the context's, else the site's
    time of day   a moment that the site's clock shows so
    address       a text that stands for it
    a map         absent with all that lies in it
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, time, timedelta
from typing import TypeAlias

from spir.assurance.proof.domain import (
    ABSENT,
    PRESENT,
    Choice,
    Domain,
    Line,
    Point,
    Spans,
    interval,
    micros,
    moment,
    one_of,
)
from spir.assurance.proof.line import address_place, address_text
from spir.assurance.proof.relations import related
from spir.assurance.proof.terms import CLOCK, ORGANIZATION, Related, Variable
from spir.assurance.proof.world import DAY, NOW, World
from spir.language.values.scalars import clock_of

__all__ = ["Assignment", "assign", "coupled", "partners"]

Assignment: TypeAlias = dict[Variable, Point | None]
Domains: TypeAlias = dict[Variable, Domain]

# The clock shows every time of day within so many days, a change of the clocks included.
DAYS = 4

OWN, AROUND = Variable("resource.organization"), Variable("context.organization")


def coupled(domains: Mapping[Variable, Domain], world: World) -> bool:
    """Whether some of these variables hang together by what they are."""
    if ORGANIZATION in domains and (OWN in domains or AROUND in domains):
        return True
    if CLOCK in domains and NOW in domains:
        return True
    return any(
        variable.path in world.maps
        if variable.node is None
        else _is_address(variable) and Variable(variable.path) in domains
        for variable in domains
    )


def partners(variable: Variable, among: Iterable[Variable], world: World) -> Iterator[Variable]:
    """Of these variables, those that it hangs together with, by what they are."""
    if variable.path:
        yield from (other for other in among if other.path and _hangs_on(variable, other, world))


def _hangs_on(one: Variable, other: Variable, world: World) -> bool:
    pair = {one, other}
    if ORGANIZATION in pair:
        return OWN in pair or AROUND in pair
    if CLOCK in pair:
        return NOW in pair
    if _is_address(one) or _is_address(other):
        return one.path == other.path
    outer, inner = sorted((one.path, other.path), key=len)
    return outer in world.maps and inner.startswith(f"{outer}.")


def assign(domains: Mapping[Variable, Domain], relations: frozenset[Related], world: World) -> Assignment | None:
    """A value for each variable, None for absence; None for the whole if there is none, or none was found."""
    if any(domain.is_empty for domain in domains.values()):
        return None
    for narrowed in _narrowed(dict(domains), world):
        found = related(narrowed, relations, world)
        if found is not None:
            rest = {variable: domain.pick() for variable, domain in narrowed.items() if variable not in found}
            return {**rest, **found}
    return None


# -- variables that hang together ------------------------------------------------------------


def _narrowed(domains: Domains, world: World) -> Iterator[Domains]:
    """Alternatives in which the worked-out variables agree with what they are worked out of."""
    for path in world.maps:
        if domains.get(Variable(path)) == ABSENT:
            for variable in domains:
                if variable.path.startswith(f"{path}."):
                    domains[variable] = domains[variable] & ABSENT
    for alternative in _organizations(domains, world):
        found = _moments(_addresses(alternative), world)
        if found is not None and not any(domain.is_empty for domain in found.values()):
            yield found


def _organizations(domains: Domains, world: World) -> Iterator[Domains]:
    wanted = domains.get(ORGANIZATION)
    if wanted is None:
        yield domains
        return
    own = domains.get(OWN, world.universe(OWN))
    around = domains.get(AROUND, world.universe(AROUND))
    yield {**domains, OWN: own & wanted}
    yield {**domains, OWN: _named_by_none(own), AROUND: around & wanted}
    if world.site.organization in wanted:
        yield {**domains, OWN: _named_by_none(own), AROUND: _named_by_none(around)}


def _named_by_none(domain: Domain) -> Domain:
    return ABSENT if domain.absent else domain & one_of(("",))


def _is_address(variable: Variable) -> bool:
    return variable.path != "" and variable.node is not None


def _addresses(domains: Domains) -> Domains:
    """Texts that stand for a wanted address: all of those that are named, else one of them."""
    found = dict(domains)
    for variable, wanted in domains.items():
        if _is_address(variable):
            text = Variable(variable.path)
            found[text] = _standing_for(found.get(text, PRESENT), wanted)
    return found


def _standing_for(texts: Domain, wanted: Domain) -> Domain:
    if isinstance(texts, Choice) and not texts.others:
        stand = one_of(text for text in texts.values if address_place(str(text)) in wanted)
        return stand | ABSENT if texts.absent and None in wanted else stand
    for text in _address_texts(wanted):
        if text in texts and address_place(str(text)) in wanted:
            return one_of((text,))
    return texts  # none was found, which proves nothing


def _address_texts(wanted: Domain) -> Iterator[str]:
    """The first few of every interval; then texts that stand for none."""
    for span in wanted.spans if isinstance(wanted, Spans) else ():
        assert not isinstance(span.low, str)
        for place in range(int(span.low or 0), int(span.low or 0) + 8):
            yield address_text(place)
    yield from ("nowhere", "none", "")


def _moments(domains: Domains, world: World) -> Domains | None:
    """A single moment, if a time of day is asked for; else one near the world's own."""
    now = domains.get(NOW, world.universe(NOW))
    place = _moment(now, domains.get(CLOCK), world)
    if place is None:
        return None
    return {**domains, NOW: interval(Line.MOMENT, place, place)} if CLOCK in domains else domains


def _moment(now: Domain, clock: Domain | None, world: World) -> int | None:
    return next((place for place in _candidates(now, clock, world) if place in now), None)


def _candidates(now: Domain, clock: Domain | None, world: World) -> Iterator[int]:
    """Moments in or about each interval: its begin, and when the wall clock next shows the begin of a wanted time."""
    preferred = micros(world.now)
    starts = [preferred] if preferred in now else []
    for span in now.spans if isinstance(now, Spans) else ():
        low, high = span.low, span.high
        assert not isinstance(low, str) and not isinstance(high, str)
        starts += [int(low)] if low is not None else []
        starts += [int(high) - DAYS * DAY, int(high) - 1] if high is not None else []
    for start in starts:
        if clock is None or _clock_at(start, world) in clock:
            yield start
        yield from _shown(start, clock, world) if isinstance(clock, Spans) else ()


def _clock_at(place: int, world: World) -> int:
    return clock_of(moment(place), world.site.timezone) // timedelta(microseconds=1)


def _shown(start: int, clock: Spans, world: World) -> Iterator[int]:
    """From the day before on, when the wall clock shows the begin of a wanted time."""
    first = moment(start).astimezone(world.site.timezone).date()
    for days in range(-1, DAYS + 1):
        for span in clock.spans:
            assert not isinstance(span.low, str)
            wall = datetime.combine(first + timedelta(days=days), time(), world.site.timezone)
            shown = wall + timedelta(microseconds=int(span.low or 0))
            for fold in (0, 1):
                place = micros(shown.replace(fold=fold).astimezone(UTC))
                if _clock_at(place, world) in clock:  # a clock that is changed may not show it at all
                    yield place
