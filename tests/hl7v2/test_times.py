"""Moments, and the uncertainty they are written with."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.hl7v2.error import MessageError
from adapters.hl7v2.times import first_moment, last_moment, stamp

BERLIN = ZoneInfo("Europe/Berlin")


def utc(*numbers: int) -> datetime:
    return datetime(*numbers, tzinfo=UTC)  # type: ignore[arg-type, misc]


@pytest.mark.parametrize(
    ("text", "first", "last"),
    [
        ("2026", utc(2026, 1, 1), utc(2026, 12, 31, 23, 59, 59, 999900)),
        ("202602", utc(2026, 2, 1), utc(2026, 2, 28, 23, 59, 59, 999900)),
        ("202612", utc(2026, 12, 1), utc(2026, 12, 31, 23, 59, 59, 999900)),
        ("20261121", utc(2026, 11, 21), utc(2026, 11, 21, 23, 59, 59, 999900)),
        ("2026112108", utc(2026, 11, 21, 8), utc(2026, 11, 21, 8, 59, 59, 999900)),
        ("202611210830", utc(2026, 11, 21, 8, 30), utc(2026, 11, 21, 8, 30, 59, 999900)),
        ("20261121083015", utc(2026, 11, 21, 8, 30, 15), utc(2026, 11, 21, 8, 30, 15, 999900)),
        ("20261121083015.5", utc(2026, 11, 21, 8, 30, 15, 500000), utc(2026, 11, 21, 8, 30, 15, 599900)),
        ("20261121083015.1234", utc(2026, 11, 21, 8, 30, 15, 123400), utc(2026, 11, 21, 8, 30, 15, 123400)),
        ("20261121083015+0800", utc(2026, 11, 21, 0, 30, 15), utc(2026, 11, 21, 0, 30, 15, 999900)),
        ("20261121083015.1-0130", utc(2026, 11, 21, 10, 0, 15, 100000), utc(2026, 11, 21, 10, 0, 15, 199900)),
        ("20261121235960", utc(2026, 11, 21, 23, 59, 59), utc(2026, 11, 21, 23, 59, 59, 999900)),
    ],
)
def test_a_time_is_an_interval(text: str, first: datetime, last: datetime):
    assert (first_moment(text, UTC), last_moment(text, UTC)) == (first, last)


def test_an_hour_that_comes_twice_begins_with_the_first_and_ends_with_the_second():
    assert first_moment("202610250230", BERLIN) == utc(2026, 10, 25, 0, 30)
    assert last_moment("202610250230", BERLIN) == utc(2026, 10, 25, 1, 30, 59, 999900)


@pytest.mark.parametrize("text", ["", "26", "20261301", "20260230", "2026112125", "0000", "2026-11-21", "20261121T08"])
def test_what_is_no_time_is_refused(text: str):
    with pytest.raises(MessageError) as caught:
        first_moment(text, UTC, "EVN^1^2")
    assert (caught.value.code, caught.value.where) == (102, "EVN^1^2")


def test_a_stamp_reads_back():
    moment = datetime(2026, 11, 21, 8, 30, 15, tzinfo=BERLIN)
    assert stamp(moment) == "20261121083015+0100"
    assert first_moment(stamp(moment), UTC) == moment


@given(st.text("0123456789.+-", max_size=26))
def test_any_text_is_a_time_or_our_error(text: str):
    try:
        assert first_moment(text, BERLIN) <= last_moment(text, BERLIN)
    except MessageError:
        return
