"""When a condition can change by itself: never too late, and exact where it is understood."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spir.engine.evaluate import Scope, evaluate
from spir.language.cel import parse
from spir.language.timing import next_change
from spir.model.condition import Attribute, Condition
from spir.model.value import Unknown, Value, Why

SHANGHAI, BERLIN, LORD_HOWE = ZoneInfo("Asia/Shanghai"), ZoneInfo("Europe/Berlin"), ZoneInfo("Australia/Lord_Howe")
NOON = datetime(2026, 11, 21, 4, 0, tzinfo=UTC)  # in Shanghai
TICK = timedelta(microseconds=1)
DATA: dict[str, Value] = {"resource.created": NOON - timedelta(hours=20), "subject.role": "physician"}


def holds(condition: Condition, at: datetime, zone: ZoneInfo) -> Value | Unknown:
    def lookup(path: str) -> Value | Unknown:
        return at if path == "context.now" else DATA.get(path, Unknown.of(path, Why.MISSING))

    return evaluate(condition, lookup, Scope(at, zone))


def change(text: str, at: datetime = NOON, zone: ZoneInfo = SHANGHAI) -> datetime | None:
    condition = parse(text)
    return next_change(condition, at, zone, lambda part: holds(part, at, zone))


def day(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("subject.role == 'physician'", None),
        ("time.between('08:00', '17:00')", day("2026-11-21T17:00:00+08:00")),
        ("time.between('13:00', '17:00')", day("2026-11-21T13:00:00+08:00")),
        ("time.between('08:00', '11:00')", day("2026-11-22T08:00:00+08:00")),
        ("time.between('22:00', '06:00')", day("2026-11-21T22:00:00+08:00")),
        ("!time.between('06:00', '24:00') && subject.role == 'x'", day("2026-11-22T00:00:00+08:00")),
        ("within(resource.created, '1h', '24h')", NOON + timedelta(hours=4) + TICK),
        ("within(resource.created, '-21h', '24h')", NOON + timedelta(hours=1)),
        ("within(resource.created, '1h', '2h')", None),
        ("within(resource.owner, '1h', '2h')", None),
        ("context.now < timestamp('2026-12-01T00:00:00Z')", day("2026-12-01T00:00:00+00:00")),
        ("timestamp('2026-01-01T00:00:00Z') <= context.now", None),
        ("context.now - resource.created < duration('24h')", NOON + timedelta(hours=4)),
        ("context.now - duration('30m') >= resource.created", None),
        ("context.now < resource.created + duration('24h')", NOON + timedelta(hours=4)),
        ("context.now == context.now", NOON + TICK),
        ("context.now < subject.role", NOON + TICK),
        ("context.now.getHours() < 18", day("2026-11-21T05:00:00+00:00")),
        ("context.now.getDayOfWeek('Asia/Shanghai') == 6", day("2026-11-22T00:00:00+08:00")),
        ("context.now.getMinutes() == 0", NOON + timedelta(minutes=1)),
        ("string(context.now) == 'x'", NOON + TICK),
    ],
)
def test_the_next_change(text: str, expected: datetime | None):
    assert change(text) == expected


def test_the_moment_itself_is_not_in_the_future():
    text = "context.now <= timestamp('2026-11-21T04:00:00Z')"
    assert change(text) == NOON + TICK
    assert change(text, NOON + TICK) is None


def test_what_cannot_be_resolved_may_change_at_once():
    condition = parse("within(resource.created, '1h', '2h')")
    assert next_change(condition, NOON, SHANGHAI) == NOON + TICK


@pytest.mark.parametrize(
    ("at", "text", "expected"),
    [
        # 02:00 to 03:00 does not exist: the clock leaves the window when it jumps
        ("2026-03-29T01:59:00+01:00", "time.between('01:00', '02:30')", "2026-03-29T03:00:00+02:00"),
        # 02:00 to 03:00 comes twice: the clock enters the window again when it is put back
        ("2026-10-25T02:45:00+02:00", "time.between('02:00', '02:30')", "2026-10-25T02:00:00+01:00"),
        ("2026-10-25T02:45:00+01:00", "time.between('02:00', '02:30')", "2026-10-26T02:00:00+01:00"),
    ],
)
def test_changes_of_the_clocks_are_not_missed(at: str, text: str, expected: str):
    assert change(text, day(at), BERLIN) == day(expected)


clocks = st.builds("{:02d}:{:02d}".format, st.integers(0, 23), st.sampled_from([0, 15, 30, 45]))
moments = st.one_of(
    st.datetimes(datetime(2026, 1, 1), datetime(2026, 12, 31)),
    st.datetimes(datetime(2026, 3, 28), datetime(2026, 3, 30)),
    st.datetimes(datetime(2026, 10, 24), datetime(2026, 10, 26)),
    st.datetimes(datetime(2026, 4, 4), datetime(2026, 4, 6)),
).map(lambda moment: moment.replace(tzinfo=UTC))
texts = st.one_of(
    st.builds("time.between('{}', '{}')".format, clocks, clocks).filter(lambda text: text[14:19] != text[23:28]),
    st.sampled_from(
        [
            "context.now.getHours('Europe/Berlin') < 3",
            "context.now.getDate('Australia/Lord_Howe') == 5",
            "within(timestamp('2026-03-29T00:30:00Z'), '15m', '90m')",
            "context.now < timestamp('2026-10-25T00:30:00Z')",
        ]
    ),
)


@given(texts, moments, st.sampled_from([SHANGHAI, BERLIN, LORD_HOWE]), st.floats(0, 1))
@settings(max_examples=400, deadline=None)
def test_nothing_changes_before_the_next_change(text: str, at: datetime, zone: ZoneInfo, share: float):
    condition = parse(text)
    end = next_change(condition, at, zone) or at + timedelta(days=3)
    assert end > at
    between = at + (end - TICK - at) * share
    assert holds(condition, between, zone) == holds(condition, at, zone)
    assert holds(condition, end - TICK, zone) == holds(condition, at, zone)


def test_a_condition_without_a_clock_never_changes():
    assert next_change(Attribute("resource.vip"), NOON, SHANGHAI) is None
