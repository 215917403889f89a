"""One attribute of a bucket: from a value to the mark of all parts that look at it.

Marks are remembered by type and value, so that True, 1 and 1.0 stay apart.
Parts of the form `attribute == text` are answered by one look-up of the text
however many there are, and so is the absence of the text: identifiers may take
any number of values without any of them being remembered.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Iterator
from functools import cached_property
from typing import Any

from spir.engine.attributes import is_deferred
from spir.engine.compiled.marks import Mark, Stake, mark, plain, together
from spir.engine.compiled.masks import united
from spir.engine.compiled.parts import Outcome
from spir.model.condition import FALSE, Attribute, Compare, Condition, Literal, Not
from spir.model.value import Lack, Value, Why

__all__ = ["Column", "columned"]

MAX_MARKS = 256
MAX_TEXT = 256


class Column:
    """The parts of a bucket that look at `path` alone. Made by `columned`.

    `texts` holds the marks of the texts that policies name, `stranger` is that
    of any other text; they are all there is to texts if the column is `textual`.
    `usual` is the type that most values have, as far as the policies tell.
    `marks` holds what is remembered of other values, by type; `of` finds out
    what is not there. `absent` is the mark for a request without the attribute,
    by what the request defers.
    """

    def __init__(self, path: str, indexed: list[Stake], loose: list[Stake], index: _Index) -> None:
        self.path = path
        self.everyone = united(stake.everyone for stake in (*indexed, *loose))
        self.textual = not loose
        self.usual: type = str if self.textual else _usual(loose)
        self.texts, self.stranger = index.texts, index.stranger
        self.marks: dict[type, dict[Any, Mark]] = {kind: {} for kind in _KEPT}
        self.absent = _ByDeferral(self)
        self._doubtful = index.doubtful
        self._indexed, self._loose = indexed, loose
        self._odd: dict[tuple[str, str], Mark] = {}
        self._without: dict[Why, Mark] = {}

    def known(self, value: Value) -> Mark:
        """The mark of a value."""
        try:
            return self.marks[type(value)][value]
        except (KeyError, TypeError):
            return self.of(value)

    def of(self, value: Value) -> Mark:
        """Find out the mark of a value, and remember it."""
        if not _is_plain(value):
            return self._of_odd(value)
        found = self._judged(value)
        if isinstance(value, (str, tuple)) and _length(value) > MAX_TEXT:
            return found  # memory is bounded by what is remembered, not only by how often
        kept = self.marks[type(value)]
        if len(kept) >= MAX_MARKS:
            kept.clear()
        kept[value] = found
        return found

    def without(self, why: Why) -> Mark:
        """The mark of an attribute that has no value."""
        found = self._without.get(why)
        if found is None:
            stakes = (*self._indexed, *self._loose)
            found = mark(((stake, stake.part.without(why)) for stake in stakes), self._doubtful)
            self._without[why] = found
        return found

    def _of_odd(self, value: Value) -> Mark:
        """A value that cannot be a key: it is remembered by its text, if that is short."""
        text = repr(value)
        key = (type(value).__name__, text)
        found = self._odd.get(key)
        if found is None:
            found = self._judged(value)
            if len(self._odd) >= MAX_MARKS:
                self._odd.clear()
            if len(text) <= MAX_TEXT:
                self._odd[key] = found
        return found

    def _judged(self, value: Value) -> Mark:
        loose = mark(((stake, stake.part.of(value)) for stake in self._loose), self._doubtful)
        if not isinstance(value, str):
            return together(self._mistyped, loose)
        # A text of a type of its own is equal to the text that it holds.
        return together(self.texts.get(str.__str__(value), self.stranger), loose)

    @cached_property
    def _mistyped(self) -> Mark:
        """What a value that is no text does to parts that compare with texts: that has no meaning."""
        nothing = Outcome(frozenset((Lack(self.path, Why.INVALID),)), FALSE, FALSE)
        return mark(((stake, nothing) for stake in self._indexed), self._doubtful)


class _ByDeferral(dict[frozenset[str], Mark]):
    """From what a request defers to the mark of the attribute's absence; worked out on first use."""

    def __init__(self, column: Column) -> None:
        super().__init__()
        self.column = column

    def __missing__(self, deferred: frozenset[str]) -> Mark:
        why = Why.DEFERRED if is_deferred(self.column.path, deferred) else Why.MISSING
        found = self.column.without(why)
        if len(self) >= MAX_MARKS:
            self.clear()
        if sum(map(len, deferred)) <= MAX_TEXT:
            self[deferred] = found
        return found


# -- building --------------------------------------------------------------------------------

# So many stakes are seen to in one step.
STEP = 200


def columned(path: str, stakes: list[Stake], doubtful: int) -> Generator[None, None, Column]:
    """The column of these stakes, built in steps.

    Those that are answered by the text alone are indexed, one of each policy; the others stay loose.
    """
    indexed: list[Stake] = []
    loose: list[Stake] = []
    index, taken = _Index(doubtful), 0
    for number, stake in enumerate(stakes):
        if stake.part.texts is None:
            loose.append(stake)
        else:
            if stake.everyone & taken:
                loose.append(stake.within(taken))
                stake = stake.within(~taken)
            if stake.everyone:
                indexed.append(stake)
                index.add(stake)
                taken |= stake.everyone
        if number % STEP == STEP - 1:
            yield
    yield from index.finished()
    return Column(path, indexed, loose, index)


class _Index:
    """The marks of the texts that stakes name, in the making."""

    def __init__(self, doubtful: int) -> None:
        self.doubtful = doubtful
        self.texts: dict[str, Mark] = {}
        self.stranger = plain(0, doubtful)
        self._effects: dict[str, tuple[int, int]] = {}  # text -> policies that it keeps, policies that it puts out

    def add(self, stake: Stake) -> None:
        assert stake.part.texts is not None
        texts, wanted = stake.part.texts
        if wanted:
            self.stranger &= ~stake.everyone
        for text in texts:
            kept, out = self._effects.get(text, (0, 0))
            self._effects[text] = (kept | stake.everyone, out) if wanted else (kept, out | stake.everyone)

    def finished(self) -> Generator[None, None, None]:
        for number, (text, (kept, out)) in enumerate(self._effects.items()):
            self.texts[text] = (self.stranger | kept) & ~out
            if number % STEP == STEP - 1:
                yield
        yield


def _length(value: str | tuple[Value, ...]) -> int:
    return len(value) if isinstance(value, str) else sum(len(member) + 1 for member in value if isinstance(member, str))


_KEPT = (str, int, bool, float, tuple)


def _usual(stakes: list[Stake]) -> type:
    """The type of the constants that most parts compare with; those that stand for themselves are bools."""
    found = Counter(kind for stake in stakes for kind in _constants(stake.part.condition))
    return found.most_common(1)[0][0] if found else str


def _constants(condition: Condition) -> Iterator[type]:
    match condition:
        case Compare(_, Attribute(), Literal(value)) | Compare(_, Literal(value), Attribute()):
            kinds = {type(member) for member in value} if isinstance(value, tuple) else {type(value)}
            yield from kinds & {str, int, bool, float}
        case Attribute() | Not(Attribute()):
            yield bool


def _is_plain(value: Value) -> bool:
    """Whether equal values of its very type mean the same to every operator, so that it can be a key."""
    kind = type(value)
    if kind is float:
        return value == value and value != 0.0
    if kind is tuple:
        assert isinstance(value, tuple)
        return all(type(member) is str for member in value)
    return kind in (str, int, bool)
