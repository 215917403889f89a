"""What an answer means, and how long to wait."""

from __future__ import annotations

from datetime import timedelta
from email.utils import format_datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.notify.retry import Retry, Verdict, asked_pause, judge
from spir.errors import DocumentError
from tests.given import NOON

CHANCE = st.floats(0, 1, exclude_max=True)


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_success_is_delivery(status):
    assert judge(status) is Verdict.DELIVERED


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 410, 412, 413, 422])
def test_a_refusal_is_final(status):
    assert judge(status) is Verdict.DEAD


@pytest.mark.parametrize("status", [408, 409, 421, 423, 425, 429, 500, 502, 503, 504, 301, 302, 307, 100])
def test_what_may_pass_is_tried_again(status):
    assert judge(status) is Verdict.AGAIN


def test_what_is_there_already_is_delivered():
    assert judge(412, frozenset({412})) is Verdict.DELIVERED


@given(st.integers(0, 10_000), CHANCE)
def test_a_pause_is_between_half_a_step_and_the_ceiling(failed, chance):
    retry = Retry(first=0.5, ceiling=60.0)
    assert 0.25 <= retry.pause(failed, chance) <= 60.0


@given(st.integers(1, 30))
def test_pauses_double_until_the_ceiling(failed):
    retry = Retry(first=1.0, ceiling=64.0)
    assert retry.pause(failed, 0.0) == min(2.0 ** (failed - 1), 64.0) / 2


@given(st.integers(1, 100), CHANCE, CHANCE)
def test_chance_spreads_and_never_shortens_below_half(failed, one, other):
    retry = Retry()
    assert (retry.pause(failed, one) <= retry.pause(failed, other)) or one >= other


def test_the_last_attempt_is_the_last():
    assert [Retry(attempts=3).exhausted(failed) for failed in (1, 2, 3, 4)] == [False, False, True, True]


@pytest.mark.parametrize(
    "given", [{"attempts": 0}, {"first": 0.0}, {"first": 2.0, "ceiling": 1.0}, {"ceiling": float("inf")}]
)
def test_retries_that_make_no_sense_are_refused(given):
    with pytest.raises(DocumentError):
        Retry(**given)


def test_retry_after_is_read_in_both_forms():
    later = format_datetime(NOON + timedelta(seconds=90), usegmt=True)
    assert [asked_pause(text, NOON) for text in ("120", " 7 ", later)] == [120.0, 7.0, 90.0]


def test_retry_after_in_the_past_asks_for_nothing():
    assert asked_pause("Wed, 21 Oct 2015 07:28:00 GMT", NOON) == 0.0


@given(st.text())
def test_any_retry_after_is_a_number_of_seconds(text):
    assert 0.0 <= asked_pause(text, NOON) < float("inf")
