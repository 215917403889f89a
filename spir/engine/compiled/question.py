"""Parts that look at several attributes: asked of a request while a policy still depends on them.

The generated function answers where every attribute is known. For the rest
the interpreter is asked, once for each combination of values.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

from spir.engine.attributes import is_deferred
from spir.engine.compiled.facts import FAILED, Facts, fact_of
from spir.engine.compiled.marks import Mark, Stake, mark, plain
from spir.engine.compiled.parts import NOW, Outcome, Part, judged
from spir.engine.compiled.reading import Reads
from spir.engine.compiled.source import Draft, Unwritable, made, written_for
from spir.engine.evaluate import Scope
from spir.language.values.operators import Invalid
from spir.model.facts import View
from spir.model.request import Request
from spir.model.value import Unknown, Value, Why

__all__ = ["Ask", "Question", "asking", "typed"]

Ask: TypeAlias = Callable[[Request, View, datetime], bool | Outcome]

MAX_OUTCOMES = 256
MAX_TEXT = 256


class Question:
    """A part in its bucket: for whom it is asked, how, and the mark of each answer."""

    __slots__ = ("ask", "everyone", "marks", "part")

    def __init__(self, stake: Stake, ask: Ask, doubtful: int) -> None:
        self.part = stake.part
        self.everyone = stake.everyone
        self.ask = ask
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


def asking(part: Part, facts: Facts, zone: ZoneInfo) -> Ask:
    """The function that asks a part of a request."""
    draft = Draft()
    reads = Reads(draft)
    names = {path: f"a{number}" for number, path in enumerate(part.paths)}
    lines = [line for path, name in names.items() for line in _read(path, name, reads, facts)]
    unknown, doubt = draft.constant(Unknown), draft.constant(_interpreted(part, zone))
    unsure = f"return {doubt}(({''.join(f'{name}, ' for name in names.values())}), at)"
    lines = [*reads.lines, *lines]
    try:
        answer, needed = written_for(part.condition, names, draft, ("at", zone))
    except Unwritable:
        lines.append(unsure)
    else:
        missing = " or ".join(f"{name}.__class__ is {unknown}" for name in needed) or "False"
        lines += [f"if {missing}: {unsure}", "try:", f"    return {answer}"]
        lines += [f"except {draft.constant(Invalid)}:", f"    {unsure}"]
    return made("request, view, at", lines, draft.constants)


def _read(path: str, name: str, reads: Reads, facts: Facts) -> list[str]:
    """Lines that put the value of the path, or why there is none, into a name."""
    lines = [f"{name} = {reads.expression(path)}"]
    if path == NOW:
        return lines
    return [
        *lines,
        f"if {name} is None:",
        f"    {name} = {reads.draft.constant(_absence(path, facts))}(request, view, at)",
    ]


def _absence(path: str, facts: Facts) -> Callable[[Request, View, datetime], Value | Unknown]:
    """What stands for a path that the request says nothing of."""
    lacking = {why: Unknown.of(path, why) for why in (Why.MISSING, Why.DEFERRED, Why.FAILED)}
    by_deferral: dict[frozenset[str], Unknown] = {}
    fact = fact_of(path)
    read = facts.reader(*fact) if fact else None

    def absent(request: Request, view: View, at: datetime) -> Value | Unknown:
        value = None if read is None else read(request, view, at)
        if value is not None:
            return value if not isinstance(value, Unknown) else lacking[Why.FAILED if value is FAILED else Why.MISSING]
        deferred = request.deferred
        found = by_deferral.get(deferred)
        if found is None:
            if len(by_deferral) >= MAX_OUTCOMES:
                by_deferral.clear()
            why = Why.DEFERRED if is_deferred(path, deferred) else Why.MISSING
            found = lacking[why]
            if sum(map(len, deferred)) <= MAX_TEXT:
                by_deferral[deferred] = found
        return found

    return absent


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
    return not isinstance(key, tuple) or not isinstance(key[1], (str, bytes)) or len(key[1]) <= MAX_TEXT


_PLAIN = frozenset((str, int, bool, bytes))


def typed(value: Value | Unknown) -> Any:
    """Something hashable that keeps apart what operators keep apart: True, 1 and 1.0, and why there is no value."""
    kind = type(value)
    if kind in _PLAIN:
        return kind, value
    return value if kind is Unknown else (kind, repr(value))
