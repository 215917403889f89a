"""The functions that read a request's attributes and say which policies are still in question.

The *head* looks at the columns that most policies depend on. Few policies are
left after it, as a rule, and the same ones again and again: what is left to be
asked for them is a function of its own, a *tail*, made when they have been met
a few times. For all others there is one tail that asks everything.

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
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeAlias

from spir.engine.compiled.column import Column
from spir.engine.compiled.facts import FAILED, Facts, Read, fact_of
from spir.engine.compiled.marks import Doubt, Mark, Unsure, doubt_of, plain, together
from spir.engine.compiled.question import Question
from spir.engine.compiled.reading import Reads, is_property
from spir.engine.compiled.source import Draft, made
from spir.model.facts import View
from spir.model.request import Request
from spir.model.value import Unknown, Value, Why

__all__ = ["Sieve", "sieve_of"]

# (request, view, moment, candidates with the bit `doubtful`) -> the candidates for which nothing is false; if
# the bit is lost, a tuple of these candidates and the doubts about them.
Sifted: TypeAlias = int | tuple[int, tuple[Doubt, ...]]
Sieve: TypeAlias = Callable[[Request, View, datetime, int], Sifted]
Tail: TypeAlias = Callable[..., Sifted]  # the same, with the marks of the head
Otherwise: TypeAlias = Callable[[Value, Request, View, datetime, int], Mark]
Others: TypeAlias = Mapping[Column, Otherwise]

HEAD = 2  # columns of the head
SPARED = 3  # so many steps fewer make a tail worth while
OFTEN = 6  # a tail of their own is made when policies are met so often: a millisecond, if there is none like it yet
MAX_TAILS = 256
# More questions than this are asked in a loop, or by a call: the source would take too long to compile.
MAX_QUESTIONS = 24
MAX_WRITTEN = 8
MAX_JOINED = 256


def sieve_of(columns: list[Column], questions: list[Question], facts: Facts, doubtful: int) -> Sieve:
    ordered = sorted(columns, key=lambda column: -column.everyone.bit_count())
    first = [column for column in ordered if is_property(column.path)][:HEAD]
    rest = [column for column in ordered if column not in first]
    others = {column: _otherwise(column, facts, plain(0, doubtful)) for column in columns}
    writer = _Writer(others, doubtful)
    if len(rest) + len(questions) < SPARED:
        writer.everything(columns, questions)
        return writer.written()
    writer.columns(first)
    writer.ends()
    return writer.followed_by(_Tails(rest, questions, others, doubtful, writer.steps))


class _Tails:
    """From the policies that a head leaves to the tail for them. Those that are met often get their `own`, the first
    ones of them."""

    def __init__(
        self, columns: Sequence[Column], questions: Sequence[Question], others: Others, doubtful: int, steps: int
    ) -> None:
        self.columns, self.questions = columns, questions
        self.others = others
        self.doubtful = doubtful
        self.steps = steps  # of the head
        self.every = self.tail(columns, questions)
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
        columns = [column for column in self.columns if live & column.everyone]
        questions = [question for question in self.questions if live & question.everyone]
        spared = len(self.columns) + len(self.questions) - len(columns) - len(questions)
        found = self.own[live] = self.tail(columns, questions) if spared >= SPARED else self.every
        return found

    def tail(self, columns: Sequence[Column], questions: Sequence[Question]) -> Tail:
        writer = _Writer(self.others, self.doubtful, self.steps)
        writer.everything(columns, questions)
        return writer.written()


class _Writer:
    """The source of a function that sifts: a step for each column and question."""

    def __init__(self, others: Others, doubtful: int, steps: int = 0) -> None:
        """`steps` that were taken before: their marks are arguments."""
        self.others = others
        self.doubtful = doubtful
        self.draft = Draft()
        self.reads = Reads(self.draft)
        self.lines: list[str] = []
        self.arguments = ", ".join(("request, view, at, live", *(f"e{number}" for number in range(steps))))
        self.steps = steps

    @property
    def mark(self) -> str:
        """The Python name of the mark that the step comes to."""
        return f"e{self.steps}"

    def ends(self) -> None:
        """Nobody is left."""
        self.lines.append(f"if live == {self.draft.constant(self.doubtful)}: return live")

    def everything(self, columns: Iterable[Column], questions: Sequence[Question]) -> None:
        self.columns(columns)
        if questions:
            self.ends()
        self.shared(questions[:MAX_WRITTEN])
        for number, question in enumerate(questions[:MAX_QUESTIONS]):
            self.question(question, number < MAX_WRITTEN)
        if rest := tuple(questions[MAX_QUESTIONS:]):
            loop = _Loop(rest, self.doubtful)
            self.step([f"{self.mark} = {self.draft.constant(loop)}(request, view, at, live)"], loop.everyone)

    def columns(self, columns: Iterable[Column]) -> None:
        """In an order that gives columns alike the very same source."""
        ordered = sorted(columns, key=_likeness)
        self.reads.ahead(column.path for column in ordered)
        for column in ordered:
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

    def question(self, question: Question, inside: bool) -> None:
        constant, marks = self.draft.constant, self.draft.constant(question.marks)
        if inside:
            yes, no = constant(question.marks[True]), constant(question.marks[False])
            settled, said = f"{self.mark} = {yes} if {{}} else {no}", f"{self.mark} = {marks}[{{}}]"
            lines = question.asked.lines(self.reads, settled.format, said.format)
        else:
            lines = [f"{self.mark} = {marks}[{constant(question.asked.function)}(request, view, at)]"]
        self.step(lines, question.everyone)

    def step(self, lines: list[str], everyone: int | None) -> None:
        """With `everyone`, it is skipped where none of them is left."""
        lines = [*lines, f"live &= {self.mark}"]
        if everyone is not None:
            guard = f"if live & {self.draft.constant(everyone)}:"
            lines = [guard, *(f"    {line}" for line in lines), "else:", f"    {self.mark} = 0"]
        self.lines += lines
        self.steps += 1

    def followed_by(self, tails: _Tails) -> Sieve:
        marks = "".join(f", e{number}" for number in range(self.steps))
        tail = f"{self.draft.constant(tails.own)}.get(live) or {self.draft.constant(tails.found)}(live)"
        return self.ended(f"tail = {tail}", f"return tail(request, view, at, live{marks})")

    def written(self) -> Tail:
        marks = "".join(f"e{number}, " for number in range(self.steps))
        doubts = f"(*[e.doubt for e in ({marks}) if e.__class__ is {self.draft.constant(Unsure)}],)"
        return self.ended(f"return live if live >= {self.draft.constant(self.doubtful)} else (live, {doubts})")

    def ended(self, *ending: str) -> Tail:
        return made(self.arguments, [*self.reads.lines, *self.lines, *ending], self.draft.constants)


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
