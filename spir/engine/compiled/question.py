"""Parts that look at several attributes: asked of a request while a policy still depends on them.

The generated function answers where it comes upon known values only. For the
rest the interpreter is asked, once for each combination of values.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from functools import cached_property
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from spir.engine.compiled.facts import Facts
from spir.engine.compiled.marks import Mark, Stake, mark, plain
from spir.engine.compiled.parts import NOW, Outcome, Part, judged
from spir.engine.compiled.reading import Reads
from spir.engine.compiled.source import Draft, Unwritable, made, written
from spir.engine.evaluate import Scope
from spir.language.values.operators import Invalid
from spir.model.facts import View
from spir.model.request import Request
from spir.model.value import Unknown, Value

__all__ = ["Ask", "Asked", "Question", "asking", "typed"]

Ask: TypeAlias = Callable[[Request, View, datetime], bool | Outcome]

MAX_OUTCOMES = 256
MAX_TEXT = 256


class Question:
    """A part in its bucket: for whom it is asked, how, and the mark of each answer."""

    __slots__ = ("asked", "everyone", "marks", "part")

    def __init__(self, stake: Stake, asked: Asked, doubtful: int) -> None:
        self.part = stake.part
        self.everyone = stake.everyone
        self.asked = asked
        self.marks = _ByAnswer(stake, doubtful)


class _ByAnswer(dict[bool | Outcome, Mark]):
    """From answers to their marks; that of an outcome is worked out on first use."""

    def __init__(self, stake: Stake, doubtful: int) -> None:
        super().__init__()
        self.stake = stake
        self.doubtful = doubtful
        self.reset()

    def reset(self) -> None:
        self.clear()
        self[True], self[False] = plain(0, self.doubtful), plain(self.stake.everyone, self.doubtful)

    def __missing__(self, outcome: Outcome) -> Mark:
        if len(self) >= MAX_OUTCOMES:
            self.reset()
        found = self[outcome] = mark(((self.stake, outcome),), self.doubtful)
        return found


class Asked:
    """How a part is asked of a request: as a function, or as lines of another one."""

    def __init__(self, part: Part, facts: Facts, zone: ZoneInfo) -> None:
        self.part = part
        self.zone = zone
        self.absences = {path: facts.absence(path) for path in part.paths if path != NOW}
        self.doubt = _interpreted(part, zone)

    @cached_property
    def function(self) -> Ask:
        draft = Draft()
        reads = Reads(draft)
        lines = self.lines(reads, "return {}".format, "return {}".format)
        return made("request, view, at", [*reads.lines, *lines], draft.constants)

    def lines(self, reads: Reads, settled: Callable[[str], str], said: Callable[[str], str]) -> list[str]:
        """Lines that answer it. Each makes a statement of an expression for the answer, which is True or False if it
        is `settled`."""
        constant = reads.draft.constant
        names = {path: reads.resolved.get(path, f"a{number}") for number, path in enumerate(self.part.paths)}
        unread = ((path, name) for path, name in names.items() if path not in reads.resolved)
        lines = [line for path, name in unread for line in self.read(path, name, reads)]
        unsure = said(f"{constant(self.doubt)}(({''.join(f'{name}, ' for name in names.values())}), at)")
        try:
            answer = written(self.part.condition, names, reads.draft, ("at", self.zone))
        except Unwritable:
            return [*lines, unsure]
        return [*lines, "try:", f"    {settled(answer)}", f"except {constant(Invalid)}:", f"    {unsure}"]

    def read(self, path: str, name: str, reads: Reads) -> list[str]:
        """Lines that put the value of the path, or why there is none, into a name."""
        lines = [f"{name} = {reads.expression(path)}"]
        if path not in self.absences:
            return lines
        absent = f"    {name} = {reads.draft.constant(self.absences[path])}(request, view, at)"
        return [*lines, f"if {name} is None:", absent]


def asking(part: Part, facts: Facts, zone: ZoneInfo) -> Ask:
    """The function that asks a part of a request."""
    return Asked(part, facts, zone).function


def _interpreted(part: Part, zone: ZoneInfo) -> Callable[[tuple[Value | Unknown, ...], datetime], bool | Outcome]:
    """What the interpreter says of the part with these values of its paths."""
    remembered: dict[tuple[Any, ...], bool | Outcome] = {}

    def doubt(values: tuple[Value | Unknown, ...], at: datetime) -> bool | Outcome:
        key = tuple(map(typed, values))
        found = None if part.clock else remembered.get(key)
        if found is None:
            lookup = dict(zip(part.paths, values, strict=True))
            found = judged(part.condition, lookup.__getitem__, Scope(at, zone))
            if len(remembered) >= MAX_OUTCOMES:
                remembered.clear()
            if not part.clock and all(map(_is_short, key)):
                remembered[key] = found
        return found

    return doubt


def _is_short(key: Any) -> bool:
    """Whether the `typed` value may be kept: memory is bounded by what is remembered, not only by how often."""
    held = key[1] if isinstance(key, tuple) else key
    return not isinstance(held, (str, bytes)) or len(held) <= MAX_TEXT


_PLAIN = frozenset((int, bool, bytes))


def typed(value: Value | Unknown) -> Any:
    """Something hashable that keeps apart what operators keep apart: True, 1 and 1.0, and why there is no value."""
    kind = value.__class__
    if kind is str:
        return value
    if isinstance(value, Unknown):
        return value.lacks
    return kind, value if kind in _PLAIN else repr(value)
