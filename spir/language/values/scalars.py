"""Reading and writing of the small texts inside conditions: times, durations, numbers, networks, patterns.

All raise `Invalid` for text that is not what it should be. Times and durations
have microseconds here; finer digits are cut off.
"""

from __future__ import annotations

import ipaddress
import re
from datetime import UTC, datetime, time, timedelta, timezone, tzinfo
from functools import lru_cache
from typing import Any, TypeAlias
from zoneinfo import ZoneInfo

import re2

from spir.language.values.operators import Invalid, instant, span

__all__ = [
    "Address",
    "Network",
    "duration_text",
    "read_address",
    "read_clock",
    "read_duration",
    "read_network",
    "read_pattern",
    "read_timestamp",
    "read_zone",
    "timestamp_text",
]

Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address
Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network

MAX_PATTERN = 1000

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d:\d\d:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)", re.ASCII)
_DURATION = re.compile(r"[+-]?(?:0|(?:(?:\d+\.?\d*|\.\d+)(?:ns|us|µs|μs|ms|s|m|h))+)", re.ASCII)
_DURATION_PART = re.compile(r"(\d*)\.?(\d*)(ns|us|µs|μs|ms|s|m|h)", re.ASCII)
_CLOCK = re.compile(r"([01]\d|2[0-4]):([0-5]\d)(?::([0-5]\d))?", re.ASCII)
_OFFSET = re.compile(r"([+-]?)(\d\d):([0-5]\d)", re.ASCII)

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}


@lru_cache(maxsize=1024)
def read_timestamp(text: str) -> datetime:
    """RFC 3339 text with `T` and a zone, as a time in UTC."""
    found = _TIMESTAMP.fullmatch(text)
    if found is None:
        raise Invalid
    day, clock, fraction, zone = found.groups()
    digits = (fraction or "")[:6].ljust(6, "0")
    try:
        read = datetime.fromisoformat(f"{day}T{clock}.{digits}{'+00:00' if zone == 'Z' else zone}")
    except ValueError as error:
        raise Invalid from error
    return instant(read)


def timestamp_text(value: datetime) -> str:
    """RFC 3339 text in UTC, fractions only where there are any."""
    at = instant(value)
    fraction = f".{at.microsecond:06d}".rstrip("0") if at.microsecond else ""
    return f"{at.year:04d}-{at:%m-%dT%H:%M:%S}{fraction}Z"


@lru_cache(maxsize=1024)
def read_duration(text: str) -> timedelta:
    """As `15m`, `1h30m`, `-1.5s`, `100ms`; `0` is nothing at all."""
    if len(text) > 100 or _DURATION.fullmatch(text) is None:
        raise Invalid
    total = sum(_part(*found.groups()) for found in _DURATION_PART.finditer(text))
    sign = -1 if text.startswith("-") else 1
    try:
        return span(timedelta(microseconds=sign * (total // 1000)))
    except OverflowError as error:
        raise Invalid from error


def _part(whole: str, fraction: str, unit: str) -> int:
    """In nanoseconds; whole numbers throughout, so that nothing is rounded."""
    size = _NANOSECONDS[unit]
    return int(whole or "0") * size + int(fraction or "0") * size // int(10 ** len(fraction))


def duration_text(value: timedelta) -> str:
    """Seconds, as CEL writes a duration: `90s`, `-1.5s`."""
    total = value // timedelta(microseconds=1)
    seconds, rest = divmod(abs(total), 1_000_000)
    fraction = f".{rest:06d}".rstrip("0") if rest else ""
    return f"{'-' if total < 0 else ''}{seconds}{fraction}s"


@lru_cache(maxsize=256)
def read_clock(text: str) -> timedelta:
    """A time of day `HH:MM` or `HH:MM:SS` as the time since midnight; `24:00` is the day's end."""
    found = _CLOCK.fullmatch(text)
    if found is None:
        raise Invalid
    hours, minutes, seconds = (int(part or 0) for part in found.groups())
    since = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    if since > timedelta(days=1):
        raise Invalid
    return since


@lru_cache(maxsize=256)
def read_zone(text: str) -> tzinfo:
    """An IANA name (`Asia/Shanghai`) from the zone database, or an offset `+08:00`."""
    found = _OFFSET.fullmatch(text)
    try:
        if found is None:
            return ZoneInfo(text)
        sign, hours, minutes = found.groups()
        offset = timedelta(hours=int(hours), minutes=int(minutes))
        return timezone(-offset if sign == "-" else offset)
    except (ValueError, OSError, KeyError) as error:  # ZoneInfo's not-found error is a KeyError
        raise Invalid from error


@lru_cache(maxsize=4096)
def read_address(text: str) -> Address:
    """An IPv4 or IPv6 address; an IPv4 address inside IPv6 (`::ffff:10.0.0.1`) is the IPv4 address."""
    try:
        address = ipaddress.ip_address(text)
    except ValueError as error:
        raise Invalid from error
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


@lru_cache(maxsize=1024)
def read_network(text: str) -> Network:
    """A network in CIDR notation, without host bits: `10.1.0.0/16`. One address is a network too."""
    try:
        return ipaddress.ip_network(text)
    except ValueError as error:
        raise Invalid from error


def _options() -> Any:
    options = re2.Options()
    options.log_errors = False
    options.max_mem = 1 << 20  # an automaton that needs more is refused when it is read
    return options


@lru_cache(maxsize=512)
def read_pattern(text: str) -> Any:
    """A compiled RE2 expression. Linear in the text it is matched on; at most MAX_PATTERN characters."""
    if len(text) > MAX_PATTERN:
        raise Invalid
    try:
        return re2.compile(text, _options())
    except re2.error as error:
        raise Invalid from error


def clock_of(at: datetime, zone: tzinfo) -> timedelta:
    """The wall clock of `at` in the zone, as the time since midnight."""
    try:
        local: time = at.astimezone(zone).time()
    except OverflowError as error:
        raise Invalid from error
    return timedelta(hours=local.hour, minutes=local.minute, seconds=local.second, microseconds=local.microsecond)


EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
