"""Page tokens: good for one caller, one search, and a while."""

from __future__ import annotations

import base64
from datetime import timedelta
from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adapters.authzen.page import LIFETIME, Pages
from spir.errors import RequestError
from tests.given import NOON


def pages(key=bytes(32)):
    numbers = count()
    return Pages(key, lambda: next(numbers).to_bytes(12, "big"))


TOKEN = pages().seal("HIS|P001", "pep", b"asked", NOON)


@given(st.text(st.characters(exclude_categories=("Cs",)), max_size=50))
def test_a_token_leads_back_to_its_place(after):
    token = pages().seal(after, "pep", b"asked", NOON)
    assert pages().open(token, "pep", b"asked", NOON) == after


def test_a_token_shows_nothing_of_its_place():
    raw = base64.urlsafe_b64decode(TOKEN + "=" * (-len(TOKEN) % 4))
    assert b"P001" not in raw and "P001" not in TOKEN
    numbers = pages()
    assert numbers.seal("a", "pep", b"x", NOON) != numbers.seal("a", "pep", b"x", NOON)


@pytest.mark.parametrize(
    ("caller", "asked", "now", "key"),
    [
        ("other", b"asked", NOON, bytes(32)),
        ("pep", b"other", NOON, bytes(32)),
        ("pep", b"asked", NOON + LIFETIME, bytes(32)),
        ("pep", b"asked", NOON + timedelta(days=400), bytes(32)),
        ("pep", b"asked", NOON, b"k" * 32),
    ],
)
def test_anybody_elses_or_an_old_token_is_none(caller, asked, now, key):
    with pytest.raises(RequestError, match="not valid for this search"):
        pages(key).open(TOKEN, caller, asked, now)


@given(
    st.text(max_size=200)
    | st.just(TOKEN).flatmap(lambda t: st.integers(0, len(t) - 1).map(lambda n: t[:n] + "A" + t[n + 1 :]))
)
def test_a_forged_token_is_none(token):
    if token == TOKEN:
        return
    try:
        found = pages().open(token, "pep", b"asked", NOON)
    except RequestError:
        return
    # the last letter of base64 has bits that mean nothing
    assert found == "HIS|P001" and token[:-1] == TOKEN[:-1]
