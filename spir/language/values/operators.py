"""What comparing and calculating mean for values: CEL's rules, with one difference.

The difference: comparing values of different types has no meaning here, where
CEL says that they are not equal. A rule that compares a number with a text is
wrong, and a wrong rule must not count as "not equal" (that is how a
prohibition written with `!=` opens a door). int and double are one type for
comparisons; bool is never a number. What has no meaning raises `Invalid`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from types import MappingProxyType, NoneType

from spir.model.value import Value

__all__ = ["ARITHMETIC", "COMPARISONS", "Invalid", "Truth", "contains", "equal", "instant", "negate", "type_of"]

MAX_INT = 2**63 - 1
MIN_INT = -(2**63)

# CEL measures durations in 64-bit nanoseconds: about 292 years either way.
MAX_DURATION = timedelta(microseconds=MAX_INT // 1000)


class Invalid(Exception):
    """The operation has no meaning for these values. Never leaves the evaluator: it becomes unknown."""


_TYPES: Mapping[type, str] = MappingProxyType(
    {
        NoneType: "null",
        bool: "bool",
        int: "int",
        float: "double",
        str: "string",
        bytes: "bytes",
        datetime: "timestamp",
        timedelta: "duration",
        tuple: "list",
        dict: "map",
        MappingProxyType: "map",
    }
)


def type_of(value: object) -> str:
    """null bool int double string bytes timestamp duration list map; "" for what is no value."""
    found = _TYPES.get(type(value))
    if found is not None:
        return found
    return next((name for kind, name in _TYPES.items() if isinstance(value, kind)), _looser(value))


def _looser(value: object) -> str:
    return "map" if isinstance(value, Mapping) else ""


def instant(value: Value) -> datetime:
    """The moment in UTC.

    Python compares and subtracts two times of one zone by their wall clocks,
    which is wrong across a change of the clocks; in UTC it is right.
    """
    if not isinstance(value, datetime) or value.utcoffset() is None:
        raise Invalid
    try:
        return value.astimezone(UTC)
    except OverflowError as error:
        raise Invalid from error


# -- comparing -------------------------------------------------------------------------------

_SAME = frozenset((bool, int, float, str, bytes, timedelta))
_NUMBERS = frozenset(("int", "double"))


def _comparable(left: Value, right: Value) -> str:
    """The type both have in common, `number` for an int and a double. Raises Invalid if there is none."""
    one, other = type_of(left), type_of(right)
    if one != other and one in _NUMBERS and other in _NUMBERS:
        return "number"
    if one != other or not one:
        raise Invalid
    return one


def _double(value: Value) -> float:
    """As CEL compares an int with a double: as doubles, which beyond 2**53 are less exact."""
    assert isinstance(value, (int, float))
    try:
        return float(value)
    except OverflowError as error:
        raise Invalid from error


def equal(left: Value, right: Value) -> bool:
    """Lists and maps are equal if their parts are; a part of another type leaves it undecided."""
    if type(left) is type(right) and type(left) in _SAME:
        return left == right
    match _comparable(left, right):
        case "number":
            return _double(left) == _double(right)
        case "timestamp":
            return instant(left) == instant(right)
        case "list":
            assert isinstance(left, tuple) and isinstance(right, tuple)
            return len(left) == len(right) and _all_equal(zip(left, right, strict=True))
        case "map":
            assert isinstance(left, Mapping) and isinstance(right, Mapping)
            return left.keys() == right.keys() and _all_equal((left[key], right[key]) for key in left)
        case _:
            return left == right


def _all_equal(pairs: object) -> bool:
    undecided = False
    for left, right in pairs:  # type: ignore[attr-defined]
        try:
            if not equal(left, right):
                return False
        except Invalid:
            undecided = True
    if undecided:
        raise Invalid
    return True


def unequal(left: Value, right: Value) -> bool:
    return not equal(left, right)


def contains(left: Value, right: Value) -> bool:
    """`left in right`: some member equals it, or it is a key of the map."""
    if isinstance(right, tuple):
        return _member(left, right)
    if not isinstance(right, Mapping) or (right and not isinstance(left, str)):
        raise Invalid
    return bool(right) and left in right  # an empty map holds no key, whatever its type


def _member(value: Value, members: tuple[Value, ...]) -> bool:
    undecided = False
    for member in members:
        try:
            if equal(value, member):
                return True
        except Invalid:
            undecided = True
    if undecided:
        raise Invalid
    return False


_ORDERED = frozenset(("int", "double", "bool", "string", "bytes", "duration"))


def _ordering(compare: Callable[[object, object], bool]) -> Callable[[Value, Value], bool]:
    def ordered(left: Value, right: Value) -> bool:
        kind = _comparable(left, right)
        if kind == "timestamp":
            return compare(instant(left), instant(right))
        if kind == "number":
            return compare(_double(left), _double(right))
        if kind not in _ORDERED:
            raise Invalid
        return compare(left, right)

    return ordered


Truth = Callable[[Value, Value], bool]

COMPARISONS: Mapping[str, Truth] = MappingProxyType(
    {
        "==": equal,
        "!=": unequal,
        "<": _ordering(lambda left, right: left < right),  # type: ignore[operator]
        "<=": _ordering(lambda left, right: left <= right),  # type: ignore[operator]
        ">": _ordering(lambda left, right: left > right),  # type: ignore[operator]
        ">=": _ordering(lambda left, right: left >= right),  # type: ignore[operator]
        "in": contains,
    }
)


# -- calculating -----------------------------------------------------------------------------


def _whole(value: int) -> int:
    if not MIN_INT <= value <= MAX_INT:
        raise Invalid
    return value


def span(value: timedelta) -> timedelta:
    """The duration itself. Raises Invalid beyond what CEL can hold."""
    if not -MAX_DURATION <= value <= MAX_DURATION:
        raise Invalid
    return value


def _quotient(left: int, right: int) -> int:
    """Truncated towards zero, as in CEL; Python's // rounds down."""
    if right == 0:
        raise Invalid
    size = abs(left) // abs(right)
    return _whole(size if (left < 0) == (right < 0) else -size)


def _remainder(left: int, right: int) -> int:
    if right == 0 or (left == MIN_INT and right == -1):
        raise Invalid
    return left - right * _quotient(left, right)


def _ratio(left: float, right: float) -> float:
    """IEEE 754: a double divided by zero is an infinity, or no number."""
    if right != 0.0:
        return left / right
    if left == 0.0 or math.isnan(left) or math.isnan(right):
        return math.nan
    return math.copysign(math.inf, left) * math.copysign(1.0, right)


def _product(left: float, right: float) -> float:
    return left * right


Calculation = Callable[..., Value]

_RULES: Mapping[tuple[str, str, str], Calculation] = MappingProxyType(
    {
        ("+", "int", "int"): lambda a, b: _whole(a + b),
        ("-", "int", "int"): lambda a, b: _whole(a - b),
        ("*", "int", "int"): lambda a, b: _whole(a * b),
        ("/", "int", "int"): _quotient,
        ("%", "int", "int"): _remainder,
        ("+", "double", "double"): lambda a, b: a + b,
        ("-", "double", "double"): lambda a, b: a - b,
        ("*", "double", "double"): _product,
        ("/", "double", "double"): _ratio,
        ("+", "string", "string"): lambda a, b: a + b,
        ("+", "bytes", "bytes"): lambda a, b: a + b,
        ("+", "list", "list"): lambda a, b: a + b,
        ("+", "duration", "duration"): lambda a, b: span(a + b),
        ("-", "duration", "duration"): lambda a, b: span(a - b),
        ("+", "timestamp", "duration"): lambda a, b: instant(a) + b,
        ("+", "duration", "timestamp"): lambda a, b: instant(b) + a,
        ("-", "timestamp", "duration"): lambda a, b: instant(a) - b,
        ("-", "timestamp", "timestamp"): lambda a, b: span(instant(a) - instant(b)),
    }
)


def _calculation(op: str) -> Calculation:
    def calculate(left: Value, right: Value) -> Value:
        rule = _RULES.get((op, type_of(left), type_of(right)))
        if rule is None:
            raise Invalid
        try:
            return rule(left, right)
        except OverflowError as error:
            raise Invalid from error

    return calculate


ARITHMETIC: Mapping[str, Calculation] = MappingProxyType({op: _calculation(op) for op in ("+", "-", "*", "/", "%")})


def negate(value: Value) -> Value:
    """Unary minus, of int and double only."""
    if isinstance(value, bool):
        raise Invalid
    if isinstance(value, int):
        return _whole(-value)
    if isinstance(value, float):
        return -value
    raise Invalid
