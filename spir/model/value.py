"""Values, and what stands in their place when there is none.

A value is `None`, `bool`, `int`, `float`, `str`, `bytes`, an aware `datetime`,
a `timedelta`, a tuple of values, or a mapping from strings to values. Values
are immutable: JSON arrays become tuples on the way in (`freeze`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import Enum
from types import MappingProxyType
from typing import Any, TypeAlias

from spir.errors import RequestError

__all__ = ["MAX_DEPTH", "Lack", "Unknown", "Value", "Why", "freeze", "thaw"]

# A recursive alias is more than mypy needs here: containers hold values again.
Value: TypeAlias = bool | int | float | str | bytes | datetime | timedelta | tuple[Any, ...] | Mapping[str, Any] | None

MAX_DEPTH = 32

_PLAIN = frozenset((str, int, float, bool, type(None)))
_TEXT = frozenset((str,))


class Why(Enum):
    """Why an atom has no truth value."""

    DEFERRED = "deferred"  # will be known row by row: goes to the residual
    MISSING = "missing"  # a source answered: there is no value
    FAILED = "failed"  # the source is down, late or stale
    INVALID = "invalid"  # the values are there, the operation has no meaning for them


@dataclass(frozen=True, slots=True, order=True)
class Lack:
    """One reason for an unknown: the attribute path (or the operation) and why."""

    attribute: str
    why: Why

    def __str__(self) -> str:
        return f"{self.attribute}: {self.why.value}"


@dataclass(frozen=True, slots=True)
class Unknown:
    """The third value. `lacks` is never empty; unknowns join by union."""

    lacks: frozenset[Lack]

    @classmethod
    def of(cls, attribute: str, why: Why) -> Unknown:
        return cls(frozenset((Lack(attribute, why),)))

    @property
    def deferred(self) -> bool:
        """Whether data that is still to come could decide it."""
        return any(lack.why is Why.DEFERRED for lack in self.lacks)

    def __or__(self, other: Unknown) -> Unknown:
        return Unknown(self.lacks | other.lacks)


def freeze(value: Any, depth: int = MAX_DEPTH) -> Value:
    """An immutable copy of JSON-like data. Raises RequestError for what is not a value or too deep."""
    kind = type(value)
    if kind in _PLAIN:  # most are: the cheap tests first
        return value  # type: ignore[no-any-return]
    if depth > 0 and kind is dict and set(map(type, value)) <= _TEXT:
        inner = {key: item if type(item) in _PLAIN else freeze(item, depth - 1) for key, item in value.items()}
        return MappingProxyType(inner)
    if depth > 0 and kind is list:
        return tuple([item if type(item) in _PLAIN else freeze(item, depth - 1) for item in value])
    if isinstance(value, (int, float, str, bytes, datetime, timedelta)):
        return value
    if depth == 0:
        raise RequestError("value is nested too deeply", hint=f"at most {MAX_DEPTH} levels are read")
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) for key in value):
            raise RequestError("keys of a map must be text")
        return MappingProxyType({key: freeze(item, depth - 1) for key, item in value.items()})
    if isinstance(value, (list, tuple, set, frozenset)):
        return tuple(freeze(item, depth - 1) for item in value)
    raise RequestError(f"`{type(value).__name__}` is not a value a policy can use")


def thaw(value: Value) -> Any:
    """JSON-ready data for a value: tuples become lists, times become RFC 3339 text."""
    if isinstance(value, Mapping):
        return {key: thaw(item) for key, item in value.items()}
    if isinstance(value, (tuple, frozenset)):
        return [thaw(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.total_seconds():g}s"
    if isinstance(value, bytes):
        return value.hex()
    return value
