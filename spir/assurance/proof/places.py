"""Texts as numbers that keep their order: what a solver of numbers can reason about.

A text that is named gets a place between those before and after it. A number
between two places stands for a text between the two that nobody has named.
"""

from __future__ import annotations

from bisect import bisect_left
from fractions import Fraction

from spir.assurance.proof.domain import LEAST

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
