"""Texts as numbers that keep their order: what a solver of numbers can reason about.

A text that is named gets a place between those before and after it. A number
between two places stands for a text between the two that nobody has named.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from fractions import Fraction

from spir.assurance.proof.domain import LEAST, Line, interval

__all__ = ["Places"]


class Places:
    """The line of texts, from the empty one at 0 upwards. Places once given stay."""

    def __init__(self) -> None:
        self._texts = [""]
        self._line = [Fraction(0)]

    def of(self, text: str) -> Fraction:
        at = bisect_left(self._texts, text)
        if at < len(self._texts) and self._texts[at] == text:
            return self._line[at]
        place = self._between(at)
        self._texts.insert(at, text)
        self._line.insert(at, place)
        return place

    def _between(self, at: int) -> Fraction:
        if at == len(self._line):
            return self._line[-1] + 1
        return (self._line[at - 1] + self._line[at]) / 2

    def edge(self, cut: str) -> tuple[Fraction, bool]:
        """Where an interval of texts begins or ends; True if that is directly behind the place.

        The next text after `a` is `a` with the least character: between the two nothing has a place.
        """
        beyond = cut.endswith(LEAST)
        return self.of(cut[: -len(LEAST)] if beyond else cut), beyond

    def texts(self, places: Iterable[Fraction]) -> Mapping[Fraction, str]:
        """The texts that stand at these places; for places that are nobody's, texts that come in the same order."""
        found: dict[Fraction, str] = {}
        before: dict[int, int] = {}
        for place in sorted(set(places)):
            at = bisect_left(self._line, place)
            if at < len(self._line) and self._line[at] == place:
                found[place] = self._texts[at]
            else:
                number = before[at] = before.get(at, 0) + 1
                found[place] = self._within(at, number)
        return found

    def _within(self, at: int, number: int) -> str:
        """The `number`th text (from 1) of those before the text at `at`, and after the one before that."""
        low = f"{self._texts[at - 1]}{LEAST}"
        high = self._texts[at] if at < len(self._texts) else None
        room = interval(Line.TEXT, low, high, below=True)
        if room.is_empty:
            raise LookupError  # there is no text between; the solver's line is denser than texts are
        stem = f"{room.pick()}"
        text = f"{stem}-{number:03d}" if number > 1 else stem
        return text if text in room else f"{low}{LEAST}{number:03d}"
