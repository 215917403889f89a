"""The values of an attribute that compare so with a constant, by the attribute's type."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import datetime
from types import MappingProxyType

from spir.assurance.proof.domain import NOTHING, PRESENT, Domain, Line, Point, interval, micros, one_of
from spir.language.values.operators import COMPARISONS, Invalid, instant
from spir.model.value import Value

__all__ = ["DOMAINS", "Domains"]

# Beyond it, whole numbers and doubles are compared less exactly than the intervals would.
EXACT = 2.0**53

# For an operator and a constant; None where it is not known exactly. Raises Invalid for a constant of another type.
Domains = Callable[[str, Value], Domain | None]


def _on(line: Line, op: str, value: Point) -> Domain:
    match op:
        case "==":
            return interval(line, value, value)
        case "<" | "<=":
            return interval(line, None, value, below=op == "<") & PRESENT
        case _:
            return interval(line, value, None, above=op == ">") & PRESENT


def _texts(op: str, value: Value) -> Domain:
    if not isinstance(value, str):
        raise Invalid
    return one_of((value,)) if op == "==" else _on(Line.TEXT, op, value)


def _number(value: Value) -> int | float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise Invalid
    return value


def _ints(op: str, value: Value) -> Domain | None:
    number = _number(value)
    if isinstance(number, int):
        return _on(Line.INT, op, number)
    if not abs(number) < EXACT:  # nor for what is no number
        return None
    if number.is_integer():
        return _on(Line.INT, op, int(number))
    if op == "==":
        return NOTHING
    return _on(Line.INT, "<=" if op in ("<", "<=") else ">", math.floor(number))


def _doubles(op: str, value: Value) -> Domain | None:
    number = _number(value)
    if not abs(number) < (EXACT if isinstance(number, int) else math.inf):
        return None
    return _on(Line.DOUBLE, op, float(number) + 0.0)


def _bools(op: str, value: Value) -> Domain:
    return one_of(each for each in (True, False) if COMPARISONS[op](each, value))


def _moments(op: str, value: Value) -> Domain:
    if not isinstance(value, datetime):
        raise Invalid
    return _on(Line.MOMENT, op, micros(instant(value)))


DOMAINS: Mapping[str, Domains] = MappingProxyType(
    {"string": _texts, "int": _ints, "double": _doubles, "bool": _bools, "timestamp": _moments}
)
