from __future__ import annotations

import base64
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.fhir.outcome import Refused
from adapters.fhir.paging import LIFETIME, Cursor, Sealer
from adapters.fhir.search import Search, View
from tests.given import NOON

SEARCH = Search("Observation", (("code", "a"),), "-date", 10, View(("code",)), frozenset({("code",)}))
LI = ("person", "dr.li")
SEALER = Sealer(b"k" * 32, lambda: b"n" * 12)
CURSOR = Cursor.of(SEARCH, ("Observation?_offset=10", 3, 7), LI, "b1", NOON)


def test_a_cursor_brings_the_whole_search_back():
    opened = SEALER.open(SEALER.seal(CURSOR), LI, "Observation", NOON)
    assert opened == CURSOR
    assert opened.search() == SEARCH
    assert (opened.url, opened.skip, opened.released) == ("Observation?_offset=10", 3, 7)


def test_nothing_of_it_can_be_read_without_the_key():
    token = SEALER.seal(CURSOR)
    assert b"Observation" not in base64.urlsafe_b64decode(token + "==")


@pytest.mark.parametrize(
    ("subject", "type", "now"),
    [
        (("person", "dr.wu"), "Observation", NOON),
        (("device", "dr.li"), "Observation", NOON),
        (LI, "Patient", NOON),
        (LI, "Observation", NOON + LIFETIME),
    ],
)
def test_a_cursor_is_good_for_nobody_and_nothing_else(subject, type, now):
    with pytest.raises(Refused) as refused:
        SEALER.open(SEALER.seal(CURSOR), subject, type, now)
    assert refused.value.status == 404


def test_another_key_does_not_open_it():
    with pytest.raises(Refused):
        Sealer(b"x" * 32, lambda: b"n" * 12).open(SEALER.seal(CURSOR), LI, "Observation", NOON)


@given(st.integers(0, 10_000), st.integers(1, 255))
def test_a_changed_token_does_not_open(place, change):
    raw = bytearray(base64.urlsafe_b64decode(SEALER.seal(CURSOR) + "=="))
    raw[place % len(raw)] ^= change
    with pytest.raises(Refused):
        SEALER.open(base64.urlsafe_b64encode(raw).decode().rstrip("="), LI, "Observation", NOON)


@given(st.text(max_size=80))
def test_any_text_is_refused_and_nothing_else(token):
    with pytest.raises(Refused):
        SEALER.open(token, LI, "Observation", NOON + timedelta(0))
