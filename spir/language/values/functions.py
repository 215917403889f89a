"""The functions a condition may call: one table, name to signature and meaning.

Every function is pure: the clock and the site's zone are handed to the few
that are marked with `clock`. A function is only called with values of the
types it declares; what it cannot answer it refuses with `Invalid`, which the
evaluator turns into unknown.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from types import MappingProxyType
from typing import Any

from spir.language.values.operators import MAX_INT, MIN_INT, Invalid, instant, type_of
from spir.language.values.scalars import (
    EPOCH,
    clock_of,
    duration_text,
    read_address,
    read_clock,
    read_duration,
    read_network,
    read_pattern,
    read_timestamp,
    read_zone,
    timestamp_text,
)
from spir.model.policy import lies_under
from spir.model.value import Value

__all__ = ["FUNCTIONS", "Function", "Parameter", "call", "read_arguments"]


@dataclass(frozen=True, slots=True)
class Parameter:
    """The types a parameter takes, and how its text is read where it is more than text.

    `read` raises Invalid. It also tells the parser whether a constant can be meant.
    """

    name: str
    types: tuple[str, ...]
    read: Callable[[Any], Any] | None = None
    form: str = ""

    def take(self, value: Value) -> Any:
        """The value as the function's meaning takes it. Raises Invalid."""
        if self.types and type_of(value) not in self.types:
            raise Invalid
        try:
            return self.read(value) if self.read is not None else value
        except (OverflowError, ValueError) as error:
            raise Invalid from error

    def accepts(self, value: Value) -> bool:
        """Whether the value can be meant here at all."""
        try:
            self.take(value)
        except Invalid:
            return False
        return True


@dataclass(frozen=True, slots=True)
class Function:
    """`name(a, b)`, `a.name(b)` or both; the receiver is the first parameter.

    `optional` of the last parameters may be left out. `result` is a type name,
    "" where it depends on the arguments. `clock`: the meaning gets `now` and
    the site's zone before its arguments, and may change as time goes by.
    """

    name: str
    parameters: tuple[Parameter, ...]
    meaning: Callable[..., Value]
    result: str
    receiver: bool = False
    free: bool = True
    optional: int = 0
    clock: bool = False

    @property
    def least(self) -> int:
        return len(self.parameters) - self.optional

    def signature(self) -> str:
        """As a person would write it: `text.startsWith(prefix)`."""
        names = [parameter.name for parameter in self.parameters]
        if self.receiver and not self.free:
            return f"{names[0]}.{self.name}({', '.join(names[1:])})"
        return f"{self.name}({', '.join(names)})"


def call(name: str, arguments: Sequence[Value], now: datetime, zone: tzinfo) -> Value:
    """The function's value. Raises Invalid for an unknown function or arguments without meaning."""
    read = read_arguments(name, arguments)
    function = FUNCTIONS[name]
    try:
        return function.meaning(now, zone, *read) if function.clock else function.meaning(*read)
    except (OverflowError, ValueError) as error:
        raise Invalid from error


def read_arguments(name: str, arguments: Sequence[Value]) -> list[Any]:
    """The arguments as the function's meaning takes them: texts read as times, networks, patterns. Raises Invalid."""
    function = FUNCTIONS.get(name)
    if function is None or not function.least <= len(arguments) <= len(function.parameters):
        raise Invalid
    return [parameter.take(value) for parameter, value in zip(function.parameters, arguments, strict=False)]


# -- text and lists --------------------------------------------------------------------------


def _size(value: str | bytes | tuple[Value, ...] | Mapping[str, Value]) -> int:
    return len(value)


def _matches(text: str, pattern: Any) -> bool:
    return pattern.search(text) is not None


# -- conversions -----------------------------------------------------------------------------


def _int(value: Value) -> int:
    match value:
        case datetime():
            return (instant(value) - EPOCH) // timedelta(seconds=1)
        case str():
            number = int(value) if _digits(value) else None
        case float():
            # 2**63 itself is a double, but no int
            number = int(value) if MIN_INT < value < 2.0**63 else None
        case _:
            number = value if isinstance(value, int) else None
    if number is None or not MIN_INT <= number <= MAX_INT:
        raise Invalid
    return number


def _digits(text: str) -> bool:
    digits = text[1:] if text[:1] in ("-", "+") else text
    return digits.isascii() and digits.isdigit() and len(digits) < 25


def _double(value: Value) -> float:
    if isinstance(value, str) and ("_" in value or value != value.strip() or not value.isascii()):
        raise Invalid  # Python reads these, CEL does not
    assert isinstance(value, (str, int, float))
    return float(value)


def _string(value: Value) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case float():
            return double_text(value)
        case bytes():
            return value.decode("utf-8")
        case datetime():
            return timestamp_text(value)
        case timedelta():
            return duration_text(value)
        case _:
            return str(value)


def double_text(value: float) -> str:
    """The shortest text that reads back as the same double."""
    if math.isnan(value):
        return "NaN"
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    text = repr(value)
    return text.removesuffix(".0")


_BOOLS = {
    **dict.fromkeys(("1", "t", "true", "T", "TRUE", "True"), True),
    **dict.fromkeys(("0", "f", "false", "F", "FALSE", "False"), False),
}


def _bool(value: Value) -> bool:
    if isinstance(value, bool):
        return value
    if value not in _BOOLS:
        raise Invalid
    assert isinstance(value, str)
    return _BOOLS[value]


def _bytes(value: str | bytes) -> bytes:
    return value.encode("utf-8") if isinstance(value, str) else value


def _timestamp(value: Value) -> datetime:
    match value:
        case datetime():
            return instant(value)
        case str():
            return read_timestamp(value)
        case int():
            return EPOCH + timedelta(seconds=value)
        case _:
            raise Invalid


def _duration(value: Value) -> timedelta:
    match value:
        case timedelta():
            return value
        case str():
            return read_duration(value)
        case _:
            raise Invalid


def _itself(value: Value) -> Value:
    return value


# -- parts of times and durations ------------------------------------------------------------


def _part(take: Callable[[datetime], int]) -> Callable[..., Value]:
    def part(value: datetime, zone: tzinfo | None = None) -> int:
        return take(instant(value).astimezone(zone) if zone else instant(value))

    return part


def _part_or_whole(take: Callable[[datetime], int], whole: Callable[[timedelta], int]) -> Callable[..., Value]:
    of_time = _part(take)

    def part(value: datetime | timedelta, zone: tzinfo | None = None) -> Value:
        if not isinstance(value, timedelta):
            return of_time(value, zone)
        if zone is not None:
            raise Invalid  # a duration is in no zone
        return whole(value)

    return part


def _units(value: timedelta, unit: timedelta) -> int:
    """Whole units, cut off towards zero."""
    count = abs(value) // unit
    return -count if value < timedelta() else count


_ACCESSORS: Mapping[str, Callable[..., Value]] = {
    "getFullYear": _part(lambda at: at.year),
    "getMonth": _part(lambda at: at.month - 1),
    "getDate": _part(lambda at: at.day),
    "getDayOfMonth": _part(lambda at: at.day - 1),
    "getDayOfWeek": _part(lambda at: at.isoweekday() % 7),
    "getDayOfYear": _part(lambda at: at.timetuple().tm_yday - 1),
}

_ACCESSORS_OF_BOTH: Mapping[str, Callable[..., Value]] = {
    "getHours": _part_or_whole(lambda at: at.hour, lambda d: _units(d, timedelta(hours=1))),
    "getMinutes": _part_or_whole(lambda at: at.minute, lambda d: _units(d, timedelta(minutes=1))),
    "getSeconds": _part_or_whole(lambda at: at.second, lambda d: _units(d, timedelta(seconds=1))),
    "getMilliseconds": _part_or_whole(lambda at: at.microsecond // 1000, lambda d: _milliseconds(d)),
}


def _milliseconds(value: timedelta) -> int:
    """Those beyond the whole seconds."""
    return _units(value, timedelta(milliseconds=1)) - 1000 * _units(value, timedelta(seconds=1))


# -- our own ---------------------------------------------------------------------------------


def _time_between(now: datetime, zone: tzinfo, start: timedelta, end: timedelta) -> bool:
    """Whether the site's wall clock is in [start, end); over midnight where end comes before start."""
    if start == end:
        raise Invalid
    clock = clock_of(now, zone)
    return start <= clock < end if start < end else clock >= start or clock < end


def _within(now: datetime, zone: tzinfo, at: datetime, before: timedelta, after: timedelta) -> bool:
    """Whether now lies in [at - before, at + after]."""
    return -before <= instant(now) - instant(at) <= after


def _org_under(path: str, above: str) -> bool:
    return lies_under(path, above)


def _ip_in(address: Any, network: Any) -> bool:
    return address.version == network.version and address in network


def _terminology_matches(code: str, concept: str, threshold: float) -> bool:
    """Whether the code means the concept at least this surely.

    There is no terminology server behind this: the same code scores 1.0, any
    other 0.0. So today every threshold above 0 asks for exactly the code, and
    synonyms, maps and hierarchies are not seen.
    """
    if not 0.0 <= threshold <= 1.0:
        raise Invalid
    return (1.0 if code == concept else 0.0) >= threshold


def _threshold(value: float) -> float:
    if not 0.0 <= value <= 1.0:
        raise Invalid
    return float(value)


# -- the table -------------------------------------------------------------------------------

_TEXT = Parameter("text", ("string",))
_AT = Parameter("time", ("timestamp",))
_SPAN_OR_AT = Parameter("time", ("timestamp", "duration"))
_ZONE = Parameter("zone", ("string",), read_zone, "a zone as `Asia/Shanghai` or `+08:00`")
_PATTERN = Parameter("pattern", ("string",), read_pattern, "an RE2 expression of at most 1000 characters")
_MOMENT = Parameter("time", ("timestamp", "string"), _timestamp, "a time as `2026-01-31T08:00:00Z`")
_CLOCK = "a time of day as `08:00`"


def _span(name: str) -> Parameter:
    return Parameter(name, ("duration", "string"), _duration, "a duration as `15m` or `24h`")


def _conversion(name: str, types: tuple[str, ...], meaning: Callable[..., Value], result: str) -> Function:
    return Function(name, (Parameter("value", types),), meaning, result)


def _method(name: str, parameters: tuple[Parameter, ...], meaning: Callable[..., Value], result: str) -> Function:
    return Function(name, parameters, meaning, result, receiver=True, free=False)


def _accessor(name: str, meaning: Callable[..., Value], of: Parameter) -> Function:
    return Function(name, (of, _ZONE), meaning, "int", receiver=True, free=False, optional=1)


_SIZED = ("string", "bytes", "list", "map")
_SCALARS = ("string", "int", "double", "bool", "bytes", "timestamp", "duration")

_ALL = (
    Function("size", (Parameter("value", _SIZED),), _size, "int", receiver=True),
    _method("startsWith", (_TEXT, Parameter("prefix", ("string",))), lambda t, p: t.startswith(p), "bool"),
    _method("endsWith", (_TEXT, Parameter("suffix", ("string",))), lambda t, s: t.endswith(s), "bool"),
    _method("contains", (_TEXT, Parameter("part", ("string",))), lambda t, p: p in t, "bool"),
    Function("matches", (_TEXT, _PATTERN), _matches, "bool", receiver=True),
    _conversion("int", ("string", "int", "double", "timestamp"), _int, "int"),
    _conversion("double", ("string", "int", "double"), _double, "double"),
    _conversion("string", _SCALARS, _string, "string"),
    _conversion("bool", ("string", "bool"), _bool, "bool"),
    _conversion("bytes", ("string", "bytes"), _bytes, "bytes"),
    Function(
        "timestamp",
        (Parameter("value", ("string", "int", "timestamp"), _timestamp, "a time as `2026-01-31T08:00:00Z`"),),
        _itself,
        "timestamp",
    ),
    Function("duration", (_span("value"),), _itself, "duration"),
    *(_accessor(name, meaning, _AT) for name, meaning in _ACCESSORS.items()),
    *(_accessor(name, meaning, _SPAN_OR_AT) for name, meaning in _ACCESSORS_OF_BOTH.items()),
    Function(
        "time.between",
        (Parameter("from", ("string",), read_clock, _CLOCK), Parameter("to", ("string",), read_clock, _CLOCK)),
        _time_between,
        "bool",
        clock=True,
    ),
    Function("within", (_MOMENT, _span("before"), _span("after")), _within, "bool", clock=True),
    Function("org.under", (Parameter("path", ("string",)), Parameter("above", ("string",))), _org_under, "bool"),
    Function(
        "ip.in",
        (
            Parameter("ip", ("string",), read_address, "an IP address"),
            Parameter("cidr", ("string",), read_network, "a network as `10.1.0.0/16`"),
        ),
        _ip_in,
        "bool",
    ),
    Function(
        "terminology.matches",
        (
            Parameter("code", ("string",)),
            Parameter("concept", ("string",)),
            Parameter("threshold", ("int", "double"), _threshold, "a number from 0 to 1"),
        ),
        _terminology_matches,
        "bool",
    ),
)

FUNCTIONS: Mapping[str, Function] = MappingProxyType({function.name: function for function in _ALL})
