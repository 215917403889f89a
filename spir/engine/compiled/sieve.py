"""The function that reads a request's attributes and says which policies are still in question.

Columns come first, those of most policies before the others; each step is
skipped where no policy that is still in question depends on it.
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
from spir.engine.compiled.source import Draft, made
from spir.model.facts import View
from spir.model.request import Request
from spir.model.value import Unknown, Why

__all__ = ["Sieve", "sieve_of"]

# (request, view, moment, candidates with the bit `doubtful`) -> the candidates for which nothing is false; if
# the bit is lost, a tuple of these candidates and the doubts about them.
Sieve: TypeAlias = Callable[[Request, View, datetime, int], int | tuple[int, tuple[Doubt, ...]]]

# More questions than this are asked in a loop: the source would take too long to compile.
MAX_QUESTIONS = 24
MAX_JOINED = 256


def sieve_of(columns: list[Column], questions: list[Question], facts: Facts, doubtful: int) -> Sieve:
    writer = _Writer(facts)
    for column in sorted(columns, key=lambda column: -column.everyone.bit_count()):
        writer.column(column)
        if writer.steps in (3, 6):
            writer.lines.append(f"if live == {writer.draft.constant(doubtful)}: return live")
    asked = iter(questions)
    for question in islice(asked, MAX_QUESTIONS):
        writer.question(question)
    rest = tuple(asked)
    if rest:
        writer.rest(_Loop(rest, doubtful))
    return writer.written(doubtful)


class _Writer:
    """The source of a sieve: a step for each column and question, skipped where nobody left depends on it."""

    def __init__(self, facts: Facts) -> None:
        self.facts = facts
        self.draft = Draft()
        self.reads = Reads(self.draft)
        self.lines: list[str] = []
        self.steps = 0

    def column(self, column: Column) -> None:
        constant = self.draft.constant
        lines = [f"v = {self.reads.expression(column.path)}", "if v is None:", f"    e = {self.absence(column)}"]
        if column.textual:
            lines += [
                "elif v.__class__ is str:",
                f"    e = {constant(column.texts.get)}(v, {constant(column.stranger)})",
            ]
        lines += [
            "else:",
            "    try:",
            f"        e = {constant(column.marks)}[v.__class__][v]",
            f"    except {constant((KeyError, TypeError))}:",
            f"        e = {constant(column.of)}(v)",
        ]
        self.step(column.everyone, lines)

    def question(self, question: Question) -> None:
        asked = f"{self.draft.constant(question.ask)}(request, view, at)"
        self.step(question.everyone, [f"e = {self.draft.constant(question.marks)}[{asked}]"])

    def rest(self, loop: _Loop) -> None:
        self.step(loop.everyone, [f"e = {self.draft.constant(loop)}(request, view, at, live)"])

    def step(self, everyone: int, lines: list[str]) -> None:
        name = f"e{self.steps}"
        self.lines.append(f"if live & {self.draft.constant(everyone)}:")
        self.lines += [f"    {line.replace('e = ', f'{name} = ')}" for line in lines]
        self.lines += [f"    live &= {name}", "else:", f"    {name} = 0"]
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
        body = "\n".join(f"    {line}" for line in [*self.reads.lines, *self.lines, ending])
        return made(f"def made(request, view, at, live):\n{body}", self.draft.constants)


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
