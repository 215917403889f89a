"""Parts that look at several attributes: asked of a request while a policy still depends on them.

The generated function answers where every attribute is known. For the rest
the interpreter is asked, once for each combination of values.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from spir.engine.attributes import Attributes
from spir.engine.compiled.facts import Facts, fact_of
from spir.engine.compiled.marks import CLEAR, Mark, Stake, mark, plain
from spir.engine.compiled.parts import NOW, Outcome, Part, judged
from spir.engine.compiled.reading import Reads
from spir.engine.compiled.source import Draft, Unwritable, made, written
from spir.engine.evaluate import Scope
from spir.language.values.operators import Invalid
from spir.model.facts import View
from spir.model.request import Request
from spir.model.value import Unknown, Value

__all__ = ["Ask", "Question", "asking", "typed"]

Ask: TypeAlias = Callable[[Request, View, datetime], bool | Outcome]

MAX_OUTCOMES = 256


class Question:
    """A part in its bucket: for whom it is asked, how, and the mark of each answer."""

    __slots__ = ("ask", "everyone", "marks")

    def __init__(self, stake: Stake, ask: Ask, doubtful: int) -> None:
        self.everyone = stake.everyone
        self.ask = ask
        self.marks = _ByAnswer(stake, doubtful)


class _ByAnswer(dict[bool | Outcome, Mark]):
    """From answers to their marks; that of an outcome is worked out on first use."""

    def __init__(self, stake: Stake, doubtful: int) -> None:
        super().__init__({True: CLEAR, False: plain(stake.everyone, doubtful)})
        self.stake = stake
        self.doubtful = doubtful

    def __missing__(self, outcome: Outcome) -> Mark:
        if len(self) >= MAX_OUTCOMES:
            self.clear()
            self.update({True: CLEAR, False: plain(self.stake.everyone, self.doubtful)})
        found = self[outcome] = mark(((self.stake, outcome),), self.doubtful)
        return found


def asking(part: Part, facts: Facts, zone: ZoneInfo) -> Ask:
    """The function that asks a part of a request."""
    doubt = _interpreted(part, zone)
    draft = Draft()
    reads = Reads(draft)
    unsure = f"return {draft.constant(doubt)}(request, view, at)"
    lines = []
    names = {}
    for number, path in enumerate(part.paths):
        names[path] = f"a{number}"
        lines.append(f"a{number} = {reads.expression(path)}")
        if path != NOW:
            lines += _when_not_said(f"a{number}", path, unsure, facts, draft)
    try:
        answer = written(part.condition, names, draft, ("at", zone))
    except Unwritable:
        return doubt
    invalid = draft.constant(Invalid)
    lines = [*reads.lines, *lines, "try:", f"    return {answer}", f"except {invalid}:", f"    {unsure}"]
    body = "\n".join(f"    {line}" for line in lines)
    return made(f"def made(request, view, at):\n{body}", draft.constants)


def _when_not_said(name: str, path: str, unsure: str, facts: Facts, draft: Draft) -> list[str]:
    """Lines for an attribute that the request does not have: facts first, then the interpreter."""
    fact = fact_of(path)
    if fact is None:
        return [f"if {name} is None:", f"    {unsure}"]
    read, unknown = draft.constant(facts.reader(*fact)), draft.constant(Unknown)
    return [
        f"if {name} is None:",
        f"    {name} = {read}(request, view, at)",
        f"    if {name} is None or {name}.__class__ is {unknown}:",
        f"        {unsure}",
    ]


def _interpreted(part: Part, zone: ZoneInfo) -> Ask:
    remembered: dict[tuple[Any, ...], bool | Outcome] = {}

    def ask(request: Request, view: View, at: datetime) -> bool | Outcome:
        lookup = Attributes(request, view, at)
        if part.clock:
            return judged(part.condition, lookup, Scope(at, zone))
        key = tuple(typed(lookup(path)) for path in part.paths)
        found = remembered.get(key)
        if found is None:
            found = judged(part.condition, lookup, Scope(at, zone))
            if len(remembered) >= MAX_OUTCOMES:
                remembered.clear()
            remembered[key] = found
        return found

    return ask


_PLAIN = frozenset((str, int, bool, bytes))


def typed(value: Value | Unknown) -> Any:
    """Something hashable that keeps apart what operators keep apart: True, 1 and 1.0, and why there is no value."""
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    if isinstance(value, Unknown):
        return value.lacks
    return kind, repr(value)
