"""The function that reads a request's attributes and says which policies are still in question.

Columns come first, those of most policies before the others; each step is
skipped where no policy that is still in question depends on it. Of a column
the type that its policies compare with is looked for first; the first
questions are written into the function, where they are answered without a call
as long as every attribute is known.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from itertools import islice
from typing import Any, TypeAlias

from spir.engine.compiled.column import Column
from spir.engine.compiled.facts import FAILED, Facts, Read, fact_of
from spir.engine.compiled.marks import Doubt, Mark, Unsure, doubt_of, plain, together
from spir.engine.compiled.question import Question
from spir.engine.compiled.reading import Reads
from spir.engine.compiled.source import Draft, Unwritable, made, written
from spir.language.values.operators import Invalid
from spir.model.facts import View
from spir.model.request import Request
from spir.model.value import Unknown, Why

__all__ = ["Sieve", "sieve_of"]

# (request, view, moment, candidates with the bit `doubtful`) -> the candidates for which nothing is false; if
# the bit is lost, a tuple of these candidates and the doubts about them.
Sieve: TypeAlias = Callable[[Request, View, datetime, int], int | tuple[int, tuple[Doubt, ...]]]

# More questions than this are asked in a loop, or by a call: the source would take too long to compile.
MAX_QUESTIONS = 24
MAX_WRITTEN = 8
MAX_JOINED = 256


def sieve_of(columns: list[Column], questions: list[Question], facts: Facts, doubtful: int) -> Sieve:
    writer = _Writer(facts)
    for column in _ordered(columns):
        writer.column(column)
        if writer.steps in (3, 6):
            writer.lines.append(f"if live == {writer.draft.constant(doubtful)}: return live")
    asked = iter(questions)
    for number, question in enumerate(islice(asked, MAX_QUESTIONS)):
        writer.question(question, number < MAX_WRITTEN)
    rest = tuple(asked)
    if rest:
        writer.rest(_Loop(rest, doubtful))
    return writer.written(doubtful)


def _ordered(columns: list[Column]) -> list[Column]:
    """Those of most policies first; threes of them by name, so that operations alike have the very same source."""
    found = sorted(columns, key=lambda column: -column.everyone.bit_count())
    threes = (found[:3], found[3:6], found[6:])
    return [column for some in threes for column in sorted(some, key=lambda column: column.path)]


class _Writer:
    """The source of a sieve: a step for each column and question, skipped where nobody left depends on it."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.draft = Draft()
        self.reads = Reads(self.draft)
        self.lines: list[str] = []
        self.steps = 0

    @property
    def mark(self) -> str:
        """The Python name of the mark that the step comes to."""
        return f"e{self.steps}"

    def column(self, column: Column) -> None:
        constant = self.draft.constant
        usual = f"{constant(column.marks[column.usual])}[v]"
        if column.textual:
            usual = f"{constant(column.texts.get)}(v, {constant(column.stranger)})"
        lines = [
            f"v = {self.reads.expression(column.path)}",
            f"if v.__class__ is {column.usual.__name__}:",
            f"    {self.mark} = {usual}",
            "elif v is None:",
            f"    {self.mark} = {self.absence(column)}",
            "else:",
            "    try:",
            f"        {self.mark} = {constant(column.marks)}[v.__class__][v]",
            f"    except {constant((KeyError, TypeError))}:",
            f"        {self.mark} = {constant(column.of)}(v)",
        ]
        self.step(column.everyone, lines)

    def question(self, question: Question, inside: bool) -> None:
        constant = self.draft.constant
        asked = f"{self.mark} = {constant(question.marks)}[{constant(question.ask)}(request, view, at)]"
        lines = self.inside(question, asked) if inside and not question.part.clock else None
        self.step(question.everyone, [asked] if lines is None else lines)

    def inside(self, question: Question, asked: str) -> list[str] | None:
        """The lines that answer it here where every attribute is known; None if it cannot be written."""
        names = {path: f"a{number}" for number, path in enumerate(question.part.paths)}
        try:
            answer = written(question.part.condition, names, self.draft)
        except Unwritable:
            return None
        constant, marks = self.draft.constant, question.marks
        return [
            *(f"{name} = {self.reads.expression(path)}" for path, name in names.items()),
            f"if {' or '.join(f'{name} is None' for name in names.values())}:",
            f"    {asked}",
            "else:",
            "    try:",
            f"        {self.mark} = {constant(marks[True])} if {answer} else {constant(marks[False])}",
            f"    except {constant(Invalid)}:",
            f"        {asked}",
        ]

    def rest(self, loop: _Loop) -> None:
        self.step(loop.everyone, [f"{self.mark} = {self.draft.constant(loop)}(request, view, at, live)"])

    def step(self, everyone: int, lines: list[str]) -> None:
        self.lines.append(f"if live & {self.draft.constant(everyone)}:")
        self.lines += [*(f"    {line}" for line in lines), f"    live &= {self.mark}", "else:", f"    {self.mark} = 0"]
        self.steps += 1

    def absence(self, column: Column) -> str:
        """The mark for a request that does not have the attribute."""
        fact = fact_of(column.path)
        if fact is None:
            return f"{self.draft.constant(column.absent)}[request.deferred]"
        return f"{self.draft.constant(_from_facts(column, self.facts.reader(*fact)))}(request, view, at)"

    def written(self, doubtful: int) -> Sieve:
        marks = "".join(f"e{number}, " for number in range(self.steps))
        doubts = f"(*[e.doubt for e in ({marks}) if e.__class__ is {self.draft.constant(Unsure)}],)"
        ending = f"return live if live >= {self.draft.constant(doubtful)} else (live, {doubts})"
        return made("request, view, at, live", [*self.reads.lines, *self.lines, ending], self.draft.constants)


def _from_facts(column: Column, read: Read) -> Callable[[Request, View, datetime], Mark]:
    def found(request: Request, view: View, at: datetime) -> Mark:
        value = read(request, view, at)
        if value is None:
            return column.absent[request.deferred]
        if isinstance(value, Unknown):
            return column.without(Why.FAILED if value is FAILED else Why.MISSING)
        return column.known(value)

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
                found = question.marks[question.ask(request, view, at)]
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
