"""Domains in words, for reports: `modality CR or DX`, `trust above 0.5`, `time of day 08:00 to 17:00`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from spir.assurance.proof.line import LEAST, Line, Point, Span, address_text, before, beyond, moment
from spir.language.values.scalars import timestamp_text

__all__ = ["all_but", "any_of", "named", "spoken"]


def any_of(name: str, words: list[str], absent: bool) -> str:
    """As in `role is nurse`, `modality CR or DX`, `risk absent`."""
    if len(words) == 1 and not absent:
        return f"{name} is {words[0]}" if " " not in words[0] else f"{name} {words[0]}"
    return f"{name} {' or '.join([*words, *(['absent'] if absent else [])]) or 'never'}"


def all_but(name: str, words: list[str], absent: bool) -> str:
    """As in `role is not nurse nor clerk`, `risk present`."""
    if not words:
        return f"{name} anything" if absent else f"{name} present"
    return f"{name} is not {' nor '.join(words)}{' or absent' if absent else ''}"


def named(values: Iterable[Point]) -> list[str]:
    return sorted(map(_word, values))


def spoken(line: Line, spans: Iterable[Span]) -> list[str]:
    return [_SAID[line](span) for span in spans]


def _word(value: Point) -> str:
    return {True: "true", False: "false"}[value] if isinstance(value, bool) else str(value) or '""'


def _from_to(span: Span, line: Line, text: Callable[[Point], str]) -> str:
    """Both ends included."""
    last = None if span.high is None else before(line, span.high)
    if span.low is None:
        return "anything" if last is None else f"up to {text(last)}"
    if last is None:
        return f"from {text(span.low)}"
    return text(last) if span.low == last else f"{text(span.low)} to {text(last)}"


def _double(span: Span) -> str:
    """An end that is one step beyond a shorter number was that number, left out or included."""
    low, high = (None if edge is None else _edge(edge) for edge in (span.low, span.high))
    if low is not None and high is not None:
        if low[0] == high[0]:
            return low[0]
        return f"{'above ' if low[1] else ''}{low[0]} to {'' if high[1] else 'below '}{high[0]}"
    if low is not None:
        return f"{'above' if low[1] else 'from'} {low[0]}"
    return f"{'up to' if high[1] else 'below'} {high[0]}" if high is not None else "anything"


def _edge(edge: Point) -> tuple[str, bool]:
    """The number, and whether the edge is the next after it."""
    number = before(Line.DOUBLE, edge)
    shorter = len(repr(number)) < len(repr(edge))
    return _number(number if shorter else edge), shorter


def _number(value: Point) -> str:
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def _clock(span: Span) -> str:
    return f"{_time(span.low or 0)} to {_time(24 * 3_600_000_000 if span.high is None else span.high)}"


def _time(place: Point) -> str:
    minutes, rest = divmod(int(place), 60_000_000)
    text = f"{minutes // 60:02d}:{minutes % 60:02d}"
    return f"{text}:{rest / 1_000_000:09.6f}".rstrip("0").rstrip(".") if rest else text


def _moments(span: Span) -> str:
    parts = (("from", span.low), ("until", span.high))
    return " ".join(f"{word} {_moment(edge)}" for word, edge in parts if edge is not None)


def _moment(place: Point) -> str:
    return timestamp_text(moment(int(place)))


def _address(place: Point) -> str:
    return address_text(int(place))


def _text(span: Span) -> str:
    low, high = span.low, span.high
    assert isinstance(low, str | None) and isinstance(high, str | None)
    if low and high == beyond(low):
        return f"starting with {low}"
    if low is not None and high == f"{low}{LEAST}":
        return low
    parts = []
    if low:
        parts.append(f"after {low[:-1]!r}" if low.endswith(LEAST) else f"from {low!r}")
    if high is not None:
        parts.append(f"up to {high[:-1]!r}" if high.endswith(LEAST) else f"before {high!r}")
    return " ".join(parts) or "any text"


_SAID: Mapping[Line, Callable[[Span], str]] = {
    Line.INT: lambda span: _from_to(span, Line.INT, str),
    Line.DOUBLE: _double,
    Line.MOMENT: _moments,
    Line.CLOCK: _clock,
    Line.ADDRESS: lambda span: _from_to(span, Line.ADDRESS, _address),
    Line.TEXT: _text,
}
