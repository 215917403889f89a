"""The values that one variable can have, absence included, as sets closed under and, or and complement.

`Choice` names values, or all but some; `Spans` is intervals of values that have
an order. Both are in normal form: two domains are equal exactly if they hold
the same values. What holds no interval at all is a `Choice` whatever the kind
of value, so that `NOTHING`, `ABSENT`, `PRESENT` and `ANYTHING` are good for
every variable.

Intervals are half open, and text has an order too (`spir.assurance.proof.line`):
"starts with dr." is the interval from `dr.` to before `dr/`. No number here is
NaN or infinite.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import TypeAlias

from spir.assurance.proof.line import LEAST, V6, Line, Point, Span, before, beyond, micros, moment
from spir.assurance.proof.saying import all_but, any_of, named, spoken

__all__ = [
    "ABSENT",
    "ANYTHING",
    "LEAST",
    "NOTHING",
    "PRESENT",
    "V6",
    "Choice",
    "Domain",
    "Line",
    "Point",
    "Span",
    "Spans",
    "interval",
    "micros",
    "moment",
    "one_of",
    "prefix",
    "under",
]


@dataclass(frozen=True, slots=True)
class Choice:
    """These values, or with `others` all but these. Texts and bools only: numbers are `Spans`, so 1 is never True."""

    values: frozenset[Point]
    others: bool = False
    absent: bool = False

    def __and__(self, other: Domain) -> Domain:
        if isinstance(other, Spans):
            return other & self
        absent = self.absent and other.absent
        if self.others and other.others:
            return Choice(self.values | other.values, True, absent)
        if self.others:
            return Choice(other.values - self.values, False, absent)
        return Choice(self.values - other.values if other.others else self.values & other.values, False, absent)

    def __or__(self, other: Domain) -> Domain:
        return (self.complement() & other.complement()).complement()

    def complement(self) -> Choice:
        return Choice(self.values, not self.others, not self.absent)

    def __le__(self, other: Domain) -> bool:
        return (self & other.complement()).is_empty

    def __contains__(self, value: Point | None) -> bool:
        """None stands for absence."""
        if value is None:
            return self.absent
        named = value in self.values and isinstance(value, (str, bool))
        return named is not self.others

    @property
    def is_empty(self) -> bool:
        return not (self.values or self.others or self.absent)

    @property
    def present(self) -> Domain:
        """Without absence."""
        return Choice(self.values, self.others)

    def pick(self) -> Point | None:
        """One value, the same every time; None if only absence is left. The domain must not be empty."""
        if not self.others:
            return min(self.values, key=lambda value: (value is not True, str(value)), default=None)
        return next(name for name in _names("other") if name not in self.values)

    def words(self, name: str) -> str:
        """As in `modality CR or DX`, `role is not nurse`, `risk absent`."""
        return (all_but if self.others else any_of)(name, named(self.values), self.absent)


@dataclass(frozen=True, slots=True)
class Spans:
    """Intervals: at every cut they begin or end. `inside` says how it is before the first cut.

    Build with `interval`, `prefix` or the operators, which keep the normal form: cuts rise, there is one
    at least, and the single texts of a `Choice` are no intervals.
    """

    line: Line
    cuts: tuple[Point, ...]
    inside: bool = False
    absent: bool = False

    def __and__(self, other: Domain) -> Domain:
        if isinstance(other, Choice):
            if not other.others:
                kept = frozenset(value for value in other.values if value in self)
                return Choice(kept, False, self.absent and other.absent)
            if not other.values:
                return self if other.absent or not self.absent else self.present
            other = _spans(other, self.line)
        return _meet(self, other)

    def __or__(self, other: Domain) -> Domain:
        return (self.complement() & other.complement()).complement()

    def complement(self) -> Spans:
        return Spans(self.line, self.cuts, not self.inside, not self.absent)

    def __le__(self, other: Domain) -> bool:
        return (self & other.complement()).is_empty

    def __contains__(self, value: Point | None) -> bool:
        """None stands for absence."""
        if value is None:
            return self.absent
        if isinstance(value, bool) or isinstance(value, str) is not (self.line is Line.TEXT):
            return False
        return (bisect_right(self.cuts, value) % 2 == 1) is not self.inside

    @property
    def is_empty(self) -> bool:
        return False  # by the normal form: what is empty is a Choice

    @property
    def present(self) -> Domain:
        """Without absence."""
        return Spans(self.line, self.cuts, self.inside)

    @property
    def spans(self) -> tuple[Span, ...]:
        """In rising order, none touching the next."""
        edges = (None, *self.cuts) if self.inside else self.cuts
        ends = (*edges, None) if len(edges) % 2 else edges
        return tuple(Span(ends[at], ends[at + 1]) for at in range(0, len(ends), 2))

    def pick(self) -> Point | None:
        """One value, the same every time, short where it can be. Never None: what has intervals has values."""
        if self.line is Line.TEXT:
            return next(value for span in self.spans for value in _texts(span) if value in self)
        if 0 in self:
            return 0
        first = self.spans[0]
        if first.low is not None:
            return first.low
        assert first.high is not None  # not all numbers are in it: 0 is not
        return before(self.line, first.high)

    def words(self, name: str) -> str:
        """As in `sensitivity 4 to 5`, `trust above 0.5`, `time of day 08:00 to 17:00`."""
        return any_of(name, spoken(self.line, self.spans), self.absent)


Domain: TypeAlias = Choice | Spans

NOTHING = Choice(frozenset())
ABSENT = Choice(frozenset(), absent=True)
PRESENT = Choice(frozenset(), others=True)
ANYTHING = Choice(frozenset(), others=True, absent=True)


# -- making ----------------------------------------------------------------------------------


def one_of(values: Iterable[Point]) -> Choice:
    """Present, and one of these texts or bools."""
    return Choice(frozenset(values))


def interval(line: Line, low: Point | None, high: Point | None, *, above: bool = False, below: bool = False) -> Domain:
    """Present, and from `low` to `high`, both included unless `above` or `below` says otherwise; None is no bound."""
    start = line.after(low) if above and low is not None else low
    end = line.after(high) if high is not None and not below else high
    if start is not None and end is not None and start >= end:  # type: ignore[operator]
        return NOTHING
    return _normal(line, tuple(edge for edge in (start, end) if edge is not None), start is None, False)


@lru_cache(maxsize=1024)
def prefix(text: str) -> Domain:
    """Present, and a text that starts with this one."""
    return interval(Line.TEXT, text, beyond(text), below=True)


@lru_cache(maxsize=1024)
def under(path: str) -> Domain:
    """Present, and this path or one below it (`lies_under`)."""
    return one_of((path,)) | prefix(f"{path}/") if path else PRESENT


# -- the normal form -------------------------------------------------------------------------


def _normal(line: Line, cuts: tuple[Point, ...], inside: bool, absent: bool) -> Domain:
    if line is Line.TEXT:
        if cuts and cuts[0] == "":  # before the least text there is none
            cuts, inside = cuts[1:], not inside
        for others in (False, True):
            single = _single(cuts, inside is not others)
            if single is not None:
                return Choice(single, others, absent)
    return Spans(line, cuts, inside, absent) if cuts else Choice(frozenset(), inside, absent)


@lru_cache(maxsize=4096)
def _meet(one: Spans, other: Spans) -> Domain:
    """Remembered, for policies speak of few intervals and these are joined again and again."""
    return _normal(one.line, tuple(_common(one, other)), one.inside and other.inside, one.absent and other.absent)


def _single(cuts: tuple[Point, ...], inside: bool) -> frozenset[Point] | None:
    """The texts between the cuts, if every interval holds just one; None if not."""
    edges = ("", *cuts) if inside else cuts
    if len(edges) % 2:
        return None
    pairs = [(edges[at], edges[at + 1]) for at in range(0, len(edges), 2)]
    return frozenset(low for low, _ in pairs) if all(f"{low}{LEAST}" == high for low, high in pairs) else None


def _spans(choice: Choice, line: Line) -> Spans:
    """The same, not in normal form, to be joined with intervals of this line."""
    if line is not Line.TEXT:  # what it names lies on no line of numbers
        return Spans(line, (), choice.others, choice.absent)
    cuts: list[Point] = []
    for value in sorted(map(str, choice.values)):
        if cuts and cuts[-1] == value:
            cuts[-1] = f"{value}{LEAST}"  # the next text after the one before
        else:
            cuts += [value, f"{value}{LEAST}"]
    return Spans(line, tuple(cuts), choice.others, choice.absent)


def _common(left: Spans, right: Spans) -> Iterator[Point]:
    """Where the common part of both begins and ends."""
    one, other, was = left.inside, right.inside, left.inside and right.inside
    rest, more = list(reversed(left.cuts)), list(reversed(right.cuts))
    while rest or more:
        cut = rest[-1] if not more or (rest and rest[-1] <= more[-1]) else more[-1]  # type: ignore[operator]
        if rest and rest[-1] == cut:
            rest.pop()
            one = not one
        if more and more[-1] == cut:
            more.pop()
            other = not other
        if (one and other) is not was:
            was = not was
            yield cut


# -- picking ----------------------------------------------------------------------


def _names(stem: str) -> Iterator[str]:
    yield stem
    number = 1
    while True:
        number += 1
        yield f"{stem}-{number}"


def _texts(span: Span) -> Iterator[str]:
    """Texts to try, readable ones first; the last one surely lies in it."""
    low = span.low or ""
    assert isinstance(low, str)
    stem = low.removesuffix(LEAST)
    yield from (stem, f"{stem}x", f"{stem}0", f"{stem}-")
    yield low
