"""The functions that read a request's attributes and say which policies are still in question.

The *head* looks at the columns that most policies depend on. Few policies are
left after it, as a rule, and the same ones again and again: what is left to be
asked for them is a function of its own, a *tail*, made when they have been met
a few times. For all others there is one tail that asks everything. What would
take long to compile as one function is several, one after the other.

Properties of the request are read ahead, all of a dimension at once, and
looked up without asking whether anybody depends on them: that costs less than
to ask. What takes longer (facts, properties of properties, questions) is
skipped where no policy that is still in question depends on it. Of a column
the type that its policies compare with is looked for first; the first questions
are written into the function, where they are answered without a call as long
as every attribute is known.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeAlias

from spir.engine.compiled.column import Column
from spir.engine.compiled.facts import FAILED, Facts, Read, fact_of
from spir.engine.compiled.marks import Doubt, Mark, Unsure, doubt_of, plain, together
from spir.engine.compiled.question import Question
from spir.engine.compiled.reading import Reads, is_property
from spir.engine.compiled.source import Draft, made
from spir.language.walk import nodes
from spir.model.facts import View
from spir.model.request import Request
from spir.model.value import Unknown, Value, Why

__all__ = ["Sieve", "sieve_of"]

# (request, view, moment, candidates with the bit `doubtful`) -> the candidates for which nothing is false; if
# the bit is lost, a tuple of these candidates and the doubts about them.
Sifted: TypeAlias = int | tuple[int, tuple[Doubt, ...]]
Sieve: TypeAlias = Callable[[Request, View, datetime, int], Sifted]
Tail: TypeAlias = Callable[..., Sifted]  # the same, with the doubts that there are already
Otherwise: TypeAlias = Callable[[Value, Request, View, datetime, int], Mark]
Others: TypeAlias = Mapping[Column, Otherwise]

HEAD = 2  # columns of the head
SPARED = 3  # so many steps fewer make a tail worth while
OFTEN = 6  # a tail of their own is made when policies are met so often: a millisecond, if there is none like it yet
MAX_TAILS = 256
# More questions than this are asked in a loop, or by a call: the source would take too long to compile.
MAX_QUESTIONS = 24
MAX_WRITTEN = 8
# What one function asks at most, in columns, so that nobody waits for long while it is compiled.
MAX_WEIGHT = 16
LEAST = 4  # a question takes at least as long as so many columns
MAX_JOINED = 256


def sieve_of(
    columns: list[Column], questions: list[Question], facts: Facts, doubtful: int
) -> Generator[None, None, Sieve]:
    """The sieve of a bucket, compiled in steps."""
    ordered = sorted(columns, key=lambda column: -column.everyone.bit_count())
    first = [column for column in ordered if is_property(column.path)][:HEAD]
    rest = [column for column in ordered if column not in first]
    others = {column: _otherwise(column, facts, plain(0, doubtful)) for column in columns}
    chain = _Chain(others, doubtful)
    if len(rest) + len(questions) < SPARED:
        return (yield from chain.of(columns, questions, first=True))
    every = yield from chain.of(rest, questions)
    writer = _Writer(others, doubtful, first=True)
    writer.columns(sorted(first, key=_likeness))
    constant, tails = writer.draft.constant, _Tails(rest, questions, chain, every)
    return writer.followed_by(f"({constant(tails.own)}.get(live) or {constant(tails.found)}(live))")


class _Tails:
    """From the policies that a head leaves to the tail for them. Those that are met often get their `own`, the first
    ones of them."""

    def __init__(self, columns: Sequence[Column], questions: Sequence[Question], chain: _Chain, every: Tail) -> None:
        self.columns, self.questions = columns, questions
        self.chain = chain
        self.every = every
        self.own: dict[int, Tail] = {}
        self.met: dict[int, int] = {}  # how often they were

    def found(self, live: int) -> Tail:
        """The tail for policies that have none of their own yet."""
        if len(self.own) >= MAX_TAILS:
            return self.every
        times = self.met.get(live, 0) + 1
        if times < OFTEN:
            if len(self.met) >= MAX_TAILS:
                self.met.clear()
            self.met[live] = times
            return self.every
        self.met.pop(live, None)
        found = self.own[live] = self.made(live)
        return found

    def made(self, live: int) -> Tail:
        """A tail for these policies, if that is worth while and does not take long."""
        columns = [column for column in self.columns if live & column.everyone]
        questions = [question for question in self.questions if live & question.everyone]
        spared = len(self.columns) + len(self.questions) - len(columns) - len(questions)
        pieces = self.chain.pieces(columns, questions)
        if spared < SPARED or len(pieces) > 1:
            return self.every
        return self.chain.piece(pieces[0]).written()


class _Chain:
    """Functions that ask so many columns and questions that one would take too long to compile, one after the other."""

    def __init__(self, others: Others, doubtful: int) -> None:
        self.others = others
        self.doubtful = doubtful

    def of(
        self, columns: Sequence[Column], questions: Sequence[Question], first: bool = False
    ) -> Generator[None, None, Tail]:
        """All of them; a sieve, if this is what comes `first`."""
        *before, last = self.pieces(columns, questions)
        found = self.piece(last, first and not before).written()
        for piece in reversed(before):
            yield
            writer = self.piece(piece, first and piece is before[0])
            found = writer.followed_by(writer.draft.constant(found))
        return found

    def piece(self, piece: _Piece, first: bool = False) -> _Writer:
        writer = _Writer(self.others, self.doubtful, first)
        writer.columns(piece.columns)
        if piece.written or piece.called:
            writer.ends()
        writer.shared(piece.written)
        for question in piece.written:
            writer.question(question)
        for called in piece.called:
            writer.called(called)
        return writer

    def pieces(self, columns: Iterable[Column], questions: Sequence[Question]) -> list[_Piece]:
        """What each function asks; at least one of them. Columns are in an order that gives those alike the very same
        source."""
        pieces = [_Piece()]

        def room(weight: int) -> _Piece:
            if pieces[-1].weight + weight > MAX_WEIGHT:
                pieces.append(_Piece())
            pieces[-1].weight += weight
            return pieces[-1]

        for column in sorted(columns, key=_likeness):
            room(1).columns.append(column)
        for question in questions[:MAX_WRITTEN]:
            room(_weight(question)).written.append(question)
        for question in questions[MAX_WRITTEN:MAX_QUESTIONS]:
            room(_weight(question)).called.append(question)
        if rest := tuple(questions[MAX_QUESTIONS:]):
            room(1).called.append(_Loop(rest, self.doubtful))
        return pieces


def _weight(question: Question) -> int:
    size = sum(1 for _ in nodes(question.part.condition))
    return min(max(LEAST, size // 2), MAX_WEIGHT)  # large ones are several functions


@dataclass(slots=True)
class _Piece:
    """What one function asks. `weight`: how long it takes to compile, in columns."""

    columns: list[Column] = field(default_factory=list)
    written: list[Question] = field(default_factory=list)
    called: list[Question | _Loop] = field(default_factory=list)
    weight: int = 0


class _Writer:
    """The source of a function that sifts: a step for each column and question."""

    def __init__(self, others: Others, doubtful: int, first: bool) -> None:
        """`first`: there are no doubts yet; they are an argument else."""
        self.others = others
        self.doubtful = doubtful
        self.first = first
        self.draft = Draft()
        self.reads = Reads(self.draft)
        self.lines: list[str] = []
        self.steps = 0

    @property
    def mark(self) -> str:
        """The Python name of the mark that the step comes to."""
        return f"e{self.steps}"

    def ends(self) -> None:
        """Nobody is left."""
        self.lines.append(f"if live == {self.draft.constant(self.doubtful)}: return live")

    def columns(self, columns: Sequence[Column]) -> None:
        self.reads.ahead(column.path for column in columns)
        for column in columns:
            self.column(column)

    def column(self, column: Column) -> None:
        constant = self.draft.constant
        value = self.reads.expression(column.path)
        lines = []
        if not value.isidentifier():
            lines, value = [f"v = {value}"], "v"
        if column.textual:
            marks, default = constant(column.texts), constant(column.stranger)
        else:
            marks, default = constant(column.marks[column.usual]), constant(None)
        lines += [
            f"{self.mark} = {marks}.get({value}, {default}) if {value}.__class__ is {constant(column.usual)} else None",
            f"if {self.mark} is None: {self.mark} = {constant(self.others[column])}({value}, request, view, at, live)",
        ]
        self.step(lines, None if is_property(column.path) else column.everyone)

    def shared(self, questions: Sequence[Question]) -> None:
        """Read what several questions look at once for all of them."""
        asked = {path: question.asked for question in questions for path in question.part.paths}
        times = Counter(path for question in questions for path in question.part.paths)
        for path in sorted(path for path, count in times.items() if count > 1):
            name = f"r{len(self.reads.resolved)}"
            self.lines += asked[path].read(path, name, self.reads)
            self.reads.resolved[path] = name

    def question(self, question: Question) -> None:
        constant = self.draft.constant
        yes, no = constant(question.marks[True]), constant(question.marks[False])
        settled, said = f"{self.mark} = {yes} if {{}} else {no}", f"{self.mark} = {constant(question.marks)}[{{}}]"
        self.step(question.asked.lines(self.reads, settled.format, said.format), question.everyone)

    def called(self, asked: Question | _Loop) -> None:
        constant = self.draft.constant
        if isinstance(asked, _Loop):
            found = f"{constant(asked)}(request, view, at, live)"
        else:
            found = f"{constant(asked.marks)}[{constant(asked.asked.function)}(request, view, at)]"
        self.step([f"{self.mark} = {found}"], asked.everyone)

    def step(self, lines: list[str], everyone: int | None) -> None:
        """With `everyone`, it is skipped where none of them is left."""
        lines = [*lines, f"live &= {self.mark}"]
        if everyone is not None:
            guard = f"if live & {self.draft.constant(everyone)}:"
            lines = [guard, *(f"    {line}" for line in lines), "else:", f"    {self.mark} = 0"]
        self.lines += lines
        self.steps += 1

    def followed_by(self, follower: str) -> Tail:
        """The function of this source, and then that of an expression, if anybody is left."""
        self.ends()
        return self.ended(*self.doubts(), f"return {follower}(request, view, at, live, doubts)")

    def written(self) -> Tail:
        """The function of this source and nothing else."""
        certain = f"if live >= {self.draft.constant(self.doubtful)}: return live"
        return self.ended(certain, *self.doubts(), "return live, doubts")

    def doubts(self) -> list[str]:
        """Lines that add the doubts of each step, if there are any."""
        constant = self.draft.constant
        marks = [f"e{number}" for number in range(self.steps)]
        return [
            *(["doubts = ()"] if self.first else []),
            f"if live < {constant(self.doubtful)}:",
            f"    unsure = {constant(Unsure)}",
            *(f"    if {mark}.__class__ is unsure: doubts += ({mark}.doubt,)" for mark in marks),
        ]

    def ended(self, *ending: str) -> Tail:
        arguments = "request, view, at, live" if self.first else "request, view, at, live, doubts"
        return made(arguments, [*self.reads.lines, *self.lines, *ending], self.draft.constants)


def _likeness(column: Column) -> tuple[bool, str]:
    return not is_property(column.path), column.path


def _otherwise(column: Column, facts: Facts, clear: Mark) -> Otherwise:
    """The mark of what is not of the usual type, or not remembered; `clear` if no policy that is left depends on it."""
    fact = fact_of(column.path)
    read: Read | None = facts.reader(*fact) if fact else None

    def found(value: Value, request: Request, view: View, at: datetime, live: int) -> Mark:
        if not live & column.everyone:
            return clear
        known = read(request, view, at) if value is None and read is not None else value
        if known is None:
            return column.absent[request.deferred]
        if isinstance(known, Unknown):
            return column.without(Why.FAILED if known is FAILED else Why.MISSING)
        return column.known(known)

    return found


class _Loop:
    """Asks many questions one after the other, as a step of the sieve."""

    def __init__(self, questions: tuple[Question, ...], doubtful: int) -> None:
        self.questions = questions
        self.everyone = 0
        for question in questions:
            self.everyone |= question.everyone
        self._clear = plain(0, doubtful)
        self._joined: dict[tuple[Any, ...], Mark] = {}

    def __call__(self, request: Request, view: View, at: datetime, live: int) -> Mark:
        keep, unsure = self._clear, []
        for question in self.questions:
            if live & question.everyone:
                found = question.marks[question.asked.function(request, view, at)]
                live &= found
                keep &= found
                if isinstance(found, Unsure):
                    unsure.append(found)
        return self._together(keep, unsure) if unsure else keep

    def _together(self, keep: int, unsure: list[Unsure]) -> Mark:
        """One mark for the same doubts, so that what is remembered by doubts is found again."""
        key = (keep, *map(doubt_of, unsure))
        found = self._joined.get(key)
        if found is None:
            found = keep
            for other in unsure:
                found = together(found, other)
            if len(self._joined) >= MAX_JOINED:
                self._joined.clear()
            self._joined[key] = found
        return found
