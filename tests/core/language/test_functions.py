"""The functions of conditions: conversions, accessors, and our own about time, organisations and networks."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spir.language.values.functions import FUNCTIONS, call
from spir.language.values.operators import Invalid
from spir.language.values.scalars import (
    duration_text,
    read_duration,
    read_timestamp,
    timestamp_text,
)
from spir.model.value import freeze

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOON = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)  # in Shanghai


def value(name: str, *arguments: Any, at: datetime = NOON, zone: ZoneInfo = SHANGHAI) -> Any:
    return call(name, [freeze(argument) for argument in arguments], at, zone)


def has_no_meaning(name: str, *arguments: Any) -> None:
    with pytest.raises(Invalid):
        value(name, *arguments)


@pytest.mark.parametrize(
    ("start", "end", "clock", "inside"),
    [
        ("08:00", "17:00", "08:00", True),
        ("08:00", "17:00", "16:59", True),
        ("08:00", "17:00", "17:00", False),
        ("08:00", "17:00", "07:59", False),
        ("22:00", "06:00", "23:00", True),
        ("22:00", "06:00", "05:59", True),
        ("22:00", "06:00", "06:00", False),
        ("22:00", "06:00", "12:00", False),
        ("18:00", "24:00", "23:59", True),
        ("00:00", "24:00", "00:00", True),
    ],
)
def test_a_window_is_of_the_sites_wall_clock_and_may_go_over_midnight(start: str, end: str, clock: str, inside: bool):
    hour, minute = map(int, clock.split(":"))
    at = datetime(2026, 11, 21, hour, minute, tzinfo=SHANGHAI).astimezone(UTC)
    assert value("time.between", start, end, at=at) is inside


@pytest.mark.parametrize("clock", ["8:00", "25:00", "24:01", "08:60", "0800", "", "08:00:00.5"])
def test_a_malformed_clock_has_no_meaning(clock: str):
    has_no_meaning("time.between", clock, "17:00")


def test_a_window_that_ends_where_it_begins_has_no_meaning():
    has_no_meaning("time.between", "08:00", "08:00")


@pytest.mark.parametrize(("minutes", "inside"), [(-16, False), (-15, True), (0, True), (120, True), (121, False)])
def test_within_is_around_the_fact_both_ends_included(minutes: int, inside: bool):
    fact = NOON - timedelta(minutes=minutes)
    assert value("within", fact, "15m", "2h") is inside
    assert value("within", timestamp_text(fact), timedelta(minutes=15), timedelta(hours=2)) is inside


def test_within_may_begin_after_the_fact():
    surgery = NOON - timedelta(hours=20)
    assert value("within", surgery, "-12h", "24h") is True
    assert value("within", surgery, "-21h", "24h") is False


@pytest.mark.parametrize(
    ("address", "network", "inside"),
    [
        ("10.1.2.3", "10.1.0.0/16", True),
        ("10.2.2.3", "10.1.0.0/16", False),
        ("::ffff:10.1.2.3", "10.1.0.0/16", True),
        ("10.1.2.3", "::/0", False),
        ("2001:db8::1", "2001:db8::/32", True),
        ("10.1.2.3", "10.1.2.3", True),
    ],
)
def test_addresses_in_networks(address: str, network: str, inside: bool):
    assert value("ip.in", address, network) is inside


def test_a_network_with_host_bits_has_no_meaning():
    has_no_meaning("ip.in", "10.1.2.3", "10.1.2.3/16")


def test_an_organisation_lies_under_itself_and_those_above():
    assert value("org.under", "cn/zj/a", "cn/zj") is True
    assert value("org.under", "cn/zj", "cn/zj") is True
    assert value("org.under", "cn/zjx", "cn/zj") is False


def test_a_code_matches_a_concept_only_exactly():
    assert value("terminology.matches", "8480-6", "8480-6", 0.92) is True
    assert value("terminology.matches", "8480-6", "8462-4", 0.01) is False
    has_no_meaning("terminology.matches", "a", "a", 1.5)


def test_patterns_are_linear_and_bounded():
    assert value("matches", "a" * 5000, "(a*)*b") is False
    has_no_meaning("matches", "a", "(")
    has_no_meaning("matches", "a", "a" * 1001)
    has_no_meaning("matches", "a", r"(?=a)")


@pytest.mark.parametrize(
    ("name", "argument", "expected"),
    [
        ("int", "-42", -42),
        ("int", 1.9, 1),
        ("int", -1.9, -1),
        ("int", NOON, 1795233600),
        ("double", "1e3", 1000.0),
        ("double", 2, 2.0),
        ("string", 1.5, "1.5"),
        ("string", 1.0, "1"),
        ("string", True, "true"),
        ("string", b"a", "a"),
        ("string", timedelta(minutes=1, milliseconds=500), "60.5s"),
        ("bool", "True", True),
        ("bytes", "é", "é".encode()),
        ("timestamp", 0, datetime(1970, 1, 1, tzinfo=UTC)),
        ("size", "中文", 2),
        ("size", {"a": 1}, 1),
    ],
)
def test_conversions(name: str, argument: Any, expected: Any):
    found = value(name, argument)
    assert (type(found), found) == (type(expected), expected)


@pytest.mark.parametrize(
    ("name", "argument"),
    [
        ("int", "1.0"),
        ("int", "1_0"),
        ("int", "٣"),
        ("int", 1e19),
        ("int", float("nan")),
        ("int", "9" * 5000),
        ("double", " 1"),
        ("double", "1_0"),
        ("double", 10**400),
        ("string", b"\xff"),
        ("bool", "yes"),
        ("timestamp", 10**18),
        ("timestamp", "2026-01-01T00:00:00"),
        ("duration", "1 hour"),
        ("duration", "300000h" * 20),
        ("size", 1),
        ("nothing", 1),
    ],
)
def test_conversions_without_meaning(name: str, argument: Any):
    has_no_meaning(name, argument)


@pytest.mark.parametrize(
    ("name", "zone", "expected"),
    [
        ("getFullYear", (), 2026),
        ("getMonth", (), 10),
        ("getDate", (), 21),
        ("getDayOfMonth", (), 20),
        ("getDayOfWeek", (), 6),
        ("getDayOfYear", (), 324),
        ("getHours", (), 4),
        ("getHours", ("Asia/Shanghai",), 12),
        ("getHours", ("-05:30",), 22),
        ("getMinutes", ("+05:30",), 30),
        ("getSeconds", (), 0),
        ("getMilliseconds", (), 0),
    ],
)
def test_parts_of_a_time(name: str, zone: tuple[str, ...], expected: int):
    assert value(name, NOON, *zone) == expected


@pytest.mark.parametrize("zone", ["Mars/Base", "../etc/passwd", "", "+8", "\x00"])
def test_an_unknown_zone_has_no_meaning(zone: str):
    has_no_meaning("getHours", NOON, zone)


def test_a_duration_is_in_no_zone():
    assert value("getMinutes", timedelta(hours=-1, seconds=-1)) == -60
    has_no_meaning("getMinutes", timedelta(hours=1), "UTC")


def test_every_function_refuses_what_it_does_not_declare():
    for function in FUNCTIONS.values():
        has_no_meaning(function.name, *[b"\x00"] * (len(function.parameters) + 1))
        if all("null" not in parameter.types for parameter in function.parameters):
            has_no_meaning(function.name, *[None] * len(function.parameters))


@given(st.datetimes(timezones=st.just(UTC)))
def test_a_time_reads_back(moment: datetime):
    assert read_timestamp(timestamp_text(moment)) == moment


@given(st.timedeltas(timedelta(days=-9000), timedelta(days=9000)))
def test_a_duration_reads_back(span: timedelta):
    assert read_duration(duration_text(span)) == span
